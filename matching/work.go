package matching

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/internal/jobqueue"
	"github.com/connectbot-hub/connecthub/javaclient"
)

// handle makes one attempt at a request.
func (j *Jobs) handle(ctx context.Context, job *jobqueue.Job) jobqueue.Outcome {
	a := &attempt{jobs: j, job: job}
	if err := a.read(); err != nil {
		return a.fail(ctx, err)
	}
	decided := job.Result
	if decided == nil {
		answer, err := a.match(ctx)
		if err != nil {
			return a.later(ctx, err)
		}
		if decided, err = a.decide(ctx, &answer); err != nil {
			return a.later(ctx, err)
		}
	}
	var result Pairs
	if err := json.Unmarshal(decided, &result); err != nil {
		return a.fail(ctx, fmt.Errorf("matching: reading a result: %w", err))
	}
	told, err := completed(job.ID, &a.work, a.request.Type, &result)
	if err == nil {
		err = j.tell(ctx, told)
	}
	if err != nil {
		return a.later(ctx, err)
	}
	j.count.completed.Add(1)
	if result.Degraded {
		j.count.fallback.Add(1)
	}
	a.project(ctx, Completed, &result, nil)
	return jobqueue.Done()
}

// attempt is one attempt at a request.
type attempt struct {
	jobs    *Jobs
	job     *jobqueue.Job
	work    work
	request PairRequest
}

// read reads what is asked for.
func (a *attempt) read() (err error) {
	if err := json.Unmarshal(a.job.Payload, &a.work); err != nil {
		return fmt.Errorf("matching: reading a request: %w", err)
	}
	if len(a.work.Request) == 0 || a.work.Request.Kind() != '{' {
		return &InvalidError{Fields: []FieldProblem{{"data", "must be an object"}}}
	}
	if a.request, err = decodeJob(a.work.Request, false); err != nil {
		return err
	}
	a.request.RequestID = a.job.ID
	return a.request.check()
}

// errWaits says that a failure of the service is worth waiting for.
var errWaits = errors.New("matching: the service may be back later")

// match finds the pairs: it asks the service and, when that has been away for long enough, matches here.
func (a *attempt) match(ctx context.Context) (Pairs, error) {
	m := a.jobs.cfg.Matcher
	if err := m.checkListed(ctx, a.request.Algorithm); err != nil {
		return Pairs{}, err
	}
	answer, err := m.ask(ctx, a.work.call(a.job.ID), &a.request)
	if err == nil {
		m.answered()
		return answer, nil
	}
	var problem *javaclient.Error
	if !errors.As(err, &problem) || !ofService(problem.Code) {
		return Pairs{}, err
	}
	if a.mayWait() {
		return Pairs{}, fmt.Errorf("%w: %w", errWaits, err)
	}
	return fallBack(ctx, m, err, func(reason javaclient.Code) (Pairs, error) {
		return m.matchHere(ctx, &a.request, reason)
	})
}

func (a *attempt) mayWait() bool {
	return !a.job.Exhausted && a.job.Age < a.jobs.cfg.RetryFor
}

// decide keeps a result before anybody is told of it: whoever goes on with the request tells the same. The employees are
// not kept.
func (a *attempt) decide(ctx context.Context, answer *Pairs) ([]byte, error) {
	answer.idsOnly()
	result, err := json.Marshal(answer)
	if err != nil {
		return nil, fmt.Errorf("matching: writing a result: %w", err)
	}
	// An answer of the service is worth some patience with Redis: to ask again would give another.
	for pause := shortestPause; ; pause = min(2*pause, time.Second) {
		decided, err := a.job.Decide(ctx, result)
		if !errors.Is(err, jobqueue.ErrUnavailable) || ctx.Err() != nil {
			return decided, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done(): // At the latest when the lease ends.
			timer.Stop()
			return nil, err
		}
	}
}

// later decides what becomes of a request after an attempt that failed.
func (a *attempt) later(ctx context.Context, err error) jobqueue.Outcome {
	var problem *javaclient.Error
	ofJava := errors.As(err, &problem)
	switch {
	case ctx.Err() != nil: // The process ends, or another has the request.
		return jobqueue.Wait(0, "")
	case errors.Is(err, errWaits):
		pause := max(jobqueue.Backoff(a.job.Attempt), problem.RetryAfter)
		failure := failureOf(err)
		a.project(ctx, Queued, nil, &failure)
		// Not past the end of the patience, when the hub goes on without the service.
		pause = min(pause, longestPause, a.jobs.cfg.RetryFor-a.job.Age)
		return jobqueue.Wait(pause, failure.text())
	case ofJava || errors.As(err, new(*InvalidError)):
		return a.fail(ctx, err)
	case a.job.Exhausted:
		return a.fail(ctx, err)
	}
	a.jobs.cfg.Logger.Warn("a request for matching is tried again", zap.String("request_id", a.job.ID), zap.Error(err))
	return jobqueue.Retry(jobqueue.Backoff(a.job.Attempt), failureOf(err).text())
}

const (
	// longestPause bounds what the service may ask for.
	longestPause = time.Minute
	// shortestPause is the first pause when Redis does not answer.
	shortestPause = 100 * time.Millisecond
)

// fail makes the request a dead letter, and tells of it.
func (a *attempt) fail(ctx context.Context, err error) jobqueue.Outcome {
	failure := failureOf(err)
	told, err := failed(a.job, &a.work, a.request.Type, failure)
	if err == nil {
		err = a.jobs.tell(ctx, told)
	}
	if err != nil {
		if ctx.Err() != nil {
			return jobqueue.Wait(0, "")
		}
		return jobqueue.Retry(jobqueue.Backoff(a.job.Attempt), failure.text())
	}
	a.jobs.count.failed.Add(1)
	a.jobs.cfg.Logger.Warn("a request for matching failed", zap.String("request_id", a.job.ID), zap.String("code", failure.Code),
		zap.Int("attempts", a.job.Attempt))
	a.project(ctx, Failed, nil, &failure)
	return jobqueue.Bury(failure.text())
}
