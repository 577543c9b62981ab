package api_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/api"
)

// manyCallers lets the requests of a test come from as many addresses as it likes: so many without a valid token would be
// refused from one.
func manyCallers() api.Config {
	return api.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
}

// caller names the n-th address.
func caller(n int) string {
	return fmt.Sprintf("X-Forwarded-For: 10.1.%d.%d", n/200, n%200+1)
}

// TestEveryRouteAndEveryScope makes a request to each operation of the contract with a key of each scope. What is granted is
// written here once more, by hand: an operation that is not fails the test. A plus joins scopes that one key has.
func TestEveryRouteAndEveryScope(t *testing.T) {
	t.Parallel()
	var (
		open     = []string{"anybody"}
		anyKey   = []string{"any key"}
		menus    = []string{"*", "menus"}
		match    = []string{"*", "match"}
		admin    = []string{"*", "admin"}
		sessions = []string{"*", "temp", "temp:sessions"}
		ofOne    = []string{"*", "temp", "temp:user_*", "temp:user_123"}
		dialogue = []string{"*", "temp", "temp:conversations"}
		reading  = []string{"*", "subscribe:*", "subscribe:user:*", "subscribe:user:123"}
		byType   = []string{"*", "publish:*", "publish:user.*", "publish:user.login"}
	)
	granted := map[string][]string{
		"GET /health": open, "GET /health/live": open, "GET /health/ready": open, "GET /health/startup": open,
		"HEAD /health": open, "HEAD /health/live": open, "HEAD /health/ready": open, "HEAD /health/startup": open,
		"GET /openapi.yaml": open, "GET /docs": open,
		"GET /stats": anyKey, "POST /stats/reset": admin,

		"POST /v1/events/users/{user_id}":    append(slices.Clone(byType), "publish:user:*", "publish:user:123"),
		"POST /v1/events/global":             append(slices.Clone(byType), "publish:global"),
		"POST /v1/events/services/{service}": append(slices.Clone(byType), "publish:service:*", "publish:service:matching"),
		"GET /v1/events":                     reading,
		"GET /v1/stream":                     reading,
		"GET /v1/events/types":               anyKey,

		"GET /v1/menus": menus, "GET /v1/menus/{user_id}/{menu_type}": menus, "POST /v1/menus/{user_id}/{menu_type}": menus,
		"PUT /v1/menus/{user_id}/{menu_type}": menus, "DELETE /v1/menus/{user_id}/{menu_type}": menus,
		"POST /v1/menus/{user_id}/{menu_type}/refresh": menus, "DELETE /v1/menus/{user_id}": menus, "POST /v1/menus/warm": menus,
		"POST /v1/menus/invalidate": menus, "GET /v1/menus/definitions": menus, "GET /v1/menus/callbacks/{id}": menus,
		"GET /v1/menus/dead-writes": menus, "POST /v1/menus/dead-writes/{id}/retry": menus,

		"PUT /v1/temp/{namespace}/{key}": sessions, "GET /v1/temp/{namespace}/{key}": sessions,
		"HEAD /v1/temp/{namespace}/{key}": sessions, "DELETE /v1/temp/{namespace}/{key}": sessions,
		"POST /v1/temp/{namespace}/{key}/touch": sessions, "POST /v1/temp/{namespace}/batch": sessions,
		"GET /v1/temp/{namespace}": sessions, "DELETE /v1/temp/{namespace}": sessions,

		"PUT /v1/users/{user_id}/temp/{key}": ofOne, "GET /v1/users/{user_id}/temp/{key}": ofOne,
		"HEAD /v1/users/{user_id}/temp/{key}": ofOne, "DELETE /v1/users/{user_id}/temp/{key}": ofOne,
		"POST /v1/users/{user_id}/temp/{key}/touch": ofOne, "POST /v1/users/{user_id}/temp/batch": ofOne,
		"GET /v1/users/{user_id}/temp": ofOne, "DELETE /v1/users/{user_id}/temp": ofOne,

		"PUT /v1/users/{user_id}/forms/{form}/steps/{step}": ofOne, "GET /v1/users/{user_id}/forms/{form}/steps/{step}": ofOne,
		"DELETE /v1/users/{user_id}/forms/{form}/steps/{step}": ofOne, "GET /v1/users/{user_id}/forms/{form}": ofOne,
		"PATCH /v1/users/{user_id}/forms/{form}": ofOne, "DELETE /v1/users/{user_id}/forms/{form}": ofOne,
		"POST /v1/users/{user_id}/forms/{form}/back": ofOne, "POST /v1/users/{user_id}/forms/{form}/submit": ofOne,
		"GET /v1/users/{user_id}/forms": ofOne, "DELETE /v1/users/{user_id}/forms": ofOne,

		"PUT /v1/users/{user_id}/conversation": ofOne, "GET /v1/users/{user_id}/conversation": ofOne,
		"DELETE /v1/users/{user_id}/conversation": ofOne,
		"POST /v1/users/{user_id}/lease":          ofOne, "DELETE /v1/users/{user_id}/lease": ofOne,

		"POST /v1/conversations/{conversation_id}/messages": dialogue, "GET /v1/conversations/{conversation_id}/messages": dialogue,
		"DELETE /v1/conversations/{conversation_id}/messages": dialogue,

		"DELETE /v1/users/{user_id}/cache": {"*", "admin", "menus+temp", "menus+temp:user_123"},
		"DELETE /v1/cache":                 admin,

		"POST /v1/matching/secret-coffee": match, "POST /v1/matching/secret-coffee/from-api": match,
		"POST /v1/matching/coffee/simple": match, "POST /v1/matching/coffee/interest": match,
		"POST /v1/matching/tournament": match, "POST /v1/matching/teams": match, "GET /v1/matching/algorithms": match,
		"POST /v1/matching/requests": match, "GET /v1/matching/requests": match,
		"GET /v1/matching/requests/{request_id}": match, "POST /v1/matching/requests/{request_id}/retry": match,
	}
	scopes := []string{
		"*", "menus", "match", "admin", "source:*", "source:bot",
		"publish:*", "publish:user:*", "publish:user:123", "publish:user:5", "publish:global", "publish:service:*",
		"publish:service:matching", "publish:service:mail", "publish:user.*", "publish:user.login", "publish:activity.*",
		"subscribe:*", "subscribe:user:*", "subscribe:user:123", "subscribe:user:5", "subscribe:global", "subscribe:service:*",
		"subscribe:service:matching",
		"temp", "temp:sessions", "temp:interests", "temp:user_*", "temp:user_123", "temp:user_5", "temp:conversations",
		"menus+temp", "menus+temp:user_123", "menus+temp:user_5",
	}
	keys := make(map[string][]string)
	for _, sc := range scopes {
		keys[sc] = strings.Split(sc, "+")
	}
	o := options{api: manyCallers(), matching: &matchingOptions{java: startJava(t)}}
	h, tokens := startKeyedHubWith(t, keys, o)
	auth := func(sc string) string { return "Authorization: Service " + tokens[sc] }

	n := 0
	inContract := make(map[string]bool)
	for path, item := range parseContract(t, readContract(t)).Paths.Map() {
		for method := range item.Operations() {
			name := method + " " + path
			inContract[name] = true
			allowed, known := granted[name]
			if !known {
				t.Errorf("%s has no line in this test", name)
				continue
			}
			call := func(header string) answer {
				n++
				return h.call(t, method, sample(path), bodyOf(method, path), header, caller(n))
			}
			want := http.StatusUnauthorized
			if slices.Equal(allowed, open) {
				want = http.StatusOK
			}
			if a := call("Accept: */*"); a.status != want {
				t.Errorf("%s without a key: %d, want %d", name, a.status, want)
			}
			for _, sc := range scopes {
				may := slices.Equal(allowed, open) || slices.Equal(allowed, anyKey) ||
					slices.ContainsFunc(allowed, func(one string) bool { return one == sc || suffices(sc, one, allowed) })
				a := call(auth(sc))
				switch {
				case a.status == http.StatusUnauthorized:
					t.Errorf("%s with %s: 401", name, sc)
				case may == (a.status == http.StatusForbidden):
					t.Errorf("%s with %s: %d %s, granted should be %t", name, sc, a.status, a.body, may)
				}
				if !may && method != http.MethodHead && !strings.Contains(string(a.body), "The key lacks the scope ") {
					t.Errorf("%s with %s does not name the scope: %s", name, sc, a.body)
				}
			}
		}
	}
	for name := range granted {
		if !inContract[name] {
			t.Errorf("%s is not in the contract", name)
		}
	}
}

// suffices reports whether one of two scopes that a key has is enough by itself.
func suffices(both, one string, allowed []string) bool {
	for part := range strings.SplitSeq(both, "+") {
		if part == one && slices.Contains(allowed, one) {
			return true
		}
	}
	return false
}

// sample makes a path that can be called, with what it must have in the query.
func sample(path string) string {
	filled := strings.NewReplacer(
		"{user_id}", "123", "{service}", "matching", "{menu_type}", "main", "{id}", "1", "{namespace}", "sessions", "{key}", "k",
		"{form}", "f", "{step}", "s", "{conversation_id}", "c", "{request_id}", "r",
	).Replace(path)
	switch path {
	case "/v1/events":
		return filled + "?channel=user:123"
	case "/v1/stream":
		return filled + "?channel=user:123&last_event_id=nonsense" // Which is 422 once it is let in.
	}
	return filled
}

// bodyOf is a body for those operations that let a key in only when they know the type of the event. Others get none, and are
// answered with what is wrong with it when they are let in.
func bodyOf(method, path string) string {
	if method == http.MethodPost && strings.HasPrefix(path, "/v1/events/") {
		return `{"type":"user.login"}`
	}
	return ""
}

// TestARouteWithoutARuleIsRefused adds a route that nobody has made a rule for.
func TestARouteWithoutARuleIsRefused(t *testing.T) {
	t.Parallel()
	called := func(c echo.Context) error {
		t.Error("the handler was called")
		return c.NoContent(http.StatusOK)
	}
	add := func(h *hub) {
		router, ok := h.server.Handler().(*echo.Echo)
		if !ok {
			t.Fatal("the handler is no router")
		}
		router.Add(http.MethodGet, "/v1/new", called)
		router.Add(http.MethodPatch, "/stats", called) // A new method of a path that has a rule for another.
		router.Add(http.MethodDelete, "/health", called)
	}
	keyed, tokens := startKeyedHub(t, map[string][]string{"bot": {"*"}})
	add(keyed)
	open := startHub(t, options{})
	add(open)
	for _, call := range []struct{ method, path string }{{"GET", "/v1/new"}, {"HEAD", "/v1/new"}, {"PATCH", "/stats"}, {"DELETE", "/health"}} {
		if a := keyed.call(t, call.method, call.path, "", "Authorization: Service "+tokens["bot"]); call.method == "HEAD" {
			a.is(t, 405, "application/problem+json")
		} else {
			a.problem(t, 403, "forbidden")
			open.call(t, call.method, call.path, "").problem(t, 403, "forbidden")
			keyed.call(t, call.method, call.path, "").problem(t, 401, "unauthorized")
		}
	}
}

// TestABodyIsNotReadForNothing checks that a key that may publish nothing there is refused before its body has come.
func TestABodyIsNotReadForNothing(t *testing.T) {
	t.Parallel()
	h, tokens := startKeyedHub(t, map[string][]string{"reader": {"subscribe:*", "publish:user:5"}, "menus": {"menus"}})
	for _, tt := range []struct{ key, path, scope string }{
		{"reader", "/v1/events/users/123", "publish:user:123"},
		{"reader", "/v1/events/global", "publish:global"},
		{"menus", "/v1/events/users/x", "publish:user:*"},
		{"menus", "/v1/events/services/matching", "publish:service:matching"},
		{"menus", "/v1/events/services/a%20b", "publish:service:*"},
		{"menus", "/v1/temp/sessions/batch", "temp:sessions"},
		{"reader", "/v1/menus/invalidate", "menus"},
		{"menus", "/v1/matching/teams", "match"},
	} {
		// A body that cannot be right is not even looked at.
		a := h.post(t, tt.path, "{", "Authorization: Service "+tokens[tt.key])
		a.problem(t, 403, "forbidden")
		if !strings.Contains(string(a.body), "The key lacks the scope "+tt.scope+".") {
			t.Errorf("%s: %s", tt.path, a.body)
		}
	}
	// A key that may publish something there is told what is wrong with the path.
	h.post(t, "/v1/events/users/x", "{", "Authorization: Service "+tokens["reader"]).problem(t, 422, "invalid_fields", "user_id")
	for query, scope := range map[string]string{
		"?channel=global": "subscribe:global", "": "subscribe:*", "?channel=user:0": "subscribe:*",
	} {
		a := h.get(t, "/v1/stream"+query, "Authorization: Service "+tokens["menus"])
		a.problem(t, 403, "forbidden")
		if !strings.Contains(string(a.body), "The key lacks the scope "+scope+".") {
			t.Errorf("%s: %s", query, a.body)
		}
	}
}
