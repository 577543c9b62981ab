package api

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/events"
)

const (
	// reconnectAfter is what readers are told to wait before they connect again.
	reconnectAfter = 3 * time.Second
	// drainSpread spreads the readers of a hub that shuts down.
	drainSpread = 2 * time.Second
	// followAgain is how often a stream that came while Redis was away tries to begin.
	followAgain = 250 * time.Millisecond
	// flushSize is how many bytes of frames are gathered before they are sent, when there are that many.
	flushSize = 32 << 10
)

// Stream answers GET /v1/stream.
func (s *Server) Stream(c echo.Context, params StreamParams) error {
	channels, types, from, err := streamParams(params)
	if err != nil {
		return err
	}
	if err := allowSubscribe(c, channels...); err != nil {
		return err
	}
	right := admission{keys: s.cfg.Keys, key: keyOf(c), channels: channels}
	if !right.renew() {
		return unauthorized() // The keys were replaced since it was let in.
	}
	if s.isDraining() {
		return shuttingDown()
	}
	leave, err := s.takePlace(right.key)
	if err != nil {
		return err
	}
	running := false // And then run leaves.
	defer func() {
		if !running {
			leave()
		}
	}()
	w := &streamWriter{follow: func(ctx context.Context) (*events.Stream, error) {
		return s.deps.Fanout.Follow(ctx, from, types, channels...)
	}, admission: right, leave: leave}
	if w.stream, err = w.follow(c.Request().Context()); err != nil && !errors.Is(err, events.ErrUnavailable) {
		return err
	}
	if from.IsZero() {
		from = events.Since(time.Now()) // Should Redis be away now, the stream still begins now.
	}
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, "text/event-stream")
	header.Set("X-Accel-Buffering", "no") // nginx would hold events back.
	s.streaming.Add(1)                    // While package http still waits for this request: Shutdown may not miss what begins below.
	defer s.streaming.Done()
	running = true
	if conn, err := takeConnection(c); err == nil {
		w.send = writeTo(conn, s.cfg.StreamWriteTimeout)
		ctx, cancel := context.WithCancel(context.WithoutCancel(c.Request().Context()))
		s.streaming.Go(func() {
			defer cancel()
			defer s.survive()
			s.connections.keep(conn)
			defer s.connections.remove(conn)
			defer func() { _ = conn.Close() }() // It ends the watch; an error would be of a connection that is gone anyway.
			s.run(ctx, w)
		})
		s.streaming.Go(func() {
			defer cancel()
			watch(conn)
		})
		return nil
	}
	c.Response().WriteHeader(http.StatusOK)
	w.send = respondWith(c.Response().Writer, s.cfg.StreamWriteTimeout)
	s.run(c.Request().Context(), w)
	return nil
}

// survive keeps a panic in one stream, which would be a mistake of ours, from ending the others. The connection is closed.
func (s *Server) survive() {
	if r := recover(); r != nil {
		s.log.Error("a stream panicked", zap.Any("panic", r), zap.ByteString("stack", debug.Stack()))
	}
}

// streamParams reads what the caller asks for.
func streamParams(params StreamParams) ([]events.Channel, events.Pattern, events.Cursor, error) {
	var wrong []FieldProblem
	if n := len(params.Channel); n == 0 || n > events.MaxChannels {
		wrong = append(wrong, FieldProblem{Field: "channel", Problem: "must be given 1 to 64 times"})
	}
	var channels []events.Channel
	for _, name := range params.Channel {
		ch, err := events.ParseChannel(name)
		if err != nil {
			wrong = append(wrong, FieldProblem{Field: "channel", Problem: wantChannel})
			break
		}
		channels = append(channels, ch)
	}
	types, err := events.ParsePattern(params.Type...)
	if err != nil || len(params.Type) > events.MaxChannels {
		wrong = append(wrong, FieldProblem{Field: "type", Problem: "must be a type such as user.login or a prefix such as user.*, 64 at most"})
	}
	field, given := "Last-Event-ID", params.LastEventIDHeader
	if given == "" {
		field, given = "last_event_id", params.LastEventID
	}
	from, err := events.ParseCursor(given)
	if err != nil {
		wrong = append(wrong, FieldProblem{Field: field, Problem: "must be an id that a stream gave, or earliest"})
	}
	if given == "" && params.Since != "" {
		at, err := time.Parse(time.RFC3339, params.Since)
		if err != nil {
			wrong = append(wrong, FieldProblem{Field: "since", Problem: "must be RFC 3339, such as 2026-11-21T19:11:26Z"})
		}
		from = events.Since(at)
	}
	if len(wrong) > 0 {
		return nil, events.Pattern{}, events.Cursor{}, invalidFields(wrong...)
	}
	return channels, types, from, nil
}

// run sends frames until the reader leaves or is too slow, or the hub shuts down, and closes the stream.
func (s *Server) run(ctx context.Context, w *streamWriter) {
	defer w.leave()
	if w.stream == nil && !s.awaitRedis(ctx, w) {
		return
	}
	defer w.stream.Close()
	if w.sendFrames(func(buf []byte) []byte {
		return append(appendCursor(appendRetry(buf, reconnectAfter), w.stream), '\n')
	}) != nil {
		return
	}
	heartbeat := time.NewTicker(s.cfg.Heartbeat)
	defer heartbeat.Stop()
	for {
		sent, err := w.sendReady(ctx)
		switch {
		case errors.Is(err, events.ErrSlow):
			_ = w.sendFrames(func(buf []byte) []byte {
				return appendEvent(appendCursor(buf, w.stream), "slow", `{"detail":"The reader was too slow. Connect again with this id."}`)
			})
			return
		case errors.Is(err, events.ErrClosed):
			w.sayGoodbye()
			return
		case err != nil:
			return
		case sent && !s.isDraining() && !w.admission.due() && ctx.Err() == nil:
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-s.draining:
			w.sayGoodbye()
			return
		case <-w.admission.changed:
			if !w.admission.renew() {
				w.sayGoodbye()
				return
			}
		case <-heartbeat.C:
			// The cursor goes along: events that were filtered out have moved it too.
			if w.sendFrames(func(buf []byte) []byte { return appendComment(appendCursor(buf, w.stream), "") }) != nil {
				return
			}
		case <-w.stream.Wake():
		}
	}
}

// awaitRedis keeps a reader who came while Redis was away, until the stream can begin, and reports whether it can. To answer
// 503 would end a browser's EventSource for good.
func (s *Server) awaitRedis(ctx context.Context, w *streamWriter) bool {
	if w.sendFrames(func(buf []byte) []byte {
		return appendComment(appendRetry(buf, reconnectAfter), " waiting for Redis")
	}) != nil {
		return false
	}
	again := time.NewTicker(followAgain)
	defer again.Stop()
	heartbeat := time.NewTicker(s.cfg.Heartbeat)
	defer heartbeat.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return false
		case <-s.draining:
			w.sayGoodbye()
			return false
		case <-w.admission.changed:
			if !w.admission.renew() {
				w.sayGoodbye()
				return false
			}
		case <-heartbeat.C:
			if w.sendFrames(func(buf []byte) []byte { return appendComment(buf, "") }) != nil {
				return false
			}
		case <-again.C:
			if w.stream, err = w.follow(ctx); err == nil {
				return true
			}
			if !errors.Is(err, events.ErrUnavailable) {
				w.sayGoodbye()
				return false
			}
		}
	}
}

// streamWriter writes frames to one reader.
type streamWriter struct {
	// stream is nil while Redis is away and follow has not succeeded yet.
	stream *events.Stream
	follow func(context.Context) (*events.Stream, error)
	send   sender
	// admission lets the reader stay.
	admission admission
	// leave gives the stream's place back.
	leave func()
}

// buffers are for frames on their way; an idle stream holds none.
var buffers = sync.Pool{New: func() any { return new([]byte) }} //nolint:gochecknoglobals // A pool must be shared to be one.

// sendFrames sends what fill appends.
func (w *streamWriter) sendFrames(fill func([]byte) []byte) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	*buf = fill((*buf)[:0])
	return w.send(*buf)
}

// sendReady sends the deliveries that are there, together, and reports whether there were any.
func (w *streamWriter) sendReady(ctx context.Context) (bool, error) {
	delivery, ok, err := w.stream.TryNext(ctx)
	if !ok || err != nil {
		return false, err
	}
	var ended error
	err = w.sendFrames(func(buf []byte) []byte {
		for ok {
			buf = w.appendDelivery(buf, delivery)
			if len(buf) >= flushSize {
				break
			}
			if delivery, ok, ended = w.stream.TryNext(ctx); ended != nil {
				break
			}
		}
		return buf
	})
	if err != nil {
		return true, err // A frame may have been cut: nothing may follow it.
	}
	return true, ended
}

func (w *streamWriter) appendDelivery(buf []byte, d events.Delivery) []byte {
	buf = appendCursor(buf, w.stream)
	if d.Record != nil {
		return appendEvent(buf, d.Record.Type, d.Record.JSON)
	}
	text, _ := json.Marshal(gap{Channel: d.Gap.Channel.String(), After: d.Gap.After.String()}) // Strings are always JSON.
	return appendEvent(buf, "gap", string(text))
}

// gap is the data of an event gap.
type gap struct {
	Channel string `json:"channel"`
	After   string `json:"after"`
}

// sayGoodbye tells the reader when to come back.
func (w *streamWriter) sayGoodbye() {
	wait := time.Second + rand.N(drainSpread) //nolint:gosec // G404: no secret.
	_ = w.sendFrames(func(buf []byte) []byte { return append(appendRetry(buf, wait), '\n') })
}
