package javaclient

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"go.uber.org/zap"
)

// State is a breaker's.
type State string

// The states.
const (
	// StateClosed: calls go to the service.
	StateClosed State = "closed"
	// StateOpen: the service failed, and calls fail at once with CodeBreakerOpen.
	StateOpen State = "open"
	// StateHalfOpen: the next call, or the one under way, finds out whether the service is back. All others fail at once.
	StateHalfOpen State = "half_open"
)

const (
	// The breaker opens on failuresInRow, or when failureRate of at least rateFrom attempts within ratePeriod failed.
	failuresInRow = 5
	failureRate   = 0.5
	rateFrom      = 10
	ratePeriod    = 30 * time.Second
	// openJitter makes the hubs, whose breakers open together, ask again at different times.
	openJitter = 0.2
)

// verdict is what an attempt tells of the service.
type verdict int

const (
	served verdict = iota
	failed
	// unknown is for attempts that the caller cut short.
	unknown
)

// breaker is failsafe's, with what that lacks: it counts failures in a row besides their rate, gives back the permit of a
// probe that learnt nothing, and heeds no result of an attempt from before it last opened or closed, of which many may
// come in while it is half open.
type breaker struct {
	openFor time.Duration
	log     *zap.Logger
	opened  atomic.Int64

	mu    sync.Mutex
	rate  circuitbreaker.CircuitBreaker[any]
	state circuitbreaker.State
	// era grows with every change of state.
	era int64
	row int
	// probing is set while the one call is under way that a half-open breaker lets through.
	probing bool
	// down lasts from closed to closed.
	down bool
}

func newBreaker(openFor time.Duration, log *zap.Logger) *breaker {
	rate := circuitbreaker.NewBuilder[any]().
		WithFailureRateThreshold(failureRate, rateFrom, ratePeriod).
		WithSuccessThreshold(1).
		WithDelay(openFor).WithJitterFactor(openJitter).
		Build()
	return &breaker{openFor: openFor, log: log, rate: rate, state: circuitbreaker.ClosedState}
}

// current returns the state; open ends when the time is up, although failsafe's breaker changes with the next call only.
func (b *breaker) current() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.state == circuitbreaker.ClosedState:
		return StateClosed
	case b.state == circuitbreaker.OpenState && b.rate.RemainingDelay() > 0:
		return StateOpen
	}
	return StateHalfOpen
}

// refuses says whether admit would refuse now, and how long to wait. It takes no permit.
func (b *breaker) refuses() (wait time.Duration, refuses bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state {
	case circuitbreaker.OpenState:
		wait = b.rate.RemainingDelay()
		return wait, wait > 0
	case circuitbreaker.HalfOpenState:
		return b.wait(), b.probing
	}
	return 0, false
}

// wait is how long to wait after a refusal. How long a probe takes is not known.
func (b *breaker) wait() time.Duration {
	if remaining := b.rate.RemainingDelay(); remaining > 0 {
		return remaining
	}
	return min(b.openFor, time.Second)
}

// permit is for one attempt.
type permit struct {
	era int64
	// probe says that the breaker is half open.
	probe bool
}

// admit lets an attempt through, whose verdict is then due at done, or says how long to wait.
func (b *breaker) admit() (p permit, wait time.Duration, admitted bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	admitted = b.rate.TryAcquirePermit()
	b.note()
	if !admitted {
		return permit{}, b.wait(), false
	}
	b.probing = b.state == circuitbreaker.HalfOpenState
	return permit{b.era, b.probing}, 0, true
}

func (b *breaker) done(p permit, v verdict) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.era != b.era {
		return
	}
	b.probing = false
	switch v {
	case served:
		b.row = 0
		b.rate.RecordSuccess()
	case failed:
		b.row++
		b.rate.RecordFailure()
		if b.row >= failuresInRow {
			b.rate.Open()
		}
	case unknown:
		if b.state == circuitbreaker.HalfOpenState {
			b.rate.Open() // A way to give a permit back: what half-opens anew has all of them.
			b.rate.HalfOpen()
		}
	}
	b.note()
}

// note looks whether the state has changed.
func (b *breaker) note() {
	state := b.rate.State()
	if state == b.state {
		return
	}
	b.state, b.row, b.probing = state, 0, false
	b.era++
	switch {
	case state == circuitbreaker.OpenState && !b.down:
		b.down = true
		b.opened.Add(1)
		b.log.Warn("the Java matching service fails and is left alone", zap.Duration("for", b.rate.RemainingDelay()))
	case state == circuitbreaker.ClosedState:
		b.down = false
		b.log.Info("the Java matching service is back")
	}
}
