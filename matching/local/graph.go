package local

import "context"

// The worth of a pair, see Pairs.
const (
	crossDepartment = 3
	maxWeight       = crossDepartment + 2
)

// graph says who may be paired with whom, and what that is worth. The people are its vertices 0 to n-1.
//
// It is dense: nearly everybody may meet nearly everybody else. So there is no list of edges, but a bit for each two, and
// an edge's weight is computed when it is looked at.
type graph struct {
	n          int
	words      int      // Of a set of vertices.
	rows       []uint64 // Of each vertex the set of those it may be paired with.
	department []int    // 0 is unknown.
	wishes     []int    // Bit 0: a newcomer, bit 1: wishes to meet one.
}

func newGraph(ctx context.Context, people []Person) (*graph, error) {
	n := len(people)
	g := &graph{n: n, words: (n + 63) / 64, department: make([]int, n), wishes: make([]int, n)}
	g.rows = make([]uint64, n*g.words)
	departments := map[string]int{"": 0}
	index := make(map[int64]int, n)
	for v, p := range people {
		index[p.ID] = v
		if _, known := departments[p.Department]; !known {
			departments[p.Department] = len(departments)
		}
		g.department[v] = departments[p.Department]
		if p.Newcomer {
			g.wishes[v] |= 1
		}
		if p.WithNewcomers {
			g.wishes[v] |= 2
		}
		g.row(v).fill(n)
	}
	for v, p := range people {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		g.row(v).remove(v)
		for _, id := range p.Excluded {
			if w, here := index[id]; here {
				g.row(v).remove(w)
				g.row(w).remove(v)
			}
		}
	}
	return g, nil
}

// row is the set of those v may be paired with.
func (g *graph) row(v int) set { return g.rows[v*g.words : (v+1)*g.words] }

// weight is what the pair of v and w is worth.
func (g *graph) weight(v, w int) int {
	a, b := g.wishes[v], g.wishes[w]
	weight := a>>1&b + b>>1&a
	if c, d := g.department[v], g.department[w]; c != d && c != 0 && d != 0 {
		weight += crossDepartment
	}
	return weight
}

// set is a set of vertices, a bit for each.
type set []uint64

func (s set) has(v int) bool { return s[v/64]>>(v%64)&1 != 0 }
func (s set) add(v int)      { s[v/64] |= 1 << (v % 64) }
func (s set) remove(v int)   { s[v/64] &^= 1 << (v % 64) }

// meets reports whether the two sets have a vertex in common.
func (s set) meets(t set) bool {
	for i, word := range s {
		if word&t[i] != 0 {
			return true
		}
	}
	return false
}

// fill puts the vertices 0 to n-1 into an empty set.
func (s set) fill(n int) {
	for i := range n / 64 {
		s[i] = ^uint64(0)
	}
	if n%64 != 0 {
		s[n/64] = 1<<(n%64) - 1
	}
}
