package tempdata

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// Config says where temporary data is kept.
type Config struct {
	// Redis is where; required. The caller closes it, after the Store. URL is what it was opened with; with Django, and
	// only then, a connection of its own tells of what the bot changes.
	Redis *redis.Client
	URL   string
	// Prefix begins every key that is not the bot's. Default: hub.
	Prefix string
	// Django shares values, and the form BotForm of each user, with the Django bot: its keys, after DjangoPrefix and a
	// colon, and its format. Default DjangoPrefix: connectbot:1.
	Django       bool
	DjangoPrefix string
	// MemoryBytes bounds what is kept in memory for when Redis is away, about, in bytes. Default: 64 MiB. Negative: nothing
	// is kept, and calls fail with ErrUnavailable while Redis is away, as they must where several hubs share the callers.
	MemoryBytes int64
	// Timeout is how long Redis may take to answer. Default: 500 ms.
	Timeout time.Duration
	// Trace is called when an operation is handed over, to be sent to Redis together with those of others, and end when it is
	// done, with whether Redis was away. It must be quick and safe for concurrent use. Default: nobody.
	Trace func(ctx context.Context) (end func(away bool))
	// Logger is told when Redis goes and comes back. Default: nobody.
	Logger *zap.Logger
}

func (c Config) withDefaults() Config {
	c.Prefix = cmp.Or(c.Prefix, "hub")
	c.DjangoPrefix = cmp.Or(c.DjangoPrefix, "connectbot:1")
	c.MemoryBytes = cmp.Or(c.MemoryBytes, 64<<20)
	c.Timeout = cmp.Or(c.Timeout, 500*time.Millisecond)
	c.Logger = cmp.Or(c.Logger, zap.NewNop())
	return c
}

func (c Config) validate() error {
	switch {
	case c.Redis == nil:
		return errors.New("tempdata: Config.Redis is required")
	case c.Django && c.URL == "":
		return errors.New("tempdata: Config.URL is required with Django")
	case c.Timeout < 0:
		return errors.New("tempdata: Config.Timeout must be above 0")
	}
	return nil
}
