// Package health asks the hub's parts how they are and sums it up.
//
// Guarantee: a report takes no longer than the timeout, whatever hangs, and no check runs twice at once. Limit: it
// says what the checks saw when they ran; it does not watch in between.
package health

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// Status is how a part is.
type Status string

// From best to worst.
const (
	// Pass is well.
	Pass Status = "pass"
	// Warn works, but somebody should know something.
	Warn Status = "warn"
	// Fail does not work.
	Fail Status = "fail"
)

// Probe asks one part. nil is Pass, a warning made by Warning is Warn, any other error is Fail. It must end with its
// context; one that does not is left behind and counts as failed until it ends.
type Probe func(context.Context) error

// warning is an error that is no failure.
type warning struct{ text string }

func (w warning) Error() string { return w.text }

// Warning returns what a Probe returns when its part works, but somebody should know something.
func Warning(text string) error { return warning{text} }

// Result is what one check found.
type Result struct {
	// Name is the check's.
	Name string
	// Component is what kind of part it is: "datastore", "component" or "system".
	Component string
	// Status is how the part is.
	Status Status
	// Output says what is wrong; empty when nothing is.
	Output string
	// At is when the check began, and Took how long it took.
	At   time.Time
	Took time.Duration
}

// Report is what all checks found.
type Report struct {
	// Status is the worst of Results.
	Status Status
	// Results are in the order in which the checks were added.
	Results []Result
}

// Checker runs the checks. Add them before the first Report; then it is safe for concurrent use.
type Checker struct {
	timeout time.Duration
	checks  []*check
	flight  singleflight.Group
}

type check struct {
	name, component string
	probe           Probe
	busy            sync.Mutex
}

// NewChecker makes a checker whose reports take at most the timeout.
func NewChecker(timeout time.Duration) *Checker { return &Checker{timeout: timeout} }

// Add adds a check.
func (c *Checker) Add(name, component string, probe Probe) {
	c.checks = append(c.checks, &check{name: name, component: component, probe: probe})
}

// Report runs every check. Those who ask while it runs share one report.
func (c *Checker) Report(ctx context.Context) Report {
	shared, _, _ := c.flight.Do("", func() (any, error) { return c.report(context.WithoutCancel(ctx)), nil })
	report, _ := shared.(Report)
	return report
}

func (c *Checker) report(ctx context.Context) Report {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	report := Report{Status: Pass, Results: make([]Result, len(c.checks))}
	var running sync.WaitGroup
	for i, ch := range c.checks {
		running.Go(func() { report.Results[i] = ch.run(ctx) })
	}
	running.Wait()
	for _, r := range report.Results {
		if r.Status == Fail || r.Status == Warn && report.Status == Pass {
			report.Status = r.Status
		}
	}
	return report
}

var errStillRunning = errors.New("the check before has not ended yet")

// run runs the probe and waits for it no longer than the context.
func (c *check) run(ctx context.Context) Result {
	result := Result{Name: c.name, Component: c.component, Status: Pass, At: time.Now()}
	err := errStillRunning
	if c.busy.TryLock() {
		answered := make(chan error, 1)
		go func() {
			err := c.probe(ctx)
			c.busy.Unlock() // Before the answer: whoever has it may ask again at once.
			answered <- err
		}()
		select {
		case err = <-answered:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	result.Took = time.Since(result.At)
	if warn := (warning{}); errors.As(err, &warn) {
		result.Status = Warn
	} else if err != nil {
		result.Status = Fail
	}
	if err != nil {
		result.Output = err.Error()
	}
	return result
}
