package events

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
)

// ErrUnavailable is returned, wrapped with the cause, when Redis could not be asked or refused: nothing is known to
// have been done, and the call may be tried again.
var ErrUnavailable = errors.New("events: Redis is unavailable")

// ErrClosed is returned by what was closed, or never started.
var ErrClosed = errors.New("events: closed")

// Retention says how much of a channel is kept.
type Retention struct {
	// MaxEntries is the number of events a log keeps. Redis trims by whole nodes of about 100 entries, so that up to
	// that many more may be there. Default 1000; at least 1.
	MaxEntries int64
	// MaxAge is how long an event is kept, and a log to which nothing is added. Default 7 days; at least 1 second.
	MaxAge time.Duration
}

// Config is what publishers, logs, subscribers and bridges of one hub share; all of them must have the same Prefix,
// and all publishers the same retention. The zero Config is ready to use.
type Config struct {
	// Prefix begins every channel and key. Default "connectbot"; 1 to 64 ASCII letters, digits, '_' and '-'.
	Prefix string
	// Source is the source of events whose message names none. Default "connecthub".
	Source string
	// User, Global and Service say how much is kept of each channel of that scope.
	User, Global, Service Retention
	// DedupeWindow is how long event ids and idempotency keys are remembered. Default 24 h; at least 1 second.
	DedupeWindow time.Duration
	// Timeout bounds each call to Redis, waiting for its turn included. Default 1.2 s.
	Timeout time.Duration
	// QueueLength is how many events may wait for a slow reader of a stream before it is cut off. Default 1024.
	QueueLength int
	// QueueBytes is how many bytes of events may wait for it. Default 4 MiB.
	QueueBytes int
	// Trace is called by a publisher when an event goes to Redis. The traceparent that it returns, unless it is "", becomes the
	// event's, and end is called when it is known what became of it. It must be quick and safe for concurrent use.
	// Default: nobody.
	Trace func(ctx context.Context, scope Scope) (traceparent string, end func(error))
	// Logger is told of lost and regained connections. Default: nobody.
	Logger *zap.Logger
}

func (c Config) withDefaults() Config {
	orElse(&c.Prefix, "connectbot")
	orElse(&c.Source, "connecthub")
	for _, r := range []*Retention{&c.User, &c.Global, &c.Service} {
		orElse(&r.MaxEntries, 1000)
		orElse(&r.MaxAge, 7*24*time.Hour)
	}
	orElse(&c.DedupeWindow, 24*time.Hour)
	orElse(&c.Timeout, 1200*time.Millisecond)
	orElse(&c.QueueLength, 1024)
	orElse(&c.QueueBytes, 4<<20)
	orElse(&c.Logger, zap.NewNop())
	return c
}

func orElse[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// CheckPrefix returns an error when p may not be Config.Prefix.
func CheckPrefix(p string) error {
	const longest = 64
	if p == "" || len(p) > longest || strings.ContainsFunc(p, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	}) {
		return errors.New("events: Prefix must be 1 to 64 ASCII letters, digits, '_' and '-'")
	}
	return nil
}

func (c Config) validate() error {
	if err := CheckPrefix(c.Prefix); err != nil {
		return err
	}
	if problem := checkLabel(c.Source); problem != "" {
		return fmt.Errorf("events: Source %s", problem)
	}
	for _, r := range []Retention{c.User, c.Global, c.Service} {
		if r.MaxEntries < 1 || r.MaxAge < time.Second {
			return errors.New("events: a log keeps at least 1 entry and 1 second")
		}
	}
	if c.DedupeWindow < time.Second || c.Timeout < time.Millisecond || c.QueueLength < 1 || c.QueueBytes < 1 {
		return errors.New("events: DedupeWindow, Timeout, QueueLength and QueueBytes must be positive")
	}
	return nil
}

// prepare fills in the defaults and checks the result.
func (c Config) prepare() (Config, keyspace, error) {
	c = c.withDefaults()
	return c, keyspace{c.Prefix}, c.validate()
}

func (c *Config) retention(scope Scope) Retention {
	switch scope {
	case ScopeUser:
		return c.User
	case ScopeService:
		return c.Service
	case scopeCanary:
		return canaryRetention
	default:
		return c.Global
	}
}
