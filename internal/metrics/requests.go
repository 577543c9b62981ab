package metrics

import (
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// requests are how long requests over HTTP took.
type requests struct {
	durations *prometheus.HistogramVec
	// known finds the histogram of a request without a lock and without making anything. It is replaced, never changed: soon
	// after the start it has all there are.
	known atomic.Pointer[map[request]prometheus.Observer]
	mu    sync.Mutex // for whoever replaces it
}

// request is what of a request the labels tell.
type request struct {
	method, route string
	class         int
}

func newRequests() *requests {
	r := &requests{durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "connecthub_http_request_duration_seconds",
		Help:    "How long requests took, from their header to the end of the answer. Streams are not among them.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"method", "route", "status"})}
	r.known.Store(&map[request]prometheus.Observer{})
	return r
}

// streamRoute is the route of streams, which take as long as their readers like.
const streamRoute = "/v1/stream"

// Request takes note of a request that was answered. Route is one of the server's own, such as /v1/menus/:user_id, never a
// path; "" when there is none, which the label calls unmatched. A method that HTTP does not know is called other. Streams are
// left out.
func (m *Metrics) Request(method, route string, status int, took time.Duration) {
	if route == streamRoute {
		return
	}
	m.requests.of(request{method, route, status / 100}).Observe(took.Seconds())
}

// of returns the histogram of such requests.
func (r *requests) of(req request) prometheus.Observer {
	if durations, ok := (*r.known.Load())[req]; ok {
		return durations
	}
	labels := request{knownMethod(req.method), knownRoute(req.route), req.class}
	durations := r.durations.WithLabelValues(labels.method, labels.route, statusClass(req.class))
	if labels.method != req.method {
		return durations // What a caller made up is not remembered.
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	known := maps.Clone(*r.known.Load())
	known[req] = durations
	r.known.Store(&known)
	return durations
}

func knownRoute(route string) string {
	if route == "" {
		return "unmatched"
	}
	return route
}

func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return method
	}
	return "other"
}

func statusClass(class int) string {
	if classes := [...]string{"", "1xx", "2xx", "3xx", "4xx", "5xx"}; class > 0 && class < len(classes) {
		return classes[class]
	}
	return "other"
}
