package ratelimit_test

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/connectbot-hub/connecthub/internal/ratelimit"
)

func TestBurstThenRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.New(ratelimit.Config{})
		limit := ratelimit.Limit{PerSecond: 10, Burst: 20}
		for n := range 20 {
			want := ratelimit.Decision{Allowed: true, Remaining: 19 - n, Reset: time.Duration(n+1) * 100 * time.Millisecond}
			if got := l.Take("a", limit); got != want {
				t.Fatalf("request %d: %+v, want %+v", n, got, want)
			}
		}
		refused := ratelimit.Decision{Reset: 2 * time.Second, RetryAfter: 100 * time.Millisecond}
		for range 3 { // A refused request uses up nothing.
			if got := l.Take("a", limit); got != refused {
				t.Fatalf("one too many: %+v, want %+v", got, refused)
			}
		}
		if got := l.Take("b", limit); !got.Allowed {
			t.Errorf("somebody else: %+v", got)
		}
		<-time.After(refused.RetryAfter - 1)
		if got := l.Take("a", limit); got.Allowed || got.RetryAfter != 1 {
			t.Errorf("before RetryAfter: %+v", got)
		}
		<-time.After(time.Nanosecond)
		if got := l.Take("a", limit); !got.Allowed || got.Remaining != 0 {
			t.Errorf("after RetryAfter: %+v", got)
		}
		<-time.After(time.Hour)
		if got := l.Take("a", limit); got.Remaining != 19 {
			t.Errorf("after a pause: %+v", got)
		}
	})
}

func TestNoLimitAndTheLeast(t *testing.T) {
	t.Parallel()
	l := ratelimit.New(ratelimit.Config{})
	for _, limit := range []ratelimit.Limit{{}, {PerSecond: -1, Burst: 5}} {
		if got := l.Take("a", limit); got != (ratelimit.Decision{Allowed: true}) {
			t.Errorf("%+v: %+v", limit, got)
		}
	}
	if n := l.Len(); n != 0 {
		t.Errorf("%d callers are remembered", n)
	}
	if got := l.Take("b", ratelimit.Limit{PerSecond: 1}); !got.Allowed || got.Remaining != 0 {
		t.Errorf("the first of a burst of 1: %+v", got)
	}
	if got := l.Take("b", ratelimit.Limit{PerSecond: 1}); got.Allowed {
		t.Errorf("the second: %+v", got)
	}
}

// TestALimitMayChange takes with another limit, as after a reload of keys.
func TestALimitMayChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.New(ratelimit.Config{})
		for range 20 {
			l.Take("a", ratelimit.Limit{PerSecond: 10, Burst: 20})
		}
		if got := l.Take("a", ratelimit.Limit{PerSecond: 1, Burst: 2}); got.Allowed || got.RetryAfter != time.Second {
			t.Errorf("a lower limit: %+v", got)
		}
		if got := l.Take("a", ratelimit.Limit{PerSecond: 10, Burst: 40}); !got.Allowed || got.Remaining != 19 {
			t.Errorf("a higher limit: %+v", got)
		}
	})
}

// TestNeverMoreThanTheLimit takes at any times and checks, over every span of time between two requests, that no more were
// allowed than the rate and the burst give, and that who waits for RetryAfter is let in.
func TestNeverMoreThanTheLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		limit := ratelimit.Limit{
			PerSecond: rapid.OneOf(rapid.IntRange(1, 20), rapid.IntRange(1, 1_000_000)).Draw(rt, "rate"),
			Burst:     rapid.IntRange(1, 30).Draw(rt, "burst"),
		}
		waits := rapid.SliceOfN(rapid.OneOf(rapid.Just(0), rapid.IntRange(0, 1_500)), 1, 80).Draw(rt, "waits")
		synctest.Test(t, func(t *testing.T) {
			each := time.Second / time.Duration(limit.PerSecond)
			l := ratelimit.New(ratelimit.Config{})
			began := time.Now()
			var allowed []time.Duration
			for _, wait := range waits {
				<-time.After(time.Duration(wait) * each / 1000)
				d := l.Take("a", limit)
				if d.Allowed != (d.RetryAfter == 0) || d.Remaining < 0 || d.Remaining >= limit.Burst || d.Reset > each*time.Duration(limit.Burst) {
					rt.Fatalf("decision %+v", d)
				}
				if !d.Allowed && wait == 0 {
					<-time.After(d.RetryAfter)
					if d = l.Take("a", limit); !d.Allowed {
						rt.Fatalf("after RetryAfter: %+v", d)
					}
				}
				if d.Allowed {
					allowed = append(allowed, time.Since(began))
				}
			}
			for first := range allowed {
				for last := first; last < len(allowed); last++ {
					if n, most := last-first+1, limit.Burst+int((allowed[last]-allowed[first])/each); n > most {
						rt.Fatalf("%d requests in %v, want %d at most of %+v", n, allowed[last]-allowed[first], most, limit)
					}
				}
			}
		})
	})
}

// TestConcurrentTakers checks that many at once get what one would.
func TestConcurrentTakers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.New(ratelimit.Config{})
		var allowed atomic.Int64
		var taking sync.WaitGroup
		for range 8 {
			taking.Go(func() {
				for range 1000 {
					if l.Take("a", ratelimit.Limit{PerSecond: 100, Burst: 200}).Allowed {
						allowed.Add(1)
					}
				}
			})
		}
		taking.Wait()
		if n := allowed.Load(); n != 200 {
			t.Errorf("%d were allowed, want 200", n)
		}
	})
}

// TestBoundedMemory comes as more callers than are remembered.
func TestBoundedMemory(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1, 100, 20_000} {
		t.Run(strconv.Itoa(most), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := ratelimit.New(ratelimit.Config{MaxCallers: most})
				limit := ratelimit.Limit{PerSecond: 1, Burst: 2}
				for n := range 3 * most {
					l.Take(strconv.Itoa(n), limit)
				}
				if n := l.Len(); n > most || n < most/2 {
					t.Errorf("%d callers are remembered, want at most %d", n, most)
				}
				if l.Take(strconv.Itoa(3*most-1), limit); l.Take(strconv.Itoa(3*most-1), limit).Allowed {
					t.Error("who came last was forgotten")
				}
				if d := l.Take("0", limit); d.Remaining != 1 {
					t.Errorf("who came first is remembered: %+v", d)
				}
				<-time.After(time.Minute)
				for n := range most / 2 {
					l.Take("new "+strconv.Itoa(n), limit)
				}
				if n := l.Len(); most > 1 && n > most*3/4 {
					t.Errorf("%d callers are remembered, none of whom has come for a minute", n)
				}
			})
		})
	}
}

// TestIdleCallersAreForgotten checks that a started limiter forgets, without a request, and that nobody notices.
func TestIdleCallersAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.New(ratelimit.Config{})
		if err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for n := range 10_000 {
			l.Take(strconv.Itoa(n), ratelimit.Limit{PerSecond: 1, Burst: 2})
		}
		l.Take("slow", ratelimit.Limit{PerSecond: 1, Burst: 60})
		for range 50 {
			l.Take("slow", ratelimit.Limit{PerSecond: 1, Burst: 60})
		}
		<-time.After(21 * time.Second)
		if n := l.Len(); n != 1 {
			t.Errorf("%d callers are remembered, want the one who owes", n)
		}
		if d := l.Take("slow", ratelimit.Limit{PerSecond: 1, Burst: 60}); d.Remaining != 29 {
			t.Errorf("who owes: %+v", d)
		}
	})
}

func TestStartAndClose(t *testing.T) {
	t.Parallel()
	l := ratelimit.New(ratelimit.Config{})
	if err := l.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Start(t.Context()); err == nil {
		t.Error("it started twice")
	}
	l.Close()
	l.Close()
	if err := l.Start(t.Context()); err == nil {
		t.Error("it started after Close")
	}
	if !l.Take("a", ratelimit.Limit{PerSecond: 1}).Allowed {
		t.Error("it does not go on after Close")
	}
}

func TestTakeDoesNotAllocate(t *testing.T) {
	l := ratelimit.New(ratelimit.Config{})
	limit := ratelimit.Limit{PerSecond: 1_000_000, Burst: 2_000_000}
	l.Take("a", limit)
	if n := testing.AllocsPerRun(1000, func() { l.Take("a", limit) }); n != 0 {
		t.Errorf("Take allocates %v times", n)
	}
}

func BenchmarkTake(b *testing.B) {
	for _, callers := range []int{1, 10_000} {
		names := make([]string, callers)
		for i := range names {
			names[i] = fmt.Sprintf("203.0.113.%d", i)
		}
		limit := ratelimit.Limit{PerSecond: 100, Burst: 1_000_000}
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			l := ratelimit.New(ratelimit.Config{})
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				l.Take(names[n%callers], limit)
				n++
			}
		})
		b.Run(fmt.Sprintf("parallel/callers=%d", callers), func(b *testing.B) {
			l := ratelimit.New(ratelimit.Config{})
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for n := 0; pb.Next(); n++ {
					l.Take(names[n%callers], limit)
				}
			})
		})
	}
}
