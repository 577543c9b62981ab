package javaclient_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/javaclient"
)

func TestGetIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]http.HandlerFunc{
		"500":       answer(500, ""),
		"502 HTML":  answer(502, "<html>"),
		"503":       answer(503, ""),
		"429":       answer(429, ""),
		"reset":     reset,
		"no answer": raw(""),
		"no HTTP":   raw("hello"),
		"cut body":  raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
		"HTML":      answer(200, "<html>"),
		"cut JSON":  answer(200, algorithms[:20]),
		"empty":     answer(200, ""),
		"204":       answer(204, ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, inTurn(bad, bad, answer(200, algorithms)))
			client := newClient(t, patient(server.URL))
			names, err := client.Algorithms(t.Context(), javaclient.Call{})
			if err != nil || len(names) != 2 || names[0] != "SIMPLE_RANDOM" || server.hits.Load() != 3 {
				t.Errorf("%v, %v, %d requests", names, err, server.hits.Load())
			}
			if s := client.Stats(); s.Calls != 1 || len(s.Failures) != 0 || s.Retries != 2 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestGetIsTriedThreeTimesAtMost(t *testing.T) {
	t.Parallel()
	server := serve(t, answer(500, ""))
	client := newClient(t, patient(server.URL))
	if err := failureOf(t, get(t.Context(), client)); err.Code != javaclient.CodeServerError || server.hits.Load() != 3 {
		t.Errorf("%+v, %d requests", err, server.hits.Load())
	}
}

func TestGetIsTriedAgainAfterATimeout(t *testing.T) {
	t.Parallel()
	server := serve(t, inTurn(hang, hangInBody, answer(200, algorithms)))
	cfg := patient(server.URL)
	cfg.Timeout = 300 * time.Millisecond
	if err := get(t.Context(), newClient(t, cfg)); err != nil || server.hits.Load() != 3 {
		t.Errorf("%v, %d requests", err, server.hits.Load())
	}
}

func TestGetIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		code    javaclient.Code
	}{
		"400":       {answer(400, ""), javaclient.CodeRefused},
		"404":       {answer(404, ""), javaclient.CodeNotFound},
		"501":       {answer(501, ""), javaclient.CodeServerError},
		"302":       {answer(302, ""), javaclient.CodeRedirected},
		"too large": {answer(200, string(make([]byte, 101))), javaclient.CodeTooLarge},
		"later than there is time": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3000")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, javaclient.CodeServerError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, test.handler)
			cfg := patient(server.URL)
			cfg.MaxAnswer = 100
			if err := failureOf(t, get(t.Context(), newClient(t, cfg))); err.Code != test.code || server.hits.Load() != 1 {
				t.Errorf("%+v, %d requests", err, server.hits.Load())
			}
		})
	}
}

func TestRetryAfterIsHeeded(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var at []time.Time
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		at = append(at, time.Now())
		if len(at) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		_, _ = w.Write([]byte(algorithms))
	})
	if err := get(t.Context(), newClient(t, patient(server.URL))); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(at) != 2 || at[1].Sub(at[0]) < time.Second {
		t.Errorf("%v", at)
	}
}

// What the service said last is told when time is up before another attempt.
func TestTimeIsUpBetweenAttempts(t *testing.T) {
	t.Parallel()
	server := serve(t, answer(500, ""))
	cfg := patient(server.URL)
	cfg.Timeout, cfg.TotalTimeout = 150*time.Millisecond, 150*time.Millisecond
	err := failureOf(t, get(t.Context(), newClient(t, cfg)))
	if err.Code != javaclient.CodeServerError && err.Code != javaclient.CodeTimeout || server.hits.Load() > 2 {
		t.Errorf("%+v, %d requests", err, server.hits.Load())
	}
}

func TestHedge(t *testing.T) {
	t.Parallel()
	cancelled, cancel := signal()
	server := serve(t, inTurn(func(w http.ResponseWriter, r *http.Request) {
		hang(w, r)
		cancel()
	}, answer(200, algorithms)))
	cfg := patient(server.URL)
	cfg.HedgeAfter = 10 * time.Millisecond
	client := newClient(t, cfg)
	if err := get(t.Context(), client); err != nil || server.hits.Load() != 2 {
		t.Errorf("%v, %d requests", err, server.hits.Load())
	}
	select {
	case <-cancelled:
	case <-time.After(longEnough):
		t.Error("the late attempt goes on")
	}
	if s := client.Stats(); s.Hedges != 1 || s.Retries != 0 || len(s.Failures) != 0 {
		t.Errorf("%+v", s)
	}
}

// The attempt that fails first says nothing of the other.
func TestHedgeThatFailsLeavesTheFirstAlone(t *testing.T) {
	t.Parallel()
	second, done := signal()
	defer done()
	server := serve(t, inTurn(func(w http.ResponseWriter, r *http.Request) {
		<-second
		answer(200, algorithms)(w, r)
	}, func(w http.ResponseWriter, r *http.Request) {
		answer(503, "")(w, r)
		done()
	}))
	cfg := patient(server.URL)
	cfg.HedgeAfter = 10 * time.Millisecond
	client := newClient(t, cfg)
	if err := get(t.Context(), client); err != nil || server.hits.Load() != 2 || client.Stats().Retries != 0 {
		t.Errorf("%v, %d requests", err, server.hits.Load())
	}
}

// A GET that stays late is sent once more for its first attempt, and not for the two that follow.
func TestOnlyTheFirstAttemptIsHedged(t *testing.T) {
	t.Parallel()
	server := serve(t, hang)
	cfg := patient(server.URL)
	cfg.HedgeAfter, cfg.Timeout = 10*time.Millisecond, 300*time.Millisecond
	client := newClient(t, cfg)
	if err := get(t.Context(), client); codeOf(t, err) != javaclient.CodeTimeout || server.hits.Load() != 4 {
		t.Errorf("%v, %d requests", err, server.hits.Load())
	}
	if s := client.Stats(); s.Hedges != 1 || s.Retries != 2 {
		t.Errorf("%+v", s)
	}
}

// A failure before it is time for a hedge is not waited upon.
func TestFailureBeforeTheHedge(t *testing.T) {
	t.Parallel()
	server := serve(t, answer(404, ""))
	cfg := patient(server.URL)
	cfg.HedgeAfter = longEnough
	start := time.Now()
	if err := get(t.Context(), newClient(t, cfg)); codeOf(t, err) != javaclient.CodeNotFound || time.Since(start) >= longEnough {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

func TestPostIsNotHedged(t *testing.T) {
	t.Parallel()
	server := serve(t, hang)
	cfg := patient(server.URL)
	cfg.HedgeAfter, cfg.Timeout = time.Millisecond, 100*time.Millisecond
	if err := post(t.Context(), newClient(t, cfg)); codeOf(t, err) != javaclient.CodeTimeout || server.hits.Load() != 1 {
		t.Errorf("%v, %d requests", err, server.hits.Load())
	}
}

// mostExtra is how many retries or hedges may be under way with this many calls: a fifth of all attempts, and one more.
const (
	callers   = 40
	mostExtra = callers/4 + 1
)

func TestHedgesKeepWithinABudget(t *testing.T) {
	t.Parallel()
	released, release := signal()
	defer release()
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		<-released
		answer(400, "")(w, r)
	})
	cfg := patient(server.URL)
	cfg.HedgeAfter = time.Millisecond
	client := newClient(t, cfg)
	var calls sync.WaitGroup
	ctx := t.Context()
	for range callers {
		calls.Go(func() { _ = get(ctx, client) })
	}
	redistest.Eventually(t, longEnough, "hedges", func() bool { return server.hits.Load() >= callers+3 })
	release()
	calls.Wait()
	if s := client.Stats(); s.Hedges < 3 || s.Hedges > mostExtra {
		t.Errorf("%+v", s)
	}
}

func TestRetriesKeepWithinABudget(t *testing.T) {
	t.Parallel()
	released, release := signal()
	defer release()
	server := &service{}
	server = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if server.hits.Load() > callers {
			<-released
		}
		answer(429, "")(w, r) // The breaker has nothing to say to that.
	})
	client := newClient(t, patient(server.URL))
	var calls sync.WaitGroup
	var ended atomic.Int64
	ctx := t.Context()
	for range callers {
		calls.Go(func() {
			if err := get(ctx, client); codeOf(t, err) != javaclient.CodeOverloaded {
				t.Error(err)
			}
			ended.Add(1)
		})
	}
	redistest.Eventually(t, longEnough, "all calls to end or to hang", func() bool {
		return ended.Load()+client.Stats().Retries >= callers
	})
	if s := client.Stats(); s.Retries < 3 || s.Retries > mostExtra {
		t.Errorf("%+v", s)
	}
	release()
	calls.Wait()
}
