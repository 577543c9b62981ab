package jobqueue_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/connectbot-hub/connecthub/internal/jobqueue"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func TestDone(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		prefix := redistest.Prefix(t)
		q := open(t, url, jobqueue.Config{Prefix: prefix, KeepDone: time.Hour})
		jobs := make(chan *jobqueue.Job, 1)
		start(t, q, 1, func(ctx context.Context, job *jobqueue.Job) jobqueue.Outcome {
			jobs <- job
			if got, err := job.Decide(ctx, []byte("result")); err != nil || string(got) != "result" {
				t.Errorf("%q %v", got, err)
			}
			return jobqueue.Done()
		})
		add(t, q, "a")
		job := receive(t, "the job", jobs)
		status := becomes(t, q, "a", jobqueue.Finished)
		if job.ID != "a" || string(job.Payload) != "payload of a" || job.Attempt != 1 || job.Round != 0 || job.Exhausted || job.Result != nil ||
			!job.CreatedAt.Equal(status.CreatedAt) || job.Age < 0 || job.Age > long {
			t.Errorf("%+v", job)
		}
		if string(status.Result) != "result" || status.Attempts != 1 || !status.DueAt.IsZero() || !status.UpdatedAt.After(status.CreatedAt) {
			t.Errorf("%+v", status)
		}
		if _, err := q.Payload(t.Context(), "a"); !errors.Is(err, jobqueue.ErrNotFound) {
			t.Error("the payload is kept:", err)
		}
		if status, added, err := q.Add(t.Context(), jobqueue.Add{ID: "a"}); err != nil || added || string(status.Result) != "result" {
			t.Errorf("%+v %v %v", status, added, err)
		}
		if ttl := connect(t, url).TTL(t.Context(), prefix+":job:a").Val(); ttl <= time.Hour-long || ttl > time.Hour {
			t.Error("it is known for", ttl)
		}
		redistest.Eventually(t, long, "it is counted", func() bool {
			return q.Stats() == jobqueue.Stats{Added: 1, Taken: 1, Finished: 1}
		})
	})
}

func TestDoneIsForgotten(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		prefix := redistest.Prefix(t)
		q := open(t, url, jobqueue.Config{Prefix: prefix, KeepDone: time.Millisecond, Lease: time.Second})
		start(t, q, 1, done)
		add(t, q, "a")
		// The last is what process took what, for a lease.
		redistest.Eventually(t, long, "nothing is left", func() bool {
			return len(connect(t, url).Keys(t.Context(), prefix+"*").Val()) == 0
		})
	})
}

func TestRetry(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		q := open(t, url, jobqueue.Config{Prefix: redistest.Prefix(t)})
		jobs, outcomes := make(chan *jobqueue.Job), make(chan jobqueue.Outcome)
		start(t, q, 1, func(_ context.Context, job *jobqueue.Job) jobqueue.Outcome {
			jobs <- job
			return <-outcomes
		})
		add(t, q, "a")
		receive(t, "the job", jobs)
		if status := get(t, q, "a"); status.State != jobqueue.Running || time.Until(status.DueAt) > 31*time.Second {
			t.Errorf("%+v", status)
		}
		began := time.Now()
		outcomes <- jobqueue.Retry(50*time.Millisecond, "not yet")
		job := receive(t, "its second attempt", jobs)
		if took := time.Since(began); took < 50*time.Millisecond || job.Attempt != 2 || job.Age < 50*time.Millisecond {
			t.Errorf("after %v: %+v", took, job)
		}
		if status := get(t, q, "a"); status.Problem != "not yet" || status.Attempts != 2 {
			t.Errorf("%+v", status)
		}
		outcomes <- jobqueue.Retry(-time.Hour, strings.Repeat("я", 5000))
		receive(t, "its third attempt", jobs)
		if problem := get(t, q, "a").Problem; len(problem) < 1900 || len(problem) > 2000 || !utf8.ValidString(problem) {
			t.Errorf("%d bytes of the problem are kept", len(problem))
		}
		outcomes <- jobqueue.Retry(time.Hour, "later")
		if status := becomes(t, q, "a", jobqueue.Queued); time.Until(status.DueAt) < 59*time.Minute {
			t.Errorf("%+v", status)
		}
		// It is in nobody's way.
		add(t, q, "b")
		receive(t, "another job", jobs)
		outcomes <- jobqueue.Done()
		becomes(t, q, "b", jobqueue.Finished)
	})
}

// To wait is no attempt that counts: a job may do so more often than it may be tried.
func TestWait(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		q := open(t, url, jobqueue.Config{Prefix: redistest.Prefix(t), MaxAttempts: 1})
		exhausted := make(chan bool, 100)
		start(t, q, 1, func(_ context.Context, job *jobqueue.Job) jobqueue.Outcome {
			exhausted <- job.Exhausted
			switch {
			case job.Attempt < 6:
				return jobqueue.Wait(0, "the other side is away")
			case !job.Exhausted:
				return jobqueue.Retry(0, "failed")
			}
			return jobqueue.Bury("failed too often")
		})
		add(t, q, "a")
		if status := becomes(t, q, "a", jobqueue.Dead); status.Attempts != 7 {
			t.Errorf("%+v", status)
		}
		for i := range 7 {
			if got := receive(t, "an attempt", exhausted); got != (i == 6) {
				t.Errorf("attempt %d is exhausted: %t", i+1, got)
			}
		}
		if err := q.Revive(t.Context(), "a", false); err != nil {
			t.Fatal(err)
		}
		if status := becomes(t, q, "a", jobqueue.Dead); status.Attempts != 7 {
			t.Errorf("revived: %+v", status)
		}
	})
}

// An outcome that is nothing is a Retry with a wait, which does not keep a worker busy.
func TestZeroOutcome(t *testing.T) {
	t.Parallel()
	q := open(t, redistest.Shared(t).URL(), jobqueue.Config{Prefix: redistest.Prefix(t)})
	attempts := make(chan int, 10)
	start(t, q, 1, func(_ context.Context, job *jobqueue.Job) jobqueue.Outcome {
		attempts <- job.Attempt
		if job.Attempt == 2 {
			return jobqueue.Done()
		}
		return jobqueue.Outcome{}
	})
	add(t, q, "a")
	becomes(t, q, "a", jobqueue.Finished)
	if len(attempts) != 2 {
		t.Error(len(attempts), "attempts")
	}
}

func TestBuryAndRevive(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		q := open(t, url, jobqueue.Config{Prefix: redistest.Prefix(t)})
		start(t, q, 1, func(ctx context.Context, job *jobqueue.Job) jobqueue.Outcome {
			if job.Round == 1 {
				if string(job.Result) != "first" || job.Attempt != 1 || string(job.Payload) != "payload of a" {
					t.Errorf("%+v", job)
				}
				if got, err := job.Decide(ctx, []byte("second")); err != nil || string(got) != "first" {
					t.Errorf("%q %v", got, err)
				}
				return jobqueue.Done()
			}
			if _, err := job.Decide(ctx, []byte("first")); err != nil {
				t.Error(err)
			}
			return jobqueue.Bury("refused")
		})
		if err := q.Revive(t.Context(), "a", false); !errors.Is(err, jobqueue.ErrNotFound) {
			t.Error(err)
		}
		add(t, q, "a")
		status := becomes(t, q, "a", jobqueue.Dead)
		if status.Problem != "refused" || string(status.Result) != "first" || !status.DueAt.IsZero() {
			t.Errorf("%+v", status)
		}
		if payload, err := q.Payload(t.Context(), "a"); err != nil || string(payload) != "payload of a" {
			t.Errorf("%q %v", payload, err)
		}
		if _, added, err := q.Add(t.Context(), jobqueue.Add{ID: "a"}); err != nil || added {
			t.Error(added, err)
		}
		if waiting, dead, _, err := q.Depth(t.Context()); err != nil || waiting != 0 || dead != 1 {
			t.Error(waiting, dead, err)
		}
		if err := q.Revive(t.Context(), "a", false); err != nil {
			t.Fatal(err)
		}
		if status := becomes(t, q, "a", jobqueue.Finished); status.Round != 1 || string(status.Result) != "first" || status.Problem != "" {
			t.Errorf("%+v", status)
		}
		if err := q.Revive(t.Context(), "a", false); !errors.Is(err, jobqueue.ErrNotDead) {
			t.Error(err)
		}
	})
}

// The handler of a job that was taken too often is called once more, to tell.
func TestExhausted(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		q := open(t, url, jobqueue.Config{Prefix: redistest.Prefix(t), MaxAttempts: 3})
		calls := make(chan string, 10)
		start(t, q, 1, func(_ context.Context, job *jobqueue.Job) jobqueue.Outcome {
			calls <- fmt.Sprint(job.Attempt, job.Exhausted)
			return jobqueue.Retry(0, fmt.Sprint("problem ", job.Attempt))
		})
		add(t, q, "a")
		if status := becomes(t, q, "a", jobqueue.Dead); status.Attempts != 4 || status.Problem != "problem 4" {
			t.Errorf("%+v", status)
		}
		for _, want := range []string{"1 false", "2 false", "3 false", "4 true"} {
			if got := receive(t, want, calls); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		if len(calls) != 0 {
			t.Error(len(calls), "more calls")
		}
	})
}

// A job that takes down each process that tells of it is buried by the next one that would take it.
func TestExhaustedForGood(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		prefix := redistest.Prefix(t)
		logger, logs := observed()
		q := open(t, url, jobqueue.Config{Prefix: prefix, MaxAttempts: 2, Logger: logger})
		add(t, q, "a")
		if err := connect(t, url).HSet(t.Context(), prefix+":job:a", "attempts", 5).Err(); err != nil {
			t.Fatal(err)
		}
		start(t, q, 1, nobody(t))
		if status := becomes(t, q, "a", jobqueue.Dead); status.Problem == "" || status.Attempts != 5 {
			t.Errorf("%+v", status)
		}
		redistest.Eventually(t, long, "it is told", func() bool {
			return q.Stats() == jobqueue.Stats{Added: 1, Buried: 1} && logs.FilterMessageSnippet("too often").Len() == 1
		})
	})
}

func TestPoisonBlocksNobody(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		logger, logs := observed()
		q := open(t, url, jobqueue.Config{Prefix: redistest.Prefix(t), MaxAttempts: 2, Logger: logger})
		start(t, q, 1, func(_ context.Context, job *jobqueue.Job) jobqueue.Outcome {
			switch {
			case job.ID == "poison" && job.Attempt == 2:
				return jobqueue.Retry(time.Duration(1/len(job.Result)), "")
			case job.ID == "poison":
				panic(string(job.Payload))
			}
			return jobqueue.Done()
		})
		add(t, q, "poison")
		for i := range 20 {
			add(t, q, fmt.Sprint(i))
		}
		for i := range 20 {
			becomes(t, q, fmt.Sprint(i), jobqueue.Finished)
		}
		if status := becomes(t, q, "poison", jobqueue.Dead); status.Problem != "the handler panicked: a string" || status.Attempts != 3 {
			t.Errorf("%+v", status)
		}
		panics := logs.FilterMessage("the handler of a job panicked").All()
		if len(panics) != 3 || q.Stats().Panicked != 3 {
			t.Fatal(len(panics), "panics are logged")
		}
		for i, want := range []string{"a string", "runtime error: integer divide by zero", "a string"} {
			fields := panics[i].ContextMap()
			if stack, _ := fields["stack"].(string); fields["panic"] != want || !strings.Contains(stack, "outcome_test.go") ||
				strings.Contains(fmt.Sprint(fields), "payload of") {
				t.Errorf("%v", fields)
			}
		}
	})
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for attempts, most := range map[int]time.Duration{
		-1: time.Second, 0: time.Second, 1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 6: 30 * time.Second, 1000: 30 * time.Second,
	} {
		var longest time.Duration
		for range 1000 {
			pause := jobqueue.Backoff(attempts)
			if pause < 0 || pause > most {
				t.Fatalf("%d: %v", attempts, pause)
			}
			longest = max(longest, pause)
		}
		if longest < most/2 {
			t.Errorf("%d: at most %v", attempts, longest)
		}
	}
}
