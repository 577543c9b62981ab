package jobqueue_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/jobqueue"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func TestDeadJobsAreListed(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		q := open(t, url, jobqueue.Config{Prefix: redistest.Prefix(t), MaxDead: 10})
		for n := range 12 {
			add(t, q, fmt.Sprint("a.", n))
		}
		start(t, q, 1, func(ctx context.Context, job *jobqueue.Job) jobqueue.Outcome {
			if _, err := job.Decide(ctx, []byte("result")); err != nil {
				t.Error(err)
			}
			return jobqueue.Bury("problem")
		})
		becomes(t, q, "a.11", jobqueue.Dead)
		var ids []string
		cursor := ""
		for pages := 0; pages == 0 || cursor != ""; pages++ {
			page, err := q.ListDead(t.Context(), cursor, 4)
			if err != nil {
				t.Fatal(err)
			}
			for _, status := range page.Jobs {
				ids = append(ids, status.ID)
				if status.State != jobqueue.Dead || status.Problem != "problem" || status.Attempts != 1 || status.Result != nil {
					t.Errorf("%+v", status)
				}
			}
			cursor = page.Next
		}
		if got := fmt.Sprint(ids); got != "[a.11 a.10 a.9 a.8 a.7 a.6 a.5 a.4 a.3 a.2]" {
			t.Error(got)
		}
		// The oldest are gone, and may come again.
		if _, err := q.Get(t.Context(), "a.0"); !errors.Is(err, jobqueue.ErrNotFound) {
			t.Error(err)
		}
		if page, err := q.ListWaiting(t.Context(), "", 1); err != nil || len(page.Jobs) != 0 || page.Next != "" {
			t.Errorf("%+v %v", page, err)
		}
	})
}

func TestDeadJobsGo(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		prefix := redistest.Prefix(t)
		q := open(t, url, jobqueue.Config{Prefix: prefix, KeepDead: 100 * time.Millisecond})
		start(t, q, 1, func(context.Context, *jobqueue.Job) jobqueue.Outcome { return jobqueue.Bury("x") })
		for _, id := range []string{"a", "b"} {
			add(t, q, id)
			becomes(t, q, id, jobqueue.Dead)
			redistest.Eventually(t, long, "it is forgotten", func() bool {
				_, err := q.Get(t.Context(), id)
				return errors.Is(err, jobqueue.ErrNotFound)
			})
			if _, dead, _, err := q.Depth(t.Context()); err != nil || dead != 0 {
				t.Error(dead, err)
			}
			if page, err := q.ListDead(t.Context(), "", 10); err != nil || len(page.Jobs) != 0 {
				t.Errorf("%+v %v", page, err)
			}
		}
	})
}

func TestWaitingJobsAreListed(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		q := open(t, url, jobqueue.Config{Prefix: redistest.Prefix(t)})
		handle, jobs, outcomes := holder()
		start(t, q, 1, handle)
		add(t, q, "retried")
		receive(t, "the job", jobs)
		add(t, q, "running")
		outcomes <- jobqueue.Retry(time.Hour, "later")
		receive(t, "the next job", jobs)
		for n := range 3 {
			add(t, q, fmt.Sprint("queued.", n))
		}
		first, err := q.ListWaiting(t.Context(), "", 2)
		if err != nil || len(first.Jobs) != 2 || first.Next == "" {
			t.Fatalf("%+v %v", first, err)
		}
		// The page that follows is the same when the last job of the page before has gone.
		outcomes <- jobqueue.Done()
		receive(t, "queued.0", jobs)
		outcomes <- jobqueue.Done()
		receive(t, "queued.1", jobs)
		second, err := q.ListWaiting(t.Context(), first.Next, 1000)
		if err != nil || second.Next != "" {
			t.Fatalf("%+v %v", second, err)
		}
		got := ""
		for _, status := range append(first.Jobs, second.Jobs...) {
			got += status.ID + " " + string(status.State) + ", "
		}
		if got != "queued.0 queued, queued.1 queued, queued.2 queued, queued.1 running, retried queued, " {
			t.Error(got)
		}
		waiting, dead, oldest, err := q.Depth(t.Context())
		if status := get(t, q, "retried"); err != nil || waiting != 3 || dead != 0 || oldest <= 0 || oldest > time.Since(status.CreatedAt)+time.Second {
			t.Error(waiting, dead, oldest, err)
		}
		outcomes <- jobqueue.Done()
		receive(t, "queued.2", jobs)
		outcomes <- jobqueue.Done()
	})
}

func TestListsRefuse(t *testing.T) {
	t.Parallel()
	q := open(t, redistest.Shared(t).URL(), jobqueue.Config{Prefix: redistest.Prefix(t)})
	for _, limit := range []int{-1, 0, jobqueue.MaxPage + 1} {
		if _, err := q.ListDead(t.Context(), "", limit); !errors.Is(err, jobqueue.ErrInvalid) {
			t.Error(limit, err)
		}
	}
	for _, cursor := range []string{"x", "dead", "dead.", "dead.1", "dead.1.", "dead.x.a", "dead.-1.a", "dead.1.a b", "waiting.1.a", "dead.9223372036854775808.a"} {
		if _, err := q.ListDead(t.Context(), cursor, 1); !errors.Is(err, jobqueue.ErrBadCursor) {
			t.Error(cursor, err)
		}
	}
	if _, err := q.ListWaiting(t.Context(), "dead.1.a", 1); !errors.Is(err, jobqueue.ErrBadCursor) {
		t.Error(err)
	}
	if page, err := q.ListDead(t.Context(), "dead.1.a", 1); err != nil || len(page.Jobs) != 0 {
		t.Errorf("%+v %v", page, err)
	}
}

// FuzzCursor lists with what a client may send.
func FuzzCursor(f *testing.F) {
	f.Add("dead.1795310786325925.a")
	f.Add("dead.1.a.b")
	f.Add("dead.(inf.a")
	q := open(f, redistest.Shared(f).URL(), jobqueue.Config{Prefix: redistest.Prefix(f)})
	f.Fuzz(func(t *testing.T, cursor string) {
		if page, err := q.ListDead(t.Context(), cursor, 1); err != nil && !errors.Is(err, jobqueue.ErrBadCursor) || len(page.Jobs) > 0 {
			t.Errorf("%+v %v", page, err)
		}
	})
}
