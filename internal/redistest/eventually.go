package redistest

import (
	"testing"
	"time"
)

// Eventually calls cond on the test's own goroutine until it is true, at once and then every few milliseconds,
// and ends the test if that has not come about within the given time; what says in the failure what was
// awaited. A cond that blocks longer than that is not cut short, and one call is always made after
// the time is up, so that a slow machine fails no test whose wish has come true.
func Eventually(tb testing.TB, within time.Duration, what string, cond func() bool) {
	tb.Helper()
	if cond() {
		return
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-timer.C:
			if !cond() {
				tb.Fatalf("not within %v: %s", within, what)
			}
			return
		case <-tick.C:
			if cond() {
				return
			}
		}
	}
}
