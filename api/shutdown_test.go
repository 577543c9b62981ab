package api_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// gate is a publisher that waits, with the request in hand, until it is opened.
type gate struct {
	publisher
	entered chan struct{}
	opened  chan struct{}
}

func (g *gate) Publish(ctx context.Context, m events.Message) (events.Receipt, error) {
	g.entered <- struct{}{}
	<-g.opened
	return g.publisher.Publish(ctx, m)
}

// goodbye reads the last frame of a stream of a hub that shuts down, and its end.
func (s *stream) goodbye(tb testing.TB) {
	tb.Helper()
	last := s.any(tb)
	for last.comment {
		last = s.any(tb)
	}
	wait, err := strconv.Atoi(last.retry)
	if err != nil || last.raw != "retry: "+last.retry || wait < 1000 || wait > 3000 {
		tb.Errorf("the last frame is %q", last.raw)
	}
	if err := s.end(tb); err != nil {
		tb.Errorf("the stream ended with %v", err)
	}
}

// TestShutdown shuts a hub down while streams are open and a request is under way: the streams are told when to come back,
// the request is answered, and nothing new is taken.
func TestShutdown(t *testing.T) {
	t.Parallel()
	g := &gate{entered: make(chan struct{}), opened: make(chan struct{})}
	h := startHub(t, options{wrap: func(p publisher) publisher { g.publisher = p; return g }})
	messages := h.subscribe(t, "user:1")
	var streams []*stream
	for _, query := range []string{"channel=user:1", "channel=user:1&channel=global", "channel=service:matching"} {
		streams = append(streams, h.follow(t, query))
	}
	underWay := make(chan answer, 1)
	var publishing sync.WaitGroup
	defer publishing.Wait()
	publishing.Go(func() {
		a, err := h.try(t, "POST", "/v1/events/users/1", strings.NewReader(`{"type":"tick"}`))
		if err != nil {
			t.Error(err)
		}
		underWay <- a
	})
	<-g.entered

	shut := make(chan error, 1)
	publishing.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		defer cancel()
		shut <- h.server.Shutdown(ctx)
	})
	for _, s := range streams {
		s.goodbye(t)
	}
	redistest.Eventually(t, soon, "the hub listens no more", func() bool {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(h.url, "http://"))
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	select {
	case err := <-shut:
		t.Fatalf("Shutdown did not wait for the request under way: %v", err)
	default:
	}
	close(g.opened)
	receipt := (<-underWay).receipt(t)
	if err := <-shut; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if got := decode[envelope](t, []byte(nextMessage(t, messages).payload)); got.ID != receipt.ID {
		t.Errorf("%s was published, want %s", got.ID, receipt.ID)
	}
	if _, err := h.try(t, "POST", "/v1/events/users/1", strings.NewReader(`{"type":"tick"}`)); err == nil {
		t.Error("a new request was answered")
	}
	h.stop(t) // Once more is no harm.
}

// TestDrain checks what a hub answers that is about to shut down but still listens.
func TestDrain(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	h.health(t, "/health/ready", 200)
	s := h.follow(t, "channel=user:1")
	h.server.Drain()
	h.server.Drain()
	s.goodbye(t)
	report := h.health(t, "/health/ready", 503)
	if got := report.Checks["shutdown"]; report.Status != "fail" || len(got) != 1 || got[0].Output == "" {
		t.Errorf("readiness says %+v", report)
	}
	h.health(t, "/health", 200)
	h.health(t, "/health/live", 200)
	for _, a := range []answer{
		h.post(t, "/v1/events/users/1", `{"type":"tick"}`), h.post(t, "/v1/events/global", `{"type":"tick"}`),
		h.post(t, "/v1/events/services/a", `{"type":"tick"}`), h.get(t, "/v1/stream?channel=user:1"),
	} {
		if p := a.problem(t, 503, "shutting_down"); !p.Retryable || a.header.Get("Retry-After") != "1" {
			t.Errorf("retryable %t, Retry-After %q", p.Retryable, a.header.Get("Retry-After"))
		}
	}
	if n := h.logLength(t, "user:1") + h.logLength(t, "global"); n != 0 {
		t.Errorf("%d events were taken", n)
	}
	h.list(t, "channel=user:1") // Reading does no harm.
}

// TestShutdownHasADeadline checks that a request that does not end is cut off with the context.
func TestShutdownHasADeadline(t *testing.T) {
	t.Parallel()
	g := &gate{entered: make(chan struct{}), opened: make(chan struct{})}
	h := startHub(t, options{wrap: func(p publisher) publisher { g.publisher = p; return g }})
	var publishing sync.WaitGroup
	publishing.Go(func() {
		if a, err := h.try(t, "POST", "/v1/events/users/1", strings.NewReader(`{"type":"tick"}`)); err == nil {
			t.Errorf("the request was answered: %s", a.body)
		}
	})
	<-g.entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := h.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown says %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Shutdown took %v", took)
	}
	publishing.Wait()
	close(g.opened)
}

// TestShutdownCutsStalledStreams checks that a stream whose reader takes nothing does not hold up Shutdown beyond its deadline.
func TestShutdownCutsStalledStreams(t *testing.T) {
	t.Parallel()
	o := options{api: api.Config{StreamWriteTimeout: 2 * soon}, listen: withSmallBuffers}
	h := startHub(t, o)
	h.open(t, "channel=user:1&last_event_id=earliest")
	for n := range 20 {
		h.publish(t, "user:1", largeTick(n))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := h.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown says %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Shutdown took %v", took)
	}
}

// TestShutdownWhileStreamsOpen shuts hubs down while streams are being opened: when Shutdown returns, none is left.
func TestShutdownWhileStreamsOpen(t *testing.T) {
	t.Parallel()
	for range 10 {
		h := startHub(t, options{})
		var opening sync.WaitGroup
		for range 20 {
			opening.Go(func() {
				// Each is refused, or gets the whole of a short stream.
				a, err := h.try(t, "GET", "/v1/stream?channel=user:1", strings.NewReader(""))
				if err == nil && a.status == 200 && !strings.Contains(string(a.body), "retry: ") {
					t.Errorf("a stream holds %q", a.body)
				}
			})
		}
		redistest.Eventually(t, soon, "a stream is open", func() bool { return h.streams() > 0 })
		h.stop(t)
		if n := h.streams(); n != 0 {
			t.Errorf("%d streams are open after Shutdown", n)
		}
		opening.Wait()
	}
}
