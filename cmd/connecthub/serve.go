package main

import (
	"context"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
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
	ShutdownDelay   time.Duration `setting:"SHUTDOWN_DELAY" default:"0s" help:"How long the hub goes on answering when it is told to stop, while /health/ready is red so that balancers send nobody more."`
	ShutdownTimeout time.Duration `setting:"SHUTDOWN_TIMEOUT" default:"15s" help:"How long requests over HTTP that are under way may take to end."`

	menuSettings     `embed:""`
	tempSettings     `embed:""`
	matchingSettings `embed:""`
	auditSettings    `embed:""`
	doorSettings     `embed:""`
	healthSettings   `embed:""`

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
	logger, whole, err := c.logger(a)
	if err != nil {
		return err
	}
	defer func() { _ = logger.Sync() }() // Standard error often cannot be synced.
	audit, err := c.openAudit(whole, logger, a.version)
	if err != nil {
		return err
	}
	defer audit.close()
	if os.Getenv("GOGC") == "" {
		// The heap is small and publishing allocates: collecting at twice its size costs a fifteenth of the throughput.
		debug.SetGCPercent(gcPercent)
	}
	h, err := c.newHub(ctx, a, keys, logger, audit)
	if err != nil {
		return err
	}
	return h.run(ctx)
}

// validate checks the settings that can be judged without I/O on the network, and returns the keys.
func (c *serveCommand) validate() (*keyring, error) {
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
	keys, err := c.newKeyring()
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
		{"SHUTDOWN_DELAY", c.ShutdownDelay >= 0 && c.ShutdownDelay <= 5*time.Minute, "must be from 0s to 5m"},
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
	if err := c.healthSettings.validate(); err != nil {
		return nil, err
	}
	if err := c.tempSettings.validate(); err != nil {
		return nil, err
	}
	if err := c.doorSettings.validate(); err != nil {
		return nil, err
	}
	return keys, c.matchingSettings.validate()
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// logger returns the log, and a way into it for what must not be missing there.
func (c *serveCommand) logger(a *app) (log *zap.Logger, whole zapcore.Core, err error) {
	level, err := zapcore.ParseLevel(c.LogLevel)
	if err != nil {
		return nil, nil, &settingError{"LOG_LEVEL", "must be debug, info, warn or error"}
	}
	format := zap.NewProductionEncoderConfig()
	format.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	format.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(format)
	if c.LogFormat == "console" {
		encoder = zapcore.NewConsoleEncoder(format)
	}
	sink := zapcore.Lock(zapcore.AddSync(a.stderr))
	core := zapcore.NewCore(encoder, sink, level)
	// The same message is written 100 times a second at most, and then every hundredth time: an outage under load must
	// not fill the disk.
	return zap.New(zapcore.NewSamplerWithOptions(core, time.Second, 100, 100)), zapcore.NewCore(encoder.Clone(), sink, zapcore.InfoLevel), nil
}
