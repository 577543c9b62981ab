package jobqueue

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/packed"
)

//go:embed queue.lua
var scriptSource string

// The limits of what a job holds.
const (
	// MaxSize bounds a payload, and a result, in bytes.
	MaxSize = 5 << 20
	// MaxID bounds an id and a fingerprint, in bytes.
	MaxID = 200
)

var (
	// ErrInvalid is returned, wrapped with what is wrong, for an id, payload, result or limit that cannot be.
	ErrInvalid = errors.New("jobqueue: invalid")
	// ErrUnavailable is returned, wrapped with the reason, when Redis does not answer, or refuses. What was asked for may
	// have been done all the same.
	ErrUnavailable = errors.New("jobqueue: Redis does not answer")
	// ErrFull is returned when Config.MaxWaiting jobs wait.
	ErrFull = errors.New("jobqueue: too many jobs wait")
	// ErrReused is returned when an id is known with another fingerprint.
	ErrReused = errors.New("jobqueue: the id is that of another job")
	// ErrNotFound is returned for an id that is not known, or no longer.
	ErrNotFound = errors.New("jobqueue: no such job")
	// ErrNotDead is returned when a job is to be revived that is not dead.
	ErrNotDead = errors.New("jobqueue: the job is not dead")
	// ErrLost is returned when another process has the job by now, or nobody, or it is gone. It is also the cause of the
	// end of a handler's context then.
	ErrLost = errors.New("jobqueue: the lease of the job is lost")
	// ErrClosed is returned after Close. It is also the cause of the end of a handler's context then.
	ErrClosed = errors.New("jobqueue: closed")

	errReply = errors.New("queue.lua returned what it should not")
)

// Queue is a queue of jobs. It is safe for concurrent use.
type Queue struct {
	cfg    Config
	packer *packed.Packer
	script *redis.Script
	keys   []string
	// name is that of this Queue among all of its prefix.
	name   string
	wake   chan struct{} // That a job may be due sooner than the worker knows.
	outage outage
	count  counters

	mu      sync.Mutex
	started bool
	closed  bool
	close   context.CancelFunc // Ends the taking of jobs.
	done    sync.WaitGroup
}

// counters count what Stats tells.
type counters struct {
	added, taken, finished, retried, buried, released, lost, panicked atomic.Int64
}

// New makes a Queue. It does no I/O. Unless Start is called, the Queue adds and shows jobs, and handles none.
func New(cfg Config) (*Queue, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	packer, err := packed.New(MaxSize)
	if err != nil {
		return nil, err
	}
	prefix, name := cfg.Prefix+":", uuid.NewString()
	return &Queue{
		cfg: cfg, packer: packer, script: redis.NewScript(scriptSource), name: name,
		keys: []string{prefix + "due", prefix + "since", prefix + "dead", prefix + "job:", prefix + "took:" + name},
		wake: make(chan struct{}, 1), outage: outage{logger: cfg.Logger},
	}, nil
}

// do runs an operation of queue.lua. Its reply has at least so many values.
func (q *Queue) do(ctx context.Context, doing string, atLeast int, operation string, args ...any) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	values, err := q.script.Run(ctx, q.cfg.Redis, q.keys, append([]any{operation}, args...)...).Slice()
	if err == nil && len(values) < atLeast {
		err = errReply
	}
	if err != nil {
		return nil, unavailable(doing, err)
	}
	return values, nil
}

func unavailable(doing string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, doing, err)
}

// Add is a job to be added.
type Add struct {
	// ID is what the job is known by: 1 to MaxID visible ASCII characters.
	ID string
	// Payload is what the handler is given, at most MaxSize bytes. It is kept until the job is done, or forgotten when dead.
	Payload []byte
	// Fingerprint tells, where the same id may come with another payload, whether it is the same job: at most MaxID bytes.
	Fingerprint string
}

// Add adds a job, which is due at once, and returns its status and whether it was added. It was not if its id is known: the
// job is queued, running, done or dead. A job that was added will be handled, also by a process that starts later. Calls may
// be repeated, as they must after ErrUnavailable, when the job may have been added. It returns ErrInvalid, ErrReused, ErrFull,
// ErrUnavailable or ErrClosed.
func (q *Queue) Add(ctx context.Context, add Add) (status Status, added bool, err error) {
	switch {
	case q.isClosed():
		return Status{}, false, ErrClosed
	case !isID(add.ID):
		return Status{}, false, fmt.Errorf("%w: an id must be 1 to %d visible ASCII characters", ErrInvalid, MaxID)
	case len(add.Fingerprint) > MaxID:
		return Status{}, false, fmt.Errorf("%w: a fingerprint must be at most %d bytes", ErrInvalid, MaxID)
	case len(add.Payload) > MaxSize:
		return Status{}, false, fmt.Errorf("%w: a payload must be at most %d bytes", ErrInvalid, MaxSize)
	}
	values, err := q.do(ctx, "adding a job", 1, "add", add.ID, add.Fingerprint, q.packer.Pack(add.Payload), q.cfg.MaxWaiting)
	if err != nil {
		return Status{}, false, err
	}
	switch values.text(0) {
	case "reused":
		return Status{}, false, ErrReused
	case "full":
		return Status{}, false, ErrFull
	case "added":
		added = true
		q.count.added.Add(1)
		q.hurry()
	}
	status, err = q.status(values.list(1))
	return status, added, err
}

func isID(id string) bool {
	for _, b := range []byte(id) {
		if b <= ' ' || b > '~' {
			return false
		}
	}
	return id != "" && len(id) <= MaxID
}

// hurry lets the worker look for jobs.
func (q *Queue) hurry() {
	select {
	case q.wake <- struct{}{}:
	default: // It will look anyway.
	}
}

func (q *Queue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}
