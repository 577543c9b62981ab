package health

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

// check is one part, and what is known of it.
type check struct {
	name, component string
	probe           Probe
	cfg             Config

	mu sync.Mutex
	// last is what was found last, and known is when; the zero Result if the check never ran.
	last  Result
	known time.Time
	// asking is closed when there is a result of the run under way; nil while none is awaited.
	asking chan struct{}
	// busy is true until the probe has ended, which may be long after there is a result: that it did not end in time. began is
	// when its run began.
	busy  bool
	began time.Time
}

var (
	errStillRunning = errors.New("the check before has not ended yet")
	errNeverRan     = errors.New("not looked at yet")
)

// ask begins a run, unless one is under way or the last result is younger than freshFor. It returns what is closed when there
// is a result, which takes the timeout at most, and nil when there is one now.
func (c *check) ask(ctx context.Context, freshFor time.Duration, patient bool) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	switch {
	case c.asking != nil:
		return c.asking
	case !c.known.IsZero() && now.Sub(c.known) < freshFor:
		return nil
	case c.busy:
		c.note(c.began, errStillRunning)
		return nil
	}
	asking := make(chan struct{})
	c.asking, c.busy, c.began = asking, true, now
	go c.run(ctx, asking, now, patient)
	return asking
}

// run runs the probe, again and again while it fails if it is to be patient. Whoever asked is answered in time, whether it
// ends or not.
func (c *check) run(parent context.Context, asking chan struct{}, began time.Time, patient bool) {
	ctx, cancel := context.WithTimeout(parent, c.cfg.Timeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.answer(parent, asking, began, fmt.Errorf("no answer within %v", c.cfg.Timeout))
	})()
	err := c.probe(ctx)
	for patient && statusOf(err) == Fail && ctx.Err() == nil && time.Since(began) < c.cfg.Timeout/2 {
		select {
		case <-ctx.Done():
		case <-time.After(c.cfg.Timeout / 50):
			err = c.probe(ctx)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
	c.answer(parent, asking, began, err)
}

// answer notes what a run found and answers who asked for it, unless that was done. c.mu is held.
func (c *check) answer(parent context.Context, asking chan struct{}, began time.Time, err error) {
	if c.asking != asking {
		return
	}
	if parent.Err() == nil { // Else the probe was told to end, which says nothing of its part.
		c.note(began, err)
	}
	close(asking)
	c.asking = nil
}

// statusOf is what a probe's error means.
func statusOf(err error) Status {
	if warn := (warning{}); errors.As(err, &warn) {
		return Warn
	} else if err != nil {
		return Fail
	}
	return Pass
}

// note makes what a probe said the last result. c.mu is held.
func (c *check) note(began time.Time, err error) {
	before, now := c.last, time.Now()
	r := Result{
		Name: c.name, Component: c.component, Status: statusOf(err), At: began, Took: now.Sub(began), Since: began,
		LastError: before.LastError, LastErrorAt: before.LastErrorAt,
	}
	if err != nil {
		r.Output = err.Error()
		r.LastError, r.LastErrorAt = r.Output, began
	}
	if before.Status == r.Status {
		r.Since = before.Since
	}
	c.last, c.known = r, now
	switch {
	case before.Status == r.Status, before.Status == "" && r.Status == Pass:
	case r.Status == Pass:
		c.cfg.Logger.Info("a check passes again", zap.String("check", c.name), zap.Duration("after", began.Sub(before.Since)))
	default:
		c.cfg.Logger.Warn("a check does not pass", zap.String("check", c.name), zap.String("status", string(r.Status)),
			zap.String("output", r.Output))
	}
}

// result returns what was found last.
func (c *check) result() Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known.IsZero() {
		now := time.Now()
		return Result{
			Name: c.name, Component: c.component, Status: Fail, Output: errNeverRan.Error(), At: now, Since: now,
			LastError: errNeverRan.Error(), LastErrorAt: now,
		}
	}
	return c.last
}
