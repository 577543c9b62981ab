//go:build java

package java

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// botRequest is the event matching.request as the bot writes it, byte for byte: of the users 1 and 2, for coffee.
func botRequest(tb testing.TB) (id, payload string) {
	tb.Helper()
	raw, err := os.ReadFile("../../events/testdata/bot-events.json")
	if err != nil {
		tb.Fatal(err)
	}
	var all []struct{ Channel, Payload string }
	if err := json.Unmarshal(raw, &all); err != nil {
		tb.Fatal(err)
	}
	for _, e := range all {
		var envelope struct{ ID, Type string }
		if err := json.Unmarshal([]byte(e.Payload), &envelope); err != nil {
			tb.Fatal(err)
		}
		if e.Channel == matchingChannel && envelope.Type == "matching.request" {
			return envelope.ID, e.Payload
		}
	}
	tb.Fatal("the bot has no such event")
	return "", ""
}

// botEvent is an event as the bot writes it, with this id and data.
func botEvent(tb testing.TB, id, data string) string {
	tb.Helper()
	was, payload := botRequest(tb)
	written := strings.NewReplacer(was, id, `{"users": [1, 2], "type": "coffee"}`, data).Replace(payload)
	if !strings.Contains(written, `"id": "`+id+`"`) || !strings.Contains(written, `"data": `+data) {
		tb.Fatalf("the bot's event is %s", payload)
	}
	return written
}

// TestHubAnswersTheBotsRequests has the bot ask in all three ways, and listen on Redis.
func TestHubAnswersTheBotsRequests(t *testing.T) {
	botsID, payload := botRequest(t)
	for name, test := range map[string]struct {
		// ask returns the request's id, and the correlation id of what answers it.
		ask   func(rds *redistest.Server, h *hub) (id, correlation string)
		users []int64
		kind  string
	}{
		"published on Redis": {func(rds *redistest.Server, h *hub) (string, string) {
			publish(h.tb, rds.Client(), payload)
			return botsID, botsID
		}, upTo(2), "coffee"},
		"published on Redis by several": {func(rds *redistest.Server, h *hub) (string, string) {
			for range 3 {
				publish(h.tb, rds.Client(), botEvent(h.tb, "once", `{"users":[1,"2",3],"type":"lunch"}`))
			}
			return "once", "once"
		}, upTo(3), "lunch"},
		"posted as an event": {func(_ *redistest.Server, h *hub) (string, string) {
			var receipt struct{ ID string }
			got := h.post(hubEvents, `{"type":"matching.request","correlation_id":"tie","data":{"users":[1,2,3,4,5],"type":"coffee"}}`, http.StatusCreated)
			if err := json.Unmarshal([]byte(got.body), &receipt); err != nil || receipt.ID == "" {
				h.tb.Fatalf("the receipt is %s", got.body)
			}
			return receipt.ID, "tie"
		}, upTo(5), "coffee"},
		"posted as a request": {func(_ *redistest.Server, h *hub) (string, string) {
			body := `{"request_id":"week-47","users":[1,2],"employees":[{"id":3,"displayName":"` + surname + `"}],"type":"chess"}`
			got := h.post(hubRequests, body, http.StatusAccepted)
			if place := got.header.Get("Location"); place != hubRequests+"/week-47" {
				h.tb.Errorf("it is at %q", place)
			}
			if again := h.post(hubRequests, body, http.StatusAccepted); again.header.Get("Idempotency-Replayed") != "true" {
				h.tb.Errorf("asked again: %+v", again)
			}
			return "week-47", "week-47"
		}, upTo(3), "chess"},
	} {
		t.Run(name, func(t *testing.T) {
			s, rds := serviceFor(t), redistest.Start(t)
			h := startHub(t, rds, "JAVA_SERVICE_URL="+s.url)
			bot := listen(t, rds)
			id, correlation := test.ask(rds, h)
			e := h.toldOnce(map[string][]int64{id: test.users})[id]
			if e.Data.Source != "java" || e.Data.Degraded || e.Data.Type != test.kind || e.CorrelationID != correlation ||
				e.Source != "connecthub" || e.UserID != nil || len(e.Data.Pairs) != len(test.users)/2 {
				t.Errorf("the service is told %+v", e)
			}
			s.got(simplePath, 1)
			if call := s.calls().Paths[simplePath]; call.RequestID != id {
				t.Errorf("the service is told the id %s, want %s", call.RequestID, id)
			}
			if h.known(id).Attempts != 1 {
				t.Errorf("of the request is known %+v", h.known(id))
			}
			// The same on Redis: one for the service, and one for each who has a partner.
			count := 1 + 2*len(e.Data.Pairs)
			redistest.Eventually(t, soon, "the bot hears it", func() bool { return bot.count() >= count })
			if on := bot.heard(matchingChannel, "matching.completed"); len(on) != 1 || on[0].ID != e.ID || on[0].Offset == "" {
				t.Errorf("the bot hears %+v", on)
			}
			for _, pair := range e.Data.Pairs {
				for user, partner := range map[int64]int64{pair.One: pair.Two, pair.Two: pair.One} {
					on := bot.heard(userChannel+strconv.FormatInt(user, 10), "matching.completed")
					if len(on) != 1 || on[0].Data.PartnerID != partner || on[0].Data.RequestID != id || on[0].Data.Type != test.kind {
						t.Errorf("for user %d the bot hears %+v", user, on)
					}
				}
			}
			if n := bot.count(); n != count {
				t.Errorf("the bot hears %d events matching.completed, want %d", n, count)
			}
			var other struct {
				State  string
				People int
			}
			if h.get("/v1/temp/matching_requests/"+id, &other); other.State != "completed" || other.People != len(test.users) {
				t.Errorf("others read of it %+v", other)
			}
		})
	}
}

// TestHubAsksTheCallThatARequestNames has requests that come to other calls of the service, in both of its shapes.
func TestHubAsksTheCallThatARequestNames(t *testing.T) {
	s, rds := serviceFor(t), redistest.Start(t)
	h := startHub(t, rds, "JAVA_SERVICE_URL="+s.url)
	asked := map[string][]int64{}
	for n, test := range []struct{ data, path string }{
		{`{"users":[1,2,3,4],"algorithm":"INTEREST_BASED","type":"chess"}`, interestPath},
		{`{"users":[1,2,3,4],"interest":"chess"}`, interestPath},
		{`{"users":[1,2,3,4],"algorithm":"SIMPLE_RANDOM"}`, simplePath},
		{`{"users":[1,2,3,4],"algorithm":"CROSS_DEPARTMENT"}`, secretPath},
		{`{"users":[1,2,3,4],"type":"secret_coffee"}`, secretPath},
		{`{"users":[1,2,3],"algorithm_params":{"algorithm":"CROSS_DEPARTMENT"}}`, secretPath},
	} {
		for _, flat := range []bool{false, true} {
			s.set(switches{Flat: flat})
			s.forget()
			id := fmt.Sprintf("request-%d-%t", n, flat)
			publish(t, rds.Client(), botEvent(t, id, test.data))
			h.ends("completed", id)
			s.got(test.path, 1)
			asked[id] = upTo(4)
			if strings.Contains(test.data, "[1,2,3]") {
				asked[id] = upTo(3)
			}
		}
	}
	for id, e := range h.toldOnce(asked) {
		if e.Data.Source != "java" || e.Data.Degraded || !slices.Contains([]int{1, 2}, len(e.Data.Pairs)) {
			t.Errorf("of %s the service is told %+v", id, e)
		}
	}
}
