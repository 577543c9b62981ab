package matching

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/internal/tracing/traceparent"
)

// tracerOf returns the provider's tracer for this package, nil without a provider.
func tracerOf(provider trace.TracerProvider) trace.Tracer {
	if provider == nil {
		return nil
	}
	return provider.Tracer("github.com/connectbot-hub/connecthub/matching")
}

// trace makes a span of the attempt, in the trace that the request came with or else in one of its own. What the service and
// the events are told from then on is that span. end must be called.
func (a *attempt) trace(ctx context.Context) (_ context.Context, end func()) {
	if a.jobs.tracer == nil {
		return ctx, func() {}
	}
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{
		"traceparent": a.work.Traceparent, "tracestate": a.work.Tracestate,
	})
	ctx, span := a.jobs.tracer.Start(ctx, "process matching", trace.WithSpanKind(trace.SpanKindConsumer))
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("messaging.system", "redis"), attribute.String("messaging.operation.name", "process"),
			attribute.String("messaging.operation.type", "process"), attribute.Int("connecthub.attempt", a.job.Attempt),
		)
	}
	if made := span.SpanContext(); made.IsValid() {
		a.work.Traceparent = traceparent.Format(made.TraceID(), made.SpanID(), byte(made.TraceFlags()))
		a.work.Tracestate = made.TraceState().String()
	}
	return ctx, func() { span.End() }
}

// traceID is the request's trace for the log, if it has one.
func (a *attempt) traceID() zap.Field {
	id, _ := traceparent.IDs(a.work.Traceparent)
	if id == "" {
		return zap.Skip()
	}
	return zap.String("trace_id", id)
}
