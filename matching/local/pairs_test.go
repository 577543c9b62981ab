package local_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/connectbot-hub/connecthub/matching/local"
)

// tester is what a test, a property and a fuzz target have in common.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkPairs checks the promises that need no other solution, and returns what the result is worth.
func checkPairs(t tester, people []local.Person, seed uint64) (size, sum int) {
	t.Helper()
	pairs, unmatched, err := local.Pairs(context.Background(), people, seed)
	if err != nil {
		t.Fatalf("Pairs: %v", err)
	}
	byID := map[int64]local.Person{}
	for _, p := range people {
		byID[p.ID] = p
	}
	times := map[int64]int{}
	for _, p := range pairs {
		weight, allowed := worth(byID[p[0]], byID[p[1]])
		if !allowed || p[0] >= p[1] {
			t.Fatalf("a pair of %v", p)
		}
		sum += weight
		times[p[0]]++
		times[p[1]]++
	}
	for _, id := range unmatched {
		times[id]++
	}
	for _, p := range people {
		if times[p.ID] != 1 {
			t.Fatalf("%d is there %d times", p.ID, times[p.ID])
		}
	}
	if len(times) != len(people) {
		t.Fatalf("%d people of %d", len(times), len(people))
	}
	if !slices.IsSorted(unmatched) || !slices.IsSortedFunc(pairs, func(a, b [2]int64) int { return int(a[0] - b[0]) }) {
		t.Fatalf("not in order: %v, %v", pairs, unmatched)
	}
	return len(pairs), sum
}

// checkBest checks that nothing better is possible, by brute force.
func checkBest(t tester, people []local.Person, seed uint64) {
	t.Helper()
	size, sum := checkPairs(t, people, seed)
	bestSize, bestSum := best(people)
	if size != bestSize || sum != bestSum {
		t.Fatalf("%d pairs worth %d, but %d worth %d are possible among %+v", size, sum, bestSize, bestSum, people)
	}
}

// somePeople are up to most people, with ids that are not in order, and exclusions of people who are not there too.
func somePeople(t *rapid.T, most int) []local.Person {
	person := rapid.Custom(func(t *rapid.T) local.Person {
		return local.Person{
			ID:            rapid.Int64Range(-50, 50).Draw(t, "id"),
			Department:    rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "department"),
			Newcomer:      rapid.Bool().Draw(t, "newcomer"),
			WithNewcomers: rapid.Bool().Draw(t, "withNewcomers"),
		}
	})
	people := rapid.SliceOfNDistinct(person, 0, most, func(p local.Person) int64 { return p.ID }).Draw(t, "people")
	share := rapid.IntRange(0, 10).Draw(t, "tenths excluded")
	for i := range people {
		people[i].Excluded = rapid.SliceOfN(rapid.Int64Range(-60, 60), 0, 3).Draw(t, "excluded")
		for _, other := range people {
			if rapid.IntRange(1, 10).Draw(t, "tenth") <= share/2 {
				people[i].Excluded = append(people[i].Excluded, other.ID)
			}
		}
	}
	return people
}

func TestPairsAreTheBestPossible(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		checkBest(t, somePeople(t, 12), rapid.Uint64().Draw(t, "seed"))
	})
}

func TestPairsOfRandomGraphsAreTheBestPossible(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 1))
		n, share := random.IntN(12), random.Float64()
		checkBest(t, preferences(random, allowOnly(inDepartments(n, func(int) int { return 0 }),
			func(int, int) bool { return random.Float64() < share })), seed)
	}
}

// TestPairsInNestedBlossoms takes graphs made of ears: each is a path from one vertex so far to another, or the same, around
// an odd cycle. Any one vertex left out, the others can all be matched, but greedy search goes astray. A few vertices hang
// on that.
func TestPairsInNestedBlossoms(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 2))
		n := 9 + random.IntN(3)
		if seed%50 == 0 {
			n += 3
		}
		checkBest(t, preferences(random, ears(random, n)), seed)
	}
}

// TestLargeNestedBlossoms is the same beyond what brute force can do.
func TestLargeNestedBlossoms(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 3))
		people := preferences(random, ears(random, 20+random.IntN(180)))
		if err := local.Certify(people, seed); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// ears makes n people, of whom those may meet who are neighbours in a graph of ears.
func ears(random *rand.Rand, n int) []local.Person {
	joined := map[[2]int]bool{}
	join := func(i, j int) { joined[[2]int{i, j}], joined[[2]int{j, i}] = true, true }
	size, pendants := 1, random.IntN(3)
	for size+2 <= n-pendants {
		from, to := random.IntN(size), random.IntN(size)
		inner := min(2+2*random.IntN(2), (n-pendants-size)/2*2)
		for range inner {
			join(from, size)
			from = size
			size++
		}
		join(from, to)
	}
	for ; size < n; size++ {
		join(size, random.IntN(size))
	}
	return allowOnly(inDepartments(n, func(int) int { return 0 }), func(i, j int) bool { return joined[[2]int{i, j}] })
}

// preferences gives the people departments and wishes, or in every third case none.
func preferences(random *rand.Rand, people []local.Person) []local.Person {
	departments, wishes := []string{"", "a", "b", "c", "d"}[:1+random.IntN(5)], random.IntN(3) > 0
	for i := range people {
		people[i].Department = departments[random.IntN(len(departments))]
		people[i].Newcomer = wishes && random.IntN(2) == 0
		people[i].WithNewcomers = wishes && random.IntN(2) == 0
	}
	return people
}

// TestPairsWhereGreedyFails takes graphs given by their edges, a letter for each person.
func TestPairsWhereGreedyFails(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, edges string
		pairs       int
	}{
		{"path of length 3", "ab bc cd", 2},
		{"two paths with a common middle", "ab bc cd ce ef", 3},
		{"triangle with a tail", "ab bc ca cd", 2},
		{"triangle with three tails", "ab bc ca ad be cf", 3},
		{"odd cycle of 5 with tails", "ab bc cd de ea bf dg", 3},
		{"odd cycle of 7 with a tail at each", "ab bc cd de ef fg ga ah bi cj dk el fm gn", 7},
		{"blossom in a blossom", "ab bc cd de ec ef fg gb gh", 4},
		{"two triangles with a bridge", "ab bc ca cd de ef fd", 3},
		{"star", "ab ac ad ae", 1},
		{"five triangles around one", "ab bc ca ad de ea af fg ga ah hi ia aj jk ka", 5},
		{"cube without perfect path", "ab bc cd da ae bf cg dh ef fg gh he", 4},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			const letters = "abcdefghijklmnopqrstuvwxyz"
			n := int(slices.Max([]byte(test.edges))-'a') + 1
			people := allowOnly(inDepartments(n, func(int) int { return 0 }), func(i, j int) bool {
				a, b := letters[i:i+1], letters[j:j+1]
				return strings.Contains(test.edges, a+b) || strings.Contains(test.edges, b+a)
			})
			for seed := range uint64(50) {
				checkBest(t, people, seed)
				if size, _ := checkPairs(t, people, seed); size != test.pairs {
					t.Fatalf("%d pairs with seed %d, want %d", size, seed, test.pairs)
				}
			}
		})
	}
}

func TestPairsInBadCases(t *testing.T) {
	t.Parallel()
	for _, c := range badCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := 2000
			if strings.HasPrefix(c.name, "half graph") {
				n = 1000 // They take the longest, and much longer with the race detector.
			}
			people := c.people(n)
			checkPairs(t, people, 1)
			if err := local.Certify(people, 1); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestPairsPreferSizeToWishes(t *testing.T) {
	t.Parallel()
	// The two in the middle would be worth 5, but the two pairs at the ends are worth nothing, and two.
	people := []local.Person{
		{ID: 1, Department: "a", Excluded: []int64{3, 4}},
		{ID: 2, Department: "a", Newcomer: true, WithNewcomers: true},
		{ID: 3, Department: "b", Newcomer: true, WithNewcomers: true},
		{ID: 4, Department: "b", Excluded: []int64{2}},
	}
	pairs, unmatched, err := local.Pairs(context.Background(), people, 1)
	if err != nil || unmatched != nil || !reflect.DeepEqual(pairs, [][2]int64{{1, 2}, {3, 4}}) {
		t.Fatalf("pairs %v, unmatched %v, error %v", pairs, unmatched, err)
	}
}

func TestPairsOfTheSameSeedAreTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		people := somePeople(t, 30)
		seed := rapid.Uint64().Draw(t, "seed")
		before := slices.Clone(people)
		pairs, unmatched, err := local.Pairs(context.Background(), people, seed)
		if err != nil || !reflect.DeepEqual(people, before) {
			t.Fatalf("error %v, or the people were changed", err)
		}
		other := rapid.Permutation(people).Draw(t, "other order")
		pairs2, unmatched2, err := local.Pairs(context.Background(), other, seed)
		if err != nil || !reflect.DeepEqual(pairs, pairs2) || !reflect.DeepEqual(unmatched, unmatched2) {
			t.Fatalf("%v, %v and then %v, %v, %v", pairs, unmatched, pairs2, unmatched2, err)
		}
	})
}

func TestPairsOfOtherSeedsDiffer(t *testing.T) {
	t.Parallel()
	for _, c := range badCases()[:5] { // Where exclusions leave few choices, all seeds may have to agree.
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			people := c.people(51)
			results, alone := map[string]bool{}, map[int64]bool{}
			for seed := range uint64(40) {
				pairs, unmatched, err := local.Pairs(context.Background(), people, seed)
				if err != nil {
					t.Fatal(err)
				}
				results[fmt.Sprint(pairs)] = true
				for _, id := range unmatched {
					alone[id] = true
				}
			}
			if len(results) < 4 || len(alone) < 4 {
				t.Fatalf("40 seeds gave %d results, and left %d people alone", len(results), len(alone))
			}
		})
	}
}

// TestWhoMeetsWhomIsSpread: among equals everybody meets everybody at times, and is alone at times.
func TestWhoMeetsWhomIsSpread(t *testing.T) {
	t.Parallel()
	const n, tries = 7, 7000
	people := inDepartments(n, func(int) int { return 1 })
	met, alone := map[[2]int64]int{}, map[int64]int{}
	for seed := range uint64(tries) {
		pairs, unmatched, err := local.Pairs(context.Background(), people, seed)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pairs {
			met[p]++
		}
		alone[unmatched[0]]++
	}
	for i, p := range people {
		if got := alone[p.ID]; math.Abs(float64(got)-tries/n) > 150 { // Five standard deviations.
			t.Errorf("%d was alone %d times of %d", p.ID, got, tries)
		}
		for _, q := range people[:i] {
			if got := met[[2]int64{q.ID, p.ID}]; math.Abs(float64(got)-tries/n) > 150 {
				t.Errorf("%d and %d met %d times of %d", q.ID, p.ID, got, tries)
			}
		}
	}
}

func TestPairsEndWithTheContext(t *testing.T) {
	t.Parallel()
	people := halfAllowed(2000)
	for _, after := range []int{0, 1, 50, 2000, 2001, 2003} {
		ctx := &endingContext{Context: context.Background(), calls: after}
		pairs, unmatched, err := local.Pairs(ctx, people, 1)
		if !errors.Is(err, context.Canceled) || pairs != nil || unmatched != nil {
			t.Fatalf("after %d calls: %d pairs, %d unmatched, error %v", after, len(pairs), len(unmatched), err)
		}
	}
}

// endingContext has ended once it has been asked so often.
type endingContext struct {
	context.Context //nolint:containedctx // It is one.
	calls           int
}

func (c *endingContext) Err() error {
	if c.calls--; c.calls < 0 {
		return context.Canceled
	}
	return nil
}

func TestPairsOfFew(t *testing.T) {
	t.Parallel()
	for n := range 4 {
		size, _ := checkPairs(t, mixed(n), 1)
		if size != n/2 {
			t.Fatalf("%d pairs of %d people", size, n)
		}
	}
}

// FuzzPairs makes a small group of the bytes: two for each person, of which the bits of the second are exclusions among the
// eight that follow.
func FuzzPairs(f *testing.F) {
	f.Add([]byte{}, uint64(0))
	f.Add([]byte("\x00\xfe\x01\xfd\x02\xfb\x04\xf7"), uint64(1))
	f.Add([]byte("two letters a person; people of all kinds"), uint64(2))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		n := min(len(data)/2, 10)
		people := make([]local.Person, n)
		for i := range people {
			traits, excluded := data[2*i], data[2*i+1]
			people[i] = local.Person{
				ID:            int64(i + 1),
				Department:    []string{"", "a", "b", "c"}[traits&3],
				Newcomer:      traits&4 != 0,
				WithNewcomers: traits&8 != 0,
			}
			for bit := range 8 {
				if excluded>>bit&1 != 0 {
					people[i].Excluded = append(people[i].Excluded, int64(i+2+bit))
				}
			}
		}
		checkBest(t, people, seed)
	})
}
