package jobqueue

import (
	"context"
	"fmt"
	"time"
)

// extraAttempts is how often an exhausted job may take down its process before it is buried without a handler.
const extraAttempts = 3

// Job is a job that this process has. Its handler may read the fields, also after the lease is lost.
type Job struct {
	ID      string
	Payload []byte
	// Attempt is how often it was taken since it was added or revived, this time included.
	Attempt int
	// Round is how often an operator has revived it.
	Round int
	// CreatedAt is when it was added, and Age how long ago it was added or revived last when it was taken, by Redis' clock.
	CreatedAt time.Time
	Age       time.Duration
	// Exhausted says that it was taken more than Config.MaxAttempts times, not counting those that ended in a Wait: the handler is not to try again, but to tell
	// whom it concerns, and Retry buries the job; to Wait, until that can be told, does not. Where handlers of exhausted jobs take down their processes too, the job is
	// buried without one after three.
	Exhausted bool
	// Result is what a handler of an earlier attempt, or round, has decided on; nil if none did.
	Result []byte

	queue *Queue
	token string
}

// Decide stores a result of the job, at most MaxSize bytes, unless a handler, of this attempt or another, did so before; and
// returns the one that is stored, which never changes. It returns ErrLost when the lease is another's, ErrUnavailable, after
// which the result may have been stored, or ErrInvalid. The handler may call it from any goroutine.
func (j *Job) Decide(ctx context.Context, result []byte) ([]byte, error) {
	if len(result) > MaxSize {
		return nil, fmt.Errorf("%w: a result must be at most %d bytes", ErrInvalid, MaxSize)
	}
	values, err := j.queue.do(ctx, "deciding on the result of a job", 1, "decide", j.ID, j.token, j.queue.packer.Pack(result))
	switch {
	case err != nil:
		return nil, err
	case values.number(0) != 1:
		return nil, ErrLost
	}
	return j.queue.packer.Unpack(values.text(1))
}
