package api_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/api"
)

// TestHostWithoutKeys checks that a hub without keys answers only to names of this machine, so that no foreign web page
// can reach it by a name that leads here.
func TestHostWithoutKeys(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for _, host := range []string{"127.0.0.1", "127.0.0.1:8090", "127.8.9.1", "localhost", "LocalHost:1", "[::1]", "[::1]:8090"} {
		h.get(t, "/v1/events?channel=global", "Host: "+host).is(t, 200, "application/json")
		h.publish(t, "global", `{"type":"tick"}`, "Host: "+host)
	}
	logged := h.logLength(t, "global")
	for _, host := range []string{
		"evil.example", "evil.example:8090", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "0.0.0.0", "[::]", "[2001:db8::1]:80",
		"2130706433", "127.1", "localhost:x:y",
	} {
		for _, path := range []string{"/v1/events?channel=global", "/v1/stream?channel=global", "/health", "/stats", "/docs", "/openapi.yaml", "/nothing"} {
			h.get(t, path, "Host: "+host).problem(t, 403, "host_not_allowed")
		}
		h.post(t, "/v1/events/global", `{"type":"tick"}`, "Host: "+host).problem(t, 403, "host_not_allowed")
	}
	if n := h.logLength(t, "global"); n != logged {
		t.Errorf("%d events were published under a foreign name", n-logged)
	}
	// A header that only names a host changes nothing.
	h.get(t, "/health", "X-Forwarded-Host: evil.example", "Forwarded: host=evil.example").is(t, 200, "application/health+json")
	h.get(t, "/health", "Host: evil.example", "X-Forwarded-Host: localhost").problem(t, 403, "host_not_allowed")
}

// TestForeignPagesWithoutKeys makes the requests that a web page of another host can have a browser make without asking first.
func TestForeignPagesWithoutKeys(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	const form = "Content-Type: application/x-www-form-urlencoded"
	for _, headers := range [][]string{
		{"Origin: https://evil.example"},
		{"Origin: http://localhost:3000"},
		{"Origin: null"},
		{"Sec-Fetch-Site: cross-site"},
		{"Sec-Fetch-Site: same-site"},
		{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"},
	} {
		for _, path := range []string{"/stats/reset", "/v1/users/1/lease", "/v1/users/1/forms/a/submit", "/v1/events/global", "/nothing"} {
			h.post(t, path, "", append(headers, form)...).problem(t, 403, "host_not_allowed")
		}
		for _, method := range []string{"PUT", "DELETE", "PATCH"} {
			h.call(t, method, "/v1/users/1/temp/a", "{}", headers...).problem(t, 403, "host_not_allowed")
		}
		h.get(t, "/v1/events?channel=global", headers...).is(t, 200, "application/json") // The page cannot read it.
	}
	h.publish(t, "global", `{"type":"tick"}`, "Sec-Fetch-Site: same-origin", "Origin: "+h.url)
	h.publish(t, "global", `{"type":"tick"}`, "Sec-Fetch-Site: none")
	h.publish(t, "global", `{"type":"tick"}`, "Origin: "+h.url)

	// With keys no page can make such a request: a browser adds no token.
	keyed, tokens := startKeyedHub(t, map[string][]string{"bot": {"*"}})
	keyed.post(t, "/stats/reset", "", form, "Origin: https://evil.example").problem(t, 401, "unauthorized")
	keyed.publish(t, "global", `{"type":"tick"}`, "Origin: https://page.example", "Authorization: Service "+tokens["bot"])
}

// TestKeysAreAskedFor sends tokens in good and in bad ways.
func TestKeysAreAskedFor(t *testing.T) {
	t.Parallel()
	h, tokens := startKeyedHubWith(t, map[string][]string{"bot": {"*"}, "matching": {"*"}}, options{api: manyCallers()})
	token, said := tokens["bot"], make(map[string]bool)
	for _, header := range []string{
		"Service " + token, "Bearer " + token, "service " + token, "BEARER " + token, "Bearer  " + token, "Bearer " + tokens["matching"],
	} {
		h.get(t, "/v1/events?channel=global", "Authorization: "+header).is(t, 200, "application/json")
		h.get(t, "/v1/events?channel=global", "Authorization: "+header, "Host: hub.example").is(t, 200, "application/json")
	}
	for n, header := range []string{
		"", `""`, token, "Service", "Service ", "Basic " + token, "Token " + token, "Service wrong", "Service " + token[:len(token)-1],
		"Service " + token + "x", "Service " + strings.ToUpper(token), "Service " + tokens["bot"] + tokens["matching"],
		"Service, Bearer " + token, "Bearer\t" + token,
	} {
		for _, path := range []string{"/v1/events?channel=global", "/v1/stream?channel=global", "/stats"} {
			a := h.get(t, path, "Authorization: "+header, caller(n))
			a.problem(t, 401, "unauthorized")
			said[decode[api.Problem](t, a.body).Detail] = true
			if got := a.header.Get("WWW-Authenticate"); got != `Service realm="connecthub", Bearer realm="connecthub"` {
				t.Errorf("WWW-Authenticate: %s", got)
			}
			if strings.Contains(string(a.body), token[:10]) {
				t.Errorf("the answer repeats the token: %s", a.body)
			}
			if strings.Contains(string(a.body), `\u003c`) {
				t.Errorf("the answer is written for HTML: %s", a.body)
			}
		}
		h.post(t, "/v1/events/global", `{"type":"tick"}`, "Authorization: "+header, caller(n)).problem(t, 401, "unauthorized")
	}
	if len(said) != 1 {
		t.Errorf("what is wrong is told: %q", slices.Collect(maps.Keys(said)))
	}
	// Nor elsewhere than in the header.
	h.get(t, "/v1/events?channel=global&token="+token+"&access_token="+token, "Cookie: token="+token, "X-Api-Key: "+token).
		problem(t, 401, "unauthorized")
	if n := h.logLength(t, "global"); n != 0 {
		t.Errorf("%d events were published without a key", n)
	}
}

// TestScopes checks what each kind of scope grants and refuses: to publish, to list and to stream.
func TestScopes(t *testing.T) {
	type try struct{ what, channel, eventType string }
	list := map[string]map[string]bool{ // Scope, then what it is to grant.
		"*": {
			"publish user:1 user.login": true, "publish global system.maintenance": true, "publish service:matching matching.request": true,
			"read user:1": true, "read global": true, "read service:matching": true,
		},
		"publish:*": {
			"publish user:1 user.login": true, "publish global system.maintenance": true, "publish service:matching matching.request": true,
		},
		"publish:user:*":             {"publish user:1 user.login": true, "publish user:2 system.maintenance": true},
		"publish:user:1":             {"publish user:1 user.login": true},
		"publish:global":             {"publish global system.maintenance": true},
		"publish:service:*":          {"publish service:matching matching.request": true, "publish service:mail matching.request": true},
		"publish:service:matching":   {"publish service:matching matching.request": true},
		"publish:user.*":             {"publish user:1 user.login": true},
		"publish:user.login":         {"publish user:1 user.login": true},
		"publish:matching.*":         {"publish service:matching matching.request": true, "publish service:mail matching.request": true},
		"publish:system.maintenance": {"publish global system.maintenance": true, "publish user:2 system.maintenance": true},
		"publish:user.logout":        {},
		"subscribe:*":                {"read user:1": true, "read user:2": true, "read global": true, "read service:matching": true, "read service:mail": true},
		"subscribe:user:*":           {"read user:1": true, "read user:2": true},
		"subscribe:user:1":           {"read user:1": true},
		"subscribe:global":           {"read global": true},
		"subscribe:service:*":        {"read service:matching": true, "read service:mail": true},
		"subscribe:service:matching": {"read service:matching": true},
		"menus":                      {}, "temp": {}, "temp:user_1": {}, "match": {}, "admin": {}, "source:*": {}, "source:bot": {},
	}
	list["*"]["publish user:2 system.maintenance"], list["*"]["publish service:mail matching.request"] = true, true
	list["publish:*"]["publish user:2 system.maintenance"], list["publish:*"]["publish service:mail matching.request"] = true, true
	list["*"]["read user:2"], list["*"]["read service:mail"] = true, true
	tries := []try{
		{"publish", "user:1", "user.login"},
		{"publish", "user:2", "system.maintenance"},
		{"publish", "global", "system.maintenance"},
		{"publish", "service:matching", "matching.request"},
		{"publish", "service:mail", "matching.request"},
		{"read", "user:1", ""},
		{"read", "user:2", ""},
		{"read", "global", ""},
		{"read", "service:matching", ""},
		{"read", "service:mail", ""},
	}
	scopes := make(map[string][]string)
	for sc := range list {
		scopes[sc] = []string{sc}
	}
	h, tokens := startKeyedHub(t, scopes)
	for sc, grants := range list {
		t.Run(sc, func(t *testing.T) {
			auth := "Authorization: Service " + tokens[sc]
			for _, try := range tries {
				name := strings.TrimSpace(try.what + " " + try.channel + " " + try.eventType)
				granted := grants[name]
				if try.what == "publish" {
					a := h.post(t, pathOf(try.channel), `{"type":"`+try.eventType+`"}`, auth)
					if !granted {
						a.problem(t, 403, "forbidden")
						continue
					}
					a.receipt(t)
					if got := h.lastEvent(t, try.channel, tokens["subscribe:*"]).Source; got != sc {
						t.Errorf("%s: the source is %q, want the key's name", name, got)
					}
					continue
				}
				// Alone, and together with a channel that may be read.
				for _, also := range []string{"", "&channel=user:1", "&channel=global", "&channel=service:matching"} {
					query := "channel=" + try.channel + also
					allowed := granted && (also == "" || grants["read "+strings.TrimPrefix(also, "&channel=")])
					if allowed {
						h.follow(t, query, auth).close()
					} else {
						h.get(t, "/v1/stream?"+query, auth).problem(t, 403, "forbidden")
					}
				}
				if a := h.get(t, "/v1/events?channel="+try.channel, auth); granted {
					a.is(t, 200, "application/json")
				} else {
					a.problem(t, 403, "forbidden")
				}
			}
			// Any key will do here.
			for _, path := range []string{"/v1/events/types", "/stats"} {
				h.get(t, path, auth).is(t, 200, "application/json")
			}
		})
	}
}

func (h *hub) lastEvent(tb testing.TB, channel, token string) envelope {
	tb.Helper()
	events := h.list(tb, "limit=1&reverse=true&channel="+channel, "Authorization: Bearer "+token).Events
	if len(events) != 1 {
		tb.Fatalf("the log of %s is empty", channel)
	}
	return events[0]
}

// TestSeveralScopes checks that scopes add up.
func TestSeveralScopes(t *testing.T) {
	t.Parallel()
	h, tokens := startKeyedHub(t, map[string][]string{"bot": {"publish:user.*", "publish:service:matching", "subscribe:user:*", "subscribe:global"}})
	auth := "Authorization: Bearer " + tokens["bot"]
	h.publish(t, "user:1", `{"type":"user.login"}`, auth)
	h.publish(t, "service:matching", `{"type":"anything"}`, auth)
	h.post(t, "/v1/events/users/1", `{"type":"activity.created"}`, auth).problem(t, 403, "forbidden")
	h.post(t, "/v1/events/services/mail", `{"type":"matching.request"}`, auth).problem(t, 403, "forbidden")
	s := h.follow(t, "channel=user:1&channel=global&last_event_id=earliest", auth)
	if got := s.event(t); got.Source != "bot" {
		t.Errorf("the source is %q, want the key's name", got.Source)
	}
	h.get(t, "/v1/stream?channel=user:1&channel=service:matching", auth).problem(t, 403, "forbidden")
	// What is wrong with the body is told before what is wrong with the key: the type is in it.
	h.post(t, "/v1/events/users/1", `{"colour":1,"type":"activity.created"}`, auth).problem(t, 422, "invalid_fields", "colour")
}

// TestEveryRoute goes over the routes of the contract and of the server, which must be the same, and checks that each is
// refused without a key, unless the contract says that it needs none.
func TestEveryRoute(t *testing.T) {
	t.Parallel()
	h, _ := startKeyedHubWith(t, map[string][]string{"bot": {"*"}}, options{api: manyCallers()})
	needsNone := map[string]bool{
		"GET /health": true, "GET /health/live": true, "GET /health/ready": true, "GET /health/startup": true,
		"HEAD /health": true, "HEAD /health/live": true, "HEAD /health/ready": true, "HEAD /health/startup": true,
		"GET /openapi.yaml": true, "GET /docs": true,
	}
	n, inContract := 0, make(map[string]bool)
	for path, item := range parseContract(t, readContract(t)).Paths.Map() {
		for method, operation := range item.Operations() {
			name := method + " " + path
			inContract[name] = true
			open := operation.Security != nil && len(*operation.Security) == 0
			if open != needsNone[name] {
				t.Errorf("%s: the contract says open %t", name, open)
			}
			a := h.call(t, method, strings.NewReplacer("{user_id}", "1", "{service}", "matching", "{menu_type}", "main").Replace(path), "", caller(n))
			n++
			switch {
			case open && a.status != http.StatusOK:
				t.Errorf("%s without a key: %d %s", name, a.status, a.body)
			case !open && method == http.MethodHead:
				a.is(t, 401, "application/problem+json")
			case !open:
				a.problem(t, 401, "unauthorized")
			}
		}
	}
	served := make(map[string]bool)
	for _, name := range routesOf(t, h.server) {
		served[name] = true
		if !inContract[name] {
			t.Errorf("%s is served and not in the contract", name)
		}
	}
	for name := range inContract {
		if !served[name] {
			t.Errorf("%s is in the contract and not served", name)
		}
	}
	// The other methods of a route are no way around.
	for _, method := range []string{"PUT", "DELETE", "PATCH"} {
		h.call(t, method, "/v1/events/global", "", caller(1000)).problem(t, 401, "unauthorized")
		h.call(t, method, "/stats", "", caller(1000)).problem(t, 401, "unauthorized")
	}
	// What is not there is not there, with or without a key.
	h.get(t, "/v1/nothing").problem(t, 404, "not_found")
}

// routesOf lists what a server really serves, as "GET /v1/events/users/{user_id}".
func routesOf(tb testing.TB, server *api.Server) []string {
	tb.Helper()
	router, ok := server.Handler().(interface{ Routes() []*echo.Route })
	if !ok {
		tb.Fatal("the handler does not tell its routes")
	}
	var names []string
	for _, route := range router.Routes() {
		parts := strings.Split(route.Path, "/")
		for i, part := range parts {
			if name, isParam := strings.CutPrefix(part, ":"); isParam {
				parts[i] = "{" + name + "}"
			}
		}
		names = append(names, route.Method+" "+strings.Join(parts, "/"))
	}
	if len(names) == 0 {
		tb.Fatal("no routes")
	}
	return names
}
