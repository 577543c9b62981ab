package tracing

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/connectbot-hub/connecthub/internal/tracing/traceparent"
)

// instrumentation names what makes the spans of this package.
const instrumentation = "github.com/connectbot-hub/connecthub/internal/tracing"

// Publishing returns what makes a span of the publishing of an event, for a scope such as user: never the channel, which may
// name a person. It is for calls on behalf of what is traced already: for others it returns "" and makes no span. end must
// be called once, with the error of the publishing or nil. It is safe for concurrent use.
func Publishing(provider trace.TracerProvider) func(ctx context.Context, scope string) (parent string, end func(error)) {
	tracer := provider.Tracer(instrumentation)
	nothing := func(error) {}
	return func(ctx context.Context, scope string) (string, func(error)) {
		caller := trace.SpanFromContext(ctx)
		if !caller.IsRecording() {
			return Traceparent(caller.SpanContext()), nothing
		}
		_, span := tracer.Start(ctx, "publish "+scope, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
			attribute.String("messaging.system", "redis"), attribute.String("messaging.operation.name", "publish"),
			attribute.String("messaging.operation.type", "send"), attribute.String("messaging.destination.name", scope),
		))
		return Traceparent(span.SpanContext()), func(err error) {
			if err != nil {
				span.SetStatus(codes.Error, "")
			}
			span.End()
		}
	}
}

// Traceparent writes a span's context, "" when it is not valid.
func Traceparent(span trace.SpanContext) string {
	if !span.IsValid() {
		return ""
	}
	return traceparent.Format(span.TraceID(), span.SpanID(), byte(span.TraceFlags()))
}

// Redis returns a hook for a client, of which server says which one it is. It makes a span of each command and pipeline that is
// sent on behalf of a span that is recorded, and of nothing else, so that it costs next to nothing for all the others. A
// span says the command's name and how it failed, and nothing of its arguments and of what Redis says.
func Redis(provider trace.TracerProvider, server string) redis.Hook {
	return newRedisHook(provider, server)
}

func newRedisHook(provider trace.TracerProvider, server string) *redisHook {
	return &redisHook{
		tracer: provider.Tracer(instrumentation),
		options: []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
			attribute.String("db.system.name", "redis"), attribute.String("connecthub.redis", server),
		)},
	}
}

// Waiting returns what makes a span of the wait for a round trip that the commands of many callers share, on behalf of a span
// that is recorded and of nothing else. end must be called once, with whether Redis was away. It is safe for concurrent use.
func Waiting(provider trace.TracerProvider, server string) func(ctx context.Context) (end func(away bool)) {
	h := newRedisHook(provider, server)
	nothing := func(bool) {}
	return func(ctx context.Context) func(bool) {
		if !trace.SpanFromContext(ctx).IsRecording() {
			return nothing
		}
		_, span := h.tracer.Start(ctx, "PIPELINE", h.options...)
		return func(away bool) {
			if away {
				span.SetStatus(codes.Error, "")
				span.SetAttributes(attribute.String("error.type", "connection"))
			}
			span.End()
		}
	}
}

type redisHook struct {
	tracer  trace.Tracer
	options []trace.SpanStartOption
}

// DialHook implements redis.Hook.
func (h *redisHook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (h *redisHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if !trace.SpanFromContext(ctx).IsRecording() {
			return next(ctx, cmd)
		}
		name := strings.ToUpper(cmd.Name())
		ctx, span := h.tracer.Start(ctx, name, h.options...)
		defer span.End()
		span.SetAttributes(attribute.String("db.operation.name", name))
		err := next(ctx, cmd)
		failed(span, err)
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (h *redisHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if len(cmds) == 0 || !trace.SpanFromContext(ctx).IsRecording() {
			return next(ctx, cmds)
		}
		name := "PIPELINE"
		first := cmds[0].Name()
		same := true
		for _, cmd := range cmds {
			same = same && cmd.Name() == first
		}
		if same {
			name += " " + strings.ToUpper(first)
		}
		ctx, span := h.tracer.Start(ctx, name, h.options...)
		defer span.End()
		span.SetAttributes(attribute.String("db.operation.name", name), attribute.Int("db.operation.batch.size", len(cmds)))
		err := next(ctx, cmds)
		failed(span, err)
		return err
	}
}

// failed says of a span how it failed, if it did: that there is no such key, or no such script yet, is no failure.
func failed(span trace.Span, err error) {
	var answer redis.Error
	kind := "connection"
	switch {
	case err == nil, errors.Is(err, redis.Nil), redis.HasErrorPrefix(err, "NOSCRIPT"):
		return
	case errors.Is(err, context.Canceled):
		kind = "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		kind = "timeout"
	case errors.As(err, &answer):
		// The first word is a code, what follows may be data.
		kind, _, _ = strings.Cut(answer.Error(), " ")
		if strings.Trim(kind, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			kind = "ERR"
		}
	}
	span.SetStatus(codes.Error, "")
	span.SetAttributes(attribute.String("error.type", kind))
}
