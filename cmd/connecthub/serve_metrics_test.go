package main

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// measured returns the environment of a hub whose metrics can be read.
func measured(env environment) environment { return env.with("METRICS_ADDR", "127.0.0.1:0") }

var metricsAt = regexp.MustCompile(`metrics and profiles are served to this machine","address":"([^"]+)"`)

// scrape returns what Prometheus gets.
func (s *server) scrape(tb testing.TB) string {
	tb.Helper()
	var found []string
	redistest.Eventually(tb, soon, "metrics are served", func() bool {
		found = metricsAt.FindStringSubmatch(s.stderr.String())
		return found != nil
	})
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "http://"+found[1]+"/metrics", nil)
	if err != nil {
		tb.Fatal(err)
	}
	status, body := send(tb, req)
	if status != http.StatusOK {
		tb.Fatalf("a scrape is answered %d: %s", status, body)
	}
	return body
}

// series are the values of a scrape by name and labels, without the connecthub_ in front.
type series map[string]float64

func (s *server) series(tb testing.TB) series {
	tb.Helper()
	values := series{}
	for line := range strings.Lines(s.scrape(tb)) {
		line, ours := strings.CutPrefix(strings.TrimSpace(line), "connecthub_")
		if !ours {
			continue
		}
		name, text, _ := cutLast(line, " ")
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			tb.Fatalf("%s: %v", line, err)
		}
		values[name] = value
	}
	return values
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// sameNumbers are the series of /metrics that tell what /stats tells as long as that did not begin anew.
func sameNumbers() map[string]string {
	same := map[string]string{
		`streams_open`: "streams.open", `stream_channels`: "streams.channels", `streams_opened_total`: "streams.opened",
		`streams_resumed_total`: "streams.resumed", `streams_cut_total`: "streams.cut_slow", `stream_gaps_total`: "streams.gaps",
		`stream_events_delivered_total`: "streams.delivered", `subscription_reconnects_total`: "streams.resubscribed",
		`events_bridged_total{outcome="taken_up"}`: "events.bridged", `events_bridged_total{outcome="seen"}`: "events.bridged_before",
		`events_bridged_total{outcome="ignored"}`:              "events.ignored",
		`cache_requests_total{cache="menus",outcome="miss"}`:   "caches.menus.misses",
		`cache_requests_total{cache="menus",outcome="stale"}`:  "caches.menus.stale",
		`cache_requests_total{cache="menus",outcome="bypass"}`: "caches.menus.bypassed",
		`cache_requests_total{cache="menus",outcome="hit"}`:    "caches.menus.hits", // None is stale.
		`cache_builds_total{cache="menus"}`:                    "caches.menus.builds",
		`cache_entries{cache="menus"}`:                         "caches.menus.entries_local",
		`cache_bytes{cache="menus"}`:                           "caches.menus.bytes_local",
		`temp_operations_total{operation="writes"}`:            "temp_data.operations.writes",
		`temp_operations_total{operation="reads"}`:             "temp_data.operations.reads",
		`temp_operations_total{operation="abandoned"}`:         "temp_data.operations.abandoned",
		`temp_keys{namespace="sessions"}`:                      "temp_data.keys.sessions",
		`temp_keys{namespace="user_*"}`:                        "temp_data.keys.user_*",
		`matching_answers_total{source="java"}`:                "matching.calls.java",
		`matching_answers_total{source="fallback"}`:            "matching.calls.fallback",
		`matching_jobs_total{outcome="accepted"}`:              "matching.jobs.accepted",
		`matching_jobs_waiting`:                                "matching.jobs.waiting",
		`matching_jobs_dead`:                                   "matching.jobs.dead",
		`java_failures_total{code="server_error"}`:             "matching.calls.service_failed_server_error",
		`java_retries_total`:                                   "matching.calls.service_retries",
		`java_hedges_total`:                                    "matching.calls.service_hedges",
		`java_breaker_opened_total`:                            "matching.calls.breaker_opened",
		`redis_memory_max_bytes{server="main"}`:                "redis.main.maxmemory",
	}
	for _, scope := range []string{"user", "global", "service"} {
		for label, name := range map[string]string{
			"published": "published", "duplicate": "duplicates", "failed": "failed", "refused": "refused",
		} {
			same[`events_total{outcome="`+label+`",scope="`+scope+`"}`] = "events_by_scope." + scope + "." + name
		}
	}
	return same
}

// TestNumbersMove does some of everything, and looks at how the numbers move.
func TestNumbersMove(t *testing.T) {
	t.Parallel()
	service := newJava(t)
	env := measured(onSharedRedis(t).with("JAVA_SERVICE_URL", service.URL, "MATCHING_FALLBACK", "on"))
	hub := serve(t, env)
	hub.awaitHealth(t, "menus", "pass", "")
	before, beforeStats := hub.series(t), hub.stats(t)

	hub.post(t, 2, "users/1", `{"type":"x"}`)
	hub.post(t, 3, "users/1", `{"type":"x","id":"the-same"}`)
	hub.post(t, 1, "services/billing", `{"type":"x"}`)
	hub.send(t, http.MethodPost, "/v1/events/users/1", `{"type":"No type"}`, http.StatusUnprocessableEntity)
	hub.send(t, http.MethodPost, "/v1/events/services/billing", `{`, http.StatusBadRequest)
	lines := hub.follow(t, "channel=user:1&last_event_id=earliest")
	for range 3 {
		line(t, lines, "data: ")
	}
	hub.follow(t, "channel=user:1&last_event_id="+line(t, hub.follow(t, "channel=user:1"), "id: "))
	for range 3 {
		hub.menu(t, "123/main")
	}
	hub.send(t, http.MethodPut, "/v1/temp/sessions/a", `1`, http.StatusCreated)
	hub.send(t, http.MethodPut, "/v1/temp/of-a-caller/a", `1`, http.StatusCreated)
	hub.send(t, http.MethodPut, "/v1/users/7654321/temp/a", `1`, http.StatusCreated)
	hub.send(t, http.MethodGet, "/v1/temp/sessions/a", "", http.StatusOK)
	hub.send(t, http.MethodGet, "/v1/temp/sessions/b", "", http.StatusNotFound)
	hub.coffee(t, nil)
	service.failing.Store(true)
	hub.coffee(t, nil)

	after, afterStats := hub.series(t), hub.stats(t)
	for name, want := range map[string]float64{
		`events_total{outcome="published",scope="user"}`:                   3,
		`events_total{outcome="duplicate",scope="user"}`:                   2,
		`events_total{outcome="refused",scope="user"}`:                     1,
		`events_total{outcome="published",scope="service"}`:                1,
		`events_total{outcome="refused",scope="service"}`:                  1,
		`events_total{outcome="failed",scope="user"}`:                      0,
		`streams_opened_total`:                                             3,
		`streams_resumed_total`:                                            1,
		`streams_open`:                                                     3,
		`stream_channels`:                                                  1,
		`stream_events_delivered_total`:                                    3,
		`cache_requests_total{cache="menus",outcome="miss"}`:               1,
		`cache_requests_total{cache="menus",outcome="hit"}`:                2,
		`cache_builds_total{cache="menus"}`:                                1,
		`temp_operations_total{operation="writes"}`:                        3,
		`temp_operations_total{operation="reads"}`:                         2,
		`temp_keys{namespace="sessions"}`:                                  1,
		`temp_keys{namespace="user_*"}`:                                    1,
		`temp_keys{namespace="others"}`:                                    1,
		`matching_answers_total{source="java"}`:                            1,
		`matching_answers_total{source="fallback"}`:                        1,
		`java_call_duration_seconds_count{call="simple",outcome="ok"}`:     1,
		`java_call_duration_seconds_count{call="simple",outcome="failed"}`: 1,
		`java_failures_total{code="server_error"}`:                         1,
		`http_requests_total{code="201"}`:                                  9,
		`http_requests_total{code="422"}`:                                  1,
		`http_requests_total{code="400"}`:                                  1,
		`http_requests_total{code="404"}`:                                  1,
		`http_request_duration_seconds_count{method="POST",route="/v1/events/users/:user_id",status="2xx"}`:   5,
		`http_request_duration_seconds_count{method="POST",route="/v1/events/users/:user_id",status="4xx"}`:   1,
		`http_request_duration_seconds_count{method="GET",route="/v1/temp/:namespace/:key",status="4xx"}`:     1,
		`http_request_duration_seconds_count{method="PUT",route="/v1/users/:user_id/temp/:key",status="2xx"}`: 1,
		`http_request_duration_seconds_count{method="GET",route="/v1/stream",status="2xx"}`:                   0,
		`temp_degraded`: 0,
	} {
		if got := after[name] - before[name]; got != want {
			t.Errorf("%s moved by %v, want %v", name, got, want)
		}
	}
	for name, want := range map[string]float64{
		"matching.latencies.simple.count": 2, "requests.client_errors": 3, "requests.server_errors": 0,
	} {
		if got := afterStats[name] - beforeStats[name]; got != want {
			t.Errorf("%s moved by %v, want %v", name, got, want)
		}
	}
	redistest.Eventually(t, soon, "both tell the same", func() bool { // The hub may publish something itself in between.
		for name, where := range sameNumbers() {
			got, told := after[name]
			if want, known := afterStats[where]; !told || !known || got != want {
				t.Logf("%s is %v, %t, and %s is %v, %t", name, got, told, where, want, known)
				after, afterStats = hub.series(t), hub.stats(t)
				return false
			}
		}
		return true
	})
	for name, want := range map[string]float64{
		`java_breaker_state{state="closed"}`: 1, `java_breaker_state{state="open"}`: 0, `java_breaker_state{state="half_open"}`: 0,
		`redis_up{server="main"}`: 1, `matching_jobs_dead`: 0, `temp_keys{namespace="conversations"}`: 0,
	} {
		if got, told := after[name]; !told || got != want {
			t.Errorf("%s is %v, %t, want %v", name, got, told, want)
		}
	}

	// What Prometheus reads goes on.
	hub.resetStats(t)
	anew := hub.series(t)
	for name, was := range after {
		if strings.Contains(name, "_total") && anew[name] < was {
			t.Errorf("%s was %v and is %v", name, was, anew[name])
		}
	}
}

// send sends a request whose answer must have this status.
func (s *server) send(tb testing.TB, method, path, body string, want int, header ...string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	if status, text := send(tb, req); want != 0 && status != want {
		tb.Fatalf("%s %s is answered %d, want %d: %s", method, path, status, want, text)
	}
}

// TestMetricsAreWellNamed has Prometheus' own linter look at them.
func TestMetricsAreWellNamed(t *testing.T) {
	t.Parallel()
	service := newJava(t)
	hub := serve(t, measured(onSharedRedis(t).with("JAVA_SERVICE_URL", service.URL)))
	hub.healthy(t)
	hub.coffee(t, nil)
	text := hub.scrape(t)
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	for _, m := range collected() {
		name := "connecthub_" + m.name
		known := strings.Contains(text, "\n# TYPE "+name+" ")
		if strings.HasPrefix(m.name, "java_failures") || m.name == certificateExpiry {
			continue // None failed, and there is no TLS.
		}
		if !known {
			t.Errorf("there is no %s", name)
		}
	}
}

// TestNoLabelHoldsWhatCallersChose sends names that can be told again, wherever a caller may, and looks for them in the
// metrics.
func TestNoLabelHoldsWhatCallersChose(t *testing.T) {
	t.Parallel()
	const name, id = "zanzibar", "7654321"
	hub := serve(t, measured(onSharedRedis(t)))
	hub.healthy(t)
	event := `{"type":"` + name + `.x","source":"` + name + `","correlation_id":"` + name + `","data":{"` + name + `":` + id + `}}`
	for _, path := range []string{
		"/v1/events/users/" + id, "/v1/events/services/" + name, "/v1/events/users/" + name, "/v1/events/nobody/" + name,
		"/" + name, "/v1/temp/" + name + "/" + name, "/v1/users/" + id + "/temp/" + name, "/v1/users/" + id + "/forms/" + name + "/steps/" + name,
		"/v1/menus/" + id + "/" + name, "/v1/menus/" + id + "/main", "/v1/menus/callbacks/" + name, "/v1/conversations/" + name + "/messages",
		"/v1/users/" + id + "/lease", "/v1/matching/requests/" + name, "/v1/matching/coffee/simple", "/v1/users/" + id + "/cache",
		"/v1/stream/" + name + "?" + name + "=" + name, "/v1/events?channel=user:" + id, "/metrics/" + name, "/stats/" + name,
	} {
		for _, method := range []string{"GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "BREW", strings.ToUpper(name)} {
			hub.send(t, method, path, event, 0, "Idempotency-Key: "+name+method+path[:3], "X-Request-ID: "+name, "User-Agent: "+name, "If-Match: \""+name+"\"")
		}
	}
	hub.follow(t, "channel=user:"+id+"&channel=service:"+name)
	text := hub.scrape(t)
	if lower := strings.ToLower(text); strings.Contains(lower, name) || strings.Contains(lower, id) {
		for line := range strings.Lines(lower) {
			if strings.Contains(line, name) || strings.Contains(line, id) {
				t.Errorf("a caller finds itself in %s", line)
			}
		}
	}
	for _, want := range []string{`route="unmatched"`, `method="other"`, `route="/v1/menus/:user_id/:menu_type"`} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s", want)
		}
	}
}

// TestScrapesWhileRedisHangs checks that what is known is told in time, by several scrapes at once too, and that what nobody
// knows is left out.
func TestScrapesWhileRedisHangs(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	hub := serve(t, measured(on(redis)))
	hub.healthy(t)
	hub.post(t, 2, "users/1", `{"type":"x"}`)
	redis.Pause()
	defer redis.Resume()
	const enough = 5 * time.Second // For what should take one, on a machine that is busy.
	var asking sync.WaitGroup
	for range 3 {
		asking.Go(func() {
			began := time.Now()
			got := hub.series(t)
			if took := time.Since(began); took > enough {
				t.Errorf("the scrape took %v", took)
			}
			for name, want := range map[string]float64{
				`redis_up{server="main"}`: 0, `events_total{outcome="published",scope="user"}`: 2, `streams_open`: 0,
			} {
				if value, told := got[name]; !told || value != want {
					t.Errorf("%s is %v, %t, want %v", name, value, told, want)
				}
			}
			for _, name := range []string{
				`temp_keys{namespace="sessions"}`, `matching_jobs_waiting`, `redis_memory_used_bytes{server="main"}`,
				`redis_commands_processed_total{server="main"}`,
			} {
				if value, told := got[name]; told {
					t.Errorf("%s is told as %v", name, value)
				}
			}
		})
		asking.Go(func() {
			began := time.Now()
			shown := hub.stats(t)
			if took := time.Since(began); took > enough {
				t.Errorf("/stats took %v", took)
			}
			_, waiting := shown["matching.jobs.waiting"]
			_, told := shown["redis.main.used_memory"]
			if waiting || told || shown["events_by_scope.user.published"] != 2 {
				t.Errorf("/stats says %v", shown)
			}
		})
	}
	asking.Wait()
	redis.Resume()
	redistest.Eventually(t, soon, "all is told again", func() bool {
		got := hub.series(t)
		_, told := got[`temp_keys{namespace="sessions"}`]
		return told && got[`redis_up{server="main"}`] == 1 && got[`redis_memory_used_bytes{server="main"}`] > 0
	})
}

// TestRequestsAreCountedWithoutMetrics checks that /stats counts requests also where nobody serves metrics.
func TestRequestsAreCountedWithoutMetrics(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t).with("METRICS_ADDR", "off"))
	before := hub.stats(t)
	hub.send(t, http.MethodGet, "/nothing", "", http.StatusNotFound)
	after := hub.stats(t)
	for name, want := range map[string]float64{"requests.total": 2, "requests.client_errors": 1} {
		if got := after[name] - before[name]; got != want {
			t.Errorf("%s moved by %v, want %v", name, got, want)
		}
	}
}
