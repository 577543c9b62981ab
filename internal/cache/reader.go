package cache

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// reader reads keys from Redis. The reads of concurrent callers go there together, in one MGET for all that wait, which
// costs no waiting: a batch is what gathered while the one before was under way.
type reader struct {
	rdb   *redis.Client
	queue chan *readCall
	done  sync.WaitGroup

	mu     sync.RWMutex // What is put into queue is put there while the workers run.
	closed bool
}

// readCall is one call on its way.
type readCall struct {
	names []string
	// ask says that left is wanted: how long the first of names is kept, as Redis has it.
	ask      bool
	left     time.Duration
	texts    []string
	err      error
	deadline time.Time
	finished chan struct{}
}

const (
	// readers is how many batches may be under way, readBatch how many calls go into one.
	readers   = 2
	readBatch = 128
)

func newReader(rdb *redis.Client) *reader {
	return &reader{rdb: rdb, queue: make(chan *readCall, readers*readBatch)}
}

// start lets the workers work. Calls before it wait.
func (r *reader) start() {
	for range readers {
		r.done.Go(r.work)
	}
}

// close ends the workers after what is queued. Later calls fail with ErrClosed.
func (r *reader) close() {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.queue)
	}
	r.mu.Unlock()
	r.done.Wait()
}

// get waits for Redis no longer than patience, and returns the texts of keys, "" for one that is not there or is no
// string, and with ask for how long the first is kept, negative if it is not there or never expires.
func (r *reader) get(ctx context.Context, ask bool, names ...string) (texts []string, left time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err // Not by chance.
	}
	call := &readCall{names: names, ask: ask, deadline: time.Now().Add(patience), finished: make(chan struct{})}
	r.mu.RLock()
	if r.closed {
		r.mu.RUnlock()
		return nil, 0, ErrClosed
	}
	select {
	case r.queue <- call:
		r.mu.RUnlock()
	case <-ctx.Done():
		r.mu.RUnlock()
		return nil, 0, ctx.Err()
	}
	select {
	case <-call.finished:
		return call.texts, call.left, call.err
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
}

func (r *reader) work() {
	var batch []*readCall
	var names []string
	for call := range r.queue {
		batch, names = append(batch[:0], call), append(names[:0], call.names...)
		for more := true; more && len(batch) < readBatch; {
			select {
			case call, ok := <-r.queue:
				if more = ok; ok {
					batch, names = append(batch, call), append(names, call.names...)
				}
			default:
				more = false
			}
		}
		r.read(batch, names)
	}
}

// read answers a batch of calls.
func (r *reader) read(batch []*readCall, names []string) {
	// The oldest has the least time left.
	ctx, cancel := context.WithDeadline(context.Background(), batch[0].deadline)
	defer cancel()
	err := r.fill(ctx, batch, names)
	for _, call := range batch {
		if err != nil {
			call.err = err
		}
		close(call.finished)
	}
	clear(batch)
}

func (r *reader) fill(ctx context.Context, batch []*readCall, names []string) error {
	pipe := r.rdb.Pipeline()
	lefts := make([]*redis.DurationCmd, len(batch))
	for i, call := range batch {
		if call.ask { // Before the value: one that is written in between seems older than it is, and not newer.
			lefts[i] = pipe.PTTL(ctx, call.names[0])
		}
	}
	get := pipe.MGet(ctx, names...)
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	values := get.Val()
	for i, call := range batch {
		call.texts = make([]string, len(call.names))
		for j := range call.texts {
			call.texts[j], _ = values[j].(string)
		}
		values = values[len(call.names):]
		if lefts[i] != nil {
			call.left = lefts[i].Val()
		}
	}
	return nil
}
