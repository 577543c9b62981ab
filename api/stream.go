package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
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
	stream, err := s.deps.Fanout.Follow(c.Request().Context(), from, types, channels...)
	if err != nil {
		s.streams.Add(-1)
		return err
	}
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, "text/event-stream")
	header.Set("X-Accel-Buffering", "no") // nginx would hold events back.
	if conn, err := takeConnection(c); err == nil {
		ctx, cancel := context.WithCancel(context.WithoutCancel(c.Request().Context()))
		s.streaming.Go(func() {
			defer cancel()
			s.run(ctx, &streamWriter{stream: stream, send: writeTo(conn, s.cfg.StreamWriteTimeout)})
			_ = conn.Close() // It ends the watch; an error would be of a connection that is gone anyway.
		})
		s.streaming.Go(func() {
			defer cancel()
			watch(conn)
		})
		return nil
	}
	c.Response().WriteHeader(http.StatusOK)
	s.run(c.Request().Context(), &streamWriter{stream: stream, send: respondWith(c.Response().Writer, s.cfg.StreamWriteTimeout)})
	return nil
}

// takeConnection takes the connection of an HTTP/1 request out of package http's hands and sends the head of the answer.
// The buffers and the stack that package http keeps for a request would be most of what an idle stream costs. The
// answer ends with the connection. It fails, with nothing sent, for HTTP/2.
func takeConnection(c echo.Context) (net.Conn, error) {
	conn, _, err := http.NewResponseController(c.Response().Writer).Hijack()
	if err != nil {
		return nil, err
	}
	c.Response().Status, c.Response().Committed = http.StatusOK, true
	header := c.Response().Header()
	header.Set("Connection", "close")
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	head := bytes.NewBufferString("HTTP/1.1 200 OK\r\n")
	_ = header.Write(head) // A buffer does not fail.
	head.WriteString("\r\n")
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = conn.Write(head.Bytes()) // The first frame will find out.
	return conn, nil
}

// watch returns when the reader has gone. What it sends is ignored.
func watch(conn net.Conn) {
	var ignored [64]byte
	for {
		if _, err := conn.Read(ignored[:]); err != nil {
			return
		}
	}
}

// sender sees frames off to the network, within a time limit.
type sender func(frames []byte) error

func writeTo(conn net.Conn, timeout time.Duration) sender {
	return func(frames []byte) error {
		if err := conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
			return err
		}
		_, err := conn.Write(frames)
		return err
	}
}

func respondWith(w http.ResponseWriter, timeout time.Duration) sender {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // The request was read; the server's bound is not for what follows.
	return func(frames []byte) error {
		if err := control.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
			return err
		}
		if _, err := w.Write(frames); err != nil {
			return err
		}
		return control.Flush()
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
	defer s.streams.Add(-1)
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
			if w.sendFrames(func(buf []byte) []byte { return appendComment(appendCursor(buf, w.stream), "") }) != nil {
				return
			}
		case <-w.stream.Wake():
		}
	}
}

// streamWriter writes frames to one reader.
type streamWriter struct {
	stream *events.Stream
	send   sender
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
	_ = w.sendFrames(func(buf []byte) []byte { return append(appendRetry(buf, wait), '\n') })
}
