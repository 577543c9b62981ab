package matching

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/connectbot-hub/connecthub/javaclient"
)

// question is what is asked, and the ways to an answer.
type question[T answer] struct {
	// call names what is asked for, id the request in its answer.
	call, id string
	// named is what must be the same when an idempotency key comes again; people, nil if there are none, returns what makes
	// two questions one of the same people.
	named  any
	people func() []byte
	// java asks the service; here answers in its place, and is nil where that cannot be.
	java func(context.Context) (T, error)
	here func(context.Context, javaclient.Code) (T, error)
}

// answerTo answers a question: as it was answered to the same key, or to the same people, else by the service, else here.
func answerTo[T answer](ctx context.Context, m *Matcher, terms Terms, q *question[T]) (T, error) {
	whole := func(ctx context.Context) (T, error) {
		found, err := fromJava(ctx, m, q)
		if err != nil {
			return fallBack(ctx, m, err, q.here)
		}
		return found, nil
	}
	if terms.IdempotencyKey == "" {
		return whole(ctx)
	}
	return withKey(ctx, m, terms.IdempotencyKey, q, whole)
}

// fromJava asks the service, or tells what it answered to a question of the same people lately.
func fromJava[T answer](ctx context.Context, m *Matcher, q *question[T]) (T, error) {
	return ofSamePeople(ctx, m, q, func(ctx context.Context) (T, error) {
		found, err := q.java(ctx)
		if err == nil {
			m.count.java.Add(1)
			if m.reason.Swap(nil) != nil {
				m.cfg.Logger.Info("the matching service is back")
			}
		}
		return found, err
	})
}

// fallBack answers in the service's place, if that may be and helps.
func fallBack[T any](
	ctx context.Context, m *Matcher, failure error, here func(context.Context, javaclient.Code) (T, error),
) (T, error) {
	var none T
	code, away := m.away(failure)
	if here == nil || !away || ctx.Err() != nil {
		m.count.failed.Add(1)
		return none, failure
	}
	found, err := here(ctx, code)
	switch {
	case errors.Is(err, ErrBusy): // Which is no failure: the caller may come again.
		return none, err
	case err != nil:
		m.count.failed.Add(1)
		return none, fmt.Errorf("%w: matching without it: %w", failure, err)
	}
	m.count.fallback.Add(1)
	if code != javaclient.CodeNotFound && m.reason.Swap(&code) == nil { // Not every deployment has all calls, and is well all the same.
		m.cfg.Logger.Warn("the matching service is away, the hub matches by itself", zap.String("reason", string(code)))
	}
	return found, nil
}

// away reports whether a failure is one of the service, which the fallback may answer in its place.
func (m *Matcher) away(failure error) (javaclient.Code, bool) {
	var problem *javaclient.Error
	if !m.cfg.Fallback || !errors.As(failure, &problem) || !ofService(problem.Code) {
		return "", false
	}
	return problem.Code, true
}

// ofService reports whether a failure is the service's, and not the request's or the caller's.
func ofService(code javaclient.Code) bool {
	return !slices.Contains([]javaclient.Code{
		javaclient.CodeRefused, javaclient.CodeNoEmployees, javaclient.CodeCanceled,
	}, code)
}
