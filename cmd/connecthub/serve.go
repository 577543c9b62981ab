package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// serveCommand holds every setting of the hub: flag, environment variable, default and help in one place.
type serveCommand struct {
	HTTPAddr          string `name:"http-addr" setting:"HTTP_ADDR" default:"127.0.0.1:8090" help:"Where to listen. Anything but a loopback address needs a key."`
	RedisURL          string `name:"redis-url" setting:"REDIS_URL" placeholder:"URL" help:"Where menus are cached, and temporary data and events are kept: redis://[user[:password]@]host[:port][/db], rediss://… with TLS, or unix:///path?db=0. Unset: an embedded server that keeps nothing."`
	EventsRedisURL    string `name:"events-redis-url" setting:"EVENTS_REDIS_URL" placeholder:"URL" help:"Another Redis for what cannot be made anew: events, their log, and writes that wait for the menu source. Unset: the one of REDIS_URL."`
	EmbeddedRedisAddr string `setting:"EMBEDDED_REDIS_ADDR" default:"127.0.0.1:6390" help:"Where the embedded Redis listens, while REDIS_URL is not set."`

	tokenSettings `embed:""`
	HubKeysFile   string `setting:"HUB_KEYS_FILE" placeholder:"FILE" help:"Keys of several services, made by connecthub keys new."`

	ChannelPrefix string        `setting:"CHANNEL_PREFIX" default:"connectbot" help:"What every channel, and every key of the events, in Redis begins with."`
	BridgeLegacy  bool          `setting:"BRIDGE_LEGACY" default:"true" negatable:"" help:"Take what others publish on the Redis channels into the log."`
	DedupeWindow  time.Duration `setting:"DEDUPE_WINDOW" default:"24h" help:"How long event ids and idempotency keys are remembered."`

	UserLogEntries    int64         `setting:"USER_LOG_ENTRIES" default:"1000" help:"Events kept per user, about."`
	UserLogAge        time.Duration `setting:"USER_LOG_AGE" default:"168h" help:"How long they are kept."`
	GlobalLogEntries  int64         `setting:"GLOBAL_LOG_ENTRIES" default:"1000" help:"Events for all that are kept, about."`
	GlobalLogAge      time.Duration `setting:"GLOBAL_LOG_AGE" default:"168h" help:"How long they are kept."`
	ServiceLogEntries int64         `setting:"SERVICE_LOG_ENTRIES" default:"1000" help:"Events kept per service, about."`
	ServiceLogAge     time.Duration `setting:"SERVICE_LOG_AGE" default:"168h" help:"How long they are kept."`

	MaxStreams      int           `setting:"MAX_STREAMS" default:"20000" help:"Streams that may be open at a time."`
	StreamQueue     int           `setting:"STREAM_QUEUE" default:"1024" help:"Events that may wait for a slow reader before it is cut off."`
	ShutdownTimeout time.Duration `setting:"SHUTDOWN_TIMEOUT" default:"15s" help:"How long requests over HTTP that are under way may take to end."`

	menuSettings     `embed:""`
	tempSettings     `embed:""`
	matchingSettings `embed:""`

	LogLevel  string `setting:"LOG_LEVEL" enum:"debug,info,warn,error" default:"info" help:"debug, info, warn or error. debug logs every request."`
	LogFormat string `setting:"LOG_FORMAT" enum:"json,console" default:"json" help:"json or console."`
}

// gcPercent is the growth of the heap between collections; GOGC in the environment overrides it.
const gcPercent = 300

// Run runs the hub until ctx ends.
func (c *serveCommand) Run(ctx context.Context, a *app) error {
	keys, err := c.validate()
	if err != nil {
		return err
	}
	logger, err := c.logger(a)
	if err != nil {
		return err
	}
	defer func() { _ = logger.Sync() }() // Standard error often cannot be synced.
	if os.Getenv("GOGC") == "" {
		// The heap is small and publishing allocates: collecting at twice its size costs a fifteenth of the throughput.
		debug.SetGCPercent(gcPercent)
	}
	h, err := c.newHub(ctx, a, keys, logger)
	if err != nil {
		return err
	}
	return h.run(ctx)
}

// validate checks the settings that can be judged without I/O on the network, and returns the keys.
func (c *serveCommand) validate() (*api.Keys, error) {
	host, _, err := net.SplitHostPort(c.HTTPAddr)
	if err != nil {
		return nil, &settingError{"HTTP_ADDR", "must be host:port, such as 127.0.0.1:8090"}
	}
	if host, _, err := net.SplitHostPort(c.EmbeddedRedisAddr); err != nil || !isLoopback(host) {
		return nil, &settingError{
			"EMBEDDED_REDIS_ADDR", "must be host:port with a loopback address, such as 127.0.0.1:6390: the embedded Redis has no password",
		}
	}
	for _, s := range []struct{ name, url string }{{"REDIS_URL", c.RedisURL}, {"EVENTS_REDIS_URL", c.EventsRedisURL}} {
		if s.url == "" {
			continue
		}
		if err := redisconn.CheckURL(s.url); err != nil {
			return nil, &settingError{s.name, err.Error()}
		}
	}
	keys, err := c.keys()
	if err != nil {
		return nil, err
	}
	if keys.Empty() && !isLoopback(host) {
		return nil, &settingError{
			"HTTP_ADDR", "must be a loopback address, such as 127.0.0.1:8090, while there is no key: " +
				"set SERVICE_AUTH_TOKEN, SERVICE_AUTH_TOKEN_FILE or HUB_KEYS_FILE to listen elsewhere",
		}
	}
	for _, s := range []struct {
		name string
		ok   bool
		want string
	}{
		{"USER_LOG_ENTRIES", c.UserLogEntries >= 1, "must be at least 1"},
		{"GLOBAL_LOG_ENTRIES", c.GlobalLogEntries >= 1, "must be at least 1"},
		{"SERVICE_LOG_ENTRIES", c.ServiceLogEntries >= 1, "must be at least 1"},
		{"USER_LOG_AGE", c.UserLogAge >= time.Second, "must be at least 1s"},
		{"GLOBAL_LOG_AGE", c.GlobalLogAge >= time.Second, "must be at least 1s"},
		{"SERVICE_LOG_AGE", c.ServiceLogAge >= time.Second, "must be at least 1s"},
		{"DEDUPE_WINDOW", c.DedupeWindow >= time.Second, "must be at least 1s"},
		{"MAX_STREAMS", c.MaxStreams >= 1, "must be at least 1"},
		{"STREAM_QUEUE", c.StreamQueue >= 1, "must be at least 1"},
		{"SHUTDOWN_TIMEOUT", c.ShutdownTimeout > 0, "must be above 0"},
		{"CHANNEL_PREFIX", events.CheckPrefix(c.ChannelPrefix) == nil, "must be 1 to 64 ASCII letters, digits, '_' and '-'"},
	} {
		if !s.ok {
			return nil, &settingError{s.name, s.want}
		}
	}
	if err := c.menuSettings.validate(); err != nil {
		return nil, err
	}
	if err := c.tempSettings.validate(); err != nil {
		return nil, err
	}
	return keys, c.matchingSettings.validate()
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// keys returns the configured keys; there may be none.
func (c *serveCommand) keys() (*api.Keys, error) {
	var all []*api.Key
	token, from, err := c.token()
	if err != nil {
		return nil, err
	}
	if token != "" {
		key, err := api.KeyForToken(token)
		if err != nil {
			return nil, &settingError{from, "is too weak: " + err.Error()}
		}
		all = append(all, key)
	}
	if c.HubKeysFile != "" {
		fromFile, err := api.ReadKeysFile(c.HubKeysFile)
		if err != nil {
			return nil, &settingError{"HUB_KEYS_FILE", "cannot be used: " + err.Error()}
		}
		all = append(all, fromFile...)
	}
	keys, err := api.NewKeys(all...)
	if err != nil {
		return nil, &settingError{"HUB_KEYS_FILE", "cannot be used: " + err.Error()}
	}
	return keys, nil
}

func (c *serveCommand) logger(a *app) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(c.LogLevel)
	if err != nil {
		return nil, &settingError{"LOG_LEVEL", "must be debug, info, warn or error"}
	}
	format := zap.NewProductionEncoderConfig()
	format.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	format.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(format)
	if c.LogFormat == "console" {
		encoder = zapcore.NewConsoleEncoder(format)
	}
	core := zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(a.stderr)), level)
	// The same message is written 100 times a second at most, and then every hundredth time: an outage under load must
	// not fill the disk.
	return zap.New(zapcore.NewSamplerWithOptions(core, time.Second, 100, 100)), nil
}

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
	bridge    *events.Bridge
	server    *api.Server
	listener  net.Listener
	keyless   bool
	started   time.Time
}

// newHub makes the parts and listens. It does not wait for Redis: a hub without it answers, and says so.
func (c *serveCommand) newHub(ctx context.Context, a *app, keys *api.Keys, logger *zap.Logger) (_ *hub, err error) {
	h := &hub{cfg: c, app: a, log: logger, keyless: keys.Empty(), started: time.Now()}
	defer func() { //nolint:contextcheck // What was made is closed whether ctx has ended or not.
		if err != nil {
			if h.pairing != nil {
				h.pairing.close()
			}
			if h.menus != nil {
				h.menus.close()
			}
			h.closeRedis()
		}
	}()
	if err := h.openRedis(); err != nil {
		return nil, err
	}
	cfg := events.Config{
		Prefix:       c.ChannelPrefix,
		User:         events.Retention{MaxEntries: c.UserLogEntries, MaxAge: c.UserLogAge},
		Global:       events.Retention{MaxEntries: c.GlobalLogEntries, MaxAge: c.GlobalLogAge},
		Service:      events.Retention{MaxEntries: c.ServiceLogEntries, MaxAge: c.ServiceLogAge},
		DedupeWindow: c.DedupeWindow,
		QueueLength:  c.StreamQueue,
		Logger:       logger,
	}
	if h.publisher, err = events.NewPublisher(h.eventsRDB, cfg); err != nil {
		return nil, err
	}
	if h.fanout, err = events.NewFanout(h.eventsRDB, cfg); err != nil {
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
	}
	if h.menus, err = c.newMenus(h.rdb, h.eventsRDB, h.rdbURL, h.publisher, logger); err != nil {
		return nil, err
	}
	if h.temp, err = c.newTemp(h.rdb, h.rdbURL, logger); err != nil {
		return nil, err
	}
	if h.pairing, err = h.newPairing(cfg); err != nil {
		return nil, err
	}
	h.server = api.New(api.Deps{
		Publisher: h.publisher, Log: log, Fanout: h.fanout, Menus: h.menus.Menus, Temp: h.temp,
		Matching: h.pairing.Matcher, MatchingJobs: h.pairing.jobs,
		Health: h.checks(), Ready: h.readiness(), Stats: h.stats,
	}, api.Config{Keys: keys, MaxStreams: c.MaxStreams, Version: a.version, Logger: logger})
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
	defer h.closeRedis()
	defer func() { _ = h.listener.Close() }() // Mostly the server has closed it.
	start := []func(context.Context) error{h.publisher.Start, h.fanout.Start, h.menus.start, h.temp.Start, h.pairing.start}
	stop := []func(){h.pairing.close, h.temp.Close, h.menus.close, h.fanout.Close, h.publisher.Close}
	if h.bridge != nil {
		start = append(start, h.bridge.Start)
		stop = append([]func(){h.bridge.Close}, stop...)
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
	auth, how := "", "Try it"
	if !h.keyless {
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
