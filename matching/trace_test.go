package matching_test

import (
	"context"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/connectbot-hub/connecthub/javaclient"
	"github.com/connectbot-hub/connecthub/matching"
)

const traceID = "0af7651916cd43dd8448eb211c80319c"

// TestTheTraceOfARequest passes it on to the service and in the events, whether the request is answered or given up.
func TestTheTraceOfARequest(t *testing.T) {
	const parent = "00-" + traceID + "-b7ad6b7169203331-01"
	for body, state := range map[string]matching.State{
		`{"users":[1,2,3,4]}`: matching.Completed, `{"users":"all"}`: matching.Failed,
	} {
		h := start(t, options{})
		event := `{"id":"e1","type":"matching.request","data":` + body + `,"traceparent":"` + parent + `"}`
		if err := h.jobs.Accept(t.Context(), []byte(event)); err != nil {
			t.Fatal(err)
		}
		h.await(t, "e1", state)
		told := h.told.of(0)
		if state == matching.Completed {
			told = append(told, h.told.of(1)...)
		}
		for _, e := range told {
			if e.Traceparent != parent {
				t.Errorf("%s is told with the trace %q", e.Type, e.Traceparent)
			}
		}
		if len(told) == 0 || state == matching.Completed && h.java.header("traceparent") != parent {
			t.Errorf("%d events are told, and the service got %q", len(told), h.java.header("traceparent"))
		}
	}
}

// TestASpanOfARequest makes one even when the request has no trace of its own.
func TestASpanOfARequest(t *testing.T) {
	kept := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(kept))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	h := start(t, options{tracing: provider, client: javaclient.Config{Tracing: provider}})
	status, err := h.jobs.Request(t.Context(), matching.Terms{}, []byte(`{"users":[1,2]}`))
	if err != nil {
		t.Fatal(err)
	}
	h.await(t, status.RequestID, matching.Completed)
	told := h.told.of(0)
	sent := h.java.header("traceparent")
	h.stop() // Only then the span of the attempt has ended for certain.
	all := kept.GetSpans()
	if len(all) != 2 || all[0].Parent.SpanID() != all[1].SpanContext.SpanID() {
		t.Fatalf("the spans are %+v", all)
	}
	call, job := all[0].SpanContext, all[1].SpanContext
	if !strings.Contains(sent, call.SpanID().String()) || len(told) != 1 || !strings.Contains(told[0].Traceparent, job.SpanID().String()) {
		t.Errorf("the service got %q, told is %+v", sent, told)
	}
}
