package matching

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/connectbot-hub/connecthub/internal/jobqueue"
	"github.com/connectbot-hub/connecthub/javaclient"
)

// Event is what a request comes to, for a channel.
type Event struct {
	// UserID is whose channel it is for, 0 for that of the service matching.
	UserID int64
	// Type is matching.completed or matching.failed.
	Type string
	// ID is derived from the request's, so that the same event, published again, is known.
	ID            string
	CorrelationID string
	// Traceparent is the trace that the request came with, whatever it says, or that of the attempt's span; it may be "".
	Traceparent string
	// Data is a JSON object.
	Data []byte
}

// The types of events.
const (
	TypeCompleted = "matching.completed"
	TypeFailed    = "matching.failed"
)

// mostTelling is how many events of all requests are published at a time: enough for Redis, and not too many for the
// embedded server.
const mostTelling = 32

// tell publishes events, many at a time, each of them whatever becomes of the others. It returns an error when it is not certain
// that all are published: one that is ErrUnavailable if that may be otherwise for any of them.
func (j *Jobs) tell(ctx context.Context, told []Event) error {
	var group sync.WaitGroup
	defer group.Wait()
	var mu sync.Mutex
	var failure error
	for _, e := range told {
		select {
		case j.telling <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		group.Go(func() {
			defer func() { <-j.telling }()
			err := j.cfg.Publish(ctx, e)
			if err == nil {
				j.count.told.Add(1)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if failure == nil || errors.Is(err, ErrUnavailable) {
				failure = fmt.Errorf("matching: publishing %s: %w", e.Type, err)
			}
		})
	}
	group.Wait()
	return failure
}

// completedData is what the service's channel is told of a request that was answered.
type completedData struct {
	RequestID string `json:"request_id"`
	Type      string `json:"type"`
	Source    Source `json:"source"`
	Degraded  bool   `json:"degraded"`
	// Reason is why it is degraded.
	Reason     javaclient.Code   `json:"reason,omitzero"`
	Algorithm  string            `json:"algorithm,omitzero"`
	TotalPairs int               `json:"total_pairs"`
	Pairs      []javaclient.Pair `json:"pairs,omitzero"`
	Unmatched  []int64           `json:"unmatched_employees,omitzero"`
	// Omitted says that both lists are left out, as no event is so large.
	Omitted bool `json:"omitted,omitzero"`
}

// partnerData is what a user is told.
type partnerData struct {
	RequestID string `json:"request_id"`
	Type      string `json:"type"`
	PartnerID int64  `json:"partner_id"`
	Source    Source `json:"source"`
	Degraded  bool   `json:"degraded"`
}

// largestData leaves room in an event for what is around its data.
const largestData = 60 << 10

// completed makes the events of a request that was answered: one for the service, and one for each user with a partner.
func completed(id string, w *work, kind string, result *Pairs) ([]Event, error) {
	data := completedData{
		RequestID: id, Type: kind, Source: result.Source, Degraded: result.Degraded, Reason: result.Reason,
		Algorithm: result.Algorithm, TotalPairs: len(result.Pairs), Pairs: result.Pairs, Unmatched: result.Unmatched,
	}
	text, err := json.Marshal(data)
	if err == nil && len(text) > largestData {
		data.Pairs, data.Unmatched, data.Omitted = nil, nil, true
		text, err = json.Marshal(data)
	}
	if err != nil {
		return nil, fmt.Errorf("matching: writing an event: %w", err)
	}
	all := make([]Event, 0, 1+2*len(result.Pairs))
	all = append(all, Event{Type: TypeCompleted, ID: derivedID("completed", id), CorrelationID: w.CorrelationID, Traceparent: w.Traceparent, Data: text})
	for _, p := range result.Pairs {
		for _, one := range [2][2]int64{{p.Employee1ID, p.Employee2ID}, {p.Employee2ID, p.Employee1ID}} {
			text, err := json.Marshal(partnerData{id, kind, one[1], result.Source, result.Degraded})
			if err != nil {
				return nil, fmt.Errorf("matching: writing an event: %w", err)
			}
			all = append(all, Event{
				UserID: one[0], Type: TypeCompleted, ID: derivedID("partner of "+strconv.FormatInt(one[0], 10), id),
				CorrelationID: w.CorrelationID, Traceparent: w.Traceparent, Data: text,
			})
		}
	}
	return all, nil
}

// failed makes the event of a request that was given up, once each time an operator has it retried.
func failed(job *jobqueue.Job, w *work, kind string, failure Failure) ([]Event, error) {
	if len(kind) > MaxNameSize {
		kind = "" // That may be what is wrong.
	}
	text, err := json.Marshal(struct {
		RequestID string `json:"request_id"`
		Type      string `json:"type,omitzero"`
		Failure   `json:",embed"`
	}{job.ID, kind, failure})
	if err != nil {
		return nil, fmt.Errorf("matching: writing an event: %w", err)
	}
	id := derivedID("failed "+strconv.Itoa(job.Round), job.ID)
	return []Event{{Type: TypeFailed, ID: id, CorrelationID: w.CorrelationID, Traceparent: w.Traceparent, Data: text}}, nil
}
