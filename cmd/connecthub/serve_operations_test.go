package main

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// operationsAt returns where the log says that metrics are served, and the message that says so.
func (s *server) operationsAt(tb testing.TB) (addr, message string) {
	tb.Helper()
	redistest.Eventually(tb, soon, "metrics are served", func() bool {
		for text := range strings.Lines(s.stderr.String()) {
			var entry struct{ Msg, Address string }
			if json.Unmarshal([]byte(text), &entry) == nil && strings.HasPrefix(entry.Msg, "metrics ") {
				addr, message = entry.Address, entry.Msg
			}
		}
		return addr != ""
	})
	return addr, message
}

// ask asks an address under a name.
func ask(tb testing.TB, addr, name, path string) (status int, body string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	if name != "" {
		req.Host = name
	}
	return send(tb, req)
}

func TestOperationsOnLoopback(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"127.0.0.1:0", "localhost:0", "[::1]:0"} {
		hub := serve(t, environment{"METRICS_ADDR": listen})
		addr, message := hub.operationsAt(t)
		if !strings.Contains(message, "profiles") {
			t.Errorf("the log says %q", message)
		}
		for _, test := range []struct {
			name, path string
			status     int
			text       string
		}{
			{"", "/metrics", 200, "connecthub_build_info{"},
			{"localhost", "/metrics", 200, "go_goroutines "},
			{"127.0.0.1:1234", "/metrics", 200, "process_"},
			{"[::1]", "/metrics", 200, "connecthub_"},
			{"evil.example", "/metrics", 403, "Only localhost"},
			{"127.0.0.1.evil.example:8091", "/debug/pprof/", 403, "Only localhost"},
			{"", "/debug/pprof/", 200, "goroutine"},
			{"", "/debug/pprof/goroutine?debug=1", 200, "goroutine profile"},
			{"", "/debug/pprof/cmdline", 200, ""},
			{"", "/debug/pprof/profile?seconds=61", 400, "at most 60"},
			{"", "/debug/pprof/trace?seconds=1e9", 400, "at most 60"},
			{"", "/debug/pprof/heap?seconds=NaN", 400, "at most 60"},
			{"", "/debug/pprof/trace?seconds=0.1", 200, "go 1."},
			{"", "/", 404, ""},
			{"", "/v1/events", 404, ""},
			{"", "/health/live", 200, `"status":"pass"`},
			{"", "/health/ready", 200, `"redis"`},
			{"evil.example", "/health", 403, "Only localhost"},
		} {
			status, body := ask(t, addr, test.name, test.path)
			if status != test.status || !strings.Contains(body, test.text) {
				t.Errorf("%s%s as %q gets %d, %.200q, want %d, %q", addr, test.path, test.name, status, body, test.status, test.text)
			}
		}
		for origin, want := range map[string]int{"": 200, "https://evil.example": 403} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/debug/pprof/symbol", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Origin", origin)
			if status, body := send(t, req); status != want {
				t.Errorf("a page of %q gets %d, %q, want %d", origin, status, body, want)
			}
		}
		// Where everybody asks there is nothing of it.
		for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/heap", "/debug/vars"} {
			if status, body := hub.get(t, path); status != http.StatusNotFound {
				t.Errorf("%s at the hub's own address gets %d, %.200q", path, status, body)
			}
		}
		hub.stop(t)
		closed(t, addr)
	}
}

func TestOperationsBeyondLoopback(t *testing.T) {
	t.Parallel()
	hub := serve(t, environment{"METRICS_ADDR": "0.0.0.0:0"})
	addr, message := hub.operationsAt(t)
	if !strings.Contains(message, "profiles to nobody") {
		t.Errorf("the log says %q", message)
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	addr = net.JoinHostPort("127.0.0.1", port)
	for path, want := range map[string]int{"/metrics": 200, "/debug/pprof/": 404, "/debug/pprof/heap": 404, "/debug/pprof/cmdline": 404} {
		if status, body := ask(t, addr, "hub.example", path); status != want {
			t.Errorf("%s gets %d, %.200q, want %d", path, status, body, want)
		}
	}
}

func TestOperationsAreOff(t *testing.T) {
	t.Parallel()
	hub := serve(t, environment{"METRICS_ADDR": "off"})
	hub.healthy(t)
	if strings.Contains(hub.stderr.String(), `"msg":"metrics `) {
		t.Errorf("metrics are served: %s", hub.stderr)
	}
}
