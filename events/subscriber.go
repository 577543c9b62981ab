package events

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// Handler is called with each event of the types it was registered for. An error it returns is logged with the
// event's id and type; the event counts as handled.
type Handler func(context.Context, Event) error

// Subscriber calls handlers for the events of some channels, one event at a time and in the order of each channel's log.
// It survives lost connections without losing or repeating an event, as far as the logs reach, and a handler that
// is slow for a while only makes it read on from the log. What is published while no Subscriber runs is not
// lost either when the next one starts from the Cursor of the last.
//
// Register and Follow before Start. Cursor and Close may be called by any goroutine.
type Subscriber struct {
	fanout   *Fanout
	cfg      Config
	handlers []registration
	onGap    func(context.Context, Gap)
	channels []Channel

	mu     sync.Mutex
	cursor Cursor
	stop   context.CancelFunc
	closed bool
	done   sync.WaitGroup
}

type registration struct {
	types   Pattern
	handler Handler
}

// NewSubscriber makes a subscriber that starts with events published from now on. The client stays the caller's to close.
func NewSubscriber(rdb redis.UniversalClient, cfg Config) (*Subscriber, error) {
	fanout, err := NewFanout(rdb, cfg)
	if err != nil {
		return nil, err
	}
	return &Subscriber{fanout: fanout, cfg: fanout.cfg, onGap: func(context.Context, Gap) {}}, nil
}

// Handle registers a handler for a type such as "user.login", for all that begin alike ("user.*") or for every type ("*").
// Several handlers may be registered for one type; they are called in the order of their registration.
func (s *Subscriber) Handle(types string, handler Handler) error {
	pattern, err := ParsePattern(types)
	if err != nil {
		return err
	}
	s.handlers = append(s.handlers, registration{pattern, handler})
	return nil
}

// HandleGap registers what is called when events of a channel may have been lost, because the log no longer reached back
// to where the subscriber stood.
func (s *Subscriber) HandleGap(handler func(context.Context, Gap)) { s.onGap = handler }

// Follow adds channels to listen to.
func (s *Subscriber) Follow(channels ...Channel) { s.channels = append(s.channels, channels...) }

// From makes the subscriber begin at a cursor instead of now.
func (s *Subscriber) From(cursor Cursor) { s.cursor = cursor }

// Cursor returns where the subscriber stands: behind the last event whose handlers have returned.
func (s *Subscriber) Cursor() Cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursor
}

// Start subscribes, waits until Redis has confirmed it, and begins to call handlers. They get a context that keeps the
// values of ctx and ends with Close. It returns ErrUnavailable when Redis did not answer, and may then be called again.
// Once it has succeeded, or after Close, it returns ErrClosed.
func (s *Subscriber) Start(ctx context.Context) error {
	_ = s.fanout.Start(ctx) // It fails when it was started before, or closed, which Follow tells.
	stream, err := s.fanout.Follow(ctx, s.Cursor(), Pattern{}, s.channels...)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.stop != nil {
		stream.Close()
		return ErrClosed
	}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.cursor = stream.Cursor()
	s.done.Go(func() { s.run(ctx, stream) })
	return nil
}

// Close stops calling handlers, waits for the one that is running and ends the subscriptions. It may be called twice, and
// while Start is under way, but not by a handler.
func (s *Subscriber) Close() {
	s.mu.Lock()
	s.closed = true
	if s.stop != nil {
		s.stop()
	}
	s.mu.Unlock()
	s.done.Wait()
	s.fanout.Close()
}

func (s *Subscriber) setCursor(stream *Stream) {
	cursor := stream.Cursor()
	s.mu.Lock()
	s.cursor = cursor
	s.mu.Unlock()
}

// run handles one stream after the other: a stream that was cut for slowness is followed by one from where it stood.
func (s *Subscriber) run(ctx context.Context, stream *Stream) {
	for {
		err := s.consume(ctx, stream)
		stream.Close()
		for !errors.Is(err, ErrClosed) && ctx.Err() == nil {
			if stream, err = s.fanout.Follow(ctx, s.Cursor(), Pattern{}, s.channels...); err == nil {
				break
			}
			select {
			case <-ctx.Done():
			case <-time.After(retryCatchUp):
			}
		}
		if err != nil || ctx.Err() != nil {
			if err == nil {
				stream.Close()
			}
			return
		}
	}
}

// consume calls the handlers until the stream ends.
func (s *Subscriber) consume(ctx context.Context, stream *Stream) error {
	for ctx.Err() == nil { // Next may have something all the same.
		delivery, err := stream.Next(ctx)
		if err != nil {
			return err
		}
		if delivery.Gap != nil {
			s.onGap(ctx, *delivery.Gap)
		} else {
			s.handle(ctx, delivery.Record)
		}
		s.setCursor(stream)
	}
	return ctx.Err()
}

func (s *Subscriber) handle(ctx context.Context, record *Record) {
	event, err := record.Event()
	if err != nil {
		s.cfg.Logger.Error("an event in the log cannot be read", zap.Stringer("offset", record.Offset), zap.Error(err))
		return
	}
	for _, r := range s.handlers {
		if !r.types.Match(event.Type) {
			continue
		}
		if err := r.handler(ctx, event); err != nil {
			s.cfg.Logger.Error(fmt.Sprintf("a handler of %s failed", event.Type), zap.String("id", event.ID), zap.Error(err))
		}
	}
}
