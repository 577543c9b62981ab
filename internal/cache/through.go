package cache

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// ErrUnchanged is wrapped by an error of a change that surely changed nothing; see Replace.
var ErrUnchanged = errors.New("cache: nothing was changed")

// Replace changes a value where it comes from, by calling change, and keeps the value that this returns for a TTL of at
// least 1 ms, during which it is fresh. When changes of a key overlap, or it is set, deleted or invalidated meanwhile,
// nothing is kept, so that the next Get loads what the last change left behind. An error of change is returned as it is,
// and then nothing is kept either, since the change may have happened, unless it wraps ErrUnchanged: then what was kept
// stays. ErrUnavailable says that Redis did not answer, before change was called or after it; the whole call may be tried
// again.
func (c *Cache[K, V]) Replace(
	ctx context.Context, key K, ttl time.Duration, change func(context.Context) (V, error),
) (err error) {
	if err := c.writable(); err != nil {
		return err
	}
	defer c.forget(key)
	token := newToken()
	_, found, err := c.lease(ctx, key, token, true)
	if err != nil {
		return err
	}
	// What was changed must not be hidden by what is kept, also when the caller has left, or change panics.
	lasting, settled := context.WithoutCancel(ctx), false
	defer func() {
		if !settled {
			_, dropErr := c.drop(lasting, key)
			err = cmp.Or(dropErr, err)
		}
	}()
	v, err := change(ctx)
	if errors.Is(err, ErrUnchanged) {
		settled = true
		c.release(lasting, key, token)
		return err
	}
	if err != nil {
		return err
	}
	now := time.Now()
	m := Meta{StoredAt: now, FreshUntil: now.Add(ttl), ExpiresAt: now.Add(ttl), Epoch: found.epoch.last}
	settled, err = c.store(lasting, key, token, found, v, m)
	if err == nil && !settled {
		c.count.refused.Add(1)
	}
	return err
}
