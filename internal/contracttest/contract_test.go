package contracttest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/contracttest"
)

const receipt = `{"id":"a","type":"user.login","channel":"connectbot:user:123","offset":"1-0",` +
	`"timestamp":"2026-11-21T09:15:00.125310Z","subscribers":0,"status":"published","duplicate":false}`

func problem(code, title string, status int) string {
	return fmt.Sprintf(`{"type":"/docs#problem-%s","title":"%s","status":%d,"detail":"d","instance":"/","code":"%s",`+
		`"request_id":"r1","retryable":false}`, code, title, status, code)
}

// TestTransport feeds the transport made-up responses and looks at what it says of them.
func TestTransport(t *testing.T) {
	const jsonType, problemType = "application/json", "application/problem+json"
	tests := []struct {
		name         string
		method, path string
		status       int
		contentType  string
		header       string // One more header, "Name: value".
		body         string
		want         string // Part of the complaint; "" for none.
	}{
		{"receipt", "POST", "/v1/events/users/123", 201, jsonType, "", receipt, ""},
		{"charset", "POST", "/v1/events/global", 201, "application/json; charset=UTF-8", "", receipt, ""},
		{"undeclared status", "POST", "/v1/events/users/123", 200, jsonType, "", receipt, "status is not supported"},
		{"missing field", "POST", "/v1/events/users/123", 201, jsonType, "", `{"id":"a"}`, "missing"},
		{
			"wrong type", "POST", "/v1/events/users/123", 201, jsonType, "",
			strings.Replace(receipt, `"subscribers":0`, `"subscribers":"0"`, 1), "subscribers",
		},
		{"wrong content type", "POST", "/v1/events/users/123", 201, "text/plain", "", receipt, "Content-Type"},
		{"no request id", "POST", "/v1/events/users/123", 201, jsonType, "X-Request-ID:", receipt, "X-Request-ID"},
		{"null user", "GET", "/v1/events", 200, jsonType, "", `{"events":[{"id":"a","type":"t","data":null,` +
			`"timestamp":"2026-11-21T09:15:00.125310Z","channel":"connectbot:global","user_id":null,"source":"s","offset":"1-0",` +
			`"traceparent":"x"}],"next_cursor":null}`, ""},
		{"user as text", "GET", "/v1/events", 200, jsonType, "", `{"events":[{"id":"a","type":"t","data":null,` +
			`"timestamp":"2026-11-21T09:15:00.125310Z","channel":"connectbot:global","user_id":"1","source":"s","offset":"1-0"}],` +
			`"next_cursor":null}`, "user_id"},
		{
			"naive time", "POST", "/v1/events/users/123", 201, jsonType, "",
			strings.Replace(receipt, "125310Z", "125310", 1), "timestamp",
		},
		{"health", "GET", "/health", 200, "application/health+json", "", `{"status":"warn","version":"1","checks":{"redis":[` +
			`{"status":"warn","time":"2026-11-21T09:15:00Z","observedValue":0.5,"observedUnit":"ms"}]}}`, ""},
		{
			"unknown health", "GET", "/health", 200, "application/health+json", "",
			`{"status":"ok","version":"1","checks":{}}`, "status",
		},
		{"page", "GET", "/docs", 200, "text/html; charset=utf-8", "", "<!DOCTYPE html>", ""},
		{"yaml", "GET", "/openapi.yaml", 200, "application/yaml", "", "openapi: 3.1.1", ""},
		{"stream", "GET", "/v1/stream", 200, "text/event-stream", "X-Accel-Buffering: no", "left alone", ""},
		{"stream without its header", "GET", "/v1/stream", 200, "text/event-stream", "", "", "X-Accel-Buffering"},
		{"stream with another value", "GET", "/v1/stream", 200, "text/event-stream", "X-Accel-Buffering: yes", "", "X-Accel-Buffering"},
		{"stream elsewhere", "GET", "/v1/events", 200, "text/event-stream", "", "", "no stream"},
		{"problem", "POST", "/v1/events/users/0", 422, problemType, "", problem("invalid_fields", "Invalid content", 422), ""},
		{"problem without Retry-After", "GET", "/v1/stream", 429, problemType, "", problem("too_many_streams", "Too many streams", 429), "Retry-After"},
		{
			"problem with a bad Retry-After", "GET", "/v1/stream", 429, problemType, "Retry-After: soon",
			problem("too_many_streams", "Too many streams", 429), "Retry-After",
		},
		{"problem of another status", "POST", "/v1/events/users/0", 422, problemType, "", problem("malformed_json", "Malformed JSON", 422), "status"},
		{"retitled problem", "POST", "/v1/events/users/0", 422, problemType, "", problem("invalid_fields", "No", 422), "is called"},
		{"unlisted problem", "POST", "/v1/events/users/0", 422, problemType, "", problem("oops", "Oops", 422), "does not list"},
		{
			"another request id", "POST", "/v1/events/users/0", 422, problemType, "X-Request-ID: r2",
			problem("invalid_fields", "Invalid content", 422), "request_id",
		},
		{"no such path", "GET", "/v2", 404, problemType, "", problem("not_found", "Not found", 404), ""},
		{"no such path, yet it answers", "GET", "/v2", 200, jsonType, "", "{}", "status is not supported"},
		{"no such path, plain", "GET", "/v2", 404, "text/plain", "", "404 page not found", "Content-Type"},
		{"no such method", "DELETE", "/v1/events", 405, problemType, "Allow: GET", problem("method_not_allowed", "Method not allowed", 405), ""},
		{"only the headers", "HEAD", "/v1/events", 405, problemType, "Allow: GET", "", ""},
		{"only the headers, without Allow", "HEAD", "/v1/events", 405, problemType, "", "", "Allow"},
		{"no such method without Allow", "DELETE", "/v1/events", 405, problemType, "", problem("method_not_allowed", "Method not allowed", 405), "Allow"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp := &http.Response{StatusCode: tt.status, Body: io.NopCloser(strings.NewReader(tt.body)), Header: http.Header{
				"Content-Type": {tt.contentType}, "X-Request-Id": {"r1"}, "Cache-Control": {"no-store"},
			}}
			if name, value, ok := strings.Cut(tt.header, ":"); ok && value == "" {
				resp.Header.Del(name)
			} else if ok {
				resp.Header.Set(name, strings.TrimSpace(value))
			}
			rec := &recorder{TB: t}
			transport := contracttest.Transport(rec, fixed{resp})
			req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://127.0.0.1:1234"+tt.path+"?channel=global", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			got, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(got.Body)
			if err != nil || string(body) != tt.body {
				t.Errorf("the body came through as %q, %v", body, err)
			}
			if err := got.Body.Close(); err != nil {
				t.Error(err)
			}
			switch {
			case tt.want == "" && rec.said != "":
				t.Errorf("complaint: %s", rec.said)
			case !strings.Contains(rec.said, tt.want):
				t.Errorf("complaint %q, want one about %q", rec.said, tt.want)
			}
		})
	}
}

// fixed answers every request with one response.
type fixed struct{ resp *http.Response }

func (f fixed) RoundTrip(*http.Request) (*http.Response, error) { return f.resp, nil }

// recorder keeps what is said to it instead of failing.
type recorder struct {
	testing.TB
	said string
}

func (r *recorder) Errorf(format string, args ...any) { r.said += fmt.Sprintf(format, args...) }

// TestTransportLeavesStreamsAlone checks that a stream comes back at once, and that many requests at a time are fine.
func TestTransportLeavesStreamsAlone(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-ID", "r1")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Accel-Buffering", "no")
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-r.Context().Done()
	}))
	defer server.Close()
	client := &http.Client{Transport: contracttest.Transport(t, nil)}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			resp, err := client.Get(server.URL + "/v1/stream?channel=global")
			if err != nil {
				t.Error(err)
				return
			}
			if err := resp.Body.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
