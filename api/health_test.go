package api_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/health"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// health asks one of the health routes and checks the status.
func (h *hub) health(tb testing.TB, path string, status int) api.Health {
	tb.Helper()
	a := h.get(tb, path)
	a.is(tb, status, "application/health+json")
	return decode[api.Health](tb, a.body)
}

// TestHealth checks what each route answers to each state of a part.
func TestHealth(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		says   error
		status api.HealthStatus
		code   int
		output string
	}{
		{"pass", nil, "pass", 200, ""},
		{"warn", health.Warning("Nothing is kept."), "warn", 200, "Nothing is kept."},
		{"fail", errors.New("it broke"), "fail", 503, "it broke"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := startHub(t, options{
				probe: func(context.Context) error { return tt.says },
				api:   api.Config{Version: "1.2.3"},
			})
			for _, path := range []string{"/health", "/health/ready"} {
				before := time.Now()
				report := h.health(t, path, tt.code)
				if report.Status != tt.status || report.Version != "1.2.3" {
					t.Errorf("%s: %+v", path, report)
				}
				for name, component := range map[string]string{
					"redis": "datastore", "subscription": "component", "bridge": "component", "probe": "component",
				} {
					checks := report.Checks[name]
					if len(checks) != 1 || checks[0].ComponentType != component {
						t.Fatalf("%s: the check %s is %+v", path, name, checks)
					}
					at, err := time.Parse(time.RFC3339, checks[0].Time)
					if err != nil || at.Before(before.Truncate(time.Microsecond)) || at.After(time.Now()) {
						t.Errorf("%s: %s was looked at %s, %v", path, name, checks[0].Time, err)
					}
					status, output := api.HealthStatus("pass"), ""
					if name == "probe" {
						status, output = tt.status, tt.output
					}
					if checks[0].Status != status || checks[0].Output != output || checks[0].LastError != output ||
						(checks[0].LastErrorAt == "") != (output == "") {
						t.Errorf("%s: %s is %+v", path, name, checks[0])
					}
					if since, err := time.Parse(time.RFC3339, checks[0].Since); err != nil || since.After(at) {
						t.Errorf("%s: %s is so since %s, %v", path, name, checks[0].Since, err)
					}
					if took, ok := checks[0].ObservedValue.(float64); !ok || took < 0 || took > soon.Seconds()*1000 || checks[0].ObservedUnit != "ms" {
						t.Errorf("%s: %s took %v %s", path, name, checks[0].ObservedValue, checks[0].ObservedUnit)
					}
				}
			}
			// The process lives, whatever else is wrong.
			if report := h.health(t, "/health/live", 200); report.Status != "pass" || len(report.Checks) != 0 {
				t.Errorf("/health/live: %+v", report)
			}
		})
	}
}

// TestHealthOfHangingPart checks that a part that never answers delays nobody for longer than the timeout of a second.
func TestHealthOfHangingPart(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	h := startHub(t, options{probe: func(context.Context) error { <-release; return nil }})
	for range 2 {
		began := time.Now()
		report := h.health(t, "/health", 503)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the answer took %v", took)
		}
		if got := report.Checks["probe"][0]; got.Status != "fail" || got.Output == "" {
			t.Errorf("the hanging part is %+v", got)
		}
		if got := report.Checks["redis"][0]; got.Status != "pass" {
			t.Errorf("the other part is %+v", got)
		}
	}
	close(release)
	redistest.Eventually(t, soon, "the part passes", func() bool { return h.get(t, "/health").status == 200 })
}

// TestHealthTellsNoSecrets looks at what anybody may read, without a key and with Redis away.
func TestHealthTellsNoSecrets(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t, "--requirepass", "secret-password")
	key, token, err := api.NewKey("a", "bot", []string{"*"})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := api.NewKeys(key)
	if err != nil {
		t.Fatal(err)
	}
	h := startHub(t, options{redis: redis, api: api.Config{Keys: keys}})
	h.health(t, "/health", 200)
	redis.Stop()
	redistest.Eventually(t, soon, "all parts that need Redis fail", func() bool {
		report := h.health(t, "/health", 503)
		return report.Checks["subscription"][0].Status == "fail" && report.Checks["bridge"][0].Status == "fail"
	})
	h.health(t, "/health/ready", 503)
	h.health(t, "/health/live", 200)
	for _, a := range []answer{h.get(t, "/health"), h.get(t, "/health/ready")} {
		for _, word := range []string{"secret-password", token, "goroutine"} {
			if strings.Contains(string(a.body), word) {
				t.Errorf("the answer tells %q: %s", word, a.body)
			}
		}
	}
}

// TestStats checks the counters of publishing; those of streams and of the bridge are checked where these are.
func TestStats(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	h.publish(t, "user:1", `{"type":"tick","id":"a"}`)
	h.publish(t, "user:1", `{"type":"tick","id":"b"}`)
	h.publish(t, "user:1", `{"type":"tick","id":"a"}`)
	s := h.follow(t, "channel=user:1&last_event_id=earliest")
	s.event(t)
	s.event(t)
	stats := h.stats(t)
	for name, want := range map[string]int64{"published": 2, "duplicates": 1, "failed": 0, "bridged": 0} {
		if stats.Events[name] != want {
			t.Errorf("events.%s is %d, want %d", name, stats.Events[name], want)
		}
	}
	for name, want := range map[string]int64{"open": 1, "opened": 1, "channels": 1, "delivered": 2, "cut_slow": 0} {
		if stats.Streams[name] != want {
			t.Errorf("streams.%s is %d, want %d", name, stats.Streams[name], want)
		}
	}
	if !slices.Contains([]string{"2026-11-21T06:00:00Z"}, stats.Since) {
		t.Errorf("since %s", stats.Since)
	}
}

// TestHeadOfHealth asks without wanting the body, as load balancers do: the same status, and the same headers.
func TestHeadOfHealth(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]error{"well": nil, "unwell": errors.New("it broke")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startHub(t, options{probe: func(context.Context) error { return says }})
			for _, path := range []string{"/health", "/health/live", "/health/ready", "/health/startup"} {
				want := h.get(t, path)
				got := h.call(t, "HEAD", path, "")
				got.is(t, want.status, "application/health+json")
				if len(got.body) != 0 || got.header.Get("Cache-Control") != "no-store" || want.header.Get("Cache-Control") != "no-store" {
					t.Errorf("HEAD %s: %q, %v", path, got.body, got.header)
				}
			}
		})
	}
}

// BenchmarkLiveness is one request to /health/live, without the network.
func BenchmarkLiveness(b *testing.B) {
	handler := api.New(api.Deps{}, api.Config{Version: "1.2.3"}).Handler()
	req := httptest.NewRequest("GET", "http://localhost/health/live", nil)
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		if handler.ServeHTTP(w, req); w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
}
