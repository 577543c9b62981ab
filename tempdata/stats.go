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
	// Abandoned changes, which Redis refused when it was back, are lost.
	Abandoned int64
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
		Outages: c.outages.Load(), Degraded: c.degraded.Load(), Restored: c.restored.Load(), Overtaken: c.overtaken.Load(), Abandoned: c.abandoned.Load(),
	}
	for _, l := range s.lanes {
		stats.Records += l.records.Load()
		stats.Waiting += l.waits.Load()
		stats.Bytes += l.bytes.Load()
	}
	return stats
}

// Counts returns how many values there are in each namespace that is not a user's, and how many histories; and as user_* how
// many users have values, and as forms/* how many have forms, about: some may have had them. The largest come first, at
// most 1000. It returns ErrUnavailable.
func (s *Store) Counts(ctx context.Context) ([]Count, error) {
	if s.outage.on() {
		return nil, ErrUnavailable
	}
	users, shared := kindUsers, []string{kindShared}
	if s.cfg.Django {
		users, shared = kindBotsUsers, append(shared, kindBots)
	}
	var spaces []string
	for _, kind := range shared {
		some, _, err := s.cfg.Redis.SScan(ctx, s.kindKey(kind), 0, "", MaxPage).Result()
		if err != nil {
			return nil, s.unavailable(ctx, "counting", err)
		}
		spaces = append(spaces, slices.DeleteFunc(some, s.ofOtherLayout)...)
	}
	now, err := s.cfg.Redis.Time(ctx).Result()
	if err != nil {
		return nil, s.unavailable(ctx, "counting", err)
	}
	pipe := s.cfg.Redis.Pipeline()
	sizes := map[string]*redis.IntCmd{}
	for _, space := range spaces {
		name := strings.TrimSuffix(strings.TrimPrefix(space, botsOf), "/")
		sizes[name] = pipe.ZCount(ctx, s.indexKey(space), strconv.FormatInt(now.UnixMilli(), 10), "+inf")
	}
	for name, kind := range map[string]string{kindUsers: users, kindForms: kindForms} {
		sizes[name] = pipe.SCard(ctx, s.kindKey(kind))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, s.unavailable(ctx, "counting", err)
	}
	counts := make([]Count, 0, len(sizes))
	for name, n := range sizes {
		if n.Val() > 0 {
			counts = append(counts, Count{name, n.Val()})
		}
	}
	slices.SortFunc(counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Keys, a.Keys), cmp.Compare(a.Namespace, b.Namespace))
	})
	return counts, s.prune(ctx)
}

// prune takes lists that are not there any more out of the lists of lists, looking at some that were not looked at lately.
func (s *Store) prune(ctx context.Context) error {
	for _, kind := range s.kinds() {
		s.mu.Lock()
		cursor := s.pruned[kind]
		s.mu.Unlock()
		some, next, err := s.cfg.Redis.SScan(ctx, s.kindKey(kind), cursor, "", clearPage).Result()
		if err != nil {
			return s.unavailable(ctx, "looking for lists that are gone", err)
		}
		s.mu.Lock()
		s.pruned[kind] = next
		s.mu.Unlock()
		keys, args := []string{s.kindKey(kind)}, []any{}
		for _, space := range some {
			keys, args = append(keys, s.indexKey(space)), append(args, space)
		}
		if err := pruneScript.Run(ctx, s.cfg.Redis, keys, args...).Err(); err != nil {
			return s.unavailable(ctx, "forgetting lists that are gone", err)
		}
	}
	return nil
}
