package health_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/connectbot-hub/connecthub/health"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

// says is a probe with a fixed answer.
func says(err error) health.Probe { return func(context.Context) error { return err } }

// TestReport sums up what the probes say: the worst counts.
func TestReport(t *testing.T) {
	t.Parallel()
	warn, fail := health.Warning("look at it"), errors.New("broken")
	for _, tt := range []struct {
		name string
		says []error
		want health.Status
	}{
		{"nothing to check", nil, health.Pass},
		{"all pass", []error{nil, nil}, health.Pass},
		{"a warning", []error{nil, warn, nil}, health.Warn},
		{"a wrapped warning", []error{fmt.Errorf("check: %w", warn)}, health.Warn},
		{"a failure", []error{nil, fail}, health.Fail},
		{"a failure before a warning", []error{fail, warn}, health.Fail},
		{"a failure after a warning", []error{warn, fail}, health.Fail},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			checker := health.New(health.Config{Timeout: time.Minute, FreshFor: -1})
			for i, err := range tt.says {
				checker.Add(fmt.Sprint("part ", i), "component", says(err))
			}
			before := time.Now()
			report := checker.Report(t.Context())
			if report.Status != tt.want || len(report.Results) != len(tt.says) {
				t.Fatalf("%+v, want %s", report, tt.want)
			}
			for i, err := range tt.says {
				got := report.Results[i]
				want := health.Result{Name: fmt.Sprint("part ", i), Component: "component", Status: health.Pass, At: got.At, Took: got.Took, Since: got.At}
				if err != nil {
					want.Status, want.Output = health.Fail, err.Error()
					want.LastError, want.LastErrorAt = err.Error(), got.At
				}
				if errors.Is(err, warn) {
					want.Status = health.Warn
				}
				if got != want {
					t.Errorf("%+v, want %+v", got, want)
				}
				if got.At.Before(before) || got.At.After(time.Now()) || got.Took < 0 || got.Took > time.Since(before) {
					t.Errorf("looked at %v for %v", got.At, got.Took)
				}
			}
		})
	}
}

// TestTimeout checks that a probe that hangs delays the report for the timeout and no longer, fails until it ends, and is not
// asked again before.
func TestTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const timeout = time.Second
		checker := health.New(health.Config{Timeout: timeout, FreshFor: -1})
		var asked atomic.Int64
		release := make(chan error)
		checker.Add("hangs", "datastore", func(context.Context) error { asked.Add(1); return <-release })
		checker.Add("slow", "datastore", func(context.Context) error { <-time.After(300 * time.Millisecond); return nil })
		checker.Add("obeys", "datastore", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		began := time.Now()
		for round := range 3 {
			report := checker.Report(t.Context())
			synctest.Wait() // The part that obeys has ended, too.
			for i, want := range []health.Status{health.Fail, health.Pass, health.Fail} {
				if got := report.Results[i]; got.Status != want || (got.Output == "") != (want == health.Pass) {
					t.Errorf("round %d: %+v, want %s", round, got, want)
				}
			}
			if took := time.Since(began); took != time.Duration(round+1)*timeout {
				t.Errorf("round %d ended after %v", round, took)
			}
			if took := report.Results[1].Took; took != 300*time.Millisecond {
				t.Errorf("the slow part took %v", took)
			}
			// The one that hangs still runs, all the time; it was asked again when the other two had just been.
			if got := report.Results[0]; !got.At.Equal(began) || got.Took != max(timeout, time.Duration(round)*timeout) {
				t.Errorf("the hanging part was asked at %v, and took %v in round %d", got.At, got.Took, round)
			}
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("the hanging part was asked %d times", n)
		}
		release <- nil
		synctest.Wait()
		go func() { release <- nil }()
		if got := checker.Report(t.Context()).Results[0]; got.Status != health.Pass {
			t.Errorf("after it ended: %+v", got)
		}
	})
}

// TestNeverTwiceAtOnce asks from many sides: reports are shared, and a probe runs once at a time.
func TestNeverTwiceAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		checker := health.New(health.Config{Timeout: time.Minute, FreshFor: -1})
		var running, asked atomic.Int64
		checker.Add("part", "component", func(context.Context) error {
			if running.Add(1) != 1 {
				t.Error("the probe runs twice at once")
			}
			defer running.Add(-1)
			asked.Add(1)
			<-time.After(10 * time.Millisecond)
			return nil
		})
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				<-time.After(time.Duration(i%5) * 4 * time.Millisecond)
				if report := checker.Report(t.Context()); report.Status != health.Pass {
					t.Errorf("%+v", report)
				}
			})
		}
		all.Wait()
		// Those who come at 0, 4 and 8 ms share the report of the first, those who come at 12 and 16 ms share another.
		if n := asked.Load(); n != 2 {
			t.Errorf("the probe was asked %d times, want 2", n)
		}
	})
}

// TestNamesAreUnique adds a check twice.
func TestNamesAreUnique(t *testing.T) {
	t.Parallel()
	checker := health.New(health.Config{})
	checker.Add("part", "component", says(nil))
	defer func() {
		if recover() == nil {
			t.Error("there are two checks of the same name")
		}
	}()
	checker.Add("part", "system", says(nil))
}

// TestOneAfterTheOther asks again as soon as there is a report: that the probe has only just ended is no failure.
func TestOneAfterTheOther(t *testing.T) {
	t.Parallel()
	checker := health.New(health.Config{Timeout: time.Minute, FreshFor: -1})
	checker.Add("part", "component", says(nil))
	for n := range 20_000 {
		if report := checker.Report(t.Context()); report.Status != health.Pass {
			t.Fatalf("report %d: %+v", n, report)
		}
	}
}

// TestCallerMayLeave checks that a caller who leaves spoils the report for nobody: it is shared.
func TestCallerMayLeave(t *testing.T) {
	t.Parallel()
	checker := health.New(health.Config{Timeout: time.Minute, FreshFor: -1})
	checker.Add("part", "component", func(ctx context.Context) error { return ctx.Err() })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if report := checker.Report(ctx); report.Status != health.Pass {
		t.Errorf("%+v", report)
	}
}
