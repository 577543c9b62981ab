package events

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// line is a connection with subscriptions, made anew whenever it breaks, as far as a canary has to do with it.
type line struct {
	connected atomic.Bool
	// asked is the number of the last PING, answered that of the last PONG. They are numbered from 1, whatever the session.
	asked, answered atomic.Int64

	mu sync.Mutex
	// drop ends the session there is with a cause; nil while there is none.
	drop context.CancelCauseFunc
	// canary hears of its events, and of new connections; nil if there is none.
	canary *Canary
}

var (
	// errNotConnected is why a health check fails while a connection is being made.
	errNotConnected = errors.New("events: not subscribed to Redis")
	// errDropped ends a session that reconnect ended.
	errDropped = errors.New("events: deliveries have stopped, connecting anew")
)

// begin returns the context of a new session, which reconnect ends, too.
func (l *line) begin(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, drop := context.WithCancelCause(ctx)
	l.setDrop(drop)
	return ctx, func() { drop(nil) }
}

// end is told that the session has ended.
func (l *line) end() {
	l.connected.Store(false)
	l.setDrop(nil)
}

func (l *line) setDrop(drop context.CancelCauseFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop = drop
}

// up is told that all subscriptions of a session are confirmed.
func (l *line) up() {
	l.connected.Store(true)
	l.singer().connected()
}

// reconnect gives up the connection, so that another is made. It does not wait for that, and does nothing while there is none.
func (l *line) reconnect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.drop != nil {
		l.drop(errDropped)
		l.connected.Store(false)
	}
}

// ping asks the connection for a sign of life.
func (l *line) ping(ctx context.Context, ps *redis.PubSub) error {
	return ps.Ping(ctx, strconv.FormatInt(l.asked.Add(1), 10))
}

// keepPinging asks it until it breaks or ctx ends.
func (l *line) keepPinging(ctx context.Context, ps *redis.PubSub) {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ping.C:
			if l.ping(ctx, ps) != nil {
				return
			}
		}
	}
}

// pong takes note of a sign of life.
func (l *line) pong(p *redis.Pong) {
	if n, err := strconv.ParseInt(p.Payload, 10, 64); err == nil {
		l.answered.Store(n)
	}
}

func (l *line) setCanary(c *Canary) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.canary = c
}

// singer returns the canary, nil if there is none.
func (l *line) singer() *Canary {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.canary
}

// check returns nil while the subscriptions are up.
func (l *line) check() error {
	if !l.connected.Load() {
		return errNotConnected
	}
	return nil
}
