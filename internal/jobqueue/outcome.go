package jobqueue

import (
	"math/rand/v2"
	"strings"
	"time"
)

// maxProblem bounds the text of a problem, in bytes.
const maxProblem = 2000

// Outcome is what a handler makes of a job: Done, Retry, Wait or Bury. The zero Outcome is a Retry after Backoff, with no problem
// told.
type Outcome struct {
	kind    string
	after   time.Duration
	problem string
}

// The outcomes in the words of queue.lua. A job is released when its process closes before it has come to an end.
const (
	done    = "done"
	retry   = "retry"
	wait    = "wait"
	bury    = "bury"
	release = "release"
)

// Done says that a job is done: its payload is deleted, and its id and result are known for Config.KeepDone.
func Done() Outcome { return Outcome{kind: done} }

// Retry says that a job is to be taken again after some time, at once if that is 0 or less. The problem is shown to operators
// and kept in Redis, so it must hold nothing personal; 2000 bytes of it are kept. An exhausted job is buried instead.
func Retry(after time.Duration, problem string) Outcome {
	return Outcome{kind: retry, after: max(after, 0), problem: cut(problem)}
}

// Wait is as Retry, but for an attempt that was not the job's fault: it does not count towards Config.MaxAttempts.
func Wait(after time.Duration, problem string) Outcome {
	return Outcome{kind: wait, after: max(after, 0), problem: cut(problem)}
}

// Bury says that a job is not to be tried again unless an operator revives it. The problem is as that of Retry.
func Bury(problem string) Outcome { return Outcome{kind: bury, problem: cut(problem)} }

func cut(problem string) string {
	return strings.ToValidUTF8(problem[:min(len(problem), maxProblem)], "")
}

// Backoff draws the wait after a number of attempts, from 1: evenly from 0 to 1 s, to 2 s after the second, doubling to 30 s.
// (This is known as full jitter.)
func Backoff(attempts int) time.Duration {
	const shortest, longest = time.Second, 30 * time.Second
	most := longest
	if attempts <= 5 { // 1 s, 2 s, 4 s, 8 s, 16 s.
		most = shortest << max(attempts-1, 0)
	}
	return rand.N(most + 1) //nolint:gosec // A wait need not be unguessable.
}
