package events_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func open(tb testing.TB, url string) *redis.Client {
	tb.Helper()
	rdb, err := redisconn.Open(url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// TestEmbedded does on the embedded server what a first user of the hub does.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	server, err := redisconn.StartEmbedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	rdb := open(t, server.URL())
	cfg := config(t)
	cfg.User.MaxEntries = 50
	publisher, log, fanout, bridge := newPublisher(t, rdb, cfg), newLog(t, rdb, cfg), newFanout(t, rdb, cfg), newBridge(t, rdb, cfg)

	t.Run("publish and dedupe", func(t *testing.T) {
		t.Parallel()
		heard := listen(t, rdb, cfg.Prefix+":global")
		m := events.Message{Channel: events.Global(), Type: "x", IdempotencyKey: "k", Data: []byte(`{"a":[1]}`)}
		first, again := publish(t, publisher, m), publish(t, publisher, m)
		if first.Duplicate || !again.Duplicate || !same(first, again) || first.Subscribers != 1 {
			t.Errorf("%+v and %+v", first, again)
		}
		ev, err := events.DecodeEvent(cfg.Prefix, []byte(receive(t, heard).Payload))
		if err != nil || ev.ID != first.ID || ev.Offset != first.Offset || string(ev.Data) != `{"a":[1]}` {
			t.Errorf("%+v, %v", ev, err)
		}
		if ttl := rdb.PTTL(t.Context(), logKey(cfg, events.Global())).Val(); ttl < 6*24*time.Hour {
			t.Errorf("the log expires in %v", ttl)
		}
	})
	t.Run("log", func(t *testing.T) {
		t.Parallel()
		ch := channel(t, "service:a")
		fill(t, publisher, ch, 1, 25)
		addForeign(t, rdb, logKey(cfg, ch), 7)
		fill(t, publisher, ch, 26, 30)
		for _, reverse := range []bool{false, true} {
			want := upTo(1, 30)
			if reverse {
				want = backwards(want)
			}
			if got, sizes := pages(t, log, events.Query{Channel: ch, Limit: 10, Reverse: reverse}); !slices.Equal(got, want) {
				t.Errorf("%v in pages of %v", got, sizes)
			}
		}
		if page, err := log.Read(t.Context(), events.Query{Channel: ch, Limit: 5, After: offset(t, "18446744073709551615")}); err != nil || len(page.Records) > 0 {
			t.Errorf("after the greatest offset: %+v, %v", page, err)
		}
		if got := readAll(t, log, channel(t, "service:empty")); len(got) != 0 {
			t.Errorf("a channel without a log holds %d", len(got))
		}
	})
	t.Run("stream", func(t *testing.T) {
		t.Parallel()
		ch := channel(t, "service:b")
		empty := follow(t, fanout, events.Cursor{}, ch)
		start := empty.Cursor()
		fill(t, publisher, ch, 1, 10)
		for _, s := range []*events.Stream{empty, follow(t, fanout, start, ch), follow(t, fanout, events.Earliest(), ch), follow(t, fanout, events.Since(time.Now().Add(-time.Hour)), ch)} {
			for n := 1; n <= 10; n++ {
				if ev := nextEvent(t, s); string(ev.Data) != strconv.Itoa(n) {
					t.Fatalf("got %s, want %d", ev.Data, n)
				}
			}
		}
		resumed := follow(t, fanout, cursor(t, empty.Cursor().String()), ch)
		fill(t, publisher, ch, 11, 11)
		if ev := nextEvent(t, resumed); string(ev.Data) != "11" {
			t.Errorf("after resuming came %s", ev.Data)
		}
	})
	t.Run("gap", func(t *testing.T) {
		t.Parallel()
		ch := channel(t, "user:1")
		s := follow(t, fanout, events.Cursor{}, ch)
		beginning := s.Cursor()
		fill(t, publisher, ch, 1, 1)
		nextEvent(t, s)
		first := s.Cursor()
		fill(t, publisher, ch, 2, 100)
		for _, from := range []events.Cursor{beginning, first} {
			s := follow(t, fanout, from, ch)
			if d := next(t, s); d.Gap == nil || d.Gap.Channel != ch {
				t.Fatalf("no gap but %+v", d.Record)
			}
			if ev := nextEvent(t, s); string(ev.Data) != "51" {
				t.Errorf("after the gap came %s", ev.Data)
			}
		}
	})
	t.Run("bridge", func(t *testing.T) {
		t.Parallel()
		s := follow(t, fanout, events.Cursor{}, channel(t, "user:7"))
		say(t, rdb, cfg.Prefix+":user:7", botSays(cfg, channel(t, "user:7"), "1", `{"a": 1}`))
		ev := nextEvent(t, s)
		records := readAll(t, log, channel(t, "user:7"))
		if ev.ID != "1" || string(ev.Data) != `{"a":1}` || len(records) != 1 || records[0].Offset != ev.Offset {
			t.Errorf("%+v, the log holds %d", ev, len(records))
		}
		redistest.Eventually(t, soon, "the bridge counts it", func() bool { return bridge.Stats().TakenUp == 1 })
	})
	t.Run("subscriber", func(t *testing.T) {
		t.Parallel()
		sub := newSubscriber(t, rdb, cfg, channel(t, "service:c"))
		start(t, sub)
		fill(t, publisher, channel(t, "service:c"), 1, 1)
		redistest.Eventually(t, soon, "the cursor moves", func() bool { return sub.Cursor().String() != "" })
	})
	t.Run("script flush", func(t *testing.T) {
		t.Parallel()
		rdb.ScriptFlush(t.Context())
		publish(t, publisher, events.Message{Channel: channel(t, "service:d"), Type: "x"})
	})
}

// TestDefaultClient uses a client with go-redis' own settings, which speaks RESP3.
func TestDefaultClient(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Shared(t).Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	cfg, ch := config(t), channel(t, "user:1")
	publisher, log, fanout := newPublisher(t, rdb, cfg), newLog(t, rdb, cfg), newFanout(t, rdb, cfg)
	newBridge(t, rdb, cfg)
	empty := follow(t, fanout, events.Cursor{}, ch)
	from := empty.Cursor()
	fill(t, publisher, ch, 1, 3)
	say(t, rdb, cfg.Prefix+":user:1", botSays(cfg, ch, "bot", "4"))
	expect(t, empty, 1, 4)
	expect(t, follow(t, fanout, from, ch), 1, 4)
	if got := numbers(t, readAll(t, log, ch)); !slices.Equal(got, upTo(1, 4)) {
		t.Errorf("the log holds %v", got)
	}
	if err := rdb.Del(t.Context(), logKey(cfg, ch)).Err(); err != nil {
		t.Fatal(err)
	}
	if d := next(t, follow(t, fanout, empty.Cursor(), ch)); d.Gap == nil {
		t.Error("no gap after the log was deleted")
	}
}

// TestClocksApart lets the server's clock be far from the hub's: what is too old goes by the server's.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	for _, apart := range []time.Duration{-30 * 24 * time.Hour, 30 * 24 * time.Hour} {
		t.Run(fmt.Sprint(apart), func(t *testing.T) {
			t.Parallel()
			server := miniredis.NewMiniRedis()
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(server.Close)
			at := time.Now().Add(apart)
			server.SetTime(at)
			rdb, cfg := open(t, "redis://"+server.Addr()), config(t)
			log, fanout := newLog(t, rdb, cfg), newFanout(t, rdb, cfg)
			s := follow(t, fanout, events.Cursor{}, events.Global())
			began := s.Cursor()
			for n := range 3 {
				server.SetTime(at.Add(time.Duration(n) * 4 * 24 * time.Hour))
				fill(t, newPublisher(t, rdb, cfg), events.Global(), n, n) // A new hub tends the log at once.
				if ev := nextEvent(t, s); string(ev.Data) != strconv.Itoa(n) {
					t.Errorf("live came %s, want %d", ev.Data, n)
				}
			}
			if got := numbers(t, readAll(t, log, events.Global())); !slices.Equal(got, []int{1, 2}) {
				t.Errorf("a log of seven days holds %v of 0, 4 and 8 days", got)
			}
			if d := next(t, follow(t, fanout, began, events.Global())); d.Gap == nil {
				t.Error("no gap before the events of 4 and 8 days")
			}
		})
	}
}
