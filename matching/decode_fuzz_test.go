package matching

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/connectbot-hub/connecthub/javaclient"
)

// FuzzRequests checks that whatever comes as a request is refused with a reason or names distinct people, as many as may be.
func FuzzRequests(f *testing.F) {
	for _, seed := range []string{
		`[{"id":1,"department":5},{"id":2,"excluded_partners":[1],"more":{"a":[]}}]`,
		`{"users":[1,"2"],"type":"coffee"}`,
		`{"request_id":"r","employees":[{"id":3,"activeEmployee":false}],"users":[3,4],"algorithm":"CROSS_DEPARTMENT"}`,
		`{"employees":[{"id":1}],"algorithm_params":{"week":3}}`,
		`{"participants":[{"id":1,"rating":1500.5}],"rounds":3,"team_size":2,"balance_skills":true}`,
		`{"users":[9223372036854775808]}`, `[1e400]`, `[`, `null`, "\"\xff\"", `{"users":[1],"users":[2]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		checkRefusal := func(err error) {
			t.Helper()
			var invalid *InvalidError
			switch {
			case errors.As(err, &invalid):
				for _, p := range invalid.Fields {
					if p.Field == "" || p.Problem == "" || strings.ContainsAny(p.Field, "\n\x00") {
						t.Errorf("the problem is %+v", p)
					}
				}
			case !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooMany):
				t.Errorf("the error is %v", err)
			}
		}
		for _, read := range []func() (PairRequest, error){
			func() (PairRequest, error) { return decodeEmployees(body) },
			func() (PairRequest, error) { return decodeSecretCoffee(body) },
			func() (PairRequest, error) { return decodeJob(body, true) },
			func() (PairRequest, error) { return decodeJob(body, false) },
		} {
			r, err := read()
			if err == nil {
				err = r.check()
			}
			if err != nil {
				checkRefusal(err)
				continue
			}
			known := map[int64]bool{}
			for _, e := range r.Employees {
				if e.ID <= 0 || known[e.ID] {
					t.Errorf("taken were %+v", r.Employees)
				}
				known[e.ID] = true
			}
			if len(known) == 0 || len(known) > MaxPeople {
				t.Errorf("%d people were taken", len(known))
			}
			if _, err := json.Marshal(r); err != nil {
				t.Errorf("what was taken cannot be written: %v", err)
			}
			if r.people() == nil {
				t.Error("the people are not told apart")
			}
			if _, err := r.algorithmParams(); err != nil {
				t.Errorf("the parameters: %v", err)
			}
		}
		var tournament tournamentRequest
		if err := decode(body, &tournament, true); err != nil {
			checkRefusal(err)
		} else if tournament.check() == nil {
			if _, err := tournament.bracketHere("r", javaclient.CodeTimeout); err != nil {
				t.Error(err)
			}
		}
		var teams teamsRequest
		if err := decode(body, &teams, true); err != nil {
			checkRefusal(err)
		} else if teams.check() == nil {
			answer := teams.teamsHere("r", javaclient.CodeTimeout)
			if left, err := teams.left(answer.Teams); err != nil || len(left) != len(answer.Unmatched) {
				t.Errorf("the teams are %+v, %v", answer, err)
			}
		}
	})
}
