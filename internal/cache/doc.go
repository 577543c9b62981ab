// Package cache is a read-through cache with two levels, this process and Redis, that is never staler than it says.
//
// A [Cache] keeps values of one kind. [Cache.Get] returns what is kept or loads it; what it loads it stores.
//
// Guarantees:
//
//   - A value that was set or deleted, or whose tag was invalidated, through any Cache with the same keys is seen through
//     this one at once and through every other within [MaxLag] of the acknowledgement, also when connections break or
//     hang. A write of any other Redis client is seen within MaxLag where Redis offers client tracking, and within 1 s
//     elsewhere; so is that of a Cache whose Redis offers none and forbids it to PUBLISH.
//   - A load that began before a value was set, deleted or invalidated through a Cache is not stored after it. One that
//     another client changed in the meantime is not overwritten.
//   - Concurrent Gets of a key share one load: in the process always, and across processes through a lock in Redis. A Get
//     waits for the lock's owner at most Config.LockWait. To lose the lock costs a second load and nothing else.
//   - A value past its freshness is returned while it is loaded anew, as long as Config.Stale allows.
//   - While Redis is away, values are still returned, from this process or loaded, within a few milliseconds once that was
//     noticed, which takes half a second when it hangs.
//   - With Config.ForeignTTL, what other programs wrote counts as well, and what is invalidated is deleted soon, so that
//     they do not read it either.
//
// Limits: while Redis is away, what others change is not seen, and nothing can be set or deleted. Nor is seen during an
// outage what they changed in the last moments before it: within MaxLag, or a third of a second in a process that was
// idle. What Redis forgets in a crash is forgotten; if it comes back with older data, older values come back. A DEL by
// another client of a key that is not there leaves no trace: a load that is under way is stored after it. That a key
// expired sooner since another client said so is seen when Redis notices, as a rule within a second. A process that is
// suspended for long may return one value that was right when it was suspended. The clocks of the processes should
// agree within a second or so: they decide how long a value is fresh. One Redis server, no cluster.
//
// All of it is safe for concurrent use. Keys in Redis are never enumerated with KEYS, nor with SCAN while a caller waits.
//
// The terms: stale-while-revalidate and stale-if-error as in RFC 5861; the lock's token that only the newest owner may
// store with is the lease of "Scaling Memcache at Facebook" (NSDI 2013); eager refresh and jitter as in FusionCache.
package cache
