package menucache

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/internal/cache"
)

// Config says how Menus keeps menus. Redis, RedisURL and Announce are required.
type Config struct {
	// Redis keeps the menus, and RedisURL is what it was opened with: a connection of another kind is made from it.
	Redis    *redis.Client
	RedisURL string
	// Queue keeps the writes that the menu source has not got yet, and the ids of long actions: it should be a database
	// that nobody clears. Default: Redis.
	Queue *redis.Client
	// Prefix is what the keys in Redis begin with. Default: hub.
	Prefix string
	// Django makes the menus be kept under the keys, and in the form, of the Django bot, so that both share them.
	// DjangoPrefix is what its keys begin with. Default: connectbot:1.
	Django       bool
	DjangoPrefix string
	// Definitions are what menus are built from. Default: DefaultDefinitions.
	Definitions *Definitions
	// Source holds users' own menus. Default: none. It stays the caller's to close.
	Source *Source
	// TTL is how long a menu is kept, 1 s to MaxTTL. In the last Stale of it, a menu that was built or came from the source
	// is made anew while the old one is returned; negative: it is not. Defaults: 30 min and a sixth of TTL.
	TTL, Stale time.Duration
	// SourceMissTTL is how long a menu counts as fresh that was built because the source has none, at least 1 ms. Default: 1 min.
	SourceMissTTL time.Duration
	// LocalBytes bounds what is kept in the process. Default: 64 MiB.
	LocalBytes uint64
	// WarmTop is how many of the menus most asked for are made ready after Start, at most MaxWarm. Default: 0.
	WarmTop int
	// Announce tells others that menus were cleared: those of a user, or of everybody if the id is 0. Data is a JSON object.
	Announce func(ctx context.Context, userID int64, data []byte) error
	// Logger gets what needs attention. Default: nobody.
	Logger *zap.Logger
}

func (c Config) withDefaults() Config {
	c.Queue = cmp.Or(c.Queue, c.Redis)
	c.Prefix = cmp.Or(c.Prefix, "hub")
	c.DjangoPrefix = cmp.Or(c.DjangoPrefix, "connectbot:1")
	if c.Definitions == nil {
		c.Definitions = DefaultDefinitions()
	}
	c.TTL = cmp.Or(c.TTL, 30*time.Minute)
	c.Stale = max(cmp.Or(c.Stale, c.TTL/6), 0)
	c.SourceMissTTL = cmp.Or(c.SourceMissTTL, time.Minute)
	c.Logger = cmp.Or(c.Logger, zap.NewNop())
	return c
}

func (c Config) validate() error {
	switch {
	case c.Redis == nil || c.RedisURL == "" || c.Announce == nil:
		return errors.New("menucache: Redis, RedisURL and Announce are required")
	case c.TTL < time.Second || c.TTL > MaxTTL:
		return fmt.Errorf("menucache: TTL must be from 1s to %v", MaxTTL)
	case c.Stale >= c.TTL:
		return errors.New("menucache: Stale must be less than TTL")
	case c.SourceMissTTL < time.Millisecond:
		return errors.New("menucache: SourceMissTTL must be at least 1ms")
	case c.WarmTop < 0 || c.WarmTop > MaxWarm:
		return fmt.Errorf("menucache: WarmTop must be from 0 to %d", MaxWarm)
	}
	return nil
}

// sourceAttempts is how often a queued write is tried: for about half an hour, as the pauses grow to 15 s on average.
const sourceAttempts = 120

// djangoTTL is how long the bot keeps a menu, from which is judged when it wrote one.
const djangoTTL = 30 * time.Minute

// Menus returns users' menus, from the cache, the menu source or the builder. See the package for what it guarantees.
type Menus struct {
	cfg         Config
	redis       *cache.Redis
	cache       *cache.Cache[Key, *entry]
	queue       *writeBehind // nil without a source
	definitions atomic.Pointer[Definitions]
	bypassed    atomic.Int64 // menus that were built because the source failed
	callbacks   *callbacks

	stop context.CancelFunc
	work sync.WaitGroup
}

// New makes Menus; it does no I/O. Start has to be called before anything else, and Close at the end.
func New(cfg Config) (*Menus, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	m := &Menus{cfg: cfg}
	m.definitions.Store(cfg.Definitions)
	if cfg.Source != nil {
		var err error
		if m.queue, err = newWriteBehind(cfg.Queue, cfg.Prefix, cfg.Source, writeBehindConfig{
			MaxAttempts: sourceAttempts, Logger: cfg.Logger,
		}); err != nil {
			return nil, err
		}
	}
	m.redis = cache.NewRedis(cfg.Redis, cfg.RedisURL, cfg.Prefix+":menu:changed", cfg.Logger)
	prefix, foreignTTL := cfg.Prefix+":menu:user:", time.Duration(0)
	if cfg.Django {
		prefix, foreignTTL = cfg.DjangoPrefix+":menu:user:", djangoTTL
	}
	timeout := time.Second
	if cfg.Source != nil {
		timeout += 2 * cfg.Source.cfg.Timeout
	}
	var err error
	m.cache, err = cache.New(cache.Config[Key, *entry]{
		Redis:    m.redis,
		Prefix:   prefix,
		RedisKey: func(k Key) string { return prefix + k.field() },
		Parse: func(name string) (Key, bool) {
			k, err := parseField(strings.TrimPrefix(name, prefix))
			return k, err == nil
		},
		LockPrefix: cfg.Prefix + ":menu:lock:",
		EpochKey:   cfg.Prefix + ":menu:epoch",
		Index:      cfg.Prefix + ":menu:users",
		Group:      func(k Key) string { return strconv.FormatInt(k.UserID, 10) },
		Siblings:   func(k Key) []Key { return m.allOf(k.UserID) },
		Codec:      codec{cfg.Django, func() string { return m.Definitions().DefaultLanguage() }},
		Tags:       func(k Key, e *entry) []string { return m.tags(k, e) },
		Match:      m.match,
		TTL:        cfg.TTL - cfg.Stale,
		TTLOf:      func(e *entry) time.Duration { return e.ttl },
		Stale:      cfg.Stale,
		ForeignTTL: foreignTTL,
		LocalBytes: cfg.LocalBytes,
		Weigh: func(e *entry) int {
			if e == nil {
				return 0
			}
			return e.size()
		},
		LoadTimeout: timeout,
		Logger:      cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	m.callbacks = newCallbacks(cfg.Queue, cfg.Prefix, m.redis.Away)
	return m, nil
}

// Start begins to follow what changes in Redis, to deliver queued writes and to warm the cache. That Redis is away is no
// error.
func (m *Menus) Start(ctx context.Context) error {
	if err := m.redis.Start(ctx); err != nil {
		return err
	}
	if m.queue != nil {
		if err := m.queue.Start(ctx); err != nil {
			return err
		}
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	m.stop = stop
	m.work.Go(func() { m.keepPopular(running) })
	return nil
}

// Close ends what Start began, and waits for it. Queued writes stay queued. It may be called twice.
func (m *Menus) Close() {
	if m.stop != nil {
		m.stop()
	}
	m.work.Wait()
	if m.queue != nil {
		m.queue.Close()
	}
	m.cache.Close()
	m.callbacks.close()
	m.redis.Close()
}

// Definitions returns what menus are built from now.
func (m *Menus) Definitions() *Definitions { return m.definitions.Load() }

// SetDefinitions makes menus be built from others. A menu that was built from other definitions is not returned any more,
// and no menu is built from both.
func (m *Menus) SetDefinitions(d *Definitions) { m.definitions.Store(d) }

// Check returns an error while Redis is away, in which menus are served from memory and built.
func (m *Menus) Check(context.Context) error {
	if m.redis.Away() {
		return errors.New("Redis does not answer: menus come from memory or are built, and cannot be set or cleared") //nolint:staticcheck // ST1005: Redis is a name.
	}
	return nil
}

// Tracked reports whether Redis tells of what other programs change in the cache.
func (m *Menus) Tracked() bool { return m.redis.Tracked() }

// Users returns a page of at most limit users, 1 to MaxPage, who have menus in the cache, after the page whose Next is
// the cursor; "" begins. It fails with an InvalidError and ErrUnavailable.
func (m *Menus) Users(ctx context.Context, cursor string, limit int) (UserPage, error) {
	if limit < 1 || limit > MaxPage {
		return UserPage{}, &InvalidError{[]FieldProblem{{"limit", "must be a whole number from 1 to " + strconv.Itoa(MaxPage)}}}
	}
	from, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return UserPage{}, &InvalidError{[]FieldProblem{{"cursor", wantCursor}}}
	}
	groups, next, err := m.cache.List(ctx, string(from), limit)
	if err != nil {
		return UserPage{}, translate(err)
	}
	page := UserPage{Users: make([]CachedUser, 0, len(groups)), Next: base64.RawURLEncoding.EncodeToString([]byte(next))}
	for _, g := range groups {
		if id, err := strconv.ParseInt(g.Name, 10, 64); err == nil {
			page.Users = append(page.Users, CachedUser{id, g.ExpiresIn})
		}
	}
	return page, nil
}

const wantCursor = "must be the next_cursor of an earlier page"

// Callback returns the action that an id in a button stands for. It fails with ErrNotFound and ErrUnavailable.
func (m *Menus) Callback(ctx context.Context, id string) (string, error) {
	return m.callbacks.action(ctx, m.Definitions(), id)
}

// DeadWrites returns a page of at most limit writes, 1 to MaxPage, that were given up. It fails with an InvalidError and
// ErrUnavailable.
func (m *Menus) DeadWrites(ctx context.Context, cursor string, limit int) (DeadWritePage, error) {
	if limit < 1 || limit > MaxPage {
		return DeadWritePage{}, &InvalidError{[]FieldProblem{{"limit", "must be a whole number from 1 to " + strconv.Itoa(MaxPage)}}}
	}
	if m.queue == nil {
		return DeadWritePage{}, nil
	}
	return m.queue.dead(ctx, cursor, limit)
}

// RetryWrite queues a write again that was given up. It fails with ErrNotFound and ErrUnavailable.
func (m *Menus) RetryWrite(ctx context.Context, id string) error {
	if m.queue == nil {
		return ErrNotFound
	}
	return m.queue.retry(ctx, id)
}

// translate puts the errors of the cache into this package's terms.
func translate(err error) error {
	switch {
	case errors.Is(err, cache.ErrUnavailable), errors.Is(err, cache.ErrClosed):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case errors.Is(err, cache.ErrNotFound):
		return ErrNotFound
	case errors.Is(err, cache.ErrCursor):
		return &InvalidError{[]FieldProblem{{"cursor", wantCursor}}}
	}
	return err
}
