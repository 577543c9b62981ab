package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/connectbot-hub/connecthub/api"
)

const form = "/v1/users/7/forms/activity"

// form reads an answer that is a form.
func (a answer) form(tb testing.TB) api.Form {
	tb.Helper()
	a.is(tb, 200, "application/json")
	a.tag(tb)
	return decode[api.Form](tb, a.body)
}

func (h *hub) patch(tb testing.TB, path, body string, headers ...string) answer {
	tb.Helper()
	return h.call(tb, http.MethodPatch, path, body, append([]string{"Content-Type: application/merge-patch+json"}, headers...)...)
}

// TestForm fills in a form, step by step.
func TestForm(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	h.get(t, form).problem(t, 404, "form_not_found")
	h.get(t, form+"/steps/profile").problem(t, 404, "step_not_found")
	h.delete(t, form).problem(t, 404, "form_not_found")
	if p := h.delete(t, form+"/steps/profile").problem(t, 404, "step_not_found"); !strings.Contains(p.Detail, "no form of this name") {
		t.Errorf("the detail is %q", p.Detail)
	}
	first := h.put(t, form+"/steps/profile", `{"name": "Анна <&>"}`)
	first.json(t, 201, `{"form":"activity","step":"profile","expires_in":3600}`)
	second := h.put(t, form+"/steps/date?ttl=600", `"2026-11-24"`)
	second.json(t, 200, `{"form":"activity","step":"date","expires_in":600}`)
	if first.tag(t) == second.tag(t) {
		t.Error("the form changed, and its ETag did not")
	}
	got := h.get(t, form)
	f := got.form(t)
	if string(f.Steps) != `{"profile":{"name":"Анна <&>"},"date":"2026-11-24"}` || f.Form != "activity" || f.Degraded || f.UpdatedAt == "" ||
		f.ExpiresIn == nil || *f.ExpiresIn < 570 || *f.ExpiresIn > 600 || got.tag(t) != second.tag(t) {
		t.Errorf("the form is %s, %s", got.body, got.tag(t))
	}
	if a := h.get(t, form, "If-None-Match: "+got.tag(t)); a.status != 304 || len(a.body) > 0 {
		t.Errorf("what is known comes with %d", a.status)
	}
	step := h.get(t, form+"/steps/profile")
	if step.json(t, 200, `{"name":"Анна <&>"}`); step.tag(t) != got.tag(t) {
		t.Errorf("the step has the ETag %s, the form %s", step.tag(t), got.tag(t))
	}
	step.left(t, 600)
	if a := h.get(t, form+"/steps/profile", "If-None-Match: "+got.tag(t)); a.status != 304 {
		t.Errorf("a step that is known comes with %d", a.status)
	}
	for _, a := range []answer{h.get(t, form+"/steps/none"), h.delete(t, form+"/steps/none")} {
		if p := a.problem(t, 404, "step_not_found"); p.Detail != "The form is there, but has no step of this name." {
			t.Errorf("the detail is %q", p.Detail)
		}
	}
	// A step that is put again stays in its place.
	h.put(t, form+"/steps/profile", `1`).is(t, 200, "application/json")
	h.put(t, form+"/steps/last", `[]`).is(t, 200, "application/json")
	if f := h.get(t, form).form(t); string(f.Steps) != `{"profile":1,"date":"2026-11-24","last":[]}` {
		t.Errorf("the steps are %s", f.Steps)
	}
	gone := h.delete(t, form+"/steps/date")
	gone.json(t, 200, `{"deleted":true,"form":"activity","step":"date"}`)
	if got := h.get(t, form); string(got.form(t).Steps) != `{"profile":1,"last":[]}` || got.tag(t) != gone.tag(t) {
		t.Errorf("the form is %s, %s", got.body, got.tag(t))
	}
	h.delete(t, form).json(t, 200, `{"deleted":true,"form":"activity"}`)
	h.get(t, form).problem(t, 404, "form_not_found")
}

// TestFormPatch changes forms by merge patches.
func TestFormPatch(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for _, tt := range []struct{ patch, want string }{
		{`{"steps":{"a":{"x":1,"y":{"z":[1,2]}},"b":2}}`, `{"a":{"x":1,"y":{"z":[1,2]}},"b":2}`},
		{`{"steps":{"a":{"x":null,"y":{"z":[3]},"w":"<"}}}`, `{"a":{"y":{"z":[3]},"w":"<"},"b":2}`},
		{`{"steps":{"b":null,"c":{"d":1.50}}}`, `{"a":{"y":{"z":[3]},"w":"<"},"c":{"d":1.50}}`},
		{`{"steps":{"a":"text"}}`, `{"a":"text","c":{"d":1.50}}`},
		{`{"steps":{"none":null}}`, `{"a":"text","c":{"d":1.50}}`},
		{` {"steps": {}} `, `{"a":"text","c":{"d":1.50}}`},
		{`{}`, `{"a":"text","c":{"d":1.50}}`},
		{`{"steps":null}`, `{}`},
		{`{"steps":{"new":1}}`, `{"new":1}`},
	} {
		a := h.patch(t, form, tt.patch)
		if f := a.form(t); string(f.Steps) != tt.want {
			t.Errorf("after %s the steps are %s, want %s", tt.patch, f.Steps, tt.want)
		}
		got := h.get(t, form)
		if string(got.form(t).Steps) != tt.want || got.tag(t) != a.tag(t) {
			t.Errorf("after %s the form is %s, %s", tt.patch, got.body, got.tag(t))
		}
	}
	if f := h.patch(t, form+"?ttl=60", `{"steps":{"new":2}}`, "Content-Type: application/json").form(t); *f.ExpiresIn > 60 {
		t.Errorf("it is kept for %d s", *f.ExpiresIn)
	}
	p := h.patch(t, form, `{}`, "Content-Type: application/json-patch+json").problem(t, 415, "unsupported_media_type")
	if !strings.Contains(p.Detail, "application/merge-patch+json or application/json.") {
		t.Errorf("the detail is %q", p.Detail)
	}
	h.patch(t, "/v1/users/7/forms/none", `{}`).problem(t, 404, "form_not_found")
	h.patch(t, "/v1/users/7/forms/none", `{"steps":{"a":1}}`, "If-None-Match: *").form(t)
}

// TestFormConditions changes a form that somebody else changed before.
func TestFormConditions(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	h.patch(t, form, `{"steps":{"a":1,"b":2,"c":3}}`, `If-Match: *`).problem(t, 412, "precondition_failed")
	old := h.patch(t, form, `{"steps":{"a":1,"b":2,"c":3}}`, `If-None-Match: *`).tag(t)
	now := h.put(t, form+"/steps/a", `0`).tag(t)
	for _, call := range []string{
		"PUT /steps/a", "DELETE /steps/a", "PATCH ", "DELETE ", "POST /back", "POST /submit",
	} {
		method, path, _ := strings.Cut(call, " ")
		for _, condition := range []string{"If-Match: " + old, "If-None-Match: *", "If-Match: W/" + now} {
			a := h.call(t, method, form+path, `{}`, "Content-Type: application/json", condition)
			if p := a.problem(t, 412, "precondition_failed"); p.CurrentEtag != now {
				t.Errorf("%s with %s tells the ETag %q, want %q", call, condition, p.CurrentEtag, now)
			}
		}
	}
	if f := h.get(t, form).form(t); string(f.Steps) != `{"a":0,"b":2,"c":3}` {
		t.Errorf("the steps are %s", f.Steps)
	}
	for _, call := range []string{"PUT /steps/a", "DELETE /steps/a", "PATCH ", "POST /back", "DELETE "} {
		method, path, _ := strings.Cut(call, " ")
		tag := h.get(t, form).tag(t)
		h.call(t, method, form+path, `{}`, "Content-Type: application/json", "If-Match: "+tag).is(t, 200, "application/json")
	}
}

// TestFormBack goes back until there is nothing left.
func TestFormBack(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	h.post(t, form+"/back", "").problem(t, 404, "form_not_found")
	for _, step := range []string{"one", "two", "three"} {
		h.put(t, form+"/steps/"+step, `"`+step+`"`)
	}
	h.put(t, form+"/steps/one", `1`) // It stays the first.
	for _, want := range []struct{ removed, steps string }{{"three", `{"one":1,"two":"two"}`}, {"two", `{"one":1}`}, {"one", `{}`}} {
		a := h.post(t, form+"/back", "")
		a.is(t, 200, "application/json")
		back := decode[api.FormBack](t, a.body)
		if back.Removed != want.removed || string(back.Steps) != want.steps || back.Form != "activity" {
			t.Errorf("went back: %s, want %v", a.body, want)
		}
	}
	if p := h.post(t, form+"/back", "").problem(t, 404, "step_not_found"); p.Detail != "The form is there, but has no step left." {
		t.Errorf("the detail is %q", p.Detail)
	}
	h.delete(t, form).is(t, 200, "application/json")
	h.post(t, form+"/back", "").problem(t, 404, "form_not_found")
}

// TestForms lists and clears the forms of a user.
func TestForms(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	const forms = "/v1/users/7/forms"
	h.get(t, forms).json(t, 200, `{"forms":[],"next_cursor":null}`)
	for i := range 12 {
		h.put(t, fmt.Sprintf("%s/f%d/steps/s?ttl=%d", forms, i, 1000+i), `1`)
	}
	h.put(t, "/v1/users/77/forms/other/steps/s", `1`)
	seen := make(map[string]bool)
	for cursor := ""; ; {
		list := decode[api.FormList](t, h.get(t, forms+"?limit=5&cursor="+cursor).body)
		for _, f := range list.Forms {
			if seen[f.Form] || f.ExpiresIn == nil || *f.ExpiresIn > 1011 {
				t.Errorf("listed is %+v", f)
			}
			seen[f.Form] = true
		}
		if list.NextCursor == nil {
			break
		}
		cursor = *list.NextCursor
	}
	if len(seen) != 12 {
		t.Errorf("%d forms are listed", len(seen))
	}
	h.delete(t, forms).json(t, 200, `{"cleared":12}`)
	h.get(t, forms+"/f0").problem(t, 404, "form_not_found")
	h.get(t, "/v1/users/77/forms/other").form(t)
}

// TestFormOfTwoClients lets two hubs change one form at the same time: nothing gets lost.
func TestFormOfTwoClients(t *testing.T) {
	t.Parallel()
	hubs := []*hub{startHub(t, options{})}
	two := options{}
	two.events.Prefix = hubs[0].prefix
	hubs = append(hubs, startHub(t, two))
	const each = 20
	var all sync.WaitGroup
	for client, h := range hubs {
		all.Go(func() {
			for i := range each {
				name := fmt.Sprintf("c%d-%d", client, i)
				for _, how := range []struct{ method, path, body string }{
					{http.MethodPut, form + "/steps/" + name, `{"put":true}`},
					{http.MethodPatch, form, `{"steps":{"` + name + `":{"patched":true},"both":{"` + name + `":1}}}`},
				} {
					a, err := h.try(t, how.method, how.path, strings.NewReader(how.body), "Content-Type: application/json")
					if err != nil || a.status > 201 {
						t.Errorf("%s: %v, %d %s", name, err, a.status, a.body)
					}
				}
			}
		})
	}
	all.Wait()
	for _, h := range hubs {
		steps := map[string]json.RawMessage{}
		if err := json.Unmarshal(h.get(t, form).form(t).Steps, &steps); err != nil {
			t.Fatal(err)
		}
		both := decode[map[string]int](t, steps["both"])
		if len(steps) != 2*each+1 || len(both) != 2*each {
			t.Errorf("%d steps and %d members came through", len(steps), len(both))
		}
		for name, data := range steps {
			if name != "both" && string(data) != `{"put":true,"patched":true}` {
				t.Errorf("%s is %s", name, data)
			}
		}
	}
}
