package menucache

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/redis/go-redis/v9"
)

const (
	// callbackTTL is how long an id stands for its action after it was last put into a button: keyboards stay in chats for
	// long.
	callbackTTL = 90 * 24 * time.Hour
	// callbackRenew is how often a hub keeps an id again that it puts into buttons, since Redis may have lost it, and
	// callbackKnown how long it relies on having done so while Redis is away.
	callbackRenew = time.Minute
	callbackKnown = 24 * time.Hour
)

// callbacks keeps the actions that are too long for a button, by their ids.
type callbacks struct {
	rdb    *redis.Client
	prefix string
	// away reports whether Redis is known not to answer.
	away func() bool
	// known are the ids that were kept lately, and when.
	known *otter.Cache[string, time.Time]
	// retryAt is when Redis may be asked again after it failed, in nanoseconds since 1970.
	retryAt atomic.Int64
}

var errLately = errors.New("it did not answer a moment ago")

func newCallbacks(rdb *redis.Client, prefix string, away func() bool) *callbacks {
	return &callbacks{
		rdb: rdb, prefix: prefix + ":menu:callback:", away: away,
		known: otter.Must(&otter.Options[string, time.Time]{
			MaximumSize: 10_000, ExpiryCalculator: otter.ExpiryWriting[string, time.Time](callbackKnown),
		}),
	}
}

func (c *callbacks) close() { c.known.StopAllGoroutines() }

// callbackPatience is how long Redis may take to keep an id, and callbackRetry how long it is left alone when it did not.
const (
	callbackPatience = 300 * time.Millisecond
	callbackRetry    = time.Second
)

// id returns the id of an action, after keeping what it stands for. Without Redis only those have one that were kept
// lately, and the actions of the definitions, which every hub knows.
func (c *callbacks) id(ctx context.Context, d *Definitions, action string) (string, error) {
	id := CallbackID(action)
	kept, ok := c.known.GetIfPresent(id)
	if ok && time.Since(kept) < callbackRenew {
		return id, nil
	}
	if !ok {
		_, ok = d.ResolveCallback(id)
	}
	failing := time.Now().UnixNano() < c.retryAt.Load()
	if ok && (failing || c.away()) {
		return id, nil
	}
	if failing {
		return "", unavailable("keeping what a button's id stands for", errLately)
	}
	ctx, cancel := context.WithTimeout(ctx, callbackPatience)
	defer cancel()
	if err := c.rdb.Set(ctx, c.prefix+id, action, callbackTTL).Err(); err != nil {
		c.retryAt.Store(time.Now().Add(callbackRetry).UnixNano())
		if ok {
			return id, nil
		}
		return "", unavailable("keeping what a button's id stands for", err)
	}
	c.known.Set(id, time.Now())
	return id, nil
}

func (c *callbacks) action(ctx context.Context, d *Definitions, id string) (string, error) {
	if action, ok := d.ResolveCallback(id); ok {
		return action, nil
	}
	const longest = 64 // bytes that Telegram sends back
	if len(id) > longest {
		return "", ErrNotFound
	}
	action, err := c.rdb.Get(ctx, c.prefix+id).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return "", ErrNotFound
	case err != nil:
		return "", unavailable("looking up a button's id", err)
	}
	return action, nil
}
