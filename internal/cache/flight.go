package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"
)

// flight is one reading of a key, which all who ask for it meanwhile share.
type flight[V any] struct {
	variant string
	// background flights refresh; nobody waits for them.
	background bool
	began      int64
	// changed says that the key was changed since the flight began, so that what it finds may be outdated: it is not kept,
	// and nobody else joins. Guarded by Cache.mu.
	changed bool
	// kept says that what it found was kept. Guarded by Cache.mu.
	kept   bool
	done   chan struct{}
	result Result[V]
	err    error
}

// fetch joins the flight of a key, or makes one.
func (c *Cache[K, V]) fetch(ctx context.Context, key K, variant string, load Load[V]) (Result[V], error) {
	c.mu.Lock()
	if c.closed.Load() {
		c.mu.Unlock()
		return Result[V]{}, ErrClosed
	}
	now := c.redis.now()
	for _, f := range c.flights[key] {
		switch {
		case f.variant != variant || f.background || f.changed:
		case c.joinable(f, now):
			c.mu.Unlock()
			r, err := f.wait(ctx)
			c.countJoined(r, err)
			return r, err
		default:
			f.changed = true // What this one finds is newer.
		}
	}
	f := c.takeOff(key, variant, false)
	c.mu.Unlock()
	lasting := context.WithoutCancel(ctx)
	fly := func() (Result[V], error) { return c.fly(lasting, key, f, load) }
	if ctx.Done() == nil { // This caller waits anyway.
		c.land(key, f, fly)
		return f.result, f.err
	}
	go c.land(key, f, fly)
	return f.wait(ctx)
}

// joinable reports whether what a flight found when it began is new enough for somebody who asks now.
func (c *Cache[K, V]) joinable(f *flight[V], now int64) bool {
	age := time.Duration(now - f.began)
	return c.redis.Away() || age < MaxLag || c.redis.current(now) && age < time.Duration(c.redis.trust.Load())
}

// takeOff makes a flight. Mu is held, and the cache not closed.
func (c *Cache[K, V]) takeOff(key K, variant string, background bool) *flight[V] {
	f := &flight[V]{variant: variant, background: background, began: c.redis.now(), done: make(chan struct{})}
	c.flights[key] = append(c.flights[key], f)
	c.work.Add(1)
	return f
}

// fly reads a key from Redis, and loads it if it is not there.
func (c *Cache[K, V]) fly(ctx context.Context, key K, f *flight[V], load Load[V]) (Result[V], error) {
	if c.redis.Away() {
		return c.loadAlone(ctx, key, f, load)
	}
	found, err := c.read(ctx, key)
	if err == nil && found.doubtful {
		c.redis.catchUp(ctx)
		found, err = c.read(ctx, key)
	}
	switch {
	case err == nil && found.it != nil && c.fits(found.it, f.variant):
		c.keep(key, f, found.it)
		now := c.redis.now()
		if now >= found.it.eager {
			c.refresh(ctx, key, f.variant, found.it, now, load)
		}
		return c.answer(found.it, now, &c.count.remoteHits)
	case err == nil:
		return c.load(ctx, key, f, found, load)
	}
	c.count.redisErrors.Add(1)
	// If it has just turned out that Redis is away, what the process has is right.
	now := c.redis.now()
	if it, ok := c.local.GetIfPresent(key); ok && c.usable(it, now) && c.fits(it, f.variant) {
		c.keep(key, f, it)
		return c.answer(it, now, &c.count.localHits)
	}
	return c.loadAlone(ctx, key, f, load)
}

// land ends a flight with what fly returns.
func (c *Cache[K, V]) land(key K, f *flight[V], fly func() (Result[V], error)) {
	defer c.work.Done()
	defer close(f.done)
	defer func() {
		if p := recover(); p != nil {
			f.result, f.err = Result[V]{}, fmt.Errorf("cache: reading panicked: %v", p)
			c.cfg.Logger.Error("reading a cached value panicked", zap.Any("panic", p), zap.StackSkip("stack", 2))
		}
		c.remove(key, f)
	}()
	f.result, f.err = fly()
}

func (c *Cache[K, V]) remove(key K, f *flight[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !f.kept && !f.background { // Whoever asks next must not get anything older than what it returns.
		c.outdate(key)
		c.local.Invalidate(key)
	}
	rest := slices.DeleteFunc(c.flights[key], func(other *flight[V]) bool { return other == f })
	if len(rest) == 0 {
		delete(c.flights, key)
	} else {
		c.flights[key] = rest
	}
}

func (f *flight[V]) wait(ctx context.Context) (Result[V], error) {
	select {
	case <-f.done:
		return f.result, f.err
	case <-ctx.Done():
		return Result[V]{}, ctx.Err()
	}
}

// countJoined counts an answer that somebody else's flight gave.
func (c *Cache[K, V]) countJoined(r Result[V], err error) {
	if err != nil && !errors.Is(err, ErrNotFound) {
		return
	}
	switch r.Outcome {
	case Miss:
		c.count.misses.Add(1)
	case Bypass:
		c.count.bypassed.Add(1)
	case Stale:
		c.count.stale.Add(1)
		c.count.remoteHits.Add(1)
	default:
		c.count.remoteHits.Add(1)
	}
}

// load takes the lock, loads and stores. It returns what another process stored meanwhile, if one did.
func (c *Cache[K, V]) load(ctx context.Context, key K, f *flight[V], found found[V], load Load[V]) (Result[V], error) {
	if found.set {
		return c.loadBeside(ctx, key, f, load)
	}
	token := newToken()
	deadline := c.redis.now() + int64(c.cfg.LockWait)
	var holder string
	for waited, late := false, false; ; {
		var err error
		if holder, found, err = c.lease(ctx, key, token, false); err != nil {
			c.count.redisErrors.Add(1)
			return c.loadAlone(ctx, key, f, load)
		}
		if fits := found.it != nil && c.fits(found.it, f.variant); fits || found.set {
			if holder == token {
				c.release(ctx, key, token)
			}
			if !fits {
				return c.loadBeside(ctx, key, f, load)
			}
			c.keep(key, f, found.it)
			return c.answer(found.it, c.redis.now(), &c.count.remoteHits)
		}
		if holder == token {
			break
		}
		if late {
			// The holder is slow, or dead. Its token is good for whoever stores first: it says that nothing changed since.
			c.count.lockSteals.Add(1)
			break
		}
		if !waited {
			waited = true
			c.count.lockWaits.Add(1)
		}
		late = !c.waitForLock(ctx, key, f.variant, deadline)
	}
	it, stored, err := c.loadAndStore(ctx, key, holder, holder == token, found, load)
	if err != nil && !errors.Is(err, ErrNotFound) {
		c.keepFailure(key, f, err)
		return Result[V]{}, err
	}
	c.count.misses.Add(1)
	if stored {
		c.keep(key, f, it)
	}
	return Result[V]{Value: it.value, Outcome: Miss}, err
}

// waitForLock waits until the key has a value that fits or its lock is free, and returns false when neither has happened
// by the deadline.
func (c *Cache[K, V]) waitForLock(ctx context.Context, key K, variant string, deadline int64) bool {
	const shortest, longest = 2 * time.Millisecond, 20 * time.Millisecond
	for pause := shortest; c.redis.now() < deadline; pause = min(2*pause, longest) {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return true
		}
		found, locked, err := c.readLocked(ctx, key)
		if err != nil || !locked || found.it != nil && c.fits(found.it, variant) {
			return true
		}
	}
	return false
}

// loadBeside loads a value for a variant that is not kept.
func (c *Cache[K, V]) loadBeside(ctx context.Context, key K, f *flight[V], load Load[V]) (Result[V], error) {
	v, err := c.call(ctx, load)
	if err != nil && !errors.Is(err, ErrNotFound) {
		c.keepFailure(key, f, err)
		return Result[V]{}, err
	}
	c.count.misses.Add(1)
	return Result[V]{Value: v, Outcome: Miss}, err
}

// loadAndStore loads a value and stores it while the token is still good. If the lock is its own, it gives it back
// whatever happens.
func (c *Cache[K, V]) loadAndStore(
	ctx context.Context, key K, token string, own bool, found found[V], load Load[V],
) (it *item[V], stored bool, err error) {
	locked := own
	defer func() {
		if locked {
			c.release(ctx, key, token)
		}
	}()
	v, err := c.call(ctx, load)
	missing := errors.Is(err, ErrNotFound)
	if err != nil && !missing {
		return nil, false, err
	}
	m := c.meta(v, missing, found.epoch)
	it = c.item(v, m, c.look())
	if missing && c.cfg.MissingTTL < 0 {
		return it, false, err
	}
	stored, storeErr := c.store(ctx, key, token, found, v, m)
	switch {
	case storeErr != nil:
		c.count.redisErrors.Add(1) // The value is good all the same.
	case stored:
		locked = false
	default:
		locked = false // The script gave the lock back if it was still there.
		c.count.refused.Add(1)
	}
	return it, stored, err
}

// call calls a load function, with its time limit.
func (c *Cache[K, V]) call(ctx context.Context, load Load[V]) (v V, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.LoadTimeout)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("cache: a load panicked: %v", r)
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			c.count.loadErrors.Add(1)
		}
	}()
	c.count.loads.Add(1)
	return load(ctx)
}

// loadAlone loads a value while Redis is away, and keeps it in the process: until Redis is back, nobody can change it.
func (c *Cache[K, V]) loadAlone(ctx context.Context, key K, f *flight[V], load Load[V]) (Result[V], error) {
	l := c.look()
	v, err := c.call(ctx, load)
	missing := errors.Is(err, ErrNotFound)
	if err != nil && !missing {
		c.keepFailure(key, f, err)
		return Result[V]{}, err
	}
	c.count.bypassed.Add(1)
	if !missing || c.cfg.MissingTTL > 0 {
		it := c.item(v, c.meta(v, missing, epoch{}), l)
		it.checked = 0 // With Redis back, it is of no use.
		c.keep(key, f, it)
	}
	return Result[V]{Value: v, Outcome: Bypass}, err
}

// keepFailure remembers for a moment that a key cannot be loaded.
func (c *Cache[K, V]) keepFailure(key K, f *flight[V], err error) {
	c.keep(key, f, &item[V]{failed: err, variant: f.variant, expires: c.redis.now() + int64(c.cfg.RetryAfter)})
}

// refresh loads a value anew behind the caller's back, unless somebody does or it failed a moment ago.
func (c *Cache[K, V]) refresh(ctx context.Context, key K, variant string, it *item[V], now int64, load Load[V]) {
	retry := it.retry.Load()
	if now < retry || c.redis.Away() || !it.retry.CompareAndSwap(retry, now+int64(c.cfg.RetryAfter)) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() || slices.ContainsFunc(c.flights[key], func(f *flight[V]) bool { return f.background }) {
		return
	}
	f := c.takeOff(key, variant, true)
	lasting := context.WithoutCancel(ctx)
	go c.land(key, f, func() (Result[V], error) {
		if !c.refreshNow(lasting, key, f, load) {
			it.retry.Store(c.redis.now() + int64(c.cfg.RetryAfter))
		}
		return Result[V]{}, nil
	})
}

// refreshNow returns false when the load failed.
func (c *Cache[K, V]) refreshNow(ctx context.Context, key K, f *flight[V], load Load[V]) bool {
	token := newToken()
	holder, found, err := c.lease(ctx, key, token, false)
	if err != nil {
		c.count.redisErrors.Add(1)
		return true
	}
	if holder != token {
		return true // Another process does it.
	}
	if found.it != nil && c.fits(found.it, f.variant) && c.redis.now() < found.it.eager {
		c.release(ctx, key, token) // Another process has done it.
		c.keep(key, f, found.it)
		return true
	}
	it, stored, err := c.loadAndStore(ctx, key, token, true, found, load)
	if stored {
		c.keep(key, f, it)
	}
	return err == nil || errors.Is(err, ErrNotFound)
}

func newToken() string { return strconv.FormatUint(randomUint64(), 36) }
