package ratelimit_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/connectbot-hub/connecthub/internal/ratelimit"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// soon bounds what should come about at once, on a machine that is busy with other tests.
const soon = 20 * time.Second

// shared starts a limiter on a Redis, as a hub has it.
func shared(tb testing.TB, url, prefix string) (*ratelimit.Limiter, *observer.ObservedLogs) {
	tb.Helper()
	rdb, err := redisconn.Open(url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = rdb.Close() })
	core, logs := observer.New(zap.InfoLevel)
	l := ratelimit.New(ratelimit.Config{Redis: rdb, Prefix: prefix, Logger: zap.New(core)})
	if err := l.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(l.Close)
	return l, logs
}

// used is what the keys of one prefix say is used up, and their names.
func used(tb testing.TB, rdb *redis.Client, prefix string) (keys []string, longest time.Duration) {
	tb.Helper()
	keys, err := rdb.Keys(tb.Context(), prefix+":*").Result()
	if err != nil {
		tb.Fatal(err)
	}
	for _, key := range keys {
		longest = max(longest, rdb.PTTL(tb.Context(), key).Val())
	}
	return keys, longest
}

// TestLimitersCountTogether uses up a burst at one limiter and finds it used up at another.
func TestLimitersCountTogether(t *testing.T) {
	t.Parallel()
	embedded, err := redisconn.StartEmbedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(embedded.Close)
	for name, url := range map[string]string{"redis": redistest.Shared(t).URL(), "embedded": embedded.URL()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prefix := redistest.Prefix(t)
			first, _ := shared(t, url, prefix)
			second, _ := shared(t, url, prefix)
			other, _ := shared(t, url, redistest.Prefix(t))
			limit := ratelimit.Limit{PerSecond: 1, Burst: 300}
			const who = "key:bot"
			for range 200 {
				first.Take(who, limit)
			}
			// Each question of the second uses up one, and tells it how it stands.
			redistest.Eventually(t, soon, "the second knows what the first allowed", func() bool {
				return second.Take(who, limit).Remaining < 100
			})
			if d := other.Take(who, limit); d.Remaining != 299 {
				t.Errorf("under another prefix: %+v", d)
			}
			for second.Take(who, limit).Allowed {
			}
			redistest.Eventually(t, soon, "the first knows what the second allowed", func() bool { return !first.Take(who, limit).Allowed })

			rdb, err := redisconn.Open(url)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = rdb.Close() })
			keys, ttl := used(t, rdb, prefix)
			if len(keys) != 1 || !strings.HasPrefix(keys[0], prefix+":rate:") || strings.Contains(keys[0], "bot") {
				t.Errorf("the keys are %q", keys)
			}
			if ttl <= 0 || ttl > 4*300*time.Second {
				t.Errorf("the key lives for %v", ttl)
			}
		})
	}
}

// TestTheBoundHolds lets several limiters be asked as fast as can be, and counts what they allow together.
func TestTheBoundHolds(t *testing.T) {
	t.Parallel()
	const hubs, rate, burst = 3, 400, 800
	prefix := redistest.Prefix(t)
	began := time.Now()
	var allowed [hubs]atomic.Int64
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for n := range hubs {
		l, _ := shared(t, redistest.Shared(t).URL(), prefix)
		asking.Go(func() {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					for range 20 {
						if l.Take("a", ratelimit.Limit{PerSecond: rate, Burst: burst}).Allowed {
							allowed[n].Add(1)
						}
					}
				}
			}
		})
	}
	sum := func() (all int64) {
		for n := range hubs {
			all += allowed[n].Load()
		}
		return all
	}
	// What one alone would allow in two seconds after its burst, and twice that.
	redistest.Eventually(t, soon, "the limit is reached", func() bool { return sum() >= burst+2*rate })
	close(stop)
	asking.Wait()
	took := time.Since(began)
	if most := int64(hubs*burst + took.Seconds()*rate*1.1); sum() > most {
		t.Errorf("%d were allowed in %v, want %d at most", sum(), took, most)
	}
}

// TestOvershootIsPaidBack begins at two limiters at once, and then waits for as long as one alone would have to.
func TestOvershootIsPaidBack(t *testing.T) {
	t.Parallel()
	prefix := redistest.Prefix(t)
	limit := ratelimit.Limit{PerSecond: 1, Burst: 100}
	first, _ := shared(t, redistest.Shared(t).URL(), prefix)
	second, _ := shared(t, redistest.Shared(t).URL(), prefix)
	for range 100 {
		first.Take("a", limit)
		second.Take("a", limit)
	}
	redistest.Eventually(t, soon, "both know that two bursts were used up", func() bool {
		_, owed := used(t, redistest.Shared(t).Client(), prefix)
		return owed > 150*time.Second
	})
	// One more may come in the next second, so that they learn of it.
	redistest.Eventually(t, soon, "the second has to wait for both", func() bool {
		return max(first.Take("a", limit).RetryAfter, second.Take("a", limit).RetryAfter) > 50*time.Second
	})
}

// TestNobodyOwesForLong has a Redis with a time long ahead, as after its clock was set back.
func TestNobodyOwesForLong(t *testing.T) {
	t.Parallel()
	prefix := redistest.Prefix(t)
	l, _ := shared(t, redistest.Shared(t).URL(), prefix)
	limit := ratelimit.Limit{PerSecond: 1, Burst: 10}
	l.Take("a", limit)
	rdb := redistest.Shared(t).Client()
	var key string
	redistest.Eventually(t, soon, "the key is there", func() bool {
		if keys, _ := used(t, rdb, prefix); len(keys) == 1 {
			key = keys[0]
		}
		return key != ""
	})
	if err := rdb.Set(t.Context(), key, time.Now().Add(time.Hour).UnixMicro(), time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, soon, "the key lives for no more than four bursts", func() bool {
		l.Take("a", limit)
		return rdb.PTTL(t.Context(), key).Val() <= 40*time.Second
	})
	redistest.Eventually(t, soon, "the limiter has heard of it", func() bool { return l.Take("a", limit).Reset > 20*time.Second })
	if d := l.Take("a", limit); d.Reset > 40*time.Second {
		t.Errorf("the caller owes %v", d.Reset)
	}
}

// TestRedisAway pauses and kills Redis: each limiter goes on by itself, and they count together again.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]struct{ leave, back func(*redistest.Server) }{
		"paused": {(*redistest.Server).Pause, (*redistest.Server).Resume},
		"killed": {(*redistest.Server).Kill, (*redistest.Server).Restart},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rds := redistest.Start(t)
			first, logs := shared(t, rds.URL(), "hub")
			second, _ := shared(t, rds.URL(), "hub")
			limit := ratelimit.Limit{PerSecond: 1, Burst: 1000}
			first.Take("a", limit)
			redistest.Eventually(t, soon, "they count together", func() bool { return second.Take("a", limit).Remaining < 999 })

			away.leave(rds)
			redistest.Eventually(t, soon, "the limiter finds out", func() bool {
				return first.Take("b", limit).Allowed && logs.FilterMessageSnippet("by this hub alone").Len() == 1
			})
			for _, l := range []*ratelimit.Limiter{first, second} {
				began, n := time.Now(), 0
				for l.Take("c", limit).Allowed {
					n++
				}
				if took := time.Since(began); n < 1000 || n > 1000+int(took/time.Second)+1 || took > soon {
					t.Errorf("%d were allowed in %v, want 1000", n, took)
				}
			}

			away.back(rds)
			redistest.Eventually(t, soon, "the limiter finds out", func() bool {
				return first.Take("b", limit).Allowed && logs.FilterMessageSnippet("together again").Len() == 1
			})
			for range 100 {
				first.Take("d", limit)
			}
			own := 0
			redistest.Eventually(t, soon, "they count together again", func() bool {
				own++
				return second.Take("d", limit).Remaining < 1000-own-50
			})
			if n := logs.Len(); n != 2 {
				t.Errorf("%d entries in the log, want 2", n)
			}
		})
	}
}

// TestManyCallers tells of more callers than go into one call of the script.
func TestManyCallers(t *testing.T) {
	t.Parallel()
	prefix := redistest.Prefix(t)
	first, _ := shared(t, redistest.Shared(t).URL(), prefix)
	limit := ratelimit.Limit{PerSecond: 1, Burst: 1000}
	const n = 6000
	for who := range n {
		for range 100 {
			first.Take("caller "+string(rune('a'+who%26))+time.Duration(who).String(), limit)
		}
	}
	rdb := redistest.Shared(t).Client()
	redistest.Eventually(t, soon, "all are in Redis", func() bool {
		keys, _ := used(t, rdb, prefix+":rate")
		return len(keys) == n
	})
}
