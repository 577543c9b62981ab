package api

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/events"
)

const (
	// reconnectAfter is what readers are told to wait before they connect again.
	reconnectAfter = 3 * time.Second
	// drainSpread spreads the readers of a hub that shuts down.
	drainSpread = 2 * time.Second
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
	if s.isDraining() {
		return shuttingDown()
	}
	if s.streams.Add(1) > int64(s.cfg.MaxStreams) {
		s.streams.Add(-1)
		return &problem{
			status: http.StatusTooManyRequests, code: codeTooManyStreams, title: "Too many streams",
			detail: "The hub has as many open streams as it may have. Try again later, or at another hub.", retryAfter: 5,
		}
	}
	defer s.streams.Add(-1)
	ctx := c.Request().Context()
	stream, err := s.deps.Fanout.Follow(ctx, from, types, channels...)
	if err != nil {
		return err
	}
	defer stream.Close()

	header := c.Response().Header()
	header.Set(echo.HeaderContentType, "text/event-stream")
	header.Set("X-Accel-Buffering", "no") // nginx would hold events back.
	c.Response().WriteHeader(http.StatusOK)
	w := &streamWriter{
		stream: stream, response: c.Response().Writer,
		control: http.NewResponseController(c.Response().Writer), timeout: s.cfg.StreamWriteTimeout,
	}
	_ = w.control.SetReadDeadline(time.Time{}) // The request was read; the server's bound is not for what follows.
	s.run(ctx, w)
	return nil
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

// run sends frames until the reader leaves or is too slow, or the hub shuts down.
func (s *Server) run(ctx context.Context, w *streamWriter) {
	if w.send(func(buf []byte) []byte {
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
			_ = w.send(func(buf []byte) []byte {
				return appendEvent(appendCursor(buf, w.stream), "slow", `{"detail":"The reader was too slow. Connect again with this id."}`)
			})
			return
		case errors.Is(err, events.ErrClosed):
			w.sayGoodbye()
			return
		case err != nil:
			return
		case sent:
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-s.draining:
			w.sayGoodbye()
			return
		case <-heartbeat.C:
			// The cursor goes along: events that were filtered out have moved it too.
			if w.send(func(buf []byte) []byte { return appendComment(appendCursor(buf, w.stream), "") }) != nil {
				return
			}
		case <-w.stream.Wake():
		}
	}
}

// streamWriter writes frames to one reader.
type streamWriter struct {
	stream   *events.Stream
	response http.ResponseWriter
	control  *http.ResponseController
	timeout  time.Duration
}

// buffers are for frames on their way; an idle stream holds none.
var buffers = sync.Pool{New: func() any { return new([]byte) }} //nolint:gochecknoglobals // A pool must be shared to be one.

// send writes what fill appends, and sees it off to the network.
func (w *streamWriter) send(fill func([]byte) []byte) error {
	buf := buffers.Get().(*[]byte)
	*buf = fill((*buf)[:0])
	err := w.flush(*buf)
	buffers.Put(buf)
	return err
}

func (w *streamWriter) flush(frames []byte) error {
	if err := w.control.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		return err
	}
	if _, err := w.response.Write(frames); err != nil {
		return err
	}
	return w.control.Flush()
}

// sendReady sends the deliveries that are there, together, and reports whether there were any.
func (w *streamWriter) sendReady(ctx context.Context) (bool, error) {
	delivery, ok, err := w.stream.TryNext(ctx)
	if !ok || err != nil {
		return false, err
	}
	var ended error
	err = w.send(func(buf []byte) []byte {
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
	return true, errors.Join(err, ended)
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
	_ = w.send(func(buf []byte) []byte { return append(appendRetry(buf, wait), '\n') })
}
