package cache

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"go.uber.org/zap"
)

// What goes wrong.
var (
	// ErrNotFound is what a load returns when there is nothing to load, which is then remembered, and what Get returns
	// then. Touch returns it for a key that has no value.
	ErrNotFound = errors.New("cache: not found")
	// ErrUnavailable says that Redis did not answer, or refused. A change may have happened nevertheless, and may be tried
	// again.
	ErrUnavailable = errors.New("cache: Redis is unavailable")
	// ErrClosed says that the cache was closed.
	ErrClosed = errors.New("cache: closed")
)

// Load gets a value from where it comes from. It may return ErrNotFound. Its context ends after Config.LoadTimeout, and
// not with that of a caller, of whom there may be several.
type Load[V any] func(ctx context.Context) (V, error)

// Config says how a Cache keeps its values. Redis, RedisKey, Parse and EpochKey are required.
type Config[K comparable, V any] struct {
	// Redis is the server, shared with other caches. It is started after the Cache is made.
	Redis *Redis
	// Prefix is what all keys in Redis begin with, and no others in the same Redis.
	Prefix string
	// RedisKey returns a key's name in Redis, which begins with Prefix; Parse returns the key, and false for what is none.
	RedisKey func(K) string
	Parse    func(string) (K, bool)
	// LockPrefix and EpochKey name the locks and the epoch in Redis. Neither may begin with Prefix.
	LockPrefix, EpochKey string
	// Index is the key of a ZSET of the groups that have values, for List. Default: none. Group returns a key's group, and
	// Siblings all keys that are in it, itself included.
	Index    string
	Group    func(K) string
	Siblings func(K) []K
	// Codec writes and reads the values in Redis. Default: JSON.
	Codec Codec[V]
	// Tags returns what a value may be invalidated by: words without spaces and '=', and not floor. There should be tens of
	// them in all, not thousands: every read reads when each was invalidated last. Default: none.
	Tags func(K, V) []string
	// Match reports whether a value is fit for a variant; see Lookup. Default: always.
	Match func(v V, variant string) bool

	// TTL is how long a loaded value is fresh, at least 1 ms; up to Jitter of it, 0 to 1, is taken off at random, so that
	// values stored together are not loaded anew together. Defaults: 5 min and 0.1. A negative Jitter is none.
	TTL    time.Duration
	Jitter float64
	// TTLOf overrides TTL for a value when it returns more than 0. Default: none.
	TTLOf func(V) time.Duration
	// Stale is how long past its freshness a loaded value may be returned while it is loaded anew or cannot be. Default: 0.
	// With it, a value that is asked for in the last tenth of its freshness is loaded anew before it becomes stale.
	Stale time.Duration
	// MissingTTL is how long it is remembered that there is nothing to load. Default: 30 s. Negative: it is not.
	MissingTTL time.Duration
	// ForeignTTL is the TTL with which other programs write values, from which is judged when they did. Such a value counts
	// as older than an invalidation of its tag if it was not written at least 5 s later, as far as
	// its TTL tells, and this process was not told of it after the invalidation. After
	// Invalidate, and whenever changes may have been missed, all keys are walked over with SCAN in the background: what is no
	// longer valid is deleted, for those programs' sake, and what they wrote put into the Index. Default: none do.
	ForeignTTL time.Duration
	// LoadTimeout bounds a load. Default: 5 s.
	LoadTimeout time.Duration
	// LockWait is how long a load waits for another process that loads the same. Default: 500 ms.
	LockWait time.Duration
	// RetryAfter is how long a process leaves a key alone after its load failed. Default: 1 s.
	RetryAfter time.Duration
	// LocalBytes bounds what is kept in the process, by Weigh. Default: 64 MiB. LocalAge is how long a value is used
	// without reading it from Redis again. Default: 30 s. Negative: it is always read from Redis.
	LocalBytes uint64
	LocalAge   time.Duration
	// Weigh returns about how many bytes a value takes. Default: 1 KiB each.
	Weigh func(V) int
	// Logger gets what needs attention. Default: nobody.
	Logger *zap.Logger
}

func (c Config[K, V]) withDefaults() Config[K, V] {
	if c.Codec == nil {
		c.Codec = JSON[V]()
	}
	if c.Tags == nil {
		c.Tags = func(K, V) []string { return nil }
	}
	if c.Match == nil {
		c.Match = func(V, string) bool { return true }
	}
	if c.TTLOf == nil {
		c.TTLOf = func(V) time.Duration { return 0 }
	}
	if c.Weigh == nil {
		c.Weigh = func(V) int { return 1 << 10 }
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Jitter == 0 {
		c.Jitter = 0.1
	}
	if c.LocalBytes == 0 {
		c.LocalBytes = 64 << 20
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.TTL, 5 * time.Minute},
		{&c.MissingTTL, 30 * time.Second},
		{&c.LoadTimeout, 5 * time.Second},
		{&c.LockWait, 500 * time.Millisecond},
		{&c.RetryAfter, time.Second},
		{&c.LocalAge, 30 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return c
}

func (c Config[K, V]) validate() error {
	switch {
	case c.Redis == nil || c.Prefix == "" || c.RedisKey == nil || c.Parse == nil || c.LockPrefix == "" || c.EpochKey == "":
		return errors.New("cache: Redis, Prefix, RedisKey, Parse, LockPrefix and EpochKey are required")
	case c.Index != "" && (c.Group == nil || c.Siblings == nil):
		return errors.New("cache: an Index needs Group and Siblings")
	case strings.HasPrefix(c.LockPrefix, c.Prefix) || strings.HasPrefix(c.EpochKey, c.Prefix):
		return errors.New("cache: neither LockPrefix nor EpochKey may begin with Prefix")
	case c.TTL < time.Millisecond || c.Jitter > 1 || c.Stale < 0:
		return errors.New("cache: TTL, Jitter or Stale is out of range")
	}
	return nil
}

// Cache keeps values of type V by keys of type K. See the package for what it guarantees.
type Cache[K comparable, V any] struct {
	cfg   Config[K, V]
	redis *Redis
	local *otter.Cache[K, *item[V]]
	count counters

	// era changes when changes in Redis may have been missed: what was read in an earlier one is of no use.
	era atomic.Uint64
	// epoch is the newest that was seen.
	epoch atomic.Pointer[epoch]

	closed atomic.Bool // Changed with mu.

	mu      sync.Mutex
	flights map[K][]*flight[V]
	foreign foreign[K]
	// marks are the keys that were changed lately, and synced under which epoch; see mark.
	marks   map[K]string
	synced  string
	work    sync.WaitGroup
	closing chan struct{}
}

// item is a value as it is kept in the process. Times are those of Redis.now.
type item[V any] struct {
	value   V
	missing bool
	// failed is the error of a load for a variant: the item stands for it until it expires.
	failed  error
	variant string
	// stored is when the value was, fresh, eager and expires until when it is not stale, not loaded anew early, and there.
	stored, fresh, eager, expires int64
	// checked is until when it need not be read from Redis again, and sure until when it is right, in its era.
	checked, sure int64
	era           uint64
	// retry is when a failed refresh may be tried again.
	retry atomic.Int64
}

// Outcome says where a value came from.
type Outcome string

// The outcomes.
const (
	// Hit values were kept and are fresh.
	Hit Outcome = "HIT"
	// Miss values were loaded just now.
	Miss Outcome = "MISS"
	// Stale values were kept and are past their freshness.
	Stale Outcome = "STALE"
	// Bypass values were loaded while Redis was away.
	Bypass Outcome = "BYPASS"
)

// Result is a value and where it came from.
type Result[V any] struct {
	Value   V
	Outcome Outcome
	// Age is how long ago the value was loaded or set, at least 0.
	Age time.Duration
}

// New makes a cache. It is closed by the caller, before its Redis.
func New[K comparable, V any](cfg Config[K, V]) (*Cache[K, V], error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Cache[K, V]{cfg: cfg, redis: cfg.Redis, flights: map[K][]*flight[V]{}, marks: map[K]string{}, closing: make(chan struct{})}
	c.epoch.Store(&epoch{})
	var err error
	const overhead = 200 // bytes of an item and its place in the map
	c.local, err = otter.New(&otter.Options[K, *item[V]]{
		MaximumWeight: cfg.LocalBytes,
		Weigher: func(_ K, it *item[V]) uint32 {
			return uint32(min(max(cfg.Weigh(it.value), 0), 1<<30)) + overhead
		},
	})
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	c.redis.watchers = append(c.redis.watchers, watcher{
		prefix: cfg.Prefix, key: cfg.EpochKey,
		changed: c.onChange, flushed: c.flush, interrupted: c.interrupt, synced: c.sync,
		begun: c.onBegin,
	})
	return c, nil
}

// Close waits for loads that are under way, at most for Config.LockWait and Config.LoadTimeout. Later calls fail with
// ErrClosed. It may be called twice.
func (c *Cache[K, V]) Close() {
	c.mu.Lock()
	if !c.closed.Swap(true) {
		close(c.closing)
	}
	c.mu.Unlock()
	c.work.Wait()
	c.local.StopAllGoroutines()
}

// Get returns the value of a key: the one that is kept, or the one that load returns, which is then kept. It returns
// ErrNotFound when load did lately, an error of load when there is nothing better, and the context's error when that
// ends first.
func (c *Cache[K, V]) Get(ctx context.Context, key K, load Load[V]) (V, error) {
	r, err := c.Lookup(ctx, key, "", load)
	return r.Value, err
}

// Lookup does what Get does, and tells where the value came from. A value that is kept but does not match the variant
// counts as none; the load has to return one that does. The last variant that was asked for is kept, but one that was
// Set stays until it expires, if Config.Stale is above 0: for other variants a value is loaded then, and not kept.
func (c *Cache[K, V]) Lookup(ctx context.Context, key K, variant string, load Load[V]) (Result[V], error) {
	c.redis.use()
	if it, ok := c.local.GetIfPresent(key); ok {
		now := c.redis.now()
		if c.usable(it, now) && c.fits(it, variant) {
			if now >= it.eager && it.failed == nil {
				c.refresh(ctx, key, variant, it, now, load)
			}
			if now < it.fresh && it.failed == nil && !it.missing { // The usual case, first.
				c.count.localHits.Add(1)
				return Result[V]{it.value, Hit, time.Duration(max(now-it.stored, 0))}, nil
			}
			return c.answer(it, now, &c.count.localHits)
		}
	}
	c.redis.stir()
	return c.fetch(ctx, key, variant, load)
}

// usable reports whether an item may be returned without asking Redis.
func (c *Cache[K, V]) usable(it *item[V], now int64) bool {
	switch {
	case now >= it.expires || c.closed.Load():
		return false
	case it.failed != nil:
		return c.redis.away.Load() || c.redis.current(now)
	case it.era != c.era.Load():
		return false
	case c.redis.away.Load():
		return it.sure > c.redis.heard.Load() // It was right when Redis went away.
	}
	return now < it.checked && c.redis.current(now)
}

func (c *Cache[K, V]) fits(it *item[V], variant string) bool {
	if it.failed != nil {
		return it.variant == variant
	}
	return it.missing || c.cfg.Match(it.value, variant)
}

// answer makes a result of an item that may be returned.
func (c *Cache[K, V]) answer(it *item[V], now int64, hits *atomic.Int64) (Result[V], error) {
	if it.failed != nil {
		return Result[V]{}, it.failed
	}
	hits.Add(1)
	r := Result[V]{it.value, Hit, time.Duration(max(now-it.stored, 0))}
	if now >= it.fresh {
		c.count.stale.Add(1)
		r.Outcome = Stale
	}
	if it.missing {
		return r, ErrNotFound
	}
	return r, nil
}

// look is when Redis was asked, and in which era.
type look struct {
	at  int64
	era uint64
}

func (c *Cache[K, V]) look() look { return look{at: c.redis.now(), era: c.era.Load()} }

// item makes an item of a value and its times.
func (c *Cache[K, V]) item(v V, m Meta, l look) *item[V] {
	wall, now := time.Now(), c.redis.now()
	at := func(t time.Time) int64 { return now + int64(t.Sub(wall)) }
	it := &item[V]{
		value: v, missing: m.Missing, era: l.era,
		stored: at(m.StoredAt), fresh: at(m.FreshUntil), expires: at(m.ExpiresAt), sure: l.at + c.redis.trust.Load(),
	}
	it.checked = min(l.at+int64(c.cfg.LocalAge), it.sure)
	it.eager = it.expires
	if it.fresh < it.expires { // It was loaded, not set: it may be loaded again.
		it.eager = it.fresh - (it.fresh-it.stored)/10
	}
	return it
}

// meta returns the times of a value that was just loaded.
func (c *Cache[K, V]) meta(v V, missing bool, e epoch) Meta {
	ttl, stale := c.cfg.TTL, c.cfg.Stale
	if own := c.cfg.TTLOf(v); own > 0 && !missing {
		ttl = own
	}
	if missing {
		ttl, stale = c.cfg.MissingTTL, 0
	}
	now := time.Now()
	fresh := ttl - time.Duration(rand.Float64()*max(c.cfg.Jitter, 0)*float64(ttl)) //nolint:gosec // G404: no secret.
	fresh = max(fresh, time.Millisecond)
	return Meta{
		StoredAt: now, FreshUntil: now.Add(fresh), ExpiresAt: now.Add(fresh + stale), Epoch: e.last, Missing: missing,
	}
}

// keep puts an item into the process, unless its key was changed since the flight began. Other flights of the key may
// have found something older, which is not kept then.
func (c *Cache[K, V]) keep(key K, f *flight[V], it *item[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.changed {
		return
	}
	c.outdate(key)
	f.changed, f.kept = false, true
	if old, ok := c.local.GetIfPresent(key); ok && c.redis.now() >= it.eager {
		it.retry.Store(max(old.retry.Load(), it.retry.Load()))
	}
	c.local.Set(key, it)
}

// onBegin looks for what the cache was not told of.
func (c *Cache[K, V]) onBegin() { c.walk(context.Background()) }

// onChange forgets what Redis says was changed.
func (c *Cache[K, V]) onChange(name string) {
	if name == c.cfg.EpochKey {
		c.flush()
		return
	}
	if key, ok := c.cfg.Parse(name); ok {
		c.forget(key)
		c.mark(key)
		c.notice(key)
	}
}

// forget drops a key from the process, also from the hands of those who are reading it.
func (c *Cache[K, V]) forget(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outdate(key)
	c.local.Invalidate(key)
}

// flush drops everything from the process.
func (c *Cache[K, V]) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outdateAll()
	clear(c.marks)
	c.synced = ""
	c.local.InvalidateAll()
}

// interrupt makes everything in the process be read from Redis again before it is used.
func (c *Cache[K, V]) interrupt() {
	c.count.interruptions.Add(1)
	c.mu.Lock()
	c.era.Add(1)
	c.outdateAll()
	clear(c.marks)
	c.synced = ""
	c.mu.Unlock()
}

// outdate takes a key out of the hands of those who are reading it. Mu is held.
func (c *Cache[K, V]) outdate(key K) {
	for _, f := range c.flights[key] {
		f.changed = true
	}
}

func (c *Cache[K, V]) outdateAll() {
	for key := range c.flights {
		c.outdate(key)
	}
}

// Hottest returns the keys and values that the process would drop last, those asked for most often and lately first, as
// they are when the loop begins. The loop may use the cache.
func (c *Cache[K, V]) Hottest() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		entries := slices.Collect(c.local.Hottest()) // It holds a lock that Get may need.
		for _, e := range entries {
			if it := e.Value; it.failed == nil && !it.missing && !yield(e.Key, it.value) {
				return
			}
		}
	}
}
