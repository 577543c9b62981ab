package matching

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/internal/jobqueue"
	"github.com/connectbot-hub/connecthub/javaclient"
)

// verdict is what a request comes to. It is kept before anybody is told, so that whoever goes on with the request tells the
// same: either the pairs, or why there are none.
type verdict struct {
	Pairs   *Pairs   `json:"pairs,omitzero"`
	Failure *Failure `json:"failure,omitzero"`
}

// readVerdict reads what was kept, if anything.
func readVerdict(kept []byte) verdict {
	var v verdict
	if len(kept) > 0 && json.Unmarshal(kept, &v) != nil {
		return verdict{Failure: &Failure{Code: codeInternal}}
	}
	return v
}

// handle makes one attempt at a request.
func (j *Jobs) handle(ctx context.Context, job *jobqueue.Job) jobqueue.Outcome {
	a := &attempt{jobs: j, job: job}
	unread := a.read() // Something of it may be told all the same.
	ctx, end := a.trace(ctx)
	defer end()
	kept := job.Result
	if kept == nil {
		found, err := a.judge(ctx, unread)
		if err == nil {
			kept, err = a.decide(ctx, found)
		}
		if err != nil {
			return a.later(ctx, err)
		}
	}
	v := readVerdict(kept)
	told, err := a.events(&v)
	if err == nil {
		err = j.tell(ctx, told)
	}
	if err != nil {
		return a.untold(ctx, &v, err)
	}
	if v.Pairs == nil {
		return a.bury(ctx, &v, v.Failure)
	}
	j.count.completed.Add(1)
	if v.Pairs.Degraded {
		j.count.fallback.Add(1)
	}
	a.project(ctx, Completed, v.Pairs, nil)
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
	if err := json.Unmarshal(a.job.Payload, &a.work, jsontext.AllowDuplicateNames(true)); err != nil {
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

// judge finds what the request comes to, or returns an error when that cannot be said yet.
func (a *attempt) judge(ctx context.Context, unread error) (verdict, error) {
	failing := func(f Failure) (verdict, error) { return verdict{Failure: &f}, nil }
	switch {
	case a.job.Exhausted:
		return failing(Failure{codeExhausted, "It was begun too often, and never came to an end."})
	case unread != nil:
		return failing(failureOf(unread))
	}
	answer, err := a.match(ctx)
	var problem *javaclient.Error
	switch {
	case err == nil:
		answer.idsOnly()
		return verdict{Pairs: &answer}, nil
	case ctx.Err() != nil, errors.Is(err, errWaits), errors.Is(err, ErrBusy):
		return verdict{}, err
	case errors.As(err, &problem):
		return failing(a.jobs.cfg.Matcher.cause(problem))
	case errors.As(err, new(*InvalidError)):
		return failing(failureOf(err))
	}
	return verdict{}, err
}

// match finds the pairs: it asks the service and, when that has been away for long enough, matches here.
func (a *attempt) match(ctx context.Context) (Pairs, error) {
	m, r := a.jobs.cfg.Matcher, &a.request
	if err := m.checkAlgorithm(ctx, "algorithm", r.Algorithm, false); err != nil {
		return Pairs{}, err
	}
	q := question[Pairs]{people: r.people, call: string(r.Method), id: r.RequestID}
	q.java = func(ctx context.Context) (Pairs, error) { return m.ask(ctx, a.work.call(a.job.ID), r) }
	answer, err := fromJava(ctx, m, &q)
	var problem *javaclient.Error
	switch {
	case err == nil || !errors.As(err, &problem) || !ofService(problem.Code):
		return answer, err
	case a.job.Age < a.jobs.cfg.RetryFor:
		return Pairs{}, fmt.Errorf("%w: %w", errWaits, err)
	}
	return fallBack(ctx, m, err, func(ctx context.Context, reason javaclient.Code) (Pairs, error) {
		return m.matchHere(ctx, r, reason)
	})
}

// decide keeps what the request comes to, unless that was decided before, and returns what is kept.
func (a *attempt) decide(ctx context.Context, v verdict) ([]byte, error) {
	result, err := json.Marshal(v)
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
		case <-ctx.Done(): // The process ends, or the lease cannot be renewed.
			timer.Stop()
			return nil, err
		}
	}
}

// events makes the events that tell of it.
func (a *attempt) events(v *verdict) ([]Event, error) {
	if v.Pairs != nil {
		return completed(a.job.ID, &a.work, a.request.Type, v.Pairs)
	}
	if v.Failure == nil {
		v.Failure = &Failure{Code: codeInternal} // Nobody wrote that.
	}
	return failed(a.job, &a.work, a.request.Type, *v.Failure)
}

// later decides when a request is tried again of which nothing is decided.
func (a *attempt) later(ctx context.Context, err error) jobqueue.Outcome {
	var problem *javaclient.Error
	switch {
	case ctx.Err() != nil, errors.Is(err, jobqueue.ErrLost): // The process ends, or another has the request.
		return jobqueue.Wait(0, "")
	case errors.Is(err, errWaits) && errors.As(err, &problem):
		failure := a.jobs.cfg.Matcher.cause(problem)
		a.project(ctx, Queued, nil, &failure)
		// Not past the end of the patience, when the hub goes on without the service.
		pause := min(max(jobqueue.Backoff(a.job.Attempt), problem.RetryAfter), longestPause, a.jobs.cfg.RetryFor-a.job.Age)
		return jobqueue.Wait(pause, failure.text())
	}
	a.note(err)
	if errors.Is(err, ErrBusy) || errors.Is(err, ErrUnavailable) || errors.Is(err, jobqueue.ErrUnavailable) {
		return jobqueue.Wait(jobqueue.Backoff(a.job.Attempt), failureOf(err).text())
	}
	return jobqueue.Retry(jobqueue.Backoff(a.job.Attempt), failureOf(err).text())
}

// untold decides when it is tried again to tell of what was decided. When Redis is away or refuses, that is not the request's
// fault. What cannot be told to somebody in the end is a dead letter, whose retry tells the rest.
func (a *attempt) untold(ctx context.Context, v *verdict, err error) jobqueue.Outcome {
	failure := Failure{codeInternal, "Not everybody could be told."}
	switch {
	case ctx.Err() != nil:
		return jobqueue.Wait(0, failure.text())
	case errors.Is(err, ErrUnavailable):
		a.note(err)
		return jobqueue.Wait(jobqueue.Backoff(a.job.Attempt), failure.text())
	case a.job.Exhausted:
		a.note(err)
		return a.bury(ctx, v, &failure)
	}
	a.note(err)
	return jobqueue.Retry(jobqueue.Backoff(a.job.Attempt), failure.text())
}

// note tells the log why a request is tried again.
func (a *attempt) note(err error) {
	a.jobs.cfg.Logger.Warn("a request for matching is tried again", zap.String("request_id", a.job.ID), a.traceID(), zap.Error(err))
}

const (
	// longestPause bounds what the service may ask for.
	longestPause = time.Minute
	// shortestPause is the first pause when Redis does not answer.
	shortestPause = 100 * time.Millisecond
)

// bury makes the request a dead letter.
func (a *attempt) bury(ctx context.Context, v *verdict, failure *Failure) jobqueue.Outcome {
	a.jobs.count.failed.Add(1)
	a.jobs.cfg.Logger.Warn("a request for matching failed", zap.String("request_id", a.job.ID), a.traceID(),
		zap.String("code", failure.Code), zap.Int("attempts", a.job.Attempt))
	told := failure
	if v.Failure != nil {
		told = v.Failure // As Get tells it.
	}
	a.project(ctx, Failed, v.Pairs, told)
	return jobqueue.Bury(failure.text())
}
