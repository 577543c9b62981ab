package menucache

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

//go:embed writebehind.lua
var writeBehindSource string

// writeBehindConfig says how writes are delivered. The zero value is ready to use.
type writeBehindConfig struct {
	// MaxAttempts is how often a write is tried before it is given up. Default 10; at least 1.
	MaxAttempts int
	// Backoff is the longest wait before the second attempt; it doubles with each, to MaxBackoff. The waits are drawn
	// evenly from 0 up. Default 200 ms and 30 s; at least 1 ms.
	Backoff, MaxBackoff time.Duration
	// Lease is how long a hub may be silent before another takes over what it was delivering. It must be longer than the
	// source's timeout. Default 30 s.
	Lease time.Duration
	// Workers is how many writes may be under way at a time, of different keys. Default 4; at least 1.
	Workers int
	// Consumer is this hub's name in the consumer group, which no other process may have. Default: one that is made up.
	Consumer string
	// SweepAfter is the age from which a write is looked for that nothing brings up any more. Default 1 minute.
	SweepAfter time.Duration
	// MaxDead is how many dead letters are kept; the oldest go. Default 10,000; at least 1.
	MaxDead int
	// Logger is told of lost and regained connections and of writes that are given up. Default: nobody.
	Logger *zap.Logger
}

func (c writeBehindConfig) withDefaults() writeBehindConfig {
	c.MaxAttempts = cmp.Or(c.MaxAttempts, 10)
	c.Backoff = cmp.Or(c.Backoff, 200*time.Millisecond)
	c.MaxBackoff = cmp.Or(c.MaxBackoff, 30*time.Second)
	c.Lease = cmp.Or(c.Lease, 30*time.Second)
	c.Workers = cmp.Or(c.Workers, 4)
	c.SweepAfter = cmp.Or(c.SweepAfter, time.Minute)
	c.MaxDead = cmp.Or(c.MaxDead, 10_000)
	c.Logger = cmp.Or(c.Logger, zap.NewNop())
	if c.Consumer == "" {
		host, _ := os.Hostname() // For those who look at the group; the rest makes it unique.
		c.Consumer = fmt.Sprintf("%s-%d-%s", host, os.Getpid(), uuid.NewString())
	}
	return c
}

func (c writeBehindConfig) validate(source *Source) error {
	if c.MaxAttempts < 1 || c.Workers < 1 || c.MaxDead < 1 ||
		c.Backoff < time.Millisecond || c.MaxBackoff < c.Backoff || c.SweepAfter < time.Millisecond {
		return errors.New("menucache: MaxAttempts, Workers, MaxDead, Backoff, MaxBackoff and SweepAfter must be positive")
	}
	if c.Lease <= source.cfg.Timeout {
		return errors.New("menucache: the lease of a write must be longer than the menu source's timeout")
	}
	return nil
}

// writeBehind is the queue of writes to the menu source, in Redis, shared by all hubs with the same prefix.
//
// A write is acknowledged when it is in Redis. It is then delivered, at least once, unless a newer write of its key is
// acknowledged first, or the source refuses it or fails too often: it then is a dead letter, until a newer write of its
// key comes. What Redis itself loses is lost. No two hubs deliver the same key at the same time, and no write is
// delivered after a newer one of its key; a hub that was suspended for longer than its lease in the middle of a delivery
// could only be told by the source, from the write's id, and so could a call that the source goes on with
// after it was given up.
type writeBehind struct {
	rdb    *redis.Client
	source *Source
	cfg    writeBehindConfig
	script *redis.Script
	keys   []string

	wake chan struct{} // That a key may be due sooner than promote knows.

	mu     sync.Mutex
	closed bool
	stop   context.CancelFunc
	blocks *redis.Client // For reads that block, which a pool's other users should not wait for.
	done   sync.WaitGroup

	queued, delivered, retried, superseded, buried atomic.Int64
}

// How a delivery ended, in the words of the script.
const (
	delivered = "delivered"
	refused   = "refused"
	failed    = "failed"
)

const (
	// writeGroup is the consumer group of all hubs.
	writeGroup = "hub"
	// longestBlock bounds a read that waits for writes, and so how long Close waits for it.
	longestBlock = 500 * time.Millisecond
)

var errClosed = errors.New("menucache: closed")

// newWriteBehind makes a queue; Start must be called for its writes to be delivered. Client and source stay the caller's
// to close, after Close.
func newWriteBehind(rdb *redis.Client, prefix string, source *Source, cfg writeBehindConfig) (*writeBehind, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(source); err != nil {
		return nil, err
	}
	keys := make([]string, 0, 7)
	for _, name := range []string{"writes", "pending", "retry", "leases", "dead", "dead-keys", "write-id"} {
		keys = append(keys, prefix+":menu:"+name)
	}
	return &writeBehind{
		rdb: rdb, source: source, cfg: cfg, script: redis.NewScript(writeBehindSource), keys: keys,
		wake: make(chan struct{}, 1),
	}, nil
}

func (w *writeBehind) writesKey() string  { return w.keys[0] }
func (w *writeBehind) pendingKey() string { return w.keys[1] }
func (w *writeBehind) deadKey() string    { return w.keys[4] }

func (k Key) field() string { return strconv.FormatInt(k.UserID, 10) + ":" + k.Type }

func parseField(field string) (Key, error) {
	user, typ, found := strings.Cut(field, ":")
	id, err := strconv.ParseInt(user, 10, 64)
	if err != nil || !found || id <= 0 || typ == "" {
		return Key{}, errors.New("it is for no menu")
	}
	return Key{id, typ}, nil
}

// do runs an operation of writebehind.lua.
func (w *writeBehind) do(ctx context.Context, operation string, args ...any) *redis.Cmd {
	return w.script.Run(ctx, w.rdb, w.keys, append([]any{operation, writeGroup}, args...)...)
}

func unavailable(doing string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, doing, err)
}

// add queues a write, which is acknowledged when it returns without an error, and returns its id. It takes the place of
// the key's older write. After ErrUnavailable it may have been queued all the same.
func (w *writeBehind) add(ctx context.Context, key Key, menu []byte) (id string, err error) {
	const doing = "queueing a write of a menu"
	reply, err := w.do(ctx, "add", key.field(), menu).Slice()
	if err != nil {
		return "", unavailable(doing, err)
	}
	id, replaced, err := textAndNumber(reply)
	if err != nil {
		return "", unavailable(doing, err)
	}
	w.queued.Add(1)
	w.superseded.Add(replaced)
	return id, nil
}

var errScriptReply = errors.New("writebehind.lua returned what it should not")

// textAndNumber reads a reply that begins with a text and a number.
func textAndNumber(reply []any) (text string, number int64, err error) {
	if len(reply) >= 2 {
		text, isText := reply[0].(string)
		number, isNumber := reply[1].(int64)
		if isText && isNumber {
			return text, number, nil
		}
	}
	return "", 0, errScriptReply
}

// pending returns the write of the key that is acknowledged but not known to be delivered. A reader that does not find a
// menu in the cache must look here before it asks the source. It returns ErrUnavailable when Redis does not answer.
func (w *writeBehind) pending(ctx context.Context, key Key) (menu []byte, found bool, err error) {
	value, err := w.rdb.HGet(ctx, w.pendingKey(), key.field()).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, false, nil
	case err != nil:
		return nil, false, unavailable("looking for a queued menu", err)
	}
	parts := strings.SplitN(value, " ", 4) // As the script's store has it.
	if len(parts) < 4 {
		return nil, false, nil
	}
	return []byte(parts[3]), true, nil
}

// through stores a menu in the source at once, past the queue but in its order: it waits until nobody delivers the key,
// and takes the place of the write that is queued. It returns ErrUnavailable when Redis does not answer, after which the
// menu may have been stored; else what Source.Put returns.
func (w *writeBehind) through(ctx context.Context, key Key, menu []byte) error {
	const doing = "writing a menu through"
	token := uuid.NewString()
	began, id, waiting, err := w.lock(ctx, key, token)
	if err != nil {
		return err
	}
	outcome, putErr := w.put(ctx, began, key, menu, id)
	// The lease has to go even when the caller has left.
	replaced, err := w.do(context.WithoutCancel(ctx), "unlock", key.field(), token, waiting, outcome).Int64()
	w.superseded.Add(replaced)
	if putErr == nil && err != nil {
		return unavailable(doing, err)
	}
	return putErr
}

// lock takes the key's lease, waiting for the delivery that is under way. It returns when it was taken, an id for a write,
// and the id of the write that is queued.
func (w *writeBehind) lock(ctx context.Context, key Key, token string) (began time.Time, id, waiting string, err error) {
	const pollEvery = 20 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, 2*w.source.cfg.Timeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		began = time.Now()
		ids, err := w.do(ctx, "lock", key.field(), token, w.cfg.Lease.Milliseconds()).StringSlice()
		switch {
		case err == nil && len(ids) == 2:
			return began, ids[0], ids[1], nil
		case !errors.Is(err, redis.Nil):
			return began, "", "", unavailable("taking the turn of a menu", cmp.Or(err, errScriptReply))
		}
		select {
		case <-ctx.Done():
			return began, "", "", fmt.Errorf("%w: another write of the menu is under way: %w", ErrSourceUnavailable, ctx.Err())
		case <-tick.C:
		}
	}
}

// put makes a delivery that ends before the lease taken at began does, and says how it ended in the script's words.
func (w *writeBehind) put(ctx context.Context, began time.Time, key Key, menu []byte, id string) (outcome string, err error) {
	ctx, cancel := context.WithDeadline(ctx, began.Add(w.cfg.Lease*9/10))
	defer cancel()
	err = w.source.Put(ctx, key, menu, id)
	switch {
	case err == nil:
		return delivered, nil
	case errors.Is(err, ErrSourceRefused):
		return refused, err
	}
	return failed, err
}

// dead returns writes that were given up, oldest first, at most limit (1 to MaxPage), after those of the page whose Next
// is the cursor, or from the first with "". It returns an InvalidError for another cursor.
func (w *writeBehind) dead(ctx context.Context, cursor string, limit int) (DeadWritePage, error) {
	start := "-"
	if cursor != "" {
		if !isEntryID(cursor) {
			return DeadWritePage{}, &InvalidError{Fields: []FieldProblem{{"cursor", wantCursor}}}
		}
		start = "(" + cursor
	}
	entries, err := w.rdb.XRangeN(ctx, w.deadKey(), start, "+", int64(limit)+1).Result()
	if err != nil {
		return DeadWritePage{}, unavailable("listing dead writes", err)
	}
	var page DeadWritePage
	if len(entries) > limit {
		entries = entries[:limit]
		page.Next = entries[limit-1].ID
	}
	for _, e := range entries {
		page.Writes = append(page.Writes, deadWrite(e))
	}
	return page, nil
}

// deadWrite reads a dead letter; what is not there stays zero.
func deadWrite(e redis.XMessage) DeadWrite {
	text := func(name string) string { s, _ := e.Values[name].(string); return s }
	number := func(name string) int64 { n, _ := strconv.ParseInt(text(name), 10, 64); return n }
	return DeadWrite{
		ID: e.ID, Key: Key{number("user_id"), text("type")}, Attempts: int(number("attempts")),
		Problem: text("problem"), At: time.UnixMilli(number("at")).UTC(),
	}
}

// isEntryID reports whether s is the id of an entry of a stream.
func isEntryID(s string) bool {
	ms, seq, found := strings.Cut(s, "-")
	for _, part := range []string{ms, seq} {
		if _, err := strconv.ParseUint(part, 10, 64); err != nil {
			return false
		}
	}
	return found
}

// retry queues a dead letter again, with its attempts before it, as the newest write of its key, which it is. It returns
// ErrNotFound when there is none of that id, and so when a newer write of its key has come.
func (w *writeBehind) retry(ctx context.Context, id string) error {
	if !isEntryID(id) {
		return ErrNotFound
	}
	revived, err := w.do(ctx, "revive", id).Bool()
	switch {
	case err != nil:
		return unavailable("queueing a dead write again", err)
	case !revived:
		return ErrNotFound
	}
	w.queued.Add(1)
	return nil
}

// writeBehindStats counts what this hub did since it started.
type writeBehindStats struct {
	// Queued writes, and Superseded ones: a newer write took their place before they were known to be delivered.
	Queued, Superseded int64
	// Delivered writes, attempts that failed and are Retried later, and writes that were given up (Dead).
	Delivered, Retried, Dead int64
}

func (w *writeBehind) stats() writeBehindStats {
	return writeBehindStats{
		Queued: w.queued.Load(), Superseded: w.superseded.Load(),
		Delivered: w.delivered.Load(), Retried: w.retried.Load(), Dead: w.buried.Load(),
	}
}

// depth returns how many writes of all hubs wait to be delivered, and how many dead letters there are.
func (w *writeBehind) depth(ctx context.Context) (waiting, dead int64, err error) {
	pipe := w.rdb.Pipeline()
	hlen, xlen := pipe.HLen(ctx, w.pendingKey()), pipe.XLen(ctx, w.deadKey())
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, 0, unavailable("counting queued writes", err)
	}
	return hlen.Val(), xlen.Val(), nil
}
