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

// Canary finds out whether what is published comes on a subscribed connection: now and then it publishes an event of its own,
// and expects it there. When that does not come, though the connection answers, it has another made.
//
// Guarantee: when deliveries have stopped, Check says so within 15 s, even though Redis answers PING. Limit: it says nothing of
// an event's way from there on, nor whether Redis gives the connection the other channels, too. It is safe for concurrent use.
type Canary struct {
	line    *line
	publish func(ctx context.Context, id string) error
	// lostErr is what Check says of an event that did not come.
	lostErr error
	cfg     CanaryConfig

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
	// OnFailure is told when Check no longer passes because of what became of an event. It must be quick. Default: nobody.
	OnFailure func()
}

// MaxCanaryInterval is the longest CanaryConfig.Interval: with a longer one, it would take too long to notice.
const MaxCanaryInterval = 5 * time.Second

const (
	minCanaryInterval = 100 * time.Millisecond
	// canaryPatience is how long an event may take, with the wait for a connection before it, and for how long another may be
	// published because there is a new connection. With MaxCanaryInterval, both together are less than 15 s.
	canaryPatience = 4 * time.Second
	// canaryAgain is when, at the latest, one follows that could not be published.
	canaryAgain = time.Second
	// reconnectEvery is how often, at most, a new connection is asked for: all streams of a fanout then read their logs.
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
	errDeaf        = errors.New("events: the bridge did not hear in time what was published: what others publish is taken up late or is lost")
	errNoneYet     = errors.New("events: no event has come yet")
)

// NewCanary makes a canary for the connection on which streams get their events, of a publisher and a fanout of the same prefix
// on the same Redis; Start must be called after theirs. It publishes as every event is, through the publisher's script and
// workers. Its events are seen by no reader of a channel, are counted nowhere else, and leave only a small log behind, which
// expires. A fanout has one canary at most.
func NewCanary(p *Publisher, f *Fanout, cfg CanaryConfig) (*Canary, error) {
	return newCanary(&f.line, p.publishCanary, errLost, cfg)
}

// NewBridgeCanary makes a canary for a bridge's connection; Start must be called after the bridge's. Its events go to the
// channel that only bridges subscribe to. A bridge that is late, as while Redis takes no events from it, keeps its connection:
// what waits there would be lost. A bridge has one canary at most.
func NewBridgeCanary(b *Bridge, cfg CanaryConfig) (*Canary, error) {
	return newCanary(&b.line, b.publishCanary, errDeaf, cfg)
}

func newCanary(l *line, publish func(context.Context, string) error, lost error, cfg CanaryConfig) (*Canary, error) {
	orElse(&cfg.Interval, 5*time.Second)
	if cfg.Interval < minCanaryInterval || cfg.Interval > MaxCanaryInterval {
		return nil, fmt.Errorf("events: Interval must be from %v to %v", minCanaryInterval, MaxCanaryInterval)
	}
	if cfg.OnRoundTrip == nil {
		cfg.OnRoundTrip = func(time.Duration) {}
	}
	if cfg.OnFailure == nil {
		cfg.OnFailure = func() {}
	}
	return &Canary{line: l, publish: publish, lostErr: lost, cfg: cfg, poked: make(chan struct{}, 1), known: make(chan struct{})}, nil
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
	c.line.setCanary(c)
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
	c.line.setCanary(nil)
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
		return c.line.check()
	}
	return c.err
}

func (c *Canary) run(ctx context.Context) {
	for {
		began := time.Now()
		pause := min(c.cfg.Interval, canaryAgain)
		if c.try(ctx) {
			pause = c.cfg.Interval - time.Since(began)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		case <-c.poked: // Is the new connection any better?
		}
	}
}

// try publishes an event, waits for it, and notes what became of it. When there is a new connection before it comes, it
// begins anew: Redis never gave that one the event. It returns false when nothing could be published.
func (c *Canary) try(ctx context.Context) (published bool) {
	began := time.Now()
	for ctx.Err() == nil {
		err := c.once(ctx)
		if errors.Is(err, errRenewed) && time.Since(began) < canaryPatience {
			continue
		}
		switch {
		case ctx.Err() != nil:
		case err == nil:
			c.received.Add(1)
			c.note(nil)
		case errors.Is(err, errUnpublished):
			c.unpublished.Add(1)
			c.note(err)
			return false
		default:
			c.lost.Add(1)
			c.note(c.lostErr)
			if now := time.Now(); errors.Is(err, errDropped) && now.Sub(c.reconnected) >= reconnectEvery {
				c.reconnected = now
				c.line.reconnect()
			}
		}
		break
	}
	return true
}

// errRenewed is returned by once when there is a new connection, and it cannot be known what would have become of the event.
var errRenewed = errors.New("events: there is a new connection")

// once publishes one event and waits for it. Its errors are errUnpublished, errRenewed, errLost and, of a connection that
// delivers nothing, errDropped.
func (c *Canary) once(ctx context.Context) error {
	deadline := time.NewTimer(canaryPatience)
	defer deadline.Stop()
	c.awaitConnection(ctx)
	id := uuid.NewString()
	heard, began := c.expect(id), time.Now()
	if c.publish(ctx, id) != nil {
		return errUnpublished
	}
	asked := c.line.asked.Load()
	select {
	case at := <-heard:
		c.cfg.OnRoundTrip(at.Sub(began))
		return nil
	case <-c.poked:
		return errRenewed
	case <-ctx.Done():
		return ctx.Err()
	case <-deadline.C:
	}
	select { // Who wakes up late finds more than one of these.
	case at := <-heard:
		c.cfg.OnRoundTrip(at.Sub(began))
		return nil
	default:
	}
	select {
	case <-c.poked:
		return errRenewed
	default:
	}
	// Redis answers in turn: a PONG to what was asked after it had taken the event comes after the event.
	if c.line.answered.Load() > asked {
		return errDropped
	}
	return errLost // It may be late, or the connection broken.
}

// awaitConnection waits for a while if there is none: an event that nobody can hear tells little.
func (c *Canary) awaitConnection(ctx context.Context) {
	enough := time.NewTimer(canaryPatience / 2)
	defer enough.Stop()
	for !c.line.connected.Load() {
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
	if c.noted(err) {
		c.cfg.OnFailure()
	}
}

// noted reports whether Check passed before and does not now.
func (c *Canary) noted(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, before := time.Now(), c.err
	if errors.Is(err, c.lostErr) {
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
	return before == nil && c.err != nil
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

// publishCanary publishes the id of an event of the canary where bridges hear it.
func (b *Bridge) publishCanary(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	return b.rdb.Publish(ctx, b.keys.bridges(), id).Err()
}
