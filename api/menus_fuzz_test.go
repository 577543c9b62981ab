package api_test

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// FuzzMenuRequests asks for menus with any query, If-None-Match and body: the answer keeps the contract, is never a fault
// of the hub, and reads the query as package url does.
func FuzzMenuRequests(f *testing.F) {
	h := startHub(f, options{})
	for _, seed := range [][3]string{
		{"role=admin&lang=en&format=telegram-inline&badges=profile:3", `W/"a", "b"`, `{"role":"admin","badges":{"profile":3}}`},
		{"role=%61dmin&role=&badges=a%3A1,b:2", "*", `{"lang":"en-US","format":"telegram-reply"}`},
		{"&&=;role", `"`, `{"role":"a","role":"b"}`},
		{"role=%zz&lang=+&format", "W/", `[`},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, query, noneMatch, body string) {
		a, err := h.try(t, http.MethodGet, "/v1/menus/1/main?"+query, http.NoBody, "If-None-Match: "+noneMatch)
		if err != nil {
			return // No such request can be sent.
		}
		if !slices.Contains([]int{200, 304, 422}, a.status) {
			t.Errorf("GET ?%s: %d %s", query, a.status, a.body)
		}
		values, err := url.ParseQuery(query)
		if role := values["role"]; err == nil && len(role) == 1 && a.status == 200 && values.Get("format") == "" {
			if want := `"role":"` + cmp.Or(role[0], "user") + `"`; !strings.Contains(string(a.body), want) {
				t.Errorf("GET ?%s: %s has no %s", query, a.body, want)
			}
		}
		if a = h.post(t, "/v1/menus/1/main", body); !slices.Contains([]int{200, 400, 413, 422}, a.status) {
			t.Errorf("POST %q: %d %s", body, a.status, a.body)
		}
	})
}
