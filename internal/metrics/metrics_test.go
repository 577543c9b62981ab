package metrics_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/connectbot-hub/connecthub/internal/metrics"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

// soon bounds what should come about at once, on a machine that is busy with other tests.
const soon = 20 * time.Second

func TestNumbersAreWellNamed(t *testing.T) {
	t.Parallel()
	m := metrics.New("1.2.3")
	m.Request(http.MethodGet, "/v1/menus/:user_id/:menu_type", 200, time.Millisecond)
	m.JavaCall("simple", true, time.Millisecond)
	m.Canary(time.Millisecond)
	problems, err := testutil.GatherAndLint(m.Gatherer())
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestRequestLabels(t *testing.T) {
	t.Parallel()
	m := metrics.New("1")
	for _, r := range []struct {
		method, route string
		status        int
	}{
		{"GET", "/v1/menus/:user_id/:menu_type", 200},
		{"GET", "/v1/menus/:user_id/:menu_type", 299},
		{"GET", "/v1/menus/:user_id/:menu_type", 304},
		{"POST", "/v1/events/global", 503},
		{"GET", "", 404},
		{"BREW", "", 405},
		{"brew-123456789", "/stats", 405},
		{"", "/stats", 0},
		{"GET", "/stats", -1},
		{"GET", "/stats", 1000},
		{"GET", "/v1/stream", 200},
	} {
		m.Request(r.method, r.route, r.status, 30*time.Millisecond)
	}
	const name = "connecthub_http_request_duration_seconds"
	want := map[string]string{
		`method="GET",route="/v1/menus/:user_id/:menu_type",status="2xx"`: "2",
		`method="GET",route="/v1/menus/:user_id/:menu_type",status="3xx"`: "1",
		`method="POST",route="/v1/events/global",status="5xx"`:            "1",
		`method="GET",route="unmatched",status="4xx"`:                     "1",
		`method="other",route="unmatched",status="4xx"`:                   "1",
		`method="other",route="/stats",status="4xx"`:                      "1",
		`method="other",route="/stats",status="other"`:                    "1",
		`method="GET",route="/stats",status="other"`:                      "2",
	}
	counted := 0
	for line := range strings.Lines(scrape(t, m.Handler(zap.NewNop()))) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		labels, found := strings.CutPrefix(series, name+"_count{")
		if !found {
			continue
		}
		counted++
		if labels = strings.TrimSuffix(labels, "}"); want[labels] != value {
			t.Errorf("%s is %s, want %q", labels, value, want[labels])
		}
	}
	if counted != len(want) {
		t.Errorf("there are %d series, want %d", counted, len(want))
	}
}

// TestMethodsTakeNoMemory sends many methods that do not exist.
func TestMethodsTakeNoMemory(t *testing.T) {
	t.Parallel()
	m := metrics.New("1")
	for n := range 1000 {
		m.Request(strings.Repeat("A", n+10), "/stats", 405, time.Millisecond)
	}
	if n, err := testutil.GatherAndCount(m.Gatherer(), "connecthub_http_request_duration_seconds"); n != 1 || err != nil {
		t.Errorf("%d series, %v", n, err)
	}
}

// TestConcurrentRequests checks that nothing is lost when requests come together, also the first ones of a route.
func TestConcurrentRequests(t *testing.T) {
	t.Parallel()
	m := metrics.New("1")
	routes := []string{"/a", "/b", "/c", "/d"}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for n := range 400 {
				m.Request(http.MethodGet, routes[n%len(routes)], 200, time.Millisecond)
			}
		})
	}
	wait.Wait()
	text := scrape(t, m.Handler(zap.NewNop()))
	for _, route := range routes {
		want := `connecthub_http_request_duration_seconds_count{method="GET",route="` + route + `",status="2xx"} 800`
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s", want)
		}
	}
}

// slow is a collector that takes its time.
type slow struct {
	desc     *prometheus.Desc
	asked    atomic.Int64
	underWay chan struct{}
	goOn     chan struct{}
}

func (s *slow) Describe(ch chan<- *prometheus.Desc) { ch <- s.desc }

func (s *slow) Collect(ch chan<- prometheus.Metric) {
	s.asked.Add(1)
	s.underWay <- struct{}{}
	<-s.goOn
	ch <- prometheus.MustNewConstMetric(s.desc, prometheus.GaugeValue, 1)
}

// TestScrapesShareTheWork scrapes at the same time, while a part does not answer: each scrape ends in time, and the part is
// asked once.
func TestScrapesShareTheWork(t *testing.T) {
	t.Parallel()
	m := metrics.New("1")
	part := &slow{
		desc:     prometheus.NewDesc("connecthub_slow", "Takes its time.", nil, nil),
		underWay: make(chan struct{}, 100), goOn: make(chan struct{}),
	}
	if err := m.Register(part); err != nil {
		t.Fatal(err)
	}
	if err := m.Register(part); err == nil {
		t.Error("the same numbers were registered twice")
	}
	handler := m.Handler(zap.NewNop())
	began := time.Now()
	var scrapes sync.WaitGroup
	for range 5 {
		scrapes.Go(func() {
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
			if recorder.Code != http.StatusServiceUnavailable {
				t.Errorf("a scrape of what does not answer is answered %d", recorder.Code)
			}
		})
	}
	<-part.underWay
	scrapes.Wait()
	if took := time.Since(began); took > soon {
		t.Errorf("the scrapes took %v", took)
	}
	if n := part.asked.Load(); n != 1 {
		t.Errorf("the part was asked %d times", n)
	}
	close(part.goOn)
	redistest.Eventually(t, soon, "the numbers are there again", func() bool {
		return strings.Contains(scrape(t, handler), "connecthub_slow 1")
	})
}

// TestWhatIsLeftOutIsAnError has a part send the same number twice.
func TestWhatIsLeftOutIsAnError(t *testing.T) {
	t.Parallel()
	m := metrics.New("1")
	if err := m.Register(twice{prometheus.NewDesc("connecthub_twice", "Comes twice.", nil, nil)}); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	if text := scrape(t, m.Handler(zap.New(core))); !strings.Contains(text, "connecthub_build_info") {
		t.Errorf("the rest is not there: %s", text)
	}
	if all := logs.All(); len(all) != 1 || all[0].Level != zapcore.ErrorLevel || !strings.Contains(all[0].Message, "connecthub_twice") {
		t.Errorf("the log: %+v", all)
	}
}

// twice is a collector with a fault.
type twice struct{ desc *prometheus.Desc }

func (t twice) Describe(ch chan<- *prometheus.Desc) { ch <- t.desc }

func (t twice) Collect(ch chan<- prometheus.Metric) {
	for range 2 {
		ch <- prometheus.MustNewConstMetric(t.desc, prometheus.GaugeValue, 1)
	}
}

// TestOpenMetrics checks that a server that asks for OpenMetrics gets it.
func TestOpenMetrics(t *testing.T) {
	t.Parallel()
	recorder := httptest.NewRecorder()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	req.Header.Set("Accept", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
	metrics.New("1.2.3").Handler(zap.NewNop()).ServeHTTP(recorder, req)
	body, kind := recorder.Body.String(), recorder.Header().Get("Content-Type")
	if !strings.HasPrefix(kind, "application/openmetrics-text") || !strings.HasSuffix(body, "# EOF\n") ||
		!strings.Contains(body, `version="1.2.3"`) || !strings.Contains(body, "go_goroutines ") || !strings.Contains(body, "process_start_time_seconds ") {
		t.Errorf("%s: %s", kind, body)
	}
}

// scrape returns what a scrape gets.
func scrape(tb testing.TB, handler http.Handler) string {
	tb.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	ctx, cancel := context.WithTimeout(tb.Context(), soon)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
	if err != nil {
		tb.Fatal(err)
	}
	client := server.Client()
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// TestRequestAllocatesNothing checks that to measure a request costs no memory: publishing does it.
func TestRequestAllocatesNothing(t *testing.T) {
	m := metrics.New("1")
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		if n := testing.AllocsPerRun(100, func() { m.Request(method, "/v1/events/global", 201, time.Millisecond) }); n != 0 {
			t.Errorf("%s takes %v allocations", method, n)
		}
	}
}
