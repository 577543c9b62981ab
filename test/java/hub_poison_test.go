//go:build java

package java

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// poison is what somebody publishes on the service's channel, and what becomes of it: a dead letter with a code, or nothing
// as it is no event. ID stands for the id of the event.
var poison = []struct{ payload, code string }{ //nolint:gochecknoglobals // A constant, but for the language.
	{``, ""},
	{`null`, ""},
	{`[]`, ""},
	{`{}`, ""},
	{`PING`, ""},
	{"\x00\x01\xff", ""},
	{`{"id":"ID","type":"matching.request","data":{"users":[1,2]`, ""},
	{`{"id":"ID","type":"matching.request","data":{"users":[1,NaN]},"timestamp":"2026-11-21T19:11:26.527504"}`, ""},
	{`{"id":"ID","type":"matching.request","data":{"users":[1,2]}}`, ""}, // When?
	{`{"id":5,"type":"matching.request","data":{"users":[1,2]},"timestamp":"2026-11-21T19:11:26.527504"}`, ""},
	{`{"id":"a b","type":"matching.request","data":{"users":[1,2]},"timestamp":"2026-11-21T19:11:26.527504"}`, ""},
	{`{"id":"ID","type":"matching.request","type":"x","data":{"users":[1,2]},"timestamp":"2026-11-21T19:11:26.527504"}`, ""},
	{`{"id":"ID","type":"matching.request","data":{"users":[1,2],"users":[3]},"timestamp":"2026-11-21T19:11:26.527504"}`, ""},
	{"{\"id\":\"ID\",\"type\":\"matching.request\",\"data\":{\"users\":[1,2],\"type\":\"\xff\"},\"timestamp\":\"2026-11-21T19:11:26.527504\"}", ""},
	{`{"id":"ID","type":"matching.request","data":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `,"timestamp":"2026-11-21T19:11:26.527504"}`, ""},
	{`{"id":"ID","type":"matching.request","data":{"users":[1,2],"x":"` + strings.Repeat("x", 1<<20) + `"},"timestamp":"2026-11-21T19:11:26.527504"}`, ""},
	{`{"id":"ID","type":"matching.request","data":{"users":[1,2]},"timestamp":"2026-11-21T19:11:26.527504","offset":"1-1"}`, ""},
	{`{"id":"ID","type":"matching.request","data":{"users":[1,2]},"timestamp":"2026-11-21T19:11:26.527504","correlation_id":5}`, ""},
	{event("matching.pause", `{"users":[1,2]}`), ""},
	{event("matching.requests", `{"users":[1,2]}`), ""},
	{event("matching.request.more", `{"users":[1,2]}`), ""},

	{`{"id":"ID","type":"matching.request","timestamp":"2026-11-21T19:11:26.527504"}`, "invalid_request"},
	{request(`null`), "invalid_request"},
	{request(`0`), "invalid_request"},
	{request(`"{\"users\":[1,2]}"`), "invalid_request"},
	{request(`[1,2]`), "invalid_request"},
	{request(strings.Repeat("[", 5000) + strings.Repeat("]", 5000)), "invalid_request"},
	{request(`{}`), "invalid_request"},
	{request(`{"users":null}`), "invalid_request"},
	{request(`{"users":[]}`), "invalid_request"},
	{request(`{"users":7}`), "invalid_request"},
	{request(`{"users":{"1":2}}`), "invalid_request"},
	{request(`{"users":[1,null]}`), "invalid_request"},
	{request(`{"users":[1,[2]]}`), "invalid_request"},
	{request(`{"users":[1,2,1]}`), "invalid_request"},
	{request(`{"users":[1,"1"]}`), "invalid_request"},
	{request(`{"users":[1,0]}`), "invalid_request"},
	{request(`{"users":[1,-2]}`), "invalid_request"},
	{request(`{"users":[1,2.5]}`), "invalid_request"},
	{request(`{"users":[1,1e3]}`), "invalid_request"},
	{request(`{"users":[1,9223372036854775808]}`), "invalid_request"},
	{request(`{"users":[1,"` + surname + `"]}`), "invalid_request"},
	{request(`{"users":[1,"１２"]}`), "invalid_request"},
	{request(`{"users":[1,""]}`), "invalid_request"},
	{request(`{"users":[1,2],"type":5}`), "invalid_request"},
	{request(`{"users":[1,2],"type":"` + strings.Repeat("x", 129) + `"}`), "invalid_request"},
	{request(`{"users":[1,2],"type":"a\u0000b"}`), "invalid_request"},
	{request(`{"users":[1,2],"algorithm":"BEST"}`), "invalid_request"},
	{request(`{"users":[1,2],"algorithm":{}}`), "invalid_request"},
	{request(`{"users":[1,2],"algorithm":"INTEREST_BASED","interest":" "}`), "invalid_request"},
	{request(`{"users":[1,2],"algorithm_params":[1]}`), "invalid_request"},
	{request(`{"users":[1,2],"request_id":[5]}`), "invalid_request"},
	{request(`{"employees":[{"displayName":"` + surname + `"}]}`), "invalid_request"},
	{request(`{"employees":[{"id":"` + surname + `"}]}`), "invalid_request"},
	{request(`{"employees":[{"id":1,"displayName":{"a":"` + surname + `"}}]}`), "invalid_request"},
	{request(`{"employees":[{"id":1},{"id":1}]}`), "invalid_request"},
	{request(`{"employees":[1,2]}`), "invalid_request"},
	{request(`{"employees":"` + surname + `"}`), "invalid_request"},
	{request(`{"users":[` + numbers(5001) + `]}`), "too_many_people"},
}

// request is an event of the bot with this data.
func request(data string) string { return event("matching.request", data) }

func event(kind, data string) string {
	return `{"id": "ID", "type": "` + kind + `", "data": ` + data + `, "timestamp": "2026-11-21T19:11:26.527504", ` +
		`"channel": "connectbot:service:matching", "user_id": null, "source": "django-connectbot"}`
}

func numbers(n int) string {
	var text strings.Builder
	for i := range n {
		text.WriteString("," + strconv.Itoa(i+1))
	}
	return text.String()[1:]
}

// TestHubIsPoisoned publishes what is no request among requests, which are answered.
func TestHubIsPoisoned(t *testing.T) {
	s, rds := serviceFor(t), redistest.Start(t)
	h, rdb := startHub(t, rds, "JAVA_SERVICE_URL="+s.url), rds.Client()
	asked, dead := map[string][]int64{}, map[string]string{}
	for n, p := range poison {
		id, users := fmt.Sprintf("poison-%d", n), []int64{int64(2*n + 1), int64(2*n + 2)}
		publish(t, rdb, strings.ReplaceAll(p.payload, "ID", id))
		if p.code != "" {
			dead[id] = p.code
		}
		id = fmt.Sprintf("good-%d", n)
		publish(t, rdb, botEvent(t, id, fmt.Sprintf(`{"users": [%d, %d], "type": "coffee"}`, users[0], users[1])))
		asked[id] = users
	}
	for id, e := range h.toldOnce(asked) {
		if e.Data.Source != "java" || len(e.Data.Pairs) != 1 {
			t.Errorf("of %s the service is told %+v", id, e)
		}
	}
	s.got(simplePath, len(asked))
	for id, code := range dead {
		h.ends("failed", id)
		if k := h.known(id); k.Error == nil || k.Error.Code != code || k.Attempts != 1 {
			t.Errorf("%s is known as %+v, %+v, want %s", id, k, k.Error, code)
		}
	}
	var letters []string
	for _, e := range h.logged("service:matching", "matching.failed") {
		letters = append(letters, e.Data.RequestID)
		if e.Data.Code != dead[e.Data.RequestID] || e.CorrelationID != e.Data.RequestID {
			t.Errorf("the service is told %+v", e)
		}
	}
	slices.Sort(letters)
	if len(letters) != len(dead) || len(slices.Compact(letters)) != len(dead) {
		t.Errorf("the service is told of %d dead letters, want %d: %v", len(letters), len(dead), letters)
	}
	var page struct {
		Requests []struct {
			RequestID string `json:"request_id"`
		}
	}
	h.get(hubRequests+"?state=failed&limit=1000", &page)
	for _, r := range page.Requests {
		if dead[r.RequestID] == "" {
			t.Errorf("%s is a dead letter", r.RequestID)
		}
	}
	if len(page.Requests) != len(dead) {
		t.Errorf("there are %d dead letters, want %d", len(page.Requests), len(dead))
	}
	// It lives, and goes on.
	if got := whole(t, h.url+"/health", ""); got.status != http.StatusOK {
		t.Errorf("/health says %d %s", got.status, got.body)
	}
	h.post(hubSimple, staff(4), http.StatusOK)
}
