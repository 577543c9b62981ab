package events

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// Bridge takes up what publishers that do not know the hub, such as the Django bot, publish on the Redis channels
// themselves: it appends each such event to its channel's log, once by its id however many bridges hear it, and tells
// the streams of every hub. It never publishes it again. What is no envelope is counted, logged and
// left alone.
//
// What is published while no bridge is connected is not taken up: Redis Pub/Sub keeps nothing. That it is connected and hears
// nothing is found out by the canary that NewBridgeCanary makes.
type Bridge struct {
	rdb      redis.UniversalClient
	cfg      Config
	keys     keyspace
	appender *appender
	heard    chan heard
	line     line

	mu     sync.Mutex
	closed bool
	stop   context.CancelFunc
	done   sync.WaitGroup

	takenUp, seen, ignored atomic.Int64
}

// heard is an event that waits to be appended.
type heard struct {
	event Event
	other []byte
}

// maxBridged bounds an event that is taken up, in bytes. It is larger than MaxEventSize: the event is published already.
const maxBridged = 1 << 20

// NewBridge makes a bridge; Start must be called. The client stays the caller's to close.
func NewBridge(rdb redis.UniversalClient, cfg Config) (*Bridge, error) {
	cfg, keys, err := cfg.prepare()
	if err != nil {
		return nil, err
	}
	return &Bridge{
		rdb: rdb, cfg: cfg, keys: keys, appender: newAppender(rdb, cfg, keys), heard: make(chan heard, 1024),
	}, nil
}

// Start begins to listen, and goes on until Close whatever becomes of the context. It does not wait for Redis.
func (b *Bridge) Start(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stop != nil || b.closed {
		return ErrClosed
	}
	if err := b.appender.start(1); err != nil {
		return err
	}
	ctx, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	b.done.Go(func() { keepConnected(ctx, b.cfg.Logger, "bridge", b.session) })
	b.done.Go(func() { b.takeUp(ctx) })
	return nil
}

// Close stops listening, takes up what was heard, if Redis lets it without delay, and waits until all is done. It may be
// called twice.
func (b *Bridge) Close() {
	b.mu.Lock()
	b.closed = true
	if b.stop != nil {
		b.stop()
	}
	b.mu.Unlock()
	b.done.Wait()
	b.appender.close()
}

// Connected reports whether the bridge is listening.
func (b *Bridge) Connected() bool { return b.line.connected.Load() }

// Check returns nil while the bridge is listening.
func (b *Bridge) Check(context.Context) error { return b.line.check() }

// BridgeStats counts what a bridge heard since it was made.
type BridgeStats struct {
	// TakenUp events, events that another bridge or publisher had logged already (Seen), and messages Ignored because
	// they are no envelope.
	TakenUp, Seen, Ignored int64
}

// Stats returns the counters.
func (b *Bridge) Stats() BridgeStats {
	return BridgeStats{b.takenUp.Load(), b.seen.Load(), b.ignored.Load()}
}

// session listens on one connection until it breaks or ctx ends.
func (b *Bridge) session(ctx context.Context, up func()) error {
	ctx, cancel := b.line.begin(ctx)
	defer cancel()
	ps := b.rdb.Subscribe(ctx)
	var pings sync.WaitGroup
	defer pings.Wait()
	defer func() { _ = ps.Close() }() // It is closed twice when ctx ended; both are fine.
	defer context.AfterFunc(ctx, func() { _ = ps.Close() })()
	defer b.line.end()
	defer cancel()
	if err := ps.Subscribe(ctx, b.keys.bridges()); err != nil {
		return err
	}
	if err := ps.PSubscribe(ctx, b.keys.patterns()...); err != nil {
		return err
	}
	pings.Go(func() {
		defer cancel()
		b.line.keepPinging(ctx, ps)
	})
	for {
		msg, err := ps.ReceiveTimeout(ctx, silence)
		if errors.Is(context.Cause(ctx), errDropped) {
			return errDropped
		}
		if err != nil {
			return err
		}
		switch msg := msg.(type) {
		case *redis.Subscription:
			if msg.Count == 1+len(b.keys.patterns()) {
				up()
				b.line.up()
			}
		case *redis.Message:
			if msg.Pattern != "" {
				b.hear(ctx, msg.Channel, msg.Payload)
			} else {
				b.line.singer().hear(msg.Payload)
			}
		case *redis.Pong:
			b.line.pong(msg)
		}
	}
}

// hear looks at one message and queues it when a hub should take it up.
func (b *Bridge) hear(ctx context.Context, name, payload string) {
	if _, ours := trailingOffset(payload); ours {
		return
	}
	h, err := b.read(name, payload)
	if err != nil {
		b.ignored.Add(1)
		scope, _, _ := strings.Cut(strings.TrimPrefix(name, b.keys.prefix+":"), ":") // The rest of the name may say who it is.
		b.cfg.Logger.Warn("a message published on Redis is no event and is left out", zap.String("scope", scope), zap.Error(err))
		return
	}
	select {
	case b.heard <- h:
	case <-ctx.Done():
	}
}

// read reads the event that a message is. Its errors hold nothing of the message.
func (b *Bridge) read(name, payload string) (heard, error) {
	channel, err := b.keys.parse(name)
	if err != nil {
		return heard{}, err
	}
	if len(payload) > maxBridged {
		return heard{}, fmt.Errorf("%w: larger than %d bytes", ErrNotEnvelope, maxBridged)
	}
	if !strings.HasPrefix(payload, "{") {
		return heard{}, fmt.Errorf("%w: no JSON object", ErrNotEnvelope)
	}
	env, err := decodeEnvelope([]byte(payload))
	if err != nil {
		return heard{}, err
	}
	event, err := env.event(channel)
	if err != nil {
		return heard{}, err
	}
	if !event.Offset.IsZero() {
		return heard{}, fmt.Errorf("%w: it has an offset, which only a hub writes", ErrNotEnvelope)
	}
	event.Data = compact(event.Data)
	return heard{event, env.others()}, nil
}

// takeUp appends what was heard, in that order, until ctx ends and nothing is left, or Redis is away then.
func (b *Bridge) takeUp(ctx context.Context) {
	for {
		select {
		case h := <-b.heard:
			if !b.takeUpOne(ctx, &h) {
				return
			}
			continue
		default:
		}
		select {
		case <-ctx.Done():
			return
		case h := <-b.heard:
			if !b.takeUpOne(ctx, &h) {
				return
			}
		}
	}
}

// takeUpOne appends one event and tries again until it is done or can never be: the event's id makes that harmless. It
// returns false when ctx has ended and Redis is away.
func (b *Bridge) takeUpOne(ctx context.Context, h *heard) bool {
	const pause = 100 * time.Millisecond
	for {
		reply, err := b.appendOnce(context.WithoutCancel(ctx), h)
		switch {
		case errors.Is(err, ErrUnavailable):
			select {
			case <-ctx.Done():
				return false
			case <-time.After(pause):
			}
			continue
		case err != nil:
			b.ignored.Add(1)
			b.cfg.Logger.Warn("an event published on Redis could not be taken up", zap.Error(err))
		case reply.what == appended:
			b.takenUp.Add(1)
		default:
			b.seen.Add(1)
		}
		return true
	}
}

func (b *Bridge) appendOnce(ctx context.Context, h *heard) (appendReply, error) {
	call, err := b.appender.submit(ctx, &submission{
		event: &h.event, other: h.other, largest: maxBridged, tell: b.keys.takenUp(),
	})
	if err != nil {
		return appendReply{}, err
	}
	return b.appender.wait(ctx, call)
}
