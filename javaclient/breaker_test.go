package javaclient

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// The breaker is tested from within, where its clock can be the test's.

const openFor = 5 * time.Second

func observed() (*breaker, *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.DebugLevel)
	return newBreaker(openFor, zap.New(core)), logs
}

// pass lets attempts through that end with these verdicts, and fails the test if one is refused.
func pass(t *testing.T, b *breaker, verdicts ...verdict) {
	t.Helper()
	for i, v := range verdicts {
		p, _, admitted := b.admit()
		if !admitted {
			t.Fatalf("attempt %d is refused", i)
		}
		b.done(p, v)
	}
}

func times(n int, v verdict) []verdict {
	verdicts := make([]verdict, n)
	for i := range verdicts {
		verdicts[i] = v
	}
	return verdicts
}

func wantState(t *testing.T, b *breaker, want State) {
	t.Helper()
	if got := b.current(); got != want {
		t.Fatalf("%s, not %s", got, want)
	}
}

func TestBreakerOpensOnFailuresInARow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := observed()
		pass(t, b, times(4, failed)...)
		pass(t, b, served)
		pass(t, b, failed, failed, unknown, failed, failed)
		wantState(t, b, StateClosed)
		pass(t, b, failed)
		wantState(t, b, StateOpen)
	})
}

func TestBreakerOpensOnHalfOfTen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := observed()
		for range 4 {
			pass(t, b, failed, served)
		}
		pass(t, b, served, unknown)
		wantState(t, b, StateClosed) // 4 of 9.
		pass(t, b, failed)
		wantState(t, b, StateOpen) // 5 of 10.
	})
}

func TestBreakerForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := observed()
		for range 4 {
			pass(t, b, failed, served)
		}
		<-time.After(ratePeriod + time.Second)
		for range 4 {
			pass(t, b, failed, served)
		}
		pass(t, b, served)
		wantState(t, b, StateClosed)
	})
}

func TestBreakerOpensAndClosesAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, logs := observed()
		pass(t, b, times(5, failed)...)
		for range 3 {
			wait, refuses := b.refuses()
			if !refuses || wait < openFor*4/5 || wait > openFor*6/5 {
				t.Fatalf("%v, %v", refuses, wait)
			}
			if _, again, admitted := b.admit(); admitted || again != wait {
				t.Fatalf("%v, %v", admitted, again)
			}
			<-time.After(wait - time.Nanosecond)
			if _, refuses := b.refuses(); !refuses {
				t.Fatal("open for too short a time")
			}
			wantState(t, b, StateOpen)
			<-time.After(time.Nanosecond)
			wantState(t, b, StateHalfOpen)
			if _, refuses := b.refuses(); refuses {
				t.Fatal("open for too long")
			}
			// One at a time.
			p, _, admitted := b.admit()
			if !admitted || !p.probe {
				t.Fatal("nobody may look")
			}
			wantState(t, b, StateHalfOpen)
			if _, wait, admitted := b.admit(); admitted || wait != time.Second {
				t.Fatalf("two at a time, or %v", wait)
			}
			if wait, refuses := b.refuses(); !refuses || wait != time.Second {
				t.Fatalf("%v, %v", refuses, wait)
			}
			b.done(p, failed)
			wantState(t, b, StateOpen)
		}
		wait, _ := b.refuses()
		<-time.After(wait)
		pass(t, b, served)
		wantState(t, b, StateClosed)
		// It starts from nothing: neither the row nor the rate is what it was.
		pass(t, b, times(4, failed)...)
		wantState(t, b, StateClosed)
		pass(t, b, failed)
		wantState(t, b, StateOpen)

		if n := b.opened.Load(); n != 2 {
			t.Errorf("opened %d times", n)
		}
		var levels []zapcore.Level
		for _, entry := range logs.All() {
			levels = append(levels, entry.Level)
		}
		if len(levels) != 3 || levels[0] != zap.WarnLevel || levels[1] != zap.InfoLevel || levels[2] != zap.WarnLevel {
			t.Errorf("%v", logs.All())
		}
	})
}

func TestBreakerGivesAnUndecidedProbeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, logs := observed()
		pass(t, b, times(5, failed)...)
		<-time.After(2 * openFor)
		pass(t, b, times(20, unknown)...)
		wantState(t, b, StateHalfOpen)
		pass(t, b, served)
		wantState(t, b, StateClosed)
		if logs.Len() != 2 {
			t.Errorf("%v", logs.All())
		}
	})
}

func TestBreakerHeedsNothingOfOld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := observed()
		var old []permit
		for range 20 {
			p, _, _ := b.admit()
			old = append(old, p)
		}
		pass(t, b, times(5, failed)...)
		<-time.After(2 * openFor)
		probe, _, admitted := b.admit()
		if !admitted {
			t.Fatal("nobody may look")
		}
		for i, p := range old {
			b.done(p, verdict(i%3))
		}
		wantState(t, b, StateHalfOpen)
		if _, _, admitted := b.admit(); admitted {
			t.Fatal("what was late made room for another probe")
		}
		b.done(probe, served)
		wantState(t, b, StateClosed)
		for _, p := range append(old, probe) {
			b.done(p, failed)
		}
		wantState(t, b, StateClosed)
	})
}
