package cache

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// The scripts. Each says in its first lines what it does.
//
//nolint:gochecknoglobals // Constants, but for the language.
var (
	//go:embed epoch.lua
	epochSource string
	//go:embed lease.lua
	leaseSource string
	//go:embed store.lua
	storeSource string
	//go:embed set.lua
	setSource string
	//go:embed delete.lua
	deleteSource string
	//go:embed invalidate.lua
	invalidateSource string
	//go:embed release.lua
	releaseSource string
	//go:embed sweep.lua
	sweepSource string
	//go:embed notice.lua
	noticeSource string

	leaseScript      = redis.NewScript(epochSource + leaseSource)
	storeScript      = redis.NewScript(storeSource)
	setScript        = redis.NewScript(epochSource + setSource)
	deleteScript     = redis.NewScript(deleteSource)
	invalidateScript = redis.NewScript(epochSource + invalidateSource)
	releaseScript    = redis.NewScript(releaseSource)
	sweepScript      = redis.NewScript(sweepSource)
	noticeScript     = redis.NewScript(noticeSource)
)

// found is what Redis has of a key.
type found[V any] struct {
	// it is the value, nil when there is none that is valid.
	it *item[V]
	// set says that it was set, loaded that it was loaded: see Lookup.
	set, loaded bool
	// doubtful says that there is a value of another program that was perhaps written since its tag was invalidated.
	doubtful bool
	// raw is what is there, "" if nothing, and epoch the one that it was judged by.
	raw   string
	epoch epoch
}

// read reads a key, in one round trip.
func (c *Cache[K, V]) read(ctx context.Context, key K) (found[V], error) {
	look, name := c.look(), c.cfg.RedisKey(key)
	texts, left, err := c.get(ctx, c.cfg.ForeignTTL > 0, name, c.cfg.EpochKey)
	if err != nil {
		return found[V]{}, err
	}
	return c.judge(key, look, texts[0], texts[1], left), nil
}

// readLocked reads a key and whether it is locked.
func (c *Cache[K, V]) readLocked(ctx context.Context, key K) (found[V], bool, error) {
	look, name := c.look(), c.cfg.RedisKey(key)
	texts, left, err := c.get(ctx, c.cfg.ForeignTTL > 0, name, c.cfg.EpochKey, c.lockName(name))
	if err != nil {
		return found[V]{}, false, err
	}
	return c.judge(key, look, texts[0], texts[1], left), texts[2] != "", nil
}

// get reads texts and, with ask, how long the first is kept; negative if that is not known.
func (c *Cache[K, V]) get(ctx context.Context, ask bool, names ...string) ([]string, time.Duration, error) {
	texts, left, err := c.redis.reader.get(ctx, ask, names...)
	switch {
	case err != nil:
		return nil, 0, unavailable("read", err)
	case !ask:
		left = -1
	}
	return texts, left, nil
}

// judge makes of what Redis has what may be returned. Left is how long the key is kept, negative if that is not known.
func (c *Cache[K, V]) judge(key K, l look, raw, epochText string, left time.Duration) found[V] {
	f := found[V]{raw: raw, epoch: c.seen(epochText)}
	if raw == "" {
		return f
	}
	v, m, err := c.decode(raw)
	if err != nil {
		c.count.damaged.Add(1)
		c.cfg.Logger.Warn("a damaged cache entry counts as none", zap.Int("bytes", len(raw)), zap.Error(err))
		return f
	}
	now := time.Now()
	m, ok := c.valid(key, v, m, f.epoch, now, left)
	f.doubtful = !ok && m.Epoch == 0 && c.redis.Tracked()
	if ok && now.Before(m.ExpiresAt) {
		f.it = c.item(v, m, l)
		f.loaded = m.Epoch > 0 && (m.Missing || m.FreshUntil.Before(m.ExpiresAt))
		f.set = m.Epoch > 0 && !f.loaded && c.cfg.Stale > 0
	}
	return f
}

// decode decodes a value. One that the codec panics at is damaged.
func (c *Cache[K, V]) decode(raw string) (v V, m Meta, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("cache: decoding panicked: %v", p)
		}
	}()
	return c.cfg.Codec.Decode([]byte(raw))
}

// valid reports whether a value is, by its tags, and returns its times. When another program wrote it is judged by left.
func (c *Cache[K, V]) valid(key K, v V, m Meta, e epoch, now time.Time, left time.Duration) (Meta, bool) {
	var tags []string
	if !m.Missing {
		tags = c.cfg.Tags(key, v)
	}
	if m.Epoch > 0 {
		return m, e.ownValid(m.Epoch, tags)
	}
	var written time.Time
	if left < 0 { // No expiry, or not asked: it is looked at again soon.
		left = listening
	} else if left <= c.cfg.ForeignTTL {
		written = now.Add(left - c.cfg.ForeignTTL)
	}
	m.StoredAt, m.FreshUntil, m.ExpiresAt = written, now.Add(left), now.Add(left)
	if written.IsZero() {
		m.StoredAt = now
	}
	return m, e.foreignValid(written, tags) || c.marked(key, e)
}

// seen returns the epoch that a text is, and remembers it.
func (c *Cache[K, V]) seen(text string) epoch {
	if known := c.epoch.Load(); known.text == text {
		return *known
	}
	e := parseEpoch(text)
	c.epoch.Store(&e)
	return e
}

func (c *Cache[K, V]) lockName(name string) string {
	return c.cfg.LockPrefix + strings.TrimPrefix(name, c.cfg.Prefix)
}

// lease tries to take the lock of a key, with force from whoever holds it, and returns the token that it then has: the own
// one, or that of another process.
func (c *Cache[K, V]) lease(ctx context.Context, key K, token string, force bool) (string, found[V], error) {
	look, name := c.look(), c.cfg.RedisKey(key)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	hold := c.cfg.LoadTimeout + time.Second // Longer than the load may take, and the answer of Redis.
	forced := "0"
	if force {
		forced = "1"
	}
	reply, err := leaseScript.Run(ctx, c.redis.rdb,
		[]string{name, c.lockName(name), c.cfg.EpochKey}, token, hold.Milliseconds(), forced).Slice()
	if err != nil || len(reply) != 4 {
		return "", found[V]{}, unavailable("lock", cmp.Or(err, errReply))
	}
	raw, _ := reply[1].(string)
	epochText, _ := reply[2].(string)
	holder, _ := reply[3].(string)
	return holder, c.judge(key, look, raw, epochText, -1), nil
}

// store stores a value while the token is good, and gives the lock back.
func (c *Cache[K, V]) store(ctx context.Context, key K, token string, f found[V], v V, m Meta) (bool, error) {
	raw, err := c.cfg.Codec.Encode(v, m)
	if err != nil {
		return false, err
	}
	name := c.cfg.RedisKey(key)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	keys := []string{name, c.lockName(name), c.cfg.EpochKey}
	args := append([]any{token, f.epoch.text, f.raw}, c.valueArgs(key, raw, m)...)
	stored, err := storeScript.Run(ctx, c.redis.rdb, c.withIndex(keys), args...).Int64()
	if err != nil {
		return false, unavailable("store", err)
	}
	return stored == 1, nil
}

// valueArgs are ARGV[4] to ARGV[9] of store.lua and set.lua.
func (c *Cache[K, V]) valueArgs(key K, raw []byte, m Meta) []any {
	group := ""
	if c.cfg.Index != "" && !m.Missing {
		group = c.cfg.Group(key)
	}
	now := time.Now()
	left := max(m.ExpiresAt.Sub(now), time.Millisecond)
	return []any{raw, left.Milliseconds(), c.redis.channel, group, m.ExpiresAt.UnixMilli(), now.UnixMilli()}
}

func (c *Cache[K, V]) withIndex(keys []string) []string {
	if c.cfg.Index != "" {
		keys = append(keys, c.cfg.Index)
	}
	return keys
}

// release gives a lock back. That it is lost only costs time.
func (c *Cache[K, V]) release(ctx context.Context, key K, token string) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := releaseScript.Run(ctx, c.redis.rdb, []string{c.lockName(c.cfg.RedisKey(key))}, token).Err(); err != nil {
		c.count.redisErrors.Add(1)
	}
}

func randomUint64() uint64 { return rand.Uint64() } //nolint:gosec // G404: a token only has to be unlike others.

var errReply = errors.New("an unexpected reply")
