package javaclient_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/connectbot-hub/connecthub/javaclient"
)

// TestSpans makes one of each attempt, of which the service is told.
func TestSpans(t *testing.T) {
	t.Parallel()
	kept := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(kept))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	var sent []string
	keep := func(then http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			sent = append(sent, r.Header.Get("Traceparent")+" "+r.Header.Get("Tracestate"))
			then(w, r)
		}
	}
	pairs := answer(200, `{"pairs":[],"user":"`+secret+`"}`)
	server := serve(t, inTurn(
		keep(answer(503, `{"error":"`+secret+`"}`)), keep(answer(200, `{"algorithms":["a"]}`)), // The list, twice.
		keep(pairs), keep(pairs), keep(answer(200, `{"status":"OK"}`)),
	))
	cfg := patient(server.URL)
	cfg.Tracing, cfg.Token, cfg.HedgeAfter = provider, secret, -1
	client := newClient(t, cfg)
	call := javaclient.Call{RequestID: secret, Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Tracestate: "a=1"}
	state, err := trace.ParseTraceState("b=2")
	if err != nil {
		t.Fatal(err)
	}
	ctx := trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, TraceState: state,
	}))
	if _, err := client.Algorithms(ctx, call); err != nil {
		t.Fatal(err)
	}
	people := []javaclient.Employee{{ID: 4711471147, DisplayName: secret}}
	if _, err := client.Interest(ctx, call, secret, people); err != nil {
		t.Fatal(err)
	}
	all := kept.GetSpans()
	if len(all) != 3 {
		t.Fatalf("the spans are %+v", all)
	}
	for n, want := range []struct{ name, says string }{
		{"GET /api/matching/algorithms", "503"}, {"GET /api/matching/algorithms", "200"}, {"POST /api/matching/coffee/interest", "200"},
	} {
		span := all[n]
		text := fmt.Sprint(span.Attributes, span.Events, span.Status)
		if span.Name != want.name || span.SpanKind != trace.SpanKindClient || !strings.Contains(text, want.says) ||
			(span.Status.Code == codes.Error) != (n == 0) || span.Parent.SpanID() != (trace.SpanID{2}) {
			t.Errorf("span %d is %+v", n, span)
		}
		if strings.Contains(text, secret) || strings.Contains(text, "4711471147") {
			t.Errorf("span %d says %s", n, text)
		}
		if got := "00-" + span.SpanContext.TraceID().String() + "-" + span.SpanContext.SpanID().String() + "-01 b=2"; sent[n] != got {
			t.Errorf("the service was sent %q, not %q", sent[n], got)
		}
	}

	// What belongs to no trace that the client knows makes no span.
	if _, err := client.Simple(t.Context(), call, people); err != nil {
		t.Fatal(err)
	}
	if err := client.Health(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(kept.GetSpans()) != 3 || !slices.Equal(sent[3:], []string{call.Traceparent + " a=1", " "}) {
		t.Errorf("there are %d spans, and the service was sent %q", len(kept.GetSpans()), sent[3:])
	}
}
