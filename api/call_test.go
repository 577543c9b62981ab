package api_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/api"
)

// answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// call sends a request and reads the answer. Headers are "Name: value"; one without a value is not sent at all, and one with
// the value "" is sent empty.
func (h *hub) call(tb testing.TB, method, path, body string, headers ...string) answer {
	tb.Helper()
	a, err := h.try(tb, method, path, strings.NewReader(body), headers...)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// try is call for any body, for requests that may fail, and for goroutines of the test.
func (h *hub) try(tb testing.TB, method, path string, body io.Reader, headers ...string) (answer, error) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, h.url+path, body)
	if err != nil {
		return answer{}, err
	}
	if method == http.MethodPost || method == http.MethodPut {
		req.Header.Set("Content-Type", "application/json")
	}
	setHeaders(req, headers)
	resp, err := h.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, raw}, err
}

func setHeaders(req *http.Request, headers []string) {
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ":")
		switch value = strings.TrimSpace(value); {
		case name == "Host":
			req.Host = value
		case value == "":
			req.Header.Del(name)
		case value == `""`:
			req.Header.Set(name, "")
		default:
			req.Header.Set(name, value)
		}
	}
}

func (h *hub) get(tb testing.TB, path string, headers ...string) answer {
	tb.Helper()
	return h.call(tb, http.MethodGet, path, "", headers...)
}

func (h *hub) post(tb testing.TB, path, body string, headers ...string) answer {
	tb.Helper()
	return h.call(tb, http.MethodPost, path, body, headers...)
}

// publish publishes to the channel user:123, global or service:matching and the like.
func (h *hub) publish(tb testing.TB, channel, body string, headers ...string) api.Receipt {
	tb.Helper()
	return h.post(tb, pathOf(channel), body, headers...).receipt(tb)
}

// pathOf is where to publish on a channel.
func pathOf(channel string) string {
	kind, name, _ := strings.Cut(channel, ":")
	if kind == "global" {
		return "/v1/events/global"
	}
	return "/v1/events/" + kind + "s/" + name
}

func decode[T any](tb testing.TB, raw []byte) T {
	tb.Helper()
	var value T
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&value); err != nil {
		tb.Fatalf("%v in %s", err, raw)
	}
	return value
}

func (a answer) receipt(tb testing.TB) api.Receipt {
	tb.Helper()
	a.is(tb, http.StatusCreated, "application/json")
	return decode[api.Receipt](tb, a.body)
}

func (a answer) is(tb testing.TB, status int, contentType string) {
	tb.Helper()
	if a.status != status || a.header.Get("Content-Type") != contentType {
		tb.Fatalf("answered %d, %s, want %d, %s: %s", a.status, a.header.Get("Content-Type"), status, contentType, a.body)
	}
}

// problem checks that the answer is this problem, and that it names these fields and no others.
func (a answer) problem(tb testing.TB, status int, code string, fields ...string) api.Problem {
	tb.Helper()
	a.is(tb, status, "application/problem+json")
	p := decode[api.Problem](tb, a.body)
	if p.Code != code {
		tb.Errorf("code %s, want %s: %s", p.Code, code, a.body)
	}
	var named []string
	for _, f := range p.Errors {
		named = append(named, f.Field)
	}
	if !slices.Equal(named, fields) {
		tb.Errorf("names the fields %q, want %q: %s", named, fields, a.body)
	}
	return p
}

// envelope is an event as its readers get it.
type envelope struct {
	ID            string          `json:"id"`
	Type          string          `json:"type"`
	Data          json.RawMessage `json:"data"`
	Timestamp     string          `json:"timestamp"`
	Channel       string          `json:"channel"`
	UserID        *int64          `json:"user_id"`
	Source        string          `json:"source"`
	CorrelationID string          `json:"correlation_id"`
	Traceparent   string          `json:"traceparent"`
	Offset        string          `json:"offset"`
}

// page is what GET /v1/events answers.
type page struct {
	Events     []envelope `json:"events"`
	NextCursor *string    `json:"next_cursor"`
}

func (h *hub) list(tb testing.TB, query string, headers ...string) page {
	tb.Helper()
	a := h.get(tb, "/v1/events?"+query, headers...)
	a.is(tb, http.StatusOK, "application/json")
	return decode[page](tb, a.body)
}

func (h *hub) stats(tb testing.TB) api.Stats {
	tb.Helper()
	a := h.get(tb, "/stats")
	a.is(tb, http.StatusOK, "application/json")
	return decode[api.Stats](tb, a.body)
}
