package api_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// unsized hides the length of a body, so that it is sent in chunks.
type unsized struct{ io.Reader }

// frame is one frame of a stream.
type frame struct {
	id, event, data, retry string
	comment                bool
	// raw is the frame as it came, without the empty line that closes it.
	raw string
}

// stream reads a stream of server-sent events. It begins to read with the first call of next.
type stream struct {
	proto  int // The major version of HTTP.
	header http.Header
	body   io.ReadCloser
	close  func()
	closed <-chan struct{}
	begin  sync.Once
	frames chan frame
	ended  chan struct{}
	err    error // Why it ended; nil when it ended as a response should. To be read once ended is closed.
}

// open opens a stream and hands it over at its very beginning. It ends with the test.
func (h *hub) open(tb testing.TB, query string, headers ...string) *stream {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url+"/v1/stream?"+query, http.NoBody)
	if err != nil {
		tb.Fatal(err)
	}
	setHeaders(req, headers)
	resp, err := h.http.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	s := &stream{proto: resp.ProtoMajor, header: resp.Header, body: resp.Body, closed: ctx.Done(), frames: make(chan frame), ended: make(chan struct{})}
	s.close = sync.OnceFunc(func() {
		cancel()
		s.begin.Do(func() { close(s.ended) })
		<-s.ended
		_ = resp.Body.Close()
	})
	tb.Cleanup(s.close)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		raw, _ := io.ReadAll(resp.Body)
		tb.Fatalf("the stream answered %d %s", resp.StatusCode, raw)
	}
	return s
}

// follow opens a stream and reads its first frame.
func (h *hub) follow(tb testing.TB, query string, headers ...string) *stream {
	tb.Helper()
	s := h.open(tb, query, headers...)
	if first := s.any(tb); first.retry == "" || first.id == "" || first.event != "" || first.data != "" {
		tb.Fatalf("the first frame is %q", first.raw)
	}
	return s
}

// read hands over frames until the stream ends.
func (s *stream) read(tb testing.TB) {
	tb.Helper()
	defer close(s.ended)
	lines := bufio.NewReader(s.body)
	var f frame
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.err = err
			} else if line != "" || f != (frame{}) {
				s.err = io.ErrUnexpectedEOF
			}
			return
		}
		if line != "\n" {
			f.add(tb, strings.TrimSuffix(line, "\n"))
			continue
		}
		select {
		case s.frames <- f:
		case <-s.closed:
			return
		}
		f = frame{}
	}
}

// add takes one line of a frame. The hub writes each field once at most and with one space.
func (f *frame) add(tb testing.TB, line string) {
	tb.Helper()
	if f.raw != "" {
		f.raw += "\n"
	}
	f.raw += line
	if strings.HasPrefix(line, ":") {
		f.comment = true
		return
	}
	name, value, ok := strings.Cut(line, ": ")
	field := map[string]*string{"id": &f.id, "event": &f.event, "data": &f.data, "retry": &f.retry}[name]
	if !ok || field == nil || *field != "" {
		tb.Errorf("a stream has the line %q in %q", line, f.raw)
		return
	}
	*field = value
}

// any waits for the next frame of whatever kind.
func (s *stream) any(tb testing.TB) frame {
	tb.Helper()
	s.begin.Do(func() { go s.read(tb) })
	select {
	case f := <-s.frames:
		return f
	case <-s.ended:
		tb.Fatalf("the stream ended instead of sending a frame: %v", s.err)
	case <-time.After(soon):
		tb.Fatal("no frame came")
	}
	return frame{}
}

// next waits for the next event and passes over heartbeats.
func (s *stream) next(tb testing.TB) frame {
	tb.Helper()
	deadline := time.Now().Add(soon)
	for time.Now().Before(deadline) {
		if f := s.any(tb); f.event != "" {
			return f
		}
	}
	tb.Fatal("only heartbeats came")
	return frame{}
}

// event waits for the next event and reads its envelope.
func (s *stream) event(tb testing.TB) envelope {
	tb.Helper()
	f := s.next(tb)
	ev := decode[envelope](tb, []byte(f.data))
	if ev.Type != f.event || f.id == "" {
		tb.Errorf("the frame %q carries an event of type %s", f.raw, ev.Type)
	}
	return ev
}

// rest yields the events that still come, until the stream ends.
func (s *stream) rest(tb testing.TB) iter.Seq[frame] {
	tb.Helper()
	return func(yield func(frame) bool) {
		deadline := time.After(soon)
		for {
			select {
			case f := <-s.frames:
				if f.event != "" && !yield(f) {
					return
				}
			case <-s.ended:
				return
			case <-deadline:
				tb.Fatal("the stream did not end")
			}
		}
	}
}

// end waits until the stream has ended, with nothing but heartbeats before, and returns the error with which it ended.
func (s *stream) end(tb testing.TB) error {
	tb.Helper()
	deadline := time.After(soon)
	for {
		select {
		case f := <-s.frames:
			if f.event != "" || f.retry != "" {
				tb.Fatalf("the stream sent %q before its end", f.raw)
			}
		case <-s.ended:
			return s.err
		case <-deadline:
			tb.Fatal("the stream did not end")
		}
	}
}
