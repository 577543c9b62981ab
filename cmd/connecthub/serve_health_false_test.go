package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestHealthNoticesADeafBridge has the subscribed connections hear nothing, and then the bot publish.
func TestHealthNoticesADeafBridge(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t)
	proxy := redistest.NewProxy(t, rds)
	hub := serve(t, environment{"REDIS_URL": proxy.URL(), "HEALTH_INTERVAL": "500ms"})
	hub.healthy(t)
	proxy.Deafen()
	hub.awaitHealth(t, "bridge", "fail", "the bridge did not hear in time")
	hub.awaitHealth(t, "bridge", "pass", "")
	hub.healthy(t)
	stream := hub.follow(t, "channel=user:1")
	said := `{"id":"said","type":"test_event","data":{},"timestamp":"2026-11-22T08:00:00","channel":"connectbot:user:1","user_id":1,"source":"bot"}`
	if err := rds.Client().Publish(t.Context(), "connectbot:user:1", said).Err(); err != nil {
		t.Fatal(err)
	}
	if data := line(t, stream, "data: "); !strings.Contains(data, `"said"`) {
		t.Errorf("the stream says %s", data)
	}
}

// TestHealthTellsThatEventsAreRefused gives the hub no right to the channels of users, which its canary has nothing to do with.
func TestHealthTellsThatEventsAreRefused(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t, "--user", "hub", "on", ">pass", "resetchannels", "&connectbot:global", "&hub:*", "~*", "+@all")
	hub := serve(t, environment{"REDIS_URL": "redis://hub:pass@" + rds.Addr(), "HEALTH_INTERVAL": "200ms", "BRIDGE_LEGACY": "false"})
	hub.healthy(t)
	publish := func() int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, hub.url+"/v1/events/users/1", strings.NewReader(`{"type":"test_event"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		status, _ := send(t, req)
		return status
	}
	if status := publish(); status != http.StatusServiceUnavailable {
		t.Errorf("publishing gets %d", status)
	}
	hub.awaitHealth(t, "delivery", "fail", "Redis refuses events of channels of the scope user")
	if err := rds.Client().Do(t.Context(), "ACL", "SETUSER", "hub", "&connectbot:user:*").Err(); err != nil {
		t.Fatal(err)
	}
	if status := publish(); status != http.StatusCreated {
		t.Errorf("publishing gets %d", status)
	}
	hub.awaitHealth(t, "delivery", "pass", "")
}

// TestStoppingIsNoFailure stops a hub that has to wait for a request, for many intervals.
func TestStoppingIsNoFailure(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t)
	hub := serve(t, on(rds).with("HEALTH_INTERVAL", "100ms"))
	hub.healthy(t)
	rdb := rds.Client()
	canaries := func() int64 {
		info, err := rdb.XInfoStream(t.Context(), "connectbot:log:{connectbot-canary}").Result()
		if err != nil {
			t.Fatal(err)
		}
		return info.EntriesAdded
	}
	redistest.Eventually(t, soon, "it has started", func() bool { return hub.report(t, "/health/startup").Status == api.HealthStatusPass })
	request := beginRequest(t, hub)
	hub.interrupt()
	hub.stderr.has(t, "the hub is shutting down")
	until := canaries() + 15
	redistest.Eventually(t, soon, "it looked often enough", func() bool { return canaries() >= until })
	request.finish(t, "201 Created")
	hub.stop(t)
	if log := hub.stderr.String(); strings.Contains(log, "a check does not pass") && strings.Contains(log, "matching_requests") {
		t.Errorf("the log: %s", log)
	}
	onlooker := serve(t, on(rds))
	if types, data := onlooker.announcements(t); slices.Contains(types, "system.health_changed") {
		t.Errorf("it announced %q, %+v", types, data)
	}
}

// TestSlowStartIsNoChange starts a hub whose Redis is slow, but does all it is asked.
func TestSlowStartIsNoChange(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t)
	proxy := redistest.NewProxy(t, rds)
	proxy.Slow(150 * time.Millisecond)
	hub := serve(t, environment{"REDIS_URL": proxy.URL()})
	redistest.Eventually(t, soon, "it is well", func() bool {
		status, _ := hub.healthOf(t, "delivery")
		return status == "pass"
	})
	proxy.Slow(0)
	rdb := rds.Client()
	redistest.Eventually(t, soon, "it looked twice", func() bool {
		return rdb.XLen(t.Context(), "connectbot:log:{connectbot-canary}").Val() >= 3
	})
	if types, data := hub.announcements(t); slices.Contains(types, "system.health_changed") {
		t.Errorf("it announced %q, %+v", types, data)
	}
}

// TestHealthOfMenusTellsSilenceFromRefusal lets Redis hang: what the hub's user may do there has nothing to do with that.
func TestHealthOfMenusTellsSilenceFromRefusal(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t)
	hub := serve(t, on(rds).with("HEALTH_INTERVAL", "200ms"))
	hub.healthy(t)
	hub.awaitHealth(t, "menus", "pass", "")
	rds.Pause()
	redistest.Eventually(t, soon, "it is told", func() bool {
		status, output := hub.healthOf(t, "menus")
		if status == "warn" && !strings.Contains(output, "Redis does not answer") {
			t.Errorf("menus: %s", output)
		}
		return status == "warn"
	})
	rds.Resume()
}

// TestMetricsOfAHubWithKeys scrapes one: nothing is left out.
func TestMetricsOfAHubWithKeys(t *testing.T) {
	t.Parallel()
	hub := serve(t, measured(onSharedRedis(t)).with("SERVICE_AUTH_TOKEN", decentToken))
	if text := hub.scrape(t); !strings.Contains(text, `connecthub_health_check_status{check="keys",status="pass"}`) {
		t.Errorf("a scrape: %s", text)
	}
	if log := hub.stderr.String(); strings.Contains(log, "gathering") {
		t.Errorf("the log: %s", log)
	}
}
