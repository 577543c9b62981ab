package events_test

import (
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestConfig gives each constructor what it must refuse, and the zero Config, which it must take.
func TestConfig(t *testing.T) {
	t.Parallel()
	rdb := redistest.Shared(t).Client()
	constructors := map[string]func(events.Config) error{
		"NewPublisher":  func(c events.Config) error { _, err := events.NewPublisher(rdb, c); return err },
		"NewLog":        func(c events.Config) error { _, err := events.NewLog(rdb, c); return err },
		"NewFanout":     func(c events.Config) error { _, err := events.NewFanout(rdb, c); return err },
		"NewSubscriber": func(c events.Config) error { _, err := events.NewSubscriber(rdb, c); return err },
		"NewBridge":     func(c events.Config) error { _, err := events.NewBridge(rdb, c); return err },
	}
	for name, construct := range constructors {
		for _, good := range []events.Config{
			{},
			{Prefix: "A-b_9"},
			{User: events.Retention{MaxEntries: 1, MaxAge: time.Second}, DedupeWindow: time.Second, Timeout: time.Millisecond, QueueLength: 1, QueueBytes: 1},
		} {
			if err := construct(good); err != nil {
				t.Errorf("%s refuses %+v: %v", name, good, err)
			}
		}
		for _, bad := range []events.Config{
			{Prefix: "a:b"},
			{Prefix: "a b"},
			{Prefix: "{a}"},
			{Prefix: strings.Repeat("a", 65)},
			{Source: strings.Repeat("a", events.MaxLabelLength+1)},
			{Source: "a\nb"},
			{User: events.Retention{MaxEntries: -1}},
			{Global: events.Retention{MaxAge: time.Millisecond}},
			{Service: events.Retention{MaxAge: -time.Hour}},
			{DedupeWindow: time.Millisecond},
			{Timeout: time.Microsecond},
			{QueueLength: -1},
			{QueueBytes: -1},
		} {
			if err := construct(bad); err == nil || !strings.HasPrefix(err.Error(), "events: ") {
				t.Errorf("%s takes %+v: %v", name, bad, err)
			}
		}
	}
	if err := events.CheckPrefix(""); err == nil {
		t.Error("the empty prefix is fine")
	}
}
