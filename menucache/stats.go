package menucache

import (
	"context"

	"github.com/connectbot-hub/connecthub/internal/cache"
)

// Stats are the counts of Menus, since it was made or ResetStats was called.
type Stats struct {
	// Cache are those of the cache; its loads are menus that were built or read from the source.
	cache.Stats
	// The writes to the menu source: accepted into the queue, delivered, tried again, replaced by a newer one before they
	// were delivered, and given up.
	Queued, Delivered, Retried, Superseded, Dead int64
}

// Stats returns the counts.
func (m *Menus) Stats() Stats {
	s := Stats{Stats: m.cache.Stats()}
	s.Bypassed += m.bypassed.Load()
	if m.queue != nil {
		q := m.queue.stats()
		s.Queued, s.Delivered, s.Retried, s.Superseded, s.Dead = q.Queued, q.Delivered, q.Retried, q.Superseded, q.Dead
	}
	return s
}

// ResetStats sets the counts of the cache to 0. Those of the queue go on.
func (m *Menus) ResetStats() {
	m.cache.ResetStats()
	m.bypassed.Store(0)
}

// QueueDepth returns how many writes wait for the menu source, and how many were given up. It fails with ErrUnavailable.
func (m *Menus) QueueDepth(ctx context.Context) (waiting, dead int64, err error) {
	if m.queue == nil {
		return 0, 0, nil
	}
	return m.queue.depth(ctx)
}
