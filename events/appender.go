package events

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed append.lua
var appendSource string

// appender runs append.lua. The calls of concurrent callers go to Redis together, in one round trip for all that wait,
// which costs no waiting: a batch is what gathered while the one before was under way.
type appender struct {
	rdb    redis.UniversalClient
	script *redis.Script
	cfg    Config
	keys   keyspace
	queue  chan *appendCall
	done   sync.WaitGroup

	mu      sync.Mutex
	closed  chan struct{}
	started bool
}

// appendCall is one call of the script on its way.
type appendCall struct {
	ctx      context.Context //nolint:containedctx // A queued request carries the deadline of the caller who waits.
	keys     []string
	args     []any
	reply    appendReply
	err      error
	finished chan struct{}
}

// appendReply is what the script returned.
type appendReply struct {
	what        string
	id          string
	offset      Offset
	subscribers int64
	timestamp   time.Time
	typ         string
}

const (
	longestBatch = 128
	longestQueue = 4096
)

func newAppender(rdb redis.UniversalClient, cfg Config, keys keyspace) *appender {
	return &appender{
		rdb: rdb, script: redis.NewScript(appendSource), cfg: cfg, keys: keys,
		queue: make(chan *appendCall, longestQueue), closed: make(chan struct{}),
	}
}

// start begins to work with so many batches under way at a time. With one, calls are done in the order they came.
func (a *appender) start(workers int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.started {
		return
	}
	a.started = true
	for range workers {
		a.done.Go(a.work)
	}
}

// close ends the workers after what is queued was done, and waits for them.
func (a *appender) close() {
	a.mu.Lock()
	select {
	case <-a.closed:
	default:
		close(a.closed)
	}
	a.mu.Unlock()
	a.done.Wait()
}

// submit queues the append of ev, whose envelope may have so many bytes, without waiting for it. tell is the Pub/Sub
// channel that hears of it.
func (a *appender) submit(
	ctx context.Context, ev *Event, other []byte, largest int, tell, idemKey, print string,
) (*appendCall, error) {
	envelope := appendEnvelope(make([]byte, 0, 512+len(ev.Data)), a.keys, ev, other)
	if len(envelope) > largest {
		return nil, ErrTooLarge
	}
	idem := a.keys.idem(ev.Channel)
	keep := a.cfg.retention(ev.Channel.scope)
	oldest := OffsetAt(time.Now().Add(-keep.MaxAge))
	receiptEnd := string(append(append(appendTimestamp(nil, ev.Timestamp), ' '), ev.Type...))
	call := &appendCall{
		ctx:  ctx,
		keys: []string{a.keys.log(ev.Channel), idem + "i:" + ev.ID},
		args: []any{
			tell, envelope, keep.MaxEntries, keep.MaxAge.Milliseconds(), oldest.ms,
			a.cfg.DedupeWindow.Milliseconds(), ev.ID, receiptEnd, a.keys.bridges(),
		},
		finished: make(chan struct{}),
	}
	if idemKey != "" {
		call.keys = append(call.keys, idem+"k:"+idemKey)
		call.args = append(call.args, print)
	}
	select {
	case <-a.closed:
		return nil, ErrClosed
	default:
	}
	select {
	case a.queue <- call:
		return call, nil
	case <-a.closed:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: its queue is full: %w", ErrUnavailable, ctx.Err())
	}
}

// wait returns what became of a call.
func (a *appender) wait(ctx context.Context, call *appendCall) (appendReply, error) {
	select {
	case <-call.finished:
		return call.reply, call.err
	case <-ctx.Done():
		return appendReply{}, fmt.Errorf("%w: no answer in time: %w", ErrUnavailable, ctx.Err())
	}
}

func (a *appender) work() {
	batch := make([]*appendCall, 0, longestBatch)
	for {
		select {
		case call := <-a.queue:
			batch = a.gather(append(batch[:0], call))
			a.run(batch)
		case <-a.closed:
			if batch = a.gather(batch[:0]); len(batch) == 0 {
				return
			}
			a.run(batch)
		}
	}
}

// gather adds what waits already.
func (a *appender) gather(batch []*appendCall) []*appendCall {
	for len(batch) < longestBatch {
		select {
		case call := <-a.queue:
			batch = append(batch, call)
		default:
			return batch
		}
	}
	return batch
}

// run does one batch. A caller who has left is not served: it was told that nothing happened.
func (a *appender) run(batch []*appendCall) {
	ctx, cancel := context.WithTimeout(context.Background(), a.cfg.Timeout)
	defer cancel()
	todo := make([]*appendCall, 0, len(batch))
	for _, call := range batch {
		if err := call.ctx.Err(); err != nil {
			call.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
			close(call.finished)
			continue
		}
		todo = append(todo, call)
	}
	if unknown := a.exec(ctx, todo); len(unknown) > 0 {
		// The server forgot the script: it restarted. Nothing of these calls was done.
		if err := a.script.Load(ctx, a.rdb).Err(); err == nil {
			a.exec(ctx, unknown)
		}
	}
	for _, call := range todo {
		close(call.finished)
	}
}

// exec sends the calls in one round trip, sets their results and returns those for which the script was missing.
func (a *appender) exec(ctx context.Context, calls []*appendCall) (unknown []*appendCall) {
	if len(calls) == 0 {
		return nil
	}
	pipe := a.rdb.Pipeline()
	replies := make([]*redis.Cmd, len(calls))
	for i, call := range calls {
		replies[i] = pipe.EvalSha(ctx, a.script.Hash(), call.keys, call.args...)
	}
	_, _ = pipe.Exec(ctx) // Every command carries its own error.
	for i, call := range calls {
		parts, err := replies[i].StringSlice()
		switch {
		case err == nil:
			call.reply, call.err = parseAppendReply(parts)
		case redis.HasErrorPrefix(err, "NOSCRIPT"):
			unknown = append(unknown, call)
			fallthrough
		default:
			call.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	return unknown
}

var errBadReply = errors.New("events: append.lua returned what it should not")

func parseAppendReply(parts []string) (reply appendReply, err error) {
	if len(parts) != 2 {
		return reply, errBadReply
	}
	if reply.what = parts[0]; reply.what == "reused" {
		return reply, nil
	}
	fields := strings.Split(parts[1], " ")
	if len(fields) != 5 {
		return reply, errBadReply
	}
	reply.id, reply.typ = fields[0], fields[4]
	var errs [3]error
	reply.offset, errs[0] = ParseOffset(fields[1])
	reply.subscribers, errs[1] = strconv.ParseInt(fields[2], 10, 64)
	reply.timestamp, errs[2] = ParseTimestamp(fields[3])
	if err := errors.Join(errs[:]...); err != nil {
		return reply, fmt.Errorf("%w: %w", errBadReply, err)
	}
	return reply, nil
}
