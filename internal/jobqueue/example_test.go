package jobqueue_test

import (
	"context"
	"fmt"

	"github.com/connectbot-hub/connecthub/internal/jobqueue"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
)

// A handler decides on what is random before it tells anybody, so that it tells the same when it is called again.
func ExampleJob_Decide() {
	server, err := redisconn.StartEmbedded("127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	rdb, err := redisconn.Open(server.URL())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = rdb.Close() }()
	queue, err := jobqueue.New(jobqueue.Config{Redis: rdb})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer queue.Close()

	told := make(chan string)
	err = queue.Start(context.Background(), 1, func(ctx context.Context, job *jobqueue.Job) jobqueue.Outcome {
		result, err := job.Decide(ctx, fmt.Appendf(nil, "%s, decided by attempt %d", job.Payload, job.Attempt))
		if err != nil {
			return jobqueue.Retry(jobqueue.Backoff(job.Attempt), "no decision")
		}
		told <- string(result)
		if job.Attempt == 1 {
			return jobqueue.Retry(0, "nobody knows whether they heard it")
		}
		return jobqueue.Done()
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, _, err := queue.Add(context.Background(), jobqueue.Add{ID: "week-47", Payload: []byte("pairs")}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(<-told)
	fmt.Println(<-told)
	// Output:
	// pairs, decided by attempt 1
	// pairs, decided by attempt 1
}
