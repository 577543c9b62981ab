package api_test

import (
	"net/http"
	"strings"
	"testing"
)

var longName = strings.Repeat("x", 129) //nolint:gochecknoglobals // A constant, but for the language.

// TestBadTempRequests names everything that is wrong with a request, and nothing else.
func TestBadTempRequests(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	const tag = `If-Match: "46097b6ca318730251ce"`
	for _, tt := range []struct {
		call, body string
		headers    []string
		fields     []string
	}{
		// Names.
		{"PUT /v1/temp/a%20b/k", `1`, nil, []string{"namespace"}},
		{"GET /v1/temp/%D1%8F/k", ``, nil, []string{"namespace"}},
		{"GET /v1/temp/" + longName + "/k", ``, nil, []string{"namespace"}},
		{"GET /v1/temp/a%2Fb/k", ``, nil, []string{"namespace"}},
		{"GET /v1/temp/user_*/k", ``, nil, []string{"namespace"}},
		{"GET /v1/temp/n/a%2541", ``, nil, []string{"key"}},
		{"GET /v1/temp/n/" + longName, ``, nil, []string{"key"}},
		{"DELETE /v1/temp/n/a*", ``, nil, []string{"key"}},
		{"GET /v1/temp/%2E/k", ``, nil, []string{"namespace"}},
		{"PUT /v1/users/1/temp/%2E%2E", `1`, nil, []string{"key"}},
		{"PUT /v1/users/1/forms/%2E%2E/steps/%2E", `1`, nil, []string{"form", "step"}},
		{"POST /v1/conversations/%2E%2E/messages", `{"message":1}`, nil, []string{"conversation_id"}},
		{"GET /v1/temp/a%00b", ``, nil, []string{"namespace"}},
		{"DELETE /v1/temp/%20", ``, nil, []string{"namespace"}},
		{"PUT /v1/users/1/temp/a%0Ab", `1`, nil, []string{"key"}},
		{"PUT /v1/users/1/forms/a%20b/steps/c%20d", `1`, nil, []string{"form", "step"}},
		{"GET /v1/users/1/forms/a,b", ``, nil, []string{"form"}},
		{"GET /v1/users/1/forms/f/steps/" + longName, ``, nil, []string{"step"}},
		{"POST /v1/users/1/forms/%2A/submit", ``, nil, []string{"form"}},
		{"POST /v1/users/1/forms/%2A/back", ``, nil, []string{"form"}},
		{"GET /v1/conversations/a%20b/messages", ``, nil, []string{"conversation_id"}},
		{"DELETE /v1/conversations/a%20b/messages", ``, nil, []string{"conversation_id"}},
		{"POST /v1/conversations/" + longName + "/messages", `{"message":1}`, nil, []string{"conversation_id"}},

		// Times.
		{"PUT /v1/temp/n/k?ttl=0", `1`, nil, []string{"ttl"}},
		{"PUT /v1/temp/n/k?ttl=2592001", `1`, nil, []string{"ttl"}},
		{"PUT /v1/temp/n/k?ttl=1.5", `1`, nil, []string{"ttl"}},
		{"PUT /v1/temp/n/k?ttl=-1", `1`, nil, []string{"ttl"}},
		{"PUT /v1/temp/n/k?ttl=1e3", `1`, nil, []string{"ttl"}},
		{"PUT /v1/temp/n/k?ttl=1&ttl=2", `1`, nil, []string{"ttl"}},
		{"PUT /v1/temp/n/k?ttl=%zz", `1`, nil, []string{"ttl"}},
		{"PUT /v1/temp/n/k?ttl=99999999999999999999", `1`, nil, []string{"ttl"}},
		{"POST /v1/temp/n/k/touch?ttl=0", ``, nil, []string{"ttl"}},
		{"POST /v1/temp/n/k/touch?ttl=1&ttl=2", ``, nil, []string{"ttl"}},
		{"PUT /v1/users/1/temp/k?ttl=x", `1`, nil, []string{"ttl"}},
		{"PUT /v1/users/1/conversation?ttl=x", `1`, nil, []string{"ttl"}},
		{"PUT /v1/users/1/forms/f/steps/s?ttl=x", `1`, nil, []string{"ttl"}},
		{"PATCH /v1/users/1/forms/f?ttl=x", `{}`, nil, []string{"ttl"}},
		{"POST /v1/conversations/c/messages?ttl=x&max_len=0", `{"message":1}`, nil, []string{"max_len", "ttl"}},
		{"POST /v1/conversations/c/messages?max_len=1001", `{"message":1}`, nil, []string{"max_len"}},
		{"POST /v1/users/1/lease?ttl=0", ``, nil, []string{"ttl"}},
		{"POST /v1/users/1/lease?ttl=301", ``, nil, []string{"ttl"}},
		{"POST /v1/users/1/lease?wait=11", ``, nil, []string{"wait"}},
		{"POST /v1/users/1/lease?wait=-1&ttl=x", ``, nil, []string{"ttl", "wait"}},
		{"POST /v1/users/1/lease?wait=00", ``, nil, []string{"wait"}},
		{"POST /v1/users/1/lease?token=mine", ``, nil, []string{"token"}},
		{"POST /v1/users/1/lease?wait=5&token=mine&ttl=0", ``, nil, []string{"wait", "ttl", "token"}},
		{"DELETE /v1/users/1/lease", ``, nil, []string{"token"}},
		{"DELETE /v1/users/1/lease?token=", ``, nil, []string{"token"}},
		{"DELETE /v1/users/1/lease?token=mine", ``, nil, []string{"token"}},

		// Lists and flags.
		{"GET /v1/temp/n?limit=0", ``, nil, []string{"limit"}},
		{"GET /v1/temp/n?limit=1001", ``, nil, []string{"limit"}},
		{"GET /v1/temp/n?cursor=x%20y", ``, nil, []string{"cursor"}},
		{"GET /v1/temp/n?cursor=%2B%2B", ``, nil, []string{"cursor"}},
		{"GET /v1/users/1/temp?limit=x", ``, nil, []string{"limit"}},
		{"GET /v1/users/1/forms?limit=x", ``, nil, []string{"limit"}},
		{"GET /v1/users/1/forms?cursor=AAAA", ``, nil, []string{"cursor"}},
		{"GET /v1/temp/n/k?meta=yes", ``, nil, []string{"meta"}},
		{"GET /v1/temp/n/k?meta=true&meta=true", ``, nil, []string{"meta"}},
		{"GET /v1/users/1/conversation?meta=1", ``, nil, []string{"meta"}},
		{"GET /v1/conversations/c/messages?limit=0&order=random&meta=maybe", ``, nil, []string{"order", "meta", "limit"}},
		{"GET /v1/conversations/c/messages?limit=1001", ``, nil, []string{"limit"}},
		{"GET /v1/conversations/%20/messages?order=random", ``, nil, []string{"conversation_id", "order"}},

		// Conditions.
		{"PUT /v1/temp/n/k", `1`, []string{`If-Match: abc`}, []string{"If-Match"}},
		{"PUT /v1/temp/n/k", `1`, []string{`If-Match: "abc`}, []string{"If-Match"}},
		{"PUT /v1/temp/n/k", `1`, []string{`If-Match: "abc" "def"`}, []string{"If-Match"}},
		{"PUT /v1/temp/n/k", `1`, []string{`If-Match: "abc", *`}, []string{"If-Match"}},
		{"PUT /v1/temp/n/k", `1`, []string{`If-Match: *, "abc"`}, []string{"If-Match"}},
		{"PUT /v1/temp/n/k", `1`, []string{`If-Match: w/"abc"`}, []string{"If-Match"}},
		{"PUT /v1/temp/n/k", `1`, []string{`If-Match: "a b"`}, []string{"If-Match"}},
		{"PUT /v1/temp/n/k", `1`, []string{`If-Match: ,`}, []string{"If-Match"}},
		{"PUT /v1/temp/n/k", `1`, []string{`If-Match: ""`}, []string{"If-Match"}}, // Which is sent empty.
		{"PUT /v1/temp/n/k", `1`, []string{`If-None-Match: "abc"`}, []string{"If-None-Match"}},
		{"PUT /v1/temp/n/k", `1`, []string{`If-None-Match: abc`, `If-Match: W/`}, []string{"If-Match", "If-None-Match"}},
		{"DELETE /v1/temp/n/k", ``, []string{`If-Match: abc`}, []string{"If-Match"}},
		{"POST /v1/temp/n/k/touch", ``, []string{`If-None-Match: abc`}, []string{"If-None-Match"}},
		{"DELETE /v1/users/1/forms/f", ``, []string{`If-Match: abc`}, []string{"If-Match"}},
		{"DELETE /v1/users/1/forms/f/steps/s", ``, []string{`If-Match: abc`}, []string{"If-Match"}},
		{"PUT /v1/users/1/forms/f/steps/s", `1`, []string{`If-Match: abc`}, []string{"If-Match"}},
		{"PATCH /v1/users/1/forms/f", `{}`, []string{`If-Match: abc`}, []string{"If-Match"}},
		{"POST /v1/users/1/forms/f/back", ``, []string{`If-Match: abc`}, []string{"If-Match"}},
		{"POST /v1/users/1/forms/f/submit", `{}`, []string{`If-Match: abc`, "Idempotency-Key: two words"}, []string{"Idempotency-Key", "If-Match"}},

		// Several at once.
		{"PUT /v1/temp/a%20b/%20?ttl=x", `1`, []string{`If-Match: abc`}, []string{"namespace", "If-Match", "key", "ttl"}},
		{"PUT /v1/temp/a%20b/%20?ttl=x", `1`, []string{tag}, []string{"namespace", "key", "ttl"}},
		{"PUT /v1/users/0/temp/%20?ttl=x", `1`, []string{tag}, []string{"user_id", "key", "ttl"}},
		{"PUT /v1/users/x/temp/%20?ttl=1&ttl=2", `1`, []string{`If-None-Match: 1`}, []string{"user_id", "ttl", "If-None-Match", "key"}},
		{"GET /v1/users/x/temp/%20?meta=x", ``, nil, []string{"user_id", "meta", "key"}},
		{"GET /v1/users/0/temp?limit=x", ``, nil, []string{"user_id", "limit"}},
		{"PATCH /v1/users/-1/forms/%20?ttl=x", `{"step":1}`, nil, []string{"step", "user_id", "form", "ttl"}},

		// Forms.
		{"PATCH /v1/users/1/forms/f", `{"form":"g"}`, nil, []string{"form"}},
		{"PATCH /v1/users/1/forms/f", `{"steps":[]}`, nil, []string{"steps"}},
		{"PATCH /v1/users/1/forms/f", `{"steps":{"a b":1}}`, nil, []string{`steps."a b"`}},
		{"POST /v1/users/1/forms/f/submit", `{"colour":1}`, nil, []string{"colour"}},
		{"POST /v1/users/1/forms/f/submit", `{"publish":true}`, nil, []string{"publish"}},
		{"POST /v1/users/1/forms/f/submit", `{"publish":null}`, nil, []string{"publish"}},
		{"POST /v1/users/1/forms/f/submit", `{"publish":{}}`, nil, []string{"publish.channel", "publish.type"}},
		{"POST /v1/users/1/forms/f/submit", `{"publish":{"channel":1,"type":[],"correlation_id":null,"id":"x"}}`, nil, []string{"publish.channel", "publish.type", "publish.correlation_id", "publish.id"}},
		{"POST /v1/users/1/forms/f/submit", `{"publish":{"channel":"user:0","type":"Bad"}}`, nil, []string{"publish.channel", "publish.type"}},
		{"POST /v1/users/1/forms/f/submit", `{"publish":{"channel":"global","type":"gap"}}`, nil, []string{"publish.type"}},
		{"POST /v1/users/1/forms/f/submit", `{"publish":{"channel":"global","type":"a","correlation_id":"a\nb"}}`, nil, []string{"publish.correlation_id"}},
		{"POST /v1/users/1/forms/f/submit", `{"publish":{"channel":"global","type":"a","correlation_id":"` + longName + `"}}`, nil, []string{"publish.correlation_id"}},
		{"POST /v1/users/0/forms/%20/submit", `{"publish":{"channel":"x","type":"a"}}`, nil, []string{"user_id", "publish.channel", "form"}},

		// Histories.
		{"POST /v1/conversations/c/messages", `{}`, nil, []string{"message"}},
		{"POST /v1/conversations/c/messages", `{"message":1,"messages":[1]}`, nil, []string{"message"}},
		{"POST /v1/conversations/c/messages", `{"messages":1}`, nil, []string{"messages"}},
		{"POST /v1/conversations/c/messages", `{"messages":[]}`, nil, []string{"messages"}},
		{"POST /v1/conversations/c/messages", `{"messages":null}`, nil, []string{"messages"}},
		{"POST /v1/conversations/c/messages", `{"messages":[1` + strings.Repeat(",1", 1000) + `]}`, nil, []string{"messages"}},
		{"POST /v1/conversations/c/messages", `{"text":1}`, nil, []string{"text", "message"}},
		{"POST /v1/conversations/%20/messages?max_len=x", `{"text":1}`, nil, []string{"conversation_id", "text", "message", "max_len"}},

		// Batches.
		{"POST /v1/temp/n/batch", `{}`, nil, []string{"get"}},
		{"POST /v1/temp/n/batch", `{"get":["a"],"set":[]}`, nil, []string{"set"}},
		{"POST /v1/temp/n/batch", `{"set":[{"key":"a","data":1}],"get":["a"]}`, nil, []string{"get"}},
		{"POST /v1/temp/n/batch", `{"delete":["a"]}`, nil, []string{"delete", "get"}},
		{"POST /v1/temp/n/batch", `{"get":[]}`, nil, []string{"get"}},
		{"POST /v1/temp/n/batch", `{"get":null}`, nil, []string{"get"}},
		{"POST /v1/temp/n/batch", `{"get":"a"}`, nil, []string{"get"}},
		{"POST /v1/temp/n/batch", `{"get":[1]}`, nil, []string{"get"}},
		{"POST /v1/temp/n/batch", `{"get":["a","b c","a"]}`, nil, []string{"get[1]", "get[2]"}},
		{"POST /v1/temp/n/batch", `{"get":["a",null]}`, nil, []string{"get[1]"}},
		{"POST /v1/temp/n/batch", `{"get":["k"` + strings.Repeat(`,"k"`, 1000) + `]}`, nil, []string{"get"}},
		{"POST /v1/temp/n/batch", `{"set":[]}`, nil, []string{"set"}},
		{"POST /v1/temp/n/batch", `{"set":null}`, nil, []string{"set"}},
		{"POST /v1/temp/n/batch", `{"set":{"key":"a","data":1}}`, nil, []string{"set"}},
		{"POST /v1/temp/n/batch", `{"set":[1]}`, nil, []string{"set[0]", "set[0].key"}},
		{"POST /v1/temp/n/batch", `{"set":[{"key":"a","data":1},{"key":"a","data":1}]}`, nil, []string{"set[1].key"}},
		{"POST /v1/temp/n/batch", `{"set":[{"key":"a"}]}`, nil, []string{"set[0].data"}},
		{"POST /v1/temp/n/batch", `{"set":[{"data":1}]}`, nil, []string{"set[0].key"}},
		{"POST /v1/temp/n/batch", `{"set":[{"key":7,"data":1,"colour":1}]}`, nil, []string{"set[0].key", "set[0].colour"}},
		{"POST /v1/temp/n/batch", `{"set":[{"key":"a","data":1,"ttl":0},{"key":"b","data":1,"ttl":"60"},{"key":"c","data":1,"ttl":1.5},{"key":"d","data":1,"ttl":null}]}`, nil, []string{"set[0].ttl", "set[1].ttl", "set[2].ttl", "set[3].ttl"}},
		{"POST /v1/users/0/temp/batch", `{"get":["a b"]}`, nil, []string{"user_id", "get[0]"}},
		{"POST /v1/users/0/temp/batch", `{}`, nil, []string{"user_id", "get"}},
		{"POST /v1/temp/a%20b/batch", `{"set":[{"key":"a"}]}`, nil, []string{"namespace", "set[0].data"}},
		{"POST /v1/temp/n/batch", `{"get":["a"],"get":["b"]}`, nil, []string{"get"}},
	} {
		method, path, _ := strings.Cut(tt.call, " ")
		if method == http.MethodPatch {
			tt.headers = append(tt.headers, "Content-Type: application/merge-patch+json")
		}
		t.Run(tt.call+" "+tt.body[:min(len(tt.body), 60)], func(t *testing.T) {
			t.Parallel()
			h.call(t, method, path, tt.body, tt.headers...).problem(t, 422, "invalid_fields", tt.fields...)
		})
	}
	for _, id := range []string{"0", "-1", "01", "+1", "1.0", "1e3", "1_000", "9223372036854775808", "abc", "%20", "%D9%A1", "1%2F2"} {
		for _, call := range []string{
			"GET /temp", "DELETE /temp", "PUT /temp/k", "GET /temp/k", "DELETE /temp/k", "POST /temp/k/touch", "GET /forms", "DELETE /forms",
			"GET /forms/f", "PATCH /forms/f", "DELETE /forms/f", "POST /forms/f/submit", "POST /forms/f/back", "PUT /forms/f/steps/s",
			"GET /forms/f/steps/s", "DELETE /forms/f/steps/s", "PUT /conversation", "GET /conversation", "DELETE /conversation", "POST /lease",
			"DELETE /lease?token=4f5d0b6c-5a0e-4a7e-9a51-1c7d6a0b2e93", "DELETE /cache",
		} {
			method, path, _ := strings.Cut(call, " ")
			h.call(t, method, "/v1/users/"+id+path, "{}", "Content-Type: application/json").problem(t, 422, "invalid_fields", "user_id")
		}
	}
}

// TestBadTempBodies sends what is no JSON, of another type, or too large, to all calls that take a body.
func TestBadTempBodies(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for _, call := range []string{
		"PUT /v1/temp/n/k", "PUT /v1/users/1/temp/k", "PUT /v1/users/1/conversation", "PUT /v1/users/1/forms/f/steps/s",
		"PATCH /v1/users/1/forms/f", "POST /v1/users/1/forms/f/submit", "POST /v1/conversations/c/messages", "POST /v1/temp/n/batch",
		"POST /v1/users/1/temp/batch",
	} {
		method, path, _ := strings.Cut(call, " ")
		send := func(body string, headers ...string) answer {
			t.Helper()
			return h.call(t, method, path, body, append([]string{"Content-Type: application/json"}, headers...)...)
		}
		for _, body := range []string{
			" ", secret, `{"` + secret, `{"a":"` + secret + `"`, `{"a":1,}`, `{'a':1}`, "{}{}", `{} ` + secret, "\xff\xfe{\x00", "{\"a\":\"" + secret + "\xff\"}",
			`{"a":"\ud83d"}`, "\ufeff{}", `{"a":NaN}`, `{"a":01}`, strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000),
		} {
			a := send(body)
			if a.problem(t, 400, "malformed_json"); strings.Contains(string(a.body), secret) {
				t.Errorf("%s: the answer repeats what the body holds: %s", call, a.body)
			}
		}
		for _, header := range []string{"Content-Type: text/plain", "Content-Type:", "Content-Type: application/json; charset=utf-16", "Content-Encoding: gzip"} {
			send(`{}`, header).problem(t, 415, "unsupported_media_type")
		}
		send(`{"x":"`+strings.Repeat("x", 1<<20)+`"}`).problem(t, 413, "payload_too_large")
	}
	h.call(t, http.MethodPut, "/v1/temp/n/k", `{}`, "Content-Type: application/merge-patch+json").problem(t, 415, "unsupported_media_type")
	h.put(t, "/v1/temp/n/k", "").problem(t, 400, "malformed_json")
	for _, body := range []string{"[]", "null", "1", `"steps"`} {
		for _, call := range []string{"PATCH /v1/users/1/forms/f", "POST /v1/users/1/forms/f/submit", "POST /v1/conversations/c/messages", "POST /v1/temp/n/batch"} {
			method, path, _ := strings.Cut(call, " ")
			h.call(t, method, path, body, "Content-Type: application/json").problem(t, 400, "malformed_json")
		}
	}
	for _, body := range []string{`{"a":1,"a":"` + secret + `"}`, `[{"a":1,"a":2}]`} {
		h.put(t, "/v1/temp/n/k", body).problem(t, 400, "malformed_json")
	}
	h.get(t, "/v1/temp/n/k").problem(t, 404, "value_not_found")
}

// TestTempTooLarge goes to the limit of a value, a form and a history, and one byte over it.
func TestTempTooLarge(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	text := func(size int) string { return `"` + strings.Repeat("x", size-2) + `"` }
	const most = 256 << 10
	for _, path := range []string{"/v1/temp/n/k", "/v1/users/1/temp/k", "/v1/users/1/conversation", "/v1/users/1/forms/f/steps/s"} {
		h.put(t, path, " "+text(most)+" ").is(t, 201, "application/json")
		p := h.put(t, path, text(most+1)).problem(t, 413, "payload_too_large")
		if !strings.Contains(p.Detail, "262144 bytes") || strings.Contains(p.Detail, "100 steps") {
			t.Errorf("%s: the detail is %q", path, p.Detail)
		}
		h.get(t, path).json(t, 200, text(most))
	}
	h.put(t, "/v1/users/1/forms/f/steps/t", `1`).problem(t, 413, "payload_too_large")
	h.call(t, http.MethodPatch, "/v1/users/1/forms/f", `{"steps":{"t":1}}`, "Content-Type: application/json").problem(t, 413, "payload_too_large")
	h.post(t, "/v1/conversations/c/messages", `{"messages":[`+text(most/2)+`,`+text(most/2)+`]}`).is(t, 201, "application/json")
	h.post(t, "/v1/conversations/c/messages", `{"messages":[`+text(most/2)+`,`+text(most/2+1)+`]}`).problem(t, 413, "payload_too_large")
	h.post(t, "/v1/temp/n/batch", `{"set":[{"key":"a","data":1},{"key":"b","data":`+text(most+1)+`}]}`).problem(t, 413, "payload_too_large")
	h.get(t, "/v1/temp/n/a").problem(t, 404, "value_not_found")
	for i := range 100 {
		h.put(t, "/v1/users/1/forms/g/steps/s"+strings.Repeat("s", i), `1`)
	}
	p := h.put(t, "/v1/users/1/forms/g/steps/more", `1`).problem(t, 413, "payload_too_large")
	if !strings.Contains(p.Detail, "100 steps") || strings.Contains(p.Detail, "bytes") {
		t.Errorf("the detail is %q", p.Detail)
	}
	h.put(t, "/v1/temp/n/deep", strings.Repeat("[", 64)+strings.Repeat("]", 64)).is(t, 201, "application/json")
	h.put(t, "/v1/temp/n/deep", strings.Repeat("[", 65)+strings.Repeat("]", 65)).problem(t, 400, "malformed_json")
}
