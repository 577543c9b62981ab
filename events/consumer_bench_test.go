package events_test

import (
	"context"
	"testing"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// BenchmarkConsumer publishes an event and waits until it is handled.
func BenchmarkConsumer(b *testing.B) {
	cfg, rdb, ch := config(b), redistest.Shared(b).Client(), channel(b, "service:a")
	handled := make(chan struct{}, 1)
	newConsumer(b, rdb, cfg, events.Consumption{
		Channel: ch, Handle: func(context.Context, *events.Record) error { handled <- struct{}{}; return nil },
	})
	publisher := newPublisher(b, rdb, cfg)
	for b.Loop() {
		fill(b, publisher, ch, 1, 1)
		<-handled
	}
}
