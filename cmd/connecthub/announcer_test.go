package main

import (
	"encoding/json"
	"testing"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// announcements returns the types and the data of what hubs announced on the global channel, oldest first.
func (s *server) announcements(tb testing.TB) (types []string, data []announced) {
	tb.Helper()
	var page api.EventList
	_, body := s.get(tb, "/v1/events?channel=global&limit=1000")
	if err := json.Unmarshal([]byte(body), &page); err != nil {
		tb.Fatalf("%v: %s", err, body)
	}
	for _, ev := range page.Events {
		var d announced
		if err := json.Unmarshal(ev.Data, &d); err != nil || d.Service == "" {
			continue
		}
		types, data = append(types, ev.Type), append(data, d)
	}
	return types, data
}

// TestTheHubAnnouncesItself starts and stops a hub while another looks on, and one while Redis is away.
func TestTheHubAnnouncesItself(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t)
	onlooker := serve(t, on(rds))
	await := func(want ...string) {
		t.Helper()
		redistest.Eventually(t, soon, "announcements", func() bool {
			types, data := onlooker.announcements(t)
			n := 0
			for i, d := range data {
				if types[i] == "system.health_changed" {
					continue
				}
				if d.Service != "connecthub" || d.Version == "" || d.Status != "" || d.Was != "" {
					t.Errorf("%s says %+v", types[i], d)
				}
				if n < len(want) && types[i] != want[n] {
					t.Errorf("announcement %d is %s, want %s", n, types[i], want[n])
				}
				n++
			}
			return n == len(want)
		})
	}
	const started, stopped = "system.service_started", "system.service_stopped"
	await(started)
	second := serve(t, on(rds))
	await(started, started)
	second.stop(t)
	await(started, started, stopped)

	rds.Stop()
	third := serve(t, on(rds))
	rds.Restart()
	// The log is gone with the Redis that kept nothing: what comes is the third hub's, once it can say so.
	await(started)
	third.stop(t)
	await(started, stopped)
}
