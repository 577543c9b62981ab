//go:build java

package java

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/connectbot-hub/connecthub/javaclient"
)

// clientOf returns a client that is closed with the test. It hedges only if the configuration says so, since a hedge would
// be one request more to count.
func clientOf(tb testing.TB, cfg javaclient.Config) *javaclient.Client {
	tb.Helper()
	if cfg.HedgeAfter == 0 {
		cfg.HedgeAfter = -1
	}
	c, err := javaclient.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

// failsWith checks a call's error and returns it.
func failsWith(tb testing.TB, err error, code javaclient.Code) javaclient.Error {
	tb.Helper()
	failed := &javaclient.Error{}
	if !errors.As(err, &failed) || failed.Code != code {
		tb.Errorf("%v, want %s", err, code)
	}
	return *failed
}

// people returns employees with the ids 1 to n.
func people(n int) []javaclient.Employee {
	all := make([]javaclient.Employee, n)
	for i := range all {
		all[i] = javaclient.Employee{ID: int64(i + 1), DisplayName: javaclient.Text("Сотрудник " + strconv.Itoa(i+1))}
	}
	return all
}

// everybody returns the ids of all who are in a result, in order.
func everybody(result javaclient.Result) []int64 {
	ids := slices.Clone(result.Unmatched)
	for _, pair := range result.Pairs {
		ids = append(ids, pair.Employee1ID, pair.Employee2ID)
	}
	slices.Sort(ids)
	return ids
}

func upTo(n int64) []int64 {
	var ids []int64
	for id := range n {
		ids = append(ids, id+1)
	}
	return ids
}

// pairings are the calls that answer with pairs of five people.
func pairings(c *javaclient.Client) map[string]func(context.Context, javaclient.Call) (javaclient.Result, error) {
	type call = func(context.Context, javaclient.Call) (javaclient.Result, error)
	return map[string]call{
		simplePath: func(ctx context.Context, call javaclient.Call) (javaclient.Result, error) {
			return c.Simple(ctx, call, people(5))
		},
		interestPath: func(ctx context.Context, call javaclient.Call) (javaclient.Result, error) {
			return c.Interest(ctx, call, "шахматы & go", people(5))
		},
		secretPath: func(ctx context.Context, call javaclient.Call) (javaclient.Result, error) {
			return c.SecretCoffee(ctx, call, javaclient.SecretCoffee{RequestID: "r-1", Employees: people(5)})
		},
		fromAPIPath: func(ctx context.Context, call javaclient.Call) (javaclient.Result, error) {
			return c.FromAPI(ctx, call, javaclient.FromAPI{
				Algorithm: "CROSS_DEPARTMENT", Other: jsontext.Value(`{"department_ids":[1,2],"business_center":"A"}`),
			})
		},
	}
}

func TestClientMatches(t *testing.T) {
	for _, flat := range []bool{false, true} {
		t.Run("flat "+strconv.FormatBool(flat), func(t *testing.T) {
			s := serviceFor(t)
			s.set(switches{Flat: flat})
			c := clientOf(t, javaclient.Config{URL: s.url})
			for path, call := range pairings(c) {
				result, err := call(t.Context(), javaclient.Call{RequestID: "r-1"})
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				everyone, pairs := upTo(5), 2
				switch {
				case path == fromAPIPath: // Four of its own twelve.
					everyone = []int64{4, 6, 10, 12}
				case path == secretPath && !flat: // A MatchingResponse does not tell who is left over.
					everyone = nil
				}
				if ids := everybody(result); len(result.Pairs) != pairs || everyone != nil && !slices.Equal(ids, everyone) {
					t.Errorf("%s: %+v", path, result)
				}
				for _, pair := range result.Pairs {
					if nested := pair.Employee1 != nil && pair.Employee2 != nil; nested == flat {
						t.Errorf("%s: %+v", path, pair)
					}
				}
				if path == secretPath && result.RequestID != "r-1" || !flat && result.Algorithm == "" || result.Meta == nil {
					t.Errorf("%s: %+v", path, result)
				}
				s.got(path, 1)
			}
		})
	}
}

func TestClientMatchesThoseWhoShareAnInterest(t *testing.T) {
	s := serviceFor(t)
	c := clientOf(t, javaclient.Config{URL: s.url})
	four := people(4)
	const interest = "шахматы & go?#%+"
	four[0].Interests, four[3].Interests = []string{interest}, []string{interest}
	result, err := c.Interest(t.Context(), javaclient.Call{}, interest, four)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Pairs) != 2 || !slices.ContainsFunc(result.Pairs, func(pair javaclient.Pair) bool {
		return min(pair.Employee1ID, pair.Employee2ID) == 1 && max(pair.Employee1ID, pair.Employee2ID) == 4
	}) {
		t.Errorf("%+v", result)
	}
}

func TestClientLosesNothingOfAnEmployee(t *testing.T) {
	s := serviceFor(t)
	c := clientOf(t, javaclient.Config{URL: s.url})
	yes := true
	full := javaclient.Employee{
		ID: 1<<53 + 1, DisplayName: "Анна \"Ё\" <&>\u2028😀", Department: "5", Position: "p", BusinessCode: "b", Number: "007",
		Username: "@u", Interests: []string{"шахматы", ""}, Grade: "LEAD", Excluded: []int64{7, 1<<53 + 3},
		Preferences: &javaclient.Preferences{WithNewcomers: true},
		Other:       jsontext.Value(`{"position_level":3,"unheard_of":{"x":[1]}}`),
	}
	result, err := c.Simple(t.Context(), javaclient.Call{}, []javaclient.Employee{full, {ID: 2}})
	if err != nil || len(result.Pairs) != 1 {
		t.Fatalf("%+v, %v", result, err)
	}
	got, other := result.Pairs[0].Employee1, result.Pairs[0].Employee2
	if got.ID == 2 {
		got, other = other, got
	}
	full.Active, full.Other = &yes, nil // What the service does not know, it ignores.
	if !reflect.DeepEqual(*got, full) {
		t.Errorf("sent %+v\ngot  %+v", full, *got)
	}
	if !reflect.DeepEqual(*other, javaclient.Employee{ID: 2, Active: &yes}) {
		t.Errorf("%+v", *other)
	}
}

func TestClientMatchesThousands(t *testing.T) {
	s := serviceFor(t)
	c := clientOf(t, javaclient.Config{URL: s.url})
	const many = 5000
	result, err := c.Simple(t.Context(), javaclient.Call{}, people(many))
	if err != nil || len(result.Pairs) != many/2 || !slices.Equal(everybody(result), upTo(many)) {
		t.Errorf("%d pairs, %v", len(result.Pairs), err)
	}
}

func TestClientAsksForTheRest(t *testing.T) {
	s := serviceFor(t)
	c := clientOf(t, javaclient.Config{URL: s.url})
	algorithms, err := c.Algorithms(t.Context(), javaclient.Call{})
	if err != nil || !slices.Equal(algorithms, []string{"SIMPLE_RANDOM", "INTEREST_BASED", "CROSS_DEPARTMENT"}) {
		t.Errorf("%v, %v", algorithms, err)
	}
	bracket, err := c.Tournament(t.Context(), javaclient.Call{}, javaclient.Tournament{
		Players:  []javaclient.Player{{ID: 1, Rating: 2.5, GamesPlayed: 3}, {ID: 2}, {ID: 3}},
		GameType: "chess", Format: "single", Rounds: 2,
	})
	if err != nil || len(bracket.Matches) != 2 {
		t.Errorf("%+v, %v", bracket, err)
	}
	teams, err := c.Teams(t.Context(), javaclient.Call{}, javaclient.Teams{
		Members: []javaclient.Member{{ID: 1, Skills: []string{"go"}}, {ID: 2}, {ID: 3}}, Size: 2, Balance: true,
	})
	if err != nil || len(teams) != 2 || len(teams[0].Members) != 2 || len(teams[1].Members) != 1 {
		t.Errorf("%+v, %v", teams, err)
	}
	s.set(switches{NotDeployed: true})
	_, err = c.Tournament(t.Context(), javaclient.Call{}, javaclient.Tournament{})
	failsWith(t, err, javaclient.CodeNotFound)
	_, err = c.Teams(t.Context(), javaclient.Call{}, javaclient.Teams{})
	failsWith(t, err, javaclient.CodeNotFound)
}

func TestClientAsksForHealth(t *testing.T) {
	s := serviceFor(t)
	c := clientOf(t, javaclient.Config{URL: s.url})
	if err := errors.Join(c.Health(t.Context()), c.Actuator(t.Context())); err != nil {
		t.Error(err)
	}
	s.set(switches{DataSourceDown: true, Down: true})
	failsWith(t, c.Health(t.Context()), javaclient.CodeDataSource)
	failsWith(t, c.Actuator(t.Context()), javaclient.CodeServerError)
}

func TestClientShowsItsTokenAndWhoseCallItIs(t *testing.T) {
	s := serviceFor(t)
	s.set(switches{Token: "a-token"})
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, test := range []struct {
		token string
		code  javaclient.Code
	}{{"a-token", ""}, {"another", javaclient.CodeUnauthorized}, {"", javaclient.CodeUnauthorized}} {
		s.forget()
		c := clientOf(t, javaclient.Config{URL: s.url, Token: test.token})
		for path, call := range pairings(c) {
			_, err := call(t.Context(), javaclient.Call{RequestID: "r-1", Traceparent: trace})
			if test.code != "" {
				failsWith(t, err, test.code)
			} else if err != nil {
				t.Errorf("%s: %v", path, err)
			}
			want := arrived{1, "POST", "r-1", trace, test.token != ""}
			if got := s.calls().Paths[path]; got != want {
				t.Errorf("%s: %+v arrived, want %+v", path, got, want)
			}
		}
	}
}
