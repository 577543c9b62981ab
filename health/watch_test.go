package health_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/connectbot-hub/connecthub/health"
)

// patient is a part whose state a test sets.
type patient struct {
	says  atomic.Pointer[error]
	asked atomic.Int64
}

func (p *patient) is(err error) { p.says.Store(&err) }

func (p *patient) probe(context.Context) error {
	p.asked.Add(1)
	if err := p.says.Load(); err != nil {
		return *err
	}
	return nil
}

// start starts a checker, to be closed in a bubble before it ends.
func start(tb testing.TB, c *health.Checker) {
	tb.Helper()
	if err := c.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// TestWatch checks what is known of a part that nobody asked for: since when it is as it is, what was wrong, and what the log
// and who wants to know were told, each once.
func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		var changes []health.Change
		checker := health.New(health.Config{Logger: zap.New(core), OnChange: func(c health.Change) { changes = append(changes, c) }})
		var redis, other patient
		checker.Add("redis", "datastore", redis.probe)
		checker.Add("other", "component", other.probe)
		began := time.Now()
		if checker.Looked() || checker.Last().Status != health.Fail || checker.Last().Results[1].Output == "" {
			t.Errorf("before the start: %+v", checker.Last())
		}
		start(t, checker)
		defer checker.Close()
		synctest.Wait()
		if last := checker.Last(); !checker.Looked() || last.Status != health.Pass || redis.asked.Load() != 1 {
			t.Errorf("after the start: %+v", last)
		}
		for at, step := range []struct {
			redis, other error
			want         health.Status
		}{
			{nil, health.Warning("look at it"), health.Warn},
			{errors.New("away"), health.Warning("look at it"), health.Fail},
			{errors.New("still away"), health.Warning("look at it"), health.Fail},
			{errors.New("still away"), nil, health.Fail},
			{nil, nil, health.Pass},
			{nil, nil, health.Pass},
		} {
			redis.is(step.redis)
			other.is(step.other)
			<-time.After(5 * time.Second)
			synctest.Wait()
			if got := checker.Last(); got.Status != step.want {
				t.Errorf("step %d: %+v, want %s", at, got, step.want)
			}
		}
		after := func(n int) time.Time { return began.Add(time.Duration(n) * 5 * time.Second) }
		for i, want := range []health.Result{
			{Name: "redis", Component: "datastore", Status: health.Pass, At: after(6), Since: after(5), LastError: "still away", LastErrorAt: after(4)},
			{Name: "other", Component: "component", Status: health.Pass, At: after(6), Since: after(4), LastError: "look at it", LastErrorAt: after(3)},
		} {
			if got := checker.Last().Results[i]; got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
		if n := redis.asked.Load(); n != 7 {
			t.Errorf("asked %d times in 30 s", n)
		}
		if want := []health.Change{
			{Was: health.Pass, Now: health.Warn, At: after(1)},
			{Was: health.Warn, Now: health.Fail, At: after(2), Failing: []string{"redis"}},
			{Was: health.Fail, Now: health.Pass, At: after(5)},
		}; !reflect.DeepEqual(changes, want) {
			t.Errorf("changes: %+v, want %+v", changes, want)
		}
		var told []string
		for _, entry := range logs.All() {
			fields := entry.ContextMap()
			told = append(told, entry.Level.String()+" "+entry.Message+" "+fmt.Sprint(fields["check"]))
		}
		if want := []string{
			"warn a check does not pass other", "warn a check does not pass redis",
			"info a check passes again other", "info a check passes again redis",
		}; !slices.Equal(told, want) {
			t.Errorf("the log: %q, want %q", told, want)
		}
	})
}

// TestFresh checks that asking often costs nothing: a result is shared for a while.
func TestFresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		checker := health.New(health.Config{})
		var part patient
		checker.Add("part", "component", part.probe)
		for range 1000 {
			checker.Report(t.Context())
			<-time.After(10 * time.Millisecond)
		}
		if n := part.asked.Load(); n != 10 {
			t.Errorf("asked %d times in 10 s, want 10", n)
		}
		part.is(errors.New("away"))
		<-time.After(time.Second)
		if got := checker.Report(t.Context()); got.Status != health.Fail {
			t.Errorf("%+v", got)
		}
		// The same for one that hangs: within that second nobody waits for it again.
		release := make(chan struct{})
		checker = health.New(health.Config{})
		checker.Add("hangs", "component", func(context.Context) error { <-release; return nil })
		began := time.Now()
		for range 100 {
			if got := checker.Report(t.Context()); got.Status != health.Fail || got.Results[0].Output != "no answer within 1s" {
				t.Errorf("%+v", got)
			}
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("100 reports took %v", took)
		}
		close(release)
	})
}

// TestOnly checks that a part of the checks does not wait for the others, and that none of them runs twice at once for it.
func TestOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		checker := health.New(health.Config{})
		var redis patient
		var slow atomic.Int64
		checker.Add("redis", "datastore", redis.probe)
		checker.Add("slow", "component", func(ctx context.Context) error { slow.Add(1); <-ctx.Done(); return ctx.Err() })
		ready := checker.Only("redis")
		whole := make(chan health.Report)
		go func() { whole <- checker.Report(t.Context()) }()
		synctest.Wait()
		began := time.Now()
		got := ready.Report(t.Context())
		if got.Status != health.Pass || len(got.Results) != 1 || got.Results[0].Name != "redis" || time.Since(began) != 0 {
			t.Errorf("after %v: %+v", time.Since(began), got)
		}
		if got := <-whole; got.Status != health.Fail || len(got.Results) != 2 || time.Since(began) != time.Second {
			t.Errorf("after %v: %+v", time.Since(began), got)
		}
		if redis.asked.Load() != 1 || slow.Load() != 1 {
			t.Errorf("asked %d and %d times", redis.asked.Load(), slow.Load())
		}
	})
}

// TestClose closes a checker while a probe runs: the watch ends with it, and what the probe says then counts for nothing.
func TestClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		changed := false
		checker := health.New(health.Config{Logger: zap.New(core), OnChange: func(health.Change) { changed = true }})
		var asked atomic.Int64
		checker.Add("part", "component", func(ctx context.Context) error {
			if asked.Add(1) == 1 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		})
		start(t, checker)
		<-time.After(5*time.Second + time.Millisecond)
		began := time.Now()
		checker.Close()
		checker.Close()
		if took := time.Since(began); took != 0 || asked.Load() != 2 {
			t.Errorf("closed after %v, asked %d times", took, asked.Load())
		}
		if logs.Len() != 0 || changed || checker.Last().Status != health.Pass {
			t.Errorf("%+v, %v", checker.Last(), logs.All())
		}
		if checker.Start(t.Context()) == nil {
			t.Error("it starts again")
		}
	})
}

// TestStartIsPatient starts with parts that take a moment to begin: that is no failure.
func TestStartIsPatient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		checker := health.New(health.Config{Logger: zap.New(core)})
		began := time.Now()
		connecting := func(takes time.Duration) health.Probe {
			return func(context.Context) error {
				if time.Since(began) < takes {
					return errors.New("not connected yet")
				}
				return nil
			}
		}
		checker.Add("quick", "component", connecting(300*time.Millisecond))
		checker.Add("slow", "component", connecting(700*time.Millisecond))
		start(t, checker)
		defer checker.Close()
		got := checker.Report(t.Context()).Results
		if took := time.Since(began); took > 600*time.Millisecond {
			t.Errorf("the first report took %v", took)
		}
		if got[0].Status != health.Pass || got[1].Output != "not connected yet" || logs.Len() != 1 {
			t.Errorf("%+v, %v", got, logs.All())
		}
	})
}

// TestBeginningIsNoChange starts with a part that takes longer than patience lasts: what is over by the first interval is told
// nobody, and what is not is told when it is over.
func TestBeginningIsNoChange(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		takes, wellAfter time.Duration
		changes          int
	}{
		{3 * time.Second, 3 * time.Second, 0},
		{7 * time.Second, 10 * time.Second, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			var changes []health.Change
			checker := health.New(health.Config{OnChange: func(c health.Change) { changes = append(changes, c) }})
			began := time.Now()
			checker.Add("slow", "component", func(context.Context) error {
				if time.Since(began) < test.takes {
					return errors.New("not connected yet")
				}
				return health.Warning("look at it")
			})
			start(t, checker)
			defer checker.Close()
			<-time.After(test.wellAfter + time.Second)
			synctest.Wait()
			if last := checker.Last(); last.Status != health.Warn || last.Results[0].Since.Sub(began) > test.wellAfter+time.Second {
				t.Errorf("%+v", last)
			}
			<-time.After(time.Minute)
			if len(changes) != test.changes {
				t.Errorf("changes: %+v", changes)
			}
		})
	}
}

// TestLook checks that the watch looks at once when it is told to.
func TestLook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var changes []health.Change
		checker := health.New(health.Config{OnChange: func(c health.Change) { changes = append(changes, c) }})
		var part patient
		checker.Add("part", "component", part.probe)
		start(t, checker)
		<-time.After(time.Millisecond)
		part.is(errors.New("away"))
		checker.Look()
		synctest.Wait()
		if len(changes) != 1 || changes[0].Now != health.Fail || checker.Last().Status != health.Fail {
			t.Errorf("%+v", changes)
		}
		checker.Close()
		checker.Look()
		checker.Look()
		if n := part.asked.Load(); n != 3 { // Once at first, and twice when told: a run may have been under way.
			t.Errorf("asked %d times", n)
		}
	})
}
