package events_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func newCanary(tb testing.TB, p *events.Publisher, f *events.Fanout, cfg events.CanaryConfig) *events.Canary {
	tb.Helper()
	if cfg.Interval == 0 {
		cfg.Interval = minInterval
	}
	c, err := events.NewCanary(p, f, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	if err := c.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

// well waits until the canary has come again, and is well.
func well(tb testing.TB, c *events.Canary) {
	tb.Helper()
	before := c.Stats().Received
	redistest.Eventually(tb, soon, "the canary is well", func() bool {
		return c.Check(tb.Context()) == nil && c.Stats().Received > before
	})
}

// unwell waits until the canary says so, which it must within 15 s.
func unwell(tb testing.TB, c *events.Canary, text string) {
	tb.Helper()
	redistest.Eventually(tb, 15*time.Second, "the canary says "+text, func() bool {
		err := c.Check(tb.Context())
		return err != nil && strings.Contains(err.Error(), text)
	})
}

// TestCanary has two hubs' canaries come and go, and looks at what others see of them: nothing.
func TestCanary(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg, rdb := config(t), server.Client()
	everything := rdb.PSubscribe(t.Context(), cfg.Prefix+"*")
	t.Cleanup(func() { _ = everything.Close() })
	if _, err := everything.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	var trips atomic.Int64
	publisher, fanout := newPublisher(t, rdb, cfg), newFanout(t, rdb, cfg)
	bridge := newBridge(t, rdb, cfg)
	first := newCanary(t, publisher, fanout, events.CanaryConfig{OnRoundTrip: func(took time.Duration) {
		if took <= 0 || took > soon {
			t.Errorf("a round trip took %v", took)
		}
		trips.Add(1)
	}})
	second := newCanary(t, newPublisher(t, rdb, cfg), newFanout(t, rdb, cfg), events.CanaryConfig{})
	redistest.Eventually(t, soon, "they come", func() bool { return first.Stats().Received > 4 && second.Stats().Received > 4 })
	if first.Check(t.Context()) != nil || second.Check(t.Context()) != nil {
		t.Errorf("%v, %v", first.Check(t.Context()), second.Check(t.Context()))
	}
	if s := publisher.Stats(); s.Published != 0 {
		t.Errorf("the publisher counts %+v", s)
	}
	if s := fanout.Stats(); s != (events.FanoutStats{}) {
		t.Errorf("the fanout counts %+v", s)
	}
	keys := rdb.Keys(t.Context(), "*").Val()
	log := cfg.Prefix + ":log:{" + cfg.Prefix + "-canary}"
	if len(keys) != 1 || keys[0] != log {
		t.Errorf("there are the keys %q, want only %q", keys, log)
	}
	if ttl := rdb.TTL(t.Context(), log).Val(); ttl <= 0 || ttl > 2*time.Minute {
		t.Errorf("the log lives for %v", ttl)
	}
	first.Close()
	first.Close()
	if s := first.Stats(); s.Received != trips.Load() || s.Lost != 0 || s.Unpublished != 0 {
		t.Errorf("%+v after %d round trips", s, trips.Load())
	}
	if first.Start(t.Context()) == nil {
		t.Error("it starts again")
	}
	// Whoever listens to all channels has heard none of them: what is said now is what comes first.
	publish(t, publisher, events.Message{Channel: events.Global(), Type: "x"})
	if m, err := everything.ReceiveMessage(t.Context()); err != nil || m.Channel != cfg.Prefix+":global" {
		t.Errorf("%v, %v", m, err)
	}
	if s := bridge.Stats(); s != (events.BridgeStats{}) {
		t.Errorf("the bridge counts %+v", s)
	}
}

// TestCanaryLogStaysSmall publishes many.
func TestCanaryLogStaysSmall(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg, rdb := config(t), server.Client()
	publisher := newPublisher(t, rdb, cfg)
	for range 500 {
		if err := publisher.PublishCanary(t.Context(), "id"); err != nil {
			t.Fatal(err)
		}
	}
	if n := rdb.XLen(t.Context(), cfg.Prefix+":log:{"+cfg.Prefix+"-canary}").Val(); n < 1 || n > 200 {
		t.Errorf("the log holds %d events", n)
	}
}

// TestCanaryNoticesDeafness has the subscribed connections answer PING and hear nothing: within 15 s the canary is unwell, and
// then well again by itself, with a new connection, and streams get what they missed.
func TestCanaryNoticesDeafness(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server)
	rdb, err := redisconn.Open(proxy.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	cfg := config(t)
	publisher, fanout := newPublisher(t, rdb, cfg), newFanout(t, rdb, cfg)
	canary := newCanary(t, publisher, fanout, events.CanaryConfig{})
	stream, err := fanout.Follow(t.Context(), events.Cursor{}, events.Pattern{}, events.Global())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	well(t, canary)
	proxy.Deafen()
	publish(t, publisher, events.Message{Channel: events.Global(), Type: "x", ID: "missed"})
	unwell(t, canary, "did not come: deliveries have stopped")
	if err := rdb.Ping(t.Context()).Err(); err != nil {
		t.Errorf("PING: %v", err)
	}
	well(t, canary)
	if s := canary.Stats(); s.Lost != 1 || s.Unpublished != 0 {
		t.Errorf("%+v", s)
	}
	if s := fanout.Stats(); s.Reconnects != 1 {
		t.Errorf("%+v", s)
	}
	if ev := nextEvent(t, stream); ev.ID != "missed" {
		t.Errorf("the stream says %+v", ev)
	}
}

// TestCanaryDoesNotReconnectInALoop has every connection be deaf.
func TestCanaryDoesNotReconnectInALoop(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server)
	rdb, err := redisconn.Open(proxy.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	cfg := config(t)
	publisher, fanout := newPublisher(t, rdb, cfg), newFanout(t, rdb, cfg)
	canary := newCanary(t, publisher, fanout, events.CanaryConfig{})
	well(t, canary)
	redistest.Eventually(t, 2*soon, "three are lost", func() bool {
		proxy.Deafen()
		return canary.Stats().Lost == 3
	})
	if s := fanout.Stats(); s.Reconnects > 2 {
		t.Errorf("connected anew %d times for 3 events in 12 s", s.Reconnects)
	}
}

// TestCanaryOutage takes Redis away.
func TestCanaryOutage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		begin, end func(*redistest.Server)
		says       string
	}{
		"stopped": {(*redistest.Server).Stop, (*redistest.Server).Restart, "Redis does not take an event"},
		"paused":  {(*redistest.Server).Pause, (*redistest.Server).Resume, "Redis does not take an event"},
		"read-only": {
			func(s *redistest.Server) { setting(t, s, "min-replicas-to-write", "1") },
			func(s *redistest.Server) { setting(t, s, "min-replicas-to-write", "0") }, "Redis does not take an event",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			rdb, err := redisconn.Open(server.URL())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = rdb.Close() })
			cfg := config(t)
			cfg.Timeout = 1200 * time.Millisecond // As it is by default.
			canary := newCanary(t, newPublisher(t, rdb, cfg), newFanout(t, rdb, cfg), events.CanaryConfig{})
			well(t, canary)
			test.begin(server)
			unwell(t, canary, test.says)
			if s := canary.Stats(); s.Unpublished == 0 {
				t.Errorf("%+v", s)
			}
			test.end(server)
			well(t, canary)
		})
	}
}

func setting(tb testing.TB, s *redistest.Server, name, value string) {
	tb.Helper()
	if err := s.Client().ConfigSet(tb.Context(), name, value).Err(); err != nil {
		tb.Fatal(err)
	}
}

// TestCanaryEmbedded uses the embedded Redis.
func TestCanaryEmbedded(t *testing.T) {
	t.Parallel()
	server, err := redisconn.StartEmbedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	options, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	options.Protocol, options.MaxRetries = 2, -1
	rdb := redis.NewClient(options)
	t.Cleanup(func() { _ = rdb.Close() })
	cfg := config(t)
	canary := newCanary(t, newPublisher(t, rdb, cfg), newFanout(t, rdb, cfg), events.CanaryConfig{})
	well(t, canary)
	if n := rdb.DBSize(t.Context()).Val(); n != 1 {
		t.Errorf("there are %d keys", n)
	}
}

func TestCanaryConfig(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	fanout, err := events.NewFanout(redistest.Shared(t).Client(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, interval := range []time.Duration{-1, time.Millisecond, 5001 * time.Millisecond} {
		if _, err := events.NewCanary(nil, fanout, events.CanaryConfig{Interval: interval}); err == nil {
			t.Errorf("%v is taken", interval)
		}
	}
	fanout.Reconnect() // Which does nothing before the start.
	canary, err := events.NewCanary(nil, fanout, events.CanaryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	canary.Close()
	if canary.Start(t.Context()) == nil {
		t.Error("it starts after it was closed")
	}
}
