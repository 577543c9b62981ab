package api_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/health"
	"github.com/connectbot-hub/connecthub/internal/contracttest"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/internal/tracing"
	"github.com/connectbot-hub/connecthub/menucache"
	"github.com/connectbot-hub/connecthub/tempdata"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

// soon bounds what should come about at once, on a machine that is busy with other tests.
const soon = 20 * time.Second

// publisher is what the server needs of events.Publisher.
type publisher interface {
	Publish(ctx context.Context, m events.Message) (events.Receipt, error)
}

// options say how the hub of a test differs from the usual one.
type options struct {
	// redis is the server to use; nil: the one that all tests share.
	redis *redistest.Server
	// events gets a prefix of the test's own when it names none.
	events events.Config
	// menus is used with the prefix of events.
	menus menucache.Config
	temp  tempdata.Config
	// matching says how people are matched; nil: nobody is.
	matching *matchingOptions
	api      api.Config
	// wrap puts something in front of the publisher.
	wrap func(publisher) publisher
	// leasing is told of each lease that is asked for, before it is.
	leasing chan<- struct{}
	// probe is one more health check.
	probe health.Probe
	// listen changes the listener, prepare the server before it listens.
	listen  func(net.Listener) net.Listener
	prepare func(*api.Server)
}

// hub is a whole hub, wired as the command wires it and listening on a port of its own.
type hub struct {
	redis  *redistest.Server
	prefix string
	server *api.Server
	url    string
	// http checks every response against the contract.
	http *http.Client
	// base is the transport under it.
	base *http.Transport
	logs *observer.ObservedLogs
	// connections is how many connections to Redis the hub holds for commands.
	connections func() int
	// streams is how many streams are open, for when the hub does not answer any more.
	streams func() int64
	stop    func(tb testing.TB)
}

func startHub(tb testing.TB, o options) *hub {
	tb.Helper()
	if o.redis == nil {
		o.redis = redistest.Shared(tb)
	}
	if o.events.Prefix == "" {
		o.events.Prefix = redistest.Prefix(tb)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	logger := zap.New(core)
	o.events.Logger, o.menus.Logger, o.temp.Logger, o.api.Logger = logger, logger, logger, logger
	h := &hub{redis: o.redis, prefix: o.events.Prefix, logs: logs}
	deps := h.wire(tb, o)
	h.server = api.New(deps, o.api)
	if o.prepare != nil {
		o.prepare(h.server)
	}
	h.serve(tb, o)
	return h
}

// wire makes and starts the parts. They end with the test.
func (h *hub) wire(tb testing.TB, o options) api.Deps {
	tb.Helper()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	rdb, err := redisconn.Open(o.redis.URL())
	must(err)
	tb.Cleanup(func() { _ = rdb.Close() })
	if o.api.Tracing != nil {
		rdb.AddHook(tracing.Redis(o.api.Tracing, "main"))
		o.events.Trace = publishingTo(o.api.Tracing)
	}
	h.connections = func() int { return int(rdb.PoolStats().TotalConns) }
	pub, err := events.NewPublisher(rdb, o.events)
	must(err)
	fanout, err := events.NewFanout(rdb, o.events)
	must(err)
	h.streams = func() int64 { return fanout.Stats().Open }
	log, err := events.NewLog(rdb, o.events)
	must(err)
	bridge, err := events.NewBridge(rdb, o.events)
	must(err)
	o.menus.Redis, o.menus.RedisURL, o.menus.Prefix = rdb, o.redis.URL(), o.events.Prefix
	if o.menus.Announce == nil {
		o.menus.Announce = announce(pub)
	}
	menus, err := menucache.New(o.menus)
	must(err)
	if o.api.Tracing != nil {
		o.temp.Trace = tracing.Waiting(o.api.Tracing, "main")
	}
	o.temp.Redis, o.temp.URL, o.temp.Prefix = rdb, o.redis.URL(), o.events.Prefix
	temp, err := tempdata.New(o.temp)
	must(err)
	checker := health.New(health.Config{FreshFor: -1})
	checker.Add("redis", "datastore", func(ctx context.Context) error { return rdb.Ping(ctx).Err() })
	checker.Add("subscription", "component", fanout.Check)
	checker.Add("bridge", "component", bridge.Check)
	if o.probe != nil {
		checker.Add("probe", "component", o.probe)
	}
	must(pub.Start(tb.Context()))
	tb.Cleanup(pub.Close)
	must(fanout.Start(tb.Context()))
	tb.Cleanup(fanout.Close)
	must(bridge.Start(tb.Context()))
	tb.Cleanup(bridge.Close)
	must(menus.Start(tb.Context()))
	tb.Cleanup(menus.Close)
	must(temp.Start(tb.Context()))
	tb.Cleanup(temp.Close)
	redistest.Eventually(tb, soon, "the hub is connected", func() bool { return fanout.Connected() && bridge.Connected() })

	deps := api.Deps{Publisher: pub, Log: log, Fanout: fanout, Menus: menus, Temp: temp, Health: checker, Ready: checker}
	if o.wrap != nil {
		deps.Publisher = o.wrap(pub)
	}
	if o.leasing != nil {
		deps.Temp = leaser{temp, o.leasing}
	}
	if o.matching != nil {
		h.wireMatching(tb, &deps, o)
	}
	deps.Stats = func() api.Stats {
		p, f, b, m, t := pub.Stats(), fanout.Stats(), bridge.Stats(), menus.Stats(), temp.Stats()
		counts, _ := temp.Counts(context.Background()) // None while Redis is away.
		keys := make(map[string]int64, len(counts))
		for _, c := range counts {
			keys[c.Namespace] = c.Keys
		}
		return api.Stats{
			Since: "2026-11-21T06:00:00Z",
			Events: map[string]int64{
				"published": p.Published, "duplicates": p.Duplicates, "failed": p.Failed,
				"bridged": b.TakenUp, "bridged_before": b.Seen, "ignored": b.Ignored,
			},
			EventsByScope: map[string]map[string]int64{"user": {"published": p.User.Published}},
			Requests:      map[string]int64{"total": h.server.Requests()[http.StatusOK]},
			Streams: map[string]int64{
				"open": f.Open, "opened": f.Opened, "channels": f.Channels, "delivered": f.Delivered,
				"cut_slow": f.Slow, "gaps": f.Gaps,
			},
			Caches: map[string]map[string]float64{"menus": {
				"hits": float64(m.LocalHits + m.RemoteHits), "local_hits": float64(m.LocalHits), "misses": float64(m.Misses),
				"hit_ratio": m.HitRatio(),
			}},
			TempData: &api.TempDataStats{
				Operations: map[string]int64{
					"reads": t.Reads, "writes": t.Writes, "deletes": t.Deletes, "unmet": t.Unmet, "degraded": t.Degraded,
					"waiting": t.Waiting,
				},
				Keys: keys,
			},
		}
	}
	deps.ResetStats = deps.Stats
	return deps
}

// leaser tells of each lease that is asked for.
type leaser struct {
	*tempdata.Store
	asked chan<- struct{}
}

func (l leaser) Lease(ctx context.Context, userID int64, ttl, wait time.Duration) (tempdata.Lease, error) {
	l.asked <- struct{}{}
	return l.Store.Lease(ctx, userID, ttl, wait)
}

// announce publishes that menus were cleared.
func announce(pub publisher) func(context.Context, int64, []byte) error {
	return func(ctx context.Context, userID int64, data []byte) error {
		m := events.Message{Channel: events.Global(), Type: "system.cache_cleared", Source: "connecthub", Data: data}
		if userID != 0 {
			var err error
			if m.Channel, err = events.User(userID); err != nil {
				return err
			}
		}
		_, err := pub.Publish(ctx, m)
		return err
	}
}

// serve listens, and shuts the server down when the test ends, unless stop did before.
func (h *hub) serve(tb testing.TB, o options) {
	tb.Helper()
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	h.url = "http://" + listener.Addr().String()
	if o.listen != nil {
		listener = o.listen(listener)
	}
	h.base = &http.Transport{MaxIdleConnsPerHost: 128}
	h.http = &http.Client{Transport: contracttest.Transport(tb, h.base)}
	served := make(chan error, 1)
	go func() { served <- h.server.Serve(listener) }()
	var once sync.Once
	h.stop = func(tb testing.TB) {
		tb.Helper()
		once.Do(func() {
			h.base.CloseIdleConnections()
			ctx, cancel := context.WithTimeout(context.Background(), soon)
			defer cancel()
			if err := errors.Join(h.server.Shutdown(ctx), <-served); err != nil {
				tb.Errorf("shutting down: %v", err)
			}
		})
	}
	tb.Cleanup(func() {
		h.stop(tb)
		h.base.CloseIdleConnections()
	})
}

// full is the full name of a channel, which is also what it is called in Redis.
func (h *hub) full(channel string) string { return h.prefix + ":" + channel }

// logKey is the key of a channel's log in Redis.
func (h *hub) logKey(channel string) string { return h.prefix + ":log:{" + h.full(channel) + "}" }

// logLength is how many events the log of a channel holds, as Redis says.
func (h *hub) logLength(tb testing.TB, channel string) int64 {
	tb.Helper()
	n, err := h.redis.Client().XLen(tb.Context(), h.logKey(channel)).Result()
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// trim leaves only the newest events of a channel's log.
func (h *hub) trim(tb testing.TB, channel string, keep int64) {
	tb.Helper()
	if err := h.redis.Client().XTrimMaxLen(tb.Context(), h.logKey(channel), keep).Err(); err != nil {
		tb.Fatal(err)
	}
}

// message is what came on a Redis channel.
type message struct{ channel, payload string }

// subscribe listens on Redis channels, as a service does that knows nothing of the hub.
func (h *hub) subscribe(tb testing.TB, channels ...string) <-chan message {
	tb.Helper()
	names := make([]string, len(channels))
	for i, ch := range channels {
		names[i] = h.full(ch)
	}
	subscription := h.redis.Client().Subscribe(tb.Context(), names...)
	for range names {
		if _, err := subscription.Receive(tb.Context()); err != nil {
			tb.Fatal(err)
		}
	}
	messages := make(chan message, 1024)
	var listening sync.WaitGroup
	listening.Go(func() {
		for {
			msg, err := subscription.ReceiveMessage(context.Background())
			if err != nil {
				return
			}
			messages <- message{msg.Channel, msg.Payload}
		}
	})
	tb.Cleanup(func() {
		_ = subscription.Close()
		listening.Wait()
	})
	return messages
}

// nextMessage waits for a message.
func nextMessage(tb testing.TB, messages <-chan message) message {
	tb.Helper()
	select {
	case m := <-messages:
		return m
	case <-time.After(soon):
		tb.Fatal("nothing came on the Redis channel")
		return message{}
	}
}

// subscribers is how many connections have subscribed to a channel in Redis.
func (h *hub) subscribers(tb testing.TB, channel string) int64 {
	tb.Helper()
	counts, err := h.redis.Client().PubSubNumSub(tb.Context(), h.full(channel)).Result()
	if err != nil {
		tb.Fatal(err)
	}
	return counts[h.full(channel)]
}
