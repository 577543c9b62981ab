package events_test

import (
	"errors"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestPublisherCountsByScope checks that each call of Publish is counted once, for the scope of its channel.
func TestPublisherCountsByScope(t *testing.T) {
	t.Parallel()
	publisher := newPublisher(t, redistest.Shared(t).Client(), config(t))
	user, service := channel(t, "user:123"), channel(t, "service:matching")
	for _, m := range []events.Message{
		{Channel: user, Type: "x"},
		{Channel: user, Type: "x", ID: "a"},
		{Channel: user, Type: "x", ID: "a"},
		{Channel: service, Type: "x", IdempotencyKey: "k"},
		{Channel: service, Type: "x", IdempotencyKey: "k"},
		{Channel: events.Global(), Type: "x"},
	} {
		publish(t, publisher, m)
	}
	_, err := publisher.Publish(t.Context(), events.Message{Channel: service, Type: "y", IdempotencyKey: "k"})
	if !errors.Is(err, events.ErrKeyReused) {
		t.Errorf("another message with the key: %v", err)
	}
	if _, err := publisher.Publish(t.Context(), events.Message{Channel: user, Type: "No type"}); err == nil {
		t.Error("a bad type was published")
	}
	publisher.Close()
	if _, err := publisher.Publish(t.Context(), events.Message{Channel: events.Global(), Type: "x"}); !errors.Is(err, events.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if got, want := publisher.Stats(), (events.PublisherStats{
		Outcomes: events.Outcomes{Published: 4, Duplicates: 2, Refused: 2, Failed: 1},
		User:     events.Outcomes{Published: 2, Duplicates: 1, Refused: 1},
		Global:   events.Outcomes{Published: 1, Failed: 1},
		Service:  events.Outcomes{Published: 1, Duplicates: 1, Refused: 1},
	}); got != want {
		t.Errorf("stats are\n%+v, want\n%+v", got, want)
	}
}

// TestFanoutCountsResumed checks that a stream counts as resumed when it goes on where another one was, and as opened only
// when it could be.
func TestFanoutCountsResumed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg, rdb := config(t), server.Client()
	cfg.Timeout = 100 * time.Millisecond
	fanout := newFanout(t, rdb, cfg)
	open := func(from events.Cursor, channel events.Channel) (s *events.Stream) {
		redistest.Eventually(t, soon, "the stream is opened", func() (opened bool) { // On a busy machine not at once.
			var err error
			s, err = fanout.Follow(t.Context(), from, events.Pattern{}, channel)
			return err == nil
		})
		t.Cleanup(s.Close)
		return s
	}
	first := open(events.Cursor{}, events.Global())
	for _, from := range []events.Cursor{events.Earliest(), events.Since(time.Now()), first.Cursor()} {
		open(from, events.Global())
	}
	want := events.FanoutStats{Open: 4, Channels: 1, Opened: 4, Resumed: 1}
	if got := fanout.Stats(); got != want {
		t.Errorf("stats are %+v, want %+v", got, want)
	}
	server.Pause()
	defer server.Resume()
	if _, err := fanout.Follow(t.Context(), first.Cursor(), events.Pattern{}, events.Global(), channel(t, "user:1")); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("while Redis hangs: %v", err)
	}
	if got := fanout.Stats(); got.Opened != want.Opened || got.Resumed != want.Resumed {
		t.Errorf("a stream that could not be opened is counted: %+v", got)
	}
}
