package local

import (
	"cmp"
	"context"
	"slices"
)

// Person is somebody who looks for a partner.
type Person struct {
	// ID is the person's own number.
	ID int64
	// Department is compared as it is written. "" is unknown, and no different from any other.
	Department string
	// Newcomer says that the person is new, WithNewcomers that it wishes to meet somebody who is.
	Newcomer, WithNewcomers bool
	// Excluded are people this person must not be paired with. It is enough that one of two excludes the other. The
	// person's own id and ids of nobody here are ignored.
	Excluded []int64
}

// Pairs gives as many people as possible a partner. The ids in people must be distinct.
//
// Everybody is in exactly one pair or in unmatched, and no two who exclude each other are a pair. The number of pairs is
// the greatest possible. Among all ways to make that many pairs the sum of preferences is the greatest possible: 3 for a
// pair of two known, different departments, and 1 for each of the two who wishes to meet a newcomer and does. What is
// left open decides the shuffle by the seed, and so who is without a partner, if somebody must be. Of the possible
// results not all are equally likely.
//
// Each pair has its lower id first; pairs and unmatched ascend by id. The only error is ctx.Err(), once ctx has ended; it
// is looked at every few milliseconds.
//
// It takes n²/8 bytes and less than 1 KB for each person: less than 8 MB for 5,000. The time grows with about the
// square of n where exclusions are few or at random, and with about its cube where they are made to be hard: the benchmarks
// have both. Whoever cannot trust the exclusions sets ctx a deadline.
func Pairs(ctx context.Context, people []Person, seed uint64) (pairs [][2]int64, unmatched []int64, err error) {
	order := shuffled(people, func(p Person) int64 { return p.ID }, seed)
	g, err := newGraph(ctx, order)
	if err != nil {
		return nil, nil, err
	}
	m := newMatcher(g)
	if err := m.run(ctx); err != nil {
		return nil, nil, err
	}
	for v, w := range m.mate {
		switch {
		case w == none:
			unmatched = append(unmatched, order[v].ID)
		case order[v].ID < order[w].ID:
			pairs = append(pairs, [2]int64{order[v].ID, order[w].ID})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) })
	slices.Sort(unmatched)
	return pairs, unmatched, nil
}
