//go:build java

package java

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// These tests are of the service of test/matching-service itself, so that those of the hub may believe it.

// answer is what came back, as a client without any conveniences sees it.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // met while reading the body
}

// plain asks once; a body makes it a POST.
func plain(tb testing.TB, url, body string) (answer, error) {
	tb.Helper()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := (&http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: soon}).RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return answer{status: res.StatusCode, header: res.Header, body: string(text), err: err}, nil
}

// whole asks once and fails the test without a whole answer.
func whole(tb testing.TB, url, body string) answer {
	tb.Helper()
	got, err := plain(tb, url, body)
	if err != nil || got.err != nil {
		tb.Fatalf("%v, %v", err, got.err)
	}
	return got
}

// decode reads the body into v, which must name every member of it.
func (a answer) decode(tb testing.TB, v any) {
	tb.Helper()
	decoder := json.NewDecoder(strings.NewReader(a.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil || a.status != http.StatusOK {
		tb.Fatalf("status %d, %v: %s", a.status, err, a.body)
	}
}

type appEmployee struct {
	ID               int64
	ActiveEmployee   bool
	Department       string
	Interests        []string
	ExcludedPartners []int64 `json:"excluded_partners"`
}

type appPair struct {
	Employee1, Employee2 appEmployee
	Valid                *bool
}

type appMeta struct {
	UnmatchedCount int `json:"unmatched_count"`
	TotalPairs     int `json:"total_pairs"`
	Algorithm      string
}

// pairedIDs are the ids of each pair, the lower one first.
func pairedIDs(pairs []appPair) [][2]int64 {
	var ids [][2]int64
	for _, pair := range pairs {
		ids = append(ids, [2]int64{
			min(pair.Employee1.ID, pair.Employee2.ID), max(pair.Employee1.ID, pair.Employee2.ID),
		})
	}
	return ids
}

func TestAppTellsItsHealth(t *testing.T) {
	s := serviceFor(t)
	for _, test := range []struct {
		switches switches
		path     string
		status   int
		body     string
	}{
		{switches{}, actuatorPath, 200, `{"status":"UP"}`},
		{switches{Down: true}, actuatorPath, 503, `{"status":"DOWN"}`},
		{switches{DataSourceDown: true}, actuatorPath, 200, `{"status":"UP"}`},
		{switches{}, healthPath, 200, `{"status":"OK"}`},
		{switches{DataSourceDown: true}, healthPath, 503, `{"status":"DEGRADED"}`},
		{switches{}, algorithmsPath, 200, `{"algorithms":["SIMPLE_RANDOM","INTEREST_BASED","CROSS_DEPARTMENT"],"total":3}`},
	} {
		s.set(test.switches)
		got := whole(t, s.url+test.path, "")
		var want, have map[string]any
		if err := errors.Join(json.Unmarshal([]byte(test.body), &want), json.Unmarshal([]byte(got.body), &have)); err != nil {
			t.Fatal(err)
		}
		if got.status != test.status || !reflect.DeepEqual(want, have) {
			t.Errorf("%s with %+v says %d %s", test.path, test.switches, got.status, got.body)
		}
	}
}

func TestAppMatchesForCoffee(t *testing.T) {
	s := serviceFor(t)
	type result struct {
		Pairs                    []appPair
		Unmatched                []appEmployee
		Algorithm                string
		Meta                     appMeta
		TotalPairs, MatchedCount int
		SuccessRate              float64
		Successful               bool
	}
	var got result
	// 1 and 2 may not meet, 4 takes no part; a department may be a number, and members unknown to the service are ignored.
	whole(t, s.url+simplePath, `[{"id":1,"department":5,"position_level":3},{"id":2,"excluded_partners":[1]},{"id":4,"activeEmployee":false}]`).decode(t, &got)
	if len(got.Pairs) != 0 || len(got.Unmatched) != 3 || got.Successful || got.Meta.UnmatchedCount != 3 {
		t.Errorf("those who may not meet: %+v", got)
	}
	got = result{}
	whole(t, s.url+simplePath, `[{"id":1,"department":5},{"id":2,"department":"6"}]`).decode(t, &got)
	if ids := pairedIDs(got.Pairs); !slices.Equal(ids, [][2]int64{{1, 2}}) || !*got.Pairs[0].Valid || !got.Pairs[0].Employee1.ActiveEmployee {
		t.Errorf("two who may meet: %+v", got)
	}
	if got.Algorithm != "SIMPLE_RANDOM" || got.TotalPairs != 1 || got.MatchedCount != 2 || got.SuccessRate != 1 || !got.Successful ||
		got.Meta != (appMeta{0, 1, "SIMPLE_RANDOM"}) {
		t.Errorf("two who may meet: %+v", got)
	}
	got = result{}
	whole(t, s.url+interestPath+"?interest=%D1%88%D0%B0%D1%85%D0%BC%D0%B0%D1%82%D1%8B+%26+go",
		`[{"id":1,"interests":["шахматы & go"]},{"id":2},{"id":3,"interests":["шахматы & go"]},{"id":4}]`).decode(t, &got)
	if ids := pairedIDs(got.Pairs); len(ids) != 2 || !slices.Contains(ids, [2]int64{1, 3}) || got.Algorithm != "INTEREST_BASED" {
		t.Errorf("two who share an interest: %+v", got)
	}
}

func TestAppMatchesAtRandom(t *testing.T) {
	s := serviceFor(t)
	body := `[{"id":1},{"id":2},{"id":3},{"id":4},{"id":5},{"id":6},{"id":7},{"id":8}]`
	first := whole(t, s.url+simplePath, body).body
	// The same order of eight comes 20 times in a row about never.
	for range 20 {
		if whole(t, s.url+simplePath, body).body != first {
			return
		}
	}
	t.Errorf("it answers always %s", first)
}

// appResponse is what the secret coffee calls answer.
type appResponse struct {
	RequestID, Status, Error, Algorithm string
	Pairs                               []struct{ Employee1, Employee2 map[string]any }
	Meta                                *appMeta
}

func TestAppMatchesForSecretCoffee(t *testing.T) {
	s := serviceFor(t)
	// Who is not said to be active is not, in this call.
	body := `{"requestId":"r-1","algorithmParams":{"algorithm":"CROSS_DEPARTMENT"},"employees":[
		{"id":1,"activeEmployee":true,"department":"x"},{"id":2,"activeEmployee":true},{"id":3}]}`
	var got appResponse
	whole(t, s.url+secretPath, body).decode(t, &got)
	if got.RequestID != "r-1" || got.Status != "ok" || got.Algorithm != "CROSS_DEPARTMENT" || len(got.Pairs) != 1 ||
		*got.Meta != (appMeta{1, 1, "CROSS_DEPARTMENT"}) {
		t.Errorf("%+v", got)
	}
	if refused := whole(t, s.url+secretPath, `{"employees":[]}`); refused.status != 400 || refused.body != "" {
		t.Errorf("nobody: %d %q", refused.status, refused.body)
	}

	got = appResponse{}
	whole(t, s.url+fromAPIPath, `{"algorithm_type":"INTEREST_BASED","department_ids":[1,"2"],"business_center":"A"}`).decode(t, &got)
	if got.Status != "ok" || len(got.Pairs) != 2 || got.RequestID == "" || got.Algorithm != "INTEREST_BASED" {
		t.Errorf("%+v", got)
	}
	for _, pair := range got.Pairs {
		for _, employee := range []map[string]any{pair.Employee1, pair.Employee2} {
			if employee["department"] == "3" || employee["businessCode"] != "A" {
				t.Errorf("it found %v", employee)
			}
		}
	}
}

func TestAppLosesItsDataSource(t *testing.T) {
	s := serviceFor(t)
	given, found := `{"requestId":"r-1","employees":[{"id":1}]}`, `{"business_center":"A"}`
	for _, test := range []struct {
		switches     switches
		given, found string // the error in a 200; "-" if it answers as ever
	}{
		{switches{DataSourceDown: true}, "data_api_failed", "data_api_failed"},
		{switches{NoEmployees: true}, "-", "no_employees_from_api"},
	} {
		s.set(test.switches)
		for path, call := range map[string]struct{ body, want string }{
			secretPath: {given, test.given}, fromAPIPath: {found, test.found},
		} {
			var got appResponse
			whole(t, s.url+path, call.body).decode(t, &got)
			if call.want == "-" && got.Status != "ok" || call.want != "-" && (got.Status != "error" || got.Error != call.want) {
				t.Errorf("%s with %+v says %+v", path, test.switches, got)
			}
		}
	}
	s.set(switches{DataSourceDown: true, DataSourceStatus: 502})
	isFrameworkError(t, whole(t, s.url+secretPath, given), 502, "The data source does not answer", secretPath)
	isFrameworkError(t, whole(t, s.url+fromAPIPath, found), 502, "The data source does not answer", fromAPIPath)
}

func TestAppMakesBracketsAndTeams(t *testing.T) {
	s := serviceFor(t)
	var bracket struct {
		Matches []struct {
			Round     int
			Player1ID int64 `json:"player1_id"`
			Player2ID int64 `json:"player2_id"`
		}
	}
	whole(t, s.url+bracketPath, `{"participants":[{"id":1,"rating":2.5},{"id":2,"games_played":3},{"id":3}],"game_type":"chess","format":"single","rounds":2}`).decode(t, &bracket)
	if len(bracket.Matches) != 2 || bracket.Matches[1].Player2ID != 0 {
		t.Errorf("%+v", bracket)
	}
	var teams struct{ Teams []struct{ Members []int64 } }
	whole(t, s.url+teamsPath, `{"participants":[{"id":1,"skills":["go"]},{"id":2},{"id":3}],"team_size":2,"balance_skills":true}`).decode(t, &teams)
	if len(teams.Teams) != 2 || len(teams.Teams[0].Members) != 2 || len(teams.Teams[1].Members) != 1 {
		t.Errorf("%+v", teams)
	}
	s.set(switches{NotDeployed: true})
	for _, path := range []string{bracketPath, teamsPath} {
		isFrameworkError(t, whole(t, s.url+path, `{"participants":[]}`), 404, "No message available", path)
	}
}

func TestAppRefuses(t *testing.T) {
	s := serviceFor(t)
	isFrameworkError(t, whole(t, s.url+interestPath, `[{"id":1}]`), 400, "Required parameter 'interest' is not present.", interestPath)
	isFrameworkError(t, whole(t, s.url+simplePath, `[{"id":`), 400, "JSON parse error", simplePath)
	isFrameworkError(t, whole(t, s.url+simplePath, `[{"id":1,"grade":"BOSS"}]`), 400, "JSON parse error", simplePath)
	isFrameworkError(t, whole(t, s.url+secretPath, `{"employees":[{"id":1}],"algorithmParams":{"algorithm":"X"}}`), 400, "Unknown algorithm: X", secretPath)
	isFrameworkError(t, whole(t, s.url+simplePath, ""), 405, "Method 'GET' is not supported.", simplePath)
	isFrameworkError(t, whole(t, s.url+"/nothing", ""), 404, "No static resource nothing.", "/nothing")
	s.set(switches{Token: "a-token"})
	isFrameworkError(t, whole(t, s.url+algorithmsPath, ""), 401, "", algorithmsPath)
}

// isFrameworkError checks that an answer is what Spring makes of an error.
func isFrameworkError(tb testing.TB, got answer, status int, message, path string) {
	tb.Helper()
	var body struct {
		Timestamp            time.Time
		Status               int
		Error, Message, Path string
	}
	if err := json.Unmarshal([]byte(got.body), &body); err != nil && !strings.Contains(err.Error(), "parsing time") {
		tb.Fatalf("%d %q: %v", got.status, got.body, err)
	}
	if got.status != status || body.Status != status || !strings.HasPrefix(body.Message, message) || body.Path != path {
		tb.Errorf("%d %s, want %d %s", got.status, got.body, status, message)
	}
}
