package local_test

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/connectbot-hub/connecthub/matching/local"
)

// skilled are n members of 12 departments with up to 6 of 40 skills, of which some are more common than others.
func skilled(n int) []local.Member {
	random := rand.New(rand.NewPCG(1, 6))
	members := make([]local.Member, n)
	for i := range members {
		members[i] = local.Member{ID: int64(i + 1), Department: strconv.Itoa(random.IntN(12))}
		for range random.IntN(7) {
			members[i].Skills = append(members[i].Skills, strconv.Itoa(random.IntN(1+random.IntN(40))))
		}
	}
	return members
}

func someMembers(t *rapid.T) []local.Member {
	member := rapid.Custom(func(t *rapid.T) local.Member {
		return local.Member{
			ID:         rapid.Int64().Draw(t, "id"),
			Department: rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "department"),
			Skills:     rapid.SliceOfN(rapid.SampledFrom([]string{"x", "y", "z"}), 0, 4).Draw(t, "skills"),
		}
	})
	return rapid.SliceOfNDistinct(member, 0, 40, func(m local.Member) int64 { return m.ID }).Draw(t, "members")
}

func TestTeams(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		members := someMembers(t)
		size, limit := rapid.IntRange(1, 10).Draw(t, "size"), rapid.IntRange(-1, 10).Draw(t, "limit")
		balance, seed := rapid.Bool().Draw(t, "balance"), rapid.Uint64().Draw(t, "seed")
		teams, left := local.Teams(members, size, limit, balance, seed)

		count := (len(members) + size - 1) / size
		if limit > 0 {
			count = min(count, limit)
		}
		if len(teams) != count || len(left) != max(0, len(members)-count*size) {
			t.Fatalf("%d teams and %d left of %d members", len(teams), len(left), len(members))
		}
		byID := map[int64]local.Member{}
		for _, m := range members {
			byID[m.ID] = m
		}
		var ids []int64
		shares := map[string][]int{}
		for i, team := range teams {
			if len(team) > size {
				t.Fatalf("a team of %d", len(team))
			}
			for _, id := range team {
				for _, key := range []string{"all", "in " + byID[id].Department} {
					if shares[key] == nil {
						shares[key] = make([]int, len(teams))
					}
					shares[key][i]++
				}
			}
			ids = append(ids, team...)
		}
		for key, share := range shares {
			if slices.Max(share)-slices.Min(share) > 1 {
				t.Fatalf("%s: uneven shares %v", key, share)
			}
		}
		ids = append(ids, left...)
		slices.Sort(ids)
		if len(slices.Compact(ids)) != len(members) || len(ids) != len(members) {
			t.Fatalf("%d ids of %d members", len(ids), len(members))
		}

		again, leftAgain := local.Teams(rapid.Permutation(members).Draw(t, "order"), size, limit, balance, seed)
		if !reflect.DeepEqual(teams, again) || !reflect.DeepEqual(left, leftAgain) {
			t.Fatalf("another order gives %v, %v, not %v, %v", again, leftAgain, teams, left)
		}
	})
}

func TestTeamsOfOtherSeedsDiffer(t *testing.T) {
	t.Parallel()
	for _, balance := range []bool{false, true} {
		teams, left := local.Teams(skilled(50), 4, 10, balance, 1)
		otherTeams, otherLeft := local.Teams(skilled(50), 4, 10, balance, 2)
		if reflect.DeepEqual(teams, otherTeams) || reflect.DeepEqual(left, otherLeft) {
			t.Errorf("balance %t: the same teams, or the same people left", balance)
		}
	}
}

func TestBalanceSpreadsEachSkill(t *testing.T) {
	t.Parallel()
	var members []local.Member
	for i := range 48 {
		members = append(members, local.Member{
			ID:         int64(i + 1),
			Department: []string{"a", "b"}[i%2],
			Skills:     [][]string{{"go", "go"}, {"java"}, {"sql", "java"}, nil}[i/2%4],
		})
	}
	for seed := range uint64(100) {
		teams, _ := local.Teams(members, 8, 0, true, seed)
		for _, team := range teams {
			has := map[string]int{}
			for _, id := range team {
				for _, skill := range slices.Compact(slices.Clone(members[id-1].Skills)) {
					has[skill]++
				}
			}
			if want := map[string]int{"go": 2, "java": 4, "sql": 2}; !reflect.DeepEqual(has, want) {
				t.Fatalf("seed %d: a team has %v, want %v", seed, has, want)
			}
		}
	}
}

// TestBalanceHelps sums up how far from even skills are spread, where nothing can be quite even.
func TestBalanceHelps(t *testing.T) {
	t.Parallel()
	members := skilled(600)
	uneven := func(balance bool) (sum int) {
		teams, _ := local.Teams(members, 10, 0, balance, 1)
		for skill := range 40 {
			var counts []int
			for _, team := range teams {
				count := 0
				for _, id := range team {
					if slices.Contains(members[id-1].Skills, strconv.Itoa(skill)) {
						count++
					}
				}
				counts = append(counts, count)
			}
			sum += slices.Max(counts) - slices.Min(counts)
		}
		return sum
	}
	with, without := uneven(true), uneven(false)
	t.Logf("with balance %d, without %d", with, without)
	if with*3 > without*2 {
		t.Errorf("with balance %d, without %d", with, without)
	}
}
