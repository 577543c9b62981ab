//go:build java

package java

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// hubPairs is what the hub answers to all calls for pairs.
type hubPairs struct {
	RequestID string `json:"request_id"`
	Source    string
	Degraded  bool
	Reason    string
	Algorithm string
	Pairs     []struct {
		idPair
		Employee1, Employee2 map[string]any
	}
	Unmatched []int64 `json:"unmatched_employees"`
	Meta      any
}

// ids returns who is in the pairs or without a partner, in order.
func (p *hubPairs) ids() []int64 {
	o := outcome{Unmatched: p.Unmatched}
	for _, pair := range p.Pairs {
		o.Pairs = append(o.Pairs, pair.idPair)
	}
	return o.everybody()
}

// The hub's calls.
const (
	hubSimple     = "/v1/matching/coffee/simple"
	hubInterest   = "/v1/matching/coffee/interest?interest=%D1%88%D0%B0%D1%85%D0%BC%D0%B0%D1%82%D1%8B+%26+go"
	hubSecret     = "/v1/matching/secret-coffee"
	hubFromAPI    = "/v1/matching/secret-coffee/from-api"
	hubTournament = "/v1/matching/tournament"
	hubTeams      = "/v1/matching/teams"
	hubAlgorithms = "/v1/matching/algorithms"
	hubRequests   = "/v1/matching/requests"
	hubEvents     = "/v1/events/services/matching"
)

// staff is a JSON array of n employees, of whom more than the id is known.
func staff(n int) string {
	all := make([]string, n)
	for i := range all {
		id := strconv.Itoa(i + 1)
		all[i] = `{"id":` + id + `,"displayName":"` + surname + ` ` + id + `","department":` + id + `,"position_level":3,"interests":["шахматы & go"]}`
	}
	return "[" + strings.Join(all, ",") + "]"
}

func TestHubPassesOnWhatTheServiceAnswers(t *testing.T) {
	for _, flat := range []bool{false, true} {
		t.Run("flat "+strconv.FormatBool(flat), func(t *testing.T) {
			s := serviceFor(t)
			s.set(switches{Flat: flat, Token: "token-of-the-service"})
			h := startHub(t, redistest.Start(t), "JAVA_SERVICE_URL="+s.url, "JAVA_SERVICE_TOKEN=token-of-the-service")
			for _, test := range []struct{ path, body, called string }{
				{hubSimple, staff(5), simplePath},
				{hubSimple, `{"request_id":"week-47","employees":` + staff(5) + `}`, simplePath},
				{hubInterest, staff(5), interestPath},
				{hubSecret, `{"employees":` + staff(5) + `}`, secretPath},
				{hubSecret, `{"algorithm":"CROSS_DEPARTMENT","request_id":"week-47","employees":` + staff(5) + `}`, secretPath},
				{hubFromAPI, `{"algorithm_type":"CROSS_DEPARTMENT","department_ids":[1,2],"business_center":"A"}`, fromAPIPath},
			} {
				s.forget()
				got := h.post(test.path, test.body, http.StatusOK)
				var pairs hubPairs
				got.decode(t, &pairs)
				want, named := upTo(5), true
				if test.path == hubFromAPI { // Four of its own twelve, of whom the hub knows what the service tells.
					want, named = []int64{4, 6, 10, 12}, !flat
				}
				if pairs.Source != "java" || pairs.Degraded || got.header.Get("Degraded") != "" || len(pairs.Pairs) != 2 || !slices.Equal(pairs.ids(), want) {
					t.Errorf("%s answers %s", test.path, got.body)
				}
				for _, pair := range pairs.Pairs {
					one, two := pair.Employee1, pair.Employee2
					if !named && (one != nil || two != nil) || named && (one["id"] != float64(pair.One) || two["id"] != float64(pair.Two)) {
						t.Errorf("%s answers %s", test.path, got.body)
					}
					if named && test.path != hubFromAPI && one["displayName"] != surname+" "+strconv.FormatInt(pair.One, 10) {
						t.Errorf("%s answers %s", test.path, got.body)
					}
				}
				if strings.Contains(test.body, "week-47") != (pairs.RequestID == "week-47") || pairs.RequestID == "" {
					t.Errorf("%s answers with the id %s", test.path, pairs.RequestID)
				}
				s.got(test.called, 1)
				if id := s.calls().Paths[test.called].RequestID; id != pairs.RequestID {
					t.Errorf("%s: the service is told the id %s, and the caller %s", test.path, id, pairs.RequestID)
				}
			}
		})
	}
}

func TestHubPassesOnTournamentsAndTeams(t *testing.T) {
	s := serviceFor(t)
	h := startHub(t, redistest.Start(t), "JAVA_SERVICE_URL="+s.url)
	var bracket struct {
		RequestID string `json:"request_id"`
		Source    string
		Degraded  bool
		Matches   []struct {
			Round    int
			Player1  int64  `json:"player1_id"`
			Player2  *int64 `json:"player2_id"`
			SomeMore any
		}
	}
	h.post(hubTournament, `{"participants":[{"id":1,"name":"`+surname+`","rating":1500.5,"games_played":3},{"id":2},{"id":3}],
		"game_type":"chess","format":"single_elimination","rounds":2}`, http.StatusOK).decode(t, &bracket)
	var ids []int64
	for _, match := range bracket.Matches {
		ids = append(ids, match.Player1)
		if match.Player2 != nil {
			ids = append(ids, *match.Player2)
		}
	}
	slices.Sort(ids)
	if bracket.Source != "java" || bracket.Degraded || len(bracket.Matches) != 2 || !slices.Equal(ids, upTo(3)) {
		t.Errorf("the bracket is %+v", bracket)
	}
	s.got(bracketPath, 1)

	var teams struct {
		RequestID string `json:"request_id"`
		Source    string
		Degraded  bool
		Teams     []struct{ Members []int64 }
		Unmatched []int64 `json:"unmatched_employees"`
	}
	h.post(hubTeams, `{"participants":[{"id":1,"name":"`+surname+`","department":"x","skills":["go"],"interests":["y"]},{"id":2},{"id":3},{"id":4},{"id":5}],
		"team_size":2,"balance_skills":true,"max_teams":2}`, http.StatusOK).decode(t, &teams)
	ids = slices.Clone(teams.Unmatched)
	for _, team := range teams.Teams {
		ids = append(ids, team.Members...)
	}
	slices.Sort(ids)
	if teams.Source != "java" || teams.Degraded || len(teams.Teams) != 2 || len(teams.Unmatched) != 1 || !slices.Equal(ids, upTo(5)) {
		t.Errorf("the teams are %+v", teams)
	}
	s.got(teamsPath, 1)

	// A deployment that has neither.
	s.set(switches{NotDeployed: true})
	for path, body := range map[string]string{
		hubTournament: `{"participants":[{"id":1},{"id":2}]}`,
		hubTeams:      `{"participants":[{"id":1},{"id":2}],"team_size":2}`,
	} {
		got := h.post(path, body, http.StatusOK)
		if !strings.Contains(got.body, `"source":"fallback","degraded":true,"reason":"not_found"`) || got.header.Get("Degraded") != "fallback" {
			t.Errorf("%s answers %s", path, got.body)
		}
	}
}

func TestHubPassesOnAlgorithms(t *testing.T) {
	s := serviceFor(t)
	h := startHub(t, redistest.Start(t), "JAVA_SERVICE_URL="+s.url)
	for range 3 {
		var list struct {
			Algorithms []string
			Total      int
			Source     string
			Degraded   bool
		}
		whole(t, h.url+hubAlgorithms, "").decode(t, &list)
		want := []string{"SIMPLE_RANDOM", "INTEREST_BASED", "CROSS_DEPARTMENT"}
		if !slices.Equal(list.Algorithms, want) || list.Total != 3 || list.Source != "java" || list.Degraded {
			t.Errorf("the algorithms are %+v", list)
		}
	}
	s.got(algorithmsPath, 1)
	got := h.post(hubSecret, `{"algorithm":"BEST","employees":`+staff(2)+`}`, http.StatusUnprocessableEntity)
	var problem struct{ Code, Detail string }
	if err := json.Unmarshal([]byte(got.body), &problem); err != nil || problem.Code != "invalid_fields" || !strings.Contains(problem.Detail, "CROSS_DEPARTMENT") {
		t.Errorf("an unknown algorithm: %s", got.body)
	}
	s.got(secretPath, 0)
}
