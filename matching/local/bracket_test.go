package local_test

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/connectbot-hub/connecthub/matching/local"
)

// rated are n players with ids from 1, the best first.
func rated(n int) []local.Player {
	players := make([]local.Player, n)
	for i := range players {
		players[i] = local.Player{ID: int64(i + 1), Rating: float64(3000 - i)}
	}
	return players
}

func somePlayers(t *rapid.T) []local.Player {
	player := rapid.Custom(func(t *rapid.T) local.Player {
		rating := rapid.SampledFrom([]float64{0, 1000, 1200.5, -1, math.NaN(), math.Inf(1)})
		return local.Player{ID: rapid.Int64Range(1, 500).Draw(t, "id"), Rating: rating.Draw(t, "rating")}
	})
	return rapid.SliceOfNDistinct(player, 0, 40, func(p local.Player) int64 { return p.ID }).Draw(t, "players")
}

func TestSingleElimination(t *testing.T) {
	t.Parallel()
	tests := []struct {
		players int
		want    []local.Match
	}{
		{0, nil},
		{1, []local.Match{{1, 1, 1, 0}}},
		{2, []local.Match{{1, 1, 1, 2}}},
		{3, []local.Match{{1, 1, 1, 0}, {1, 2, 2, 3}}},
		{5, []local.Match{{1, 1, 1, 0}, {1, 2, 4, 5}, {1, 3, 2, 0}, {1, 4, 3, 0}}},
		{8, []local.Match{{1, 1, 1, 8}, {1, 2, 4, 5}, {1, 3, 2, 7}, {1, 4, 3, 6}}},
	}
	for _, test := range tests {
		for _, format := range []string{"", "single_elimination", "any other"} {
			if got := local.Bracket(rated(test.players), format, 0, 1); !reflect.DeepEqual(got, test.want) {
				t.Errorf("%d players, %q: %v, want %v", test.players, format, got, test.want)
			}
		}
	}
}

func TestSwiss(t *testing.T) {
	t.Parallel()
	want := []local.Match{{1, 1, 1, 4}, {1, 2, 2, 5}, {1, 3, 3, 6}, {1, 4, 7, 0}}
	if got := local.Bracket(rated(7), "swiss", 3, 1); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestTheBestMeetLast plays on: as long as the better one wins, the best of each round meets its worst.
func TestTheBestMeetLast(t *testing.T) {
	t.Parallel()
	var left []int64
	for _, m := range local.Bracket(rated(64), "", 0, 1) {
		left = append(left, m.Player1)
	}
	for len(left) > 1 {
		var winners []int64
		for i := 0; i < len(left); i += 2 {
			if left[i]+left[i+1] != int64(len(left)+1) {
				t.Fatalf("%d meets %d when %d are left", left[i], left[i+1], len(left))
			}
			winners = append(winners, min(left[i], left[i+1]))
		}
		left = winners
	}
}

func TestFirstRound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		players := somePlayers(t)
		format := rapid.SampledFrom([]string{"", "single_elimination", "swiss"}).Draw(t, "format")
		rating := map[int64]float64{}
		for _, p := range players {
			rating[p.ID] = p.Rating
			if math.IsNaN(p.Rating) {
				rating[p.ID] = math.Inf(-1)
			}
		}
		times := map[int64]int{}
		byes, lowestBye, highestOther := 0, math.Inf(1), math.Inf(-1)
		for i, m := range local.Bracket(players, format, 0, rapid.Uint64().Draw(t, "seed")) {
			if m.Round != 1 || m.Number != i+1 {
				t.Fatalf("match %d is %+v", i, m)
			}
			times[m.Player1]++
			if m.Player2 == 0 {
				byes++
				lowestBye = min(lowestBye, rating[m.Player1])
			} else {
				times[m.Player2]++
				highestOther = max(highestOther, rating[m.Player1], rating[m.Player2])
			}
		}
		for _, p := range players {
			if times[p.ID] != 1 {
				t.Fatalf("%d plays %d times", p.ID, times[p.ID])
			}
		}
		if len(times) != len(players) {
			t.Fatalf("%d of %d players", len(times), len(players))
		}
		if format == "swiss" && byes != len(players)%2 {
			t.Fatalf("%d byes of %d", byes, len(players))
		}
		if format != "swiss" && (lowestBye < highestOther || (len(players)+byes)&(len(players)+byes-1) != 0) {
			t.Fatalf("%d byes of %d, one to somebody not of the best: %v < %v", byes, len(players), lowestBye, highestOther)
		}
	})
}

func TestRoundRobin(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		players, rounds := somePlayers(t), rapid.IntRange(-1, 50).Draw(t, "rounds")
		n := len(players)
		all := max(n-1+n%2, 0)
		want := rounds
		if rounds <= 0 || rounds > all {
			want = all
		}
		matches := local.Bracket(players, "round_robin", rounds, rapid.Uint64().Draw(t, "seed"))
		if len(matches) != want*(n/2) {
			t.Fatalf("%d matches of %d players in %d rounds", len(matches), n, want)
		}
		met, busy := map[[2]int64]bool{}, map[[2]int64]bool{}
		for i, m := range matches {
			if m.Round != i/(n/2)+1 || m.Number != i%(n/2)+1 {
				t.Fatalf("match %d is %+v", i, m)
			}
			pair := [2]int64{min(m.Player1, m.Player2), max(m.Player1, m.Player2)}
			a, b := [2]int64{int64(m.Round), m.Player1}, [2]int64{int64(m.Round), m.Player2}
			known := func(id int64) bool {
				return slices.ContainsFunc(players, func(p local.Player) bool { return p.ID == id })
			}
			if met[pair] || busy[a] || busy[b] || pair[0] == pair[1] || !known(m.Player1) || !known(m.Player2) {
				t.Fatalf("%+v cannot be", m)
			}
			met[pair], busy[a], busy[b] = true, true, true
		}
	})
}

func TestRoundRobinIsBounded(t *testing.T) {
	t.Parallel()
	tests := []struct{ players, rounds, matches int }{
		{447, 0, 447 * 223}, {448, 0, 446 * 224}, {5000, 0, 100_000}, {5000, 60, 100_000}, {4001, 3, 6000},
	}
	for _, test := range tests {
		if got := len(local.Bracket(rated(test.players), "round_robin", test.rounds, 1)); got != test.matches {
			t.Errorf("%d players: %d matches, want %d", test.players, got, test.matches)
		}
	}
}

func TestBracketsDependOnTheSeedOnly(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"", "swiss", "round_robin"} {
		players := rated(20)
		for i := range players {
			players[i].Rating = 1000
		}
		first := local.Bracket(players, format, 0, 1)
		slices.Reverse(players)
		if !reflect.DeepEqual(first, local.Bracket(players, format, 0, 1)) {
			t.Errorf("%q: another order gives other matches", format)
		}
		if reflect.DeepEqual(first, local.Bracket(players, format, 0, 2)) {
			t.Errorf("%q: another seed gives the same matches", format)
		}
	}
}
