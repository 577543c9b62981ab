package matching

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/internal/jobqueue"
	"github.com/connectbot-hub/connecthub/javaclient"
)

// JobsConfig says how requests are worked on. Matcher, Queue and Publish are required.
type JobsConfig struct {
	// Matcher matches. It is closed after the Jobs.
	Matcher *Matcher
	// Queue keeps the requests. Jobs start and close it.
	Queue *jobqueue.Queue
	// Publish publishes an event. An event with the same ID on the same channel must be published once, however often this
	// is called. It returns an error that is ErrUnavailable when the same call may succeed later.
	Publish func(ctx context.Context, e Event) error
	// Project keeps what is known of a request, a JSON object, where others read it; first says that it must not take the
	// place of what is there. When it fails, only they miss it. Default: nobody reads it.
	Project func(ctx context.Context, id string, doc []byte, first bool) error
	// Workers is how many requests are worked on at a time. Default 8.
	Workers int
	// RetryFor is how long a request waits for the service before the hub matches by itself or, without a fallback, gives
	// up. 0: not at all.
	RetryFor time.Duration
	// Tracing makes a span of each attempt at a request, in the trace that the request came with. Default: nil, and that trace
	// is passed on.
	Tracing trace.TracerProvider
	// Logger is told of requests that fail. Default: nobody.
	Logger *zap.Logger
}

// Jobs take requests that may wait, and answer them with events. Make them with NewJobs.
type Jobs struct {
	cfg JobsConfig
	// tracer makes spans; nil: nobody does.
	tracer trace.Tracer
	// telling bounds the events that are being published.
	telling chan struct{}
	count   struct{ accepted, known, completed, fallback, failed, told atomic.Int64 }
}

// NewJobs makes Jobs; it does no I/O. Start has to be called before anything else, and Close at the end.
func NewJobs(cfg JobsConfig) (*Jobs, error) {
	if cfg.Matcher == nil || cfg.Queue == nil || cfg.Publish == nil {
		return nil, errors.New("matching: Matcher, Queue and Publish are required")
	}
	if cfg.Workers < 0 || cfg.RetryFor < 0 {
		return nil, errors.New("matching: Workers and RetryFor must not be below 0")
	}
	if cfg.Workers == 0 {
		cfg.Workers = 8
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.Project == nil {
		cfg.Project = func(context.Context, string, []byte, bool) error { return nil }
	}
	return &Jobs{cfg: cfg, tracer: tracerOf(cfg.Tracing), telling: make(chan struct{}, mostTelling)}, nil
}

// Start begins to work, and goes on until Close whatever becomes of the context. It does not wait for Redis.
func (j *Jobs) Start(ctx context.Context) error {
	return j.cfg.Queue.Start(ctx, j.cfg.Workers, j.handle)
}

// Close lets what is under way end, if it does so soon, and leaves the rest to other processes or the next start. It may be
// called twice.
func (j *Jobs) Close() { j.cfg.Queue.Close() }

// work is a request as it lies in the queue.
type work struct {
	// Request is as it came.
	Request jsontext.Value `json:"request"`
	// CorrelationID is that of the events that answer it.
	CorrelationID string `json:"correlation_id,omitzero"`
	Traceparent   string `json:"traceparent,omitzero"`
	Tracestate    string `json:"tracestate,omitzero"`
}

// Request takes a request: an object with users, employees or both, and perhaps request_id, type, algorithm, interest and
// algorithm_params. Once it returned, the request will be answered by events. A request whose id or idempotency key is
// known is not taken again: its status is returned. It returns an InvalidError, ErrMalformed, ErrTooMany, ErrKeyReused,
// ErrIDReused, ErrFull or ErrUnavailable.
func (j *Jobs) Request(ctx context.Context, terms Terms, body []byte) (Status, error) {
	r, err := decodeJob(body, true)
	if err != nil {
		return Status{}, err
	}
	if err := j.cfg.Matcher.check(ctx, &r); err != nil {
		return Status{}, err
	}
	id := r.RequestID
	switch {
	case id != "" && terms.IdempotencyKey != "":
		return Status{}, &InvalidError{Fields: []FieldProblem{{
			"request_id", "must not be given together with an Idempotency-Key: either makes the request one that is taken once",
		}}}
	case id != "":
	case terms.IdempotencyKey != "":
		id = derivedID("key", terms.IdempotencyKey)
	default:
		fresh, err := uuid.NewV7()
		if err != nil {
			return Status{}, err
		}
		id = fresh.String()
	}
	status, err := j.add(ctx, id, &r, work{
		Request: body, CorrelationID: id, Traceparent: terms.Call.Traceparent, Tracestate: terms.Call.Tracestate,
	})
	if errors.Is(err, ErrKeyReused) && r.RequestID != "" {
		return Status{}, ErrIDReused
	}
	return status, err
}

// Accept takes the request that an event matching.request makes, given as its envelope. What is wrong with the request is
// found when it is worked on, and makes it a dead letter. It returns ErrUnavailable, ErrFull or ErrClosed when the event
// should be handed over again later, and nil else.
func (j *Jobs) Accept(ctx context.Context, envelope []byte) error {
	// The bot may publish half an emoji, which is U+FFFD from here on, and the same member twice.
	clean, err := jsontext.AppendFormat(nil, envelope, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
	var event map[string]jsontext.Value
	if err == nil {
		err = json.Unmarshal(clean, &event, jsontext.AllowDuplicateNames(true))
	}
	if err != nil {
		j.cfg.Logger.Error("an event matching.request cannot be read", zap.Error(err)) // The log has no such entries.
		return nil
	}
	var data struct {
		RequestID javaclient.Text `json:"request_id"`
	}
	_ = json.Unmarshal(event["data"], &data, jsontext.AllowDuplicateNames(true)) // Data without an id will do.
	id := string(data.RequestID)
	if !validID(id) {
		id = text(event["id"])
	}
	if !validID(id) {
		id = derivedID("event", id)
	}
	w := work{
		Request: event["data"], CorrelationID: text(event["correlation_id"]),
		Traceparent: text(event["traceparent"]), Tracestate: text(event["tracestate"]),
	}
	if !validLabel(w.CorrelationID) {
		w.CorrelationID = id
	}
	r, _ := decodeJob(w.Request, false) // What is wrong with it is told later.
	_, err = j.add(ctx, id, &r, w)
	switch {
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrFull), errors.Is(err, ErrClosed):
		return err
	case errors.Is(err, ErrKeyReused):
		j.cfg.Logger.Warn("an event matching.request has the id of another request and is left out", zap.String("request_id", id))
	case err != nil:
		j.cfg.Logger.Error("an event matching.request cannot be taken", zap.String("request_id", id), zap.Error(err))
	}
	return nil
}

// text is what a JSON string says, "" for anything else.
func text(value jsontext.Value) string {
	if value.Kind() != '"' {
		return ""
	}
	unquoted, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		return ""
	}
	return string(unquoted)
}

// add puts a request into the queue.
func (j *Jobs) add(ctx context.Context, id string, r *PairRequest, w work) (Status, error) {
	payload, err := json.Marshal(w, jsontext.AllowDuplicateNames(true)) // What is wrong with it is told later.
	if err != nil {
		return Status{}, fmt.Errorf("matching: writing a request: %w", err)
	}
	same := *r
	same.RequestID = ""
	same.Employees = slices.SortedFunc(slices.Values(r.Employees), func(a, b javaclient.Employee) int { return cmp.Compare(a.ID, b.ID) })
	content, err := json.Marshal(same, json.Deterministic(true))
	if err != nil {
		return Status{}, fmt.Errorf("matching: writing a request: %w", err)
	}
	fingerprint := sha256.Sum256(content)
	queued, added, err := j.cfg.Queue.Add(ctx, jobqueue.Add{
		ID: id, Payload: payload, Fingerprint: hex.EncodeToString(fingerprint[:]),
	})
	if err != nil {
		return Status{}, ofQueue(err)
	}
	status := statusOf(&queued)
	if !added {
		j.count.known.Add(1)
		status.Repeated = true
		return status, nil
	}
	j.count.accepted.Add(1)
	j.project(ctx, r, status, true)
	return status, nil
}

// ofQueue makes this package's error of one of package jobqueue.
func ofQueue(err error) error {
	for _, e := range []struct{ theirs, ours error }{
		{jobqueue.ErrReused, ErrKeyReused},
		{jobqueue.ErrFull, ErrFull},
		{jobqueue.ErrNotFound, ErrNotFound},
		{jobqueue.ErrNotDead, ErrNotFailed},
		{jobqueue.ErrClosed, ErrClosed},
	} {
		if errors.Is(err, e.theirs) {
			return e.ours
		}
	}
	if errors.Is(err, jobqueue.ErrUnavailable) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// ids is the namespace of the ids that are derived from a request's.
var ids = uuid.MustParse("8a1f62bb-6f0c-4e5e-9c0b-5d0b7a1f3c11") //nolint:gochecknoglobals // A constant, but for the language.

// derivedID makes the same id of the same words.
func derivedID(kind, of string) string { return uuid.NewSHA1(ids, []byte(kind+"\x00"+of)).String() }

// JobsStats counts what Jobs did since they were made.
type JobsStats struct {
	// Accepted requests, Known ones that had come before, Completed and Failed ones, those of the Completed that the hub
	// matched itself (Fallback), and events that were published (Told).
	Accepted, Known, Completed, Failed, Fallback, Told int64
}

// Stats returns the counters.
func (j *Jobs) Stats() JobsStats {
	return JobsStats{
		Accepted: j.count.accepted.Load(), Known: j.count.known.Load(), Completed: j.count.completed.Load(),
		Failed: j.count.failed.Load(), Fallback: j.count.fallback.Load(), Told: j.count.told.Load(),
	}
}

// Depth returns how many requests wait or are worked on, and how many dead letters there are, in all processes together. It
// returns ErrUnavailable.
func (j *Jobs) Depth(ctx context.Context) (waiting, failed int64, err error) {
	waiting, failed, _, err = j.cfg.Queue.Depth(ctx)
	if err != nil {
		return 0, 0, ofQueue(err)
	}
	return waiting, failed, nil
}

// Check returns nil while the queue can be worked on.
func (j *Jobs) Check(ctx context.Context) error { return j.cfg.Queue.Check(ctx) }

// call is what goes along to the service.
func (w *work) call(id string) javaclient.Call {
	return javaclient.Call{RequestID: id, Traceparent: w.Traceparent, Tracestate: w.Tracestate}
}
