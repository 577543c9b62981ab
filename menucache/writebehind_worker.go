package menucache

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// Start begins to deliver, and goes on until Close whatever becomes of the context. It does not wait for Redis.
func (w *writeBehind) Start(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stop != nil || w.closed {
		return errClosed
	}
	ctx, w.stop = context.WithCancel(context.WithoutCancel(ctx))
	opt := *w.rdb.Options()
	opt.PoolSize, opt.MinIdleConns, opt.MaxRetries, opt.ContextTimeoutEnabled = 1, 0, -1, true
	w.blocks = redis.NewClient(&opt)
	w.done.Go(func() { w.read(ctx) })
	w.done.Go(func() { w.promote(ctx) })
	w.done.Go(func() { w.sweep(ctx) })
	return nil
}

// Close takes up nothing more, lets the deliveries under way end, which takes no longer than half a second, the source's
// timeout and two calls to Redis, and returns when all goroutines have ended. It may be called twice. What is queued stays
// in Redis.
func (w *writeBehind) Close() {
	w.mu.Lock()
	running := w.stop != nil && !w.closed
	w.closed = true
	if running {
		w.stop()
	}
	w.mu.Unlock()
	// The read that waits is not cut: Redis could give its entry to a connection that is gone, and then nobody delivers
	// it for a lease.
	w.done.Wait()
	if running {
		_ = w.blocks.Close()
		// Without Redis, another hub does it later.
		_ = w.forget(context.Background(), w.cfg.Consumer)
	}
}

// read hands what is queued to workers until ctx ends.
func (w *writeBehind) read(ctx context.Context) {
	const shortest, longest = 50 * time.Millisecond, time.Second
	var workers sync.WaitGroup
	defer workers.Wait()
	slots := make(chan struct{}, w.cfg.Workers)
	pause, told := shortest, false
	up := func() {
		if told {
			w.cfg.Logger.Info("the queue of writes to the menu source is back")
		}
		pause, told = shortest, false
	}
	for ctx.Err() == nil {
		err := w.session(ctx, slots, &workers, up)
		if ctx.Err() != nil {
			return
		}
		if redis.HasErrorPrefix(err, "NOGROUP") || redis.HasErrorPrefix(err, "UNBLOCKED") {
			w.cfg.Logger.Warn("the queue of writes to the menu source was deleted, making it anew")
		} else if !told {
			w.cfg.Logger.Warn("the queue of writes to the menu source is away, trying again", zap.Error(err))
			told = true
		}
		pauseFor(ctx, pause)
		pause = min(2*pause, longest)
	}
}

// pauseFor returns after a time, or when ctx ends.
func pauseFor(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// session reads until there is an error. It reads one entry at a time, and only when a worker is free for it, so that no
// entry waits in here while another hub could have it.
func (w *writeBehind) session(ctx context.Context, slots chan struct{}, workers *sync.WaitGroup, up func()) error {
	// From the beginning: what is acknowledged is deleted, so all that is there is to be done.
	err := w.blocks.XGroupCreateMkStream(ctx, w.writesKey(), writeGroup, "0").Err()
	if err != nil && !redis.HasErrorPrefix(err, "BUSYGROUP") {
		return err
	}
	up()
	lasting := context.WithoutCancel(ctx) // What was taken is brought to an end: the source's timeout bounds it.
	var claimed time.Time                 // When the entries of dead hubs were last looked for, and none was left.
	cursor := "0-0"
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		if ctx.Err() != nil { // Both may come about at a time.
			return ctx.Err()
		}
		var entries []redis.XMessage
		if time.Since(claimed) >= w.cfg.Lease/3 {
			entries, cursor, err = w.claimDead(lasting, cursor)
			if cursor == "0-0" {
				claimed = time.Now()
			}
		} else {
			entries, err = w.next(lasting)
		}
		if len(entries) == 0 {
			<-slots
			if err != nil {
				return err
			}
			continue
		}
		entry := entries[0]
		workers.Go(func() {
			defer func() { <-slots }()
			w.deliver(lasting, entry)
		})
	}
}

// next waits for an entry.
func (w *writeBehind) next(ctx context.Context) ([]redis.XMessage, error) {
	block := min(longestBlock, w.cfg.Lease/3+time.Millisecond) // 0 would be for ever.
	ctx, cancel := context.WithTimeout(ctx, block+time.Second)
	defer cancel()
	streams, err := w.blocks.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: writeGroup, Consumer: w.cfg.Consumer, Streams: []string{w.writesKey(), ">"}, Count: 1, Block: block,
	}).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil:
		return nil, err
	case len(streams) == 0:
		return nil, nil
	}
	return streams[0].Messages, nil
}

// claimDead takes over an entry that somebody, this hub or another, took and has not brought to an end for a lease. The
// cursor it returns is 0-0 at the end of the list.
func (w *writeBehind) claimDead(ctx context.Context, cursor string) ([]redis.XMessage, string, error) {
	entries, next, err := w.blocks.XAutoClaim(ctx, &redis.XAutoClaimArgs{
		Stream: w.writesKey(), Group: writeGroup, Consumer: w.cfg.Consumer, MinIdle: w.cfg.Lease, Start: cursor, Count: 1,
	}).Result()
	if err != nil {
		return nil, "0-0", err
	}
	return entries, next, nil
}

// deliver brings one entry to an end. When Redis does not let it, the entry comes up again after the lease.
func (w *writeBehind) deliver(ctx context.Context, entry redis.XMessage) {
	field, _ := entry.Values["key"].(string)
	token, began := uuid.NewString(), time.Now()
	reply, err := w.do(ctx, "claim", field, entry.ID, token, w.cfg.Lease.Milliseconds()).Slice()
	if err != nil {
		return // Or there was nothing to deliver, or not now.
	}
	id, attempts, err := textAndNumber(reply)
	if err != nil || len(reply) < 3 {
		return
	}
	menu, _ := reply[2].(string)
	outcome := refused
	key, problem := parseField(field)
	if problem == nil {
		outcome, problem = w.put(ctx, began, key, []byte(menu), id)
	}
	text := ""
	if problem != nil {
		text = strings.TrimPrefix(problem.Error(), "menucache: ")
	}
	result, err := w.do(ctx, "finish", field, entry.ID, token, id, outcome, w.backoff(attempts).Milliseconds(),
		w.cfg.MaxAttempts, text, w.cfg.MaxDead).Text()
	if err != nil {
		return
	}
	switch result {
	case delivered:
		w.delivered.Add(1)
	case "retried":
		w.retried.Add(1)
	case "dead":
		w.buried.Add(1)
		w.cfg.Logger.Warn("a write to the menu source was given up",
			zap.Int64("attempts", attempts+1), zap.Error(problem))
	}
	if outcome == failed {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// backoff draws the wait after so many attempts and one more.
func (w *writeBehind) backoff(attempts int64) time.Duration {
	longest := w.cfg.Backoff
	for range attempts {
		if longest >= w.cfg.MaxBackoff/2 {
			longest = w.cfg.MaxBackoff
			break
		}
		longest *= 2
	}
	return rand.N(longest + 1) //nolint:gosec // a wait need not be unguessable
}

// promote queues keys whose time has come until ctx ends. Every hub does: the keys of one that died are due as well.
func (w *writeBehind) promote(ctx context.Context) {
	const longest = time.Second
	for ctx.Err() == nil {
		pause := longest
		if next, err := w.do(ctx, "promote", 100).Int64(); err == nil && next >= 0 {
			// A little late rather than early, and then again.
			pause = min(time.Duration(next+1)*time.Millisecond, longest)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-w.wake:
		}
		timer.Stop()
	}
}

// sweep looks now and then for writes that nothing brings up any more, because their entry was deleted, and for
// consumers that have gone.
func (w *writeBehind) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		pauseFor(ctx, w.cfg.SweepAfter/2)
		cursor := "0"
		for ctx.Err() == nil {
			next, err := w.do(ctx, "sweep", cursor, w.cfg.SweepAfter.Milliseconds()).Text()
			if err != nil || next == "0" {
				break // If Redis is away, the next time will do.
			}
			cursor = next
		}
		_ = w.forget(ctx, "") // The same.
	}
}

// forget removes consumers that hold nothing: the one that is named, and those not heard of for long.
func (w *writeBehind) forget(ctx context.Context, leaving string) error {
	const dead = 10 * time.Minute
	return w.do(ctx, "forget", leaving, dead.Milliseconds()).Err()
}
