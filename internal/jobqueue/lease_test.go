package jobqueue_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/jobqueue"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// held is a job whose handler waits.
type held struct {
	ctx context.Context //nolint:containedctx // It is looked at, not used.
	job *jobqueue.Job
}

// holder returns a handler that hands its jobs out and waits until it is told what became of them, also when its context
// has ended: a process that does not notice.
func holder() (jobqueue.Handler, chan held, chan jobqueue.Outcome) {
	jobs, outcomes := make(chan held, 10), make(chan jobqueue.Outcome)
	return func(ctx context.Context, job *jobqueue.Job) jobqueue.Outcome {
		jobs <- held{ctx, job}
		return <-outcomes
	}, jobs, outcomes
}

// A process is cut off in the middle of a job. Another finishes it, with what the first has decided, and the first can do
// nothing more when it is back.
func TestDeadProcess(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		cfg := jobqueue.Config{Prefix: redistest.Prefix(t), Lease: 300 * time.Millisecond}
		heir := open(t, url, cfg)
		rdb, line := overLine(t, url)
		cfg.Redis = rdb
		dying := open(t, url, cfg)
		handle, jobs, outcomes := holder()
		start(t, dying, 1, handle)
		add(t, dying, "a")
		first := receive(t, "the job", jobs)
		if got, err := first.job.Decide(t.Context(), []byte("first")); err != nil || string(got) != "first" {
			t.Fatal(err)
		}
		heirs, taken, itsOutcomes := holder()
		start(t, heir, 1, heirs)
		add(t, heir, "b") // Only to know that it looks for jobs.
		receive(t, "another job", taken)
		itsOutcomes <- jobqueue.Done()

		line.set(true)
		<-first.ctx.Done()
		if cause := context.Cause(first.ctx); !errors.Is(cause, jobqueue.ErrLost) {
			t.Error(cause)
		}
		second := receive(t, "the job of the dead process", taken)
		if second.job.ID != "a" || second.job.Attempt != 2 || string(second.job.Result) != "first" {
			t.Errorf("%+v", second.job)
		}
		if got, err := second.job.Decide(t.Context(), []byte("second")); err != nil || string(got) != "first" {
			t.Errorf("%q %v", got, err)
		}
		if _, err := first.job.Decide(t.Context(), []byte("third")); !errors.Is(err, jobqueue.ErrUnavailable) {
			t.Error(err)
		}
		line.set(false)
		if _, err := first.job.Decide(t.Context(), []byte("third")); !errors.Is(err, jobqueue.ErrLost) {
			t.Error(err)
		}
		outcomes <- jobqueue.Bury("the dead may not")
		redistest.Eventually(t, long, "it is lost", func() bool { return dying.Stats().Lost == 1 })
		if status := get(t, heir, "a"); status.State != jobqueue.Running || status.Attempts != 2 {
			t.Errorf("%+v", status)
		}
		itsOutcomes <- jobqueue.Done()
		if status := becomes(t, heir, "a", jobqueue.Finished); string(status.Result) != "first" {
			t.Errorf("%+v", status)
		}
		if stats := dying.Stats(); stats != (jobqueue.Stats{Added: 1, Taken: 1, Lost: 1}) {
			t.Errorf("%+v", stats)
		}
	})
}

// A lease is renewed for as long as the job takes.
func TestLeaseIsRenewed(t *testing.T) {
	t.Parallel()
	url, prefix := redistest.Shared(t).URL(), redistest.Prefix(t)
	cfg := jobqueue.Config{Prefix: prefix, Lease: 2 * time.Second}
	q, other := open(t, url, cfg), open(t, url, cfg)
	handle, jobs, outcomes := holder()
	start(t, q, 1, handle)
	add(t, q, "a")
	first := receive(t, "the job", jobs)
	start(t, other, 1, nobody(t))
	due := get(t, q, "a").DueAt
	for range 3 {
		redistest.Eventually(t, long, "it is renewed", func() bool { return get(t, q, "a").DueAt.After(due) })
		due = get(t, q, "a").DueAt
	}
	if first.ctx.Err() != nil {
		t.Error(context.Cause(first.ctx))
	}
	outcomes <- jobqueue.Done()
	becomes(t, q, "a", jobqueue.Finished)
}

// A process that was stopped for long hears at its next renewal that the job is another's.
func TestRenewalTellsOfTheLoss(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		prefix := redistest.Prefix(t)
		q := open(t, url, jobqueue.Config{Prefix: prefix, Lease: 600 * time.Millisecond})
		handle, jobs, outcomes := holder()
		start(t, q, 1, handle)
		add(t, q, "a")
		job := receive(t, "the job", jobs)
		rdb, key := connect(t, url), prefix+":job:a"
		if err := rdb.HSet(t.Context(), key, "token", "of another").Err(); err != nil {
			t.Fatal(err)
		}
		<-job.ctx.Done()
		if cause := context.Cause(job.ctx); !errors.Is(cause, jobqueue.ErrLost) {
			t.Error(cause)
		}
		outcomes <- jobqueue.Done()
		redistest.Eventually(t, long, "it is lost", func() bool { return q.Stats().Lost == 1 })
		if state := rdb.HGet(t.Context(), key, "state").Val(); state != "running" {
			t.Error("it is", state)
		}
	})
}

// A job that is deleted under a handler is lost as well, and does not keep others from being taken.
func TestDeletedJob(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		prefix := redistest.Prefix(t)
		q := open(t, url, jobqueue.Config{Prefix: prefix, Lease: 300 * time.Millisecond})
		handle, jobs, outcomes := holder()
		start(t, q, 1, handle)
		add(t, q, "a")
		job := receive(t, "the job", jobs)
		add(t, q, "b")
		add(t, q, "c")
		if err := connect(t, url).Del(t.Context(), prefix+":job:a", prefix+":job:b").Err(); err != nil {
			t.Fatal(err)
		}
		<-job.ctx.Done()
		outcomes <- jobqueue.Done()
		if next := receive(t, "the next job", jobs); next.job.ID != "c" {
			t.Error(next.job.ID)
		}
		outcomes <- jobqueue.Done()
		becomes(t, q, "c", jobqueue.Finished)
		redistest.Eventually(t, long, "nothing waits", func() bool {
			waiting, _, oldest, err := q.Depth(t.Context())
			return err == nil && waiting == 0 && oldest == 0
		})
	})
}

func TestDamagedJobIsBuried(t *testing.T) {
	t.Parallel()
	url, prefix := redistest.Shared(t).URL(), redistest.Prefix(t)
	q := open(t, url, jobqueue.Config{Prefix: prefix})
	add(t, q, "a")
	if err := connect(t, url).HSet(t.Context(), prefix+":job:a", "payload", "zz").Err(); err != nil {
		t.Fatal(err)
	}
	start(t, q, 1, nobody(t))
	if status := becomes(t, q, "a", jobqueue.Dead); status.Problem == "" {
		t.Errorf("%+v", status)
	}
	if _, err := q.Payload(t.Context(), "a"); err == nil {
		t.Error("its payload is shown")
	}
}

func TestDecideRefusesWhatIsTooLarge(t *testing.T) {
	t.Parallel()
	q := open(t, redistest.Shared(t).URL(), jobqueue.Config{Prefix: redistest.Prefix(t)})
	start(t, q, 1, func(ctx context.Context, job *jobqueue.Job) jobqueue.Outcome {
		if _, err := job.Decide(ctx, make([]byte, jobqueue.MaxSize+1)); !errors.Is(err, jobqueue.ErrInvalid) {
			t.Error(err)
		}
		if got, err := job.Decide(ctx, nil); err != nil || got == nil || len(got) != 0 {
			t.Error(got, err)
		}
		return jobqueue.Done()
	})
	add(t, q, "a")
	if status := becomes(t, q, "a", jobqueue.Finished); status.Result == nil || len(status.Result) != 0 {
		t.Errorf("%+v", status)
	}
}
