package jobqueue_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/jobqueue"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// Three processes share the jobs that all of them add.
func TestEachJobIsFinishedOnce(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		const jobs = 300
		prefix := redistest.Prefix(t)
		var finished sync.Map // How often, by id.
		var running, most [3]atomic.Int64
		var queues []*jobqueue.Queue
		for i := range 3 {
			q := open(t, url, jobqueue.Config{Prefix: prefix})
			queues = append(queues, q)
			start(t, q, 2, func(_ context.Context, job *jobqueue.Job) jobqueue.Outcome {
				now := running[i].Add(1)
				defer running[i].Add(-1)
				most[i].Store(max(most[i].Load(), now))
				n, _ := finished.LoadOrStore(job.ID, new(atomic.Int64))
				if count, ok := n.(*atomic.Int64); !ok || count.Add(1) != int64(job.Attempt) || job.Attempt > 2 {
					t.Error(job.ID, "is handled too often")
				}
				if job.Attempt == 1 && len(job.ID)%2 == 0 {
					return jobqueue.Retry(time.Millisecond, "once more")
				}
				return jobqueue.Done()
			})
		}
		var adders sync.WaitGroup
		for _, q := range queues {
			adders.Go(func() {
				for n := range jobs { // Each adds all of them.
					if _, _, err := q.Add(t.Context(), jobqueue.Add{ID: fmt.Sprint(n)}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		adders.Wait()
		redistest.Eventually(t, long, "all are done", func() bool {
			waiting, _, oldest, err := queues[0].Depth(t.Context())
			return err == nil && waiting == 0 && oldest == 0
		})
		var sum jobqueue.Stats
		for i, q := range queues {
			q.Close()
			s := q.Stats()
			sum.Added += s.Added
			sum.Taken += s.Taken
			sum.Finished += s.Finished
			sum.Retried += s.Retried
			sum.Lost += s.Lost
			if most[i].Load() > 2 {
				t.Error(most[i].Load(), "jobs at a time")
			}
		}
		if sum != (jobqueue.Stats{Added: jobs, Taken: jobs + 90, Finished: jobs, Retried: 90}) {
			t.Errorf("%+v", sum)
		}
	})
}

func TestBusyWorkersTakeNothing(t *testing.T) {
	t.Parallel()
	url, prefix := redistest.Shared(t).URL(), redistest.Prefix(t)
	busy, idle := open(t, url, jobqueue.Config{Prefix: prefix}), open(t, url, jobqueue.Config{Prefix: prefix})
	first, goOn := make(chan string, 10), make(chan struct{})
	start(t, busy, 1, func(_ context.Context, job *jobqueue.Job) jobqueue.Outcome {
		first <- job.ID
		<-goOn
		return jobqueue.Done()
	})
	add(t, busy, "a")
	receive(t, "the first job", first)
	add(t, busy, "b")
	start(t, idle, 1, done)
	becomes(t, idle, "b", jobqueue.Finished)
	close(goOn)
	becomes(t, idle, "a", jobqueue.Finished)
	if len(first) != 0 {
		t.Error("a busy process took a job")
	}
}

func TestStartTwice(t *testing.T) {
	t.Parallel()
	q := open(t, redistest.Shared(t).URL(), jobqueue.Config{Prefix: redistest.Prefix(t)})
	if err := q.Start(t.Context(), 0, nobody(t)); !errors.Is(err, jobqueue.ErrInvalid) {
		t.Error(err)
	}
	start(t, q, 1, done)
	if err := q.Start(t.Context(), 1, nobody(t)); err == nil {
		t.Error("it was started twice")
	}
}

// What ends the context of Start does not end the work, and handlers have its values.
func TestStartOutlivesItsContext(t *testing.T) {
	t.Parallel()
	type key struct{}
	q := open(t, redistest.Shared(t).URL(), jobqueue.Config{Prefix: redistest.Prefix(t)})
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	values := make(chan any, 1)
	if err := q.Start(ctx, 1, func(ctx context.Context, _ *jobqueue.Job) jobqueue.Outcome {
		values <- ctx.Value(key{})
		if ctx.Err() != nil {
			t.Error(ctx.Err())
		}
		return jobqueue.Done()
	}); err != nil {
		t.Fatal(err)
	}
	cancel()
	add(t, q, "a")
	if value := receive(t, "the job", values); value != "value" {
		t.Error(value)
	}
}

// A job that this process adds does not wait until it looks for jobs by itself, which is each second.
func TestOwnJobsAreHandledAtOnce(t *testing.T) {
	t.Parallel()
	q := open(t, redistest.Shared(t).URL(), jobqueue.Config{Prefix: redistest.Prefix(t)})
	handled := make(chan time.Time, 1)
	start(t, q, 1, func(context.Context, *jobqueue.Job) jobqueue.Outcome {
		handled <- time.Now()
		return jobqueue.Done()
	})
	best := time.Hour
	for n := range 10 {
		began := time.Now()
		add(t, q, fmt.Sprint(n))
		best = min(best, receive(t, "the job", handled).Sub(began))
		becomes(t, q, fmt.Sprint(n), jobqueue.Finished)
	}
	if best > 100*time.Millisecond {
		t.Error("the quickest took", best)
	}
}

func TestCloseWaitsForHandlers(t *testing.T) {
	t.Parallel()
	q := open(t, redistest.Shared(t).URL(), jobqueue.Config{Prefix: redistest.Prefix(t), Grace: long})
	handling, goOn := make(chan context.Context, 2), make(chan struct{})
	start(t, q, 1, func(ctx context.Context, _ *jobqueue.Job) jobqueue.Outcome {
		handling <- ctx
		<-goOn
		if ctx.Err() != nil {
			t.Error(context.Cause(ctx))
		}
		return jobqueue.Done()
	})
	add(t, q, "a")
	add(t, q, "b")
	receive(t, "the job", handling)
	var closed [2]chan struct{}
	for i := range closed {
		closed[i] = make(chan struct{})
		go func() {
			defer close(closed[i])
			q.Close()
		}()
	}
	redistest.Eventually(t, long, "it is closed", func() bool {
		_, _, err := q.Add(t.Context(), jobqueue.Add{ID: "b"})
		return errors.Is(err, jobqueue.ErrClosed)
	})
	select {
	case <-closed[0]:
		t.Error("Close did not wait")
	default:
	}
	close(goOn)
	<-closed[0]
	<-closed[1]
	if a, b := get(t, q, "a"), get(t, q, "b"); a.State != jobqueue.Finished || b.State != jobqueue.Queued {
		t.Errorf("%+v\n%+v", a, b)
	}
}

// What has not come to an end after the grace is another process's, at once and as if it had not been tried.
func TestCloseReleases(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		prefix := redistest.Prefix(t)
		cfg := jobqueue.Config{Prefix: prefix, Grace: 50 * time.Millisecond, Lease: time.Hour, MaxAttempts: 1}
		closing, other := open(t, url, cfg), open(t, url, cfg)
		causes := make(chan error, 4)
		start(t, closing, 4, func(ctx context.Context, job *jobqueue.Job) jobqueue.Outcome {
			causes <- nil
			<-ctx.Done()
			causes <- context.Cause(ctx)
			switch job.ID {
			case "done":
				return jobqueue.Done()
			case "buried":
				return jobqueue.Bury("x")
			case "panicked":
				panic("x")
			}
			return jobqueue.Retry(time.Hour, "later")
		})
		for _, id := range []string{"done", "buried", "panicked", "retried"} {
			add(t, closing, id)
			if err := receive(t, id, causes); err != nil {
				t.Fatal(err)
			}
		}
		closing.Close()
		for range 4 {
			if err := receive(t, "the end of a context", causes); !errors.Is(err, jobqueue.ErrClosed) {
				t.Error(err)
			}
		}
		if stats := closing.Stats(); stats != (jobqueue.Stats{Added: 4, Taken: 4, Finished: 1, Buried: 1, Released: 2, Panicked: 1}) {
			t.Errorf("%+v", stats)
		}
		if get(t, other, "done").State != jobqueue.Finished || get(t, other, "buried").State != jobqueue.Dead {
			t.Error("outcomes were lost")
		}
		if status := get(t, other, "retried"); status.Attempts != 0 || status.Problem != "" {
			t.Errorf("%+v", status)
		}
		start(t, other, 1, func(_ context.Context, job *jobqueue.Job) jobqueue.Outcome {
			if job.Attempt != 1 || job.Exhausted {
				t.Errorf("%+v", job)
			}
			return jobqueue.Done()
		})
		becomes(t, other, "panicked", jobqueue.Finished)
		becomes(t, other, "retried", jobqueue.Finished)
	})
}

// A job that Redis has given to a process that closes meanwhile is given back, and not handled.
func TestCloseGivesBackWhatItIsGiven(t *testing.T) {
	t.Parallel()
	url := redistest.Shared(t).URL()
	cfg := jobqueue.Config{Prefix: redistest.Prefix(t), Lease: time.Hour}
	other := open(t, url, cfg)
	rdb, line := overLine(t, url)
	cfg.Redis = rdb
	q := open(t, url, cfg)
	add(t, other, "a")
	if err := rdb.Ping(t.Context()).Err(); err != nil { // To be connected.
		t.Fatal(err)
	}
	line.gate.Lock()
	letThrough := sync.OnceFunc(line.gate.Unlock)
	defer letThrough()
	start(t, q, 1, nobody(t))
	becomes(t, other, "a", jobqueue.Running)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		q.Close()
	}()
	redistest.Eventually(t, long, "it is closed", func() bool {
		_, _, err := q.Add(t.Context(), jobqueue.Add{})
		return errors.Is(err, jobqueue.ErrClosed)
	})
	letThrough()
	<-closed
	if status := get(t, other, "a"); status.State != jobqueue.Queued || status.Attempts != 0 {
		t.Errorf("%+v", status)
	}
}

// Jobs move from process to process while these come and go, and each is finished once.
func TestProcessesComeAndGo(t *testing.T) {
	t.Parallel()
	const jobs = 200
	url, prefix := redistest.Shared(t).URL(), redistest.Prefix(t)
	watcher := open(t, url, jobqueue.Config{Prefix: prefix})
	for n := range jobs {
		add(t, watcher, fmt.Sprint(n))
	}
	var finished atomic.Int64
	var holders [jobs]atomic.Int64
	for finished.Load() < jobs {
		q := open(t, url, jobqueue.Config{Prefix: prefix, Grace: time.Millisecond, Lease: time.Hour})
		some := make(chan struct{}, jobs)
		start(t, q, 4, func(ctx context.Context, job *jobqueue.Job) jobqueue.Outcome {
			var n int
			if _, err := fmt.Sscan(job.ID, &n); err != nil || holders[n].Add(1) != 1 || job.Attempt != 1 {
				t.Error(job.ID, job.Attempt, "is at two places", err)
			}
			defer holders[n].Add(-1)
			some <- struct{}{}
			if n%4 == 0 && len(some) > 8 {
				<-ctx.Done()
				return jobqueue.Retry(0, "")
			}
			finished.Add(1)
			return jobqueue.Done()
		})
		redistest.Eventually(t, long, "it did some", func() bool { return len(some) > 8 || finished.Load() == jobs })
		q.Close()
		if s := q.Stats(); s.Lost != 0 || s.Retried != 0 || s.Taken != s.Finished+s.Released {
			t.Errorf("%+v", s)
		}
	}
	if waiting, dead, _, err := watcher.Depth(t.Context()); waiting != 0 || dead != 0 || err != nil || finished.Load() != jobs {
		t.Error(waiting, dead, err, finished.Load())
	}
}
