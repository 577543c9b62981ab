package local_test

import (
	"math/rand/v2"
	"strconv"

	"github.com/connectbot-hub/connecthub/matching/local"
)

// badCase makes n people among whom partners are hard to find, always the same.
type badCase struct {
	name   string
	people func(n int) []local.Person
}

func badCases() []badCase {
	return []badCase{
		{"one department", func(n int) []local.Person {
			return inDepartments(n, func(int) int { return 1 })
		}},
		{"large and small department", func(n int) []local.Person {
			return inDepartments(n, func(i int) int { return i % 10 / 9 })
		}},
		{"each a department", func(n int) []local.Person {
			return inDepartments(n, func(i int) int { return i })
		}},
		{"departments and wishes", mixed},
		{"50 exclusions each", fiftyExclusions},
		{"3 allowed each", threeAllowed},
		{"half allowed", halfAllowed},
		{"two cliques", func(n int) []local.Person {
			return allowOnly(mixed(n), func(i, j int) bool { return (i <= n/4*2) == (j <= n/4*2) })
		}},
		{"triangles", func(n int) []local.Person {
			return allowOnly(mixed(n), func(i, j int) bool { return i/3 == j/3 })
		}},
		{"cliques of 21", func(n int) []local.Person {
			return allowOnly(mixed(n), func(i, j int) bool { return i/21 == j/21 })
		}},
		{"a third knows all", func(n int) []local.Person {
			return allowOnly(mixed(n), func(i, j int) bool { return i < n/3 || j < n/3 })
		}},
		{"neighbours", func(n int) []local.Person {
			return allowOnly(mixed(n), func(i, j int) bool { return i-j <= 40 })
		}},
		{"half graph", func(n int) []local.Person {
			return allowOnly(mixed(n), func(i, j int) bool { return i%2 != j%2 && inHalfGraph(i, j) })
		}},
		{"half graph and clique", func(n int) []local.Person {
			return allowOnly(mixed(n), func(i, j int) bool { return i%2 != j%2 && inHalfGraph(i, j) || i%2+j%2 == 0 })
		}},
	}
}

// inHalfGraph has one perfect matching between the even and the odd ones, which greedy search misses.
func inHalfGraph(i, j int) bool {
	if i%2 == 1 {
		i, j = j, i
	}
	return j/2 >= i/2
}

func inDepartments(n int, department func(i int) int) []local.Person {
	people := make([]local.Person, n)
	for i := range people {
		people[i] = local.Person{ID: int64(i)*7919 + 100, Department: strconv.Itoa(department(i))}
	}
	return people
}

// mixed people are of six departments or an unknown one, and some of them newcomers or wish to meet one.
func mixed(n int) []local.Person {
	random := rand.New(rand.NewPCG(1, 2))
	people := inDepartments(n, func(int) int { return random.IntN(7) })
	for i := range people {
		if people[i].Department == "0" {
			people[i].Department = ""
		}
		people[i].Newcomer = random.IntN(4) == 0
		people[i].WithNewcomers = random.IntN(3) == 0
	}
	return people
}

// allowOnly has each two exclude each other, but for those allowed, which is asked with i > j.
func allowOnly(people []local.Person, allowed func(i, j int) bool) []local.Person {
	for i := range people {
		for j := range i {
			if !allowed(i, j) {
				people[i].Excluded = append(people[i].Excluded, people[j].ID)
			}
		}
	}
	return people
}

func fiftyExclusions(n int) []local.Person {
	random := rand.New(rand.NewPCG(1, 3))
	people := mixed(n)
	for i := range people {
		for range 50 {
			people[i].Excluded = append(people[i].Excluded, people[random.IntN(n)].ID)
		}
	}
	return people
}

// threeAllowed lets everybody name three they may meet; the others are excluded, unless they named them.
func threeAllowed(n int) []local.Person {
	random := rand.New(rand.NewPCG(1, 4))
	named := map[[2]int]bool{}
	for i := range n {
		for range 3 {
			named[[2]int{i, random.IntN(n)}] = true
		}
	}
	return allowOnly(mixed(n), func(i, j int) bool { return named[[2]int{i, j}] || named[[2]int{j, i}] })
}

func halfAllowed(n int) []local.Person {
	random := rand.New(rand.NewPCG(1, 5))
	return allowOnly(mixed(n), func(int, int) bool { return random.IntN(2) == 0 })
}
