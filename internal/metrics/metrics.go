// Package metrics keeps the hub's numbers for Prometheus: it measures how long things took, and serves those measures
// together with what the parts of the hub count themselves.
//
// Guarantee: to measure costs well under a microsecond and allocates nothing, and no label ever holds what a caller chose,
// such as a user's id. Limit: the numbers are this process's, and begin anew with it.
package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

// Metrics are the numbers of one hub. They are safe for concurrent use.
type Metrics struct {
	registry  *prometheus.Registry
	requests  *requests
	javaCalls *prometheus.HistogramVec
	canary    prometheus.Histogram
	// java has nothing but javaCalls.
	java *prometheus.Registry
}

// New makes the numbers of a hub of this version, with those of the Go runtime and of the process.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		java:     prometheus.NewRegistry(),
		requests: newRequests(),
		javaCalls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "connecthub_java_call_duration_seconds",
			Help:    "How long calls of the matching service took, with all their attempts; those refused unsent are not among them.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 20, 30},
		}, []string{"call", "outcome"}),
		canary: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "connecthub_canary_round_trip_seconds",
			Help:    "How long it took from publishing a canary event to receiving it.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "connecthub_build_info", Help: "Always 1; the labels say what runs.",
	}, []string{"version", "goversion"})
	build.WithLabelValues(version, runtime.Version()).Set(1)
	m.java.MustRegister(m.javaCalls)
	m.registry.MustRegister(
		build, m.requests.durations, m.javaCalls, m.canary,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Register adds what a part of the hub counts itself. It returns an error when there are such numbers already. The
// collector is asked by one scrape at a time, and should need no longer than a second.
func (m *Metrics) Register(c prometheus.Collector) error { return m.registry.Register(c) }

// Gatherer gathers all numbers.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// JavaCall takes note of a call of the matching service that has ended. Call must be one of a few names.
func (m *Metrics) JavaCall(call string, ok bool, took time.Duration) {
	outcome := "failed"
	if ok {
		outcome = "ok"
	}
	m.javaCalls.WithLabelValues(call, outcome).Observe(took.Seconds())
}

// JavaCalls returns how long the calls of the matching service took, by call, whether they succeeded or failed.
func (m *Metrics) JavaCalls() map[string]Distribution { return distributions(m.java, "call") }

// Canary takes note of a canary event that was received so long after it was to be published.
func (m *Metrics) Canary(roundTrip time.Duration) { m.canary.Observe(roundTrip.Seconds()) }

const (
	// scrapeTimeout bounds a scrape. It is more than what collectors may need, as one that comes late is better than none.
	scrapeTimeout = 3 * time.Second
	// mostScrapes are under way at a time. They share one gathering.
	mostScrapes = 10
)

// Handler answers scrapes, in the text format or OpenMetrics. A scrape takes 3 s at most and is then answered 503, as are
// those that come while 10 are under way; the numbers are never gathered twice at once. What cannot be gathered is left out
// and logged as an error.
func (m *Metrics) Handler(log *zap.Logger) http.Handler {
	errorLog, _ := zap.NewStdLogAt(log, zap.ErrorLevel) // It fails only for a level that does not exist.
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:            errorLog,
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: mostScrapes,
		CoalesceGather:      true,
		Timeout:             scrapeTimeout,
		EnableOpenMetrics:   true,
	})
}
