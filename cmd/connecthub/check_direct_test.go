package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"

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
	// The bot's menu of the user that the test uses stays, and long prefixes do as well.
	const botsMenu = "connectbot:1:menu:user:123:profile"
	if err := rds.Client().Set(t.Context(), botsMenu, "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	shared := env.with("DJANGO_COMPAT", "true", "CHANNEL_PREFIX", strings.Repeat("c", 64), "KEY_PREFIX", strings.Repeat("k", 64))
	call(t, shared, "check", "--direct", "--user-id", "123").want(t, 0)
	if menus, err := rds.Client().Keys(t.Context(), "connectbot:1:*").Result(); err != nil || !slices.Equal(menus, []string{botsMenu}) {
		t.Errorf("of the bot's keys there are %q, %v", menus, err)
	}
	rds.Stop()
	call(t, env, "check", "--direct", "--component", "events").want(t, 1, "FAIL  events", "503 redis_unavailable")
	call(t, nil, "check", "--direct").want(t, 2, "REDIS_URL (or --redis-url) must be set")
	call(t, env.with("DEDUPE_WINDOW", "5"), "check", "--direct").want(t, 2, "DEDUPE_WINDOW (or --dedupe-window) must be a duration")
}

// TestNoJavaServiceIsNoWarning looks at a service that does not answer, which somebody has said is there, or nobody.
func TestNoJavaServiceIsNoWarning(t *testing.T) {
	t.Parallel()
	env := onSharedRedis(t).with("HTTP_ADDR", "127.0.0.1:0", "METRICS_ADDR", noAddr, "JAVA_SERVICE_URL", noJava)
	settings, err := serveSettings(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	keys, err := settings.validate()
	if err != nil {
		t.Fatal(err)
	}
	log := zap.NewNop()
	audit, err := settings.openAudit(log.Core(), log, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer audit.close()
	h, err := settings.newHub(t.Context(), &app{stdout: io.Discard, env: func(string) string { return "" }}, keys, log, audit)
	if err != nil {
		t.Fatal(err)
	}
	for named, warns := range map[bool]bool{true: true, false: false} {
		h.pairing.named = named
		if err := h.pairing.checkService(t.Context()); (err != nil) != warns {
			t.Errorf("when it is %t that somebody named it: %v", named, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.run(ctx); err != nil { // Which ends at once, and closes all.
		t.Error(err)
	}
}
