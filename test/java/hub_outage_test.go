//go:build java

package java

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestHubWaitsForACrashedService has one hub that waits for the service as by default, and one that has little patience.
func TestHubWaitsForACrashedService(t *testing.T) {
	s := serviceFor(t)
	one, two := redistest.Start(t), redistest.Start(t)
	patient := startHub(t, one, "JAVA_SERVICE_URL="+s.url, "JAVA_TIMEOUT=20s", "JAVA_TIMEOUT_TOTAL=25s")
	impatient := startHub(t, two, "JAVA_SERVICE_URL="+s.url, "MATCHING_RETRY_FOR=1s")

	// The service has the first requests when it crashes, and not the others.
	s.late(simplePath, time.Hour)
	asked := askedInAllWays(t, one, []*hub{patient}, 1, 3)
	s.got(simplePath, len(asked))
	s.crash()
	crashed := time.Now()
	maps.Copy(asked, askedInAllWays(t, one, []*hub{patient}, 4, 9))
	fallback := askedInAllWays(t, two, []*hub{impatient}, 1, 6)
	for id, e := range impatient.toldOnce(fallback) {
		if e.Data.Source != "fallback" || !e.Data.Degraded || len(e.Data.Pairs) != 2 ||
			!slices.Contains([]string{"unreachable", "breaker_open"}, e.Data.Reason) {
			t.Errorf("of %s the service is told %+v", id, e)
		}
	}
	t.Logf("the hub matched by itself after %v", time.Since(crashed))
	for id := range asked {
		redistest.Eventually(t, soon, id+" was tried", func() bool { return patient.known(id).Error != nil })
		if k := patient.known(id); k.State != "queued" && k.State != "running" || k.Result != nil {
			t.Errorf("without the service, of %s is known %+v", id, k)
		}
	}
	if events := patient.logged("service:matching", "matching.completed"); len(events) != 0 {
		t.Errorf("without the service, the bot is told %+v", events)
	}
	redistest.Eventually(t, soon, "health tells of it", func() bool { return patient.checked("matching_service") == "warn" })

	s.restart()
	restarted := time.Now()
	for id, e := range patient.toldOnce(asked) {
		if e.Data.Source != "java" || e.Data.Degraded || e.Data.Reason != "" {
			t.Errorf("of %s the service is told %+v", id, e)
		}
	}
	t.Logf("the service was away for %v, and all was answered %v later", restarted.Sub(crashed), time.Since(restarted))
	s.got(simplePath, len(asked)) // It has forgotten those before the crash.
	redistest.Eventually(t, soon, "health is well again", func() bool { return patient.checked("matching_service") == "pass" })
}

// TestHubGivesUpWithoutAFallback has a service that is away for longer than the hub waits.
func TestHubGivesUpWithoutAFallback(t *testing.T) {
	s, rds := serviceFor(t), redistest.Start(t)
	h := startHub(t, rds, "JAVA_SERVICE_URL="+s.url, "MATCHING_RETRY_FOR=0s", "MATCHING_FALLBACK=off")
	s.fail(simplePath, fault{Answer: "ERROR", Status: http.StatusServiceUnavailable, Message: surname})
	bot := listen(t, rds)
	asked := askedInAllWays(t, rds, []*hub{h}, 1, 3)
	ids := slices.Sorted(maps.Keys(asked))
	h.ends("failed", ids...)
	events := h.logged("service:matching", "matching.failed")
	for _, e := range events {
		if e.Data.Code != "server_error" || !slices.Contains(ids, e.Data.RequestID) || e.Data.Type != "coffee" {
			t.Errorf("the service is told %+v", e)
		}
	}
	if len(events) != len(asked) || bot.count() != 0 {
		t.Errorf("the service is told %d times of %d requests that failed", len(events), len(asked))
	}
	s.got(simplePath, len(asked))
	// An operator has them tried again.
	s.set(switches{})
	for _, id := range ids {
		h.post(hubRequests+"/"+id+"/retry", "{}", http.StatusAccepted)
	}
	for id, e := range h.toldOnce(asked) {
		if e.Data.Source != "java" {
			t.Errorf("of %s the service is told %+v", id, e)
		}
	}
	s.got(simplePath, 2*len(asked))
}

// TestRedisRestartsWhileRequestsWait takes away the Redis of two hubs while the service has requests and others wait.
func TestRedisRestartsWhileRequestsWait(t *testing.T) {
	const n, workers = 24, 4
	for name, take := range map[string]func(*redistest.Server){
		"stopped": (*redistest.Server).Stop, "killed": (*redistest.Server).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			s, rds := serviceFor(t), redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
			settings := []string{
				"JAVA_SERVICE_URL=" + s.url, fmt.Sprintf("MATCHING_WORKERS=%d", workers), "JAVA_TIMEOUT=20s", "JAVA_TIMEOUT_TOTAL=25s",
			}
			hubs := []*hub{startHub(t, rds, settings...), startHub(t, rds, settings...)}
			// Some are done before that, some are under way, the others wait.
			asked := askedInAllWays(t, rds, hubs, 1, 6)
			hubs[0].toldOnce(asked)
			s.late(simplePath, time.Hour)
			maps.Copy(asked, askedInAllWays(t, rds, hubs, 7, n))
			s.got(simplePath, 6+2*workers)
			take(rds)
			for _, h := range hubs {
				redistest.Eventually(t, soon, "the hub notices", func() bool { return h.checked("matching_requests") == "fail" })
			}
			// The service answers while nothing can be stored.
			s.set(switches{})
			redistest.Eventually(t, soon, "it answers", func() bool { return s.calls().UnderWay == 0 })
			rds.Restart()
			back := time.Now()
			for _, h := range hubs {
				redistest.Eventually(t, soon, "the hub is back", func() bool { return h.checked("matching_requests") == "pass" })
			}
			maps.Copy(asked, askedInAllWays(t, rds, hubs, n+1, n+6))
			for id, e := range hubs[0].toldOnce(asked) {
				if e.Data.Source != "java" || e.Data.Degraded {
					t.Errorf("of %s the service is told %+v", id, e)
				}
			}
			calls := s.calls().Paths[simplePath].Count
			t.Logf("all was answered %v after the restart, %d requests with %d calls", time.Since(back), len(asked), calls)
			if calls < len(asked) || calls > len(asked)+2*workers {
				t.Errorf("the service was asked %d times for %d requests", calls, len(asked))
			}
		})
	}
}
