package local

import "slices"

// moveDuals moves the duals of all vertices in trees until there is something to do again for search: down at even ones
// and up at odd ones, so that edges of the trees stay tight. It reports false if the duals may move without end: then there
// is no larger matching.
//
// No tree is used when it is called.
func (m *matcher) moveDuals() bool {
	step := m.longestStep()
	if step == never {
		return false
	}
	for v, l := range m.label {
		switch l {
		case even:
			m.dual[v] -= step
			if m.wait[v] != never {
				m.wait[v] -= step
			}
		case odd:
			m.dual[v] += step
		}
	}
	for node := range m.outermostBlossoms() {
		switch b := m.blossom(node); m.label[m.base[node]] {
		case even:
			b.z += step
		case odd:
			b.z -= step
		}
	}
	m.expandOdd()
	for v, l := range m.label {
		if l == even && m.wait[v] == 0 {
			m.look(v)
		}
	}
	return true
}

// longestStep is how far the duals may move: until an edge gets tight, or the dual of an odd blossom 0.
func (m *matcher) longestStep() int {
	step := never
	for v, l := range m.label {
		if l == even {
			step = min(step, m.wait[v])
		}
	}
	for node := range m.outermostBlossoms() {
		if m.label[m.base[node]] == odd {
			step = min(step, m.blossom(node).z)
		}
	}
	return step
}

// expandOdd undoes the odd outermost blossoms whose dual is 0, as it must not get negative.
func (m *matcher) expandOdd() {
	lost := make(set, m.g.words)
	expanded := false
	for again := true; again; {
		again = false
		for node := range m.outermostBlossoms() {
			if m.label[m.base[node]] == odd && m.blossom(node).z == 0 {
				m.expand(node, lost)
				again, expanded = true, true
			}
		}
	}
	if !expanded {
		return
	}
	// Edges to these were of no interest while they were odd.
	for v, l := range m.label {
		if l == even && m.g.row(v).meets(lost) {
			m.wait[v] = 0
		}
	}
}

// expand undoes an odd blossom. The parts on that way from the entry to the base that has an even number of links take its
// place in the tree; the others get idle, and their vertices are added to lost.
func (m *matcher) expand(node int, lost set) {
	in, root := m.entry[node], m.root[m.base[node]]
	first := m.partAround(node, in.to)
	b := m.release(node)
	at := slices.Index(b.parts, first)
	rest := b.parts[at+1:]
	if at%2 == 1 {
		rest = b.parts[1:at]
	}
	for _, part := range rest {
		for v := range m.vertices(part) {
			m.label[v], m.root[v] = idle, none
			m.open.add(v)
			lost.add(v)
		}
	}
	for at != 0 { // Of the parts on the way, every other one stays odd.
		m.entry[b.parts[at]] = in
		if at%2 == 1 {
			m.join(b.parts[at+1], even, root)
			in = b.links[at+1]
			at = (at + 2) % len(b.parts)
		} else {
			m.join(b.parts[at-1], even, root)
			in = b.links[at-2].reversed()
			at -= 2
		}
	}
	m.entry[b.parts[0]] = in
}
