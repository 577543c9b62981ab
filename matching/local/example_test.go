package local_test

import (
	"context"
	"fmt"

	"github.com/connectbot-hub/connecthub/matching/local"
)

func ExamplePairs() {
	people := []local.Person{
		{ID: 101, Department: "sales", WithNewcomers: true},
		{ID: 102, Department: "sales"},
		{ID: 103, Department: "it", Newcomer: true},
		{ID: 104, Department: "it", Excluded: []int64{103}},
	}
	pairs, unmatched, err := local.Pairs(context.Background(), people, 2026)
	fmt.Println(pairs, unmatched, err)
	// Output: [[101 103] [102 104]] [] <nil>
}

func ExampleBracket() {
	players := []local.Player{{ID: 1, Rating: 1200}, {ID: 2, Rating: 1500}, {ID: 3, Rating: 900}}
	for _, m := range local.Bracket(players, "single_elimination", 0, 2026) {
		fmt.Println(m.Round, m.Number, m.Player1, m.Player2)
	}
	// Output:
	// 1 1 2 0
	// 1 2 1 3
}

func ExampleTeams() {
	members := []local.Member{
		{ID: 1, Department: "sales", Skills: []string{"talk"}},
		{ID: 2, Department: "sales", Skills: []string{"talk"}},
		{ID: 3, Department: "it", Skills: []string{"go", "sql"}},
		{ID: 4, Department: "it", Skills: []string{"go", "sql"}},
	}
	teams, left := local.Teams(members, 2, 0, true, 2026)
	for _, team := range teams {
		fmt.Println(len(team), (team[0] <= 2) != (team[1] <= 2))
	}
	fmt.Println(left)
	// Output:
	// 2 true
	// 2 true
	// []
}
