package events_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestConsumerElsewhere uses the embedded server, and a client with go-redis' own settings.
func TestConsumerElsewhere(t *testing.T) {
	t.Parallel()
	embedded, err := redisconn.StartEmbedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(embedded.Close)
	defaults := redis.NewClient(&redis.Options{Addr: redistest.Shared(t).Addr()})
	t.Cleanup(func() { _ = defaults.Close() })
	for name, rdb := range map[string]*redis.Client{"embedded": open(t, embedded.URL()), "defaults": defaults} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, ch := config(t), channel(t, "service:a")
			publisher := newPublisher(t, rdb, cfg)
			var done tally
			var running []*events.Consumer
			for range 3 {
				running = append(running, newConsumer(t, rdb, cfg, events.Consumption{Channel: ch, Claim: 300 * time.Millisecond, Handle: done.handler(t, func(n int) error {
					if n%10 == 0 && !done.has(n+1) {
						return errors.New("not yet")
					}
					return nil
				})}))
			}
			if n := rdb.Exists(t.Context(), logKey(cfg, ch)).Val(); n != 0 {
				t.Error("the consumers made a log")
			}
			fill(t, publisher, ch, 1, 101)
			redistest.Eventually(t, soon, "all is handled", func() bool { return done.has(upTo(1, 101)...) })
			redistest.Eventually(t, soon, "all is acknowledged", func() bool { return pending(t, rdb, cfg, ch) == 0 })
			rdb.Del(t.Context(), logKey(cfg, ch))
			fill(t, publisher, ch, 201, 201)
			redistest.Eventually(t, soon, "the new log is read", func() bool { return done.has(201) })
			redistest.Eventually(t, soon, "all is acknowledged", func() bool { return pending(t, rdb, cfg, ch) == 0 })
			for _, consumer := range running {
				consumer.Close()
			}
			if names := consumers(t, rdb, cfg, ch); len(names) != 0 {
				t.Errorf("Redis still knows %v", names)
			}
		})
	}
}
