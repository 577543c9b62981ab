package javaclient

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/budget"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/hedgepolicy"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
)

const (
	maxRetries = 2
	// The pause before a retry doubles from shortestPause to longestPause, and is then spread by half of it to both sides.
	shortestPause, longestPause = 100 * time.Millisecond, 2 * time.Second
	// extraRate is how many of the attempts under way may be retries, and likewise hedges; extraFrom are always allowed.
	extraRate = 0.2
	extraFrom = 3
)

// resilient returns the transport of all calls. From the outside to the inside:
//
//   - retry: what is worth another attempt, which the attempt itself knows (see attempt.worthRetry);
//   - breaker: counts every attempt of a call, a hedge and what it hedges as one;
//   - hedge, for the first attempt of a GET;
//   - attempt: bounded in time, and judged.
//
// Calls to the service's health are one attempt and nothing else.
//
//nolint:bodyclose // What it takes for responses are policies for them.
func (c *Client) resilient() http.RoundTripper {
	once := &attempt{timeout: c.cfg.Timeout, maxAnswer: c.cfg.MaxAnswer, transport: c.transport, tracer: tracerOf(c.cfg.Tracing)}
	retry := failsafe.With[*http.Response](c.retryPolicy())
	guard := guarded{breaker: c.breaker, timeout: c.cfg.Timeout, once: once, hedged: once}
	posts := failsafehttp.NewRoundTripperWithExecutor(&guard, retry)
	gets := posts
	if c.cfg.HedgeAfter > 0 {
		guard := guard
		guard.hedged = failsafehttp.NewRoundTripper(once, c.hedgePolicy())
		gets = failsafehttp.NewRoundTripperWithExecutor(&guard, retry)
	}
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		ex := exchangeOf(req)
		switch {
		case ex.health:
			return once.RoundTrip(req)
		case req.Method == http.MethodGet:
			return gets.RoundTrip(req)
		}
		req = req.WithContext(req.Context()) // A copy: the request itself is not to be changed.
		req.Body = rewindable{bytes.NewReader(ex.encoded)}
		return posts.RoundTrip(req)
	})
}

// rewindable is a body that failsafehttp, which keeps a copy of any other kind, reads from the start for each attempt.
type rewindable struct{ *bytes.Reader }

func (rewindable) Close() error { return nil }

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func extras() budget.Budget {
	return budget.NewBuilder().WithMaxRate(extraRate).WithMinConcurrency(extraFrom).Build()
}

//nolint:bodyclose // What it takes for a response is a policy for them.
func (c *Client) retryPolicy() retrypolicy.RetryPolicy[*http.Response] {
	return retrypolicy.NewBuilder[*http.Response]().
		HandleIf(func(_ *http.Response, err error) bool {
			failed := (*attemptError)(nil)
			return errors.As(err, &failed) && failed.retry
		}).
		ReturnLastFailure().
		WithMaxRetries(maxRetries).
		WithDelayFunc(pause).
		WithBudget(extras()).
		OnRetry(func(failsafe.ExecutionEvent[*http.Response]) { c.counts.retries.Add(1) }).
		Build()
}

// pause is what the service asks for, which attempt.worthRetry has found to be short enough, or else grows and is spread.
func pause(exec failsafe.ExecutionAttempt[*http.Response]) time.Duration {
	if failed := (*Error)(nil); errors.As(exec.LastError(), &failed) && failed.RetryAfter > 0 {
		return failed.RetryAfter
	}
	backoff := min(shortestPause<<min(exec.Retries(), maxRetries), longestPause)
	return backoff/2 + rand.N(backoff) //nolint:gosec // a pause need not be unguessable
}

//nolint:bodyclose // What it takes for a response is a policy for them.
func (c *Client) hedgePolicy() hedgepolicy.HedgePolicy[*http.Response] {
	return hedgepolicy.NewBuilderWithDelay[*http.Response](c.cfg.HedgeAfter).
		// A failure ends the other attempt no more than it says how that will end.
		CancelIf(func(_ *http.Response, err error) bool {
			failed := (*attemptError)(nil)
			return !errors.As(err, &failed) || failed.alone
		}).
		WithBudget(extras()).
		OnHedge(func(failsafe.ExecutionEvent[*http.Response]) { c.counts.hedges.Add(1) }).
		Build()
}

// guarded puts the breaker around a transport: hedged for the first attempt of a call, but once where a service that may
// still be down is probed.
type guarded struct {
	breaker      *breaker
	timeout      time.Duration
	once, hedged http.RoundTripper
}

func (g *guarded) RoundTrip(req *http.Request) (*http.Response, error) {
	permit, wait, admitted := g.breaker.admit()
	if !admitted {
		return nil, &Error{Code: CodeBreakerOpen, RetryAfter: wait}
	}
	ex := exchangeOf(req)
	next := g.once
	if first := ex.last.Load() == nil; first && !permit.probe {
		next = g.hedged
	}
	// A panic must not keep the permit of a probe.
	judged := unknown
	defer func() { g.breaker.done(permit, judged) }()
	start := time.Now()
	resp, err := next.RoundTrip(req)
	if failure := (*Error)(nil); errors.As(err, &failure) {
		ex.last.Store(failure)
	}
	judged = judge(err, time.Since(start) >= g.timeout/2)
	return resp, err
}

// judge says what an attempt that ended with err tells of the service. Time that ran out is the service's fault if it had
// at least half of Config.Timeout, whoever set the deadline: else callers in a hurry would open the breaker on a service
// that is well, or on one that hangs it would never open, since none of them waits for Config.Timeout.
func judge(err error, hadTime bool) verdict {
	if err == nil {
		return served
	}
	failure := &Error{Code: CodeCanceled}
	if !errors.As(err, &failure) && errors.Is(err, context.DeadlineExceeded) {
		failure = &Error{Code: CodeTimeout}
	}
	switch failure.Code {
	case CodeServerError, CodeMalformed, CodeTooLarge, CodeUnreachable, CodeConnectionLost:
		return failed
	case CodeTimeout:
		if hadTime {
			return failed
		}
		return unknown
	case CodeCanceled:
		return unknown
	}
	return served // It lives, whatever it refuses and whatever its data source does.
}
