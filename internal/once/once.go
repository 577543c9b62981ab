// Package once does a thing once for each key, in all processes that share a Redis server, and gives its value to all who
// ask for it, then and for a while after.
//
// Guarantee: as long as Redis keeps what it was told, a do takes no longer than the lease and its process lives, do runs
// once for a key until it succeeds, and all who ask with that key get the same value. Callers may leave: what has
// begun goes on.
//
// Limit: a process that dies in the middle leaves its key taken until the lease ends, and then another runs do, which may
// be the second time. So it is when Redis loses a record, and when a do goes on after its lease: then the value
// that was stored first counts, for the others and for whoever comes later.
package once

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/internal/packed"
)

var (
	// ErrReused is returned when a key comes with another fingerprint than it came with before, also while its do is under
	// way.
	ErrReused = errors.New("once: the key was used for something else")
	// ErrUnavailable is returned, wrapped with the cause, when Redis did not answer. Nothing ran, unless the error is
	// ErrNotKept too.
	ErrUnavailable = errors.New("once: Redis is unavailable")
	// ErrNotKept is returned with the value when do succeeded and Redis could not be told, or did not say: then it is
	// ErrUnavailable too. Until the lease ends, this process tries to tell it and gives the value to who asks here; if
	// that fails, do may run again. It is also returned when the lease had ended and the key is used for something else.
	ErrNotKept = errors.New("once: done, but the value may not be kept")
	// ErrTooLarge is returned when do succeeded with a value over MaxValueSize. The key is free again.
	ErrTooLarge = fmt.Errorf("once: a value has at most %d bytes", MaxValueSize)
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("once: closed")
)

// MaxValueSize bounds a value, in bytes.
const MaxValueSize = 4 << 20

// Config says where records are kept. Redis and Prefix are required.
type Config struct {
	// Redis stays the caller's to close, after Close.
	Redis *redis.Client
	// Prefix begins every key, before a colon. All who share keys must have the same.
	Prefix string
	// Lease is the longest a do may take: its context ends then, and another may begin. Default 45 s; longer than Timeout.
	Lease time.Duration
	// Grace is how long Close lets a do go on. Default 5 s.
	Grace time.Duration
	// Timeout bounds each call to Redis. Default 1 s; at least 1 ms.
	Timeout time.Duration
	// Logger is told of a do that panicked. Default: nobody.
	Logger *zap.Logger
}

func (c Config) withDefaults() Config {
	if c.Lease == 0 {
		c.Lease = 45 * time.Second
	}
	if c.Grace == 0 {
		c.Grace = 5 * time.Second
	}
	if c.Timeout == 0 {
		c.Timeout = time.Second
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Redis == nil || c.Prefix == "":
		return errors.New("once: Redis and Prefix are required")
	case c.Timeout < time.Millisecond || c.Lease <= c.Timeout:
		return errors.New("once: Timeout is at least 1 ms, and Lease longer")
	}
	return nil
}

// Once does things once. It is safe for concurrent use.
type Once struct {
	cfg    Config
	packer *packed.Packer
	// name is that of this Once in Redis, where each flight is an owner of its own: what gives back the record of one cannot
	// give back that of the next.
	name string

	work    sync.WaitGroup // The flights. Added to while mu is held and Once not closed.
	closing chan struct{}
	// cut is closed when what is being done may not go on.
	cut chan struct{}

	mu      sync.Mutex
	closed  bool
	flights map[string]*flight
	// flown numbers the flights, and doubts are those that may have a record without knowing.
	flown  int64
	doubts map[string]doubt
}

// New makes a Once. It does no I/O.
func New(cfg Config) (*Once, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	packer, err := packed.New(MaxValueSize)
	if err != nil {
		return nil, err
	}
	return &Once{
		cfg: cfg, packer: packer, name: uuid.NewString(),
		closing: make(chan struct{}), cut: make(chan struct{}), flights: map[string]*flight{}, doubts: map[string]doubt{},
	}, nil
}

// Do returns the value of a key. When it has none, one of all concurrent callers with that key, in any process, runs its
// do, and the others wait for what it returns, as long as their context lasts. The value is kept for as long as keep, 1 ms
// or more, says. repeated is true when it was not this call whose do made the value.
//
// Key and fingerprint are any text; only hashes of them go into Redis. The fingerprint says what is asked for with the key:
// a call with another one gets ErrReused.
//
// do goes on when its caller leaves, so that the same key gets its value later: it must use nothing that ends with
// the caller. Its context has the values of the caller's and ends after Config.Lease. Callers in one process share the do,
// and the keep, of the first of them. When do fails, or panics, the key is free at once: all who share it get its error as
// it is, and one of those who wait in other processes runs its own.
//
// Do returns ErrReused, ErrUnavailable, ErrTooLarge, ErrClosed, the error of do or of ctx, each without a value, or
// ErrNotKept with one. The value must not be changed: others have the same.
func (o *Once) Do(
	ctx context.Context, key, fingerprint string, keep time.Duration, do func(ctx context.Context) ([]byte, error),
) (value []byte, repeated bool, err error) {
	if keep < time.Millisecond {
		return nil, false, errors.New("once: a value is kept for at least 1 ms")
	}
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	f, joined, err := o.board(ctx, o.record(key), hash(fingerprint), keep, do)
	if err != nil {
		return nil, false, err
	}
	select {
	case <-f.done:
		return f.value, f.value != nil && (joined || f.repeated), f.err
	case <-ctx.Done():
		o.leave(f)
		return nil, false, ctx.Err()
	}
}

// Close ends the waiting for other processes, lets what is being done here go on for Config.Grace, ends its context, which
// frees its key, and returns when that is over. It may be called twice, but not by do.
func (o *Once) Close() {
	o.mu.Lock()
	first := !o.closed
	if first {
		o.closed = true
		close(o.closing)
	}
	o.mu.Unlock()
	if first {
		timer := time.AfterFunc(o.cfg.Grace, func() { close(o.cut) })
		defer timer.Stop()
	}
	o.work.Wait()
}
