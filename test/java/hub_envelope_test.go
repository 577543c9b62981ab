//go:build java

package java

import (
	"net/http"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestHubAnswersWhateverIsAroundARequest has events that lie in the log, whose request is well but for a word, or what is
// around it: they are answered or refused, and not just lost.
func TestHubAnswersWhateverIsAroundARequest(t *testing.T) {
	with := func(members string) string {
		return strings.Replace(request(`{"users":[1,2]}`), `"user_id"`, members+`, "user_id"`, 1)
	}
	for name, payload := range map[string]string{
		// Python writes half an emoji so, and the log takes it.
		"half an emoji":                           request(`{"employees":[{"id":1,"displayName":"\ud83d"},{"id":2}]}`),
		"request id as a path":                    request(`{"request_id":"../../x","users":[1,2]}`),
		"long correlation id":                     with(`"correlation_id": "` + strings.Repeat("x", 200) + `"`),
		"correlation id with a control character": with(`"correlation_id": "a\u0000b"`),
		"trace of two lines":                      with(`"traceparent": "a\r\nX-Other: b", "tracestate": "\u0000"`),
		"long trace":                              with(`"traceparent": "` + strings.Repeat("x", 100_000) + `"`),
		"trace that is an object":                 with(`"traceparent": {}, "tracestate": 5`),
	} {
		t.Run(name, func(t *testing.T) {
			s, rds := serviceFor(t), redistest.Start(t)
			// Few attempts, so that what is never answered ends soon.
			h := startHub(t, rds, "JAVA_SERVICE_URL="+s.url, "MATCHING_ATTEMPTS=2")
			rdb := rds.Client()
			publish(t, rdb, strings.ReplaceAll(payload, "ID", "week-47"))
			publish(t, rdb, botEvent(t, "next", `{"users":[1,2]}`))
			h.ends("completed", "next") // It does not wait for the one before.
			redistest.Eventually(t, soon/6, "the first request is known", func() bool {
				return whole(t, h.url+hubRequests+"/week-47", "").status == http.StatusOK
			})
			var k known
			redistest.Eventually(t, soon, "the first request ends", func() bool {
				k = h.known("week-47")
				return k.State == "completed" || k.State == "failed"
			})
			if k.State == "completed" {
				h.toldOnce(map[string][]int64{"week-47": upTo(2), "next": upTo(2)})
				s.got(simplePath, 2)
				return
			}
			// Who asked must hear of that, too.
			events := h.logged("service:matching", "matching.failed")
			if len(events) != 1 || events[0].Data.RequestID != "week-47" {
				t.Errorf("the request failed, as %+v, and the service is told %+v", k.Error, events)
			}
		})
	}
}
