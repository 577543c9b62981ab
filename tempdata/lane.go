package tempdata

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// lane does the operations on some of the namespaces, in the order in which they come. Those that wait together go to Redis
// together, in one round trip, which costs no waiting: a batch is what gathered while the one before was under way. The
// goroutine of a lane alone touches its shelf, so that what is in memory changes in the order in which Redis changed.
type lane struct {
	rdb      *redis.Client
	timeout  time.Duration
	log      *zap.Logger
	trace    func(context.Context) (end func(away bool)) // nil: nobody traces
	outage   *outage
	shelf    *shelf
	queue    chan *call
	returned chan string // that Redis is back, or another process than before: its run id
	done     sync.WaitGroup

	mu     sync.RWMutex // What is put into queue is put there while the lane runs.
	closed bool         // or not started

	// Only the lane's goroutine knows these.
	away, recovering bool
	// runID names the process that Redis is, "" if it does not tell.
	runID string

	// What shelf.stats returned, for others.
	records, waits, bytes atomic.Int64
}

// operation is one thing to do. Its methods are called by the lane's goroutine alone; its results may be read when the call
// is finished.
type operation interface {
	// send queues the commands, none if there is nothing to do.
	send(ctx context.Context, pipe redis.Pipeliner, sh *shelf)
	// receive reads the replies, and lets the shelf know what they tell.
	receive(sh *shelf) error
	// local does the operation in memory alone. It returns ErrUnavailable when not enough is known for it. When it was sent
	// before, Redis may have done it.
	local(sh *shelf) error
	// waits reports whether something that it is about waits for Redis, so that only memory tells what there is.
	waits(sh *shelf) bool
	// size is about how many bytes are sent.
	size() int
}

// call is an operation on its way.
type call struct {
	op       operation
	left     <-chan struct{} // done when the caller no longer waits
	deadline time.Time
	degraded bool
	err      error
	finished chan struct{}
}

const (
	longestQueue = 4096
	longestBatch = 128
	largestBatch = 1 << 20 // bytes
)

func newLane(cfg *Config, o *outage, memory int64) *lane {
	return &lane{
		rdb: cfg.Redis, timeout: cfg.Timeout, log: cfg.Logger, trace: cfg.Trace, outage: o, shelf: newShelf(memory),
		queue: make(chan *call, longestQueue), returned: make(chan string, 1), closed: true,
	}
}

func (l *lane) start() {
	l.mu.Lock()
	l.closed = false
	l.mu.Unlock()
	l.done.Go(l.run)
}

// close ends the lane after what is queued was done. What waits for Redis in memory is lost.
func (l *lane) close() {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.queue)
	}
	l.mu.Unlock()
	l.done.Wait()
}

// do waits until an operation is done, which takes about twice the timeout at most, and reports whether it was done in
// memory.
func (l *lane) do(ctx context.Context, op operation) (degraded bool, err error) {
	if l.trace != nil {
		end := l.trace(ctx)
		defer func() { end(degraded || errors.Is(err, ErrUnavailable)) }()
	}
	c := &call{op: op, left: ctx.Done(), deadline: time.Now().Add(2 * l.timeout), finished: make(chan struct{})}
	l.mu.RLock()
	if l.closed {
		l.mu.RUnlock()
		return false, ErrClosed
	}
	select {
	case l.queue <- c:
		l.mu.RUnlock()
	default:
		l.mu.RUnlock()
		return false, fmt.Errorf("%w: too many calls wait for it", ErrUnavailable)
	}
	select {
	case <-c.finished:
		return c.degraded, c.err
	case <-ctx.Done():
		return false, fmt.Errorf("%w: no answer in time: %w", ErrUnavailable, ctx.Err())
	}
}

func (l *lane) run() {
	var batch []*call
	for {
		select {
		case c, ok := <-l.queue:
			if !ok {
				l.end()
				return
			}
			batch = l.gather(append(batch[:0], c))
			l.work(batch)
		case id := <-l.returned:
			restarted := id != l.runID && l.runID != ""
			l.runID = id
			l.recover(restarted)
			l.tell()
		}
	}
}

// tell lets others know what is in memory.
func (l *lane) tell() {
	records, waiting, bytes := l.shelf.stats()
	l.records.Store(records)
	l.waits.Store(waiting)
	l.bytes.Store(bytes)
}

// end writes what waits for Redis, or says that it is lost.
func (l *lane) end() {
	if l.shelf == nil || l.shelf.waiting.Len() == 0 {
		return
	}
	l.recover(false)
	if n := l.shelf.waiting.Len(); n > 0 {
		l.log.Error("temporary data that was kept in memory while Redis was away is lost: the hub ends before Redis is back", zap.Int("changes", n))
	}
}

// gather adds what waits already.
func (l *lane) gather(batch []*call) []*call {
	for size := batch[0].op.size(); len(batch) < longestBatch && size < largestBatch; size += batch[len(batch)-1].op.size() {
		select {
		case c, ok := <-l.queue:
			if !ok {
				return batch
			}
			batch = append(batch, c)
		default:
			return batch
		}
	}
	return batch
}

// work does one batch. A caller who has left is not served: it was told that nothing may have happened.
func (l *lane) work(batch []*call) {
	todo := batch[:0]
	for _, c := range batch {
		if !c.late() {
			todo = append(todo, c)
		}
	}
	if l.away = l.away || l.outage.on(); !l.away {
		todo = l.exec(todo)
	}
	for _, c := range todo {
		l.local(c)
	}
	l.tell()
}

// late finishes a call for which nobody waits any more, and reports whether it did.
func (c *call) late() bool {
	select {
	case <-c.left:
		c.err = fmt.Errorf("%w: the caller left", ErrNotDone)
	default:
		if time.Now().Before(c.deadline) {
			return false
		}
		c.err = fmt.Errorf("%w: no turn in time", ErrNotDone)
	}
	close(c.finished)
	return true
}

// exec does operations in Redis, and returns those that it did not answer.
func (l *lane) exec(todo []*call) (unanswered []*call) {
	unanswered, undone := l.send(todo)
	if len(undone) == 0 {
		return unanswered
	}
	// The server forgot the scripts, or has not what it had: perhaps it restarted. Nothing of these calls was done, and what
	// was lost is put back before.
	forgetful := slices.ContainsFunc(undone, func(c *call) bool { return !errors.Is(c.err, errMissing) })
	if err := l.identify(forgetful); err != nil {
		l.goAway(err)
	}
	if !l.away {
		if l.shelf != nil {
			l.shelf.sure = true
			defer func() { l.shelf.sure = false }()
		}
		var more []*call
		if more, undone = l.send(undone); len(undone) > 0 {
			l.goAway(errors.New("it forgets scripts"))
		}
		unanswered = append(unanswered, more...)
	}
	for _, c := range undone {
		c.err = nil
	}
	return append(unanswered, undone...)
}

// identify puts back what the server has lost if it is another process than before. One that is forgetful learns the scripts
// first.
func (l *lane) identify(forgetful bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*l.timeout)
	defer cancel()
	if forgetful {
		if err := loadScripts(ctx, l.rdb); err != nil {
			return err
		}
	}
	id, err := l.outage.identify(ctx)
	if err != nil {
		return err
	}
	restarted := id != l.runID && l.runID != ""
	if l.runID = id; restarted {
		l.recover(true)
	}
	return nil
}

// send does operations in one round trip.
func (l *lane) send(todo []*call) (unanswered, undone []*call) {
	ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
	defer cancel()
	pipe := l.rdb.Pipeline()
	var puts *putTogether // what follows in todo may join it
	for _, c := range todo {
		put, ok := c.op.(*putValues)
		var next *putTogether
		if ok {
			next = put.join(puts)
		}
		if puts != nil && next != puts {
			puts.send(ctx, pipe)
		}
		if puts = next; !ok {
			c.op.send(ctx, pipe, l.shelf)
		}
	}
	if puts != nil {
		puts.send(ctx, pipe)
	}
	if pipe.Len() > 0 {
		_, _ = pipe.Exec(ctx) // Every command carries its own error.
	}
	for _, c := range todo {
		c.err = c.op.receive(l.shelf)
		switch {
		case c.err == nil:
			close(c.finished)
		case redis.HasErrorPrefix(c.err, "NOSCRIPT"), errors.Is(c.err, errMissing):
			undone = append(undone, c)
		case errors.Is(c.err, errAway):
			unanswered = append(unanswered, c)
			l.goAway(c.err)
		default:
			close(c.finished)
		}
	}
	return unanswered, undone
}

// memoryError is an error that comes from what is known in memory while Redis is away.
type memoryError struct{ error }

func (e *memoryError) Unwrap() error { return e.error }

// fromMemory marks an error that comes from memory.
func fromMemory(degraded bool, err error) error {
	if degraded {
		return &memoryError{err}
	}
	return err
}

// FromMemory reports whether an error, ErrNotFound or a PreconditionError, comes from the memory of this process, as Redis
// is away.
func FromMemory(err error) bool { return errors.As(err, new(*memoryError)) }

// local does an operation in memory.
func (l *lane) local(c *call) {
	c.degraded = true
	sent := c.err != nil
	if c.err = ErrUnavailable; l.shelf != nil {
		c.err = c.op.local(l.shelf)
	}
	if !sent && errors.Is(c.err, ErrUnavailable) && !errors.Is(c.err, ErrNotDone) {
		c.err = ErrNotDone
	}
	if errors.As(c.err, new(*PreconditionError)) || errors.Is(c.err, ErrNotFound) {
		c.err = &memoryError{c.err}
	}
	close(c.finished)
}

func (l *lane) goAway(err error) {
	if !l.away {
		l.away = true
		l.outage.begin(err)
	}
}

// recover puts back into Redis what waits for it, and if Redis was restarted what it has lost. Meanwhile callers are served
// from memory if that is about something that waits.
func (l *lane) recover(restarted bool) {
	if restarted {
		l.shelf.doubtAll(time.Now())
	}
	if l.recovering {
		return // The one that is recovering goes on with that.
	}
	l.recovering = true
	defer func() { l.recovering = false }()
	for {
		some := l.shelf.next()
		if len(some) == 0 {
			break
		}
		todo := make([]*call, len(some))
		for i, op := range some {
			todo[i] = &call{op: op, finished: make(chan struct{})}
		}
		l.away = false // So that goAway tells of it.
		if unanswered := l.exec(todo); len(unanswered) > 0 || l.away {
			l.goAway(errors.New("it went away again"))
			return
		}
		for i, c := range todo {
			switch {
			case c.err == nil:
			case redis.HasErrorPrefix(c.err, "OOM"):
				l.goAway(c.err)
				return
			default: // Somebody keeps something else there. Waiting will not help.
				some[i].abandon(l.shelf)
				l.outage.store.count.abandoned.Add(1)
				l.log.Error("something that was kept in memory while Redis was away is lost: Redis refuses it", zap.Error(c.err))
			}
		}
		if l.serve(); l.away {
			return
		}
	}
	l.away = false
}

// serve does what is queued: in memory if that is about something that waits, and before that the rest in Redis.
func (l *lane) serve() {
	var direct, local []*call
	for more := true; more && len(direct)+len(local) < longestBatch; {
		select {
		case c, ok := <-l.queue:
			switch more = ok; {
			case !ok || c.late():
			case c.op.waits(l.shelf):
				local = append(local, c)
			default:
				direct = append(direct, c)
			}
		default:
			more = false
		}
	}
	if len(direct) > 0 {
		local = append(l.exec(direct), local...)
	}
	for _, c := range local {
		l.local(c)
	}
}

// errAway says that Redis does nothing now, rather than not this.
var errAway = fmt.Errorf("%w: it does not answer", ErrUnavailable)

// replyError makes of the error of a command one that receive may return: nil for redis.Nil.
func replyError(err error) error {
	switch {
	case err == nil || errors.Is(err, redis.Nil):
		return nil
	case redis.HasErrorPrefix(err, "NOSCRIPT"):
		return err
	case errors.Is(err, context.Canceled): // By the caller, which says nothing of Redis.
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	var reply redis.Error
	away := !errors.As(err, &reply)
	for _, prefix := range []string{"LOADING", "READONLY", "MISCONF", "MASTERDOWN", "CLUSTERDOWN", "BUSY", "NOREPLICAS"} {
		away = away || redis.HasErrorPrefix(err, prefix)
	}
	if away {
		return fmt.Errorf("%w: %w", errAway, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
