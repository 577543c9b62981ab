package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"go.uber.org/zap/zapcore"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/events"
)

// everyKind is one request for each kind of answer, the stream aside.
func everyKind(tb testing.TB, h *hub, headers ...string) map[string]answer {
	tb.Helper()
	return map[string]answer{
		"receipt":   h.post(tb, "/v1/events/global", `{"type":"tick"}`, headers...),
		"list":      h.get(tb, "/v1/events?channel=global", headers...),
		"types":     h.get(tb, "/v1/events/types", headers...),
		"stats":     h.get(tb, "/stats", headers...),
		"health":    h.get(tb, "/health", headers...),
		"contract":  h.get(tb, "/openapi.yaml", headers...),
		"page":      h.get(tb, "/docs", headers...),
		"malformed": h.post(tb, "/v1/events/global", `{`, headers...),
		"invalid":   h.get(tb, "/v1/stream?channel=x", headers...),
		"not found": h.get(tb, "/nothing", headers...),
		"no method": h.call(tb, http.MethodDelete, "/stats", "", headers...),
		"bad host":  h.get(tb, "/health", append(headers, "Host: evil.example")...),
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	const given = "01a1fd63-3690/трасса"
	seen := make(map[string]bool)
	for kind, a := range everyKind(t, h) {
		id := a.header.Get("X-Request-ID")
		if len(id) < 16 || seen[id] {
			t.Errorf("%s: the hub made the id %q", kind, id)
		}
		seen[id] = true
	}
	for _, id := range []string{"a", "01a1fd63-3690-7c55-a3f1-0d9be6724c18", `!"#$%&'()*+,-./:;<=>?@[\]^_{|}~`, strings.Repeat("x", 128)} {
		for kind, a := range everyKind(t, h, "X-Request-ID: "+id) {
			if got := a.header.Get("X-Request-ID"); got != id {
				t.Errorf("%s: the id %q became %q", kind, id, got)
			}
			// That a problem names the same id is part of the contract's check.
		}
	}
	for _, id := range []string{`""`, "two words", given, strings.Repeat("x", 129), "tab\there"} {
		for kind, a := range everyKind(t, h, "X-Request-ID: "+id) {
			if got := a.header.Get("X-Request-ID"); got == id || len(got) < 16 {
				t.Errorf("%s: the id %q became %q", kind, id, got)
			}
		}
	}
	s := h.follow(t, "channel=user:1", "X-Request-ID: stream-7")
	if got := s.header.Get("X-Request-ID"); got != "stream-7" {
		t.Errorf("the stream has the id %q", got)
	}
}

// TestSafeHeaders checks that nothing is cached, sniffed or framed, and that no foreign web page is let in.
func TestSafeHeaders(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	check := func(kind string, header http.Header) {
		t.Helper()
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"} {
			if got := header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", kind, name, got, want)
			}
		}
		csp := header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "script") {
			t.Errorf("%s: Content-Security-Policy is %q", kind, csp)
		}
		for name := range header {
			if strings.HasPrefix(name, "Access-Control-") || name == "Server" || name == "Set-Cookie" || name == "X-Powered-By" {
				t.Errorf("%s: has the header %s: %s", kind, name, header.Get(name))
			}
		}
	}
	for kind, a := range everyKind(t, h, "Origin: https://evil.example", "Cookie: a=b") {
		check(kind, a.header)
	}
	check("stream", h.follow(t, "channel=global", "Origin: https://evil.example").header)

	// A browser that asks first is not let in either. The contract says nothing of OPTIONS.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, h.url+"/v1/events/global", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	setHeaders(req, []string{
		"Origin: https://evil.example", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type",
		"Access-Control-Request-Private-Network: true",
	})
	resp, err := h.base.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	check("preflight", resp.Header)
}

func TestContractAndPage(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	a := h.get(t, "/openapi.yaml")
	a.is(t, 200, "application/yaml")
	if string(a.body) != readContract(t) {
		t.Error("the hub serves another contract than openapi.yaml")
	}
	page, err := os.ReadFile("docs.html")
	if err != nil {
		t.Fatal(err)
	}
	a = h.get(t, "/docs")
	a.is(t, 200, "text/html; charset=UTF-8")
	if string(a.body) != string(page) {
		t.Error("the hub serves another page than docs.html")
	}
}

// panicking is a publisher with a fault.
type panicking struct{ value any }

func (p panicking) Publish(context.Context, events.Message) (events.Receipt, error) { panic(p.value) }

// failing is a publisher with an error that nobody expects.
type failing struct{ err error }

func (f failing) Publish(context.Context, events.Message) (events.Receipt, error) {
	return events.Receipt{}, f.err
}

// TestFaults checks that a fault is answered without a word about what it was, that the log has it under the request's id, and
// that the hub goes on.
func TestFaults(t *testing.T) {
	t.Parallel()
	const inside = "internal detail 10.0.0.7"
	for name, faulty := range map[string]publisher{
		"panic":            panicking{inside},
		"panic with error": panicking{errors.New(inside)},
		"runtime panic":    panicking{nilDereference(t)},
		"error":            failing{errors.New(inside)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startHub(t, options{wrap: func(publisher) publisher { return faulty }})
			for range 3 {
				a := h.post(t, "/v1/events/global", `{"type":"tick"}`, "X-Request-ID: fault-7")
				p := a.problem(t, 500, "internal_error")
				if p.Retryable || p.RequestID != "fault-7" {
					t.Errorf("retryable %t, request_id %s", p.Retryable, p.RequestID)
				}
				for _, word := range []string{inside, "10.0.0.7", "goroutine", ".go", "runtime", "panic", "nil"} {
					if strings.Contains(string(a.body), word) {
						t.Errorf("the answer tells %q: %s", word, a.body)
					}
				}
			}
			h.get(t, "/v1/events?channel=global").is(t, 200, "application/json")
			told := false
			for _, entry := range h.logs.FilterLevelExact(zapcore.ErrorLevel).All() {
				fields := entry.ContextMap()
				told = told || fields["request_id"] == "fault-7"
			}
			if !told {
				t.Error("the log does not tell of it")
			}
		})
	}
}

// nilDereference returns the value of a panic of the runtime.
func nilDereference(tb testing.TB) (value any) {
	tb.Helper()
	defer func() { value = recover() }()
	var none *api.Receipt
	tb.Log(none.ID)
	return nil
}

// TestLogsTellNoSecrets logs at debug level, does everything that can be done, and looks for what should not be there.
func TestLogsTellNoSecrets(t *testing.T) {
	t.Parallel()
	h, tokens := startKeyedHub(t, map[string][]string{"bot": {"publish:user.*", "subscribe:user:*", "publish:global", "subscribe:global"}})
	const payload, user, id, idem, wrong = "secret-payload", "987654321987", "secret-event-id", "secret-idempotency", "cbh_secret-wrong-token"
	auth := "Authorization: Service " + tokens["bot"]
	s := h.follow(t, "channel=user:"+user, auth)
	body := `{"type":"user.login","data":{"name":"` + payload + `"},"id":"` + id + `","source":"` + payload + `","correlation_id":"` + payload + `"}`
	h.publish(t, "user:"+user, body, auth, "Idempotency-Key: "+idem)
	s.event(t)
	h.post(t, "/v1/events/users/"+user, `{"type":"user.login"}`, auth, "Idempotency-Key: "+idem).problem(t, 422, "idempotency_key_reused", "Idempotency-Key")
	h.post(t, "/v1/events/users/"+user, body+payload, auth).problem(t, 400, "malformed_json")
	h.post(t, "/v1/events/users/"+user, `{"`+payload+`":1,"type":"`+payload+`"}`, auth).problem(t, 422, "invalid_fields", payload)
	h.post(t, "/v1/events/users/"+user, `{"type":"activity.created","data":"`+payload+`"}`, auth).problem(t, 403, "forbidden")
	h.post(t, "/v1/events/users/"+user, body, "Authorization: Service "+wrong).problem(t, 401, "unauthorized")
	h.get(t, "/v1/events/users/"+user+"?token="+wrong, auth).problem(t, 405, "method_not_allowed")
	h.get(t, "/v1/"+payload+"/"+user, auth).problem(t, 404, "not_found")
	h.get(t, "/v1/events?channel=user:"+user+"&cursor="+payload, auth).problem(t, 422, "invalid_fields", "cursor")
	h.get(t, "/v1/stream?channel=service:"+payload, auth).problem(t, 403, "forbidden")
	h.list(t, "channel=user:"+user, auth)
	h.publishRaw(t, h.full("user:"+user), payload)
	h.publishRaw(t, h.full("user:"+user), strings.Replace(body, `"source"`, `"timestamp":"2026-11-21T19:11:26","source"`, 1))
	h.publishRaw(t, h.full("global"), `{"id":"`+id+`","type":"tick","data":"`+strings.Repeat(payload, 70_000)+`","timestamp":"2026-11-21T19:11:26"}`)
	s.close()
	h.publish(t, "global", `{"type":"user.logout"}`, auth)
	h.stop(t)

	entries := h.logs.All()
	named := 0
	for _, entry := range entries {
		fields := entry.ContextMap()
		if fields["key"] == "id-bot" {
			named++
		}
		raw, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		line := entry.Message + " " + string(raw)
		for _, word := range []string{tokens["bot"], tokens["bot"][4:20], payload, user, id, idem, wrong, "secret"} {
			if strings.Contains(line, word) {
				t.Errorf("the log holds %q: %s", word, line)
			}
		}
	}
	if len(entries) < 10 || named == 0 {
		t.Errorf("%d log entries, %d of which name the key", len(entries), named)
	}
}
