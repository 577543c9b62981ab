package api_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/events"
)

// TestRequestsAreCountedByStatus checks that each answered request is counted once, and told of once, streams too.
func TestRequestsAreCountedByStatus(t *testing.T) {
	t.Parallel()
	told := make(chan string, 100)
	h := startHub(t, options{api: api.Config{OnRequest: func(r api.RequestInfo) {
		if r.Took <= 0 || r.Took > soon {
			t.Errorf("%+v", r)
		}
		told <- fmt.Sprint(r.Method, " ", r.Route, " ", r.Status)
	}}})
	for _, test := range []struct {
		want string
		ask  func()
	}{
		{"GET /docs 200", func() { h.get(t, "/docs") }},
		{"GET /v1/users/:user_id/temp/:key 404", func() { h.get(t, "/v1/users/1234567/temp/secret") }},
		{"GET  404", func() { h.get(t, "/nothing/1234567") }},
		{"BREW /docs 405", func() { h.call(t, "BREW", "/docs", "") }},
		{"DELETE /docs 405", func() { h.delete(t, "/docs") }},
		{"POST /v1/events/global 201", func() { h.post(t, "/v1/events/global", `{"type":"x"}`) }},
		{"POST /v1/events/global 400", func() { h.post(t, "/v1/events/global", `{`) }},
		{"GET /v1/stream 200", func() { h.follow(t, "channel=user:1").close() }},
		{"GET /v1/stream 422", func() { h.get(t, "/v1/stream") }},
	} {
		test.ask()
		select {
		case got := <-told:
			if got != test.want {
				t.Errorf("told of %q, want %q", got, test.want)
			}
		case <-time.After(soon):
			t.Errorf("not told of %q", test.want)
		}
	}
	counts := map[int]int64{200: 2, 201: 1, 400: 1, 404: 2, 405: 2, 422: 1}
	if got := h.server.Requests(); !maps.Equal(got, counts) || len(told) > 0 {
		t.Errorf("counted %v, want %v; told of %d more", got, counts, len(told))
	}
}

// TestRefusedEventsAreCounted checks that what was to be published and could not be is counted once: by the server, or by the
// publisher, if it came so far.
func TestRefusedEventsAreCounted(t *testing.T) {
	t.Parallel()
	var published *events.Publisher
	h, tokens := startKeyedHubWith(t, map[string][]string{"bot": {"*"}, "other": {"publish:user.login"}}, options{
		wrap: func(p publisher) publisher {
			published, _ = p.(*events.Publisher)
			return p
		},
	})
	bot, other := "Authorization: Service "+tokens["bot"], "Authorization: Service "+tokens["other"]
	const fine = `{"type":"x"}`
	large := `{"type":"x","data":"` + strings.Repeat("a", events.MaxEventSize) + `"}`
	for _, test := range []struct {
		path, body, header string
		status             int
	}{
		// Those that do not come to the publisher, and one that does: a type is looked at there.
		{"users/1", fine, bot, 201},
		{"users/x", fine, bot, 422},
		{"users/1", `{`, bot, 400},
		{"users/1", fine, other, 403},
		{"users/1", fine, bot + "\nContent-Type: text/plain", 415},
		{"users/1", fine, bot + "\nIdempotency-Key: \x80", 422},
		{"users/1", `{"type":"No type"}`, bot, 422},
		{"services/-", fine, bot, 422},
		{"global", `{"type":"x","nothing":1}`, bot, 422},
		// Those that the publisher refuses, by their size and their key.
		{"global", large, bot, 413},
		{"global", fine, bot + "\nIdempotency-Key: k", 201},
		{"global", `{"type":"y"}`, bot + "\nIdempotency-Key: k", 422},
		{"global", fine, "Authorization: Service wrong", 401}, // Not known whether it could be published.
	} {
		a := h.post(t, "/v1/events/"+test.path, test.body, strings.Split(test.header, "\n")...)
		if a.status != test.status {
			t.Errorf("%s %.40s is answered %d, want %d: %s", test.path, test.body, a.status, test.status, a.body)
		}
	}
	want := map[events.Scope]int64{events.ScopeUser: 5, events.ScopeGlobal: 1, events.ScopeService: 1}
	if got := h.server.Refused(); !maps.Equal(got, want) {
		t.Errorf("the server refused %v, want %v", got, want)
	}
	if got := published.Stats(); got.User != (events.Outcomes{Published: 1, Refused: 1}) || got.Global != (events.Outcomes{Published: 1, Refused: 2}) {
		t.Errorf("the publisher counts %+v", got)
	}
}
