package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func (h *hub) put(tb testing.TB, path, body string, headers ...string) answer {
	tb.Helper()
	return h.call(tb, http.MethodPut, path, body, headers...)
}

func (h *hub) delete(tb testing.TB, path string) answer {
	tb.Helper()
	return h.call(tb, http.MethodDelete, path, "")
}

// tag returns the ETag, which must be strong.
func (a answer) tag(tb testing.TB) string {
	tb.Helper()
	tag := a.header.Get("ETag")
	if len(tag) < 5 || tag[0] != '"' || tag[len(tag)-1] != '"' {
		tb.Errorf("ETag: %s", tag)
	}
	return tag
}

// left checks Expires-In, which is at most this and hardly less.
func (a answer) left(tb testing.TB, most int) {
	tb.Helper()
	left, err := strconv.Atoi(a.header.Get("Expires-In"))
	if err != nil || left > most || left < most-int(soon.Seconds()) {
		tb.Errorf("Expires-In: %s, want %d", a.header.Get("Expires-In"), most)
	}
}

// json checks that the answer is this JSON, byte for byte.
func (a answer) json(tb testing.TB, status int, want string) {
	tb.Helper()
	if a.is(tb, status, "application/json"); strings.TrimSpace(string(a.body)) != want {
		tb.Errorf("the answer is %s, want %s", a.body, want)
	}
}

// places are where values are kept, with what answers call their namespaces.
var places = map[string]string{"/v1/temp/drafts": "drafts", "/v1/users/9007199254740993/temp": "user_9007199254740993"} //nolint:gochecknoglobals // A constant.

// TestTempValue sets, gets, replaces and deletes a value, in a namespace and with a user.
func TestTempValue(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for base, namespace := range places {
		path := base + "/anna"
		h.get(t, path).problem(t, 404, "value_not_found")
		first := h.put(t, path+"?ttl=100", `{"a": [1, 2.50, "<&>"]}`)
		first.json(t, 201, `{"namespace":"`+namespace+`","key":"anna","expires_in":100}`)
		got := h.get(t, path)
		if got.json(t, 200, `{"a":[1,2.50,"<&>"]}`); got.tag(t) != first.tag(t) {
			t.Errorf("ETag is %s, and was %s when it was set", got.tag(t), first.tag(t))
		}
		got.left(t, 100)
		again := h.put(t, path, `{"a": [1, 2.50, "<&>"]}`)
		again.json(t, 200, `{"namespace":"`+namespace+`","key":"anna","expires_in":1800}`)
		if again.tag(t) == first.tag(t) {
			t.Error("the same value, set again, has the same ETag")
		}
		h.get(t, path).left(t, 1800)
		h.delete(t, path).json(t, 200, `{"deleted":true,"key":"anna","namespace":"`+namespace+`"}`)
		h.delete(t, path).problem(t, 404, "value_not_found")
		h.get(t, path).problem(t, 404, "value_not_found")
		if back := h.put(t, path, `{"a":[1,2.50,"<&>"]}`); back.status != 201 || back.tag(t) == first.tag(t) || back.tag(t) == again.tag(t) {
			t.Errorf("after it was deleted it is set with %d, ETag %s", back.status, back.tag(t))
		}
	}
}

// TestTempValueIsKeptAsItIs sends all kinds of JSON and wants it back.
func TestTempValueIsKeptAsItIs(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for i, tt := range []struct{ body, typ string }{
		{`{}`, "dict"},
		{`[]`, "list"},
		{`null`, "NoneType"},
		{`true`, "bool"},
		{`"кофе ☕️ \u0435 </script> \u2028"`, "str"},
		{`9007199254740993`, "int"},
		{`-0`, "int"},
		{`1.10`, "float"},
		{`1E30`, "float"},
		{`{"b":1,"a":{"z":[],"y":null}}`, "dict"},
		{`"` + strings.Repeat("й", 100_000) + `"`, "str"},
	} {
		for base, namespace := range places {
			path := base + "/" + strconv.Itoa(i)
			h.put(t, path, " "+tt.body+"\n").is(t, 201, "application/json")
			h.get(t, path).json(t, 200, tt.body)
			a := h.get(t, path+"?meta=true")
			a.is(t, 200, "application/json")
			meta := decode[api.TempValue](t, a.body)
			if string(meta.Data) != tt.body || meta.Type != tt.typ || meta.Namespace != namespace || meta.Key != strconv.Itoa(i) ||
				meta.CreatedAt == nil || meta.ExpiresIn == nil || meta.Degraded {
				t.Errorf("%.100s: meta is %.300s", tt.body, a.body)
			}
		}
	}
}

// TestTempNames uses names at the edges of what is allowed.
func TestTempNames(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for _, name := range []string{"a", "touch", "A-z_0.9:", "...", ".a", strings.Repeat("x", 128), "%61b", "user_1", "conversations"} {
		path := "/v1/users/1/temp/" + name
		h.put(t, path, `1`).is(t, 201, "application/json")
		h.get(t, path).json(t, 200, `1`)
		h.post(t, path+"/touch", "").is(t, 200, "application/json")
		h.delete(t, path).is(t, 200, "application/json")
	}
	// The contract's checker does not see past the call that is named batch.
	for _, what := range []string{"PUT 201", "GET 200", "DELETE 200"} {
		method, status, _ := strings.Cut(what, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, h.url+"/v1/temp/n/batch", strings.NewReader(`1`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := h.base.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if _ = resp.Body.Close(); strconv.Itoa(resp.StatusCode) != status {
			t.Errorf("%s of the key batch: %d, want %s", method, resp.StatusCode, status)
		}
	}
	for _, namespace := range []string{"user_", "user_x", "user", "users", "user_1x", "conversation", "a:b", strings.Repeat("n", 128)} {
		h.put(t, "/v1/temp/"+namespace+"/a", `1`).is(t, 201, "application/json")
	}
	for namespace, ttl := range map[string]int{
		"sessions": 86400, "bot_sessions": 7200, "activity_drafts": 3600, "employees": 3600, "participants": 900, "matching_requests": 1800, "any": 1800,
	} {
		h.put(t, "/v1/temp/"+namespace+"/a", `1`).json(t, 201, fmt.Sprintf(`{"namespace":%q,"key":"a","expires_in":%d}`, namespace, ttl))
	}
}

// TestTempHead compares HEAD with GET.
func TestTempHead(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for base := range places {
		path := base + "/a"
		if a := h.call(t, http.MethodHead, path, ""); a.status != 404 || len(a.body) != 0 {
			t.Errorf("HEAD of nothing: %d %s", a.status, a.body)
		}
		h.put(t, path, `{"long":"`+strings.Repeat("x", 5000)+`"}`)
		get, head := h.get(t, path), h.call(t, http.MethodHead, path, "")
		if head.status != 200 || len(head.body) != 0 {
			t.Errorf("HEAD: %d, %d bytes", head.status, len(head.body))
		}
		for _, name := range []string{"ETag", "Content-Type", "Content-Length", "Cache-Control"} {
			if head.header.Get(name) != get.header.Get(name) || get.header.Get(name) == "" {
				t.Errorf("%s is %q with HEAD and %q with GET", name, head.header.Get(name), get.header.Get(name))
			}
		}
		head.left(t, 1800)
		if a := h.call(t, http.MethodHead, path, "", "If-None-Match: "+get.tag(t)); a.status != 304 {
			t.Errorf("HEAD of what is known: %d", a.status)
		}
	}
}

// TestTempNotModified sends what the caller has.
func TestTempNotModified(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	tag := h.put(t, "/v1/temp/n/a", `1`).tag(t)
	for _, fields := range []string{tag, "W/" + tag, "*", `"other", ` + tag} {
		for _, query := range []string{"", "?meta=true"} {
			a := h.get(t, "/v1/temp/n/a"+query, "If-None-Match: "+fields)
			if a.status != 304 || len(a.body) != 0 || a.tag(t) != tag {
				t.Errorf("If-None-Match: %s: %d %s", fields, a.status, a.body)
			}
			a.left(t, 1800)
		}
	}
	for _, fields := range []string{`"other"`, strings.Trim(tag, `"`), "nonsense"} {
		h.get(t, "/v1/temp/n/a", "If-None-Match: "+fields).json(t, 200, `1`)
	}
	h.put(t, "/v1/temp/n/a", `1`)
	h.get(t, "/v1/temp/n/a", "If-None-Match: "+tag).json(t, 200, `1`)
	h.get(t, "/v1/temp/n/b", "If-None-Match: *").problem(t, 404, "value_not_found")
}

// TestTempConditions checks when changes are made, and that those that are not tell how things stand.
func TestTempConditions(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for base := range places {
		path := base + "/a"
		change := func(how, condition string) answer {
			t.Helper()
			method, target, _ := strings.Cut(how, " ")
			return h.call(t, method, path+target, `2`, condition)
		}
		unmet := func(how, condition, tag string) {
			t.Helper()
			a := change(how, condition)
			p := a.problem(t, 412, "precondition_failed")
			if p.CurrentEtag != tag || a.header.Get("ETag") != tag || p.Retryable {
				t.Errorf("%s with %s: tells %q and %q, want %q", how, condition, p.CurrentEtag, a.header.Get("ETag"), tag)
			}
		}
		changes := []string{"PUT ", "DELETE ", "POST /touch"}
		for _, how := range changes { // There is nothing.
			unmet(how, `If-Match: "x"`, "")
			unmet(how, "If-Match: *", "")
		}
		tag := change("PUT ", "If-None-Match: *").tag(t)
		for _, how := range changes { // Now there is.
			unmet(how, "If-None-Match: *", tag)
			for _, fields := range []string{`"x"`, "W/" + tag, `"x", "y"`, `W/"x"`, `, "x" ,,`, `"x",""`, `"",`, `"*"`, `"-"`, `"="`, `,""`} {
				unmet(how, "If-Match: "+fields, tag)
			}
		}
		h.get(t, path).json(t, 200, `2`)
		for _, fields := range []string{"*", tag, `"x", ` + tag, `W/"x" ,,` + tag + `,"y"`, " * "} {
			a := change("POST /touch", "If-Match: "+fields)
			if a.is(t, 200, "application/json"); a.tag(t) != tag {
				t.Errorf("touched it has the ETag %s, not %s", a.tag(t), tag)
			}
		}
		next := change("PUT ", "If-Match: "+tag)
		next.is(t, 200, "application/json")
		unmet("DELETE ", "If-Match: "+tag, next.tag(t))
		change("DELETE ", "If-Match: "+next.tag(t)).is(t, 200, "application/json")
		unmet("PUT ", "If-Match: "+next.tag(t), "")
	}
}

// TestTempConditionOverLines sends a list in two header lines, as RFC 9110 allows.
func TestTempConditionOverLines(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	tag := h.put(t, "/v1/temp/n/a", `1`).tag(t)
	for _, how := range []string{"PUT ", "POST /touch", "DELETE "} {
		method, target, _ := strings.Cut(how, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, h.url+"/v1/temp/n/a"+target, strings.NewReader(`1`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Content-Type": {"application/json"}, "If-Match": {`"x"`, `"y", ` + tag}}
		resp, err := h.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%s: %d", how, resp.StatusCode)
		}
		tag = resp.Header.Get("ETag")
	}
}

// TestTempTouch renews a time, and lets one run out.
func TestTempTouch(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for base, namespace := range places {
		h.post(t, base+"/a/touch", "").problem(t, 404, "value_not_found")
		tag := h.put(t, base+"/a?ttl=1000", `1`).tag(t)
		for query, want := range map[string]int{"?ttl=2592000": 2592000, "": 1800, "?ttl=60": 60} {
			a := h.post(t, base+"/a/touch"+query, "")
			if a.json(t, 200, fmt.Sprintf(`{"namespace":%q,"key":"a","expires_in":%d}`, namespace, want)); a.tag(t) != tag {
				t.Errorf("touched it has the ETag %s, not %s", a.tag(t), tag)
			}
			h.get(t, base+"/a").left(t, want)
		}
		h.post(t, base+"/a/touch?ttl=1", "").is(t, 200, "application/json")
		redistest.Eventually(t, soon, "the value has expired", func() bool { return h.get(t, base+"/a").status == 404 })
	}
}

// TestTempListAndClear pages through keys.
func TestTempListAndClear(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for base := range places {
		h.get(t, base).json(t, 200, `{"keys":[],"next_cursor":null}`)
		h.delete(t, base).json(t, 200, `{"cleared":0}`)
		for i := range 25 {
			h.put(t, fmt.Sprintf("%s/k%d?ttl=%d", base, i, 100+i), `1`).is(t, 201, "application/json")
		}
		seen := make(map[string]bool)
		for cursor, pages := "", 0; ; pages++ {
			a := h.get(t, base+"?limit=10&cursor="+cursor)
			a.is(t, 200, "application/json")
			list := decode[api.TempKeyList](t, a.body)
			for _, k := range list.Keys {
				if seen[k.Key] || k.ExpiresIn == nil || *k.ExpiresIn < 60 || *k.ExpiresIn > 124 {
					t.Errorf("the key %s: %s", k.Key, a.body)
				}
				seen[k.Key] = true
			}
			if list.NextCursor == nil {
				break
			}
			if cursor = *list.NextCursor; pages > 3 {
				t.Fatal("there is no end")
			}
		}
		if len(seen) != 25 {
			t.Errorf("%d keys are listed, want 25", len(seen))
		}
		h.delete(t, base).json(t, 200, `{"cleared":25}`)
		h.get(t, base+"/k0").problem(t, 404, "value_not_found")
	}
}

// TestTempNamespacesAreApart checks that what is set in one place is in no other.
func TestTempNamespacesAreApart(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	all := []string{"/v1/temp/a/k", "/v1/temp/b/k", "/v1/temp/user_/k", "/v1/users/1/temp/k", "/v1/users/11/temp/k"}
	for i, path := range all {
		h.put(t, path, strconv.Itoa(i)).is(t, 201, "application/json")
	}
	h.delete(t, "/v1/temp/a").json(t, 200, `{"cleared":1}`)
	for i, path := range all[1:] {
		h.get(t, path).json(t, 200, strconv.Itoa(i+1))
	}
}

// TestTempReserved asks for namespaces that have calls of their own.
func TestTempReserved(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for namespace, call := range map[string]string{
		"user_123": "/v1/users/123/temp", "user_0": "/v1/users/", "user_9223372036854775808": "/v1/users/", "conversations": "/v1/conversations/{conversation_id}/messages",
	} {
		for _, what := range []string{"PUT /a", "GET /a", "DELETE /a", "POST /a/touch", "POST /batch", "GET ", "DELETE "} {
			method, path, _ := strings.Cut(what, " ")
			p := h.call(t, method, "/v1/temp/"+namespace+path, `{}`).problem(t, 403, "namespace_reserved")
			if !strings.Contains(p.Detail, call) {
				t.Errorf("%s %s: %q does not name %s", what, namespace, p.Detail, call)
			}
		}
	}
	p := h.put(t, "/v1/users/1/temp/form_data_x", `1`).problem(t, 403, "namespace_reserved")
	if !strings.Contains(p.Detail, "/forms") {
		t.Errorf("the detail is %q", p.Detail)
	}
	h.post(t, "/v1/users/1/temp/batch", `{"get":["form_data_x"]}`).problem(t, 403, "namespace_reserved")
}

// TestTempStats checks that /stats tells of what is kept.
func TestTempStats(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	h.put(t, "/v1/temp/n/a", `1`)
	h.put(t, "/v1/temp/n/b", `1`)
	h.get(t, "/v1/temp/n/a")
	h.put(t, "/v1/temp/n/a", `2`, `If-Match: "x"`).problem(t, 412, "precondition_failed")
	stats := h.stats(t).TempData
	for name, want := range map[string]int64{"writes": 2, "reads": 1, "unmet": 1, "degraded": 0} {
		if got := stats.Operations[name]; got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
	if stats.Keys["n"] != 2 {
		t.Errorf("keys are %v", stats.Keys)
	}
}

// TestTempLogsTellNoSecrets looks in the log for what was kept, and for whom.
func TestTempLogsTellNoSecrets(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{api: api.Config{Audit: zap.NewNop()}}) // Which tells whose data was cleared.
	const user, payload = "987654321987", "secret-payload"
	h.put(t, "/v1/users/"+user+"/temp/"+payload, `"`+payload+`"`).is(t, 201, "application/json")
	h.put(t, "/v1/users/"+user+"/temp/"+payload, `"`+payload).problem(t, 400, "malformed_json")
	h.put(t, "/v1/users/"+user+"/temp/"+payload, `1`, `If-Match: "`+payload+`"`).problem(t, 412, "precondition_failed")
	h.put(t, "/v1/users/"+user+"/forms/"+payload+"/steps/"+payload, `"`+payload+`"`).is(t, 201, "application/json")
	h.post(t, "/v1/users/"+user+"/forms/"+payload+"/submit", `{"publish":{"channel":"user:`+user+`","type":"secret-payload"}}`).is(t, 200, "application/json")
	h.post(t, "/v1/conversations/"+payload+"/messages", `{"message":"`+payload+`"}`).is(t, 201, "application/json")
	lease := decode[api.Lease](t, h.post(t, "/v1/users/"+user+"/lease", "").body)
	h.delete(t, "/v1/users/"+user+"/lease?token="+lease.Token).is(t, 200, "application/json")
	h.delete(t, "/v1/users/"+user+"/cache").is(t, 200, "application/json")
	h.stop(t)
	for _, entry := range h.logs.All() {
		raw, err := json.Marshal(entry.ContextMap())
		if err != nil {
			t.Fatal(err)
		}
		line := entry.Message + " " + string(raw)
		for _, word := range []string{payload, user, lease.Token} {
			if strings.Contains(line, word) {
				t.Errorf("the log holds %q: %s", word, line)
			}
		}
	}
}
