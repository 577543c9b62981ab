package cache

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// Set keeps a value for a TTL of at least 1 ms, during which it is fresh. It replaces what is there, and what is being
// loaded is not kept. It returns ErrUnavailable when Redis does not answer; the value may then be set or not.
func (c *Cache[K, V]) Set(ctx context.Context, key K, v V, ttl time.Duration) error {
	_, err := c.set(ctx, key, v, ttl, nil)
	return err
}

// Touch keeps a value for another TTL from now, during which it is fresh. It returns ErrNotFound when there is none that
// is valid, and ErrUnavailable when Redis does not answer.
func (c *Cache[K, V]) Touch(ctx context.Context, key K, ttl time.Duration) error {
	for {
		if err := c.writable(); err != nil {
			return err
		}
		found, err := c.read(ctx, key)
		switch {
		case err != nil:
			return err
		case found.it == nil || found.it.missing:
			return ErrNotFound
		}
		if same, err := c.set(ctx, key, found.it.value, ttl, &found); same || err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// set sets a value; with found, only if Redis still has that, and under the same epoch. It returns false when it has not.
func (c *Cache[K, V]) set(ctx context.Context, key K, v V, ttl time.Duration, found *found[V]) (bool, error) {
	if err := c.writable(); err != nil {
		return false, err
	}
	defer c.forget(key)
	name := c.cfg.RedisKey(key)
	keys := c.withIndex([]string{name, c.lockName(name), c.cfg.EpochKey})
	only, was, e := "0", "", *c.epoch.Load()
	if found != nil {
		only, was, e = "1", found.raw, found.epoch
	}
	for {
		now := time.Now()
		m := Meta{StoredAt: now, FreshUntil: now.Add(ttl), ExpiresAt: now.Add(ttl), Epoch: e.last}
		if found != nil && found.loaded {
			m.FreshUntil = m.FreshUntil.Add(-time.Millisecond) // It still can be loaded anew: see item.
		}
		raw, err := c.cfg.Codec.Encode(v, m)
		if err != nil {
			return false, err
		}
		reply, err := c.runSet(ctx, keys, append([]any{only, e.text, was}, c.valueArgs(key, raw, m)...))
		switch {
		case err != nil:
			return false, err
		case reply == "":
			return true, nil
		case reply == "!":
			return false, nil
		}
		if found != nil {
			return false, nil // What was found may have been invalidated.
		}
		if e = c.seen(reply); e.text == "" {
			return false, errors.New("cache: the epoch in Redis is damaged")
		}
	}
}

// writable returns why nothing can be written now.
func (c *Cache[K, V]) writable() error {
	switch {
	case c.closed.Load():
		return ErrClosed
	case c.redis.Away():
		return ErrUnavailable
	}
	return nil
}

func (c *Cache[K, V]) runSet(ctx context.Context, keys []string, args []any) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	reply, err := setScript.Run(ctx, c.redis.rdb, keys, args...).Text()
	if err != nil {
		return "", unavailable("set", err)
	}
	return reply, nil
}

// Delete deletes the values of keys of one group, all at once, and returns how many there were. What is being loaded for
// them is not kept. It returns ErrUnavailable when Redis does not answer; they may then be deleted or not.
func (c *Cache[K, V]) Delete(ctx context.Context, keys ...K) (int, error) {
	if len(keys) == 0 {
		return 0, nil
	}
	if err := c.writable(); err != nil {
		return 0, err
	}
	return c.drop(ctx, keys...)
}

// drop deletes, also when the cache was closed or Redis is thought to be away.
func (c *Cache[K, V]) drop(ctx context.Context, keys ...K) (int, error) {
	defer func() {
		for _, key := range keys {
			c.forget(key)
		}
	}()
	names := make([]string, 0, 2*len(keys)+1)
	for _, key := range keys {
		names = append(names, c.cfg.RedisKey(key))
	}
	for _, name := range names[:len(keys):len(keys)] {
		names = append(names, c.lockName(name))
	}
	group := ""
	if c.cfg.Index != "" {
		group = c.cfg.Group(keys[0])
		for _, sibling := range c.cfg.Siblings(keys[0]) {
			if !slices.Contains(keys, sibling) {
				names = append(names, c.cfg.RedisKey(sibling))
			}
		}
		names = append(names, c.cfg.Index)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	deleted, err := deleteScript.Run(ctx, c.redis.rdb, names, len(keys), c.redis.channel, group).Int()
	if err != nil {
		return 0, unavailable("delete", err)
	}
	return deleted, nil
}

// Invalidate makes all values with a tag, stored by whichever process before now, count as none. It takes the same time
// however many there are; they expire by themselves, or with Config.ForeignTTL are deleted soon. What is being loaded is
// not kept. It returns ErrUnavailable when Redis does not answer; they may then be invalid or not.
func (c *Cache[K, V]) Invalidate(ctx context.Context, tag string) error {
	if err := cmp.Or(checkTag(tag), c.writable()); err != nil {
		return err
	}
	defer c.flush()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	text, err := invalidateScript.Run(ctx, c.redis.rdb, []string{c.cfg.EpochKey}, tag, c.redis.channel).Text()
	if err != nil {
		return unavailable("invalidate", err)
	}
	c.seen(text)
	c.walk(ctx)
	return nil
}
