package matching_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/jobqueue"
	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/javaclient"
	"github.com/connectbot-hub/connecthub/matching"
)

// data reads an event's data.
func data[T any](tb testing.TB, e matching.Event) T {
	tb.Helper()
	var got T
	if err := json.Unmarshal(e.Data, &got); err != nil {
		tb.Fatal(err)
	}
	return got
}

type completion struct {
	RequestID string `json:"request_id"`
	Type      string
	Source    string
	Degraded  bool
	Omitted   bool
	Total     int `json:"total_pairs"`
	Code      string
	Detail    string
}

type partner struct {
	RequestID string `json:"request_id"`
	PartnerID int64  `json:"partner_id"`
}

// checkTold checks that the service was told once, and each of n users of a partner who was told of them.
func checkTold(tb testing.TB, h *hub, id string, n int64) completion {
	tb.Helper()
	all := h.told.of(0)
	if len(all) != 1 || all[0].Type != matching.TypeCompleted {
		tb.Fatalf("the service was told %d events: %+v", len(all), all)
	}
	done := data[completion](tb, all[0])
	if done.RequestID != id || done.Total != int(n/2) {
		tb.Errorf("the service was told %s", all[0].Data)
	}
	partners := map[int64]int64{}
	for user := int64(1); user <= n; user++ {
		for _, e := range h.told.of(user) {
			if _, twice := partners[user]; twice || e.Type != matching.TypeCompleted {
				tb.Errorf("user %d is told more than once, or of something else", user)
			}
			partners[user] = data[partner](tb, e).PartnerID
		}
	}
	for user, other := range partners {
		if partners[other] != user {
			tb.Errorf("user %d is told of %d, who is told of %d", user, other, partners[other])
		}
	}
	if len(partners) != int(n/2*2) {
		tb.Errorf("%d users are told of a partner", len(partners))
	}
	return done
}

func TestBothFormsOfTheEventAreAnswered(t *testing.T) {
	for name, c := range map[string]struct{ id, event, path string }{
		"users": {
			"e1", `{"id":"e1","type":"matching.request","data":{"users":[1,2,3,4],"type":"coffee"},"channel":"c"}`,
			"/api/matching/coffee/simple",
		},
		"employees": {
			"r-9",
			`{"id":"e2","data":{"request_id":"r-9","type":"secret_coffee","employees":[{"id":1,"department":3},{"id":2},{"id":3},{"id":4}],"more":1}}`,
			"/api/v1/matching/match/secret-coffee",
		},
		"both": {
			"e3", `{"id":"e3","data":{"users":["1",2,3,4],"employees":[{"id":2}],"interest":"chess"}}`,
			"/api/matching/coffee/interest",
		},
		"half an emoji, and labels that cannot be": {
			"77",
			`{"id":"e5","correlation_id":"` + strings.Repeat("c", 200) + `","data":{"request_id":77,"employees":[{"id":1,"displayName":"\ud83d","x":"\ud83d"},{"id":2},{"id":3},{"id":4}]}}`,
			"/api/matching/coffee/simple",
		},
		"an id that is no name": {
			"5a1d33ab-b0c9-5ccf-bb94-3ac2a5ef2b04", `{"id":"e 4/x","data":{"users":[1,2,3,4],"algorithm":"INTEREST_BASED","type":"chess"}}`,
			"/api/matching/coffee/interest",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, options{})
			paths := make(chan string, 10)
			h.java.answers(func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
				if r.Method == http.MethodPost {
					paths <- r.URL.Path
				}
				return false
			})
			if err := h.jobs.Accept(t.Context(), []byte(c.event)); err != nil {
				t.Fatal(err)
			}
			if name == "an id that is no name" { // It has one that is derived.
				redistest.Eventually(t, soon, "the service is told", func() bool { return len(h.told.of(0)) == 1 })
				c.id = data[completion](t, h.told.of(0)[0]).RequestID
			}
			status := h.await(t, c.id, matching.Completed)
			if path := <-paths; path != c.path {
				t.Errorf("the service was asked at %s", path)
			}
			if status.Result == nil || len(status.Result.Pairs) != 2 || status.Attempts != 1 || status.Error != nil {
				t.Errorf("the status is %+v", status)
			}
			checkTold(t, h, c.id, 4)
		})
	}
}

func TestARequestIsTakenOnce(t *testing.T) {
	h := start(t, options{})
	event := []byte(`{"id":"e1","data":{"users":[1,2,3,4]}}`)
	for range 3 {
		if err := h.jobs.Accept(t.Context(), event); err != nil {
			t.Fatal(err)
		}
	}
	h.await(t, "e1", matching.Completed)
	if err := h.jobs.Accept(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	again, err := h.jobs.Request(t.Context(), matching.Terms{}, []byte(`{"request_id":"e1","users":[1,2,3,4]}`))
	if err != nil || !again.Repeated || again.State != matching.Completed {
		t.Errorf("asked again it is %+v, %v", again, err)
	}
	if _, err := h.jobs.Request(t.Context(), matching.Terms{}, []byte(`{"request_id":"e1","users":[5,6]}`)); !errors.Is(err, matching.ErrKeyReused) {
		t.Errorf("for others the error is %v", err)
	}
	if err := h.jobs.Accept(t.Context(), []byte(`{"id":"e1","data":{"users":[5,6]}}`)); err != nil {
		t.Errorf("an event for others is handed over again: %v", err)
	}
	if n := h.java.calls.Load(); n != 1 {
		t.Errorf("the service was asked %d times", n)
	}
	checkTold(t, h, "e1", 4)
}

func TestARequestWithAKey(t *testing.T) {
	h := start(t, options{})
	terms := matching.Terms{IdempotencyKey: "k", Call: javaclient.Call{Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
	first, err := h.jobs.Request(t.Context(), terms, []byte(`{"users":[1,2,3,4,5],"type":"lunch"}`))
	if err != nil || first.State != matching.Queued || first.Repeated {
		t.Fatalf("it is %+v, %v", first, err)
	}
	second, err := h.jobs.Request(t.Context(), terms, []byte(`{"type":"lunch","users":[1,2,3,4,5]}`))
	if err != nil || second.RequestID != first.RequestID || !second.Repeated {
		t.Errorf("asked again it is %+v, %v", second, err)
	}
	if _, err := h.jobs.Request(t.Context(), terms, []byte(`{"users":[1,2]}`)); !errors.Is(err, matching.ErrKeyReused) {
		t.Errorf("for others the error is %v", err)
	}
	status := h.await(t, first.RequestID, matching.Completed)
	if len(status.Result.Unmatched) != 1 {
		t.Errorf("the result is %+v", status.Result)
	}
	if done := checkTold(t, h, first.RequestID, 5); done.Type != "lunch" {
		t.Errorf("the service was told of a %s", done.Type)
	}
	if h.java.header("traceparent") != terms.Call.Traceparent || h.java.header("X-Request-ID") != first.RequestID {
		t.Error("the request's id and trace did not go along")
	}
	redistest.Eventually(t, soon, "what is known of it is kept for others", func() bool {
		h.told.mu.Lock()
		defer h.told.mu.Unlock()
		doc := h.told.docs[first.RequestID]
		return strings.Contains(doc, `"state":"completed"`) && strings.Contains(doc, `"people":5`)
	})
}

func TestARequestWaitsForTheServiceAndThenTheHubMatches(t *testing.T) {
	const patience = 3 * time.Second
	h := start(t, options{retryFor: patience, queue: jobqueue.Config{MaxAttempts: 1}}) // To wait is no attempt.
	h.java.fails(500, "")
	status, err := h.jobs.Request(t.Context(), matching.Terms{}, []byte(`{"users":[1,2,3,4]}`))
	if err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, soon, "it waits", func() bool {
		got, err := h.jobs.Get(t.Context(), status.RequestID)
		return err == nil && got.State == matching.Queued && got.Error != nil && got.Error.Code == "server_error"
	})
	done := h.await(t, status.RequestID, matching.Completed)
	if done.Attempts < 2 || done.UpdatedAt.Sub(done.CreatedAt) < patience || done.Result.Source != matching.Fallback {
		t.Errorf("it is %+v", done)
	}
	if told := checkTold(t, h, status.RequestID, 4); told.Source != "fallback" || !told.Degraded {
		t.Errorf("the service was told %+v", told)
	}
}

func TestAServiceThatComesBackInTimeAnswers(t *testing.T) {
	h := start(t, options{retryFor: time.Hour, alone: true})
	h.java.fails(503, "")
	status, err := h.jobs.Request(t.Context(), matching.Terms{}, []byte(`{"users":[1,2,3,4]}`))
	if err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, soon, "it was tried", func() bool { return h.java.calls.Load() > 0 })
	h.java.answers(nil)
	if done := h.await(t, status.RequestID, matching.Completed); done.Result.Source != matching.Java {
		t.Errorf("it is %+v", done)
	}
	checkTold(t, h, status.RequestID, 4)
}

func TestWhatCannotBeAnsweredBecomesADeadLetter(t *testing.T) {
	for name, c := range map[string]struct {
		event, code string
		answer      int
	}{
		"no object":    {`{"id":"e","data":[1,2]}`, "invalid_request", 0},
		"no data":      {`{"id":"e"}`, "invalid_request", 0},
		"nobody":       {`{"id":"e","data":{"users":[]}}`, "invalid_request", 0},
		"a user twice": {`{"id":"e","data":{"users":[1,1]}}`, "invalid_request", 0},
		"no list":      {`{"id":"e","data":{"users":"all"}}`, "invalid_request", 0},
		"algorithm":    {`{"id":"e","data":{"users":[1,2],"algorithm":"GREEDY"}}`, "invalid_request", 0},
		"too many":     {`{"id":"e","data":{"users":[` + strings.Repeat("1,", 5000) + `1]}}`, "too_many_people", 0},
		"refused":      {`{"id":"e","data":{"users":[1,2]}}`, "refused", 400},
		"it fails":     {`{"id":"e","data":{"users":[1,2]}}`, "server_error", 500},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, options{alone: true})
			if c.answer != 0 {
				h.java.fails(c.answer, "")
			}
			if err := h.jobs.Accept(t.Context(), []byte(c.event)); err != nil {
				t.Fatal(err)
			}
			status := h.await(t, "e", matching.Failed)
			if status.Error == nil || status.Error.Code != c.code {
				t.Errorf("the error is %+v", status.Error)
			}
			all := h.told.of(0)
			if len(all) != 1 || all[0].Type != matching.TypeFailed || data[completion](t, all[0]).Code != c.code {
				t.Errorf("the service was told %+v", all)
			}
			h.java.answers(nil)
			if err := h.jobs.Accept(t.Context(), []byte(`{"id":"next","data":{"users":[1,2]}}`)); err != nil {
				t.Fatal(err)
			}
			h.await(t, "next", matching.Completed)
		})
	}
}

func TestADeadLetterIsRetried(t *testing.T) {
	h := start(t, options{alone: true})
	h.java.fails(500, "")
	for i := range 3 {
		if err := h.jobs.Accept(t.Context(), fmt.Appendf(nil, `{"id":"e%d","data":{"users":[1,2]}}`, i)); err != nil {
			t.Fatal(err)
		}
		h.await(t, fmt.Sprint("e", i), matching.Failed)
	}
	page, err := h.jobs.List(t.Context(), matching.Failed, "", 2)
	if err != nil || len(page.Requests) != 2 || page.Next == "" || page.Requests[0].RequestID != "e2" {
		t.Fatalf("the dead letters are %+v, %v", page, err)
	}
	if page, err = h.jobs.List(t.Context(), matching.Failed, page.Next, 2); err != nil || len(page.Requests) != 1 || page.Next != "" {
		t.Errorf("the rest of them is %+v, %v", page, err)
	}
	if _, err := h.jobs.Retry(t.Context(), "e1"); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, soon, "it failed again, and that was told", func() bool { return len(h.told.of(0)) == 4 })
	h.await(t, "e1", matching.Failed)
	h.java.answers(nil)
	if _, err := h.jobs.Retry(t.Context(), "e1"); err != nil {
		t.Fatal(err)
	}
	if done := h.await(t, "e1", matching.Completed); done.Retries != 2 {
		t.Errorf("it is %+v", done)
	}
	if _, err := h.jobs.Retry(t.Context(), "e1"); !errors.Is(err, matching.ErrNotFailed) {
		t.Errorf("retried when it is completed the error is %v", err)
	}
	if _, err := h.jobs.Retry(t.Context(), "nobody"); !errors.Is(err, matching.ErrNotFound) {
		t.Errorf("retried when it is unknown the error is %v", err)
	}
	waiting, failed, err := h.jobs.Depth(t.Context())
	if err != nil || waiting != 0 || failed != 2 {
		t.Errorf("%d wait and %d failed, %v", waiting, failed, err)
	}
}

// The service pairs at random, so that an attempt that is repeated must not ask it again once somebody was told.
func TestWhatWasDecidedIsToldToAll(t *testing.T) {
	h := start(t, options{})
	left := 5
	h.told.fail = func(e matching.Event) error {
		if e.UserID > 10 && left > 0 {
			left--
			return errors.New("Redis is away")
		}
		return nil
	}
	body := with(40, `"request_id":"r",`)
	if _, err := h.jobs.Request(t.Context(), matching.Terms{}, body); err != nil {
		t.Fatal(err)
	}
	if done := h.await(t, "r", matching.Completed); done.Attempts < 2 {
		t.Errorf("it is %+v", done)
	}
	checkTold(t, h, "r", 40)
	if n := h.java.calls.Load(); n != 1 {
		t.Errorf("the service was asked %d times", n)
	}
}

func TestAnotherHubGoesOnWhenOneDies(t *testing.T) {
	prefix, j := redistest.Prefix(t), startJava(t)
	queue := jobqueue.Config{Lease: time.Second}
	hung, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	j.answers(func(http.ResponseWriter, *http.Request, []byte) bool {
		close(hung)
		<-release
		return false
	})
	first := start(t, options{prefix: prefix, java: j, queue: queue})
	if _, err := first.jobs.Request(t.Context(), matching.Terms{}, with(6, `"request_id":"r",`)); err != nil {
		t.Fatal(err)
	}
	<-hung
	j.answers(nil)
	first.stop() // Its attempt is cut off, as by a process that dies, but sooner.
	second := start(t, options{prefix: prefix, java: j, queue: queue, told: first.told})
	second.await(t, "r", matching.Completed)
	checkTold(t, second, "r", 6)
}

func TestManyPeopleAreToldThoughTheEventIsTooLarge(t *testing.T) {
	h := start(t, options{})
	users := make([]string, 3000)
	for i := range users {
		users[i] = fmt.Sprint(1_000_000_000_000 + i)
	}
	status, err := h.jobs.Request(t.Context(), matching.Terms{}, []byte(`{"users":[`+strings.Join(users, ",")+`]}`))
	if err != nil {
		t.Fatal(err)
	}
	done := h.await(t, status.RequestID, matching.Completed)
	if len(done.Result.Pairs) != 1500 {
		t.Errorf("the result has %d pairs", len(done.Result.Pairs))
	}
	told := h.told.of(0)
	if len(told) != 1 || len(told[0].Data) > 60<<10 || !data[completion](t, told[0]).Omitted {
		t.Errorf("the service was told %d events", len(told))
	}
	if n := h.jobs.Stats().Told; n != 3001 {
		t.Errorf("%d events were told", n)
	}
}

func TestRequestsAreListedWhileTheyWait(t *testing.T) {
	h := start(t, options{retryFor: time.Hour})
	h.java.fails(500, "")
	for i := range 5 {
		if _, err := h.jobs.Request(t.Context(), matching.Terms{}, fmt.Appendf(nil, `{"request_id":"r%d","users":[1,2]}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	page, err := h.jobs.List(t.Context(), matching.Queued, "", 100)
	if err != nil || len(page.Requests) != 5 {
		t.Errorf("they are %+v, %v", page, err)
	}
	var invalid *matching.InvalidError
	if _, err := h.jobs.List(t.Context(), "what", "", 0); !errors.As(err, &invalid) || len(invalid.Fields) != 2 {
		t.Errorf("the error is %v", err)
	}
	if _, err := h.jobs.List(t.Context(), matching.Failed, "what", 5); !errors.As(err, &invalid) || invalid.Fields[0].Field != "cursor" {
		t.Errorf("the error is %v", err)
	}
	if _, err := h.jobs.Get(t.Context(), "unknown"); !errors.Is(err, matching.ErrNotFound) {
		t.Errorf("the error is %v", err)
	}
}

func TestNothingIsAcknowledgedWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	h := start(t, options{redis: server})
	server.Stop()
	if _, err := h.jobs.Request(t.Context(), matching.Terms{}, []byte(`{"users":[1,2]}`)); !errors.Is(err, matching.ErrUnavailable) {
		t.Errorf("the error is %v", err)
	}
	if err := h.jobs.Accept(t.Context(), []byte(`{"id":"e","data":{"users":[1,2]}}`)); !errors.Is(err, matching.ErrUnavailable) {
		t.Errorf("the error is %v", err)
	}
}
