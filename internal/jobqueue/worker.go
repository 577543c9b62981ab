package jobqueue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.uber.org/zap"
)

const (
	// pollEvery is how often jobs are looked for that other processes added.
	pollEvery = time.Second
	// shortestPause doubles, to longestPause, as long as Redis is away.
	shortestPause, longestPause = 50 * time.Millisecond, time.Second
)

// Handler does a job. Its context has the values of that of Start, and ends when the job's lease is lost or when the Queue is
// closed, and the handler must return then, soon. A panic is a Retry after Backoff.
type Handler func(ctx context.Context, job *Job) Outcome

// Start begins to handle jobs, so many at a time, until Close, whatever becomes of the context. It does not wait for Redis. A
// job that this Queue adds is handled at once if a worker is free; one that another adds, within a second. It returns
// ErrClosed after Close, and an error when it was called before.
func (q *Queue) Start(ctx context.Context, workers int, handle Handler) error {
	if workers < 1 {
		return fmt.Errorf("%w: there must be a worker", ErrInvalid)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return ErrClosed
	case q.started:
		return errors.New("jobqueue: it was started before")
	}
	q.started = true
	lasting := context.WithoutCancel(ctx)
	taking, stopTaking := context.WithCancel(lasting)
	handling, stopHandling := context.WithCancelCause(lasting)
	q.close = stopTaking
	ended := make(chan struct{})
	q.done.Go(func() {
		defer close(ended)
		q.work(taking, handling, workers, handle)
	})
	q.done.Go(func() {
		<-taking.Done()
		timer := time.NewTimer(q.cfg.Grace)
		defer timer.Stop()
		select {
		case <-ended:
		case <-timer.C:
		}
		stopHandling(ErrClosed)
	})
	return nil
}

// Close takes no more jobs, and lets handlers under way go on for Config.Grace. Then it ends their contexts, and releases the
// jobs of those that return Retry: they are due at once, and the attempt does not count. It returns when all have returned
// and their outcomes are written or, if Redis is away, were tried once more, so a handler that does not heed its context
// holds it up. It may be called twice, also when Start was not.
func (q *Queue) Close() {
	q.mu.Lock()
	q.closed = true
	if q.close != nil {
		q.close()
	}
	q.mu.Unlock()
	q.done.Wait()
}

// work takes jobs until taking ends, and returns when all handlers have.
func (q *Queue) work(taking, handling context.Context, workers int, handle Handler) {
	slots := make(chan struct{}, workers)
	defer func() {
		for range workers {
			slots <- struct{}{}
		}
	}()
	pause := shortestPause
	for number := int64(1); ; {
		select {
		case slots <- struct{}{}:
		case <-taking.Done():
			return
		}
		if taking.Err() != nil { // Both may come about at a time.
			<-slots
			return
		}
		// It is not cut when the taking ends: Redis could give a job to a connection that is gone.
		taken, wait, err := q.take(handling, number)
		q.outage.note(err)
		switch {
		case err != nil:
			// The next take has the same number, so it gets the job that this one may have taken.
			wait, pause = pause, min(2*pause, longestPause)
		default:
			pause = shortestPause
			number++
		}
		if taken != nil && taking.Err() != nil {
			q.settle(handling, taken, Outcome{kind: release})
			<-slots
			return
		}
		if taken != nil {
			q.done.Go(func() {
				defer func() { <-slots }()
				q.run(handling, taken, handle)
			})
			continue
		}
		<-slots
		if err != nil {
			rest(taking, wait, nil) // A job that was added does not bring Redis back.
		} else {
			rest(taking, wait, q.wake)
		}
	}
}

// rest waits for some time, at most until ctx ends or there is something in wake.
func rest(ctx context.Context, wait time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-wake:
	}
}

// taken is a job that was taken, and until when this process has it, by its own clock.
type taken struct {
	*Job
	until time.Time
}

// take takes a job that is due, or says how long to wait for one.
func (q *Queue) take(ctx context.Context, number int64) (job *taken, wait time.Duration, err error) {
	const doing = "taking a job"
	token := q.name + "." + strconv.FormatInt(number, 10)
	asked := time.Now()
	values, err := q.do(ctx, doing, 2, "take", "", token, number, q.cfg.Lease.Microseconds(), q.cfg.MaxAttempts+extraAttempts,
		"it was taken too often, and never came to an end", q.cfg.KeepDead.Milliseconds(), q.cfg.MaxDead)
	if err != nil {
		return nil, 0, err
	}
	if buried := values.number(0); buried > 0 {
		q.count.buried.Add(buried)
		q.cfg.Logger.Warn("jobs were buried that were taken too often", zap.Int64("jobs", buried))
	}
	if !values.has(2) {
		wait = values.duration(1)
		if wait < 0 || wait > pollEvery {
			wait = pollEvery
		}
		return nil, wait, nil
	}
	q.count.taken.Add(1)
	job = &taken{until: asked.Add(q.cfg.Lease), Job: &Job{
		ID: values.text(2), Attempt: int(values.number(3) + values.number(7)), Round: int(values.number(4)),
		CreatedAt: values.moment(5), Age: max(values.duration(8)-values.duration(6), 0), queue: q, token: token,
	}}
	job.Exhausted = values.number(3) > int64(q.cfg.MaxAttempts)
	if job.Payload, err = q.packer.Unpack(values.text(9)); err == nil && values.has(10) {
		job.Result, err = q.packer.Unpack(values.text(10))
	}
	if err != nil {
		q.settle(ctx, job, Bury(err.Error()))
		return nil, 0, nil
	}
	return job, 0, nil
}
