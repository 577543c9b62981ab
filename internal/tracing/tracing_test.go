package tracing_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/connectbot-hub/connecthub/internal/tracing"
)

// lookup finds variables in a map.
func lookup(variables map[string]string) func(string) string {
	return func(name string) string { return variables[name] }
}

func TestOffUnlessAskedFor(t *testing.T) {
	t.Parallel()
	for name, variables := range map[string]map[string]string{
		"nothing is set":      {},
		"other variables":     {"OTEL_SERVICE_NAME": "x", "OTEL_TRACES_SAMPLER": "always_on", "OTEL_EXPORTER_OTLP_PROTOCOL": "odd"},
		"none":                {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
		"the SDK is disabled": {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "True"},
		"endpoint, disabled":  {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
	} {
		provider, stop, err := tracing.Start(t.Context(), tracing.Config{Lookup: lookup(variables)})
		if provider != nil || err != nil {
			t.Errorf("%s: %v, %v", name, provider, err)
		}
		stop()
	}
}

func TestWrongVariablesAreNamed(t *testing.T) {
	t.Parallel()
	const endpoint = "http://127.0.0.1:1"
	for _, test := range []struct{ variable, value string }{
		{"OTEL_TRACES_EXPORTER", "zipkin"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"},
		{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "s3cret"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://s3cret:%@host"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "s3cret"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "a=1,s3cret"},
		{"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x=s3cret%"},
		{"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a b=s3cret"},
		{"OTEL_TRACES_SAMPLER", "jaeger_remote"},
		{"OTEL_TRACES_SAMPLER_ARG", "1 %"},
		{"OTEL_TRACES_SAMPLER_ARG", "1.5"},
		{"OTEL_TRACES_SAMPLER_ARG", "NaN"},
	} {
		variables := map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint, "OTEL_TRACES_SAMPLER": "traceidratio", test.variable: test.value}
		provider, stop, err := tracing.Start(t.Context(), tracing.Config{Lookup: lookup(variables)})
		if provider != nil || err == nil || !strings.HasPrefix(err.Error(), test.variable+" must be ") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s=%s: %v", test.variable, test.value, err)
		}
		stop()
	}
}

// collector stands for an OpenTelemetry collector.
type collector struct {
	url  string
	came chan posted
}

type posted struct {
	path   string
	header http.Header
	body   []byte
}

func startCollector(tb testing.TB) *collector {
	tb.Helper()
	c := &collector{came: make(chan posted, 16)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		c.came <- posted{r.URL.Path, r.Header, body}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	tb.Cleanup(server.Close)
	c.url = server.URL
	return c
}

// start starts tracing with variables of the environment.
func start(tb testing.TB, cfg tracing.Config, variables map[string]string) (provider trace.TracerProvider, stop func()) {
	tb.Helper()
	for name, value := range variables {
		tb.Setenv(name, value)
	}
	cfg.Lookup = os.Getenv //nolint:forbidigo // As the SDK does.
	provider, stop, err := tracing.Start(tb.Context(), cfg)
	if err != nil || provider == nil {
		tb.Fatal(provider, err)
	}
	return provider, stop
}

// span makes one.
func span(ctx context.Context, provider trace.TracerProvider, name string) {
	_, made := provider.Tracer("test").Start(ctx, name)
	made.End()
}

func TestSpansReachACollector(t *testing.T) {
	c := startCollector(t)
	provider, stop := start(t, tracing.Config{Version: "1.2.3"}, map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": c.url + "/base", "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b",
		"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=staging",
	})
	span(t.Context(), provider, "a name")
	stop() // Sends what is left.
	got := <-c.came
	if got.path != "/base/v1/traces" || got.header.Get("X-Key") != "a b" || got.header.Get("Content-Type") != "application/x-protobuf" {
		t.Errorf("what came is %s %v", got.path, got.header)
	}
	for _, text := range []string{"a name", "connecthub", "1.2.3", "staging", "host.name", "telemetry.sdk.name"} {
		if !bytes.Contains(got.body, []byte(text)) {
			t.Errorf("no %q in %q", text, got.body)
		}
	}
	span(t.Context(), provider, "late") // Nobody minds.
}

func TestTheEnvironmentNamesTheService(t *testing.T) {
	c := startCollector(t)
	provider, stop := start(t, tracing.Config{}, map[string]string{
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": c.url + "/exactly", "OTEL_SERVICE_NAME": "my-hub", "OTEL_TRACES_SAMPLER": "always_off",
	})
	span(t.Context(), provider, "not sampled")
	remote := trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled,
	}))
	span(remote, provider, "neither")
	stop()
	select {
	case got := <-c.came:
		t.Errorf("what came is %s", got.body)
	default:
	}
	t.Setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
	provider, stop = start(t, tracing.Config{}, nil)
	span(t.Context(), provider, "not sampled")
	span(remote, provider, "because of its parent")
	stop()
	got := <-c.came
	if got.path != "/exactly" || !bytes.Contains(got.body, []byte("my-hub")) || bytes.Contains(got.body, []byte("connecthub")) ||
		!bytes.Contains(got.body, []byte("because of its parent")) || bytes.Contains(got.body, []byte("not sampled")) {
		t.Errorf("what came is %s %q", got.path, got.body)
	}
}

func TestSpansOnTheConsole(t *testing.T) {
	var out bytes.Buffer
	provider, stop := start(t, tracing.Config{Console: &out}, map[string]string{"OTEL_TRACES_EXPORTER": "console"})
	span(t.Context(), provider, "a name")
	stop()
	if text := out.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, `"Name":"a name"`) {
		t.Error(text)
	}
}

// silent accepts connections and says nothing. It tells what came first on each.
func silent(tb testing.TB) (addr string, first <-chan string) {
	tb.Helper()
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	came := make(chan string, 64)
	var taken sync.WaitGroup
	taken.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			closing := context.AfterFunc(tb.Context(), func() { _ = conn.Close() }) // Which is over before the cleanup.
			taken.Go(func() {
				defer closing()
				buf := make([]byte, 24)
				if _, err := io.ReadFull(conn, buf); err == nil {
					came <- string(buf)
				}
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			})
		}
	})
	tb.Cleanup(func() {
		_ = listener.Close()
		taken.Wait()
	})
	return listener.Addr().String(), came
}

// A collector that takes connections and never answers holds up neither those who make spans nor the end, by either protocol.
func TestACollectorThatHangs(t *testing.T) {
	for protocol, want := range map[string]string{"http/protobuf": "POST /v1/traces HTTP/1.1", "grpc": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"} {
		t.Run(protocol, func(t *testing.T) {
			addr, first := silent(t)
			provider, stop := start(t, tracing.Config{FlushFor: 200 * time.Millisecond}, map[string]string{
				"OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + addr, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_BSP_SCHEDULE_DELAY": "10",
			})
			begin := time.Now()
			span(t.Context(), provider, "first")
			select {
			case got := <-first:
				if got != want {
					t.Errorf("what came is %q", got)
				}
			case <-time.After(soon):
				t.Fatal("nothing came")
			}
			for range 10_000 { // Many times what the queue holds.
				span(t.Context(), provider, "many")
			}
			stop()
			if took := time.Since(begin); took > soon/4 {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestACollectorThatIsAway(t *testing.T) {
	provider, stop := start(t, tracing.Config{FlushFor: 200 * time.Millisecond}, map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
	})
	begin := time.Now()
	for range 10_000 {
		span(t.Context(), provider, "many")
	}
	stop()
	if took := time.Since(begin); took > soon/4 {
		t.Errorf("it took %v", took)
	}
}
