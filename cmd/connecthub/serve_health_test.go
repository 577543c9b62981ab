package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// checkNames are the checks of a hub with all its parts.
func (s *server) checkNames(tb testing.TB) []string {
	tb.Helper()
	var names []string
	for name := range s.report(tb, "/health").Checks {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// report asks one of the health routes, which must answer in time.
func (s *server) report(tb testing.TB, path string) api.Health {
	tb.Helper()
	began := time.Now()
	_, body := s.get(tb, path)
	if took := time.Since(began); took > 3*time.Second { // It is 1.5 s on a machine that does nothing else.
		tb.Errorf("%s took %v", path, took)
	}
	var report api.Health
	if err := json.Unmarshal([]byte(body), &report); err != nil {
		tb.Fatalf("%s says %s", path, body)
	}
	return report
}

// TestHealthOfAWholeHub checks what is told of a hub that lacks nothing.
func TestHealthOfAWholeHub(t *testing.T) {
	t.Parallel()
	kept, cache := redistest.Start(t, "--appendonly", "yes"), redistest.Start(t)
	definitions, audit := filepath.Join(t.TempDir(), "menus.yaml"), filepath.Join(t.TempDir(), "audit.log")
	write(t, definitions, definitionsWith("one"))
	began := time.Now()
	hub := serve(t, environment{
		"REDIS_URL": cache.URL(), "EVENTS_REDIS_URL": kept.URL(), "JAVA_SERVICE_URL": newJava(t).URL,
		"MENU_SOURCE_URL": newMenuSource(t).URL, "MENU_DEFINITIONS": definitions, "AUDIT_LOG_FILE": audit,
	})
	redistest.Eventually(t, soon, "it has started", func() bool { return hub.report(t, "/health/startup").Status == api.HealthStatusPass })
	redistest.Eventually(t, soon, "it is well", func() bool { return hub.report(t, "/health").Status == api.HealthStatusPass })
	want := []string{
		"bridge", "delivery", "disk", "keys", "matching_requests", "matching_service", "menu_definitions", "menu_source", "menu_writes", "menus",
		"persistence", "redis", "redis_main", "temp_data",
	}
	if got := hub.checkNames(t); !slices.Equal(got, want) {
		t.Errorf("the checks are %q, want %q", got, want)
	}
	for name, checks := range hub.report(t, "/health").Checks {
		since, err := time.Parse(time.RFC3339Nano, checks[0].Since)
		if err != nil || since.Before(began) || since.After(time.Now()) {
			t.Errorf("%s is %+v", name, checks[0])
		}
	}
	if ready := hub.report(t, "/health/ready"); len(ready.Checks) != 1 || ready.Checks["redis"][0].Status != api.HealthStatusPass {
		t.Errorf("/health/ready: %+v", ready)
	}
	// Nothing of all that has been in the log.
	if log := hub.stderr.String(); strings.Contains(log, "a check does not pass") {
		t.Errorf("the log: %s", log)
	}
}

// TestHealthWhileRedisIsAway takes Redis away in each way, and looks how soon that is told, and that it is told no longer.
func TestHealthWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		begin, end func(*redistest.Server, *redistest.Proxy)
		redis      string
	}{
		"killed": {
			func(s *redistest.Server, _ *redistest.Proxy) { s.Kill() }, func(s *redistest.Server, _ *redistest.Proxy) { s.Restart() },
			"Redis does not answer",
		},
		"paused": {
			func(s *redistest.Server, _ *redistest.Proxy) { s.Pause() }, func(s *redistest.Server, _ *redistest.Proxy) { s.Resume() },
			" answer ",
		},
		"slow": {
			func(_ *redistest.Server, p *redistest.Proxy) { p.Slow(5 * time.Second) },
			func(_ *redistest.Server, p *redistest.Proxy) { p.Slow(0) },
			" answer ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rds := redistest.Start(t, "--appendonly", "yes")
			proxy := redistest.NewProxy(t, rds)
			hub := serve(t, environment{"REDIS_URL": proxy.URL(), "HEALTH_INTERVAL": "500ms"})
			hub.healthy(t)
			test.begin(rds, proxy)
			redistest.Eventually(t, 15*time.Second, "all say so", func() bool {
				report := hub.report(t, "/health")
				redis, delivery := report.Checks["redis"][0], report.Checks["delivery"][0]
				return report.Status == api.HealthStatusFail && redis.Status == api.HealthStatusFail && strings.Contains(redis.Output, test.redis) &&
					delivery.Status == api.HealthStatusFail && redis.LastError == redis.Output && redis.LastErrorAt != ""
			})
			if ready := hub.report(t, "/health/ready"); ready.Status != api.HealthStatusFail {
				t.Errorf("/health/ready: %+v", ready)
			}
			for _, path := range []string{"/health/live", "/health/startup"} {
				if report := hub.report(t, path); report.Status != api.HealthStatusPass {
					t.Errorf("%s: %+v", path, report)
				}
			}
			test.end(rds, proxy)
			hub.healthy(t)
			got := hub.report(t, "/health").Checks["redis"][0]
			if got.Status != api.HealthStatusPass || got.Output != "" || got.LastError == "" || got.Since <= got.LastErrorAt {
				t.Errorf("afterwards: %+v", got)
			}
			for text, want := range map[string]string{`"check":"redis","status":"fail"`: "told once", `"check":"redis","after"`: "told once that it is over"} {
				if n := strings.Count(hub.stderr.String(), text); n != 1 {
					t.Errorf("it was not %s but %d times: %s", want, n, hub.stderr)
				}
			}
		})
	}
}

// TestHealthNoticesThatDeliveriesStop has the subscribed connections hear nothing, while Redis answers all commands.
func TestHealthNoticesThatDeliveriesStop(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.Start(t))
	hub := serve(t, environment{"REDIS_URL": proxy.URL(), "HEALTH_INTERVAL": "1s"})
	hub.healthy(t)
	stream := hub.follow(t, "channel=user:1")
	proxy.Deafen()
	hub.post(t, 1, "users/1", `{"type":"test_event","id":"missed"}`)
	redistest.Eventually(t, 15*time.Second, "it is told", func() bool {
		report := hub.report(t, "/health")
		return report.Status == api.HealthStatusFail && strings.Contains(report.Checks["delivery"][0].Output, "deliveries have stopped") &&
			report.Checks["redis"][0].Status == api.HealthStatusPass
	})
	if data := line(t, stream, "data: "); !strings.Contains(data, `"missed"`) {
		t.Errorf("the stream says %s", data)
	}
	hub.healthy(t)
}

// TestHealthWhileEverythingHangs has all that the hub depends on hang together.
func TestHealthWhileEverythingHangs(t *testing.T) {
	t.Parallel()
	hung := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hung }))
	t.Cleanup(slow.Close)
	t.Cleanup(func() { close(hung) })
	main, own := redistest.Start(t), redistest.Start(t)
	hub := serve(t, environment{
		"REDIS_URL": main.URL(), "EVENTS_REDIS_URL": own.URL(), "JAVA_SERVICE_URL": slow.URL, "MENU_SOURCE_URL": slow.URL, "HEALTH_INTERVAL": "200ms",
	})
	hub.healthy(t)
	main.Pause()
	own.Pause()
	hub.awaitHealth(t, "redis", "fail", "")
	fastest := time.Hour
	for range 8 {
		for _, path := range []string{"/health", "/health/ready"} {
			began := time.Now()
			if report := hub.report(t, path); report.Status != api.HealthStatusFail {
				t.Errorf("%s: %+v", path, report)
			}
			fastest = min(fastest, time.Since(began))
		}
	}
	if fastest > 1500*time.Millisecond {
		t.Errorf("the fastest answer took %v", fastest)
	}
	for name, want := range map[string]string{"redis_main": "warn", "menus": "warn", "menu_source": "warn", "matching_service": "warn", "delivery": "fail"} {
		hub.awaitHealth(t, name, want, "")
	}
	main.Resume()
	own.Resume()
	hub.healthy(t)
}

// TestHealthWhileJavaIsAway makes the matching service fail until its breaker opens, hang, and be well again.
func TestHealthWhileJavaIsAway(t *testing.T) {
	t.Parallel()
	service := newJava(t)
	hub := serve(t, onSharedRedis(t).with("JAVA_SERVICE_URL", service.URL, "HEALTH_INTERVAL", "200ms"))
	hub.awaitHealth(t, "matching_service", "pass", "")
	service.failing.Store(true)
	redistest.Eventually(t, soon, "the breaker is open", func() bool {
		hub.coffee(t, nil)
		_, output := hub.healthOf(t, "matching_service")
		return strings.Contains(output, "its calls fail") && strings.Contains(output, "Its breaker is open.")
	})
	if report := hub.report(t, "/health"); report.Status != api.HealthStatusWarn {
		t.Errorf("%+v", report)
	}
	service.failing.Store(false)
	redistest.Eventually(t, 2*soon, "it is well again", func() bool {
		hub.coffee(t, nil)
		status, _ := hub.healthOf(t, "matching_service")
		return status == "pass"
	})
	service.Close()
	hub.awaitHealth(t, "matching_service", "warn", "does not answer, or fails: the hub matches people by itself.")
}

// TestStartupWithoutRedis checks that a hub whose Redis is away has started all the same.
func TestStartupWithoutRedis(t *testing.T) {
	t.Parallel()
	hub := serve(t, environment{"REDIS_URL": "redis://" + freeAddr(t)})
	redistest.Eventually(t, soon, "it has started", func() bool { return hub.report(t, "/health/startup").Status == api.HealthStatusPass })
	hub.awaitHealth(t, "redis", "fail", "Redis does not answer: the connection is refused.")
	hub.awaitHealth(t, "delivery", "fail", "")
	if report := hub.report(t, "/health/ready"); report.Status != api.HealthStatusFail {
		t.Errorf("/health/ready: %+v", report)
	}
}
