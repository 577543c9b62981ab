package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/jobqueue"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

const matchingRequests = "/v1/matching/requests"

// accepted checks that a request is taken, and where it is to be seen.
func (a answer) accepted(tb testing.TB) api.MatchingStatus {
	tb.Helper()
	a.is(tb, http.StatusAccepted, "application/json")
	status := decode[api.MatchingStatus](tb, a.body)
	if want := matchingRequests + "/" + status.RequestID; a.header.Get("Location") != want {
		tb.Errorf("Location is %q, want %s", a.header.Get("Location"), want)
	}
	for _, at := range []string{status.CreatedAt, status.UpdatedAt} {
		if _, err := time.Parse("2006-01-02T15:04:05.000000Z", at); err != nil {
			tb.Errorf("the times are not in UTC with microseconds: %s", a.body)
		}
	}
	return status
}

// statuses lists requests.
func (h *hub) statuses(tb testing.TB, query string) api.MatchingStatusList {
	tb.Helper()
	a := h.get(tb, matchingRequests+"?"+query)
	a.is(tb, 200, "application/json")
	return decode[api.MatchingStatusList](tb, a.body)
}

// status returns what is known of a request, which may be nothing.
func (h *hub) status(tb testing.TB, id string) (status api.MatchingStatus) {
	tb.Helper()
	if a := h.get(tb, matchingRequests+"/"+id); a.status == 200 {
		status = decode[api.MatchingStatus](tb, a.body)
	}
	return status
}

// await waits until a request is in a state.
func (h *hub) await(tb testing.TB, id, state string) (status api.MatchingStatus) {
	tb.Helper()
	redistest.Eventually(tb, soon, "the request "+id+" is "+state, func() bool {
		status = h.status(tb, id)
		return string(status.State) == state
	})
	return status
}

// completed is the data of a matching.completed, for the service or for a user.
type completed struct {
	RequestID string             `json:"request_id"`
	Type      string             `json:"type"`
	Source    string             `json:"source"`
	Degraded  bool               `json:"degraded"`
	Reason    string             `json:"reason"`
	Algorithm string             `json:"algorithm"`
	Pairs     []api.MatchingPair `json:"pairs"`
	Unmatched []int64            `json:"unmatched_employees"`
	Total     int                `json:"total_pairs"`
	Omitted   bool               `json:"omitted"`
	PartnerID int64              `json:"partner_id"`
}

// failed is the data of a matching.failed.
type failed struct {
	RequestID string `json:"request_id"`
	Type      string `json:"type"`
	Code      string `json:"code"`
	Detail    string `json:"detail"`
}

// completions returns the events matching.completed of a channel.
func (h *hub) completions(tb testing.TB, channel string) []envelope {
	tb.Helper()
	return slices.DeleteFunc(h.list(tb, "channel="+channel).Events, func(e envelope) bool { return e.Type != "matching.completed" })
}

// TestMatchingRequest asks for pairs that come later, and reads them in three places: with the request, on the channel of the
// service and on those of the people.
func TestMatchingRequest(t *testing.T) {
	t.Parallel()
	h, java := startMatchingHub(t, matchingOptions{})
	service := h.follow(t, "channel=service:matching")
	users := h.follow(t, "channel=user:101&channel=user:102&channel=user:103")
	a := h.post(t, matchingRequests, `{"request_id":"coffee-47","type":"lunch","users":[103],"employees":`+group(2)+`}`,
		"X-Request-ID: r-1", "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	status := a.accepted(t)
	if status.RequestID != "coffee-47" || a.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("the request is %s, Idempotency-Replayed %q", a.body, a.header.Get("Idempotency-Replayed"))
	}
	event := service.event(t)
	got := decode[completed](t, event.Data)
	if event.Type != "matching.completed" || event.CorrelationID != "coffee-47" || event.Source != "connecthub" || got.RequestID != "coffee-47" || got.Type != "lunch" ||
		got.Source != "java" || got.Degraded || got.Algorithm != "SIMPLE_RANDOM" || len(got.Pairs) != 1 || len(got.Unmatched) != 1 || got.Total != 1 || got.Omitted {
		t.Fatalf("the service is told %s", event.Data)
	}
	partners := map[int64]int64{
		got.Pairs[0].Employee1ID: got.Pairs[0].Employee2ID, got.Pairs[0].Employee2ID: got.Pairs[0].Employee1ID,
	}
	for range 2 {
		event := users.event(t)
		told := decode[completed](t, event.Data)
		if event.Type != "matching.completed" || event.CorrelationID != "coffee-47" || event.UserID == nil || told.PartnerID != partners[*event.UserID] ||
			told.RequestID != "coffee-47" || told.Type != "lunch" || told.Source != "java" || told.Degraded {
			t.Errorf("a user is told %+v %s", event, event.Data)
		}
		delete(partners, *event.UserID)
	}
	if len(partners) > 0 {
		t.Errorf("not told of partners: %v", partners)
	}
	done := h.await(t, "coffee-47", "completed")
	if done.Result == nil || fmt.Sprint(done.Result.Pairs) != fmt.Sprint(got.Pairs) || done.Attempts != 1 || done.Error != nil || done.Result.RequestID != "coffee-47" {
		t.Errorf("the request is %+v", done)
	}
	header := java.only(t, javaSimple).header
	if header.Get("X-Request-ID") != "coffee-47" || !strings.HasPrefix(header.Get("Traceparent"), "00-4bf9") {
		t.Errorf("Java got the headers %v", header)
	}
	// It lies with the temporary data too, for a while.
	kept := h.get(t, "/v1/temp/matching_requests/coffee-47")
	kept.is(t, 200, "application/json")
	if !json.Valid(kept.body) || !strings.Contains(string(kept.body), "coffee-47") {
		t.Errorf("as temporary data there is %s", kept.body)
	}
}

// TestMatchingRequestOnce sends requests again, which are done once.
func TestMatchingRequestOnce(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ body, header, other, field string }{
		"by id":  {`{"request_id":"a","users":[101,102]}`, "Idempotency-Key:", `{"request_id":"a","users":[101,103]}`, "request_id"},
		"by key": {`{"users":[101,102]}`, "Idempotency-Key: k", `{"users":[101,102],"type":"chess"}`, "Idempotency-Key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, java := startMatchingHub(t, matchingOptions{})
			const n = 10
			answers := make([]answer, n)
			var all sync.WaitGroup
			for i := range n {
				all.Go(func() {
					var err error
					if answers[i], err = h.try(t, http.MethodPost, matchingRequests, strings.NewReader(tt.body), tt.header); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			replayed, id := 0, ""
			for _, a := range answers {
				id = a.accepted(t).RequestID
				if a.header.Get("Idempotency-Replayed") == "true" {
					replayed++
				}
			}
			if replayed != n-1 {
				t.Errorf("%d of %d are known", replayed, n)
			}
			first := h.await(t, id, "completed")
			if again := h.post(t, matchingRequests, tt.body, tt.header).accepted(t); again.State != "completed" || again.Result == nil || again.UpdatedAt != first.UpdatedAt {
				t.Errorf("again it is %+v", again)
			}
			h.post(t, matchingRequests, tt.other, tt.header).problem(t, 422, "idempotency_key_reused", tt.field)
			java.only(t, javaSimple)
			if told := h.completions(t, "service:matching"); len(told) != 1 {
				t.Errorf("the service is told %d times", len(told))
			}
		})
	}
	t.Run("by both", func(t *testing.T) {
		t.Parallel()
		h, _ := startMatchingHub(t, matchingOptions{})
		h.post(t, matchingRequests, `{"request_id":"a","users":[101,102]}`, "Idempotency-Key: k").problem(t, 422, "invalid_fields", "request_id")
	})
	t.Run("without either", func(t *testing.T) {
		t.Parallel()
		h, _ := startMatchingHub(t, matchingOptions{})
		one, two := h.post(t, matchingRequests, `{"users":[1,2]}`, "X-Request-ID: r").accepted(t), h.post(t, matchingRequests, `{"users":[1,2]}`, "X-Request-ID: r").accepted(t)
		if one.RequestID == two.RequestID {
			t.Errorf("both are called %s", one.RequestID)
		}
		h.await(t, one.RequestID, "completed")
		h.await(t, two.RequestID, "completed")
	})
}

// TestMatchingRequestByEvent asks with events: one through the hub, and one as the bot publishes it, on Redis itself.
func TestMatchingRequestByEvent(t *testing.T) {
	t.Parallel()
	h, java := startMatchingHub(t, matchingOptions{byEvent: true})
	h.publish(t, "service:matching", `{"type":"matching.request","id":"e-1","correlation_id":"c-1","data":{"users":[101,102],"type":"coffee","comment":"x"}}`)
	const fromBot = `{"id":"0b6f6f2e-6d0f-4a0e-9c11-2f0f7b1d7a01","type":"matching.request","data":{"users":[201,202,203],"type":"coffee"},` +
		`"timestamp":"2026-11-21T12:15:00.123456","channel":"%s","user_id":null,"source":"django-connectbot"}`
	if err := h.redis.Client().Publish(t.Context(), h.full("service:matching"), fmt.Sprintf(fromBot, h.full("service:matching"))).Err(); err != nil {
		t.Fatal(err)
	}
	one := h.await(t, "e-1", "completed")
	two := h.await(t, "0b6f6f2e-6d0f-4a0e-9c11-2f0f7b1d7a01", "completed")
	if len(one.Result.Pairs) != 1 || len(two.Result.Pairs) != 1 || len(two.Result.UnmatchedEmployees) != 1 {
		t.Errorf("the results are %+v and %+v", one.Result, two.Result)
	}
	told := h.completions(t, "service:matching")
	correlations := []string{}
	for _, e := range told {
		correlations = append(correlations, e.CorrelationID)
	}
	slices.Sort(correlations)
	if !slices.Equal(correlations, []string{"0b6f6f2e-6d0f-4a0e-9c11-2f0f7b1d7a01", "c-1"}) {
		t.Errorf("told of %q", correlations)
	}
	// The same as a request: it is known by the id of the event.
	if a := h.post(t, matchingRequests, `{"request_id":"e-1","users":[101,102]}`); a.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("answered %d %s", a.status, a.body)
	}
	if n := len(java.calls(javaSimple)); n != 2 {
		t.Errorf("Java was asked %d times", n)
	}
	// What cannot be done becomes a dead letter, and nothing waits behind it.
	h.publish(t, "service:matching", `{"type":"matching.request","id":"bad","data":{"users":[]}}`)
	h.publish(t, "service:matching", `{"type":"matching.request","id":"worse","data":"users"}`)
	h.publish(t, "service:matching", `{"type":"matching.request","id":"good","data":{"users":[1,2]}}`)
	h.await(t, "good", "completed")
	for _, id := range []string{"bad", "worse"} {
		if status := h.await(t, id, "failed"); status.Error == nil || status.Error.Code != "invalid_request" || status.Result != nil {
			t.Errorf("%s is %+v", id, status)
		}
	}
}

// TestMatchingRequestIsLarge has so many people matched that no event can name them all.
func TestMatchingRequestIsLarge(t *testing.T) {
	t.Parallel()
	h, _ := startMatchingHub(t, matchingOptions{})
	service := h.follow(t, "channel=service:matching")
	h.post(t, matchingRequests, `{"request_id":"all","employees":`+group(3001)+`}`).accepted(t)
	event := service.event(t)
	if told := decode[completed](t, event.Data); !told.Omitted || told.Pairs != nil || told.Unmatched != nil || told.Total != 1500 {
		t.Errorf("the service is told %+v", told)
	}
	done := h.await(t, "all", "completed")
	if len(done.Result.Pairs) != 1500 || len(done.Result.UnmatchedEmployees) != 1 {
		t.Errorf("the result has %d pairs", len(done.Result.Pairs))
	}
	last := h.completions(t, fmt.Sprint("user:", done.Result.Pairs[1499].Employee2ID))
	if len(last) != 1 || decode[completed](t, last[0].Data).PartnerID != done.Result.Pairs[1499].Employee1ID {
		t.Errorf("the last is told %+v", last)
	}
}

// TestMatchingDeadLetters has requests fail, lists them, and retries them when the cause is gone.
func TestMatchingDeadLetters(t *testing.T) {
	t.Parallel()
	h, java := startMatchingHub(t, matchingOptions{})
	java.says(400, `{"message":"not today"}`)
	service := h.follow(t, "channel=service:matching")
	for i := range 3 {
		h.post(t, matchingRequests, fmt.Sprintf(`{"request_id":"r-%d","type":"walk","users":[101,102]}`, i)).accepted(t)
		h.await(t, fmt.Sprint("r-", i), "failed")
		event := service.event(t)
		if got := decode[failed](t, event.Data); event.Type != "matching.failed" || got != (failed{fmt.Sprint("r-", i), "walk", "refused", "not today"}) {
			t.Errorf("the service is told %s %s", event.Type, event.Data)
		}
	}
	var listed []string
	query := "limit=2"
	for {
		page := h.statuses(t, query)
		for _, status := range page.Requests {
			listed = append(listed, status.RequestID)
			if status.State != "failed" || status.Error == nil || status.Error.Code != "refused" || status.Error.Detail != "not today" || status.Attempts != 1 || status.Retries != 0 {
				t.Errorf("%s is %+v", status.RequestID, status)
			}
		}
		if page.NextCursor == nil {
			break
		}
		query = "limit=2&state=failed&cursor=" + *page.NextCursor
	}
	if !slices.Equal(listed, []string{"r-2", "r-1", "r-0"}) {
		t.Errorf("listed are %q", listed)
	}
	// It may fail again, and comes back then.
	if got := h.post(t, matchingRequests+"/r-1/retry", "", "Content-Type:").accepted(t); got.RequestID != "r-1" || got.Retries != 1 {
		t.Errorf("retried it is %+v", got)
	}
	if event := service.event(t); event.Type != "matching.failed" {
		t.Errorf("the service is told %s", event.Type)
	}
	h.await(t, "r-1", "failed")
	java.answers(nil)
	if a := h.post(t, matchingRequests+"/r-1/retry", ""); a.accepted(t).Retries != 2 || a.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("retried it is %s", a.body)
	}
	if got := decode[completed](t, service.event(t).Data); got.RequestID != "r-1" || got.Total != 1 {
		t.Errorf("the service is told %+v", got)
	}
	if done := h.await(t, "r-1", "completed"); done.Retries != 2 || done.Error != nil {
		t.Errorf("it is %+v", done)
	}
	h.post(t, matchingRequests+"/r-1/retry", "").problem(t, 409, "matching_request_not_failed")
	if page := h.statuses(t, ""); len(page.Requests) != 2 {
		t.Errorf("%d are listed", len(page.Requests))
	}
}

// TestMatchingRequestWaits keeps a request while Java is away, shows that it waits, and answers it when Java is back.
func TestMatchingRequestWaits(t *testing.T) {
	t.Parallel()
	h, java := startMatchingHub(t, matchingOptions{retryFor: time.Hour})
	java.says(503, ``)
	h.post(t, matchingRequests, `{"request_id":"a","users":[101,102]}`).accepted(t)
	var waiting api.MatchingStatus
	redistest.Eventually(t, soon, "the request waits for another attempt", func() bool {
		page := h.statuses(t, "state=queued")
		if len(page.Requests) != 1 {
			return false
		}
		waiting = page.Requests[0]
		return waiting.State == "queued" && waiting.Attempts > 0
	})
	if waiting.NextAttemptAt == "" || waiting.Error == nil || waiting.Error.Code == "" {
		t.Errorf("it is %+v", waiting)
	}
	h.post(t, matchingRequests+"/a/retry", "").problem(t, 409, "matching_request_not_failed")
	java.answers(nil)
	if done := h.await(t, "a", "completed"); done.Result.Source != "java" || done.Attempts < 2 {
		t.Errorf("it is %+v", done)
	}
}

// TestMatchingRequestFallback has the hub match when Java was away for long enough.
func TestMatchingRequestFallback(t *testing.T) {
	t.Parallel()
	h, java := startMatchingHub(t, matchingOptions{})
	java.server.Close()
	h.post(t, matchingRequests, `{"request_id":"a","users":[101,102]}`).accepted(t)
	done := h.await(t, "a", "completed")
	if done.Result.Source != "fallback" || !done.Result.Degraded || done.Result.Reason != "unreachable" {
		t.Errorf("it is %+v", done.Result)
	}
	for _, channel := range []string{"service:matching", "user:101", "user:102"} {
		told := h.completions(t, channel)
		if len(told) != 1 || !decode[completed](t, told[0].Data).Degraded {
			t.Errorf("on %s is told %+v", channel, told)
		}
	}
}

// TestMatchingQueueIsFull refuses requests when too many wait.
func TestMatchingQueueIsFull(t *testing.T) {
	t.Parallel()
	h, java := startMatchingHub(t, matchingOptions{retryFor: time.Hour, jobs: jobqueue.Config{MaxWaiting: 1}})
	java.says(503, ``)
	h.post(t, matchingRequests, `{"request_id":"a","users":[101,102]}`).accepted(t)
	a := h.post(t, matchingRequests, `{"request_id":"b","users":[101,102]}`)
	if p := a.problem(t, 503, "matching_queue_full"); !p.Retryable || a.header.Get("Retry-After") != "5" {
		t.Errorf("retryable %t, Retry-After %q", p.Retryable, a.header.Get("Retry-After"))
	}
	// One that is known is no more than there was.
	h.post(t, matchingRequests, `{"request_id":"a","users":[101,102]}`).accepted(t)
	java.answers(nil)
	h.await(t, "a", "completed")
}
