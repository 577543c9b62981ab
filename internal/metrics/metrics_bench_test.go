package metrics_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/internal/metrics"
)

// BenchmarkRequest is what each request pays.
func BenchmarkRequest(b *testing.B) {
	m := metrics.New("1")
	for n := range 200 {
		m.Request(http.MethodGet, "/v1/other/"+strconv.Itoa(n), 200, time.Millisecond)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Request(http.MethodPost, "/v1/events/users/:user_id", 201, 3*time.Millisecond)
		}
	})
}

// BenchmarkScrape is what a scrape costs after every route was used.
func BenchmarkScrape(b *testing.B) {
	m := metrics.New("1")
	for n := range 80 {
		for _, status := range []int{200, 404, 503} {
			m.Request(http.MethodGet, "/v1/some/"+strconv.Itoa(n), status, time.Millisecond)
		}
	}
	handler := m.Handler(zap.NewNop())
	b.ReportAllocs()
	for b.Loop() {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/metrics", nil))
		if _, err := io.Copy(io.Discard, recorder.Body); err != nil || recorder.Code != http.StatusOK {
			b.Fatal(recorder.Code, err)
		}
	}
}
