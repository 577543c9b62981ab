package events_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestSlowHandler keeps a handler busy until its queue has overflowed many times over: it only reads on from the log.
func TestSlowHandler(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	cfg.QueueLength = 3
	publisher, s := newPublisher(t, rdb, cfg), newSubscriber(t, rdb, cfg, events.Global())
	s.HandleGap(func(_ context.Context, gap events.Gap) { t.Errorf("a gap: %+v", gap) })
	began, published, handled := make(chan struct{}, 1000), make(chan struct{}), make(chan string, 1000)
	handle(t, s, "*", func(_ context.Context, ev events.Event) error {
		began <- struct{}{}
		<-published
		handled <- string(ev.Data)
		return nil
	})
	start(t, s)
	fill(t, publisher, events.Global(), 1, 1)
	receive(t, began)
	fill(t, publisher, events.Global(), 2, 600)
	close(published)
	for n := 1; n <= 600; n++ {
		if got := receive(t, handled); got != strconv.Itoa(n) {
			t.Fatalf("handled was %s, want %d", got, n)
		}
	}
	fill(t, publisher, events.Global(), 601, 601)
	if got := receive(t, handled); got != "601" {
		t.Errorf("then came %s", got)
	}
}

// TestSlowHandlerAndOutage cuts a subscriber off for being slow, and stops Redis before it can go on.
func TestSlowHandlerAndOutage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	cfg, rdb := config(t), server.Client()
	cfg.QueueLength, cfg.Timeout = 3, 300*time.Millisecond
	publisher, s := newPublisher(t, rdb, cfg), newSubscriber(t, rdb, cfg, events.Global())
	fanout := newFanout(t, rdb, cfg)
	quick := follow(t, fanout, events.Cursor{}, events.Global())
	began, release, handled := make(chan struct{}, 100), make(chan struct{}), make(chan string, 100)
	handle(t, s, "*", func(_ context.Context, ev events.Event) error {
		began <- struct{}{}
		<-release
		handled <- string(ev.Data)
		return nil
	})
	start(t, s)
	for n := 1; n <= 20; n++ {
		m := events.Message{Channel: events.Global(), Type: "n", ID: strconv.Itoa(n), Data: []byte(strconv.Itoa(n))}
		if err := retry(t, t.Context(), publisher, m); err != nil {
			t.Fatal(err)
		}
		nextEvent(t, quick)
	}
	receive(t, began)
	server.Stop()
	close(release)
	if _, err := fanout.Follow(t.Context(), events.Cursor{}, events.Pattern{}, channel(t, "user:1")); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("without Redis: %v", err) // By now the subscriber has tried in vain as well.
	}
	server.Restart()
	for n := 1; n <= 20; n++ {
		if got := receive(t, handled); got != strconv.Itoa(n) {
			t.Fatalf("handled was %s, want %d", got, n)
		}
	}
}

// TestSubscriberOutage keeps a subscriber through a restart, with events that come while it is not subscribed.
func TestSubscriberOutage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	cfg, rdb := config(t), server.Client()
	publisher, s := newPublisher(t, rdb, cfg), newSubscriber(t, server.Client(), cfg, events.Global())
	handled := make(chan string, 100)
	handle(t, s, "*", func(_ context.Context, ev events.Event) error { handled <- string(ev.Data); return nil })
	start(t, s)
	for n := range 9 {
		m := events.Message{Channel: events.Global(), Type: "n", ID: strconv.Itoa(n), Data: []byte(strconv.Itoa(n))}
		if err := retry(t, t.Context(), publisher, m); err != nil {
			t.Fatal(err)
		}
		switch n % 3 {
		case 0:
			rdb.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub")
		case 1:
			server.Restart()
		}
	}
	for n := range 9 {
		if got := receive(t, handled); got != strconv.Itoa(n) {
			t.Fatalf("handled was %s, want %d", got, n)
		}
	}
}
