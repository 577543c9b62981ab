package events

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

const (
	// consumerBatch is how many entries a consumer takes at a time.
	consumerBatch = 16
	// longestWait bounds a read that waits for entries, and so how long Close waits for it.
	longestWait = 500 * time.Millisecond
	// deadConsumer is the silence after which a consumer that holds nothing is forgotten.
	deadConsumer = 10 * time.Minute
	// listEnd is the cursor of XAUTOCLAIM at the beginning and at the end of what is pending.
	listEnd = "0-0"
)

// session reads on one connection until it breaks, the group is gone or ctx ends. Only the loop looks at ctx: what was
// asked of Redis is waited for.
func (c *Consumer) session(ctx context.Context, up func()) error {
	rdb := c.connection()
	defer func() { _ = rdb.Close() }()
	defer c.connected.Store(false)
	lasting := context.WithoutCancel(ctx)
	for joined := false; !joined && ctx.Err() == nil; {
		var err error
		if joined, err = c.join(lasting, rdb, func() {
			c.connected.Store(true)
			up()
		}); err != nil {
			return err
		}
	}
	if err := c.acknowledge(lasting, rdb); err != nil { // What the last session could not.
		return err
	}
	if err := c.forget(lasting, rdb, ""); err != nil { // Every crash is followed by a start, so they cannot pile up.
		return err
	}
	cursor, claimNext := listEnd, time.Time{}
	for ctx.Err() == nil {
		wait := c.wait()
		if taken := time.Now(); taken.After(claimNext) {
			entries, next, err := c.claim(lasting, rdb, cursor)
			if err != nil {
				return err
			}
			if cursor = next; cursor == listEnd {
				claimNext = taken.Add(c.do.Claim / 3)
			} else {
				wait = -1 // There is more to claim, but fresh entries come between.
			}
			if err := c.handle(ctx, rdb, entries, taken); err != nil {
				return err
			}
			if ctx.Err() != nil {
				break
			}
		}
		taken := time.Now() // Rather too early than too late.
		entries, err := c.read(lasting, rdb, wait)
		if err != nil {
			return err
		}
		if err := c.handle(ctx, rdb, entries, taken); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// connection returns a client with one connection, so that no other command waits behind a read that does. It is made
// anew for every session: a client that failed to connect does not try again for a second.
func (c *Consumer) connection() *redis.Client {
	opt := *c.rdb.Options()
	opt.PoolSize, opt.MinIdleConns, opt.MaxRetries, opt.ContextTimeoutEnabled = 1, 0, -1, true
	opt.PushNotificationProcessor = nil // That of rdb serves no second client.
	return redis.NewClient(&opt)
}

// wait is how long a read waits for entries.
func (c *Consumer) wait() time.Duration { return min(longestWait, c.do.Claim/10) }

func (c *Consumer) key() string { return c.log.keys.log(c.do.Channel) }

// join makes the group if there is none. When there is no log it waits a while for one and returns false: it makes none,
// which would have no expiry, and from whose end streams could not tell where they stand. Up is called when Redis answers.
func (c *Consumer) join(ctx context.Context, rdb *redis.Client, up func()) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, c.wait()+c.log.cfg.Timeout)
	defer cancel()
	key := c.key()
	n, err := rdb.Exists(ctx, key).Result()
	if err != nil {
		return false, err
	}
	if n == 0 {
		up()
		err := rdb.XRead(ctx, &redis.XReadArgs{Streams: []string{key, "0-0"}, Count: 1, Block: c.wait()}).Err()
		if errors.Is(err, redis.Nil) {
			err = nil
		}
		return false, err
	}
	now, err := rdb.Time(ctx).Result()
	if err != nil {
		return false, err
	}
	from := max(now.Add(-c.do.Since).UnixMilli(), 0)
	err = rdb.XGroupCreate(ctx, key, c.do.Group, strconv.FormatInt(from, 10)+"-0").Err()
	if redis.HasErrorPrefix(err, "BUSYGROUP") {
		err = nil // It was there.
	}
	if err != nil {
		return false, err
	}
	up()
	return true, nil
}

// read takes fresh entries. A wait below 0 does not wait.
func (c *Consumer) read(ctx context.Context, rdb *redis.Client, wait time.Duration) ([]redis.XMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, max(wait, 0)+c.log.cfg.Timeout)
	defer cancel()
	logs, err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: c.do.Group, Consumer: c.do.Name, Streams: []string{c.key(), ">"}, Count: consumerBatch, Block: wait,
	}).Result()
	if errors.Is(err, redis.Nil) || err == nil && len(logs) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return logs[0].Messages, nil
}

// claim takes over a few entries that were taken and not acknowledged for Consumption.Claim, from a place in the list of
// what is pending. It returns the place to go on from, listEnd at the end.
func (c *Consumer) claim(ctx context.Context, rdb *redis.Client, from string) ([]redis.XMessage, string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.log.cfg.Timeout)
	defer cancel()
	reply, err := claimScript.Run(ctx, rdb, []string{c.key()},
		c.do.Group, c.do.Name, c.do.Claim.Milliseconds(), from, consumerBatch).Slice()
	if err != nil {
		return nil, "", err
	}
	if len(reply) < 2 || len(reply)%2 != 0 {
		return nil, "", errBadClaim
	}
	next, _ := reply[0].(string)
	lost, _ := reply[1].(int64)
	entries := make([]redis.XMessage, 0, len(reply)/2-1)
	for pair := reply[2:]; len(pair) > 0; pair = pair[2:] {
		id, _ := pair[0].(string)
		entries = append(entries, redis.XMessage{ID: id, Values: map[string]any{"e": pair[1]}})
	}
	c.claimed.Add(int64(len(entries)))
	if lost > 0 {
		c.lost.Add(lost)
		c.log.cfg.Logger.Warn("the log dropped events that were taken and not handled", zap.Int64("events", lost))
	}
	return entries, next, nil
}

var errBadClaim = errors.New("events: consumer_claim.lua returned what it should not")

// handle handles entries that were taken at a time, until ctx ends, and acknowledges them. Its error is that of Redis.
func (c *Consumer) handle(ctx context.Context, rdb *redis.Client, entries []redis.XMessage, taken time.Time) error {
	lasting := context.WithoutCancel(ctx)
	for i, entry := range entries {
		if time.Since(taken) > c.do.Claim/2 {
			break // The rest may soon be another's: it comes again.
		}
		if ctx.Err() != nil {
			return errors.Join(c.acknowledge(lasting, rdb), c.giveBack(lasting, rdb, entries[i:]))
		}
		records := c.log.records(c.do.Channel, entries[i:i+1])
		if len(records) == 0 || !c.do.Types.Match(records[0].Type) {
			c.done = append(c.done, entry.ID)
			continue
		}
		if err := c.call(lasting, records[0], taken.Add(c.do.Claim)); err != nil {
			c.failed.Add(1)
			c.log.cfg.Logger.Warn("an event could not be handled and comes again",
				zap.String("type", records[0].Type), zap.Stringer("offset", records[0].Offset), zap.Error(err))
			continue
		}
		c.handled.Add(1)
		c.done = append(c.done, entry.ID)
		if err := c.acknowledge(lasting, rdb); err != nil {
			return err
		}
	}
	return c.acknowledge(lasting, rdb)
}

// call calls Handle and makes a panic an error. What was panicked with is not told, which may be of the event.
func (c *Consumer) call(ctx context.Context, record *Record, deadline time.Time) (err error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("events: a handler panicked with a %T", p)
			c.log.cfg.Logger.Error("a handler panicked", zap.String("type", record.Type), zap.StackSkip("stack", 2))
		}
	}()
	return c.do.Handle(ctx, record)
}

// acknowledge acknowledges what is done. When Redis does not answer, it is kept for the next time.
func (c *Consumer) acknowledge(ctx context.Context, rdb *redis.Client) error {
	if len(c.done) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.log.cfg.Timeout)
	defer cancel()
	err := rdb.XAck(ctx, c.key(), c.do.Group, c.done...).Err()
	if err == nil {
		c.done = c.done[:0]
	}
	return err
}

// giveBack makes entries look as if they had been left long ago, so that the next consumer that looks takes them.
func (c *Consumer) giveBack(ctx context.Context, rdb *redis.Client, entries []redis.XMessage) error {
	ctx, cancel := context.WithTimeout(ctx, c.log.cfg.Timeout)
	defer cancel()
	args := []any{"XCLAIM", c.key(), c.do.Group, c.do.Name, 0}
	for _, entry := range entries {
		args = append(args, entry.ID)
	}
	return rdb.Do(ctx, append(args, "IDLE", c.do.Claim.Milliseconds(), "JUSTID")...).Err()
}

// forget removes consumers from the group that hold nothing: the one that leaves, and those not heard of for long.
func (c *Consumer) forget(ctx context.Context, rdb *redis.Client, leaving string) error {
	ctx, cancel := context.WithTimeout(ctx, c.log.cfg.Timeout)
	defer cancel()
	return forgetScript.Run(ctx, rdb, []string{c.key()}, c.do.Group, leaving, deadConsumer.Milliseconds()).Err()
}
