package local

import "math/bits"

// look puts the even vertex v on the stack, to look at all its edges.
func (m *matcher) look(v int) {
	m.cursor[v], m.wait[v] = 0, never
	m.stack = append(m.stack, v)
}

// nextTight returns the next vertex that is idle or even, not in the same node as the even vertex v, and reached from it
// by a tight edge; or none. It goes on where the last call for v ended.
func (m *matcher) nextTight(v int) int {
	row, home, wait := m.g.row(v), m.outer[v], m.wait[v]
	i := m.cursor[v] / 64
	mask := ^uint64(0) << (m.cursor[v] % 64)
	for ; i < len(row); i++ {
		for word := row[i] & m.open[i] & mask; word != 0; word &= word - 1 {
			w := i*64 + bits.TrailingZeros64(word)
			if m.outer[w] == home {
				continue
			}
			slack := m.dual[v] + m.dual[w] - 2*m.g.weight(v, w)
			if slack == 0 {
				m.cursor[v], m.wait[v] = w+1, wait
				return w
			}
			if m.label[w] == even {
				slack /= 2 // Both ends move. Duals of even vertices are all odd numbers or all even ones.
			}
			wait = min(wait, slack)
		}
		mask = ^uint64(0)
	}
	m.cursor[v], m.wait[v] = len(row)*64, wait
	return none
}

// join makes the node a part of the tree with that root.
func (m *matcher) join(node int, l label, root int) {
	for v := range m.vertices(node) {
		m.label[v], m.root[v] = l, root
		if l == even {
			m.open.add(v)
			m.look(v)
		} else {
			m.open.remove(v)
		}
	}
}

// grow takes the idle node of w, and the node it is matched with, into the tree of v.
func (m *matcher) grow(v, w int) {
	node := m.outer[w]
	m.entry[node] = edge{v, w}
	m.join(node, odd, m.root[v])
	m.join(m.outer[m.mate[m.base[node]]], even, m.root[v])
}

// up returns the next even node on the way from an even node to the root, or none from the root itself.
func (m *matcher) up(node int) int {
	mate := m.mate[m.base[node]]
	if mate == none {
		return none
	}
	return m.outer[m.entry[m.outer[mate]].from]
}

// augment matches v with w, which are even and of two trees, and swaps the matched and the unmatched edges on the two
// ways to the roots. Both trees are used then.
func (m *matcher) augment(v, w int) {
	m.rematch(v, w)
	m.rematch(w, v)
	m.free -= 2
	a, b := m.root[v], m.root[w]
	for x, root := range m.root {
		if root == a || root == b {
			m.label[x] = used
			m.open.remove(x)
		}
	}
}

// rematch gives v the new mate, and new mates to all others on the way from v to its root.
func (m *matcher) rematch(v, mate int) {
	for {
		node := m.outer[v]
		left := m.mate[m.base[node]]
		m.rebase(node, v)
		m.mate[v] = mate
		if left == none {
			return
		}
		above := m.outer[left]
		e := m.entry[above]
		m.rebase(above, e.to)
		m.mate[e.to] = e.from
		v, mate = e.from, e.to
	}
}
