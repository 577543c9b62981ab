package javaclient

import (
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// tracerOf returns the provider's tracer for this package, nil without a provider.
func tracerOf(provider trace.TracerProvider) trace.Tracer {
	if provider == nil {
		return nil
	}
	return provider.Tracer("github.com/connectbot-hub/connecthub/javaclient")
}

// begin makes a span of an attempt that belongs to a trace, and returns the request that tells the service of it. The span has
// the call and how it ended, and nothing of what is asked and answered. It returns a nil span when there is nothing to trace.
func (a *attempt) begin(req *http.Request, ex *exchange) (*http.Request, trace.Span) {
	if a.tracer == nil || !trace.SpanContextFromContext(req.Context()).IsValid() {
		return req, nil
	}
	ctx, span := a.tracer.Start(req.Context(), ex.method+" /"+ex.path, trace.WithSpanKind(trace.SpanKindClient))
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("http.request.method", ex.method), attribute.String("url.template", "/"+ex.path),
			attribute.String("server.address", req.URL.Hostname()),
		)
	}
	req = req.WithContext(ctx)
	req.Header = req.Header.Clone() // Two attempts may be under way.
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(req.Header))
	return req, span
}

// end ends the span of an attempt, if there is one.
func end(span trace.Span, err *Error) {
	if span == nil {
		return
	}
	if err != nil {
		span.SetStatus(codes.Error, "")
		span.SetAttributes(attribute.String("error.type", string(err.Code)))
	}
	span.End()
}
