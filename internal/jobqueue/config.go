package jobqueue

import (
	"cmp"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// Config says where the jobs are, and how long what is kept. A field that is 0 has its default; none may be negative.
type Config struct {
	// Redis is where; required. The caller closes it, after the Queue.
	Redis *redis.Client
	// Prefix begins all keys. A part of it in braces keeps them together in a cluster. Default: {jobs}.
	Prefix string
	// Lease is how long a process may be silent before its jobs are given to another. Default 30 s; at least 1 ms.
	Lease time.Duration
	// Grace is how long Close lets handlers go on before it cancels them. Default 5 s.
	Grace time.Duration
	// KeepDone is how long the id and the result of a job are known after it was done. Default 24 h; at least 1 ms.
	KeepDone time.Duration
	// KeepDead is how long a dead job is kept. Default 7 days; at least 1 ms.
	KeepDead time.Duration
	// MaxDead is how many dead jobs are kept; the oldest go. Default 1,000.
	MaxDead int
	// MaxWaiting is how many jobs may be queued or running before Add refuses more. Default 10,000.
	MaxWaiting int
	// MaxAttempts is how often a job is taken, since it was added or revived and not counting waits, before its handler is
	// told that it is exhausted. Default 10.
	MaxAttempts int
	// Timeout is how long Redis may take to answer a call. Default 1 s.
	Timeout time.Duration
	// Logger is told when Redis goes and comes back, and of jobs that are buried, lost or panic. Default: nobody.
	Logger *zap.Logger
}

func (c Config) withDefaults() Config {
	c.Prefix = cmp.Or(c.Prefix, "{jobs}")
	c.Lease = cmp.Or(c.Lease, 30*time.Second)
	c.Grace = cmp.Or(c.Grace, 5*time.Second)
	c.KeepDone = cmp.Or(c.KeepDone, 24*time.Hour)
	c.KeepDead = cmp.Or(c.KeepDead, 7*24*time.Hour)
	c.MaxDead = cmp.Or(c.MaxDead, 1000)
	c.MaxWaiting = cmp.Or(c.MaxWaiting, 10_000)
	c.MaxAttempts = cmp.Or(c.MaxAttempts, 10)
	c.Timeout = cmp.Or(c.Timeout, time.Second)
	c.Logger = cmp.Or(c.Logger, zap.NewNop())
	return c
}

func (c Config) validate() error {
	switch {
	case c.Redis == nil:
		return errors.New("jobqueue: Config.Redis is required")
	case min(c.Lease, c.KeepDone, c.KeepDead) < time.Millisecond || min(c.Grace, c.Timeout) < 0:
		return errors.New("jobqueue: Config.Lease, KeepDone and KeepDead must be at least 1 ms, Grace and Timeout not negative")
	case min(c.MaxDead, c.MaxWaiting, c.MaxAttempts) < 1:
		return errors.New("jobqueue: Config.MaxDead, MaxWaiting and MaxAttempts must be at least 1")
	}
	return nil
}
