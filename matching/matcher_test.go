package matching_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/javaclient"
	"github.com/connectbot-hub/connecthub/matching"
)

// everybody returns who is in an answer, and fails when somebody is in it twice.
func everybody(tb testing.TB, answer matching.Pairs) []int64 {
	tb.Helper()
	all := slices.Clone(answer.Unmatched)
	for _, p := range answer.Pairs {
		all = append(all, p.Employee1ID, p.Employee2ID)
	}
	slices.Sort(all)
	if len(slices.Compact(slices.Clone(all))) != len(all) {
		tb.Errorf("somebody is in the answer twice: %v", all)
	}
	return all
}

func upTo(n int64) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = int64(i) + 1
	}
	return all
}

func TestEveryPairCallAnswersInOneShape(t *testing.T) {
	h := start(t, options{})
	terms := matching.Terms{Call: javaclient.Call{RequestID: "r1"}}
	for name, call := range map[string]func() (matching.Pairs, error){
		"simple":        func() (matching.Pairs, error) { return h.Simple(t.Context(), terms, people(5)) },
		"simple object": func() (matching.Pairs, error) { return h.Simple(t.Context(), terms, with(5, "")) },
		"interest":      func() (matching.Pairs, error) { return h.Interest(t.Context(), terms, "chess", people(5)) },
		"secret coffee": func() (matching.Pairs, error) {
			return h.SecretCoffee(t.Context(), terms, with(5, `"algorithm":"ROUND_TABLE","algorithm_params":{"week":3},`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			answer, err := call()
			if err != nil {
				t.Fatal(err)
			}
			if got := everybody(t, answer); !slices.Equal(got, upTo(5)) {
				t.Errorf("in the answer are %v", got)
			}
			if answer.Source != matching.Java || answer.Degraded || answer.RequestID != "r1" || len(answer.Pairs) != 2 {
				t.Errorf("the answer is %+v", answer)
			}
			if p := answer.Pairs[0]; p.Employee1 == nil || p.Employee1.ID != p.Employee1ID || p.Employee1.DisplayName == "" {
				t.Errorf("the employees are not in the pair %+v", p)
			}
		})
	}
}

func TestTheAlgorithmGoesAlongWithTheParameters(t *testing.T) {
	h := start(t, options{})
	var sent string
	h.java.answers(func(_ http.ResponseWriter, r *http.Request, body []byte) bool {
		if strings.HasSuffix(r.URL.Path, "/secret-coffee") {
			sent = string(body)
		}
		return false
	})
	_, err := h.SecretCoffee(t.Context(), matching.Terms{}, with(2, `"requestId":"mine","algorithm":"CROSS_DEPARTMENT","algorithmParams":{"week":3},`))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"algorithmParams":{"algorithm_type":"CROSS_DEPARTMENT","week":3}`, `"requestId":"mine"`, `"activeEmployee":true`} {
		if !strings.Contains(sent, want) {
			t.Errorf("%s is not in what was sent: %s", want, sent)
		}
	}
	if got := h.java.header("X-Request-ID"); got != "mine" {
		t.Errorf("the header X-Request-ID was %q", got)
	}
}

func TestWhatCannotBeAskedNamesTheField(t *testing.T) {
	h := start(t, options{})
	simple := func(body string) error {
		_, err := h.Simple(t.Context(), matching.Terms{}, []byte(body))
		return err
	}
	secret := func(body string) error {
		_, err := h.SecretCoffee(t.Context(), matching.Terms{}, []byte(body))
		return err
	}
	job := func(body string) error {
		_, err := h.jobs.Request(t.Context(), matching.Terms{}, []byte(body))
		return err
	}
	tooMany := "[" + strings.Repeat(`{"id":1},`, matching.MaxPeople) + `{"id":2}]`
	for _, c := range []struct {
		name  string
		call  func(string) error
		body  string
		field string
		is    error
	}{
		{"nobody", simple, `[]`, "employees", nil},
		{"null", simple, `null`, "employees", nil},
		{"an id twice", simple, `[{"id":7},{"id":8},{"id":7}]`, "employees[2].id", nil},
		{"no id", simple, `[{"displayName":"A"}]`, "employees[0].id", nil},
		{"an id below 1", simple, `[{"id":-3}]`, "employees[0].id", nil},
		{"an id that is no number", simple, `[{"id":"x"}]`, "employees[0].id", nil},
		{"an employee that is none", simple, `[{"id":1},5]`, "employees[1]", nil},
		{"a member twice", simple, `[{"id":1,"id":2}]`, "employees[0].id", nil},
		{"a department that is an object", simple, `[{"id":1,"department":{}}]`, "employees[0].department", nil},
		{"too many", simple, tooMany, "", matching.ErrTooMany},
		{"cut off", simple, `[{"id":1}`, "", matching.ErrMalformed},
		{"two values", simple, `[{"id":1}] 5`, "", matching.ErrMalformed},
		{"empty", simple, ``, "", matching.ErrMalformed},
		{"text", simple, `"a"`, "(body)", nil},
		{"unknown member", secret, `{"employee":[]}`, "employee", nil},
		{"unknown algorithm", secret, `{"algorithm":"GREEDY","employees":[{"id":1}]}`, "algorithm", nil},
		{"parameters that are no object", secret, `{"algorithm_params":5,"employees":[{"id":1}]}`, "algorithm_params", nil},
		{"a request id with spaces", secret, `{"request_id":"a b","employees":[{"id":1}]}`, "request_id", nil},
		{"a job for nobody", job, `{}`, "users", nil},
		{"a job with a user twice", job, `{"users":[1,2,1]}`, "users[2]", nil},
		{"a job with a user that is none", job, `{"users":[0]}`, "users[0]", nil},
		{"a job with users that are no list", job, `{"users":5}`, "users", nil},
		{"a job with a user that is no id", job, `{"users":[1,true]}`, "users[1]", nil},
		{"a job with an unknown algorithm", job, `{"users":[1,2],"algorithm":"GREEDY"}`, "algorithm", nil},
		{"a job with an unknown member", job, `{"users":[1,2],"kind":"coffee"}`, "kind", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.call(c.body)
			var invalid *matching.InvalidError
			switch {
			case c.is != nil:
				if !errors.Is(err, c.is) {
					t.Errorf("the error is %v", err)
				}
			case !errors.As(err, &invalid):
				t.Errorf("the error is %v", err)
			case invalid.Fields[0].Field != c.field:
				t.Errorf("the field is %+v", invalid.Fields)
			}
		})
	}
	if n := h.Stats().Java; n != 0 {
		t.Errorf("%d of them were asked", n)
	}
}

func TestAnUnknownAlgorithmIsToldTheList(t *testing.T) {
	h := start(t, options{})
	_, err := h.SecretCoffee(t.Context(), matching.Terms{}, with(2, `"algorithm":"GREEDY",`))
	if err == nil || !strings.Contains(err.Error(), "SIMPLE_RANDOM, INTEREST_BASED, CROSS_DEPARTMENT, ROUND_TABLE") {
		t.Errorf("the error is %v", err)
	}
}

func TestTheHubMatchesWhateverIsWrongWithTheService(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		reason javaclient.Code
	}{
		"it fails":                {500, `{"status":500}`, javaclient.CodeServerError},
		"a proxy answers":         {200, `<html>`, javaclient.CodeMalformed},
		"it pairs a stranger":     {200, `{"pairs":[{"employee1_id":1,"employee2_id":77}]}`, javaclient.CodeMalformed},
		"it pairs somebody twice": {200, `{"pairs":[{"employee1_id":1,"employee2_id":2},{"employee1_id":2,"employee2_id":3}]}`, javaclient.CodeMalformed},
		"it wants another token":  {401, ``, javaclient.CodeUnauthorized},
		"it has no such call":     {404, ``, javaclient.CodeNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, options{})
			h.java.fails(c.status, c.body)
			answer, err := h.Simple(t.Context(), matching.Terms{}, people(7))
			if err != nil {
				t.Fatal(err)
			}
			if answer.Source != matching.Fallback || !answer.Degraded || answer.Reason != c.reason || len(answer.Pairs) != 3 {
				t.Errorf("the answer is %+v", answer.Origin)
			}
			if got := everybody(t, answer); !slices.Equal(got, upTo(7)) {
				t.Errorf("in the answer are %v", got)
			}
			h.java.answers(nil)
			if answer, err = h.Simple(t.Context(), matching.Terms{}, people(7)); err != nil || answer.Source != matching.Java {
				t.Errorf("when it is back the answer is %+v, %v", answer.Origin, err)
			}
		})
	}
}

func TestTheHubHeedsWhomPeopleExcludeAndWhoIsAway(t *testing.T) {
	h := start(t, options{})
	h.java.fails(503, "")
	body := `[{"id":1,"excluded_partners":[2,3]},{"id":2},{"id":3},{"id":4,"activeEmployee":false},{"id":5}]`
	for i := range 20 {
		answer, err := h.Simple(t.Context(), matching.Terms{Call: javaclient.Call{RequestID: fmt.Sprint(i)}}, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if len(answer.Pairs) != 2 || !slices.Equal(answer.Unmatched, []int64{4}) {
			t.Fatalf("the answer is %+v", answer)
		}
		for _, p := range answer.Pairs {
			if min(p.Employee1ID, p.Employee2ID) == 1 && max(p.Employee1ID, p.Employee2ID) != 5 {
				t.Errorf("1 meets %+v", p)
			}
		}
	}
}

func TestTournamentsAndTeams(t *testing.T) {
	h := start(t, options{})
	players := []byte(`{"participants":[{"id":1,"rating":1500},{"id":2,"rating":1700},{"id":3}],"game_type":"chess"}`)
	members := []byte(`{"participants":[{"id":1},{"id":2},{"id":3}],"team_size":2}`)
	bracket, err := h.Tournament(t.Context(), matching.Terms{}, players)
	if err != nil || bracket.Source != matching.Java || len(bracket.Matches) != 1 {
		t.Errorf("the bracket is %+v, %v", bracket, err)
	}
	teams, err := h.Teams(t.Context(), matching.Terms{}, members)
	if err != nil || teams.Source != matching.Java || !slices.Equal(teams.Unmatched, []int64{3}) {
		t.Errorf("the teams are %+v, %v", teams, err)
	}
	h.java.fails(404, "")
	bracket, err = h.Tournament(t.Context(), matching.Terms{}, players)
	if err != nil || bracket.Source != matching.Fallback || len(bracket.Matches) != 2 {
		t.Errorf("without the call the bracket is %+v, %v", bracket, err)
	}
	teams, err = h.Teams(t.Context(), matching.Terms{}, members)
	if err != nil || teams.Source != matching.Fallback || len(teams.Teams) != 2 || len(teams.Unmatched) != 0 {
		t.Errorf("without the call the teams are %+v, %v", teams, err)
	}
	var invalid *matching.InvalidError
	if _, err = h.Teams(t.Context(), matching.Terms{}, []byte(`{"participants":[{"id":1}]}`)); !errors.As(err, &invalid) || invalid.Fields[0].Field != "team_size" {
		t.Errorf("without a size the error is %v", err)
	}
	if _, err = h.Tournament(t.Context(), matching.Terms{}, []byte(`{"participants":[{"id":1},{"id":1}]}`)); !errors.As(err, &invalid) || invalid.Fields[0].Field != "participants[1].id" {
		t.Errorf("with a player twice the error is %v", err)
	}
}

func TestWithoutAFallbackTheFailureIsTold(t *testing.T) {
	h := start(t, options{alone: true})
	h.java.fails(500, "")
	var failure *javaclient.Error
	if _, err := h.Simple(t.Context(), matching.Terms{}, people(3)); !errors.As(err, &failure) || failure.Code != javaclient.CodeServerError {
		t.Errorf("the error is %v", err)
	}
	h.java.fails(400, `{"status":400,"message":"no such interest"}`)
	if _, err := h.Simple(t.Context(), matching.Terms{}, people(3)); !errors.As(err, &failure) || failure.Message != "no such interest" {
		t.Errorf("the error is %v", err)
	}
}

func TestWhatTheServiceRefusesIsNotMatchedHere(t *testing.T) {
	h := start(t, options{})
	h.java.fails(400, `{"status":400,"message":"no such interest"}`)
	var failure *javaclient.Error
	if _, err := h.Interest(t.Context(), matching.Terms{}, "x", people(3)); !errors.As(err, &failure) || failure.Code != javaclient.CodeRefused {
		t.Errorf("the error is %v", err)
	}
}

func TestFromAPIHasNoFallback(t *testing.T) {
	h := start(t, options{})
	h.java.answers(func(w http.ResponseWriter, _ *http.Request, body []byte) bool {
		if !strings.Contains(string(body), `"department_ids":[4]`) {
			t.Errorf("sent was %s", body)
		}
		_, _ = w.Write([]byte(`{"status":"ok","pairs":[{"employee1_id":101,"employee2_id":104}],"unmatched_employees":[9],"transaction_id":"t"}`))
		return true
	})
	answer, err := h.FromAPI(t.Context(), matching.Terms{}, []byte(`{"department_ids":[4]}`))
	if err != nil || len(answer.Pairs) != 1 || !slices.Equal(answer.Unmatched, []int64{9}) {
		t.Errorf("the answer is %+v, %v", answer, err)
	}
	h.java.fails(502, "")
	var failure *javaclient.Error
	if _, err := h.FromAPI(t.Context(), matching.Terms{}, []byte(`{}`)); !errors.As(err, &failure) || failure.Code != javaclient.CodeDataSource {
		t.Errorf("the error is %v", err)
	}
}

// shape is what must be the same when an answer is repeated.
func shape(answer matching.Pairs) string {
	text := ""
	for _, p := range answer.Pairs {
		text += fmt.Sprint(p.Employee1ID, "-", p.Employee2ID, " ")
	}
	return text
}

func TestTheSameKeyGivesTheSamePairs(t *testing.T) {
	prefix, j := redistest.Prefix(t), startJava(t)
	hubs := [2]*hub{start(t, options{prefix: prefix, java: j}), start(t, options{prefix: prefix, java: j})}
	terms := matching.Terms{IdempotencyKey: "week-47"}
	shapes := make([]string, 40)
	var all sync.WaitGroup
	for i := range shapes {
		all.Go(func() {
			answer, err := hubs[i%2].Simple(t.Context(), terms, people(40))
			if err != nil {
				t.Error(err)
			}
			shapes[i] = shape(answer)
		})
	}
	all.Wait()
	for _, s := range shapes {
		if s != shapes[0] {
			t.Fatalf("the pairs differ: %s and %s", s, shapes[0])
		}
	}
	if n := j.calls.Load(); n != 1 {
		t.Errorf("the service was asked %d times", n)
	}
	if _, err := hubs[0].Simple(t.Context(), terms, people(41)); !errors.Is(err, matching.ErrKeyReused) {
		t.Errorf("with other people the error is %v", err)
	}
	again, err := hubs[1].Simple(t.Context(), terms, people(40))
	if err != nil || !again.Repeated {
		t.Errorf("asked once more the answer is %+v, %v", again.Origin, err)
	}
}

func TestACallThatIsUnderWayIsNotWaitedForTooLong(t *testing.T) {
	h := start(t, options{})
	asked, release := make(chan struct{}), make(chan struct{})
	h.java.answers(func(http.ResponseWriter, *http.Request, []byte) bool {
		close(asked)
		<-release
		return false
	})
	terms := matching.Terms{IdempotencyKey: "k"}
	first := make(chan matching.Pairs)
	go func() {
		answer, err := h.Simple(context.Background(), terms, people(4))
		if err != nil {
			t.Error(err)
		}
		first <- answer
	}()
	<-asked
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := h.Simple(ctx, terms, people(4)); !errors.Is(err, matching.ErrInProgress) {
		t.Errorf("the error is %v", err)
	}
	close(release)
	if again, err := h.Simple(t.Context(), terms, people(4)); err != nil || shape(again) != shape(<-first) {
		t.Errorf("the answer is %+v, %v", again, err)
	}
}

func TestAFailureIsNotRemembered(t *testing.T) {
	h := start(t, options{alone: true})
	h.java.fails(500, "")
	terms := matching.Terms{IdempotencyKey: "k"}
	if _, err := h.Simple(t.Context(), terms, people(4)); err == nil {
		t.Fatal("it did not fail")
	}
	h.java.answers(nil)
	if _, err := h.Simple(t.Context(), terms, people(4)); err != nil {
		t.Errorf("when it is back the error is %v", err)
	}
}

func TestTheSamePeopleGiveTheSamePairsForAWhile(t *testing.T) {
	h := start(t, options{cacheTTL: time.Hour})
	first, err := h.Simple(t.Context(), matching.Terms{}, people(40))
	if err != nil {
		t.Fatal(err)
	}
	again, err := h.Simple(t.Context(), matching.Terms{}, people(40))
	if err != nil || shape(again) != shape(first) {
		t.Errorf("the same people get %s and %s, %v", shape(first), shape(again), err)
	}
	named, err := h.Simple(t.Context(), matching.Terms{}, with(40, `"request_id":"mine",`))
	if err != nil || named.RequestID != "mine" || !named.Repeated || shape(named) != shape(first) {
		t.Errorf("asked under a name the answer is %+v, %v", named.Origin, err)
	}
	excluding := strings.Replace(string(people(40)), `"id":1}`, `"id":1,"excluded_partners":[2]}`, 1)
	for name, body := range map[string][]byte{"others": people(42), "one who excludes another": []byte(excluding)} {
		calls := h.java.calls.Load()
		if _, err := h.Simple(t.Context(), matching.Terms{}, body); err != nil || h.java.calls.Load() != calls+1 {
			t.Errorf("%s were not matched anew: %v", name, err)
		}
	}
}

func TestWhatIsRememberedSaysNothingOfTheService(t *testing.T) {
	h := start(t, options{cacheTTL: time.Hour})
	simple := func(n int) matching.Pairs {
		answer, err := h.Simple(t.Context(), matching.Terms{}, people(n))
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	simple(4)
	h.java.fails(500, "")
	simple(6)
	simple(4)
	if reason, degraded := h.Degraded(); !degraded || reason != javaclient.CodeServerError || h.Stats().Java != 1 {
		t.Errorf("degraded is %t, %q, with %+v", degraded, reason, h.Stats())
	}
}

// Hubs that ask the same at the same time wait for each other, but not while the service hangs.
func TestTheSamePeopleDoNotWaitForAnotherHubForLong(t *testing.T) {
	prefix, j := redistest.Prefix(t), startJava(t)
	o := options{prefix: prefix, java: j, cacheTTL: time.Hour, waitForOthers: time.Second, client: javaclient.Config{URL: j.server.URL, Timeout: 4 * time.Second, TotalTimeout: 4 * time.Second}}
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	j.answers(func(http.ResponseWriter, *http.Request, []byte) bool { <-release; return false })
	hubs := []*hub{start(t, o), start(t, o), start(t, o)}
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for _, h := range hubs {
		all.Go(func() {
			if answer, err := h.Simple(ctx, matching.Terms{}, people(4)); err != nil || !answer.Degraded {
				t.Errorf("the answer is %+v, %v", answer.Origin, err)
			}
		})
	}
	all.Wait()
}

func TestWhatTheHubMatchedIsNotKeptForTheSamePeople(t *testing.T) {
	h := start(t, options{cacheTTL: time.Hour})
	h.java.fails(500, "")
	if answer, err := h.Simple(t.Context(), matching.Terms{}, people(4)); err != nil || !answer.Degraded {
		t.Fatalf("the answer is %+v, %v", answer.Origin, err)
	}
	h.java.answers(nil)
	if answer, err := h.Simple(t.Context(), matching.Terms{}, people(4)); err != nil || answer.Degraded {
		t.Errorf("when the service is back the answer is %+v, %v", answer.Origin, err)
	}
}

func TestWithoutThatThePairsAreNew(t *testing.T) {
	h := start(t, options{})
	first, err := h.Simple(t.Context(), matching.Terms{}, people(40))
	if err != nil {
		t.Fatal(err)
	}
	second, err := h.Simple(t.Context(), matching.Terms{}, people(40))
	if err != nil || shape(first) == shape(second) {
		t.Errorf("the pairs are the same, %v", err)
	}
}

func TestAKeyIsNotPromisedWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	h := start(t, options{redis: server, cacheTTL: time.Hour})
	server.Stop()
	if _, err := h.Simple(t.Context(), matching.Terms{IdempotencyKey: "k"}, people(4)); !errors.Is(err, matching.ErrUnavailable) {
		t.Errorf("with a key the error is %v", err)
	}
	if answer, err := h.Simple(t.Context(), matching.Terms{}, people(4)); err != nil || len(answer.Pairs) != 2 {
		t.Errorf("without one the answer is %+v, %v", answer, err)
	}
}

func TestAlgorithms(t *testing.T) {
	prefix, j := redistest.Prefix(t), startJava(t)
	h := start(t, options{prefix: prefix, java: j})
	j.fails(503, "")
	got, err := h.Algorithms(t.Context(), javaclient.Call{})
	if err != nil || got.Source != matching.Fallback || !got.Degraded || got.Total != 3 {
		t.Errorf("while it is away they are %+v, %v", got, err)
	}
	j.answers(nil)
	redistest.Eventually(t, soon, "the service's own are told", func() bool {
		got, err = h.Algorithms(t.Context(), javaclient.Call{})
		return err == nil && got.Source == matching.Java && got.Total == 4
	})
	j.fails(503, "")
	other := start(t, options{prefix: prefix, java: j})
	got, err = other.Algorithms(t.Context(), javaclient.Call{})
	if err != nil || got.Total != 4 || got.Source != matching.Java {
		t.Errorf("another hub tells %+v, %v", got, err)
	}
	alone := start(t, options{java: j, alone: true})
	if _, err = alone.Algorithms(t.Context(), javaclient.Call{}); err == nil {
		t.Error("without a fallback they are made up")
	}
}
