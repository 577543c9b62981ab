package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// BenchmarkTracedPublish publishes from many callers at once, without and with traces.
func BenchmarkTracedPublish(b *testing.B) {
	for _, test := range []struct {
		name    string
		sampler sdktrace.Sampler
	}{
		{"off", nil},
		{"sampled=0%", sdktrace.ParentBased(sdktrace.NeverSample())},
		{"sampled=1%", sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.01))},
		{"sampled=100%", sdktrace.ParentBased(sdktrace.AlwaysSample())},
	} {
		b.Run(test.name, func(b *testing.B) {
			var o options
			if test.sampler != nil {
				provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(test.sampler), sdktrace.WithBatcher(tracetest.NewNoopExporter()))
				b.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
				o.api.Tracing = provider
			}
			h := startHub(b, o)
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					req := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "http://127.0.0.1/v1/events/users/123", strings.NewReader(`{"type":"tick","data":{"n":1}}`))
					req.Header.Set("Content-Type", "application/json")
					answer := httptest.NewRecorder()
					h.server.Handler().ServeHTTP(answer, req)
					if answer.Code != http.StatusCreated {
						b.Errorf("answered %d %s", answer.Code, answer.Body)
						return
					}
				}
			})
		})
	}
}
