package javaclient

import (
	"errors"
	"maps"
	"sync"
	"sync/atomic"
)

// Stats counts what a Client has done since it was made. Calls to the service's health are not in it.
type Stats struct {
	// Calls are those that have ended, and Failures those of them that failed, by code; codes that never came are not there.
	Calls    int64          `json:"calls"`
	Failures map[Code]int64 `json:"failures"`
	// Retries and Hedges are the attempts beyond the first of a call: after a failure, and while the first was late.
	Retries int64 `json:"retries"`
	Hedges  int64 `json:"hedges"`
	// RejectedByBreaker and RejectedByBulkhead are the calls of which the service got nothing.
	RejectedByBreaker  int64 `json:"rejected_by_breaker"`
	RejectedByBulkhead int64 `json:"rejected_by_bulkhead"`
	// Opened is how often the breaker opened, not counting that it stayed open because the service still failed.
	Opened int64 `json:"breaker_opened"`
}

type counts struct {
	retries, hedges atomic.Int64

	mu       sync.Mutex
	calls    int64
	failures map[Code]int64
}

// add counts a call that ended with err.
func (c *counts) add(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if failed := (*Error)(nil); errors.As(err, &failed) {
		if c.failures == nil {
			c.failures = make(map[Code]int64)
		}
		c.failures[failed.Code]++
	}
}

// Stats returns the counts.
func (c *Client) Stats() Stats {
	s := Stats{Retries: c.counts.retries.Load(), Hedges: c.counts.hedges.Load(), Opened: c.breaker.opened.Load()}
	c.counts.mu.Lock()
	defer c.counts.mu.Unlock()
	s.Calls, s.Failures = c.counts.calls, make(map[Code]int64, len(c.counts.failures))
	maps.Copy(s.Failures, c.counts.failures)
	s.RejectedByBreaker, s.RejectedByBulkhead = s.Failures[CodeBreakerOpen], s.Failures[CodeBusy]
	return s
}
