package cache

import "sync/atomic"

// Stats are the counts of a Cache since it was made or ResetStats was called.
type Stats struct {
	// LocalHits were answered from this process, RemoteHits from Redis; of these, Stale were past their freshness.
	LocalHits, RemoteHits, Stale int64
	// Misses were loaded, or waited for a load; Bypassed were loaded while Redis was away, and not stored there.
	Misses, Bypassed int64
	// Loads are the calls of load functions and LoadErrors those that failed, other than with ErrNotFound.
	Loads, LoadErrors int64
	// Refused are loaded values that were not stored, since the key was changed or invalidated while they were loaded.
	Refused int64
	// Damaged are values in Redis that could not be decoded.
	Damaged int64
	// LockWaits are loads that waited for another process, LockSteals those that did so in vain.
	LockWaits, LockSteals int64
	// RedisErrors are commands that Redis did not answer.
	RedisErrors int64
	// Interruptions are how often it was not certain that all changes in Redis were seen, so that what is kept in the
	// process was not used before it was read anew.
	Interruptions int64
	// Entries and Bytes are what is kept in the process now.
	Entries, Bytes int64
}

// HitRatio returns the share of Gets that needed no load, 0 to 1; 0 before the first.
func (s Stats) HitRatio() float64 {
	hits := s.LocalHits + s.RemoteHits
	all := hits + s.Misses + s.Bypassed
	if all == 0 {
		return 0
	}
	return float64(hits) / float64(all)
}

type counters struct {
	localHits, remoteHits, stale, misses, bypassed, loads, loadErrors atomic.Int64
	refused, damaged, lockWaits, lockSteals, redisErrors              atomic.Int64
	interruptions                                                     atomic.Int64
}

// Stats returns the counts. They are read one after the other, not all at the same instant.
func (c *Cache[K, V]) Stats() Stats {
	n := &c.count
	c.local.CleanUp() // It weighs late.
	return Stats{
		LocalHits: n.localHits.Load(), RemoteHits: n.remoteHits.Load(), Stale: n.stale.Load(),
		Misses: n.misses.Load(), Bypassed: n.bypassed.Load(), Loads: n.loads.Load(), LoadErrors: n.loadErrors.Load(),
		Refused: n.refused.Load(), Damaged: n.damaged.Load(), LockWaits: n.lockWaits.Load(), LockSteals: n.lockSteals.Load(),
		RedisErrors: n.redisErrors.Load(), Interruptions: n.interruptions.Load(),
		Entries: int64(c.local.EstimatedSize()), Bytes: int64(c.local.WeightedSize()), //nolint:gosec // G115: far below.
	}
}

// ResetStats sets the counts to 0.
func (c *Cache[K, V]) ResetStats() {
	n := &c.count
	for _, counter := range []*atomic.Int64{
		&n.localHits, &n.remoteHits, &n.stale, &n.misses, &n.bypassed, &n.loads, &n.loadErrors, &n.refused, &n.damaged,
		&n.lockWaits, &n.lockSteals, &n.redisErrors, &n.interruptions,
	} {
		counter.Store(0)
	}
}
