package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/health"
	"github.com/connectbot-hub/connecthub/internal/metrics"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// hub is everything that runs, in the order in which it was made.
type hub struct {
	cfg      *serveCommand
	app      *app
	log      *zap.Logger
	embedded *redisconn.Embedded
	// rdb keeps what can be made anew, eventsRDB what cannot. They may be the same client.
	rdb, eventsRDB *redis.Client
	rdbURL         string

	menus     *menus
	temp      *tempdata.Store
	pairing   *pairing
	publisher *events.Publisher
	fanout    *events.Fanout
	canary    *events.Canary
	checker   *health.Checker
	// bridge and its canary are nil when BRIDGE_LEGACY is false.
	bridge       *events.Bridge
	bridgeCanary *events.Canary

	announcer *announcer
	doors     *doors
	server    *api.Server
	listener  net.Listener
	// operations is nil when METRICS_ADDR is off.
	operations *operations
	keys       *keyring
	audit      *auditLog
	started    time.Time
	metrics    *metrics.Metrics
	// baseline is what /stats no longer counts, and asking shares what Redis is asked for it.
	baseline baseline
	asking   singleflight.Group
	// tracing makes spans, nil when nobody wants them. stopTracing sends those that are left.
	tracing     trace.TracerProvider
	stopTracing func()
}

// newHub makes the parts and listens. It does not wait for Redis: a hub without it answers, and says so.
func (c *serveCommand) newHub(ctx context.Context, a *app, keys *keyring, logger *zap.Logger, audit *auditLog) (_ *hub, err error) {
	keys.log, keys.audit = logger, audit.Logger
	h := &hub{cfg: c, app: a, log: logger, keys: keys, audit: audit, started: time.Now(), metrics: metrics.New(a.version)}
	if err := h.startTracing(ctx); err != nil {
		return nil, err
	}
	defer func() { //nolint:contextcheck // What was made is closed whether ctx has ended or not.
		if err != nil {
			if h.pairing != nil {
				h.pairing.close()
			}
			if h.menus != nil {
				h.menus.close()
			}
			if h.operations != nil {
				h.operations.close()
			}
			h.closeRedis()
			h.stopTracing()
		}
	}()
	if err := h.openRedis(); err != nil {
		return nil, err
	}
	h.traceRedis()
	cfg := events.Config{
		Prefix:       c.ChannelPrefix,
		User:         events.Retention{MaxEntries: c.UserLogEntries, MaxAge: c.UserLogAge},
		Global:       events.Retention{MaxEntries: c.GlobalLogEntries, MaxAge: c.GlobalLogAge},
		Service:      events.Retention{MaxEntries: c.ServiceLogEntries, MaxAge: c.ServiceLogAge},
		DedupeWindow: c.DedupeWindow,
		QueueLength:  c.StreamQueue,
		Trace:        h.tracePublishing(),
		Logger:       logger,
	}
	if h.publisher, err = events.NewPublisher(h.eventsRDB, cfg); err != nil {
		return nil, err
	}
	h.announcer = newAnnouncer(h.publisher, a.version, logger)
	if h.fanout, err = events.NewFanout(h.eventsRDB, cfg); err != nil {
		return nil, err
	}
	look := func() { h.checker.Look() }
	h.canary, err = events.NewCanary(h.publisher, h.fanout, events.CanaryConfig{
		Interval: c.HealthInterval, OnRoundTrip: h.metrics.Canary, OnFailure: look,
	})
	if err != nil {
		return nil, err
	}
	log, err := events.NewLog(h.eventsRDB, cfg)
	if err != nil {
		return nil, err
	}
	if c.BridgeLegacy {
		if h.bridge, err = events.NewBridge(h.eventsRDB, cfg); err != nil {
			return nil, err
		}
		h.bridgeCanary, err = events.NewBridgeCanary(h.bridge, events.CanaryConfig{Interval: c.HealthInterval, OnFailure: look})
		if err != nil {
			return nil, err
		}
	}
	if h.menus, err = c.newMenus(h.rdb, h.eventsRDB, h.rdbURL, h.publisher, logger); err != nil {
		return nil, err
	}
	if h.temp, err = c.newTemp(h.rdb, h.rdbURL, h.traceWaiting(), logger); err != nil {
		return nil, err
	}
	if h.pairing, err = h.newPairing(cfg); err != nil {
		return nil, err
	}
	if h.doors, err = c.newDoors(h.eventsRDB, logger); err != nil {
		return nil, err
	}
	h.checker = h.newChecker()
	h.server = api.New(api.Deps{
		Publisher: h.publisher, Log: log, Fanout: h.fanout, Menus: h.menus.Menus, Temp: h.temp,
		Matching: h.pairing.Matcher, MatchingJobs: h.pairing.jobs,
		Health: h.checker, Ready: h.checker.Only(checkOfEvents), Started: h.checker.Looked, Stats: h.stats, ResetStats: h.resetStats,
	}, c.guarded(h.doors, api.Config{Keys: keys.Keys, Audit: audit.Logger, Version: a.version, Logger: logger, Tracing: h.tracing, OnRequest: h.onRequest()}))
	if err := h.metrics.Register(newPartsCollector(h)); err != nil {
		return nil, err
	}
	if c.MetricsAddr != noAddr {
		if h.operations, err = newOperations(ctx, c.MetricsAddr, h.metrics.Handler(logger), h.server.Handler(), logger); err != nil {
			return nil, err
		}
	}
	if h.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", c.HTTPAddr); err != nil {
		return nil, &settingError{"HTTP_ADDR", "cannot be listened on: " + err.Error()}
	}
	return h, nil
}

// openRedis makes the clients, and starts the embedded server when REDIS_URL names no other.
func (h *hub) openRedis() (err error) {
	h.rdbURL = h.cfg.RedisURL
	if h.rdbURL == "" {
		if h.embedded, err = redisconn.StartEmbedded(h.cfg.EmbeddedRedisAddr); err != nil {
			return &settingError{"EMBEDDED_REDIS_ADDR", "cannot be used: " + err.Error()}
		}
		h.rdbURL = h.embedded.URL()
		h.log.Warn("no REDIS_URL is set: "+h.lost()+" are kept in memory only and are lost when the hub stops",
			zap.String("embedded_redis", h.rdbURL))
	}
	if h.rdb, err = redisconn.Open(h.rdbURL); err != nil {
		return err
	}
	h.eventsRDB = h.rdb
	if h.cfg.EventsRedisURL != "" {
		h.eventsRDB, err = redisconn.Open(h.cfg.EventsRedisURL)
	}
	return err
}

// lost says what the embedded server loses when the hub stops.
func (h *hub) lost() string {
	if h.cfg.EventsRedisURL == "" {
		return "events, menus and temporary data"
	}
	return "menus and temporary data"
}

func (h *hub) closeRedis() {
	for _, client := range []*redis.Client{h.rdb, h.eventsRDB} {
		if client != nil {
			_ = client.Close() // It fails only when closed twice, as one that is both is.
		}
	}
	if h.embedded != nil {
		h.embedded.Close()
	}
}

// run starts the parts, answers requests until ctx ends, and stops the parts in the reverse order.
func (h *hub) run(ctx context.Context) error {
	defer h.stopTracing()
	defer h.closeRedis()
	defer func() { _ = h.listener.Close() }() // Mostly the server has closed it.
	start := []func(context.Context) error{h.audit.start, h.keys.start, h.publisher.Start, h.fanout.Start, h.menus.start, h.temp.Start, h.pairing.start}
	stop := []func(){h.pairing.close, h.temp.Close, h.menus.close, h.fanout.Close, h.publisher.Close, h.keys.close, h.audit.stop}
	if h.bridge != nil {
		start = append(start, h.bridge.Start, h.bridgeCanary.Start)
		stop = append([]func(){h.bridgeCanary.Close, h.bridge.Close}, stop...)
	}
	start = append(start, h.announcer.start, h.doors.limiter.Start)
	stop = append([]func(){h.announcer.close, h.doors.limiter.Close}, stop...)
	start = append(start, h.canary.Start, h.checker.Start)
	stop = append([]func(){h.checker.Close, h.canary.Close}, stop...)
	if h.operations != nil { // The first and the last, as they show how the others do.
		start = append([]func(context.Context) error{h.operations.start}, start...)
		stop = append(stop, h.operations.close)
	}
	defer func() {
		for _, f := range stop {
			f()
		}
	}()
	for _, f := range start {
		if err := f(ctx); err != nil {
			return err
		}
	}
	served := make(chan error, 1)
	go func() { served <- h.server.Serve(h.listener) }()
	h.log.Info("the hub is listening", zap.String("address", h.listener.Addr().String()), zap.String("version", h.app.version))
	h.greet()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	h.log.Info("the hub is shutting down")
	h.server.Leave()
	select {
	case err := <-served:
		return err
	case <-time.After(h.cfg.ShutdownDelay): // While balancers find out.
	}
	h.checker.Close()   // What is stopped from now on is no failure.
	h.announcer.close() //nolint:contextcheck // It takes a second at most. Mostly the hub's own streams still hear it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.cfg.ShutdownTimeout)
	defer cancel()
	var working sync.WaitGroup
	working.Go(h.pairing.stopWorking) // Which takes as long as the requests over HTTP may: not one after the other.
	if err := h.server.Shutdown(ctx); err != nil {
		h.log.Warn("requests were cut off: they took longer than SHUTDOWN_TIMEOUT", zap.Error(err))
	}
	working.Wait()
	return errors.Join(<-served)
}

// greet shows a newcomer how to see the hub work.
func (h *hub) greet() {
	base := "http://" + reachable(h.listener.Addr())
	if h.doors.tls != nil {
		base = "https://" + reachable(h.listener.Addr())
	}
	auth, how := "", "Try it"
	if !h.keys.Empty() {
		auth = ` -H "Authorization: Service $SERVICE_AUTH_TOKEN"`
		how = "Try it, with a key's token in the shell's variable SERVICE_AUTH_TOKEN"
	}
	_, _ = fmt.Fprintf(h.app.stdout, `ConnectBot Hub %s is listening on %s. %s:

  curl -N%s '%s/v1/stream?channel=user:123&last_event_id=earliest'
  curl%s '%s/v1/events/users/123' -H 'Content-Type: application/json' -d '{"type":"user.login","data":{"name":"Анна"}}'
  curl%s '%s/v1/events?channel=user:123'
  curl%s '%s/v1/menus/123/main'

The API is described at %s/docs. Stop the hub with Ctrl+C.
`, h.app.version, base, how, auth, base, auth, base, auth, base, auth, base, base)
	if h.embedded != nil {
		_, _ = fmt.Fprintf(h.app.stdout, "Redis is embedded, at %s, and keeps nothing: set REDIS_URL to keep %s.\n", h.embedded.URL(), h.lost())
	}
}

// reachable returns an address at which a client on this machine reaches a listener.
func reachable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
}
