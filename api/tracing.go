package api

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/internal/tracing/traceparent"
)

// traced returns the middleware that makes a span of each request, in the trace that the caller names or in a new one. A span
// says the method, the route and the status: the path, the query, the headers and the bodies may say who somebody is.
func traced(provider trace.TracerProvider) echo.MiddlewareFunc {
	tracer := provider.Tracer("github.com/connectbot-hub/connecthub/api")
	kind := trace.WithSpanKind(trace.SpanKindServer)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			route := c.Path()
			if isUntraced(route) {
				return next(c)
			}
			method := methodOf(c.Request())
			req, span := begin(tracer, c.Request(), strings.TrimSuffix(method+" "+route, " "), kind)
			defer span.End()
			c.SetRequest(req)
			err := next(c)
			if !span.IsRecording() {
				return err
			}
			status := c.Response().Status
			span.SetAttributes(attribute.String("http.request.method", method), attribute.Int("http.response.status_code", status))
			if route != "" {
				span.SetAttributes(attribute.String("http.route", route))
			}
			if status >= http.StatusInternalServerError {
				span.SetStatus(codes.Error, "")
			}
			return err
		}
	}
}

// begin begins the span of a request, and returns the request as part of it.
func begin(tracer trace.Tracer, req *http.Request, name string, options ...trace.SpanStartOption) (*http.Request, trace.Span) {
	ctx := req.Context()
	if _, given := req.Header["Traceparent"]; given {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(req.Header))
	}
	ctx, span := tracer.Start(ctx, name, options...)
	return req.WithContext(ctx), span
}

// isUntraced reports whether a route is no part of anybody's work, or goes on for hours, as a stream does.
func isUntraced(route string) bool {
	return route == "/v1/stream" || route == "/metrics" || strings.HasPrefix(route, "/health")
}

// methodOf is the request's method, or what there is to say for one that HTTP does not know: names must be few.
func methodOf(req *http.Request) string {
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodTrace, http.MethodConnect:
		return req.Method
	}
	return "_OTHER"
}

// givenTrace is the trace that a caller names for what it publishes: anything, or nothing. A publisher that makes spans puts its
// own in place of it.
func givenTrace(c echo.Context) string { return c.Request().Header.Get("Traceparent") }

// traceOf is the trace that a request belongs to, for whoever goes on with it: its span, or what the caller says where nobody
// traces. It may be anything then, or nothing.
func traceOf(c echo.Context) (parent, state string) {
	if span := trace.SpanContextFromContext(c.Request().Context()); span.IsValid() {
		return traceparent.Format(span.TraceID(), span.SpanID(), byte(span.TraceFlags())), span.TraceState().String()
	}
	return givenTrace(c), strings.Join(c.Request().Header["Tracestate"], ",") // Lines of one list, as W3C Trace Context has it.
}

// traceFields name a request's trace in the log, if it has one.
func traceFields(c echo.Context) []zap.Field {
	parent, _ := traceOf(c)
	id, span := traceparent.IDs(parent)
	if id == "" {
		return nil
	}
	return []zap.Field{zap.String("trace_id", id), zap.String("span_id", span)}
}
