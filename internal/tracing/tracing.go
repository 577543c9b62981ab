// Package tracing sends spans to where the standard OTEL_ variables say, and makes those of Redis and of publishing.
//
// Guarantee: what is traced never waits for a collector. Spans gather in a bounded queue in memory; the SDK drops those that
// find it full, and those that a collector does not take within some tens of seconds. Limit: nobody counts them.
package tracing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config is what Start needs beside the environment of the process.
type Config struct {
	// Version is the version of the hub.
	Version string
	// Lookup returns an OTEL_ variable, "" for one that is not set. The SDK reads most of them by itself, from the
	// environment of the process, which must say the same. Required.
	Lookup func(name string) string
	// Console is where OTEL_TRACES_EXPORTER=console writes, one line of JSON for each span. Required for that.
	Console io.Writer
	// FlushFor bounds how long stop sends what is left. Default 5 s.
	FlushFor time.Duration
}

// The variables that are read here. The rest is the SDK's business.
const (
	disabledVariable = "OTEL_SDK_DISABLED"
	exporterVariable = "OTEL_TRACES_EXPORTER"
	endpointVariable = "OTEL_EXPORTER_OTLP_ENDPOINT"
	protocolVariable = "OTEL_EXPORTER_OTLP_PROTOCOL"
	insecureVariable = "OTEL_EXPORTER_OTLP_INSECURE"
	headersVariable  = "OTEL_EXPORTER_OTLP_HEADERS"
	samplerVariable  = "OTEL_TRACES_SAMPLER"
	resourceVariable = "OTEL_RESOURCE_ATTRIBUTES"
)

// ofTraces returns the variable that overrides another for traces alone.
func ofTraces(name string) string {
	return strings.Replace(name, "OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_", 1)
}

// Start returns a provider of tracers, nil when the variables do not ask for traces, which they do not by default. stop sends what
// is left and ends all that Start began, within Config.FlushFor, whether the collector answers or not; it must be called once,
// and may be when there is no provider. Start does no I/O; its errors name the variable that is wrong.
func Start(ctx context.Context, cfg Config) (provider trace.TracerProvider, stop func(), err error) {
	nothing := func() {}
	kind, err := kindOf(cfg.Lookup)
	if err != nil || kind == "" {
		return nil, nothing, err
	}
	if err := errors.Join(checkSampler(cfg.Lookup), checkHeaders(cfg.Lookup)); err != nil {
		return nil, nothing, err
	}
	// What comes later overrides what comes before.
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "connecthub"), attribute.String("service.version", cfg.Version)),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv())
	if err != nil {
		return nil, nothing, errors.New(resourceVariable + " must be name=value pairs with commas between them")
	}
	exporter, err := newExporter(ctx, kind, cfg)
	if err != nil {
		return nil, nothing, err
	}
	flushing, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	traces := sdktrace.NewTracerProvider(
		sdktrace.WithResource(about),
		sdktrace.WithBatcher(&exportUntil{exporter, func(f func()) func() bool { return context.AfterFunc(flushing, f) }}),
		sdktrace.WithoutPanicRecording(), // What was panicked with may be anybody's data.
	)
	return traces, func() {
		late := time.AfterFunc(cmp.Or(cfg.FlushFor, 5*time.Second), giveUp)
		defer late.Stop()
		defer giveUp()
		_ = traces.Shutdown(context.WithoutCancel(ctx)) // What could not be sent, the exports themselves have told.
	}, nil
}

// kindOf returns how spans are sent: console, or a protocol of OTLP; "" when they are not.
func kindOf(lookup func(string) string) (string, error) {
	exporter := strings.TrimSpace(lookup(exporterVariable))
	named := lookup(endpointVariable) != "" || lookup(ofTraces(endpointVariable)) != ""
	switch {
	case strings.EqualFold(strings.TrimSpace(lookup(disabledVariable)), "true"), exporter == "none", exporter == "" && !named:
		return "", nil
	case exporter == "console":
		return exporter, nil
	case exporter != "" && exporter != "otlp":
		return "", errors.New(exporterVariable + " must be otlp, console or none")
	}
	for _, name := range []string{endpointVariable, ofTraces(endpointVariable)} {
		if value := lookup(name); value != "" && !isEndpoint(value) {
			return "", errors.New(name + " must be http:// or https:// with a host, such as http://127.0.0.1:4318")
		}
	}
	for _, name := range []string{ofTraces(protocolVariable), protocolVariable} {
		switch value := strings.TrimSpace(lookup(name)); value {
		case "":
		case httpProtocol, grpcProtocol:
			return value, nil
		default:
			return "", fmt.Errorf("%s must be %s or %s", name, httpProtocol, grpcProtocol)
		}
	}
	return httpProtocol, nil
}

const (
	httpProtocol = "http/protobuf"
	grpcProtocol = "grpc"
)

func isEndpoint(value string) bool {
	u, err := url.Parse(value)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != ""
}

// checkSampler refuses what the SDK would replace, after a word on standard error, by sampling everything.
func checkSampler(lookup func(string) string) error {
	known := []string{
		"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio",
	}
	name := strings.ToLower(strings.TrimSpace(lookup(samplerVariable)))
	if name != "" && !slices.Contains(known, name) {
		return errors.New(samplerVariable + " must be one of " + strings.Join(known, ", "))
	}
	const argument = samplerVariable + "_ARG"
	ratio := strings.TrimSpace(lookup(argument))
	if ratio == "" || !strings.HasSuffix(name, "traceidratio") {
		return nil
	}
	if value, err := strconv.ParseFloat(ratio, 64); err != nil || !(value >= 0 && value <= 1) { // A comparison with NaN is false.
		return errors.New(argument + " must be a number from 0 to 1")
	}
	return nil
}

// checkHeaders refuses what the SDK would leave out after it wrote it to standard error, secrets and all.
func checkHeaders(lookup func(string) string) error {
	for _, variable := range []string{headersVariable, ofTraces(headersVariable)} {
		for pair := range strings.SplitSeq(lookup(variable), ",") {
			name, value, given := strings.Cut(pair, "=")
			name = strings.TrimSpace(name)
			_, err := url.PathUnescape(value)
			odd := strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r) })
			if pair != "" && (!given || name == "" || odd || err != nil) {
				return errors.New(variable + " must be name=value pairs with commas between them, percent-encoded where need be")
			}
		}
	}
	return nil
}

// newExporter makes what sends spans. It does not connect.
func newExporter(ctx context.Context, kind string, cfg Config) (exporter sdktrace.SpanExporter, err error) {
	// The specification has http:// as the default, the SDK https://.
	plain := true
	for _, name := range []string{endpointVariable, insecureVariable} {
		plain = plain && cfg.Lookup(name) == "" && cfg.Lookup(ofTraces(name)) == ""
	}
	switch kind {
	case "console":
		exporter, err = stdouttrace.New(stdouttrace.WithWriter(cfg.Console))
	case grpcProtocol:
		var options []otlptracegrpc.Option
		if plain {
			options = append(options, otlptracegrpc.WithInsecure())
		}
		exporter, err = otlptracegrpc.New(ctx, options...)
	default:
		var options []otlptracehttp.Option
		if plain {
			options = append(options, otlptracehttp.WithInsecure())
		}
		exporter, err = otlptracehttp.New(ctx, options...)
	}
	if err != nil {
		return nil, fmt.Errorf("the OTEL_ variables cannot be used: %w", err)
	}
	return exporter, nil
}

// exportUntil ends exports that are under way when the time to flush is over, for which the SDK would not wait, but which would go on.
type exportUntil struct {
	sdktrace.SpanExporter
	// over has a function called when the time is over, unless what it returns is called before.
	over func(f func()) (stop func() bool)
}

// ExportSpans implements sdktrace.SpanExporter.
func (e *exportUntil) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer e.over(cancel)()
	return e.SpanExporter.ExportSpans(ctx, spans)
}
