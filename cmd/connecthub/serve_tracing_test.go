package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
)

// traceCollector stands for an OpenTelemetry collector.
type traceCollector struct {
	url string

	mu   sync.Mutex
	came bytes.Buffer
}

func startTraceCollector(tb testing.TB) *traceCollector {
	tb.Helper()
	c := &traceCollector{}
	answering := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.Path != "/v1/traces" {
			tb.Errorf("the collector was asked for %s %s", r.Method, r.URL.Path)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.came.Write(body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	tb.Cleanup(answering.Close)
	c.url = answering.URL
	return c
}

// has checks what came: texts are plain in what is sent.
func (c *traceCollector) has(tb testing.TB, texts ...string) {
	tb.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, text := range texts {
		if !bytes.Contains(c.came.Bytes(), []byte(text)) {
			tb.Errorf("no %q in %q", text, c.came.Bytes())
		}
	}
}

func (c *traceCollector) hasNone(tb testing.TB, texts ...string) {
	tb.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, text := range texts {
		if bytes.Contains(c.came.Bytes(), []byte(text)) {
			tb.Errorf("%q in %q", text, c.came.Bytes())
		}
	}
}

// TestTracesReachACollector has a request traced, and nothing of what the hub does by itself.
func TestTracesReachACollector(t *testing.T) {
	t.Parallel()
	c := startTraceCollector(t)
	hub, _ := serveProgram(t, onSharedRedis(t).with("OTEL_EXPORTER_OTLP_ENDPOINT", c.url, "OTEL_SERVICE_NAME", "our-hub"))
	hub.healthy(t)
	hub.post(t, 1, "users/4711471147", `{"type":"tick"}`)
	hub.interrupt()
	hub.wait(t, 0)
	c.has(t, "our-hub", "service.version", "POST /v1/events/users/:user_id", "publish user")
	c.hasNone(t, "4711471147", "PING", "XREAD", "SUBSCRIBE", "HGET", "/health")
}

// TestTracesByDotEnv is not parallel: what the SDK reads is the environment of the process.
func TestTracesByDotEnv(t *testing.T) {
	c := startTraceCollector(t)
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SERVICE_NAME"} {
		t.Setenv(name, "") // As good as not set, and so again after the test.
	}
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=ours")
	t.Chdir(t.TempDir())
	file := "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=" + c.url + "/v1/traces\nOTEL_SERVICE_NAME=by-file\nOTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=theirs\n"
	if err := os.WriteFile(".env", []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	hub := serve(t, environment{"OTEL_RESOURCE_ATTRIBUTES": os.Getenv("OTEL_RESOURCE_ATTRIBUTES")})
	hub.post(t, 1, "global", `{"type":"tick"}`)
	hub.interrupt()
	hub.wait(t, 0)
	c.has(t, "by-file", "POST /v1/events/global", "ours")
	c.hasNone(t, "theirs")
}

// TestACollectorThatIsAway costs a hub its traces, and nothing else.
func TestACollectorThatIsAway(t *testing.T) {
	t.Parallel()
	hub, _ := serveProgram(t, environment{
		"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "100",
		"OTEL_BSP_SCHEDULE_DELAY": "10",
	})
	hub.post(t, 20, "global", `{"type":"tick"}`)
	hub.stderr.has(t, "traces are lost")
	hub.post(t, 20, "global", `{"type":"tick"}`)
	hub.interrupt()
	hub.wait(t, 0)
}

// TestABadTracingVariableIsNamed starts no hub.
func TestABadTracingVariableIsNamed(t *testing.T) {
	t.Parallel()
	call(t, environment{"OTEL_TRACES_EXPORTER": "jaeger"}, "serve").want(t, 2, "connecthub: OTEL_TRACES_EXPORTER must be otlp, console or none\n")
	call(t, environment{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "serve").
		want(t, 2, "connecthub: OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf or grpc\n")
}
