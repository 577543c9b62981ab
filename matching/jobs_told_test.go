package matching_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/jobqueue"
	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/matching"
)

// failing makes publishing fail with err as long as when says so.
func (t *told) failing(err error, when func(matching.Event) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fail = func(e matching.Event) error {
		if when(e) {
			return err
		}
		return nil
	}
}

func (h *hub) ask(tb testing.TB, body string) string {
	tb.Helper()
	status, err := h.jobs.Request(tb.Context(), matching.Terms{}, []byte(body))
	if err != nil {
		tb.Fatal(err)
	}
	return status.RequestID
}

// A failure that was decided stays one, whatever the service would say later, until an operator has it retried.
func TestAFailureIsDecidedBeforeItIsTold(t *testing.T) {
	h := start(t, options{})
	h.java.fails(400, `{"message":"no"}`)
	refused := make(chan struct{}, 10)
	h.told.failing(fmt.Errorf("%w: away", matching.ErrUnavailable), func(e matching.Event) bool {
		select {
		case refused <- struct{}{}:
			return e.Type == matching.TypeFailed && len(refused) == 1
		default:
			return false
		}
	})
	id := h.ask(t, `{"users":[1,2]}`)
	redistest.Eventually(t, soon, "it could not be told", func() bool { return len(refused) > 0 })
	h.java.answers(nil)
	if status := h.await(t, id, matching.Failed); status.Error.Code != "refused" || status.Error.Detail != "no" {
		t.Errorf("it is %+v", status)
	}
	if all := h.told.of(0); len(all) != 1 || all[0].Type != matching.TypeFailed {
		t.Errorf("the service was told %+v", all)
	}
	if _, err := h.jobs.Retry(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if status := h.await(t, id, matching.Completed); status.Error != nil || len(status.Result.Pairs) != 1 {
		t.Errorf("retried it is %+v", status)
	}
}

func TestOneWhoCannotBeToldDoesNotUndoTheOthers(t *testing.T) {
	h := start(t, options{queue: jobqueue.Config{MaxAttempts: 1}})
	h.told.failing(errors.New("a key of the log holds something else"), func(e matching.Event) bool { return e.UserID == 3 })
	id := h.ask(t, string(with(200, "")))
	if status := h.await(t, id, matching.Failed); status.Result == nil || len(status.Result.Pairs) != 100 {
		t.Errorf("it is %+v", status)
	}
	for user := int64(1); user <= 200; user++ {
		if n := len(h.told.of(user)); (n == 1) == (user == 3) {
			t.Errorf("user %d is told %d times", user, n)
		}
	}
	if all := h.told.of(0); len(all) != 1 || all[0].Type != matching.TypeCompleted {
		t.Errorf("the service was told %+v", all)
	}
	h.told.failing(nil, func(matching.Event) bool { return false })
	if _, err := h.jobs.Retry(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	h.await(t, id, matching.Completed)
	checkTold(t, h, id, 200)
	if n := h.java.calls.Load(); n != 1 {
		t.Errorf("the service was asked %d times", n)
	}
}

// That Redis is away or refuses is not the request's fault.
func TestToTellIsTriedUntilRedisTakesIt(t *testing.T) {
	h := start(t, options{queue: jobqueue.Config{MaxAttempts: 1}})
	left := 4
	h.told.failing(fmt.Errorf("%w: out of memory", matching.ErrUnavailable), func(e matching.Event) bool {
		left--
		return e.UserID == 0 && left > 0
	})
	id := h.ask(t, `{"users":[1,2]}`)
	h.await(t, id, matching.Completed)
	checkTold(t, h, id, 2)
}

// A request that takes its hub down again and again is given up, and that is told.
func TestAnExhaustedRequestIsNotTriedAgainButTold(t *testing.T) {
	prefix := redistest.Prefix(t)
	h := start(t, options{prefix: prefix, retryFor: time.Hour})
	h.java.fails(503, "")
	id := h.ask(t, `{"users":[1,2]}`)
	redistest.Eventually(t, soon, "it waits", func() bool {
		status, err := h.jobs.Get(t.Context(), id)
		return err == nil && status.Error != nil && status.State == matching.Queued
	})
	if err := h.redis.Client().HSet(t.Context(), prefix+":jobs:job:"+id, "attempts", 10).Err(); err != nil {
		t.Fatal(err)
	}
	if status := h.await(t, id, matching.Failed); status.Error.Code != "exhausted" {
		t.Errorf("it is %+v", status)
	}
	if all := h.told.of(0); len(all) != 1 || data[completion](t, all[0]).Code != "exhausted" {
		t.Errorf("the service was told %+v", all)
	}
	h.java.answers(nil)
	if _, err := h.jobs.Retry(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	h.await(t, id, matching.Completed)
}

func TestWhatIsTooLongIsNotRepeated(t *testing.T) {
	h := start(t, options{})
	event := `{"id":"e","data":{"users":[1,2],"type":"` + strings.Repeat("x", 60_000) + `"}}`
	if err := h.jobs.Accept(t.Context(), []byte(event)); err != nil {
		t.Fatal(err)
	}
	h.await(t, "e", matching.Failed)
	if all := h.told.of(0); len(all) != 1 || len(all[0].Data) > 2000 {
		t.Errorf("the service was told %d events", len(all))
	}
	h.java.fails(200, `{"pairs":[{"employee1_id":1,"employee2_id":2}],"algorithm":"`+strings.Repeat("x", 70_000)+`"}`)
	id := h.ask(t, `{"users":[1,2]}`)
	if status := h.await(t, id, matching.Completed); status.Result.Algorithm != "" {
		t.Errorf("the algorithm has %d bytes", len(status.Result.Algorithm))
	}
}

func TestWhatMakesARequestTheSame(t *testing.T) {
	h := start(t, options{})
	h.ask(t, `{"users":[1,2,3],"request_id":"r"}`)
	again, err := h.jobs.Request(t.Context(), matching.Terms{}, []byte(`{"users":[3,1,2],"request_id":"r"}`))
	if err != nil || !again.Repeated {
		t.Errorf("in another order it is %+v, %v", again, err)
	}
	if _, err := h.jobs.Request(t.Context(), matching.Terms{}, []byte(`{"users":[4,5],"request_id":"r"}`)); !errors.Is(err, matching.ErrIDReused) {
		t.Errorf("for others the error is %v", err)
	}
	var invalid *matching.InvalidError
	_, err = h.jobs.Request(t.Context(), matching.Terms{IdempotencyKey: "k"}, []byte(`{"users":[4,5],"request_id":"s"}`))
	if !errors.As(err, &invalid) || invalid.Fields[0].Field != "request_id" {
		t.Errorf("with a key as well the error is %v", err)
	}
	for _, id := range []string{".", "..", "a/b", ""} {
		if _, err := h.jobs.Get(t.Context(), id); !errors.Is(err, matching.ErrNotFound) {
			t.Errorf("%q is found: %v", id, err)
		}
	}
}
