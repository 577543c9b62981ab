package matching

import (
	"context"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/connectbot-hub/connecthub/javaclient"
	"github.com/connectbot-hub/connecthub/matching/local"
)

const (
	// localSlots is how many requests are matched here at a time.
	localSlots = 2
	// LocalTimeout is how long a match without the service may take, and how long it may wait for its turn: 5,000 people take
	// less than a second, unless somebody makes up the worst exclusions.
	LocalTimeout = 10 * time.Second
	// localAlgorithm is what the answers call it.
	localAlgorithm = "LOCAL_MAXIMUM"
)

// seed makes the chance of a request: the same request, tried again, gives the same pairs, and no two requests do.
func seed(requestID string) uint64 { return xxhash.Sum64String(requestID) }

func here(requestID, algorithm string, reason javaclient.Code) Origin {
	return Origin{RequestID: requestID, Source: Fallback, Degraded: true, Reason: reason, Algorithm: algorithm}
}

// matchHere finds pairs without the service. Who is not active gets no partner. It returns ErrBusy when it has no turn within
// LocalTimeout, and the context's error when that ends, or LocalTimeout does.
func (m *Matcher) matchHere(ctx context.Context, r *PairRequest, reason javaclient.Code) (Pairs, error) {
	turn := time.NewTimer(LocalTimeout)
	defer turn.Stop()
	select {
	case m.local <- struct{}{}:
		defer func() { <-m.local }()
	case <-turn.C:
		return Pairs{}, ErrBusy
	case <-ctx.Done():
		return Pairs{}, ErrBusy
	}
	ctx, cancel := context.WithTimeout(ctx, LocalTimeout)
	defer cancel()
	position := make(map[int64]int, len(r.Employees))
	takePart := make([]local.Person, 0, len(r.Employees))
	for i := range r.Employees {
		e := &r.Employees[i]
		position[e.ID] = i
		if e.Active != nil && !*e.Active {
			continue
		}
		takePart = append(takePart, local.Person{
			ID: e.ID, Department: string(e.Department), Newcomer: e.Grade == javaclient.GradeJunior,
			WithNewcomers: e.Preferences != nil && e.Preferences.WithNewcomers, Excluded: e.Excluded,
		})
	}
	found, _, err := local.Pairs(ctx, takePart, seed(r.RequestID))
	if err != nil {
		return Pairs{}, err
	}
	answer := Pairs{
		Origin: here(r.RequestID, localAlgorithm, reason), Pairs: make([]javaclient.Pair, len(found)), Unmatched: []int64{},
	}
	paired := make([]bool, len(r.Employees))
	for i, ids := range found {
		a, b := position[ids[0]], position[ids[1]]
		paired[a], paired[b] = true, true
		answer.Pairs[i] = javaclient.Pair{
			Employee1ID: ids[0], Employee2ID: ids[1], Employee1: r.described(a), Employee2: r.described(b),
		}
	}
	for i, done := range paired {
		if !done {
			answer.Unmatched = append(answer.Unmatched, r.Employees[i].ID)
		}
	}
	return answer, nil
}

// bracketHere makes a bracket without the service.
func (r *tournamentRequest) bracketHere(requestID string, reason javaclient.Code) (Bracket, error) {
	players := make([]local.Player, len(r.Players))
	for i := range r.Players {
		players[i] = local.Player{ID: r.Players[i].ID, Rating: r.Players[i].Rating}
	}
	answer := Bracket{Origin: here(requestID, "", reason), Matches: []jsontext.Value{}}
	for _, match := range local.Bracket(players, r.Format, r.Rounds, seed(requestID)) {
		value, err := json.Marshal(struct {
			Round   int   `json:"round"`
			Number  int   `json:"match"`
			Player1 int64 `json:"participant1_id,omitzero"`
			Player2 int64 `json:"participant2_id,omitzero"`
		}{match.Round, match.Number, match.Player1, match.Player2})
		if err != nil {
			return Bracket{}, err
		}
		answer.Matches = append(answer.Matches, value)
	}
	return answer, nil
}

// teamsHere makes teams without the service.
func (r *teamsRequest) teamsHere(requestID string, reason javaclient.Code) Teams {
	members := make([]local.Member, len(r.Members))
	for i := range r.Members {
		m := &r.Members[i]
		members[i] = local.Member{ID: m.ID, Department: string(m.Department), Skills: m.Skills}
	}
	teams, left := local.Teams(members, r.Size, r.Max, r.Balance, seed(requestID))
	answer := Teams{Origin: here(requestID, "", reason), Teams: make([]javaclient.Team, len(teams)), Unmatched: notNil(left)}
	for i, ids := range teams {
		answer.Teams[i] = javaclient.Team{Members: ids}
	}
	return answer
}
