package jobqueue

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"go.uber.org/zap"
)

// run lets a job be handled, renews its lease meanwhile, and writes what came of it.
func (q *Queue) run(ctx context.Context, job *taken, handle Handler) {
	handling, lose := context.WithCancelCause(ctx)
	defer lose(nil)
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		q.renew(renewing, job, lose)
	}()
	outcome := q.call(handling, job.Job, handle)
	stop()
	<-stopped
	switch {
	case outcome.kind != retry && outcome.kind != wait:
	case errors.Is(context.Cause(ctx), ErrClosed):
		outcome.kind = release
	case job.Exhausted && outcome.kind == retry:
		outcome.kind = bury
	}
	q.settle(ctx, job, outcome)
}

// call calls the handler.
func (q *Queue) call(ctx context.Context, job *Job, handle Handler) (outcome Outcome) {
	defer func() {
		if value := recover(); value != nil {
			outcome = Retry(Backoff(job.Attempt), "the handler panicked: "+describePanic(value))
			q.count.panicked.Add(1)
			q.cfg.Logger.Error("the handler of a job panicked", zap.String("job", job.ID), zap.Int("attempt", job.Attempt),
				zap.String("panic", describePanic(value)), zap.ByteString("stack", debug.Stack()))
		}
	}()
	outcome = handle(ctx, job)
	if outcome.kind == "" {
		outcome = Retry(Backoff(job.Attempt), "")
	}
	return outcome
}

// describePanic says what a panic was about, without what may come from a payload.
func describePanic(value any) string {
	if err, is := value.(runtime.Error); is {
		return err.Error()
	}
	return fmt.Sprintf("a %T", value)
}

// renew renews the lease of a job until ctx ends. It ends the handler when the lease is lost, or could not be renewed
// before it ended.
func (q *Queue) renew(ctx context.Context, job *taken, lose context.CancelCauseFunc) {
	// It does not wait for a call that hangs.
	end := time.AfterFunc(time.Until(job.until), func() { lose(ErrLost) })
	defer end.Stop()
	every := q.cfg.Lease / 3
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		asked := time.Now()
		values, err := q.do(ctx, "renewing the lease of a job", 1, "renew", job.ID, job.token, q.cfg.Lease.Microseconds())
		if ctx.Err() != nil {
			return
		}
		q.outage.note(err)
		switch {
		case err != nil:
			timer.Reset(min(every, longestPause) / 4)
		case values.number(0) != 1:
			lose(ErrLost)
			return
		default:
			job.until = asked.Add(q.cfg.Lease)
			end.Reset(time.Until(job.until))
			timer.Reset(every)
		}
	}
}

// settle writes the outcome of a job. It tries until the lease ends, and once more when ctx has ended.
func (q *Queue) settle(ctx context.Context, job *taken, outcome Outcome) {
	for pause := shortestPause; ; pause = min(2*pause, longestPause) {
		values, err := q.do(context.WithoutCancel(ctx), "writing the outcome of a job", 1, "finish", job.ID, job.token, outcome.kind,
			outcome.after.Microseconds(), outcome.problem, q.cfg.KeepDone.Milliseconds(), q.cfg.KeepDead.Milliseconds(), q.cfg.MaxDead)
		q.outage.note(err)
		if err == nil && values.number(0) == 1 {
			q.settled(job.Job, outcome)
			return
		}
		if err == nil || ctx.Err() != nil || time.Until(job.until) < pause {
			q.count.lost.Add(1)
			q.cfg.Logger.Warn("the outcome of a job was not written, so it may be handled again", zap.String("job", job.ID),
				zap.Int("attempt", job.Attempt), zap.String("outcome", outcome.kind), zap.Bool("redis", err == nil))
			return
		}
		rest(ctx, pause, nil)
	}
}

// settled counts an outcome that was written.
func (q *Queue) settled(job *Job, outcome Outcome) {
	switch outcome.kind {
	case done:
		q.count.finished.Add(1)
	case bury:
		q.count.buried.Add(1)
		q.cfg.Logger.Debug("a job was buried", zap.String("job", job.ID), zap.Int("attempt", job.Attempt))
	case retry, wait:
		q.count.retried.Add(1)
		q.hurry()
	case release:
		q.count.released.Add(1)
	}
}
