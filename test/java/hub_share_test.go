//go:build java

package java

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// askedInAllWays asks for the pairs of four people each so many times, by turns in each of the three ways and through
// each of the hubs, and each time twice. Nobody is in two requests. It returns the people of each request.
func askedInAllWays(tb testing.TB, rds *redistest.Server, hubs []*hub, first, last int) map[string][]int64 {
	tb.Helper()
	rdb := rds.Client()
	asked := map[string][]int64{}
	for n := first; n <= last; n++ {
		id, user := fmt.Sprintf("request-%d", n), int64(10*n)
		users := []int64{user, user + 1, user + 2, user + 3}
		data := fmt.Sprintf(`{"request_id":%q,"users":[%d,%d,%d,%d]}`, id, users[0], users[1], users[2], users[3])
		for twice := range 2 {
			h := hubs[(n/3+twice)%len(hubs)]
			switch n % 3 {
			case 0:
				publish(tb, rdb, botEvent(tb, fmt.Sprintf("%s-%d", id, twice), data))
			case 1:
				h.post(hubEvents, `{"type":"matching.request","data":`+data+`}`, http.StatusCreated)
			case 2:
				h.post(hubRequests, data, http.StatusAccepted)
			}
		}
		asked[id] = users
	}
	return asked
}

// completedBy returns how many requests a hub has completed, by its own counters.
func (h *hub) completedBy() int {
	h.tb.Helper()
	var stats struct {
		Matching struct {
			Jobs struct{ Completed, Failed int }
		}
	}
	h.get("/stats", &stats)
	return stats.Matching.Jobs.Completed
}

func TestHubsShareTheWork(t *testing.T) {
	const n = 30
	s, rds := serviceFor(t), redistest.Start(t)
	s.late(simplePath, 20*time.Millisecond)
	hubs := []*hub{
		startHub(t, rds, "JAVA_SERVICE_URL="+s.url, "MATCHING_WORKERS=2"),
		startHub(t, rds, "JAVA_SERVICE_URL="+s.url, "MATCHING_WORKERS=2"),
	}
	bot := listen(t, rds)
	asked := askedInAllWays(t, rds, hubs, 1, n)
	for id, e := range hubs[0].toldOnce(asked) {
		if e.Data.Source != "java" || e.Data.Degraded || len(e.Data.Pairs) != 2 {
			t.Errorf("of %s the service is told %+v", id, e)
		}
	}
	s.got(simplePath, n)
	const events = n + 4*n
	redistest.Eventually(t, soon, "the bot hears all", func() bool { return bot.count() >= events })
	if heard := bot.count(); heard != events {
		t.Errorf("the bot hears %d events, want %d", heard, events)
	}
	one, two := hubs[0].completedBy(), hubs[1].completedBy()
	if one+two != n || one == 0 || two == 0 {
		t.Errorf("one hub completed %d requests and the other %d", one, two)
	}
}

// TestHubIsKilledAtItsWork kills a hub while the service is slow with its request.
func TestHubIsKilledAtItsWork(t *testing.T) {
	const lease = 10 * time.Second
	s, rds := serviceFor(t), redistest.Start(t)
	s.late(simplePath, time.Hour)
	// Its patience is longer than the lease, so that it is not that which ends.
	settings := []string{"JAVA_SERVICE_URL=" + s.url, "JAVA_TIMEOUT=20s", "JAVA_TIMEOUT_TOTAL=25s"}
	first := startHub(t, rds, settings...)
	asked := askedInAllWays(t, rds, []*hub{first}, 1, 3)
	s.got(simplePath, len(asked))
	second := startHub(t, rds, settings...)
	bot := listen(t, rds)
	first.kill()
	killed := time.Now()
	s.set(switches{})
	for id, e := range second.toldOnce(asked) {
		if k := second.known(id); e.Data.Source != "java" || e.Data.Degraded || k.Attempts != 2 {
			t.Errorf("of %s the service is told %+v, and known %+v", id, e, k)
		}
	}
	took := time.Since(killed)
	t.Logf("another hub went on after %v", took)
	if took > lease+5*time.Second {
		t.Errorf("another hub went on after %v", took)
	}
	s.got(simplePath, 2*len(asked)) // The first answers were told to nobody.
	if heard := bot.count(); heard != 5*len(asked) {
		t.Errorf("the bot hears %d events", heard)
	}
}

// TestHubIsKilledAnywhere kills hubs that are busy with many requests, in whatever moment that is.
func TestHubIsKilledAnywhere(t *testing.T) {
	const n, workers = 30, 4
	s, rds := serviceFor(t), redistest.Start(t)
	s.late(simplePath, 40*time.Millisecond)
	settings := []string{"JAVA_SERVICE_URL=" + s.url, fmt.Sprintf("MATCHING_WORKERS=%d", workers)}
	last := startHub(t, rds, settings...)
	bot := listen(t, rds)
	asked, kills := map[string][]int64{}, 0
	for round := range 3 {
		other := startHub(t, rds, settings...)
		for id, users := range askedInAllWays(t, rds, []*hub{other, last}, round*n+1, round*n+n) {
			asked[id] = users
		}
		other.kill()
		kills++
	}
	for id, e := range last.toldOnce(asked) {
		if e.Data.Source != "java" || e.Data.Degraded {
			t.Errorf("of %s the service is told %+v", id, e)
		}
	}
	calls := s.calls().Paths[simplePath].Count
	t.Logf("%d requests, %d kills, %d calls", len(asked), kills, calls)
	if calls < len(asked) || calls > len(asked)+kills*workers {
		t.Errorf("the service was asked %d times for %d requests with %d kills", calls, len(asked), kills)
	}
	events := 5 * len(asked)
	redistest.Eventually(t, soon, "the bot hears all", func() bool { return bot.count() >= events })
	if heard := bot.count(); heard != events {
		t.Errorf("the bot hears %d events, want %d", heard, events)
	}
}
