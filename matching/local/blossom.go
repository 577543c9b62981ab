package local

import (
	"iter"
	"slices"
)

// blossom is an odd cycle of nodes around which the search came back to itself. It is one node until it is undone.
type blossom struct {
	parts []int  // The nodes, from that with the base on; nil: unused.
	links []edge // From each part to the next; those at odd places are in the matching.
	z     int    // Its dual.
}

func (m *matcher) blossom(node int) *blossom { return &m.blossoms[node-m.g.n] }

// vertices yields the vertices in a node.
func (m *matcher) vertices(node int) iter.Seq[int] {
	return func(yield func(int) bool) { m.eachVertex(node, yield) }
}

func (m *matcher) eachVertex(node int, yield func(int) bool) bool {
	if node < m.g.n {
		return yield(node)
	}
	for _, part := range m.blossom(node).parts {
		if !m.eachVertex(part, yield) {
			return false
		}
	}
	return true
}

// outermostBlossoms yields the blossoms that are in no other. They may be undone meanwhile; what comes to light by that
// may be yielded or not.
func (m *matcher) outermostBlossoms() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, b := range m.blossoms {
			node := m.g.n + i
			if b.parts != nil && m.parent[node] == none && !yield(node) {
				return
			}
		}
	}
}

// shrink makes a blossom of the cycle that the edge between v and w closes. They are even and of the same tree.
func (m *matcher) shrink(v, w int) {
	top := m.meet(m.outer[v], m.outer[w])
	left, leftLinks := m.way(v, top)
	right, rightLinks := m.way(w, top)

	parts := append([]int{top}, left...)
	slices.Reverse(parts[1:])
	parts = append(parts, right...)
	var links []edge
	for _, e := range slices.Backward(leftLinks) {
		links = append(links, e.reversed())
	}
	links = append(append(links, edge{v, w}), rightLinks...)

	node := m.unused[len(m.unused)-1]
	m.unused = m.unused[:len(m.unused)-1]
	*m.blossom(node) = blossom{parts: parts, links: links}
	m.base[node], m.parent[node] = m.base[top], none
	for _, part := range parts {
		m.parent[part] = node
		for x := range m.vertices(part) {
			m.outer[x] = node
			if m.label[x] == odd {
				m.label[x] = even
				m.open.add(x)
				m.look(x)
			}
		}
	}
}

// meet returns the first node that is on the ways of both even nodes to their common root. It takes as many steps as the
// longer of the two ways to it.
func (m *matcher) meet(a, b int) int {
	m.meets++
	for {
		if a != none {
			if m.seen[a] == m.meets {
				return a
			}
			m.seen[a] = m.meets
			a = m.up(a)
		}
		a, b = b, a
	}
}

// way returns the nodes from that of the even vertex v up to, but without, the even node top, and with each the edge from
// it to the next.
func (m *matcher) way(v, top int) (nodes []int, links []edge) {
	for node := m.outer[v]; node != top; {
		base := m.base[node]
		mate := m.mate[base]
		above := m.outer[mate]
		e := m.entry[above].reversed()
		nodes = append(nodes, node, above)
		links = append(links, edge{base, mate}, e)
		node = m.outer[e.to]
	}
	return nodes, links
}

// rebase makes v the base of the node it is in, by moving the matching within. The mate of v is for the caller to set.
func (m *matcher) rebase(node, v int) {
	m.base[node] = v
	if node < m.g.n {
		return
	}
	b := m.blossom(node)
	at := slices.Index(b.parts, m.partAround(node, v))
	m.rebase(b.parts[at], v)
	// Of the two ways to the old base, the one with an even number of links has a matched one first.
	last := len(b.parts)
	for i := at; i%2 == 1 && i < last; i += 2 {
		m.matchLink(b, i+1)
	}
	for i := at; i%2 == 0 && i > 0; i -= 2 {
		m.matchLink(b, i-2)
	}
	rotate(b.parts, at)
	rotate(b.links, at)
}

// matchLink takes the link from the part at i to the next into the matching.
func (m *matcher) matchLink(b *blossom, i int) {
	e := b.links[i]
	m.rebase(b.parts[i], e.from)
	m.rebase(b.parts[(i+1)%len(b.parts)], e.to)
	m.mate[e.from], m.mate[e.to] = e.to, e.from
}

// partAround returns the part of the blossom in which v is.
func (m *matcher) partAround(node, v int) int {
	for m.parent[v] != node {
		v = m.parent[v]
	}
	return v
}

// rotate moves the item at the place to the front, and those before it to the end.
func rotate[T any](items []T, place int) {
	slices.Reverse(items[:place])
	slices.Reverse(items[place:])
	slices.Reverse(items)
}

// release undoes an outermost blossom. Its parts are outermost then.
func (m *matcher) release(node int) blossom {
	b := *m.blossom(node)
	for _, part := range b.parts {
		m.parent[part] = none
		for v := range m.vertices(part) {
			m.outer[v] = part
		}
	}
	*m.blossom(node) = blossom{}
	m.unused = append(m.unused, node)
	return b
}

// dissolve undoes an outermost blossom with z = 0, and those within that have it too and get outermost.
func (m *matcher) dissolve(node int) {
	for _, part := range m.release(node).parts {
		if part >= m.g.n && m.blossom(part).z == 0 {
			m.dissolve(part)
		}
	}
}
