package local

import (
	"cmp"
	"slices"
)

// Member is somebody to be put into a team.
type Member struct {
	// ID is the member's own number.
	ID int64
	// Department is compared as it is written; "" counts as one department too.
	Department string
	// Skills are compared as they are written. One that is named twice counts once.
	Skills []string
}

// Teams makes as few teams as possible of at most size members, which must be at least 1, and not more teams than limit;
// 0 or less is no limit. The ids of the members must be distinct.
//
// The numbers of members of any two teams differ by at most 1, and so do the numbers of members of each department.
// Everybody is in exactly one team, or in left: those for whom limit teams of that size have no room, as the shuffle by the
// seed has it. The ids in each team and in left ascend.
//
// With balance each skill is spread over the teams too, as well as that leaves room for it: within a department, those with
// the most skills first, everybody goes to a team in which skills like theirs are the rarest, and then to one with the
// fewest skills. This is greedy: often even, but not always the best. It takes time in proportion to the sum of the
// squares of how many have each skill, and to members times teams.
func Teams(members []Member, size, limit int, balance bool, seed uint64) (teams [][]int64, left []int64) {
	order := shuffled(members, func(m Member) int64 { return m.ID }, seed)
	count := (len(order) + size - 1) / size
	if limit > 0 && count > limit {
		count = limit
		for _, m := range order[count*size:] {
			left = append(left, m.ID)
		}
		slices.Sort(left)
		order = order[:count*size]
	}
	if count == 0 {
		return nil, left
	}
	// Seats are dealt to the teams in turn, and a department has consecutive seats: so all get even shares of both.
	teams = make([][]int64, count)
	table := newTable(count)
	seat := 0
	for _, group := range byDepartment(order) {
		var seats []int
		for range group {
			seats = append(seats, seat%count)
			seat++
		}
		if balance {
			slices.SortStableFunc(group, func(a, b Member) int { return cmp.Compare(len(b.Skills), len(a.Skills)) })
			seats = table.place(group, seats)
		}
		for i, m := range group {
			teams[seats[i]] = append(teams[seats[i]], m.ID)
		}
	}
	for _, team := range teams {
		slices.Sort(team)
	}
	return teams, left
}

// byDepartment returns the members of each department, in the order in which departments and members come first.
func byDepartment(members []Member) [][]Member {
	var groups [][]Member
	index := map[string]int{}
	for _, m := range members {
		i, known := index[m.Department]
		if !known {
			i = len(groups)
			index[m.Department] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], m)
	}
	return groups
}

// table knows what skills the teams have so far.
type table struct {
	holders map[string][]int // Of each skill the teams of those who have it.
	skills  []int            // Of each team, how many skills its members have together.
	room    []int            // Of each team, how many seats are left for the group that is placed.
	alike   []int            // Of each team, how often it has a skill of the member who is placed.
}

func newTable(teams int) *table {
	return &table{
		holders: map[string][]int{},
		skills:  make([]int, teams),
		room:    make([]int, teams),
		alike:   make([]int, teams),
	}
}

// place gives each member of the group one of the seats, which are as many, named by their team.
func (t *table) place(group []Member, seats []int) []int {
	for _, team := range seats {
		t.room[team]++
	}
	placed := make([]int, 0, len(seats))
	for _, m := range group {
		team := t.seat(m)
		t.room[team]--
		placed = append(placed, team)
	}
	return placed
}

// seat finds a team for the member, and notes its skills there.
func (t *table) seat(m Member) int {
	skills := slices.Clone(m.Skills)
	slices.Sort(skills)
	skills = slices.Compact(skills)
	clear(t.alike)
	for _, skill := range skills {
		for _, team := range t.holders[skill] {
			t.alike[team]++
		}
	}
	best := none
	for team, room := range t.room {
		if room > 0 && (best == none || t.before(team, best)) {
			best = team
		}
	}
	for _, skill := range skills {
		t.holders[skill] = append(t.holders[skill], best)
	}
	t.skills[best] += len(skills)
	return best
}

// before reports whether a team needs the member who is placed more than another.
func (t *table) before(team, other int) bool {
	return cmp.Or(cmp.Compare(t.alike[team], t.alike[other]), cmp.Compare(t.skills[team], t.skills[other])) < 0
}
