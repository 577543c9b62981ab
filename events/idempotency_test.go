package events_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// keysOf lists what a test has in Redis.
func keysOf(tb testing.TB, rdb *redis.Client, pattern string) []string {
	tb.Helper()
	var keys []string
	for cursor := uint64(0); ; {
		page, next, err := rdb.Scan(tb.Context(), cursor, pattern, 1000).Result()
		if err != nil {
			tb.Fatal(err)
		}
		keys = append(keys, page...)
		if cursor = next; cursor == 0 {
			return keys
		}
	}
}

// same reports whether two receipts tell of one publication.
func same(a, b events.Receipt) bool {
	a.Duplicate, b.Duplicate = false, false
	return a == b
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	user, global := channel(t, "user:1"), events.Global()
	type call struct {
		name    string
		message events.Message
		event   int // Calls with one number give one receipt.
		reused  bool
	}
	at := time.Date(2026, 11, 21, 19, 11, 26, 325_925_999, time.FixedZone("", 3*3600))
	for name, calls := range map[string][]call{
		"key": {
			{"first", events.Message{Channel: user, Type: "x", Data: []byte(`{"a": 1}`), IdempotencyKey: "k"}, 0, false},
			{"again", events.Message{Channel: user, Type: "x", Data: []byte(`{"a": 1}`), IdempotencyKey: "k"}, 0, false},
			{"with other white space", events.Message{Channel: user, Type: "x", Data: []byte("{ \"a\" :1}\n"), IdempotencyKey: "k"}, 0, false},
			{"with other data", events.Message{Channel: user, Type: "x", Data: []byte(`{"a":2}`), IdempotencyKey: "k"}, 0, true},
			{"with another type", events.Message{Channel: user, Type: "y", Data: []byte(`{"a":1}`), IdempotencyKey: "k"}, 0, true},
			{"with another source", events.Message{Channel: user, Type: "x", Data: []byte(`{"a":1}`), Source: "s", IdempotencyKey: "k"}, 0, true},
			{"with an id", events.Message{Channel: user, Type: "x", Data: []byte(`{"a":1}`), ID: "1", IdempotencyKey: "k"}, 0, true},
			{"with a timestamp", events.Message{Channel: user, Type: "x", Data: []byte(`{"a":1}`), Timestamp: at, IdempotencyKey: "k"}, 0, true},
			{"with a correlation", events.Message{Channel: user, Type: "x", Data: []byte(`{"a":1}`), CorrelationID: "c", IdempotencyKey: "k"}, 0, true},
			{"on another channel", events.Message{Channel: global, Type: "y", IdempotencyKey: "k"}, 8, false},
			{"with another key", events.Message{Channel: user, Type: "x", Data: []byte(`{"a":1}`), IdempotencyKey: "K"}, 9, false},
			{"without a key", events.Message{Channel: user, Type: "x", Data: []byte(`{"a":1}`)}, 10, false},
			{"after a misuse", events.Message{Channel: user, Type: "x", Data: []byte(`{"a":1}`), IdempotencyKey: "k"}, 0, false},
		},
		"id": {
			{"first", events.Message{Channel: user, Type: "x", ID: "7", Timestamp: at}, 0, false},
			{"again", events.Message{Channel: user, Type: "x", ID: "7", Timestamp: at}, 0, false},
			{"with another content", events.Message{Channel: user, Type: "x", ID: "7", Data: []byte("1")}, 0, false},
			{"on another channel", events.Message{Channel: global, Type: "x", ID: "7"}, 3, false},
			{"another", events.Message{Channel: user, Type: "x", ID: "8"}, 4, false},
		},
		"id and key": {
			{"with a key", events.Message{Channel: user, Type: "x", ID: "7", IdempotencyKey: "k"}, 0, false},
			{"without the key", events.Message{Channel: user, Type: "x", ID: "7"}, 0, false},
			{"with another key", events.Message{Channel: user, Type: "x", ID: "7", IdempotencyKey: "l"}, 0, false},
			{"that key again", events.Message{Channel: user, Type: "x", ID: "7", IdempotencyKey: "l"}, 0, false},
			{"that key with another id", events.Message{Channel: user, Type: "x", ID: "8", IdempotencyKey: "l"}, 0, true},
			{"which was not published", events.Message{Channel: user, Type: "x", ID: "8"}, 5, false},
		},
		"odd keys": {
			{"white space", events.Message{Channel: user, Type: "x", IdempotencyKey: " "}, 0, false},
			{"more white space", events.Message{Channel: user, Type: "x", IdempotencyKey: "  "}, 1, false},
			{"any bytes", events.Message{Channel: user, Type: "x", IdempotencyKey: "{}\x00\xff *"}, 2, false},
			{"any bytes again", events.Message{Channel: user, Type: "x", IdempotencyKey: "{}\x00\xff *"}, 2, false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, rdb := config(t), redistest.Shared(t).Client()
			publisher := newPublisher(t, rdb, cfg)
			receipts := make([]events.Receipt, len(calls))
			for i, c := range calls {
				var err error
				receipts[i], err = publisher.Publish(t.Context(), c.message)
				if c.reused != errors.Is(err, events.ErrKeyReused) || !c.reused && err != nil {
					t.Fatalf("%s: %+v, %v", c.name, receipts[i], err)
				}
			}
			for i, c := range calls {
				if c.reused {
					continue
				}
				first := i
				for j := range i {
					if !calls[j].reused && calls[j].event == c.event {
						first = j
						break
					}
				}
				if receipts[i].Duplicate != (first != i) || !same(receipts[i], receipts[first]) {
					t.Errorf("%s:\n got %+v\nwant that of %q, %+v", c.name, receipts[i], calls[first].name, receipts[first])
				}
			}
		})
	}
}

// TestIdempotencyAtOnce sends one message from many callers and publishers at the same moment.
func TestIdempotencyAtOnce(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]events.Message{
		"key": {Channel: events.Global(), Type: "x", IdempotencyKey: "k"},
		"id":  {Channel: events.Global(), Type: "x", ID: "7"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t)
			rdb := redistest.Shared(t).Client()
			const callers = 30
			receipts := make([]events.Receipt, callers)
			var wait sync.WaitGroup
			for p := range 3 {
				publisher := newPublisher(t, redistest.Shared(t).Client(), cfg)
				for i := p; i < callers; i += 3 {
					wait.Go(func() {
						var err error
						if receipts[i], err = publisher.Publish(t.Context(), m); err != nil {
							t.Error(err)
						}
					})
				}
			}
			wait.Wait()
			first := 0
			for _, r := range receipts {
				if !same(r, receipts[0]) {
					t.Errorf("%+v and %+v", r, receipts[0])
				}
				if !r.Duplicate {
					first++
				}
			}
			if n := len(readAll(t, newLog(t, rdb, cfg), events.Global())); first != 1 || n != 1 {
				t.Errorf("%d callers were first, the log holds %d", first, n)
			}
		})
	}
}

// TestIDOfAnotherType publishes an id again with another type: it is refused, without a word of the first event.
func TestIDOfAnotherType(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	rdb := redistest.Shared(t).Client()
	publisher := newPublisher(t, rdb, cfg)
	m := events.Message{Channel: events.Global(), Type: "booking.confirmed", ID: "booking-42"}
	publish(t, publisher, m)
	other := m
	other.Type = "noise.made"
	for _, key := range []string{"", "k", "k"} {
		other.IdempotencyKey = key
		if r, err := publisher.Publish(t.Context(), other); !errors.Is(err, events.ErrIDReused) || !errors.Is(err, events.ErrKeyReused) || r != (events.Receipt{}) {
			t.Errorf("with the key %q: %+v, %v", key, r, err)
		}
	}
	if r := publish(t, publisher, m); !r.Duplicate {
		t.Errorf("again: %+v", r)
	}
	if log := readAll(t, newLog(t, rdb, cfg), events.Global()); len(log) != 1 || log[0].Type != m.Type {
		t.Errorf("the log holds %+v", log)
	}
}

// TestIdempotencyWindow looks at how long keys and ids are remembered, and lets the memory end.
func TestIdempotencyWindow(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	publish(t, newPublisher(t, rdb, cfg), events.Message{Channel: events.Global(), Type: "x", ID: "7", IdempotencyKey: "secret"})
	remembered := keysOf(t, rdb, cfg.Prefix+":idem:*")
	if len(remembered) != 2 {
		t.Errorf("remembered are %v", remembered)
	}
	tag := fmt.Sprintf("%s:idem:{%s:global}:", cfg.Prefix, cfg.Prefix)
	for _, key := range remembered {
		const day = 24 * time.Hour
		if ttl := rdb.PTTL(t.Context(), key).Val(); ttl <= day-time.Minute || ttl > day {
			t.Errorf("%s is remembered for %v", key, ttl)
		}
		if len(key) <= len(tag) || key[:len(tag)] != tag {
			t.Errorf("%s would not lie in the slot of its channel", key)
		}
	}

	brief := config(t)
	brief.DedupeWindow = time.Second
	publisher := newPublisher(t, rdb, brief)
	m := events.Message{Channel: events.Global(), Type: "x", IdempotencyKey: "k"}
	first := publish(t, publisher, m)
	redistest.Eventually(t, soon, "the key is forgotten", func() bool { return !publish(t, publisher, m).Duplicate })
	if n := len(readAll(t, newLog(t, rdb, brief), events.Global())); n != 2 {
		t.Errorf("the log holds %d events, want 2: %+v", n, first)
	}
}
