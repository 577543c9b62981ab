package cache

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// This file is for programs that read and write the same keys without a Cache. It does nothing without Config.ForeignTTL,
// and nothing on a caller's path.

const (
	// page is about how many keys are worked on at once.
	page = 500
	// noticeEvery is how often changed keys are looked up, and maxNoticed how many are remembered until then.
	noticeEvery = 200 * time.Millisecond
	maxNoticed  = 20 * page
	// walkRest is how many times as long as a walk took nothing is walked after it: a feed that keeps breaking must not keep
	// Redis busy.
	walkRest = 4
	// walkAgain is when a walk that did not reach everything is repeated.
	walkAgain = time.Second
)

// foreign is what happens in the background. Guarded by Cache.mu.
type foreign[K comparable] struct {
	// walking says that a walk is under way, and again that another has to follow.
	walking, again bool
	// noticed are the keys that were changed lately, nil when nobody is about to look them up.
	noticed map[K]struct{}
}

// walk goes over all keys in the background: it deletes what is no longer valid, and puts the groups of the others into
// the index. Of several that are asked for while one is under way, one follows.
func (c *Cache[K, V]) walk(ctx context.Context) {
	if c.cfg.ForeignTTL <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.foreign.again = true
	if !c.foreign.walking && !c.closed.Load() {
		c.foreign.walking = true
		ctx = context.WithoutCancel(ctx)
		c.work.Go(func() { c.walkAll(ctx) })
	}
}

func (c *Cache[K, V]) walkAll(ctx context.Context) {
	for c.nextWalk() {
		began := time.Now()
		for !c.walked(ctx) && c.pause(walkAgain) {
		}
		c.pause(walkRest * time.Since(began))
	}
}

// walked reports whether a walk did all there is to do.
func (c *Cache[K, V]) walked(ctx context.Context) bool {
	if c.redis.Away() {
		return false
	}
	left, err := c.walkOnce(ctx)
	if err != nil {
		c.count.redisErrors.Add(1)
	}
	return err == nil && left == 0
}

func (c *Cache[K, V]) nextWalk() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.foreign.walking = c.foreign.again && !c.closed.Load()
	c.foreign.again = false
	return c.foreign.walking
}

// pause waits, and returns false when the cache is closed.
func (c *Cache[K, V]) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.closing:
		return false
	}
}

// walkOnce returns how many values it could not delete since they are being loaded.
func (c *Cache[K, V]) walkOnce(ctx context.Context) (left int, err error) {
	pattern := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(c.cfg.Prefix) + "*"
	for cursor := uint64(0); ; {
		var names []string
		if names, cursor, err = c.scan(ctx, cursor, pattern); err != nil {
			return left, err
		}
		n, err := c.visit(ctx, names, true)
		left += n
		if err != nil || cursor == 0 || c.closed.Load() {
			return left, err
		}
	}
}

func (c *Cache[K, V]) scan(ctx context.Context, cursor uint64, pattern string) ([]string, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	names, next, err := c.redis.rdb.Scan(ctx, cursor, pattern, page).Result()
	if err != nil {
		return nil, 0, unavailable("scan", err)
	}
	return names, next, nil
}

// visit puts the groups of those keys that have valid values into the index, and deletes, if it has to sweep, invalid
// values. It returns how many of these it could not delete since they are being loaded.
func (c *Cache[K, V]) visit(ctx context.Context, names []string, sweep bool) (left int, err error) {
	keys := make([]K, 0, len(names))
	names = slices.DeleteFunc(names, func(name string) bool {
		key, ok := c.cfg.Parse(name)
		if ok {
			keys = append(keys, key)
		}
		return !ok
	})
	if len(keys) == 0 {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pipe := c.redis.rdb.Pipeline()
	ttls := make([]*redis.DurationCmd, len(names))
	for i, name := range names {
		ttls[i] = pipe.PTTL(ctx, name) // Before the values, as in read.
	}
	get := pipe.MGet(ctx, append(names, c.cfg.EpochKey)...)
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, unavailable("read", err)
	}
	epochText, _ := get.Val()[len(names)].(string)
	e, now := c.seen(epochText), time.Now()
	var invalid, locks []string
	var raws []any
	var valid []K
	for i, key := range keys {
		raw, _ := get.Val()[i].(string)
		v, m, err := c.decode(raw)
		if raw == "" || err != nil {
			continue // It has gone, or nobody knows what it is.
		}
		switch _, ok := c.valid(key, v, m, e, now, ttls[i].Val()); {
		case !ok:
			invalid, locks, raws = append(invalid, names[i]), append(locks, c.lockName(names[i])), append(raws, raw)
		case !m.Missing:
			valid = append(valid, key)
		}
	}
	if err := c.index(ctx, valid); err != nil {
		return 0, err
	}
	if !sweep || len(invalid) == 0 || e.text == "" {
		return 0, nil
	}
	left, err = sweepScript.Run(ctx, c.redis.rdb, append(invalid, locks...), raws...).Int()
	if err != nil {
		return 0, unavailable("sweep", err)
	}
	return left, nil
}

// notice remembers that a key was changed, and has it looked up soon.
func (c *Cache[K, V]) notice(key K) {
	if c.cfg.ForeignTTL <= 0 || c.cfg.Index == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		return
	}
	if c.foreign.noticed == nil {
		c.foreign.noticed = map[K]struct{}{}
		c.work.Go(c.lookUp)
	}
	if len(c.foreign.noticed) < maxNoticed {
		c.foreign.noticed[key] = struct{}{}
	}
}

// lookUp puts into the index what has been noticed by the time it wakes up.
func (c *Cache[K, V]) lookUp() {
	c.pause(noticeEvery)
	c.mu.Lock()
	noticed := c.foreign.noticed
	c.foreign.noticed = nil
	c.mu.Unlock()
	names := make([]string, 0, len(noticed))
	for key := range noticed {
		names = append(names, c.cfg.RedisKey(key))
	}
	for some := range slices.Chunk(names, page) {
		if _, err := c.visit(context.Background(), some, false); err != nil {
			c.count.redisErrors.Add(1)
			return
		}
	}
}

// index puts the groups of keys into the index, of those that have values.
func (c *Cache[K, V]) index(ctx context.Context, keys []K) error {
	if c.cfg.Index == "" || len(keys) == 0 {
		return nil
	}
	names, args := []string{c.cfg.Index}, []any{time.Now().UnixMilli()}
	for _, key := range keys {
		names, args = append(names, c.cfg.RedisKey(key)), append(args, c.cfg.Group(key))
	}
	if err := noticeScript.Run(ctx, c.redis.rdb, names, args...).Err(); err != nil {
		return unavailable("index", err)
	}
	return nil
}
