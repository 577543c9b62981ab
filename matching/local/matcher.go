package local

import (
	"context"
	"math"
)

const (
	none = -1
	// never is longer than any wait.
	never = math.MaxInt
	// checkEvery is how many steps of the search are done between two looks at the context.
	checkEvery = 256
)

// matcher finds, of the matchings of a graph with the most edges, one with the greatest weight.
//
// It is the blossom algorithm (Edmonds, "Paths, trees, and flowers", 1965, and "Maximum matching and a polyhedron with
// 0,1-vertices", 1965) in the primal-dual form of Galil ("Efficient algorithms for finding maximum matching in graphs",
// 1986), with two changes:
//
//   - A phase searches from all free vertices, depth first, and does not end with the first augmenting path: the trees
//     that a path has used are left alone, and the others grow on (as Gabow and Tarjan do, "Faster scaling algorithms for
//     general graph-matching problems", 1991). Duals only change in a phase that has found no path. Since weights are few
//     small numbers, there are few phases, where Galil has one for each edge of the matching.
//   - It does not keep the best edge of each vertex, but how far the duals may move before the vertex must be looked at
//     again.
//
// A node is a vertex, or a blossom: an odd cycle of nodes, numbered from n on. The duals satisfy for every edge
//
//	slack(v, w) = dual[v] + dual[w] - 2 weight(v, w) + 2 z of all blossoms around both >= 0,
//
// with 0 for the edges of the matching and those that make blossoms, and z >= 0 for every blossom. All free vertices have
// the same dual and none has a smaller one, which makes every matching on the way the best of its size.
type matcher struct {
	g    *graph
	mate []int // Of a vertex, or none.
	free int   // How many vertices have no mate.

	// Of each vertex.
	dual   []int
	outer  []int   // The outermost node around it.
	label  []label // That of its outermost node.
	root   []int   // The free vertex its tree grew from, or none.
	cursor []int   // Of an even one: all before it have been looked at.
	wait   []int   // Of an even one: how far duals may move before one of the edges looked at may get tight.

	// Of each node.
	base   []int  // The vertex of it whose mate is not in it.
	parent []int  // The blossom directly around it, or none.
	entry  []edge // Of an odd one: the edge by which its tree came to it.
	seen   []int  // The last meet that came by.
	meets  int

	blossoms []blossom // By node, less n.
	unused   []int     // Nodes for blossoms.

	stack []int // Even vertices with edges to look at.
	open  set   // The vertices that are worth looking at: those idle or even.
}

// label says what a node is in the current phase.
type label uint8

const (
	idle label = iota // In no tree.
	even              // In a tree, an even number of edges from the root.
	odd               // In a tree, an odd number of edges from the root.
	used              // In a tree that a path has used.
)

type edge struct{ from, to int }

func (e edge) reversed() edge { return edge{e.to, e.from} }

func newMatcher(g *graph) *matcher {
	n := g.n
	nodes := n + n/2
	m := &matcher{
		g:        g,
		mate:     make([]int, n),
		free:     n,
		dual:     make([]int, n),
		outer:    make([]int, n),
		label:    make([]label, n),
		root:     make([]int, n),
		cursor:   make([]int, n),
		wait:     make([]int, n),
		base:     make([]int, nodes),
		parent:   make([]int, nodes),
		entry:    make([]edge, nodes),
		seen:     make([]int, nodes),
		blossoms: make([]blossom, n/2),
		open:     make(set, g.words),
	}
	for v := range n {
		m.mate[v], m.dual[v], m.outer[v], m.base[v] = none, maxWeight, v, v
	}
	for node := range nodes {
		m.parent[node] = none
	}
	for node := nodes - 1; node >= n; node-- {
		m.unused = append(m.unused, node)
	}
	return m
}

// run leaves the matching in mate. If it fails, the matching is any.
func (m *matcher) run(ctx context.Context) error {
	for m.free > 1 {
		m.beginPhase()
		for {
			before := m.free
			if err := m.search(ctx); err != nil {
				return err
			}
			if m.free < before {
				break
			}
			if !m.moveDuals() {
				return nil
			}
		}
	}
	return ctx.Err()
}

// beginPhase leaves every free vertex as a tree of its own, and all others idle.
func (m *matcher) beginPhase() {
	for node := range m.outermostBlossoms() {
		if m.blossom(node).z == 0 {
			m.dissolve(node)
		}
	}
	m.open.fill(m.g.n)
	m.stack = m.stack[:0]
	for v := range m.g.n {
		m.label[v], m.root[v] = idle, none
	}
	for v, w := range m.mate {
		if w == none {
			m.join(m.outer[v], even, v)
		}
	}
}

// search grows the trees by tight edges until there are no more, and augments the matching by the paths it meets.
func (m *matcher) search(ctx context.Context) error {
	for step := 0; len(m.stack) > 0; step++ {
		if step%checkEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		v := m.stack[len(m.stack)-1]
		w := none
		if m.label[v] == even {
			w = m.nextTight(v)
		}
		switch {
		case w == none:
			m.stack = m.stack[:len(m.stack)-1]
		case m.label[w] == idle:
			m.grow(v, w)
		case m.root[w] == m.root[v]:
			m.shrink(v, w)
		default:
			m.augment(v, w)
		}
	}
	return nil
}
