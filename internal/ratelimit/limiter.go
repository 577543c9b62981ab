// Package ratelimit bounds how many requests somebody may make, over all hubs that share a Redis.
//
// It is the generic cell rate algorithm: what somebody used up drains at the rate of the limit, and a request is allowed
// while what has not drained leaves room for it under the burst.
//
// Guarantee: Take decides without I/O and without waiting. One limiter allows nobody more than Burst and then PerSecond.
// Limiters on one Redis tell each other twenty times a second what was used up, so that n of them together allow, over any
// time, at most what one would and n-1 times what one allows within that interval (and the time that Redis takes to
// answer): PerSecond/20 while somebody keeps at the limit, and a Burst more when somebody begins at all of them at once.
// Most of this is paid back: it counts as used up. While Redis is away each limiter counts by itself, each the full limit,
// and they find together again by themselves.
//
// Limit: no more than Config.MaxCallers are remembered, and those who have not come for the longest are forgotten: they have
// their burst anew when they come back.
// Nobody ever owes more than four bursts, so that nobody is shut out for long, whatever clocks and counts may do.
package ratelimit

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// Limit is what somebody may do: so many requests a second, 1 to 1,000,000, and so many at once after a pause. A PerSecond of
// 0 or less is no limit, and a Burst below 1 counts as 1.
type Limit struct{ PerSecond, Burst int }

// Decision is what becomes of one request.
type Decision struct {
	// Allowed is false when there were too many.
	Allowed bool
	// Remaining is how many more may be made now.
	Remaining int
	// Reset is how long it takes until a whole Burst may be made again.
	Reset time.Duration
	// RetryAfter is how long it takes until the next is allowed; 0 if it is.
	RetryAfter time.Duration
}

// Config says how a limiter works. The zero Config counts for one process alone.
type Config struct {
	// Redis is where limiters count together. Default: nil, and this one counts by itself and need not be started.
	Redis redis.UniversalClient
	// Prefix is what keys in Redis begin with, before ":rate:". Limiters with the same prefix count together.
	Prefix string
	// MaxCallers is how many callers are remembered, at about 200 bytes each. Default 100,000.
	MaxCallers int
	// Logger is told when Redis goes and when it is back. Default: nobody.
	Logger *zap.Logger
}

// Limiter counts requests. It is safe for concurrent use.
type Limiter struct {
	cfg    Config
	began  time.Time
	seed   maphash.Seed
	shards []shard
	// running is whether there is a worker that tells Redis, which wake has look for what there is to tell.
	running atomic.Bool
	wake    chan struct{}

	mu     sync.Mutex
	stop   context.CancelFunc
	closed bool
	done   sync.WaitGroup
}

// shard holds the callers whose names have one hash.
type shard struct {
	most int

	mu      sync.Mutex
	callers map[string]*caller
	// ends joins the ends of the list of callers: its older is who came last, its newer who was not there the longest.
	ends caller
	// changed are those of whom Redis is to be told.
	changed []*caller
}

// caller is what is known of one. Times count from when the limiter was made.
type caller struct {
	who string
	// tat is when all that the caller used up will have drained: the theoretical arrival time of the algorithm.
	tat time.Duration
	// burst is how much may be used up, untold what was used up here and Redis was not told of. Both are the time that it
	// takes to drain.
	burst, untold time.Duration
	// listed is whether the caller is among those changed.
	listed       bool
	newer, older *caller
}

// manyCallers are those who are worth a shard.
const manyCallers = 4096

// New makes a limiter. It does no I/O.
func New(cfg Config) *Limiter {
	if cfg.MaxCallers <= 0 {
		cfg.MaxCallers = 100_000
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	l := &Limiter{
		cfg: cfg, began: time.Now(), seed: maphash.MakeSeed(), wake: make(chan struct{}, 1),
		shards: make([]shard, max(1, cfg.MaxCallers/manyCallers)),
	}
	for i := range l.shards {
		s := &l.shards[i]
		s.most, s.callers = max(1, cfg.MaxCallers/len(l.shards)), map[string]*caller{}
		s.ends.newer, s.ends.older = &s.ends, &s.ends
	}
	return l
}

// Take counts one request of somebody who may make so many, and says whether it is allowed. One that is not uses up nothing.
// It does no I/O, and allocates only for somebody who is not remembered.
func (l *Limiter) Take(who string, limit Limit) Decision {
	if limit.PerSecond <= 0 {
		return Decision{Allowed: true}
	}
	each := max(time.Second/time.Duration(limit.PerSecond), 1)
	burst := each * time.Duration(max(limit.Burst, 1))
	s := l.shardOf(who)
	s.mu.Lock()
	now := time.Since(l.began)
	c := s.find(who, now)
	used := max(c.tat-now, 0)
	if over := used + each - burst; over > 0 {
		s.mu.Unlock()
		return Decision{Reset: used, RetryAfter: over}
	}
	used += each
	c.tat, c.burst = now+used, burst
	tell := l.running.Load() && s.note(c, each)
	s.mu.Unlock()
	if tell {
		l.wakeUp()
	}
	return Decision{Allowed: true, Remaining: int((burst - used) / each), Reset: used}
}

func (l *Limiter) shardOf(who string) *shard {
	return &l.shards[maphash.String(l.seed, who)%uint64(len(l.shards))]
}

// find returns a caller, who has now come last.
func (s *shard) find(who string, now time.Duration) *caller {
	c := s.callers[who]
	if c == nil {
		s.forget(now, 2) // More than come: the list gets shorter.
		if len(s.callers) >= s.most {
			s.drop(s.ends.newer)
		}
		c = &caller{who: who}
		s.callers[who] = c
	} else {
		c.newer.older, c.older.newer = c.older, c.newer
	}
	c.newer, c.older = &s.ends, s.ends.older
	c.newer.older, c.older.newer = c, c
	return c
}

// forget drops callers who have not come for long and of whom nothing is known, as all has drained; most of them at a time.
func (s *shard) forget(now time.Duration, most int) {
	for range most {
		c := s.ends.newer
		if c == &s.ends || c.tat > now || c.listed {
			return
		}
		s.drop(c)
	}
}

func (s *shard) drop(c *caller) {
	c.newer.older, c.older.newer = c.older, c.newer
	delete(s.callers, c.who)
}

// note notes what Redis is to be told of a caller, and reports whether the worker must be woken for it.
func (s *shard) note(c *caller, used time.Duration) bool {
	c.untold += used
	if c.listed || len(s.changed) >= s.most { // So many only while Redis is slow, and callers are dropped and come anew.
		return false
	}
	c.listed = true
	s.changed = append(s.changed, c)
	return len(s.changed) == 1
}

func (l *Limiter) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Len returns how many callers are remembered.
func (l *Limiter) Len() int {
	n := 0
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += len(s.callers)
		s.mu.Unlock()
	}
	return n
}
