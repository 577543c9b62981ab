package local_test

import (
	"slices"

	"github.com/connectbot-hub/connecthub/matching/local"
)

// worth is what a pair is worth, and whether it is allowed; written from the rules, apart from the code under test.
func worth(a, b local.Person) (int, bool) {
	if slices.Contains(a.Excluded, b.ID) || slices.Contains(b.Excluded, a.ID) {
		return 0, false
	}
	sum := 0
	if a.Department != "" && b.Department != "" && a.Department != b.Department {
		sum += 3
	}
	if a.WithNewcomers && b.Newcomer {
		sum++
	}
	if b.WithNewcomers && a.Newcomer {
		sum++
	}
	return sum, true
}

// best is the greatest number of pairs, and the greatest sum of preferences of so many, by trying everything: best of a
// set of people is that of the set without the first of them, alone or with each of the others.
func best(people []local.Person) (pairs, sum int) {
	const many = 1000 // More than all preferences together.
	n := len(people)
	value := make([][]int, n)
	for i := range people {
		value[i] = make([]int, n)
		for j := range people {
			if w, ok := worth(people[i], people[j]); ok && i != j {
				value[i][j] = many + w
			}
		}
	}
	table := make([]int, 1<<n)
	for s := 1; s < 1<<n; s++ {
		first := 0
		for s>>first&1 == 0 {
			first++
		}
		rest := s &^ (1 << first)
		table[s] = table[rest]
		for j := first + 1; j < n; j++ {
			if rest>>j&1 == 1 && value[first][j] > 0 {
				table[s] = max(table[s], value[first][j]+table[rest&^(1<<j)])
			}
		}
	}
	return table[1<<n-1] / many, table[1<<n-1] % many
}
