//go:build prometheus

package prometheus

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestARealPrometheus follows a hub from its start through load and an outage of its Redis.
func TestARealPrometheus(t *testing.T) {
	rds := redistest.Start(t, "--appendonly", "yes", "--maxmemory", "100mb")
	h := startHub(t, rds)
	p := startServer(t, h.metrics)

	redistest.Eventually(t, soon, "Prometheus has read the hub's numbers", func() bool {
		up, ok := p.value(`up{job="connecthub"}`)
		return ok && up == 1
	})
	_, before := get(t, "http://"+h.metrics+"/metrics")
	promtool(t, before, "check", "metrics")
	p.evaluatedAnew()
	if on := p.alerts(); len(on) > 0 {
		t.Errorf("a hub that is well has alerts: %v", on)
	}

	load(h)
	counted(t, p)
	_, after := get(t, "http://"+h.metrics+"/metrics")
	promtool(t, after, "check", "metrics")
	everyNameIsThere(t, after)
	everyExpressionIsEvaluated(t, p)
	p.fires("ConnectHubMatchingDegraded")
	p.await("somebody guesses, and Prometheus sees it", func() bool {
		h.guess()
		return p.alerts()["ConnectHubUnauthorized"] == "firing"
	})
	if strings.Contains(h.said.String(), "error gathering metrics") {
		t.Error("the hub's numbers contradict each other, as its log says")
	}

	rds.Kill()
	p.await("publishing fails, and Prometheus sees it", func() bool {
		h.call(http.MethodPost, "/v1/events/users/7", `{"type":"test.lost"}`)
		return p.alerts()["ConnectHubPublishFailing"] == "firing"
	})
	p.fires("ConnectHubRedisDown", "ConnectHubTempDataDegraded")
	if on := p.alerts(); on["ConnectHubDeliveriesStopped"] == "firing" || on["ConnectHubDown"] != "" {
		t.Errorf("a hub without Redis is taken for another trouble: %v", on)
	}
	rds.Restart()
	p.await("what was on because of Redis is off", func() bool {
		on := p.alerts()
		for _, name := range []string{"PublishFailing", "RedisDown", "TempDataDegraded", "DeliveriesStopped", "CheckFailing", "ServerErrors"} {
			if on["ConnectHub"+name] != "" {
				return false
			}
		}
		return true
	})
}

// fires waits until these alerts do.
func (s *server) fires(names ...string) {
	s.tb.Helper()
	for _, name := range names {
		s.await(name+" fires", func() bool { return s.alerts()[name] == "firing" })
	}
}

// evaluatedAnew waits until all rules were evaluated on numbers that are there now.
func (s *server) evaluatedAnew() {
	s.tb.Helper()
	since := time.Now()
	s.await("the rules are evaluated", func() bool {
		var data struct {
			Groups []struct{ LastEvaluation time.Time }
		}
		s.ask("rules", nil, &data)
		for _, group := range data.Groups {
			if !group.LastEvaluation.After(since) {
				return false
			}
		}
		return len(data.Groups) > 0
	})
}

// How much load there is. The hub's own events come on top: that it has started, and that a cache was cleared.
const (
	userEvents   = 300
	globalEvents = 100
	readers      = 3
)

// load has the hub do some of all that it can.
func load(h *hub) {
	h.tb.Helper()
	for range readers {
		h.listen("channel=global")
	}
	h.must(userEvents, http.StatusCreated, http.MethodPost, "/v1/events/users/7", `{"type":"test.user","data":{"n":#}}`)
	h.must(globalEvents, http.StatusCreated, http.MethodPost, "/v1/events/global", `{"type":"test.global"}`)
	h.must(50, http.StatusCreated, http.MethodPost, "/v1/events/services/load", `{"type":"test.service"}`)
	h.must(1, http.StatusCreated, http.MethodPost, "/v1/events/services/load", `{"type":"test.service","id":"one"}`)
	h.must(20, http.StatusCreated, http.MethodPost, "/v1/events/services/load", `{"type":"test.service","id":"one"}`)
	h.must(20, http.StatusUnprocessableEntity, http.MethodPost, "/v1/events/users/7", `{"type":"Not A Type"}`)
	h.must(100, http.StatusOK, http.MethodGet, "/v1/menus/7/main", "")
	h.must(50, http.StatusCreated, http.MethodPut, "/v1/temp/load/key#?ttl=60", `{"n":#}`)
	h.must(20, http.StatusOK, http.MethodPost, "/v1/matching/coffee/simple", `[{"id":1},{"id":2}]`)
	h.must(1, http.StatusAccepted, http.MethodPost, "/v1/matching/requests", `{"type":"coffee","users":[1,2]}`)
	h.must(1, http.StatusOK, http.MethodDelete, "/v1/users/7/cache", "")
	h.guess()
}

// guess asks without a key, which is refused; after some times as too many.
func (h *hub) guess() {
	h.tb.Helper()
	status, _ := get(h.tb, h.url+"/v1/events/types")
	if status != http.StatusUnauthorized && status != http.StatusTooManyRequests {
		h.tb.Fatalf("without a key: %d", status)
	}
}

// counted waits until Prometheus has what was done, and compares its rates.
func counted(tb testing.TB, p *server) {
	tb.Helper()
	for expr, want := range map[string]float64{
		`connecthub_events_total{scope="user", outcome="published"}`:                userEvents,
		`connecthub_events_total{scope="global", outcome="published"}`:              globalEvents,
		`connecthub_events_total{scope="service", outcome="duplicate"}`:             20,
		`connecthub_events_total{scope="user", outcome="refused"}`:                  20,
		`connecthub_stream_events_delivered_total`:                                  globalEvents * readers,
		`connecthub_streams_open`:                                                   readers,
		`sum(connecthub_cache_requests_total{outcome=~"hit|stale|miss"})`:           100,
		`connecthub_matching_answers_total{source="fallback"}`:                      20,
		`sum(connecthub_http_request_duration_seconds_count{route=~"/v1/menus.*"})`: 100,
		`connecthub_redis_up{server="main"}`:                                        1,
		`connecthub_java_breaker_state{state="closed"}`:                             0,
	} {
		var got float64
		redistest.Eventually(tb, soon, expr, func() bool {
			got, _ = p.value(expr)
			return got >= want
		})
		// The hub has a few events and calls of its own.
		if got > want*1.1+2 {
			tb.Errorf("%s is %v, want about %v", expr, got, want)
		}
	}
	// Prometheus guesses what lies between and beyond its samples.
	expr := `sum(increase(connecthub_events_total{outcome="published"}[2m]))`
	const sent = userEvents + globalEvents + 51
	if got, _ := p.value(expr); got < sent/2 || got > sent*2 {
		tb.Errorf("%s is %v, and %d were sent", expr, got, sent)
	}
	expr = `histogram_quantile(0.99, sum by (le) (rate(connecthub_http_request_duration_seconds_bucket{route="/v1/events/users/:user_id"}[2m])))`
	if got, _ := p.value(expr); got <= 0 || got > 5 {
		tb.Errorf("%s is %v", expr, got)
	}
}

// everyNameIsThere checks that the dashboard and the rules ask for numbers that the hub has.
func everyNameIsThere(tb testing.TB, metrics string) {
	tb.Helper()
	used := make(map[string]string) // by whom
	for _, p := range panels(tb) {
		for _, target := range p.Targets {
			for _, name := range metricName.FindAllString(target.Expr, -1) {
				used[name] = "the panel " + p.Title
			}
		}
	}
	for _, a := range alerts(tb) {
		for _, name := range metricName.FindAllString(a.Expr, -1) {
			used[name] = a.Alert
		}
	}
	delete(used, "connecthub_tls_certificate_expiry_timestamp_seconds") // Which this hub, without TLS, has not.
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if !strings.Contains(metrics, "\n"+name+"{") && !strings.Contains(metrics, "\n"+name+" ") {
			tb.Errorf("%s asks for %s, which the hub does not have", used[name], name)
		}
	}
}

// everyExpressionIsEvaluated has Prometheus do so with those of the dashboard, which must have a value, and of the rules.
func everyExpressionIsEvaluated(tb testing.TB, s *server) {
	tb.Helper()
	for _, p := range panels(tb) {
		for i, target := range p.Targets {
			name := fmt.Sprintf("%s %c", p.Title, 'A'+i)
			expr := filled(target.Expr)
			s.await(fmt.Sprintf("the panel %s shows something: %s", name, expr), func() bool { return len(s.query(expr)) > 0 })
		}
	}
	for _, a := range alerts(tb) {
		s.query(a.Expr)
	}
}
