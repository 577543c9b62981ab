package jobqueue

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// State is where a job stands.
type State string

// The states of a job.
const (
	// Queued jobs are taken when they are due.
	Queued State = "queued"
	// Running jobs were taken by a process, which may have died meanwhile.
	Running State = "running"
	// Finished jobs are done.
	Finished State = "done"
	// Dead jobs were buried.
	Dead State = "dead"
)

// Status is what is known of a job.
type Status struct {
	ID    string
	State State
	// Attempts is how often it was taken since it was added or revived, not counting those that were released.
	Attempts int
	// Round is how often it was revived.
	Round int
	// CreatedAt and UpdatedAt are when it was added, and when its state changed last.
	CreatedAt, UpdatedAt time.Time
	// DueAt is when a queued job is due, or when the lease of a running one ends unless it is renewed; else zero.
	DueAt time.Time
	// Problem is what was wrong last, until the job is done.
	Problem string
	// Result is what a handler decided on; nil if none did, and in lists.
	Result []byte
}

// status reads what describe of queue.lua returns.
func (q *Queue) status(r reply) (Status, error) {
	s := Status{
		ID: r.text(0), DueAt: r.moment(1), State: State(r.text(2)), Attempts: int(r.number(3)), Round: int(r.number(4)),
		CreatedAt: r.moment(5), UpdatedAt: r.moment(6), Problem: r.text(7),
	}
	if s.State == "" {
		return Status{}, ErrNotFound
	}
	if r.has(8) {
		var err error
		if s.Result, err = q.packer.Unpack(r.text(8)); err != nil {
			return Status{}, err
		}
	}
	return s, nil
}

// Get returns the status of a job. It returns ErrNotFound or ErrUnavailable.
func (q *Queue) Get(ctx context.Context, id string) (Status, error) {
	values, err := q.do(ctx, "looking for a job", 1, "get", id)
	if err != nil {
		return Status{}, err
	}
	return q.status(values)
}

// Payload returns the payload of a job that is not done. It returns ErrNotFound or ErrUnavailable.
func (q *Queue) Payload(ctx context.Context, id string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	text, err := q.cfg.Redis.HGet(ctx, q.keys[3]+id, "payload").Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, ErrNotFound
	case err != nil:
		return nil, unavailable("reading the payload of a job", err)
	}
	return q.packer.Unpack(text)
}

// Revive queues a dead job again, due at once, as its next round: with no attempts, and the result that was decided, if any,
// so that what was told of it before is told again and nothing else; or, with anew, without that. It is queued also if Config.MaxWaiting jobs
// wait. It returns ErrNotFound, ErrNotDead, ErrUnavailable, after which the job may have been queued, or ErrClosed.
func (q *Queue) Revive(ctx context.Context, id string, anew bool) error {
	if q.isClosed() {
		return ErrClosed
	}
	values, err := q.do(ctx, "reviving a job", 1, "revive", id, anew)
	if err != nil {
		return err
	}
	switch State(values.text(0)) {
	case "":
		return ErrNotFound
	case Dead:
		q.hurry()
		return nil
	}
	return ErrNotDead
}

// Depth returns how many jobs are queued or running, how many are dead, and the age of the oldest that is queued or running,
// since it was added or revived. It returns ErrUnavailable.
func (q *Queue) Depth(ctx context.Context) (waiting, dead int64, oldest time.Duration, err error) {
	values, err := q.do(ctx, "counting jobs", 3, "depth", q.cfg.KeepDead.Milliseconds())
	if err != nil {
		return 0, 0, 0, err
	}
	return values.number(0), values.number(1), values.duration(2), nil
}
