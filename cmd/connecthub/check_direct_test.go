package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestCheckDirect tests a Redis beside a hub that works on it, and one that is away.
func TestCheckDirect(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t)
	working := serve(t, on(rds))
	working.healthy(t)
	_, before := working.get(t, "/v1/events?channel=global&limit=1000")
	env := on(rds).with(
		"JAVA_SERVICE_URL", newJava(t).URL, "SERVICE_AUTH_TOKEN", "a-token-of-decent-length", "HTTP_ADDR", working.addr, "HUB_URL", "http://"+freeAddr(t),
	)
	got := call(t, env, "check", "--direct", "--json")
	got.want(t, 0)
	steps := jsonSteps(t, got.stdout)
	if len(steps) != 31 || steps[0].Step != "start a hub" || slices.ContainsFunc(steps, func(s jsonStep) bool { return !s.OK }) || got.stderr != "" {
		t.Errorf("check --direct:\n%s%s", got.stdout, got.stderr)
	}
	if _, after := working.get(t, "/v1/events?channel=global&limit=1000"); after != before {
		t.Errorf("the hub that works had %s and has %s", before, after)
	}
	keys, err := rds.Client().Keys(t.Context(), "*connecthub-check*").Result()
	if err != nil || len(keys) == 0 {
		t.Fatal(keys, err)
	}
	for _, key := range keys {
		if !strings.HasPrefix(key, "connectbot-check:") && !strings.HasPrefix(key, "hub-check:") {
			t.Errorf("the test wrote %s", key)
		}
	}
	rds.Stop()
	call(t, env, "check", "--direct", "--component", "events").want(t, 1, "FAIL  events", "503 redis_unavailable")
	call(t, nil, "check", "--direct").want(t, 2, "REDIS_URL (or --redis-url) must be set")
	call(t, env.with("DEDUPE_WINDOW", "5"), "check", "--direct").want(t, 2, "DEDUPE_WINDOW (or --dedupe-window) must be a duration")
}
