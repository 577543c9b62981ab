package local

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"sort"
)

// Certify runs the matcher and proves from what it leaves, without trust in how it came to it, that no matching is larger
// and none of that size has more weight. It returns what does not hold.
func Certify(people []Person, seed uint64) error {
	ctx := context.Background()
	g, err := newGraph(ctx, shuffled(people, func(p Person) int64 { return p.ID }, seed))
	if err != nil {
		return err
	}
	m := newMatcher(g)
	if err := m.run(ctx); err != nil {
		return err
	}
	free := 0
	for v, w := range m.mate {
		switch {
		case w == none:
			free++
		case m.mate[w] != v || !g.row(v).has(w):
			return fmt.Errorf("%d is matched with %d", v, w)
		}
	}
	if err := m.certifyBlossoms(); err != nil {
		return err
	}
	if err := m.certifyDuals(); err != nil {
		return err
	}
	return m.certifySize(free)
}

// certifyBlossoms: a dual above 0 has only a blossom with as many matched edges inside as its size allows.
func (m *matcher) certifyBlossoms() error {
	for i, b := range m.blossoms {
		if b.parts == nil {
			continue
		}
		inside := map[int]bool{}
		for v := range m.vertices(m.g.n + i) {
			inside[v] = true
		}
		matched := 0
		for v := range inside {
			if m.mate[v] != none && inside[m.mate[v]] {
				matched++
			}
		}
		if b.z < 0 || len(inside)%2 == 0 || b.z > 0 && matched != len(inside)-1 {
			return fmt.Errorf("a blossom of %d with %d matched inside has dual %d", len(inside), matched, b.z)
		}
	}
	return nil
}

// certifyDuals: the slack is 0 or more for all edges, 0 for the matched ones, and free vertices have the least dual. By
// adding that up over its edges, no matching of the same size weighs more.
func (m *matcher) certifyDuals() error {
	least := slices.Min(m.dual)
	around := make([][]int, m.g.n)      // Of each vertex the blossoms around it that have a dual, from the outermost on.
	total := make([]int, len(m.parent)) // Of each blossom the sum of its dual and of those around it.
	for v := range m.g.n {
		for b := m.parent[v]; b != none; b = m.parent[b] {
			if m.blossom(b).z != 0 {
				around[v] = append(around[v], b)
			}
		}
		slices.Reverse(around[v])
		sum := 0
		for _, b := range around[v] {
			sum += m.blossom(b).z
			total[b] = sum
		}
	}
	for v := range m.g.n {
		if m.mate[v] == none && m.dual[v] != least {
			return fmt.Errorf("free vertex %d has dual %d, the least is %d", v, m.dual[v], least)
		}
		row := m.g.row(v)
		for w := range v {
			if !row.has(w) {
				continue
			}
			slack := m.dual[v] + m.dual[w] - 2*m.g.weight(v, w)
			common := sort.Search(min(len(around[v]), len(around[w])), func(i int) bool { return around[v][i] != around[w][i] })
			if common > 0 {
				slack += 2 * total[around[v][common-1]]
			}
			if slack < 0 || slack != 0 && m.mate[v] == w {
				return fmt.Errorf("slack of %d and %d is %d, matched: %t", v, w, slack, m.mate[v] == w)
			}
		}
	}
	return nil
}

// certifySize: without the odd vertices the graph falls into components of which so many have an odd size that this many
// vertices are free in every matching (Tutte and Berge).
func (m *matcher) certifySize(free int) error {
	if free == m.g.n%2 {
		return nil
	}
	left := make(set, m.g.words)
	left.fill(m.g.n)
	removed := 0
	for v, l := range m.label {
		if l == odd {
			left.remove(v)
			removed++
		}
	}
	components := 0
	for v := range m.g.n {
		if left.has(v) {
			components += m.takeComponent(v, left) % 2
		}
	}
	if components-removed != free {
		return fmt.Errorf("%d odd components without %d vertices, but %d are free", components, removed, free)
	}
	return nil
}

// takeComponent removes the component of v from left, and returns its size.
func (m *matcher) takeComponent(v int, left set) int {
	left.remove(v)
	size := 0
	for queue := []int{v}; len(queue) > 0; size++ {
		row := m.g.row(queue[0])
		queue = queue[1:]
		for i := range row {
			for word := row[i] & left[i]; word != 0; word &= word - 1 {
				w := i*64 + bits.TrailingZeros64(word)
				left.remove(w)
				queue = append(queue, w)
			}
		}
	}
	return size
}
