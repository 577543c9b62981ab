package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Canary finds out whether events get through: now and then it publishes one as every event is, through the publisher's
// script and workers, and expects it on the connection on which streams get theirs. When an event was published and does not
// come, it makes the fanout connect anew.
//
// Guarantee: when deliveries have stopped, Check says so within 15 s, even though Redis answers PING. Limit: it says nothing of
// an event's way from there to a stream's reader. Its events are seen by no reader of a channel, are counted nowhere else,
// and leave only a small log behind, which expires. It is safe for concurrent use.
type Canary struct {
	publisher *Publisher
	fanout    *Fanout
	cfg       CanaryConfig

	received, lost, unpublished atomic.Int64
	poked                       chan struct{} // There is a new connection.
	reconnected                 time.Time     // The last time that it asked for one. Only run uses it.

	mu     sync.Mutex
	closed bool
	stop   context.CancelFunc
	done   sync.WaitGroup
	// id is the event that is expected, and heard gets the moment at which it comes.
	id    string
	heard chan time.Time
	// err is what Check returns, and known is closed once there is a first result. lostAt is when the last one was lost.
	err    error
	known  chan struct{}
	lostAt time.Time
}

// CanaryConfig says how a canary works. The zero CanaryConfig is ready to use.
type CanaryConfig struct {
	// Interval is how often an event is published. Default 5 s; 100 ms to MaxCanaryInterval.
	Interval time.Duration
	// OnRoundTrip is told how long each event took from before it was published until it came. It must be quick. Default: nobody.
	OnRoundTrip func(time.Duration)
}

// MaxCanaryInterval is the longest CanaryConfig.Interval: with a longer one, it would take too long to notice.
const MaxCanaryInterval = 10 * time.Second

const (
	minCanaryInterval = 100 * time.Millisecond
	// canaryPatience is how long an event may take, and the wait for a connection before it. With MaxCanaryInterval it is
	// less than 15 s.
	canaryPatience = 4 * time.Second
	// reconnectEvery is how often, at most, the fanout is made to connect anew: all its streams then read their logs.
	reconnectEvery = 10 * time.Second
)

// The canary's channel is one of its own, which no publisher and no reader can name. On Pub/Sub its events come where hubs
// tell each other of others, so that they need no further subscription, and a hub's user in Redis no further right.
const scopeCanary Scope = "canary"

//nolint:gochecknoglobals // Constants, but for the language.
var (
	canaryChannel   = Channel{scope: scopeCanary}
	canaryRetention = Retention{MaxEntries: 1, MaxAge: time.Minute}
)

// What Check returns. The causes are not told: everybody may see this, and they may hold addresses.
var (
	errUnpublished = errors.New("events: Redis does not take an event")
	errLost        = errors.New("events: an event was published and did not come: deliveries have stopped")
	errNoneYet     = errors.New("events: no event has come yet")
)

// NewCanary makes a canary for a publisher and a fanout of the same prefix on the same Redis; Start must be called after
// theirs. A fanout has one canary at most.
func NewCanary(p *Publisher, f *Fanout, cfg CanaryConfig) (*Canary, error) {
	orElse(&cfg.Interval, 5*time.Second)
	if cfg.Interval < minCanaryInterval || cfg.Interval > MaxCanaryInterval {
		return nil, fmt.Errorf("events: Interval must be from %v to %v", minCanaryInterval, MaxCanaryInterval)
	}
	if cfg.OnRoundTrip == nil {
		cfg.OnRoundTrip = func(time.Duration) {}
	}
	return &Canary{publisher: p, fanout: f, cfg: cfg, poked: make(chan struct{}, 1), known: make(chan struct{})}, nil
}

// Start begins to publish, at once, and goes on until Close whatever becomes of the context. It returns ErrClosed after
// Close, and when it was called before.
func (c *Canary) Start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.stop != nil {
		return ErrClosed
	}
	ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	c.fanout.setCanary(c)
	c.done.Go(func() { c.run(ctx) })
	return nil
}

// Close ends it and waits for that. It may be called twice.
func (c *Canary) Close() {
	c.mu.Lock()
	c.closed = true
	if c.stop != nil {
		c.stop()
	}
	c.mu.Unlock()
	c.done.Wait()
	c.fanout.setCanary(nil)
}

// CanaryStats counts what became of a canary's events since it was made.
type CanaryStats struct {
	// Received came back; Lost were published and did not, in time; Unpublished could not be published.
	Received, Lost, Unpublished int64
}

// Stats returns the counters.
func (c *Canary) Stats() CanaryStats {
	return CanaryStats{Received: c.received.Load(), Lost: c.lost.Load(), Unpublished: c.unpublished.Load()}
}

// Check returns nil if the last event came back, none was lost within CanaryConfig.Interval, and the subscriptions are up.
// Until it is known what became of the first event it waits, but no longer than the context.
func (c *Canary) Check(ctx context.Context) error {
	select {
	case <-c.known:
	case <-ctx.Done():
		return errNoneYet
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		return c.fanout.Check(ctx)
	}
	return c.err
}

func (c *Canary) run(ctx context.Context) {
	tick := time.NewTicker(c.cfg.Interval)
	defer tick.Stop()
	for {
		c.try(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.poked: // Is the new connection any better?
		}
	}
}

// try publishes one event, waits for it, and notes what became of it.
func (c *Canary) try(ctx context.Context) {
	deadline := time.NewTimer(canaryPatience)
	defer deadline.Stop()
	c.awaitConnection(ctx)
	id, err := uuid.NewV7()
	if err != nil {
		return // Nothing of this is the events'.
	}
	heard, began := c.expect(id.String()), time.Now()
	if err := c.publisher.publishCanary(ctx, id.String()); err != nil {
		if ctx.Err() == nil {
			c.unpublished.Add(1)
			c.note(errUnpublished)
		}
		return
	}
	select {
	case at := <-heard:
		c.received.Add(1)
		c.cfg.OnRoundTrip(at.Sub(began))
		c.note(nil)
	case <-deadline.C:
		c.lost.Add(1)
		c.note(errLost)
		if now := time.Now(); now.Sub(c.reconnected) >= reconnectEvery {
			c.reconnected = now
			c.fanout.Reconnect()
		}
	case <-ctx.Done():
	}
}

// awaitConnection waits for a while if there is none: an event that nobody can hear tells little.
func (c *Canary) awaitConnection(ctx context.Context) {
	enough := time.NewTimer(canaryPatience / 2)
	defer enough.Stop()
	for !c.fanout.Connected() {
		select {
		case <-c.poked:
		case <-enough.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// expect returns what gets the moment at which an event comes.
func (c *Canary) expect(id string) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id, c.heard = id, make(chan time.Time, 1)
	return c.heard
}

// hear is told of every canary's events. It does nothing without a canary.
func (c *Canary) hear(id string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if id == c.id {
		c.id = ""
		c.heard <- time.Now()
	}
}

// connected is told of every new connection. It does nothing without a canary.
func (c *Canary) connected() {
	if c == nil {
		return
	}
	select {
	case c.poked <- struct{}{}:
	default:
	}
}

// note sets what Check returns. A loss stays there for as long as who looks now and then needs to see it: the new connection
// may well deliver at once.
func (c *Canary) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if errors.Is(err, errLost) {
		c.lostAt = now
	}
	if err != nil || now.Sub(c.lostAt) >= c.cfg.Interval {
		c.err = err
	}
	select {
	case <-c.known:
	default:
		close(c.known)
	}
}

// errDropped ends a session that Reconnect ended.
var errDropped = errors.New("events: deliveries have stopped, connecting anew")

func (f *Fanout) setDrop(drop context.CancelCauseFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop = drop
}

// Reconnect gives up the connection and makes another, for one that looks alive and delivers nothing. Streams go on from the
// log, as when it breaks. It does not wait for that, and does nothing while there is no connection to give up.
func (f *Fanout) Reconnect() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.drop != nil {
		f.drop(errDropped)
		f.connected.Store(false)
	}
}

func (f *Fanout) setCanary(c *Canary) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.canary = c
}

func (f *Fanout) singer() *Canary {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.canary
}

// publishCanary publishes an event of the canary.
func (p *Publisher) publishCanary(ctx context.Context, id string) error {
	call, err := p.appender.submit(ctx, &submission{
		event: &Event{
			ID: id, Type: "canary", Data: json.RawMessage("{}"), Timestamp: time.Now(), Channel: canaryChannel, Source: p.cfg.Source,
		},
		largest: MaxEventSize, tell: p.appender.keys.takenUp(), fresh: true, forgotten: true,
	})
	if err != nil {
		return err
	}
	_, err = p.appender.wait(ctx, call)
	return err
}
