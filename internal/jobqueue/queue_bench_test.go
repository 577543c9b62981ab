package jobqueue_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/jobqueue"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// BenchmarkEval is a script that does nothing, called once: what the others are measured by.
func BenchmarkEval(b *testing.B) {
	rdb := connect(b, redistest.Shared(b).URL())
	script := redis.NewScript("return {1}")
	for b.Loop() {
		if err := script.Run(b.Context(), rdb, []string{"a"}, "b").Err(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRound adds a job and waits until it was done and that is written: three calls.
func BenchmarkRound(b *testing.B) {
	for name, size := range map[string]int{"100B": 100, "100KiB": 100 << 10} {
		b.Run(name, func(b *testing.B) {
			round(b, []byte(strings.Repeat(`{"id":12345},`, size/13)), func(context.Context, *jobqueue.Job) {})
		})
	}
}

// BenchmarkUntilHandled adds a job and waits until its handler is called: two calls.
func BenchmarkUntilHandled(b *testing.B) {
	handled := make(chan struct{}, 1)
	q := open(b, redistest.Shared(b).URL(), jobqueue.Config{Prefix: redistest.Prefix(b), MaxWaiting: 1 << 30})
	start(b, q, 8, func(context.Context, *jobqueue.Job) jobqueue.Outcome {
		handled <- struct{}{}
		return jobqueue.Done()
	})
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		add(b, q, strconv.Itoa(n))
		<-handled
	}
}

// BenchmarkRoundDecided is BenchmarkRound with a decision.
func BenchmarkRoundDecided(b *testing.B) {
	round(b, []byte("payload"), func(ctx context.Context, job *jobqueue.Job) {
		if _, err := job.Decide(ctx, []byte("result")); err != nil {
			b.Error(err)
		}
	})
}

func round(b *testing.B, payload []byte, handle func(context.Context, *jobqueue.Job)) {
	b.Helper()
	url, prefix := redistest.Shared(b).URL(), redistest.Prefix(b)
	rdb, written := connect(b, url), make(finishes, 1)
	rdb.AddHook(written)
	q := open(b, url, jobqueue.Config{Redis: rdb, Prefix: prefix})
	start(b, q, 1, func(ctx context.Context, job *jobqueue.Job) jobqueue.Outcome {
		handle(ctx, job)
		return jobqueue.Done()
	})
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if _, _, err := q.Add(b.Context(), jobqueue.Add{ID: strconv.Itoa(n), Payload: payload}); err != nil {
			b.Fatal(err)
		}
		<-written
	}
}

// finishes is told when an outcome was written.
type finishes chan struct{}

func (f finishes) DialHook(next redis.DialHook) redis.DialHook { return next }

func (f finishes) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (f finishes) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if err == nil && slices.Contains(cmd.Args(), any("finish")) {
			f <- struct{}{}
		}
		return err
	}
}

// BenchmarkThroughput adds many jobs, which 8 workers do.
func BenchmarkThroughput(b *testing.B) {
	q := open(b, redistest.Shared(b).URL(), jobqueue.Config{Prefix: redistest.Prefix(b), MaxWaiting: 1 << 30})
	done := make(chan struct{}, 1024)
	start(b, q, 8, func(context.Context, *jobqueue.Job) jobqueue.Outcome {
		done <- struct{}{}
		return jobqueue.Done()
	})
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		add(b, q, strconv.Itoa(n))
		n++
	}
	for range n {
		<-done
	}
}
