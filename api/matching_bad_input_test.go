package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/matching"
)

// TestBadMatching sends requests that cannot be answered. None of them reaches Java.
func TestBadMatching(t *testing.T) {
	const secretCoffee, fromAPI, interest = "/v1/matching/secret-coffee", "/v1/matching/secret-coffee/from-api", "/v1/matching/coffee/interest"
	const tournament, teams, requests = "/v1/matching/tournament", "/v1/matching/teams", "/v1/matching/requests"
	employees := func(people string) string { return `{"employees":` + people + `}` }
	participants := func(people, more string) string { return `{"participants":` + people + more + `}` }
	h, java := startMatchingHub(t, matchingOptions{})
	for _, tt := range []struct {
		name, path, body string
		status           int
		code             string
		fields           []string
	}{
		{"nobody", coffee, `[]`, 422, "invalid_fields", []string{"employees"}},
		{"nobody in an object", coffee, employees(`[]`), 422, "invalid_fields", []string{"employees"}},
		{"no employees", coffee, `{}`, 422, "invalid_fields", []string{"employees"}},
		{"nobody for a secret coffee", secretCoffee, employees(`[]`), 422, "invalid_fields", []string{"employees"}},
		{"nobody with an interest", interest + "?interest=c", `[]`, 422, "invalid_fields", []string{"employees"}},
		{"nobody in a tournament", tournament, participants(`[]`, ``), 422, "invalid_fields", []string{"participants"}},
		{"nobody in a team", teams, participants(`[]`, `,"team_size":2`), 422, "invalid_fields", []string{"participants"}},
		{"nobody in a request", requests, `{}`, 422, "invalid_fields", []string{"users"}},

		{"twice", coffee, `[{"id":1},{"id":2},{"id":1}]`, 422, "invalid_fields", []string{"employees[2].id"}},
		{"twice in an object", coffee, employees(`[{"id":1},{"id":1}]`), 422, "invalid_fields", []string{"employees[1].id"}},
		{"twice in a tournament", tournament, participants(`[{"id":1},{"id":1}]`, ``), 422, "invalid_fields", []string{"participants[1].id"}},
		{"twice in a team", teams, participants(`[{"id":1},{"id":1}]`, `,"team_size":2`), 422, "invalid_fields", []string{"participants[1].id"}},
		{"twice among users", requests, `{"users":[5,6,5]}`, 422, "invalid_fields", []string{"users[2]"}},
		{"id 0", coffee, `[{"id":0}]`, 422, "invalid_fields", []string{"employees[0].id"}},
		{"no id", coffee, `[{"displayName":"` + secret + `"}]`, 422, "invalid_fields", []string{"employees[0].id"}},
		{"id below 0", coffee, `[{"id":-5}]`, 422, "invalid_fields", []string{"employees[0].id"}},
		{"id with a fraction", coffee, `[{"id":1.5}]`, 422, "invalid_fields", []string{"employees[0].id"}},
		{"id too high", coffee, `[{"id":9223372036854775808}]`, 422, "invalid_fields", []string{"employees[0].id"}},
		{"id in letters", requests, `{"users":["` + secret + `"]}`, 422, "invalid_fields", []string{"users[0]"}},

		{"too many", coffee, group(5001), 413, "payload_too_large", nil},
		{"too many for a secret coffee", secretCoffee, employees(group(5001)), 413, "payload_too_large", nil},
		{"too many in a tournament", tournament, participants(players(5001), ``), 413, "payload_too_large", nil},
		{"too many in teams", teams, participants(players(5001), `,"team_size":2`), 413, "payload_too_large", nil},
		{"too many in a request", requests, employees(group(5001)), 413, "payload_too_large", nil},
		{"too many in both", requests, `{"users":[1],"employees":` + group(5000) + `}`, 413, "payload_too_large", nil},
		{"over 4 MiB", coffee, `[{"id":1,"x":"` + strings.Repeat("x", 4<<20) + `"}]`, 413, "payload_too_large", nil},
		{"over 4 MiB in a request", requests, `{"users":[1,2]}` + strings.Repeat(" ", 4<<20), 413, "payload_too_large", nil},

		{"unknown algorithm", secretCoffee, `{"algorithm":"BEST","employees":` + group(2) + `}`, 422, "invalid_fields", []string{"algorithm"}},
		{"unknown algorithm from the API", fromAPI, `{"algorithm_type":"BEST"}`, 422, "invalid_fields", []string{"algorithm_type"}},
		{"unknown algorithm in a request", requests, `{"algorithm":"BEST","users":[1,2]}`, 422, "invalid_fields", []string{"algorithm"}},

		{"no interest", interest, group(2), 422, "invalid_fields", []string{"interest"}},
		{"empty interest", interest + "?interest=", group(2), 422, "invalid_fields", []string{"interest"}},
		{"two interests", interest + "?interest=a&interest=b", group(2), 422, "invalid_fields", []string{"interest"}},
		{"long interest", interest + "?interest=" + strings.Repeat("x", 129), group(2), 422, "invalid_fields", []string{"interest"}},
		{"no team size", teams, participants(players(2), ``), 422, "invalid_fields", []string{"team_size"}},
		{"team size 0 and an id twice", teams, participants(`[{"id":1},{"id":1}]`, `,"team_size":0`), 422, "invalid_fields", []string{"team_size", "participants[1].id"}},
		{"request id with a blank", coffee, `{"request_id":"a b","employees":` + group(2) + `}`, 422, "invalid_fields", []string{"request_id"}},
		{"request id as a path", requests, `{"request_id":"../x","users":[1,2]}`, 422, "invalid_fields", []string{"request_id"}},
		{"unknown member", secretCoffee, `{"colour":1,"employees":` + group(2) + `}`, 422, "invalid_fields", []string{"colour"}},
		{"unknown member of a request", requests, `{"colour":1,"users":[1]}`, 422, "invalid_fields", []string{"colour"}},
		{"employees as an object", secretCoffee, employees(`{}`), 422, "invalid_fields", []string{"employees"}},
		{"member twice", secretCoffee, `{"employees":[],"employees":` + group(2) + `}`, 422, "invalid_fields", []string{"employees"}},
		{"parameters in an array", secretCoffee, `{"algorithm_params":[1],"employees":` + group(2) + `}`, 422, "invalid_fields", []string{"algorithm_params"}},

		{"empty", coffee, ``, 400, "malformed_json", nil},
		{"word", coffee, secret, 400, "malformed_json", nil},
		{"cut", coffee, `[{"id":1,"displayName":"` + secret, 400, "malformed_json", nil},
		{"cut object", secretCoffee, `{"employees":[{"id":1}`, 400, "malformed_json", nil},
		{"two values", teams, participants(players(2), `,"team_size":2`) + `{}`, 400, "malformed_json", nil},
		{"invalid UTF-8", coffee, "[{\"id\":1,\"displayName\":\"" + secret + "\xff\"}]", 400, "malformed_json", nil},
		{"cut request", requests, `{"users":[1`, 400, "malformed_json", nil},
		{"cut from the API", fromAPI, `{"a"`, 400, "malformed_json", nil},
		{"cut tournament", tournament, `{`, 400, "malformed_json", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := h.post(t, tt.path, tt.body).problem(t, tt.status, tt.code, tt.fields...)
			if strings.Contains(p.Detail, secret) {
				t.Errorf("the answer repeats what the body holds: %s", p.Detail)
			}
			if tt.code == "invalid_fields" && strings.HasPrefix(tt.name, "unknown algorithm") &&
				!strings.Contains(p.Detail, "must be one of SIMPLE_RANDOM, INTEREST_BASED, CROSS_DEPARTMENT, ROUND_TABLE.") {
				t.Errorf("the answer does not list the algorithms: %s", p.Detail)
			}
		})
	}
	for path, body := range matchingCalls() {
		h.post(t, path, body, "Content-Type: text/plain").problem(t, 415, "unsupported_media_type")
		h.post(t, path, body, "Content-Encoding: gzip").problem(t, 415, "unsupported_media_type")
	}
	h.post(t, requests, `{"users":[1,2]}`, "Content-Type: text/plain").problem(t, 415, "unsupported_media_type")
	for _, path := range []string{javaSimple, javaInterest, javaSecretCoffee, javaFromAPI, javaTournament, javaTeams} {
		if n := len(java.calls(path)); n != 0 {
			t.Errorf("Java was asked %d times at %s", n, path)
		}
	}
	if page := h.statuses(t, "state=queued"); len(page.Requests) != 0 {
		t.Errorf("%d requests wait", len(page.Requests))
	}
}

// TestLargestMatching sends as many people, and as many bytes, as may be sent.
func TestLargestMatching(t *testing.T) {
	t.Parallel()
	h, _ := startMatchingHub(t, matchingOptions{})
	h.post(t, coffee, group(matching.MaxPeople)).pairs(t, "java", from101(matching.MaxPeople)...)
	const frame = `{"employees":[{"id":101,"x":""},{"id":102}]}`
	full := strings.Replace(frame, `""`, `"`+strings.Repeat("x", matching.MaxRequestSize-len(frame))+`"`, 1)
	for range 2 { // What is too large to be remembered is remembered as ids.
		h.post(t, coffee, full, "Idempotency-Key: k").pairs(t, "java", 101, 102)
	}
	h.post(t, "/v1/matching/requests", full).accepted(t)
	h.post(t, coffee, full+" ").problem(t, 413, "payload_too_large")
}

// TestBadMatchingLists asks for lists and requests that cannot be.
func TestBadMatchingLists(t *testing.T) {
	t.Parallel()
	h, _ := startMatchingHub(t, matchingOptions{})
	for query, field := range map[string]string{
		"state=completed": "state", "state=Failed": "state", "state=failed&state=queued": "state", "limit=0": "limit", "limit=1001": "limit",
		"limit=x": "limit", "cursor=x": "cursor", "cursor=dead.x.y": "cursor", "state=queued&cursor=dead.1.a": "cursor",
	} {
		h.get(t, "/v1/matching/requests?"+query).problem(t, 422, "invalid_fields", field)
	}
	h.get(t, "/v1/matching/requests?state=x&limit=0").problem(t, 422, "invalid_fields", "state", "limit")
	for _, id := range []string{"unknown", "a%20b", "a%2Fb", "%D0%B8", strings.Repeat("x", 200)} {
		h.get(t, "/v1/matching/requests/"+id).problem(t, 404, "matching_request_not_found")
		h.post(t, "/v1/matching/requests/"+id+"/retry", "").problem(t, 404, "matching_request_not_found")
	}
	h.call(t, http.MethodDelete, "/v1/matching/requests/unknown", "").problem(t, 405, "method_not_allowed")
	h.get(t, coffee).problem(t, 405, "method_not_allowed")
	h.get(t, "/v1/matching/coffee").problem(t, 404, "not_found")
}

// TestMatchingScope lets keys with the scope match use all of matching, and no others.
func TestMatchingScope(t *testing.T) {
	t.Parallel()
	scopes := map[string][]string{
		"match": {"match"}, "all": {"*"}, "else": {"publish:*", "subscribe:*", "menus", "temp", "admin"},
	}
	h, tokens := startKeyedHubWith(t, scopes, options{matching: &matchingOptions{java: startJava(t)}})
	tried := 0
	for _, route := range routesOf(t, h.server) {
		method, path, _ := strings.Cut(route, " ")
		if !strings.HasPrefix(path, "/v1/matching/") {
			continue
		}
		tried++
		path = strings.ReplaceAll(path, "{request_id}", "unknown")
		for name := range scopes {
			a := h.call(t, method, path, `{}`, "Authorization: Service "+tokens[name])
			switch {
			case name == "else":
				if p := a.problem(t, 403, "forbidden"); !strings.Contains(p.Detail, "scope match.") {
					t.Errorf("%s: the detail is %q", route, p.Detail)
				}
			case a.status == 401 || a.status == 403:
				t.Errorf("%s with the key %s: %d %s", route, name, a.status, a.body)
			}
		}
		h.call(t, method, path, `{}`).problem(t, 401, "unauthorized")
	}
	if tried != 11 {
		t.Errorf("%d routes were tried, want 11", tried)
	}
	// Callers do not share idempotency keys.
	first := h.post(t, coffee, group(2), "Idempotency-Key: k", "Authorization: Service "+tokens["match"])
	second := h.post(t, coffee, group(4), "Idempotency-Key: k", "Authorization: Service "+tokens["all"])
	first.pairs(t, "java", from101(2)...)
	second.pairs(t, "java", from101(4)...)
}

// TestMatchingWithoutRedis goes on without Redis, but for what is remembered there.
func TestMatchingWithoutRedis(t *testing.T) {
	redis := redistest.Start(t)
	h := startHub(t, options{redis: redis, matching: &matchingOptions{java: startJava(t)}})
	redis.Kill()
	for path, body := range matchingCalls() {
		h.post(t, path, body).is(t, 200, "application/json")
		if p := h.post(t, path, body, "Idempotency-Key: k").problem(t, 503, "redis_unavailable"); !p.Retryable {
			t.Errorf("%s: %s is not to be tried again", path, p.Code)
		}
	}
	h.get(t, "/v1/matching/algorithms").is(t, 200, "application/json")
	h.post(t, "/v1/matching/requests", `{"users":[1,2]}`).problem(t, 503, "redis_unavailable")
	for _, path := range []string{"", "/a", "?state=queued"} {
		h.get(t, "/v1/matching/requests"+path).problem(t, 503, "redis_unavailable")
	}
	h.post(t, "/v1/matching/requests/a/retry", "").problem(t, 503, "redis_unavailable")
	redis.Restart()
	redistest.Eventually(t, soon, "requests are taken again", func() bool {
		return h.post(t, "/v1/matching/requests", `{"users":[1,2]}`).status == 202
	})
}
