package matching

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/connectbot-hub/connecthub/internal/once"
	"github.com/connectbot-hub/connecthub/javaclient"
)

// keyWindow is how long idempotency keys are remembered, as those of events are.
const keyWindow = 24 * time.Hour

// answer is what is remembered.
type answer interface{ Pairs | Bracket | Teams }

// withKey returns what do returned for the same idempotency key, and calls it only when there is nothing.
func withKey[T answer](
	ctx context.Context, m *Matcher, key string, q *question[T], do func(context.Context) (T, error),
) (T, error) {
	content, err := json.Marshal(q.named, json.Deterministic(true))
	if err != nil {
		var none T
		return none, fmt.Errorf("matching: writing a request: %w", err)
	}
	return runOnce(ctx, m, "key "+key, q.call+" "+string(content), keyWindow, do)
}

// ofSamePeople returns what the service answered to a question of the same people within Config.CacheTTL, under the name of
// this one, and asks it only when there is nothing. Without Redis there is no memory, and a new answer is better than none;
// so it is when another process takes too long to find one: if none does, they must not ask one after the other.
func ofSamePeople[T answer](ctx context.Context, m *Matcher, q *question[T], ask func(context.Context) (T, error)) (T, error) {
	if m.cfg.CacheTTL == 0 || q.people == nil {
		return ask(ctx)
	}
	asked := make(chan struct{})
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	timer := time.AfterFunc(m.cfg.WaitForOthers, func() {
		select {
		case <-asked:
		default:
			stop()
		}
	})
	defer timer.Stop()
	found, err := runOnce(waiting, m, "people "+q.call+" "+string(q.people()), "", m.cfg.CacheTTL, func(ctx context.Context) (T, error) {
		close(asked)
		return ask(ctx)
	})
	if errors.Is(err, ErrUnavailable) || err != nil && waiting.Err() != nil && ctx.Err() == nil {
		return ask(ctx)
	}
	switch {
	case errors.Is(err, ErrInProgress): // The caller knows of no other.
		err = &javaclient.Error{Code: javaclient.CodeTimeout, Err: context.DeadlineExceeded}
	case err == nil:
		originOf(&found).RequestID = q.id
	}
	return found, err
}

// originOf is where an answer says where it comes from.
func originOf[T answer](found *T) *Origin {
	switch found := any(found).(type) {
	case *Pairs:
		return &found.Origin
	case *Bracket:
		return &found.Origin
	case *Teams:
		return &found.Origin
	}
	return nil // There is no other.
}

func runOnce[T answer](
	ctx context.Context, m *Matcher, key, fingerprint string, keep time.Duration, do func(context.Context) (T, error),
) (found T, err error) {
	value, repeated, err := m.cfg.Once.Do(ctx, key, fingerprint, keep, func(ctx context.Context) ([]byte, error) {
		made, err := do(ctx)
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(made, json.Deterministic(true))
		if pairs, ok := any(&made).(*Pairs); ok && len(text) > once.MaxValueSize {
			pairs.idsOnly() // They are what is promised.
			return json.Marshal(made, json.Deterministic(true))
		}
		return text, err
	})
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return found, fmt.Errorf("%w: %w", ErrInProgress, err)
	}
	if err != nil && !errors.Is(err, once.ErrNotKept) { // An answer is an answer, though it may not be given twice.
		return found, ofOnce(err)
	}
	if err := json.Unmarshal(value, &found); err != nil {
		return found, fmt.Errorf("matching: reading a remembered answer: %w", err)
	}
	if repeated {
		m.count.repeated.Add(1)
		originOf(&found).Repeated = true
	}
	return found, nil
}

// ofOnce makes this package's error of one of package once.
func ofOnce(err error) error {
	switch {
	case errors.Is(err, once.ErrReused):
		return ErrKeyReused
	case errors.Is(err, once.ErrClosed):
		return ErrClosed
	case errors.Is(err, once.ErrUnavailable):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// people is what makes two requests one of the same people: who they are and whom they exclude, in whichever order, and
// what they are asked for.
func (r *PairRequest) people() []byte {
	sorted := make([]int, len(r.Employees))
	for i := range sorted {
		sorted[i] = i
	}
	slices.SortFunc(sorted, func(a, b int) int { return cmp.Compare(r.Employees[a].ID, r.Employees[b].ID) })
	text := fmt.Appendf(nil, "%q %q %q ", r.Algorithm, r.Interest, r.Params)
	for _, i := range sorted {
		e := &r.Employees[i]
		text = appendID(text, e.ID)
		if e.Active != nil && !*e.Active {
			text = append(text, '-')
		}
		for _, id := range slices.Sorted(slices.Values(e.Excluded)) {
			text = appendID(append(text, '!'), id)
		}
	}
	return text
}

func (r *tournamentRequest) people() []byte {
	ids := make([]int64, len(r.Players))
	for i := range r.Players {
		ids[i] = r.Players[i].ID
	}
	return appendSorted(fmt.Appendf(nil, "%q %q %d ", r.GameType, r.Format, r.Rounds), ids)
}

func (r *teamsRequest) people() []byte {
	ids := make([]int64, len(r.Members))
	for i := range r.Members {
		ids[i] = r.Members[i].ID
	}
	return appendSorted(fmt.Appendf(nil, "%d %d %t ", r.Size, r.Max, r.Balance), ids)
}

func appendSorted(text []byte, ids []int64) []byte {
	slices.Sort(ids)
	for _, id := range ids {
		text = appendID(text, id)
	}
	return text
}

// appendID adds an id to what is compared.
func appendID(text []byte, id int64) []byte { return append(strconv.AppendInt(text, id, 10), ' ') }
