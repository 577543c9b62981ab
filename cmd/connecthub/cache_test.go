package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// keep keeps temporary data.
func (s *server) keep(tb testing.TB, path, body string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPut, s.url+path, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if status, text := send(tb, req); status != http.StatusOK && status != http.StatusCreated {
		tb.Fatalf("PUT %s answers %d %s", path, status, text)
	}
}

// filled is a hub with a menu and something of each kind of temporary data.
func filled(tb testing.TB, env environment) *server {
	tb.Helper()
	hub := serve(tb, env)
	hub.healthy(tb)
	for path, body := range map[string]string{
		"/v1/temp/sessions/a": `"x"`, "/v1/temp/sessions/b": `"y"`, "/v1/users/5/temp/draft": `{}`, "/v1/users/5/conversation": `{}`,
		"/v1/users/5/forms/registration/steps/name": `"Анна"`, "/v1/users/6/temp/draft": `[]`,
	} {
		hub.keep(tb, path, body)
	}
	call(tb, hub.client(), "cache", "warm", "5", "6").want(tb, 0, "Built: 2, cached before: 0, failed: 0\n")
	return hub
}

func TestCacheStatus(t *testing.T) {
	t.Parallel()
	hub := filled(t, onSharedRedis(t))
	call(t, hub.client(), "menu", "get", "5").want(t, 0, "HIT")
	got := call(t, hub.client(), "cache", "status")
	got.want(t, 0)
	for _, part := range []string{
		`^HEALTH\n  menus      pass\n  redis      pass\n  temp_data  pass\n\nMENUS since 20`,
		`\n  hit_ratio +33\.3%\n`, `\n  hits +1\n`, `\n  misses +2\n`,
		`\nTEMPORARY DATA, keys by namespace; users for user_\* and forms/\*\n  sessions  2\n  user_\*    2\n  forms/\*   1\n\n`,
		`\n  reads +0\n`, `\n  writes +6\n`,
		`\nMEMORY of the hub now\n  menus      \d entries  \d+\.\d KiB\n  temp_data  \d+ records  \d+\.\d KiB  0 waiting for Redis\n$`,
	} {
		if !regexp.MustCompile(part).MatchString(got.stdout) {
			t.Errorf("no %s in\n%s", part, got.stdout)
		}
	}

	got = call(t, hub.client(), "cache", "status", "--json")
	got.want(t, 0)
	var status cacheStatus
	if err := json.Unmarshal([]byte(got.stdout), &status); err != nil {
		t.Fatalf("%s: %v", got.stdout, err)
	}
	if status.Health["temp_data"].Status != api.HealthStatusPass || status.Menus["misses"] != 2 || status.Since == "" ||
		status.TempData.Keys["user_*"] != 2 || status.TempData.Operations["writes"] != 6 {
		t.Errorf("the status is %+v", status)
	}
}

func TestCacheStatusOfNothing(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t))
	hub.healthy(t)
	call(t, hub.client(), "cache", "status").want(t, 0, "\nTEMPORARY DATA, keys by namespace; users for user_* and forms/*\n  none\n\n")
}

func TestCacheStatusWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t)
	hub := filled(t, on(rds))
	rds.Stop()
	hub.stderr.has(t, "cached values are served from memory")
	hub.keep(t, "/v1/users/7/temp/draft", "1")
	redistest.Eventually(t, soon, "the status tells it", func() bool {
		got := call(t, hub.client(), "cache", "status")
		return got.status == 0 && strings.Contains(got.stdout, "  redis      fail: Redis does not answer") &&
			strings.Contains(got.stdout, "  temp_data  warn: ") && strings.Contains(got.stdout, "  not known: Redis is away\n") &&
			strings.Contains(got.stdout, "  1 waiting for Redis\n")
	})
	for _, args := range [][]string{{"--user", "5"}, {"--user", "5", "--temp"}, {"--all", "--yes"}, {"--namespace", "sessions"}} {
		call(t, hub.client(), append([]string{"cache", "clear"}, args...)...).want(t, 1, "503 redis_unavailable")
	}
}

func TestCacheClear(t *testing.T) {
	t.Parallel()
	hub := filled(t, onSharedRedis(t))
	for _, step := range []struct {
		args []string
		want string
	}{
		{[]string{"--namespace", "sessions"}, "Cleared: 2 of sessions\n"},
		{[]string{"--namespace", "sessions"}, "Cleared: 0 of sessions\n"},
		{[]string{"--user", "5", "--menus"}, "Cleared: 1 menus\n"},
		{[]string{"--user", "5", "--temp"}, "Cleared: 3 of temporary data\n"},
		{[]string{"--user", "6"}, "Cleared: 1 menus, 1 of temporary data\n"},
		{[]string{"--all", "--yes"}, "Cleared: all menus, 0 of temporary data\n"},
	} {
		got := call(t, hub.client(), append([]string{"cache", "clear"}, step.args...)...)
		got.want(t, 0)
		if got.stdout != step.want || got.stderr != "" {
			t.Errorf("cache clear %q says %q %q, want %q", step.args, got.stdout, got.stderr, step.want)
		}
	}
	hub.keep(t, "/v1/temp/sessions/a", "1")
	hub.keep(t, "/v1/users/5/forms/registration/steps/name", "1")
	call(t, hub.client(), "cache", "warm", "5").want(t, 0, "Built: 1")
	call(t, hub.client(), "cache", "clear", "--all", "--yes").want(t, 0, "Cleared: all menus, 2 of temporary data\n")
	call(t, hub.client(), "cache", "warm", "5").want(t, 0, "Built: 1")
	call(t, hub.client(), "cache", "warm", "--top", "10").want(t, 0, "failed: 0\n")
}

func TestCacheCommandsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	_, menus := newKey(t, nil, "--file", path, "--name", "menus", "--scope", "menus")
	hub := serve(t, onSharedRedis(t).with("HUB_KEYS_FILE", path))
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"status":"pass","caches":{"menus":{}}}`))
	}))
	t.Cleanup(old.Close)
	as, nobody := hub.client().with("SERVICE_AUTH_TOKEN", menus), environment{}
	call(t, nil, "help", "cache", "clear").want(t, 0, "Usage: connecthub cache clear", "($HUB_URL)")
	for _, test := range []struct {
		env    environment
		args   []string
		status int
		want   string
	}{
		{nobody, []string{"clear"}, 2, "--user=ID or --namespace=NS or --all"},
		{nobody, []string{"clear", "--all"}, 2, "say --yes as well"},
		{nobody, []string{"clear", "--user", "5", "--yes"}, 2, "--yes goes with --all"},
		{nobody, []string{"clear", "--user", "5", "--all"}, 2, "--user and --all can't be used together"},
		{nobody, []string{"clear", "--user", "0"}, 2, "--user must be above 0"},
		{nobody, []string{"clear", "--user=-1"}, 2, "--user must be above 0"},
		{nobody, []string{"clear", "--namespace", ""}, 2, "--namespace not empty"},
		{nobody, []string{"clear", "--namespace", ".."}, 2, "--namespace must be"},
		{nobody, []string{"clear", "--namespace", "sessions", "--temp"}, 2, "--menus and --temp go with --user"},
		{nobody, []string{"clear", "--all", "--yes", "--menus"}, 2, "--menus and --temp go with --user"},
		{nobody, []string{"clear", "--user", "5", "--temp", "--menus"}, 2, "--menus and --temp can't be used together"},
		{nobody, []string{"warm"}, 2, "say whose menus"},
		{nobody, []string{"status", "now"}, 2, "unexpected argument now"},
		{hub.client(), []string{"status"}, 1, "401 unauthorized"},
		{as, []string{"status"}, 0, "HEALTH\n"},
		{as, []string{"warm", "5"}, 0, "Built: 1"},
		{as, []string{"clear", "--user", "5", "--menus"}, 0, "Cleared: 1 menus"},
		{as, []string{"clear", "--user", "5"}, 1, "403 forbidden"},
		{as, []string{"clear", "--user", "5", "--temp"}, 1, "403 forbidden"},
		{as, []string{"clear", "--all", "--yes"}, 1, "403 forbidden"},
		{as, []string{"clear", "--namespace", "sessions"}, 1, "403 forbidden"},
		{environment{"HUB_URL": "http://" + freeAddr(t)}, []string{"status"}, 1, "does not answer"},
		{environment{"HUB_URL": "http://" + freeAddr(t)}, []string{"clear", "--user", "5"}, 1, "does not answer"},
		{environment{"HUB_URL": old.URL}, []string{"status"}, 1, "tells nothing of menus and temporary data"},
	} {
		call(t, test.env, append([]string{"cache"}, test.args...)...).want(t, test.status, test.want)
	}
}
