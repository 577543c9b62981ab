package matching

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/internal/jobqueue"
)

// State says how far a request is.
type State string

// The states.
const (
	// Queued requests wait for their turn, or for the next attempt.
	Queued State = "queued"
	// Running requests are worked on.
	Running State = "running"
	// Completed requests have a Result, and everybody was told.
	Completed State = "completed"
	// Failed requests are dead letters, until somebody retries them.
	Failed State = "failed"
)

// Status is what is known of a request. It holds nothing of the people but their ids.
type Status struct {
	RequestID string `json:"request_id"`
	State     State  `json:"state"`
	// Attempts is how often it was begun since it was asked for, or retried last.
	Attempts int `json:"attempts"`
	// Retries is how often an operator retried it.
	Retries   int       `json:"retries"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	// NextAttemptAt is when a Queued request is due.
	NextAttemptAt time.Time `json:"next_attempt_at,omitzero"`
	// Result is there once it is decided, which is a moment before the request is Completed.
	Result *Pairs `json:"result,omitzero"`
	// Error is what went wrong last.
	Error *Failure `json:"error,omitzero"`
	// Repeated says that the request was known already.
	Repeated bool `json:"-"`
}

// Failure says why a request failed.
type Failure struct {
	// Code is one of package javaclient's, or invalid_request, too_many_people, malformed_json, exhausted or internal_error.
	Code string `json:"code"`
	// Detail is in words, for people. It may hold what the service said.
	Detail string `json:"detail,omitzero"`
}

// StatusPage is a page of requests.
type StatusPage struct {
	Requests []Status
	// Next is the cursor of the next page, "" when there is none.
	Next string
}

// Get returns what is known of a request, for a day after it ended. It returns ErrNotFound or ErrUnavailable.
func (j *Jobs) Get(ctx context.Context, id string) (Status, error) {
	if !validID(id) {
		return Status{}, ErrNotFound
	}
	found, err := j.cfg.Queue.Get(ctx, id)
	if err != nil {
		return Status{}, ofQueue(err)
	}
	return statusOf(&found), nil
}

// List returns requests: with Failed the dead letters, the newest first, and with Queued those that wait or are worked on,
// in the order in which they are due. Limit is 1 to MaxPage. It returns an InvalidError or ErrUnavailable.
func (j *Jobs) List(ctx context.Context, state State, cursor string, limit int) (StatusPage, error) {
	var wrong problems
	if state != Failed && state != Queued {
		wrong.add("state", "must be failed or queued")
	}
	if limit < 1 || limit > MaxPage {
		wrong.add("limit", fmt.Sprintf("must be from 1 to %d", MaxPage))
	}
	if err := wrong.err(); err != nil {
		return StatusPage{}, err
	}
	list := j.cfg.Queue.ListWaiting
	if state == Failed {
		list = j.cfg.Queue.ListDead
	}
	found, err := list(ctx, cursor, limit)
	switch {
	case errors.Is(err, jobqueue.ErrBadCursor):
		return StatusPage{}, &InvalidError{Fields: []FieldProblem{{"cursor", "must be the next_cursor of the page before"}}}
	case err != nil:
		return StatusPage{}, ofQueue(err)
	}
	page := StatusPage{Requests: make([]Status, len(found.Jobs)), Next: found.Next}
	for i := range found.Jobs {
		page.Requests[i] = statusOf(&found.Jobs[i])
	}
	return page, nil
}

// Retry queues a dead letter again, with all its attempts before it. Pairs that were decided stay decided. It returns
// ErrNotFound, ErrNotFailed or ErrUnavailable.
func (j *Jobs) Retry(ctx context.Context, id string) (Status, error) {
	if !validID(id) {
		return Status{}, ErrNotFound
	}
	before, err := j.Get(ctx, id)
	switch {
	case err != nil:
		return Status{}, err
	case before.State != Failed:
		return Status{}, ErrNotFailed
	}
	// First, as a worker may be done with it before Revive returns.
	queued := before
	queued.State, queued.Attempts, queued.Retries = Queued, 0, before.Retries+1
	j.project(ctx, nil, queued, false)
	// What was told of pairs is told again; that it failed was told, too, and may turn out otherwise now.
	if err := j.cfg.Queue.Revive(ctx, id, before.Result == nil); err != nil {
		j.project(ctx, nil, before, false)
		return Status{}, ofQueue(err)
	}
	return j.Get(ctx, id)
}

// statusOf is what is told of a job.
func statusOf(job *jobqueue.Status) Status {
	status := Status{
		RequestID: job.ID, Attempts: job.Attempts, Retries: job.Round, CreatedAt: job.CreatedAt, UpdatedAt: job.UpdatedAt,
		Error: readFailure(job.Problem),
	}
	switch job.State {
	case jobqueue.Running:
		status.State = Running
	case jobqueue.Finished:
		status.State = Completed
	case jobqueue.Dead:
		status.State = Failed
	default:
		status.State, status.NextAttemptAt = Queued, job.DueAt
	}
	verdict := readVerdict(job.Result)
	status.Result = verdict.Pairs
	if verdict.Failure != nil {
		status.Error = verdict.Failure
	}
	return status
}

// projected is what others read of a request.
type projected struct {
	Status
	Type   string `json:"type,omitzero"`
	People int    `json:"people,omitzero"`
}

// project keeps the status where others read it. R is nil if it is not known what was asked.
func (j *Jobs) project(ctx context.Context, r *PairRequest, status Status, first bool) {
	told := projected{Status: status}
	if r != nil {
		told.Type, told.People = r.Type, len(r.Employees)
	}
	doc, err := json.Marshal(told)
	if err == nil {
		err = j.cfg.Project(ctx, status.RequestID, doc, first)
	}
	if err != nil {
		j.cfg.Logger.Debug("what is known of a request could not be kept for others",
			zap.String("request_id", status.RequestID), zap.Error(err))
	}
}

// project keeps what the attempt came to.
func (a *attempt) project(ctx context.Context, state State, result *Pairs, failure *Failure) {
	a.jobs.project(ctx, &a.request, Status{
		RequestID: a.job.ID, State: state, Attempts: a.job.Attempt, Retries: a.job.Round,
		CreatedAt: a.job.CreatedAt, UpdatedAt: time.Now().UTC().Truncate(time.Microsecond), Result: result, Error: failure,
	}, false)
}
