package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/connectbot-hub/connecthub/api"
)

// group is a JSON array of n employees with the ids from 101 on.
func group(n int) string {
	people := make([]string, n)
	for i := range people {
		people[i] = fmt.Sprintf(`{"id":%d,"displayName":"Анна <%d>","department":%d,"activeEmployee":true,"position_level":3}`, 101+i, i, i%3)
	}
	return "[" + strings.Join(people, ",") + "]"
}

// players is a JSON array of n participants with the ids from 101 on.
func players(n int) string {
	people := make([]string, n)
	for i := range people {
		people[i] = fmt.Sprintf(`{"id":%d,"name":"Анна %d","department":"7","team_colour":"red"}`, 101+i, i)
	}
	return "[" + strings.Join(people, ",") + "]"
}

// coffee is where pairs are found at random.
const coffee = "/v1/matching/coffee/simple"

// The places where Java is asked.
const (
	javaSimple       = "/api/matching/coffee/simple"
	javaInterest     = "/api/matching/coffee/interest"
	javaSecretCoffee = "/api/v1/matching/match/secret-coffee"
	javaFromAPI      = "/api/v1/matching/match/secret-coffee/from-api"
	javaTournament   = "/api/matching/tournament/bracket"
	javaTeams        = "/api/matching/teams/generate"
	javaAlgorithms   = "/api/matching/algorithms"
)

// matchingCalls are the calls that match, each with a request that is good.
func matchingCalls() map[string]string {
	return map[string]string{
		coffee: group(5),
		"/v1/matching/coffee/interest?interest=c": group(5),
		"/v1/matching/secret-coffee":              `{"employees":` + group(5) + `}`,
		"/v1/matching/secret-coffee/from-api":     `{"department_ids":[7]}`,
		"/v1/matching/tournament":                 `{"participants":` + players(5) + `}`,
		"/v1/matching/teams":                      `{"participants":` + players(5) + `,"team_size":2}`,
	}
}

// pairs checks that the answer has pairs, of each of these people in one at most, and that the others are named.
func (a answer) pairs(tb testing.TB, source string, ids ...int64) api.MatchingPairs {
	tb.Helper()
	a.is(tb, 200, "application/json")
	got := decode[api.MatchingPairs](tb, a.body)
	degraded := source == "fallback"
	if string(got.Source) != source || got.Degraded != degraded || (got.Reason != "") != degraded || (a.header.Get("Degraded") == "fallback") != degraded {
		tb.Errorf("source %s, degraded %t, reason %q, Degraded %q, want the source %s", got.Source, got.Degraded, got.Reason, a.header.Get("Degraded"), source)
	}
	named := slices.Clone(got.UnmatchedEmployees)
	for _, p := range got.Pairs {
		named = append(named, p.Employee1ID, p.Employee2ID)
	}
	slices.Sort(named)
	if !slices.Equal(named, ids) {
		tb.Errorf("the answer names %d, want %d: %s", named, ids, a.body)
	}
	return got
}

// from101 are the ids of a group of n.
func from101(n int) []int64 {
	ids := make([]int64, n)
	for i := range ids {
		ids[i] = int64(101 + i)
	}
	return ids
}

// only returns what Java was asked at a path, which must be one request.
func (j *java) only(tb testing.TB, path string) asked {
	tb.Helper()
	all := j.calls(path)
	if len(all) != 1 {
		tb.Fatalf("Java was asked %d times at %s, want once", len(all), path)
	}
	return all[0]
}

// TestCoffee finds pairs in the ways in which people can be named, and looks at what reaches Java.
func TestCoffee(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		path, body, at, query, requestID string
	}{
		"array":           {coffee, group(5), javaSimple, "", ""},
		"object":          {coffee, `{"employees":` + group(5) + `}`, javaSimple, "", ""},
		"object with id":  {coffee, `{"request_id":"coffee-47","employees":` + group(5) + `}`, javaSimple, "", "coffee-47"},
		"interest":        {"/v1/matching/coffee/interest?interest=%D1%88%D0%B0%D1%85%D0%BC%D0%B0%D1%82%D1%8B", group(5), javaInterest, "interest=%D1%88%D0%B0%D1%85%D0%BC%D0%B0%D1%82%D1%8B", ""},
		"interest object": {"/v1/matching/coffee/interest?interest=chess", `{"request_id":"c.1","employees":` + group(5) + `}`, javaInterest, "interest=chess", "c.1"},
		"secret":          {"/v1/matching/secret-coffee", `{"request_id":"s:1","employees":` + group(5) + `}`, javaSecretCoffee, "", "s:1"},
		"secret as Java has it": {
			"/v1/matching/secret-coffee", `{"requestId":"s_2","algorithm":"ROUND_TABLE","algorithmParams":{"seed":7},"employees":` + group(5) + `}`, javaSecretCoffee, "", "s_2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, java := startMatchingHub(t, matchingOptions{})
			a := h.post(t, tt.path, tt.body, "X-Request-ID: r-1")
			got := a.pairs(t, "java", from101(5)...)
			if want := "r-1"; tt.requestID == "" && got.RequestID != want || tt.requestID != "" && got.RequestID != tt.requestID {
				t.Errorf("the request is called %q", got.RequestID)
			}
			if len(got.Pairs) != 2 || got.Algorithm != "SIMPLE_RANDOM" || string(got.Meta) != `{"total_pairs":2}` || a.header.Get("Idempotency-Replayed") != "" {
				t.Errorf("the answer is %s", a.body)
			}
			// What the hub does not know of the people went there and came back, and so did what it does.
			e := got.Pairs[0].Employee1
			if e == nil || e.ID != got.Pairs[0].Employee1ID || e.AdditionalProperties["position_level"] != 3. || !strings.HasPrefix(e.DisplayName, "Анна <") || e.ActiveEmployee == nil || !*e.ActiveEmployee {
				t.Errorf("an employee is %+v", e)
			}
			if !strings.Contains(string(a.body), "Анна <") {
				t.Errorf("the answer is written for HTML: %s", a.body)
			}
			sent := java.only(t, tt.at)
			if sent.query != tt.query || !strings.Contains(string(sent.body), `"position_level":3`) || !strings.Contains(string(sent.body), `"department":"1"`) {
				t.Errorf("Java was asked with %q for %s", sent.query, sent.body)
			}
		})
	}
}

// TestSecretCoffeeParameters sends an algorithm and its parameters along.
func TestSecretCoffeeParameters(t *testing.T) {
	t.Parallel()
	h, java := startMatchingHub(t, matchingOptions{})
	h.post(t, "/v1/matching/secret-coffee", `{"request_id":"s-1","algorithm":"ROUND_TABLE","algorithm_params":{"seed":7},"employees":`+group(2)+`}`).
		pairs(t, "java", from101(2)...)
	sent := decode[struct {
		RequestID       string            `json:"requestId"`
		AlgorithmParams map[string]any    `json:"algorithmParams"`
		Employees       []json.RawMessage `json:"employees"`
	}](t, java.only(t, javaSecretCoffee).body)
	if sent.RequestID != "s-1" || sent.AlgorithmParams["seed"] != 7. || len(sent.Employees) != 2 {
		t.Errorf("Java was asked for %+v", sent)
	}
}

// TestFromAPI has Java find the people.
func TestFromAPI(t *testing.T) {
	t.Parallel()
	h, java := startMatchingHub(t, matchingOptions{})
	got := h.post(t, "/v1/matching/secret-coffee/from-api", `{"request_id":"f-1","algorithm_type":"SIMPLE_RANDOM","department_ids":[7,12],"business_center":"БЦ","other":{"a":[1]}}`).
		pairs(t, "java", 1, 2, 3)
	if got.RequestID != "f-1" || got.Pairs[0].Employee1 != nil {
		t.Errorf("the answer is %+v", got)
	}
	const want = `{"algorithm_type":"SIMPLE_RANDOM","department_ids":[7,12],"business_center":"БЦ","other":{"a":[1]}}`
	if sent := string(java.only(t, javaFromAPI).body); sent != want {
		t.Errorf("Java was asked for %s, want %s", sent, want)
	}
}

// TestTournament makes a bracket, which is passed on as Java made it.
func TestTournament(t *testing.T) {
	t.Parallel()
	h, java := startMatchingHub(t, matchingOptions{})
	a := h.post(t, "/v1/matching/tournament", `{"participants":`+players(2)+`,"game_type":"chess","format":"swiss","rounds":3}`, "X-Request-ID: t-1")
	a.is(t, 200, "application/json")
	got := decode[api.MatchingBracket](t, a.body)
	if got.RequestID != "t-1" || got.Source != "java" || got.Degraded || len(got.Matches) != 1 ||
		string(got.Matches[0]) != `{"round":1,"table":"A","white":101,"black":104}` {
		t.Errorf("the answer is %s", a.body)
	}
	for _, want := range []string{`"game_type":"chess"`, `"format":"swiss"`, `"rounds":3`, `"team_colour":"red"`} {
		if sent := string(java.only(t, javaTournament).body); !strings.Contains(sent, want) {
			t.Errorf("Java was asked for %s, without %s", sent, want)
		}
	}
}

// TestTeams makes teams.
func TestTeams(t *testing.T) {
	t.Parallel()
	h, java := startMatchingHub(t, matchingOptions{})
	java.says(200, `{"teams":[{"name":"Север","members":[101,103]}]}`)
	a := h.post(t, "/v1/matching/teams", `{"participants":`+players(3)+`,"team_size":2,"max_teams":1,"balance_skills":true}`)
	a.is(t, 200, "application/json")
	got := decode[api.MatchingTeams](t, a.body)
	if got.Source != "java" || got.Degraded || len(got.Teams) != 1 || !slices.Equal(got.Teams[0].Members, []int64{101, 103}) ||
		got.Teams[0].AdditionalProperties["name"] != "Север" || !slices.Equal(got.UnmatchedEmployees, []int64{102}) {
		t.Errorf("the answer is %s", a.body)
	}
	for _, want := range []string{`"team_size":2`, `"max_teams":1`, `"balance_skills":true`, `"team_colour":"red"`} {
		if sent := string(java.only(t, javaTeams).body); !strings.Contains(sent, want) {
			t.Errorf("Java was asked for %s, without %s", sent, want)
		}
	}
}

// TestMatchingTrace has the request's id and its trace reach Java with each call.
func TestMatchingTrace(t *testing.T) {
	t.Parallel()
	h, java := startMatchingHub(t, matchingOptions{})
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for path, body := range matchingCalls() {
		h.post(t, path, body, "X-Request-ID: r-1", "Traceparent: "+parent, "Tracestate: a=1,b=2").is(t, 200, "application/json")
	}
	for _, path := range []string{javaSimple, javaInterest, javaSecretCoffee, javaFromAPI, javaTournament, javaTeams} {
		header := java.only(t, path).header
		if header.Get("X-Request-ID") != "r-1" || header.Get("Traceparent") != parent || header.Get("Tracestate") != "a=1,b=2" {
			t.Errorf("%s: Java got the headers %v", path, header)
		}
	}
	h.get(t, "/v1/matching/algorithms", "X-Request-ID: r-2").is(t, 200, "application/json")
	if header := java.only(t, javaAlgorithms).header; header.Get("X-Request-ID") != "r-2" {
		t.Errorf("Java got the headers %v", header)
	}
}

// TestMatchingIdempotency gets the same pairs with the same key, though Java makes others each time.
func TestMatchingIdempotency(t *testing.T) {
	t.Parallel()
	for path, body := range matchingCalls() {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			h, _ := startMatchingHub(t, matchingOptions{})
			body = strings.ReplaceAll(body, group(5), group(40))
			h.post(t, path, body, "Idempotency-Key: no key").problem(t, 422, "invalid_fields", "Idempotency-Key")
			first := h.post(t, path, body, "Idempotency-Key: k")
			first.is(t, 200, "application/json")
			if first.header.Get("Idempotency-Replayed") != "" {
				t.Error("the first answer counts as repeated")
			}
			for range 3 {
				again := h.post(t, path, body, "Idempotency-Key: k")
				if string(again.body) != string(first.body) || again.status != 200 || again.header.Get("Idempotency-Replayed") != "true" {
					t.Errorf("the answer is %d %s, Idempotency-Replayed %q, and was %s", again.status, again.body, again.header.Get("Idempotency-Replayed"), first.body)
				}
			}
			other := strings.NewReplacer("101", "99", "[7]", "[8]").Replace(body)
			h.post(t, path, other, "Idempotency-Key: k").problem(t, 422, "idempotency_key_reused", "Idempotency-Key")
			if h.post(t, path, other, "Idempotency-Key: k2").header.Get("Idempotency-Replayed") != "" {
				t.Error("another key counts as used")
			}
		})
	}
}

// TestMatchingAtOnce sends the same request many times at once, to two hubs on one Redis: all get the same pairs.
func TestMatchingAtOnce(t *testing.T) {
	t.Parallel()
	first, java := startMatchingHub(t, matchingOptions{})
	two := options{matching: &matchingOptions{java: java}}
	two.events.Prefix = first.prefix
	hubs := []*hub{first, startHub(t, two)}
	const n = 40
	answers := make([]answer, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			var err error
			if answers[i], err = hubs[i%2].try(t, http.MethodPost, coffee, strings.NewReader(group(30)), "Idempotency-Key: same"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	repeated := 0
	for _, a := range answers {
		if a.status != 200 || string(a.body) != string(answers[0].body) {
			t.Fatalf("answered %d %s, and another was %s", a.status, a.body, answers[0].body)
		}
		if a.header.Get("Idempotency-Replayed") == "true" {
			repeated++
		}
	}
	java.only(t, javaSimple)
	if repeated != n-1 {
		t.Errorf("%d of %d answers are repeated", repeated, n)
	}
}

// TestAlgorithms lists them as Java told them, once for all who ask.
func TestAlgorithms(t *testing.T) {
	t.Parallel()
	h, java := startMatchingHub(t, matchingOptions{})
	for range 3 {
		a := h.get(t, "/v1/matching/algorithms")
		a.is(t, 200, "application/json")
		got := decode[api.MatchingAlgorithms](t, a.body)
		if !slices.Equal(got.Algorithms, []string{"SIMPLE_RANDOM", "INTEREST_BASED", "CROSS_DEPARTMENT", "ROUND_TABLE"}) || got.Total != 4 ||
			got.Source != "java" || got.Degraded || a.header.Get("Degraded") != "" {
			t.Errorf("the answer is %s", a.body)
		}
	}
	java.only(t, javaAlgorithms)
}
