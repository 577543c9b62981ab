package api_test

import (
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/contracttest"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// stopwatch is a transport that notes how long each answer took to come.
type stopwatch struct {
	base http.RoundTripper
	mu   sync.Mutex
	took []time.Duration
}

func (s *stopwatch) RoundTrip(req *http.Request) (*http.Response, error) {
	began := time.Now()
	resp, err := s.base.RoundTrip(req)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = append(s.took, time.Since(began))
	return resp, err
}

// reset returns the times since the last call, the shortest first.
func (s *stopwatch) reset() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	took := s.took
	s.took = nil
	slices.Sort(took)
	return took
}

const (
	atOnce  = 64
	rounds  = 3
	readers = 5
)

// TestRedisAway takes Redis away in two ways while streams are open, publishes at it, and brings it back. It counts goroutines
// and measures times, so that no other test may run meanwhile.
func TestRedisAway(t *testing.T) {
	for _, tt := range []struct {
		name       string
		away, back func(*redistest.Server)
	}{
		{"stopped", (*redistest.Server).Stop, (*redistest.Server).Restart},
		{"hanging", (*redistest.Server).Pause, (*redistest.Server).Resume},
	} {
		t.Run(tt.name, func(t *testing.T) {
			redis := redistest.Start(t, "--appendonly", "yes")
			const heartbeat = 100 * time.Millisecond
			h := startHub(t, options{redis: redis, api: api.Config{Heartbeat: heartbeat}})
			watch := &stopwatch{base: h.base}
			h.http = &http.Client{Transport: contracttest.Transport(t, watch)}
			var streams []*stream
			for range readers {
				streams = append(streams, h.follow(t, "channel=user:1"))
			}
			for range 2 { // Once to open the connections that stay open.
				h.publishAtOnce(t, "before", 201)
			}
			for _, s := range streams {
				for range atOnce {
					s.next(t)
				}
			}
			h.base.CloseIdleConnections()
			clients := clientsOf(t, redis)
			goroutines := runtime.NumGoroutine()

			tt.away(redis)
			var middles []time.Duration
			for round := range rounds {
				watch.reset()
				for _, a := range h.publishAtOnce(t, fmt.Sprint("during-", round), 503) {
					if p := a.problem(t, 503, "redis_unavailable"); !p.Retryable || a.header.Get("Retry-After") != "1" {
						t.Errorf("retryable %t, Retry-After %q", p.Retryable, a.header.Get("Retry-After"))
					}
				}
				took := watch.reset()
				t.Logf("round %d: 503 after %v to %v, the middle one after %v", round, took[0], took[len(took)-1], took[len(took)/2])
				if last := took[len(took)-1]; last > 5*time.Second {
					t.Errorf("round %d: an answer took %v", round, last)
				}
				middles = append(middles, took[len(took)/2])
				h.base.CloseIdleConnections()
				redistest.Eventually(t, soon, "the goroutines of the round have ended", func() bool {
					return runtime.NumGoroutine() <= goroutines+10
				})
				if n := h.connections(); n > 2*runtime.GOMAXPROCS(0)*10 {
					t.Errorf("round %d: the hub holds %d connections", round, n)
				}
			}
			// All should come within 1.5 s; on a busy machine it is enough that most of one round do.
			if best := slices.Min(middles); best > 1500*time.Millisecond {
				t.Errorf("even in the best round the middle answer took %v", best)
			}
			h.get(t, "/v1/events?channel=user:1").problem(t, 503, "redis_unavailable")
			h.health(t, "/health/ready", 503)
			// Streams that come now wait for Redis, which is no error to a browser's EventSource.
			all, late := h.open(t, "channel=user:1&last_event_id=earliest"), h.open(t, "channel=user:1")
			for _, s := range []*stream{all, late} {
				if first := s.any(t); first.retry != "3000" || first.id != "" || !first.comment {
					t.Errorf("while Redis is away, a stream begins with %q", first.raw)
				}
			}
			streams = append(streams, late)
			for _, s := range []*stream{streams[0], late, all} {
				s.beats(t, heartbeat)
			}
			if open := h.stats(t).Streams["open"]; open < readers {
				t.Errorf("%d streams are open, want %d", open, readers)
			}

			tt.back(redis)
			began := time.Now()
			h.recovers(t, began)
			// Who was answered 503 tries again with the same id: each event is published once, and reaches the streams once.
			for round := range rounds {
				h.publishAtOnce(t, fmt.Sprint("during-", round), 201)
			}
			h.publish(t, "user:1", `{"type":"last"}`)
			for range atOnce { // What was published before it all.
				if got := all.event(t); strings.HasPrefix(got.ID, "during-") {
					t.Fatalf("%s came before what was published before", got.ID)
				}
			}
			for i, s := range append(streams, all) {
				seen := make(map[string]int)
				for event := s.event(t); event.Type != "last"; event = s.event(t) {
					seen[event.ID]++
				}
				for id, n := range seen {
					if n != 1 {
						t.Errorf("stream %d got %s %d times", i, id, n)
					}
				}
				if want := rounds*atOnce + 1; len(seen) != want {
					t.Errorf("stream %d got %d events, want %d", i, len(seen), want)
				}
			}
			if n := h.logLength(t, "user:1"); n != (rounds+1)*atOnce+2 {
				t.Errorf("the log holds %d events, want %d", n, (rounds+1)*atOnce+2)
			}
			h.base.CloseIdleConnections()
			if n := clientsOf(t, redis); n > clients+5 {
				t.Errorf("%d connections to Redis, and before it went away %d", n, clients)
			}
		})
	}
}

// TestRedisForgets restarts a Redis that keeps nothing: an open stream is told that events may be missing, and goes on.
func TestRedisForgets(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	h := startHub(t, options{redis: redis})
	s := h.follow(t, "channel=user:1")
	h.ticks(t, "user:1", 0, 3)
	last := s.expect(t, "0", "1", "2")
	redis.Stop()
	redis.Restart()
	redistest.Eventually(t, soon, "an event is published", func() bool {
		return h.post(t, "/v1/events/users/1", `{"type":"tick","data":3,"id":"three"}`).status == 201
	})
	gap := s.next(t)
	if want := `{"channel":"user:1","after":"` + strings.TrimPrefix(last.id, "user:1@") + `"}`; gap.event != "gap" || gap.data != want {
		t.Errorf("%q came, want a gap with %s", gap.raw, want)
	}
	s.expect(t, "3")
}

// publishAtOnce publishes atOnce events on user:1 at a time, whose ids begin alike, and expects one status of all. Where
// that is 201 it tries again after 503, as clients do: on a busy machine even Redis next door may not answer in time.
func (h *hub) publishAtOnce(tb testing.TB, id string, status int) []answer {
	tb.Helper()
	answers := make([]answer, atOnce)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			body := fmt.Sprintf(`{"type":"tick","id":"%s-%d"}`, id, i)
			deadline := time.Now().Add(soon)
			a, err := h.try(tb, http.MethodPost, "/v1/events/users/1", strings.NewReader(body))
			for err == nil && status == 201 && a.status == 503 && time.Now().Before(deadline) {
				a, err = h.try(tb, http.MethodPost, "/v1/events/users/1", strings.NewReader(body))
			}
			if answers[i] = a; err != nil || a.status != status {
				tb.Errorf("%s: %v, %d %s, want %d", body, err, answers[i].status, answers[i].body, status)
			}
		})
	}
	all.Wait()
	return answers
}

// beats waits for a heartbeat that is sent from now on.
func (s *stream) beats(tb testing.TB, every time.Duration) {
	tb.Helper()
	redistest.Eventually(tb, soon, "a heartbeat", func() bool {
		began := time.Now()
		f := s.any(tb)
		return f.comment && time.Since(began) > every/4 // It did not lie ready.
	})
}

// recovers waits until the hub works again, and logs how long that took. It should take 2 s; a busy machine gets 5.
func (h *hub) recovers(tb testing.TB, began time.Time) {
	tb.Helper()
	const most = 5 * time.Second
	redistest.Eventually(tb, soon, "an event is published", func() bool {
		return h.post(tb, "/v1/events/users/1", `{"type":"tick","id":"after"}`).status == 201
	})
	published := time.Since(began)
	redistest.Eventually(tb, soon, "the hub is ready", func() bool { return h.get(tb, "/health/ready").status == 200 })
	ready := time.Since(began)
	h.follow(tb, "channel=user:2").close()
	tb.Logf("after Redis came back, an event was published within %v, and the hub was ready within %v", published, ready)
	if published > most || ready > most {
		tb.Errorf("the hub took %v to publish and %v to be ready, want %v at most", published, ready, most)
	}
}

// clientsOf is how many connections a Redis server has.
func clientsOf(tb testing.TB, server *redistest.Server) int {
	tb.Helper()
	list, err := server.Client().ClientList(tb.Context()).Result()
	if err != nil {
		tb.Fatal(err)
	}
	return strings.Count(list, "id=")
}
