// Package health asks the hub's parts how they are, sums it up, and tells when that changes.
//
// Guarantee: a report takes no longer than Config.Timeout, whatever hangs, and no check runs twice at once. Limit: it says
// what the checks saw when they ran last, every Config.Interval; what came and went in between is not seen.
package health

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
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
// context; one that does not is left behind and counts as failed until it ends. What the error says is shown to everybody.
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
	// At is when the check began, and Took how long it took: of one that has not ended yet, how long it has been running.
	At   time.Time
	Took time.Duration
	// Since is when the check began that first found this status.
	Since time.Time
	// LastError is what Output said when the check last did not pass, and LastErrorAt when that check began. Empty and zero
	// if it always passed.
	LastError   string
	LastErrorAt time.Time
}

// Report is what all checks found.
type Report struct {
	// Status is the worst of Results.
	Status Status
	// Results are in the order in which the checks were added.
	Results []Result
}

// Change is that the whole is no longer as it was.
type Change struct {
	// Was and Now are the worst of all checks before and after.
	Was, Now Status
	// Failing names the checks that fail now.
	Failing []string
	// At is when that was found.
	At time.Time
}

// Config says how a Checker works. The zero Config is ready to use.
type Config struct {
	// Timeout bounds each check, and so each report. Default 1 s.
	Timeout time.Duration
	// Interval is how often the watch that Start begins runs the checks. Default 5 s.
	Interval time.Duration
	// FreshFor is how long a result is shared with whoever asks, so that asking often costs no more. Default 1 s; a negative
	// one shares only results that were asked for at the same time.
	FreshFor time.Duration
	// OnChange is told when the worst of all checks is another than the watch found before; what it finds first is no change.
	// What is well again by the first Interval after Start was only beginning, and what a Report finds and the watch does not
	// find again is logged only. It is called by the watch, so by one goroutine, and the watch waits for it. Default: nobody.
	OnChange func(Change)
	// Logger is told, once, when a check changes its status: of warnings and failures at warn, of a pass at info. Default: nobody.
	Logger *zap.Logger
}

func (c Config) withDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = time.Second
	}
	if c.Interval == 0 {
		c.Interval = 5 * time.Second
	}
	if c.FreshFor == 0 {
		c.FreshFor = time.Second
	}
	if c.OnChange == nil {
		c.OnChange = func(Change) {}
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c
}

// Checker runs the checks. Add them before anything else is called; then it is safe for concurrent use. It works
// without Start, too: then the checks run only when somebody asks.
type Checker struct {
	cfg    Config
	checks []*check
	looked atomic.Bool

	mu     sync.Mutex
	closed bool
	stop   context.CancelFunc
	done   sync.WaitGroup

	poked chan struct{} // The watch is to look now.
}

// New makes a checker without checks.
func New(cfg Config) *Checker {
	return &Checker{cfg: cfg.withDefaults(), poked: make(chan struct{}, 1)}
}

// Add adds a check. The component is what kind of part it is, see Result. It panics when there is a check of that name.
func (c *Checker) Add(name, component string, probe Probe) {
	if slices.ContainsFunc(c.checks, func(ch *check) bool { return ch.name == name }) {
		panic("health: there is a check " + name + " already")
	}
	c.checks = append(c.checks, &check{name: name, component: component, probe: probe, cfg: c.cfg})
}

var errClosed = errors.New("health: closed, or started twice")

// Start begins to watch: to run the checks every Config.Interval, the first time at once; a part that fails then may have
// begun a moment ago and is asked again for half of Config.Timeout. While any fails, and for one Interval at most, the first
// looks follow each other every Config.Timeout, if that is sooner. It goes on until Close whatever becomes of the context.
func (c *Checker) Start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.stop != nil {
		return errClosed
	}
	ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	for _, ch := range c.checks {
		ch.ask(ctx, -1, true) // Whose results the watch and early callers share.
	}
	c.done.Go(func() { c.watch(ctx) })
	return nil
}

// Close ends the watch and waits for it, but not for a probe that does not end with its context. It may be called twice.
func (c *Checker) Close() {
	c.mu.Lock()
	c.closed = true
	if c.stop != nil {
		c.stop()
	}
	c.mu.Unlock()
	c.done.Wait()
}

// Look has the watch run the checks now, for who knows that something has changed. It does not wait for that, and does nothing
// after Close.
func (c *Checker) Look() {
	select {
	case c.poked <- struct{}{}:
	default:
	}
}

// Looked reports whether the watch has run every check once.
func (c *Checker) Looked() bool { return c.looked.Load() }

func (c *Checker) watch(ctx context.Context) {
	began := time.Now()
	tick := time.NewTicker(min(c.cfg.Interval, c.cfg.Timeout))
	defer tick.Stop()
	var was Status          // "" as long as the parts may only be beginning.
	fresh := c.cfg.FreshFor // Start has just begun to ask.
	for {
		report := look(ctx, c.checks, fresh)
		fresh = -1
		if ctx.Err() != nil {
			return // What was found means nothing: the probes were told to end.
		}
		c.looked.Store(true)
		switch {
		case was != "":
			if report.Status != was {
				c.cfg.OnChange(Change{Was: was, Now: report.Status, Failing: report.failing(), At: time.Now()})
			}
			was = report.Status
		case report.Status != Fail || time.Since(began) >= c.cfg.Interval:
			was = report.Status
			tick.Reset(c.cfg.Interval)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.poked:
			look(ctx, c.checks, -1) // Which may be a run that began before: the next one did not.
		}
	}
}

// Report says how all parts are: as they were seen within Config.FreshFor, or else it runs the checks. Those who ask while
// a check runs share its result.
func (c *Checker) Report(ctx context.Context) Report {
	return look(context.WithoutCancel(ctx), c.checks, c.cfg.FreshFor)
}

// Last says what was seen last, and runs nothing. A check that never ran fails.
func (c *Checker) Last() Report { return sum(c.checks) }

// Subset reports on some of the checks of a Checker.
type Subset struct {
	checker *Checker
	names   []string
}

// Only returns a view of the checks with these names. They may be added later.
func (c *Checker) Only(names ...string) *Subset { return &Subset{c, names} }

// Report is Checker.Report for these checks alone: it does not wait for others.
func (s *Subset) Report(ctx context.Context) Report {
	var checks []*check
	for _, ch := range s.checker.checks {
		if slices.Contains(s.names, ch.name) {
			checks = append(checks, ch)
		}
	}
	return look(context.WithoutCancel(ctx), checks, s.checker.cfg.FreshFor)
}

// look sees to it that each check has a result that is younger than freshFor, and sums up.
func look(ctx context.Context, checks []*check, freshFor time.Duration) Report {
	waits := make([]<-chan struct{}, len(checks))
	for i, ch := range checks {
		waits[i] = ch.ask(ctx, freshFor, false)
	}
	for _, wait := range waits {
		if wait != nil {
			<-wait // It takes Config.Timeout at most.
		}
	}
	return sum(checks)
}

func sum(checks []*check) Report {
	report := Report{Status: Pass, Results: make([]Result, len(checks))}
	for i, ch := range checks {
		r := ch.result()
		report.Results[i] = r
		if r.Status == Fail || r.Status == Warn && report.Status == Pass {
			report.Status = r.Status
		}
	}
	return report
}

func (r *Report) failing() []string {
	var names []string
	for _, result := range r.Results {
		if result.Status == Fail {
			names = append(names, result.Name)
		}
	}
	return names
}
