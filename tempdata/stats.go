package tempdata

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Stats counts what this process did since the Store was made, and what it has in memory now.
type Stats struct {
	// Reads, Writes, Deletes, Appends (to histories), Submitted forms and Leased leases were done, also if there was nothing
	// to read or delete.
	Reads, Writes, Deletes, Appends, Submitted, Leased int64
	// Unmet conditions, Failed calls, and Full ones, for which there was no memory while Redis was away; Contended patches.
	Unmet, Failed, Full, Contended int64
	// Unreadable values were not decoded; Unsafe ones of them would have built an object.
	Unreadable, Unsafe int64
	// Outages of Redis; Degraded calls, done in memory; Restored changes, written when Redis was back; Overtaken ones,
	// for which Redis had something newer.
	Outages, Degraded, Restored, Overtaken int64
	// Records in memory, how many of them are Waiting for Redis, and the Bytes they take, about.
	Records, Waiting, Bytes int64
}

// Stats returns the counters.
func (s *Store) Stats() Stats {
	c := &s.count
	stats := Stats{
		Reads: c.reads.Load(), Writes: c.writes.Load(), Deletes: c.deletes.Load(), Appends: c.appended.Load(),
		Submitted: c.submitted.Load(), Leased: c.leased.Load(),
		Unmet: c.refused.Load(), Failed: c.failed.Load(), Full: c.full.Load(), Contended: c.contended.Load(),
		Unreadable: c.unreadable.Load(), Unsafe: c.unsafe.Load(),
		Outages: c.outages.Load(), Degraded: c.degraded.Load(), Restored: c.restored.Load(), Overtaken: c.overtaken.Load(),
	}
	for _, l := range s.lanes {
		stats.Records += l.records.Load()
		stats.Waiting += l.waits.Load()
		stats.Bytes += l.bytes.Load()
	}
	return stats
}

// Names under which Counts sums up the namespaces of all users, the forms of all users, and the histories.
const (
	countUsers = "users"
	countForms = "forms"
)

// Counts returns how many values, forms and histories there are, by namespace, the largest first: those of all users
// together as users and forms. It takes a round trip for each 1000 namespaces and users. It returns ErrUnavailable.
func (s *Store) Counts(ctx context.Context) ([]Count, error) {
	if s.outage.on() {
		return nil, ErrUnavailable
	}
	spaces, err := s.spaces(ctx)
	if err != nil {
		return nil, err
	}
	now, err := s.cfg.Redis.Time(ctx).Result()
	if err != nil {
		return nil, s.unavailable("counting", err)
	}
	sums := map[string]int64{}
	for some := range slices.Chunk(spaces, MaxPage) {
		pipe := s.cfg.Redis.Pipeline()
		counts := make([]*redis.IntCmd, len(some))
		for i, space := range some {
			counts[i] = pipe.ZCount(ctx, s.indexKey(space), strconv.FormatInt(now.UnixMilli(), 10), "+inf")
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, s.unavailable("counting", err)
		}
		for i, space := range some {
			sums[countName(space)] += counts[i].Val()
		}
	}
	counts := make([]Count, 0, len(sums))
	for name, n := range sums {
		if n > 0 {
			counts = append(counts, Count{name, n})
		}
	}
	slices.SortFunc(counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Keys, a.Keys), cmp.Compare(a.Namespace, b.Namespace))
	})
	return counts, nil
}

func countName(space string) string {
	switch {
	case space == historySpc:
		return histories
	case strings.HasPrefix(space, formsOf):
		return countForms
	case isUserNamespace(space):
		return countUsers
	}
	return space
}
