package javaclient_test

import (
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/connectbot-hub/connecthub/javaclient"
)

func FuzzAnswer(f *testing.F) {
	for _, shape := range results() {
		f.Add([]byte(shape[0]))
	}
	for _, answer := range []string{
		algorithms, `{"matches":[{"a":1}]}`, `{"teams":[{"members":[1,"2"],"name":"A"},{"members":[3]}]}`,
	} {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if result, err := javaclient.DecodeResult(body); err == nil {
			checkResult(t, &result)
		}
		if bracket, err := javaclient.DecodeBracket(body); err == nil {
			for _, match := range bracket.Matches {
				if match.Kind() != '{' {
					t.Errorf("match %s", match)
				}
			}
			if _, err := json.Marshal(bracket); err != nil {
				t.Error(err)
			}
		}
		if teams, err := javaclient.DecodeTeams(body); err == nil {
			seen := make(map[int64]bool)
			for _, team := range teams {
				for _, id := range team.Members {
					if id < 1 || seen[id] {
						t.Errorf("%d in %v", id, teams)
					}
					seen[id] = true
				}
			}
			if _, err := json.Marshal(teams); err != nil {
				t.Error(err)
			}
		}
		if names, err := javaclient.DecodeAlgorithms(body); err == nil {
			for _, name := range names {
				if name == "" || len(name) > 128 {
					t.Errorf("%q", name)
				}
			}
		}
	})
}

// checkResult looks whether anybody is in a result twice, and whether it can be passed on.
func checkResult(t *testing.T, result *javaclient.Result) {
	t.Helper()
	seen := make(map[int64]bool)
	add := func(id int64) {
		if id < 1 || seen[id] {
			t.Errorf("%d in %+v", id, result)
		}
		seen[id] = true
	}
	for _, pair := range result.Pairs {
		add(pair.Employee1ID)
		add(pair.Employee2ID)
		if pair.Employee1 != nil && pair.Employee1.ID != pair.Employee1ID || pair.Employee2 != nil && pair.Employee2.ID != pair.Employee2ID {
			t.Errorf("%+v", pair)
		}
	}
	for _, id := range result.Unmatched {
		add(id)
	}
	if result.Meta != nil && result.Meta.Kind() != '{' {
		t.Errorf("%s", result.Meta)
	}
	if _, err := json.Marshal(result); err != nil {
		t.Error(err)
	}
}
