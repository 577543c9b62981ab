package events_test

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func newBridgeCanary(tb testing.TB, b *events.Bridge, cfg events.CanaryConfig) *events.Canary {
	tb.Helper()
	c, err := events.NewBridgeCanary(b, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	if err := c.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

// TestBridgeCanaryNoticesDeafness has a bridge's connection answer PING and hear nothing: the canary says so, once, has another
// made, and what is published then is taken up again.
func TestBridgeCanaryNoticesDeafness(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server)
	rdb, err := redisconn.Open(proxy.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	cfg, bot := config(t), server.Client()
	bridge := newBridge(t, rdb, cfg)
	var failures atomic.Int64
	canary := newBridgeCanary(t, bridge, events.CanaryConfig{Interval: minInterval, OnFailure: func() { failures.Add(1) }})
	well(t, canary)
	proxy.Deafen()
	unwell(t, canary, "the bridge did not hear in time")
	well(t, canary)
	say(t, bot, cfg.Prefix+":global", botSays(cfg, events.Global(), "1", "{}"))
	redistest.Eventually(t, soon, "it is taken up", func() bool { return bridge.Stats().TakenUp == 1 })
	if s := canary.Stats(); s.Lost != 1 || s.Unpublished != 0 || failures.Load() != 1 {
		t.Errorf("%+v, told of %d failures", s, failures.Load())
	}
	if s := bridge.Stats(); s.Ignored != 0 {
		t.Errorf("the bridge counts %+v", s)
	}
}

// TestALateBridgeKeepsItsConnection says more than a bridge can hold while nothing can be taken up: the canary tells, but what
// waits in the connection is not thrown away with it.
func TestALateBridgeKeepsItsConnection(t *testing.T) {
	t.Parallel()
	cfg, bot := config(t), redistest.Shared(t).Client()
	held := &batches{waiting: make(chan struct{}, 10_000), open: make(chan struct{})}
	rdb := redistest.Shared(t).Client()
	rdb.AddHook(held)
	bridge := newBridge(t, rdb, cfg)
	canary := newBridgeCanary(t, bridge, events.CanaryConfig{Interval: minInterval})
	well(t, canary)
	const said = 1200
	for n := range said {
		say(t, bot, cfg.Prefix+":global", botSays(cfg, events.Global(), strconv.Itoa(n), "{}"))
	}
	unwell(t, canary, "the bridge did not hear in time")
	close(held.open)
	redistest.Eventually(t, soon, "all is taken up", func() bool { return bridge.Stats().TakenUp == said })
	well(t, canary)
}
