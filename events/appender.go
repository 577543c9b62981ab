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

	// The same for every call, made once.
	bridges, window any
	retention       map[Scope]retentionArgs
	tended          tendedLogs

	mu      sync.RWMutex // What is put into queue is put there while the workers run.
	closed  chan struct{}
	started bool
}

// retentionArgs is a Retention as the script takes it.
type retentionArgs struct {
	entries, expiry, age any
	tendEvery            time.Duration
}

// appendCall is one call of the script on its way.
type appendCall struct {
	// left is done when the caller no longer waits.
	left     <-chan struct{}
	deadline time.Time
	// tends is the channel whose log this call is to tend, the zero Channel if it is to tend none.
	tends    Channel
	keys     []string
	args     []any
	reply    appendReply
	err      error
	finished chan struct{}
}

// appendReply is what the script returned.
type appendReply struct {
	what        appendAnswer
	offset      Offset
	subscribers int64
	// The rest is only set when the event was seen before, and then as it was published first.
	id        string
	timestamp time.Time
	typ       string
}

type appendAnswer byte

const (
	appended appendAnswer = '+'
	seen     appendAnswer = '='
	reused   appendAnswer = '!'
)

const (
	longestBatch = 128
	longestQueue = 4096
)

func newAppender(rdb redis.UniversalClient, cfg Config, keys keyspace) *appender {
	a := &appender{
		rdb: rdb, script: redis.NewScript(appendSource), cfg: cfg, keys: keys,
		queue: make(chan *appendCall, longestQueue), closed: make(chan struct{}),
		bridges: keys.bridges(), window: strconv.FormatInt(cfg.DedupeWindow.Milliseconds(), 10),
		retention: map[Scope]retentionArgs{}, tended: tendedLogs{last: map[Channel]time.Time{}},
	}
	for _, scope := range []Scope{ScopeUser, ScopeGlobal, ScopeService, scopeCanary} {
		keep := cfg.retention(scope)
		// The expiry is renewed only now and then; what that may be late is added to it.
		expiry := keep.MaxAge + tendEvery(keep.MaxAge)
		a.retention[scope] = retentionArgs{
			entries: strconv.FormatInt(keep.MaxEntries, 10), expiry: strconv.FormatInt(expiry.Milliseconds(), 10),
			age: strconv.FormatInt(keep.MaxAge.Milliseconds(), 10), tendEvery: tendEvery(keep.MaxAge),
		}
	}
	return a
}

// tendEvery is how often, at most, a log is rid of what is too old and its expiry renewed.
func tendEvery(age time.Duration) time.Duration { return min(age/10, time.Minute) }

// tendedLogs remembers when logs were last tended by this process. Forgetting costs a little work and nothing else.
type tendedLogs struct {
	mu   sync.Mutex
	last map[Channel]time.Time
}

// due reports whether a log should be tended now, and remembers that it was.
func (t *tendedLogs) due(ch Channel, now time.Time, every time.Duration) bool {
	const most = 100_000
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, ok := t.last[ch]; ok && now.Sub(last) < every {
		return false
	}
	if len(t.last) >= most {
		clear(t.last)
	}
	t.last[ch] = now
	return true
}

// forget takes back that a log was tended.
func (t *tendedLogs) forget(ch Channel) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.last, ch)
}

// start begins to work with so many batches under way at a time. With one, calls are done in the order they came. It
// returns ErrClosed after close.
func (a *appender) start(workers int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.isClosed() {
		return ErrClosed
	}
	if a.started {
		return nil
	}
	a.started = true
	for range workers {
		a.done.Go(a.work)
	}
	return nil
}

func (a *appender) isClosed() bool {
	select {
	case <-a.closed:
		return true
	default:
		return false
	}
}

// close ends the workers after what is queued was done, and waits for them.
func (a *appender) close() {
	a.mu.Lock()
	if !a.isClosed() {
		close(a.closed)
	}
	a.mu.Unlock()
	a.done.Wait()
}

// submission is what submit is given.
type submission struct {
	event *Event
	// other is the inside of an object with the members that the hub does not know; empty for its own events.
	other []byte
	// largest is how many bytes the envelope may have.
	largest int
	// tell is the Pub/Sub channel that hears of it.
	tell string
	// fresh is true when nobody can have published the id before, and forgotten when nobody will again: with a fresh one.
	fresh, forgotten bool
	// key and fingerprint are the idempotency key, hashed, and what must be the same when it comes again.
	key, fingerprint string
}

// submit queues an append without waiting for it.
func (a *appender) submit(ctx context.Context, s *submission) (*appendCall, error) {
	ev := s.event
	envelope := appendEnvelope(make([]byte, 0, 320+len(ev.Data)+len(ev.Traceparent)+len(s.other)), a.keys, ev, s.other)
	if len(envelope) > s.largest {
		return nil, ErrTooLarge
	}
	now := time.Now()
	keep := a.retention[ev.Channel.scope]
	receiptEnd := make([]byte, 0, len(ev.ID)+len(ev.Type)+30)
	receiptEnd = appendTimestamp(append(append(receiptEnd, ev.ID...), ' '), ev.Timestamp)
	receiptEnd = append(append(receiptEnd, ' '), ev.Type...)
	call := &appendCall{
		left: ctx.Done(), deadline: now.Add(a.cfg.Timeout), finished: make(chan struct{}),
		keys: []string{a.keys.log(ev.Channel)},
		args: []any{
			s.tell, envelope, keep.entries, keep.expiry, keep.age, "", flag(!s.fresh), a.window, receiptEnd, a.bridges,
		},
	}
	if !s.forgotten {
		call.keys = append(call.keys, a.keys.idem(ev.Channel, "i:", ev.ID))
	}
	if s.key != "" {
		call.keys = append(call.keys, a.keys.idem(ev.Channel, "k:", s.key))
		call.args = append(call.args, s.fingerprint)
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	if !a.started || a.isClosed() {
		return nil, ErrClosed
	}
	if a.tended.due(ev.Channel, now, keep.tendEvery) {
		call.tends, call.args[tendArg] = ev.Channel, flag(true)
	}
	select {
	case a.queue <- call:
		return call, nil
	default:
		a.tended.forget(call.tends)
		return nil, fmt.Errorf("%w: too many calls wait for it", ErrUnavailable)
	}
}

// tendArg is the index of the argument that tells the script to tend the log.
const tendArg = 5

func flag(b bool) any {
	if b {
		return "1"
	}
	return ""
}

// wait returns what became of a call. It takes no longer than Config.Timeout, which the workers see to.
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

// run does one batch, by the deadline of its oldest call. A caller who has left is not served: it was told that nothing
// happened.
func (a *appender) run(batch []*appendCall) {
	todo := make([]*appendCall, 0, len(batch))
	now := time.Now()
	for _, call := range batch {
		select {
		case <-call.left:
			call.err = fmt.Errorf("%w: the caller left", ErrUnavailable)
		default:
			if now.Before(call.deadline) {
				todo = append(todo, call)
				continue
			}
			call.err = fmt.Errorf("%w: no turn in time", ErrUnavailable)
		}
		a.finish(call)
	}
	if len(todo) == 0 {
		return
	}
	ctx, cancel := context.WithDeadline(context.Background(), todo[0].deadline)
	defer cancel()
	if unknown := a.exec(ctx, todo); len(unknown) > 0 {
		// The server forgot the script: it restarted. Nothing of these calls was done.
		if err := a.script.Load(ctx, a.rdb).Err(); err == nil {
			a.exec(ctx, unknown)
		}
	}
	for _, call := range todo {
		a.finish(call)
	}
}

// finish hands the result to the caller.
func (a *appender) finish(call *appendCall) {
	if !call.tends.IsZero() && (call.err != nil || call.reply.what != appended) {
		a.tended.forget(call.tends) // The script did not come to it.
	}
	close(call.finished)
}

// exec sends the calls in one round trip, sets their results and returns those for which the script was missing.
func (a *appender) exec(ctx context.Context, calls []*appendCall) (unknown []*appendCall) {
	pipe := a.rdb.Pipeline()
	replies := make([]*redis.Cmd, len(calls))
	for i, call := range calls {
		replies[i] = pipe.EvalSha(ctx, a.script.Hash(), call.keys, call.args...)
	}
	_, _ = pipe.Exec(ctx) // Every command carries its own error.
	for i, call := range calls {
		reply, err := replies[i].Text()
		switch {
		case err == nil:
			call.reply, call.err = parseAppendReply(reply)
		case redis.HasErrorPrefix(err, "NOSCRIPT"):
			unknown = append(unknown, call)
			call.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		case redis.HasErrorPrefix(err, "WRONGTYPE"):
			call.err = fmt.Errorf("events: a key of the log or of its ids holds something else: %w", err) // Waiting will not help.
		default:
			call.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	return unknown
}

var errBadReply = errors.New("events: append.lua returned what it should not")

func parseAppendReply(text string) (appendReply, error) {
	if text == "" {
		return appendReply{}, errBadReply
	}
	reply := appendReply{what: appendAnswer(text[0])}
	if reply.what == reused {
		return reply, nil
	}
	var err error
	offset, rest, _ := strings.Cut(text[1:], " ")
	if reply.offset, err = ParseOffset(offset); err != nil {
		return reply, fmt.Errorf("%w: %w", errBadReply, err)
	}
	subscribers, rest, _ := strings.Cut(rest, " ")
	if reply.subscribers, err = strconv.ParseInt(subscribers, 10, 64); err != nil {
		return reply, fmt.Errorf("%w: %w", errBadReply, err)
	}
	if reply.what == appended {
		return reply, nil
	}
	id, rest, _ := strings.Cut(rest, " ")
	at, typ, _ := strings.Cut(rest, " ")
	if reply.timestamp, err = ParseTimestamp(at); err != nil {
		return reply, fmt.Errorf("%w: %w", errBadReply, err)
	}
	reply.id, reply.typ = id, typ
	return reply, nil
}
