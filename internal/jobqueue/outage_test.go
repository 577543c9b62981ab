package jobqueue_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/jobqueue"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// Redis is killed and started again while jobs are done. All are finished, each with the one result that was decided first.
func TestRedisRestarts(t *testing.T) {
	t.Parallel()
	const jobs = 100
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	logger, logs := observed()
	var told sync.Map // What a handler has told of each job.
	handle := func(ctx context.Context, job *jobqueue.Job) jobqueue.Outcome {
		result, err := job.Decide(ctx, fmt.Appendf(nil, "attempt %d", job.Attempt))
		if err != nil {
			return jobqueue.Retry(0, "no decision")
		}
		if before, known := told.LoadOrStore(job.ID, string(result)); known && before != string(result) {
			t.Errorf("%s: told %s and %s", job.ID, before, result)
		}
		return jobqueue.Done()
	}
	cfg := jobqueue.Config{Prefix: "jobs", Lease: 2 * time.Second, Timeout: time.Second, MaxAttempts: 1000}
	var queues []*jobqueue.Queue
	for i := range 2 {
		if i == 0 {
			cfg.Logger = logger
		}
		q := open(t, server.URL(), cfg)
		start(t, q, 2, handle)
		queues = append(queues, q)
		cfg.Logger = nil
	}
	adder := open(t, server.URL(), cfg)
	count := func(message string) int { return logs.FilterMessageSnippet(message).Len() }
	for n := range jobs {
		if n%25 == 10 {
			server.Kill()
			redistest.Eventually(t, long, "it is noticed", func() bool { return count("is away") > count("is back") })
			if err := queues[0].Check(t.Context()); !errors.Is(err, jobqueue.ErrUnavailable) {
				t.Error(err)
			}
			server.Restart()
			redistest.Eventually(t, long, "it is noticed again", func() bool { return count("is away") == count("is back") })
		}
		redistest.Eventually(t, long, "it is added", func() bool {
			_, _, err := adder.Add(t.Context(), jobqueue.Add{ID: fmt.Sprint(n)})
			return err == nil
		})
	}
	for n := range jobs {
		status := becomes(t, adder, fmt.Sprint(n), jobqueue.Finished)
		if result, _ := told.Load(status.ID); result != string(status.Result) {
			t.Errorf("%s: told %s, kept %s", status.ID, result, status.Result)
		}
	}
	redistest.Eventually(t, long, "it is well", func() bool { return queues[0].Check(t.Context()) == nil })
	if away := count("is away"); away != count("is back") || away < 4 || away > 8 {
		t.Errorf("away is logged %d times, back %d", away, count("is back"))
	}
	for _, entry := range logs.All() {
		if strings.Contains(fmt.Sprint(entry.ContextMap()), "payload") {
			t.Error(entry)
		}
	}
}

// Redis hangs while handlers end and jobs are taken. What it did after nobody waited for it any more costs no job a lease.
func TestRedisHangs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg := jobqueue.Config{Lease: time.Hour, Timeout: 100 * time.Millisecond}
	handled := make(chan string, 100)
	for range 3 {
		start(t, open(t, server.URL(), cfg), 2, func(_ context.Context, job *jobqueue.Job) jobqueue.Outcome {
			handled <- job.ID
			return jobqueue.Done()
		})
	}
	cfg.Timeout = 0
	adder := open(t, server.URL(), cfg)
	for round := range 5 {
		for n := range 8 {
			add(t, adder, fmt.Sprint(round, ".", n))
		}
		receive(t, "a job", handled)
		server.Pause()
		// Those who take and finish jobs give it up in the meantime.
		if _, err := open(t, server.URL(), jobqueue.Config{Timeout: 300 * time.Millisecond}).Get(t.Context(), "a"); !errors.Is(err, jobqueue.ErrUnavailable) {
			t.Error(err)
		}
		server.Resume()
		for n := range 8 {
			if status := becomes(t, adder, fmt.Sprint(round, ".", n), jobqueue.Finished); status.Attempts != 1 {
				t.Errorf("%+v", status)
			}
		}
	}
}

// An outcome waits for Redis as long as the lease lasts.
func TestOutcomeWaitsForRedis(t *testing.T) {
	t.Parallel()
	url := redistest.Shared(t).URL()
	cfg := jobqueue.Config{Prefix: redistest.Prefix(t)}
	watcher := open(t, url, cfg)
	rdb, line := overLine(t, url)
	cfg.Redis = rdb
	logger, logs := observed()
	cfg.Logger = logger
	q := open(t, url, cfg)
	handle, jobs, outcomes := holder()
	start(t, q, 1, handle)
	add(t, q, "a")
	receive(t, "the job", jobs)
	line.set(true)
	outcomes <- jobqueue.Done()
	redistest.Eventually(t, long, "the outage is logged", func() bool { return logs.FilterMessageSnippet("is away").Len() == 1 })
	line.set(false)
	if status := becomes(t, watcher, "a", jobqueue.Finished); status.Attempts != 1 {
		t.Errorf("%+v", status)
	}
	redistest.Eventually(t, long, "the end of the outage is logged", func() bool { return logs.FilterMessageSnippet("is back").Len() == 1 })
	if logs.Len() != 2 {
		t.Error(logs.All())
	}
}

// Without Redis, Close does not wait for a lease to end.
func TestCloseWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	q := open(t, server.URL(), jobqueue.Config{Grace: time.Millisecond, Lease: time.Hour})
	handle, jobs, outcomes := holder()
	start(t, q, 1, handle)
	add(t, q, "a")
	job := receive(t, "the job", jobs)
	server.Kill()
	go func() {
		<-job.ctx.Done()
		outcomes <- jobqueue.Retry(0, "")
	}()
	q.Close()
	if stats := q.Stats(); stats.Lost != 1 {
		t.Errorf("%+v", stats)
	}
}

// Redis without memory refuses new jobs, and lets those be done that are there.
func TestRedisOutOfMemory(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	q := open(t, server.URL(), jobqueue.Config{Lease: time.Hour})
	for _, id := range []string{"done", "retried", "buried"} {
		add(t, q, id)
	}
	if err := server.Client().ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := q.Add(t.Context(), jobqueue.Add{ID: "a"}); !errors.Is(err, jobqueue.ErrUnavailable) {
		t.Error(err)
	}
	start(t, q, 1, func(_ context.Context, job *jobqueue.Job) jobqueue.Outcome {
		if job.ID == "buried" {
			return jobqueue.Bury("x")
		}
		if job.ID == "retried" && job.Attempt == 1 {
			return jobqueue.Retry(0, "")
		}
		return jobqueue.Done()
	})
	becomes(t, q, "done", jobqueue.Finished)
	becomes(t, q, "retried", jobqueue.Finished)
	becomes(t, q, "buried", jobqueue.Dead)
	if err := q.Revive(t.Context(), "buried", false); err != nil {
		t.Error(err)
	}
}
