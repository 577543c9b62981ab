package events

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
)

//nolint:gochecknoglobals // Constants, but for the language.
var (
	//go:embed consumer_claim.lua
	claimSource string
	//go:embed consumer_forget.lua
	forgetSource string

	claimScript  = redis.NewScript(claimSource)
	forgetScript = redis.NewScript(forgetSource)
)

// Consumption says what a Consumer handles, and how.
type Consumption struct {
	// Channel is the channel whose log is read. Required.
	Channel Channel
	// Group names the consumers that share the work: each event goes to one of them. 1 to 64 ASCII letters, digits, '_'
	// and '-'. Required.
	Group string
	// Types selects the events that are handled; the others are acknowledged. The zero Pattern selects all.
	Types Pattern
	// Handle is called with one event at a time. Nil acknowledges it; an error, or a panic, makes it come again.
	// The context ends at the latest when another consumer may take the event over, and not with Close. Required.
	Handle func(ctx context.Context, r *Record) error
	// Since is how far back a group that is made anew begins, by the Redis server's clock. Default 30 minutes; at least
	// 1 millisecond.
	Since time.Duration
	// Claim is after how long an event that a consumer took and did not acknowledge is taken over, by it or by another.
	// Nothing renews it: Handle is to be quick. What has not begun after half of it is left for then. Default 15 s; at
	// least 100 ms.
	Claim time.Duration
	// Name is the consumer's name in Redis, for those who look there. Default: one that is made up.
	Name string
}

const (
	leastClaim = 100 * time.Millisecond
	leastSince = time.Millisecond
)

func (c Consumption) withDefaults() Consumption {
	orElse(&c.Since, 30*time.Minute)
	orElse(&c.Claim, 15*time.Second)
	if c.Name == "" {
		host, _ := os.Hostname() // For those who look at the group; the rest makes it unique.
		c.Name = fmt.Sprintf("%s-%d-%s", host, os.Getpid(), uuid.NewString())
	}
	return c
}

func (c Consumption) validate() error {
	switch {
	case c.Channel.IsZero() || c.Handle == nil:
		return errors.New("events: a consumer needs a Channel and Handle")
	case CheckPrefix(c.Group) != nil:
		return errors.New("events: Group must be 1 to 64 ASCII letters, digits, '_' and '-'")
	case c.Since < leastSince || c.Claim < leastClaim:
		return fmt.Errorf("events: Since is at least %v and Claim %v", leastSince, leastClaim)
	}
	return nil
}

// Consumer is one of a group of consumers, in one process or several, that share the events of one channel: each event
// is handled by one of them, at least once. It is handled again when Handle failed, and when whoever took it has died or
// been cut off from Redis before it was acknowledged; Handle must bear that.
//
// A consumer handles fresh events one at a time and in the order of the log. One that failed comes again after Consumption.Claim
// and at most half as long again, out of order, to any consumer of the group, until it is handled or the log drops
// it; those behind it do not wait. Nobody counts the attempts.
//
// What the log drops before anybody took it is not handled, and that is not noticed: Config says how much is kept. A
// group whose log was deleted, has expired or was lost by Redis is made anew with the next event, as is one that
// was deleted; what it had handled within Consumption.Since and is still in the log is then handled again.
type Consumer struct {
	rdb *redis.Client
	// log has the configuration and the names in Redis, and reads entries.
	log *Log
	do  Consumption
	// done are entries to be acknowledged, handled or not to be. Only the reading goroutine uses it.
	done []string

	mu        sync.Mutex
	closed    bool
	stop      context.CancelFunc
	reading   sync.WaitGroup
	connected atomic.Bool

	handled, claimed, failed, lost atomic.Int64
}

// NewConsumer makes a consumer; Start must be called. The client stays the caller's to close, after Close; the consumer
// makes a connection of its own with the same options.
func NewConsumer(rdb *redis.Client, cfg Config, c Consumption) (*Consumer, error) {
	log, err := NewLog(rdb, cfg)
	if err != nil {
		return nil, err
	}
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	return &Consumer{rdb: rdb, log: log, do: c}, nil
}

// Start begins to handle events, and goes on until Close whatever becomes of the context, whose values Handle gets. It
// does not wait for Redis. It returns ErrClosed when it was called before, or after Close.
func (c *Consumer) Start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil || c.closed {
		return ErrClosed
	}
	ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	c.reading.Go(func() { keepConnected(ctx, c.log.cfg.Logger, "consumer", c.session) })
	return nil
}

// Close lets the call of Handle that is under way end, leaves what was taken and not begun to the other consumers, and
// returns when the consumer's goroutine has ended. Besides Handle, that takes half a second and, when Redis hangs, a few
// times Config.Timeout. It may be called twice, but not by Handle.
func (c *Consumer) Close() {
	c.mu.Lock()
	leaving := c.stop != nil && !c.closed
	c.closed = true
	if leaving {
		c.stop()
	}
	c.mu.Unlock()
	// The read that waits is not cut: Redis could give its entries to a connection that is gone, and then nobody handles
	// them until they are claimed.
	c.reading.Wait()
	if leaving {
		_ = c.forget(context.Background(), c.rdb, c.do.Name) // Without Redis, another consumer does it later.
	}
}

// Connected reports whether the consumer reads its log, or waits for there to be one.
func (c *Consumer) Connected() bool { return c.connected.Load() }

// Check returns nil while the consumer is connected.
func (c *Consumer) Check(context.Context) error {
	if !c.Connected() {
		return errNotConnected
	}
	return nil
}

// ConsumerStats counts what a consumer did since it was made.
type ConsumerStats struct {
	// Handled are the calls of Handle that returned nil, and Failed the others.
	Handled, Failed int64
	// Claimed are the events that were taken over, from this consumer or another, after they had failed or been left.
	Claimed int64
	// Lost are the events that the log dropped after a consumer had taken them and before they were acknowledged; the
	// consumer that came to know of it counts them.
	Lost int64
}

// Stats returns the counters.
func (c *Consumer) Stats() ConsumerStats {
	return ConsumerStats{
		Handled: c.handled.Load(), Failed: c.failed.Load(), Claimed: c.claimed.Load(), Lost: c.lost.Load(),
	}
}
