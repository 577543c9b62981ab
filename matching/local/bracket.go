package local

import (
	"cmp"
	"math/bits"
	"slices"
)

// maxMatches is how many matches a bracket has at most.
const maxMatches = 100_000

// Player takes part in a tournament.
type Player struct {
	// ID is the player's own number, not 0.
	ID int64
	// Rating is the higher the better. One that is not a number counts as the lowest.
	Rating float64
}

// Match is a match of a tournament.
type Match struct {
	// Round and Number, within the round, count from 1.
	Round, Number int
	// Player1 and Player2 are ids. Player2 is 0 for a bye: Player1 goes on without a match.
	Player1, Player2 int64
}

// Bracket draws up the matches of a tournament, in ascending order of round and number. The ids of the players must be
// distinct; no players have no matches. The format is one of:
//
//   - "round_robin": everybody against everybody, each two at most once, by the circle method, in rounds in which each
//     player has one match, or rests if the number of players is odd. At most the given number of rounds; 0 or less: as
//     many as it takes for all to meet. There are at most 100,000 matches: rounds that would go beyond are left out.
//   - "swiss": the first round. By rating, the best of the upper half meets the best of the lower half, and so on. If the
//     number is odd, the last player has a bye.
//   - Anything else is a single elimination: its first round, as the others depend on the results; the winners of matches
//     1 and 2 meet in match 1 of the next round, those of 3 and 4 in match 2, and so on. By rating, the best two can only
//     meet in the final, the best four in the semifinals, and so on. The best have byes if the number of players is not
//     a power of two.
//
// Among equal ratings, and in a round robin among all, the shuffle by the seed decides.
func Bracket(players []Player, format string, rounds int, seed uint64) []Match {
	order := shuffled(players, func(p Player) int64 { return p.ID }, seed)
	if format == "round_robin" {
		return roundRobin(order, rounds)
	}
	slices.SortStableFunc(order, func(a, b Player) int { return cmp.Compare(b.Rating, a.Rating) })
	if format == "swiss" {
		return swiss(order)
	}
	return singleElimination(order)
}

// roundRobin has one player stay and the others move on by one place each round, around a circle. An odd number of players
// is made even by nobody, against whom one rests.
func roundRobin(players []Player, rounds int) []Match {
	circle := len(players) - 1 + len(players)%2
	perRound := len(players) / 2
	if perRound == 0 {
		return nil
	}
	if rounds <= 0 || rounds > circle {
		rounds = circle
	}
	rounds = min(rounds, maxMatches/perRound)
	matches := make([]Match, 0, rounds*perRound)
	for round := range rounds {
		number := 0
		for i := range (circle + 1) / 2 {
			a, b := (round+i)%circle, (round+circle-i)%circle
			if i == 0 {
				b = circle // Who stays, or nobody.
			}
			if b < len(players) {
				number++
				matches = append(matches, Match{round + 1, number, players[a].ID, players[b].ID})
			}
		}
	}
	return matches
}

func swiss(players []Player) []Match {
	half := len(players) / 2
	var matches []Match
	for i := range half {
		matches = append(matches, Match{1, i + 1, players[i].ID, players[half+i].ID})
	}
	if len(players)%2 == 1 {
		matches = append(matches, Match{Round: 1, Number: half + 1, Player1: players[2*half].ID})
	}
	return matches
}

func singleElimination(players []Player) []Match {
	if len(players) == 0 {
		return nil
	}
	if len(players) == 1 {
		return []Match{{Round: 1, Number: 1, Player1: players[0].ID}}
	}
	size := 1 << bits.Len(uint(len(players)-1))
	var matches []Match
	for _, best := range seedOrder(size / 2) {
		m := Match{Round: 1, Number: len(matches) + 1, Player1: players[best].ID}
		if other := size - 1 - best; other < len(players) {
			m.Player2 = players[other].ID
		}
		matches = append(matches, m)
	}
	return matches
}

// seedOrder says in which match the best of each match is, the best being 0, for a number of matches that is a power of
// two: if all the better ones win, in each later round the best meets the worst left, the second best the second worst,
// and so on.
func seedOrder(matches int) []int {
	order := []int{0}
	for len(order) < matches {
		var next []int
		for _, best := range order {
			next = append(next, best, 2*len(order)-1-best)
		}
		order = next
	}
	return order
}
