package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Fanout gives the events of Redis channels to any number of streams. It keeps one subscription per channel, whatever
// the number of streams, from the first stream on that channel to the last, all on one connection. It resubscribes
// when that connection breaks, and every stream then reads from the log what it missed. It is safe for concurrent use.
type Fanout struct {
	rdb  redis.UniversalClient
	cfg  Config
	keys keyspace
	log  *Log

	mu     sync.Mutex
	feeds  map[string]*feed
	orders []order
	epoch  uint64
	closed bool

	ordered chan struct{}
	closing chan struct{} // Closed by Close.
	stop    context.CancelFunc
	done    sync.WaitGroup
	line    line

	open, opened, resumed, slow, gaps, delivered, connects atomic.Int64
}

// feed is one channel that streams follow.
type feed struct {
	channel   Channel
	name      string
	state     feedState
	ready     chan struct{} // Closed while subscribed.
	listeners map[*Stream]int
}

type feedState int

// A subscription has one order under way at a time, so that an answer from Redis always means the last one.
const (
	subscribing feedState = iota
	subscribed
	unsubscribing
)

// order is what the subscribing connection is to be told next.
type order struct {
	name      string
	subscribe bool
}

// NewFanout makes a fanout; Start must be called before its first use. The client stays the caller's to close.
func NewFanout(rdb redis.UniversalClient, cfg Config) (*Fanout, error) {
	cfg, keys, err := cfg.prepare()
	if err != nil {
		return nil, err
	}
	log, err := NewLog(rdb, cfg)
	if err != nil {
		return nil, err
	}
	return &Fanout{
		rdb: rdb, cfg: cfg, keys: keys, log: log,
		feeds: map[string]*feed{}, ordered: make(chan struct{}, 1), closing: make(chan struct{}),
	}, nil
}

// Start begins to subscribe, and goes on until Close whatever becomes of the context. It does not wait for Redis.
func (f *Fanout) Start(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stop != nil || f.closed {
		return ErrClosed
	}
	ctx, f.stop = context.WithCancel(context.WithoutCancel(ctx))
	f.done.Go(func() { keepConnected(ctx, f.cfg.Logger, "subscription", f.session) })
	return nil
}

// Close ends every stream with ErrClosed and the subscriptions, and waits until all is done. It may be called twice.
func (f *Fanout) Close() {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.closing)
	}
	for _, feed := range f.feeds {
		for s := range feed.listeners {
			s.mu.Lock()
			s.end(ErrClosed)
			s.mu.Unlock()
		}
	}
	if f.stop != nil {
		f.stop()
	}
	f.mu.Unlock()
	f.done.Wait()
}

// Connected reports whether the subscriptions are up.
func (f *Fanout) Connected() bool { return f.line.connected.Load() }

// Reconnect gives up the connection and makes another, for one that looks alive and delivers nothing. Streams go on from the
// log, as when it breaks. It does not wait for that, and does nothing while there is no connection to give up.
func (f *Fanout) Reconnect() { f.line.reconnect() }

// FanoutStats counts what a fanout does.
type FanoutStats struct {
	// Open streams and followed Channels, now.
	Open, Channels int64
	// Opened streams, the Resumed ones of them, which went on where another stream had been, streams cut for being Slow, Gaps
	// told, events Delivered and Reconnects to Redis, since the start.
	Opened, Resumed, Slow, Gaps, Delivered, Reconnects int64
}

// Stats returns the counters.
func (f *Fanout) Stats() FanoutStats {
	f.mu.Lock()
	channels := int64(len(f.feeds))
	f.mu.Unlock()
	return FanoutStats{
		Open: f.open.Load(), Channels: channels, Opened: f.opened.Load(), Resumed: f.resumed.Load(), Slow: f.slow.Load(),
		Gaps: f.gaps.Load(), Delivered: f.delivered.Load(), Reconnects: max(f.connects.Load()-1, 0),
	}
}

// Follow opens a stream of 1 to MaxChannels channels, of the types the pattern selects, from the cursor on; the
// zero Cursor means from now on. It subscribes first and reads the log afterwards, so that nothing is lost between. It
// returns ErrUnavailable when Redis did not answer within Config.Timeout, and ErrClosed.
func (f *Fanout) Follow(ctx context.Context, from Cursor, types Pattern, channels ...Channel) (*Stream, error) {
	if len(channels) == 0 || len(channels) > MaxChannels || slices.ContainsFunc(channels, Channel.IsZero) {
		return nil, fmt.Errorf("%w: a stream follows 1 to %d channels", ErrBadChannel, MaxChannels)
	}
	channels = distinct(channels)
	s := &Stream{
		fanout: f, pattern: types, wake: make(chan struct{}, 1),
		positions: make([]position, len(channels)), behind: make([]behind, len(channels)),
	}
	for i, ch := range channels {
		s.positions[i].channel = ch
	}
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Timeout)
	defer cancel()
	if err := f.join(ctx, s); err != nil {
		s.Close()
		return nil, err
	}
	if err := s.begin(ctx, from); err != nil {
		s.Close()
		return nil, err
	}
	f.opened.Add(1)
	if len(from.positions) > 0 {
		f.resumed.Add(1)
	}
	return s, nil
}

func distinct(channels []Channel) []Channel {
	var out []Channel
	for _, ch := range channels {
		if !slices.Contains(out, ch) {
			out = append(out, ch)
		}
	}
	return out
}

// join makes s a listener of its channels and waits until Redis has confirmed them all.
func (f *Fanout) join(ctx context.Context, s *Stream) error {
	f.mu.Lock()
	if f.closed || f.stop == nil {
		f.mu.Unlock()
		return ErrClosed
	}
	f.open.Add(1)
	for i, at := range s.positions {
		name := f.keys.channel(at.channel)
		fd := f.feeds[name]
		if fd == nil {
			fd = &feed{channel: at.channel, name: name, ready: make(chan struct{}), listeners: map[*Stream]int{}}
			f.feeds[name] = fd
			f.order(name, true)
		}
		fd.listeners[s] = i
		s.feeds = append(s.feeds, fd)
	}
	waits := make([]chan struct{}, len(s.feeds))
	for i, fd := range s.feeds {
		waits[i] = fd.ready
	}
	f.mu.Unlock()
	for _, ready := range waits {
		select {
		case <-ready:
		case <-f.closing:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("%w: no subscription in time: %w", ErrUnavailable, ctx.Err())
		}
	}
	return nil
}

// begin sets where the stream starts. Channels of which the cursor says nothing start at the end of their logs; what is
// logged later than that is queued already.
func (s *Stream) begin(ctx context.Context, from Cursor) error {
	var fresh []Channel
	var places []int
	for i := range s.positions {
		at := &s.positions[i]
		offset, known := from.position(at.channel)
		at.offset = offset
		if known {
			s.fallBehind(i, 0)
			s.poke()
			if !offset.IsZero() && !offset.isMoment() {
				continue
			}
		}
		fresh, places = append(fresh, at.channel), append(places, i)
	}
	if len(fresh) == 0 {
		return nil
	}
	ends, err := s.fanout.log.ends(ctx, fresh)
	if err != nil {
		return err
	}
	for i, end := range ends {
		at := &s.positions[places[i]]
		_, known := from.position(at.channel)
		switch {
		case !known, at.offset.IsZero() && end.isMoment():
			at.offset = end // "earliest" on a channel without a log also starts now.
		case at.offset.Compare(end) > 0:
			at.offset = end // A moment that has not come yet, perhaps only by the Redis server's clock.
		}
	}
	return nil
}

// leave takes s from its channels. The last listener to leave a channel ends its subscription.
func (f *Fanout) leave(s *Stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.feeds == nil {
		return
	}
	for _, fd := range s.feeds {
		delete(fd.listeners, s)
		f.dropIfUnheard(fd)
	}
	s.feeds = nil
	f.open.Add(-1)
}

// dropIfUnheard unsubscribes a channel that nobody listens to. f.mu is held.
func (f *Fanout) dropIfUnheard(fd *feed) {
	if len(fd.listeners) == 0 && fd.state == subscribed {
		fd.state = unsubscribing
		fd.ready = make(chan struct{})
		f.order(fd.name, false)
	}
}

// order queues what the connection is to be told. f.mu is held.
func (f *Fanout) order(name string, subscribe bool) {
	f.orders = append(f.orders, order{name, subscribe})
	select {
	case f.ordered <- struct{}{}:
	default:
	}
}

// session keeps one connection subscribed to what is followed, until it breaks or ctx ends.
func (f *Fanout) session(ctx context.Context, up func()) error {
	ctx, cancel := f.line.begin(ctx)
	ps := f.rdb.Subscribe(ctx)
	var orders sync.WaitGroup
	defer orders.Wait()
	defer func() { _ = ps.Close() }() // It is closed twice when ctx ended; both are fine.
	defer context.AfterFunc(ctx, func() { _ = ps.Close() })()
	defer f.line.end()
	defer cancel()

	names := append([]string{f.keys.takenUp()}, f.resubscribe()...)
	if err := ps.Subscribe(ctx, names...); err != nil {
		return err
	}
	orders.Go(func() {
		defer cancel()
		f.give(ctx, ps)
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
			if msg.Kind == "subscribe" && msg.Channel == f.keys.takenUp() {
				f.connects.Add(1)
				up()
				f.line.up()
			}
			f.confirm(msg.Channel, msg.Kind == "subscribe")
		case *redis.Message:
			f.deliver(msg.Channel, msg.Payload)
		case *redis.Pong:
			f.line.pong(msg)
		}
	}
}

// resubscribe makes every followed channel await a new subscription and returns their names.
func (f *Fanout) resubscribe() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.orders = nil
	names := make([]string, 0, len(f.feeds))
	for name, fd := range f.feeds {
		if len(fd.listeners) == 0 {
			delete(f.feeds, name)
			continue
		}
		if fd.state == subscribed {
			fd.ready = make(chan struct{})
		}
		fd.state = subscribing
		names = append(names, name)
	}
	return names
}

// give tells the connection what was ordered, and asks it for a sign of life, until it breaks or ctx ends.
func (f *Fanout) give(ctx context.Context, ps *redis.PubSub) {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-ping.C:
			err = f.line.ping(ctx, ps)
		case <-f.ordered:
			f.mu.Lock()
			orders := f.orders
			f.orders = nil
			f.mu.Unlock()
			for len(orders) > 0 && err == nil {
				n := 1
				for n < len(orders) && orders[n].subscribe == orders[0].subscribe {
					n++
				}
				names := make([]string, n)
				for i := range names {
					names[i] = orders[i].name
				}
				if orders[0].subscribe {
					err = ps.Subscribe(ctx, names...)
				} else {
					err = ps.Unsubscribe(ctx, names...)
				}
				orders = orders[n:]
			}
		}
		if err != nil {
			return
		}
	}
}

// confirm takes note that Redis has done an order.
func (f *Fanout) confirm(name string, subscribe bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fd := f.feeds[name]
	switch {
	case fd == nil:
	case !subscribe && len(fd.listeners) == 0:
		delete(f.feeds, name)
	case !subscribe: // Somebody came while the subscription was being ended.
		fd.state = subscribing
		f.order(name, true)
	default:
		if fd.state != subscribed {
			fd.state = subscribed
			close(fd.ready)
		}
		// Whatever was said before this subscription is only in the log.
		f.epoch++
		for s, index := range fd.listeners {
			s.fallBehind(index, f.epoch)
			s.poke()
		}
		f.dropIfUnheard(fd)
	}
}

// deliver hands a message to the streams of its channel. What is no hub's event, such as what the bot publishes itself,
// is left alone: it comes again once a hub has taken it up.
func (f *Fanout) deliver(name, payload string) {
	if name == f.keys.takenUp() {
		env, err := decodeEnvelope([]byte(payload))
		if err != nil {
			return
		}
		if name = env.Channel; name == f.keys.channel(canaryChannel) {
			f.line.singer().hear(env.ID)
			return
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	fd := f.feeds[name]
	if fd == nil {
		return
	}
	record, ok := parseRecord(fd.channel, payload)
	if !ok {
		return
	}
	for s, index := range fd.listeners {
		s.push(index, record)
	}
}

// Check returns nil while the subscriptions are up.
func (f *Fanout) Check(context.Context) error { return f.line.check() }
