package api_test

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// degraded checks that the answer says that it comes from memory, or that it does not.
func (a answer) degraded(tb testing.TB, want bool) answer {
	tb.Helper()
	header, member := a.header.Get("Degraded"), strings.Contains(string(a.body), `"degraded":true`)
	if want && header != "memory" || !want && (header != "" || member) {
		tb.Errorf("Degraded is %q, the body %s, want it degraded %t", header, a.body, want)
	}
	return a
}

// TestTempWithoutRedis takes Redis away from a user in the middle of a form, with Redis as it crashes: nothing is lost, and
// what is done meanwhile is there when Redis is back, even if that has forgotten all.
func TestTempWithoutRedis(t *testing.T) {
	redis := redistest.Start(t)
	h := startHub(t, options{redis: redis})
	h.put(t, "/v1/temp/n/before", `"before"`).degraded(t, false).is(t, 201, "application/json")
	h.put(t, form+"/steps/one", `1`).degraded(t, false).is(t, 201, "application/json")
	h.post(t, "/v1/conversations/c/messages", `{"message":1}`).degraded(t, false).is(t, 201, "application/json")
	redis.Kill()
	redistest.Eventually(t, soon, "the hub goes on in memory", func() bool {
		return h.put(t, "/v1/temp/n/probe", `1`).header.Get("Degraded") == "memory"
	})
	// Values.
	created := h.put(t, "/v1/temp/n/a?ttl=1000", `{"a":1}`).degraded(t, true)
	created.json(t, 201, `{"namespace":"n","key":"a","expires_in":1000,"degraded":true}`)
	got := h.get(t, "/v1/temp/n/a").degraded(t, true)
	got.json(t, 200, `{"a":1}`)
	got.left(t, 1000)
	if meta := decode[api.TempValue](t, h.get(t, "/v1/temp/n/a?meta=true").body); !meta.Degraded || string(meta.Data) != `{"a":1}` {
		t.Errorf("meta is %+v", meta)
	}
	if a := h.get(t, "/v1/temp/n/a", "If-None-Match: "+got.tag(t)).degraded(t, true); a.status != 304 {
		t.Errorf("what is known comes with %d", a.status)
	}
	if p := h.put(t, "/v1/temp/n/a", `2`, "If-None-Match: *").degraded(t, true).problem(t, 412, "precondition_failed"); p.CurrentEtag != got.tag(t) {
		t.Errorf("the current ETag is %s", p.CurrentEtag)
	}
	h.put(t, "/v1/temp/n/a", `2`, "If-Match: "+got.tag(t)).degraded(t, true).is(t, 200, "application/json")
	h.post(t, "/v1/temp/n/a/touch?ttl=2000", "").degraded(t, true).is(t, 200, "application/json")
	h.get(t, "/v1/temp/n/before").degraded(t, true).json(t, 200, `"before"`)
	batch := h.post(t, "/v1/temp/n/batch", `{"set":[{"key":"b","data":3},{"key":"gone","data":4}]}`).degraded(t, true)
	if results := decode[api.TempResults](t, batch.body); !results.Degraded || len(results.Results) != 2 {
		t.Errorf("the batch says %s", batch.body)
	}
	if values := decode[api.TempValues](t, h.post(t, "/v1/temp/n/batch", `{"get":["b","a"]}`).degraded(t, true).body); !values.Degraded {
		t.Errorf("the batch says %+v", values)
	}
	h.delete(t, "/v1/temp/n/gone").degraded(t, true).json(t, 200, `{"degraded":true,"deleted":true,"key":"gone","namespace":"n"}`)
	h.get(t, "/v1/temp/n/gone").degraded(t, true).problem(t, 404, "value_not_found")
	// Forms and conversations.
	h.put(t, form+"/steps/two", `2`).degraded(t, true).json(t, 200, `{"form":"activity","step":"two","expires_in":3600,"degraded":true}`)
	f := h.get(t, form).degraded(t, true).form(t)
	if string(f.Steps) != `{"one":1,"two":2}` || !f.Degraded {
		t.Errorf("the form is %+v", f)
	}
	h.get(t, form+"/steps/one").degraded(t, true).json(t, 200, `1`)
	h.get(t, form+"/steps/none").degraded(t, true).problem(t, 404, "step_not_found")
	h.patch(t, form, `{"steps":{"one":{"x":1}}}`).degraded(t, true).form(t)
	back := decode[api.FormBack](t, h.post(t, form+"/back", "").degraded(t, true).body)
	if back.Removed != "two" || !back.Degraded {
		t.Errorf("went back: %+v", back)
	}
	h.put(t, "/v1/users/7/conversation", `"waiting"`).degraded(t, true).is(t, 201, "application/json")
	h.post(t, "/v1/conversations/c/messages", `{"message":2}`).degraded(t, true).is(t, 201, "application/json")
	h.get(t, "/v1/conversations/c/messages").degraded(t, true).json(t, 200, `{"messages":[1,2],"degraded":true}`)
	// What only Redis knows.
	for _, call := range []string{
		"GET /v1/temp/n/unknown", "GET /v1/temp/n", "DELETE /v1/temp/n", "GET /v1/users/7/forms", "GET /v1/users/7/forms/unknown",
		"POST /v1/users/7/forms/activity/submit", "POST /v1/users/7/lease", "POST /v1/users/7/lease?token=4f5d0b6c-5a0e-4a7e-9a51-1c7d6a0b2e93",
		"DELETE /v1/users/7/lease?token=4f5d0b6c-5a0e-4a7e-9a51-1c7d6a0b2e93", "GET /v1/conversations/unknown/messages",
	} {
		method, path, _ := strings.Cut(call, " ")
		a := h.call(t, method, path, "")
		if p := a.problem(t, 503, "redis_unavailable"); !p.Retryable || a.header.Get("Retry-After") != "1" {
			t.Errorf("%s: retryable %t, Retry-After %q", call, p.Retryable, a.header.Get("Retry-After"))
		}
	}
	// What is wrong is wrong without Redis too.
	h.put(t, "/v1/temp/n/a?ttl=0", `1`).problem(t, 422, "invalid_fields", "ttl")
	h.put(t, "/v1/temp/n/a", `{`).problem(t, 400, "malformed_json")
	if stats := h.stats(t).TempData; stats.Operations["degraded"] == 0 || len(stats.Keys) != 0 {
		t.Errorf("the counters are %+v", stats)
	}

	redis.Restart()
	redistest.Eventually(t, soon, "all is written back", func() bool {
		return h.get(t, "/v1/temp/n/a").header.Get("Degraded") == "" && h.stats(t).TempData.Operations["waiting"] == 0
	})
	for path, want := range map[string]string{
		"/v1/temp/n/a": `2`, "/v1/temp/n/b": `3`, "/v1/temp/n/before": `"before"`, form + "/steps/one": `{"x":1}`, "/v1/users/7/conversation": `"waiting"`,
		"/v1/conversations/c/messages": `{"messages":[1,2]}`,
	} {
		h.get(t, path).degraded(t, false).json(t, 200, want)
	}
	h.get(t, "/v1/temp/n/a").left(t, 2000)
	h.get(t, "/v1/temp/n/gone").degraded(t, false).problem(t, 404, "value_not_found")
	// Another hub finds it too.
	other := options{redis: redis}
	other.events.Prefix = h.prefix
	two := startHub(t, other)
	two.get(t, "/v1/temp/n/a").json(t, 200, `2`)
	if f := two.get(t, form).form(t); string(f.Steps) != `{"one":{"x":1}}` {
		t.Errorf("the other hub has the steps %s", f.Steps)
	}
}

// TestTempWithoutMemory is what a hub does that may keep nothing while Redis is away.
func TestTempWithoutMemory(t *testing.T) {
	redis := redistest.Start(t)
	h := startHub(t, options{redis: redis, temp: tempdata.Config{MemoryBytes: -1}})
	h.put(t, "/v1/temp/n/a", `1`).is(t, 201, "application/json")
	redis.Pause()
	for _, call := range []string{
		"PUT /v1/temp/n/a", "GET /v1/temp/n/a", "DELETE /v1/temp/n/a", "POST /v1/temp/n/a/touch", "PUT /v1/users/7/forms/f/steps/s",
		"PATCH /v1/users/7/forms/f", "POST /v1/users/7/forms/f/back",
	} {
		method, path, _ := strings.Cut(call, " ")
		a := h.call(t, method, path, `{}`, "Content-Type: application/json")
		if p := a.problem(t, 503, "redis_unavailable"); !p.Retryable {
			t.Errorf("%s: not retryable", call)
		}
	}
	// Now that Redis is known to be away it is not asked, so that it is certain that nothing was changed.
	for _, call := range unsafeCalls {
		if p := h.unsafe(t, call); !strings.HasSuffix(p.Detail, " Nothing was changed. Try again.") {
			t.Errorf("%s: the detail is %q", call, p.Detail)
		}
	}
	redis.Resume()
	redistest.Eventually(t, soon, "the value is there again", func() bool { return h.get(t, "/v1/temp/n/a").status == http.StatusOK })
}

// unsafeCalls are those that may not be sent twice.
//
//nolint:gochecknoglobals // A constant, but for the language.
var unsafeCalls = []string{
	"POST /v1/conversations/c/messages", "POST /v1/users/7/forms/f/submit", "POST /v1/users/7/forms/f/back", "POST /v1/users/7/lease",
}

// unsafe makes such a call while Redis is away.
func (h *hub) unsafe(tb testing.TB, call string) api.Problem {
	tb.Helper()
	method, path, _ := strings.Cut(call, " ")
	body := `{"message":1}`
	if strings.Contains(path, "/submit") {
		body = `{}`
	}
	p := h.call(tb, method, path, body).problem(tb, 503, "redis_unavailable")
	if strings.Contains(p.Detail, "no harm") {
		tb.Errorf("%s: the detail is %q", call, p.Detail)
	}
	return p
}

// TestTempUnsure sends what may not be sent twice to a Redis that takes it, but does not answer.
func TestTempUnsure(t *testing.T) {
	words := []string{"twice", "taken out all the same", "If-Match", "until its time is over"}
	for i, call := range unsafeCalls {
		t.Run(call, func(t *testing.T) {
			redis := redistest.Start(t)
			h := startHub(t, options{redis: redis, temp: tempdata.Config{MemoryBytes: -1}})
			h.put(t, "/v1/users/7/forms/f/steps/s", `1`).is(t, 201, "application/json")
			redis.Pause()
			if p := h.unsafe(t, call); !strings.Contains(p.Detail, words[i]) {
				t.Errorf("the detail is %q, want %s", p.Detail, words[i])
			}
			redis.Resume()
		})
	}
}

// TestTempMemoryFull fills the memory for what waits.
func TestTempMemoryFull(t *testing.T) {
	redis := redistest.Start(t)
	h := startHub(t, options{redis: redis, temp: tempdata.Config{MemoryBytes: 256 << 10}})
	redis.Kill()
	noise := make([]byte, 20<<10)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	value := fmt.Sprintf("%q", base64.StdEncoding.EncodeToString(noise)) // It cannot be compressed much.
	var a answer
	for i := 0; i < 100 && (a.status == 0 || a.status == 201); i++ {
		a = h.put(t, fmt.Sprintf("/v1/temp/n/k%d", i), value)
	}
	if p := a.problem(t, 503, "memory_full"); !p.Retryable || a.header.Get("Retry-After") != "1" {
		t.Errorf("retryable %t, Retry-After %q", p.Retryable, a.header.Get("Retry-After"))
	}
	h.get(t, "/v1/temp/n/k0").degraded(t, true).json(t, 200, value)
}
