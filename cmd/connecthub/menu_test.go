package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

const ownMenu = `{"type":"main","options":[{"key":"coffee","label":"☕️ Кофе","action":"show_coffee"}]}`

func TestMenuCommands(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t))
	path := filepath.Join(t.TempDir(), "menu.json")
	write(t, path, ownMenu+"\n")
	for _, step := range []struct {
		args   []string
		stdin  string
		stdout string // all of it, or how it begins
		stderr string
	}{
		{[]string{"get", "5"}, "", `{"type":"main","user_id":5,"role":"user","options":[{"key":"profile"`, "X-Cache: MISS, Age: 0 s\n"},
		{[]string{"get", "5", "main"}, "", `{"type":"main","user_id":5,"role":"user","options":[{"key":"profile"`, "X-Cache: HIT, Age: "},
		{
			[]string{"get", "5", "--role", "admin", "--lang", "en-GB", "--format", "telegram-inline", "--badges", "users:3,profile:1"},
			"", `{"inline_keyboard":[[{"text":"👤 Profile (1)","callback_data":"show_profile"}`, "X-Cache: MISS",
		},
		{[]string{"set", "5", "main", ownMenu, "--ttl", "90s"}, "", "main of user 5: cached; the cache keeps it for 1m30s\n", ""},
		{[]string{"get", "5"}, "", ownMenu + "\n", "X-Cache: HIT"},
		{[]string{"set", "6", "main", path, "--role", "admin", "--lang", "en"}, "", "main of user 6: cached; the cache keeps it for 30m0s\n", ""},
		{[]string{"get", "6", "--role", "admin", "--lang", "en"}, "", ownMenu + "\n", "X-Cache: HIT"},
		{[]string{"get", "6", "--lang", "en"}, "", `{"type":"main","user_id":6,"role":"user"`, "X-Cache: MISS"},
		{[]string{"set", "7", "main", "-"}, " " + ownMenu, "main of user 7: cached; the cache keeps it for 30m0s\n", ""},
		{[]string{"list"}, "", "5  ", ""},
		{[]string{"clear", "7", "main"}, "", "Cleared: 1\n", ""},
		{[]string{"clear", "7", "main"}, "", "Cleared: 0\n", ""},
		{[]string{"warm", "5", "8", "--type", "main,help"}, "", "Built: 3, cached before: 1, failed: 0\n", ""},
		{[]string{"clear", "8"}, "", "Cleared: 2\n", ""},
		{[]string{"warm", "9", "--role", "admin", "--lang", "en"}, "", "Built: 1, cached before: 0, failed: 0\n", ""},
		{[]string{"get", "9", "--role", "admin", "--lang", "en"}, "", `{"type":"main","user_id":9,"role":"admin"`, "X-Cache: HIT"},
		{[]string{"warm", "--top", "10"}, "", "Built: ", ""},
		{[]string{"invalidate", "--role", "admin"}, "", "Invalidated: role:admin\n", ""},
		{[]string{"get", "9", "--role", "admin", "--lang", "en"}, "", `{"type":"main","user_id":9,"role":"admin"`, "X-Cache: MISS"},
		{[]string{"invalidate", "--type", "help"}, "", "Invalidated: type:help\n", ""},
		{[]string{"invalidate", "--all"}, "", "Invalidated: all\n", ""},
		{[]string{"get", "5"}, "", `{"type":"main","user_id":5,"role":"user","options":[{"key":"profile"`, "X-Cache: MISS"},
		{[]string{"definitions"}, "", `{"version":"`, ""},
	} {
		got := callWithInput(t, hub.client(), step.stdin, append([]string{"menu"}, step.args...)...)
		got.want(t, 0)
		if !strings.HasPrefix(got.stdout, step.stdout) || !strings.HasSuffix(got.stdout, "\n") ||
			strings.HasSuffix(step.stdout, "\n") && got.stdout != step.stdout {
			t.Errorf("menu %q writes %q, want %q", step.args, got.stdout, step.stdout)
		}
		if !strings.HasPrefix(got.stderr, step.stderr) || step.stderr == "" && got.stderr != "" {
			t.Errorf("menu %q says %q, want %q", step.args, got.stderr, step.stderr)
		}
	}
	definitions := call(t, hub.client(), "menu", "definitions")
	if !json.Valid([]byte(definitions.stdout)) {
		t.Errorf("the definitions are %q", definitions.stdout)
	}
}

func TestMenuListShowsAllPages(t *testing.T) {
	t.Parallel()
	var asked []string
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Query().Get("cursor"))
		page := `{"users":[{"user_id":1,"expires_in":60}],"next_cursor":"more"}`
		if len(asked) > 1 {
			page = `{"users":[{"user_id":9223372036854775807,"expires_in":61}],"next_cursor":null}`
		}
		_, _ = w.Write([]byte(page))
	}))
	t.Cleanup(hub.Close)
	got := call(t, environment{"HUB_URL": hub.URL}, "menu", "list")
	got.want(t, 0)
	if want := "1  1m0s\n9223372036854775807  1m1s\n"; got.stdout != want || strings.Join(asked, ",") != ",more" {
		t.Errorf("menu list writes %q after asking for %q, want %q", got.stdout, asked, want)
	}
}

func TestMenuCommandsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t))
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<html>Welcome to nginx!</html>"))
	}))
	t.Cleanup(page.Close)
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"built":1,"cached":0,"failed":1}`))
	}))
	t.Cleanup(failing.Close)
	for _, test := range []struct {
		url    string // the hub's if empty
		args   []string
		stdin  string
		status int
		want   string
	}{
		{"", []string{"get"}, "", 2, "<user-id>"},
		{"", []string{"get", "anna"}, "", 2, "<user-id>"},
		{"", []string{"get", "0"}, "", 1, "422 invalid_fields"},
		{"", []string{"get", "5", ".."}, "", 2, "the menu type must be one that connecthub menu definitions shows"},
		{"", []string{"get", "5", "../6/main"}, "", 1, "422 invalid_fields"},
		{"", []string{"get", "5", "admin"}, "", 1, "403 role_not_allowed"},
		{"", []string{"get", "5", "--format", "xml"}, "", 1, "format must be one of"},
		{"", []string{"get", "5", "--badges", "meetings"}, "", 1, "badges"},
		{page.URL, []string{"get", "5"}, "", 1, "what answers at " + page.URL + " is no hub"},
		{page.URL, []string{"clear", "5"}, "", 1, "is no hub"},
		{"", []string{"set", "5", "main"}, "", 2, "<menu>"},
		{"", []string{"set", "5", "main", "{options:[]}"}, "", 2, "the menu is not JSON; quote it for the shell"},
		{"", []string{"set", "5", "main", "-"}, "", 2, "the menu is not JSON"},
		{"", []string{"set", "5", "main", "-"}, strings.Repeat(" ", 1<<20+1), 2, "more than 1 MiB"},
		{"", []string{"set", "5", "main", "-"}, `{"options":[],"x":"` + strings.Repeat("x", 65<<10) + `"}`, 1, "413 payload_too_large"},
		{"", []string{"set", "5", "main", "no-such-file"}, "", 1, "the menu cannot be read: open no-such-file"},
		{"", []string{"set", "5", "main", `{"options":[{}]}`}, "", 1, "options[0].key"},
		{"", []string{"set", "5", "main", ownMenu, "--ttl", "1500ms"}, "", 2, "--ttl must be whole seconds"},
		{"", []string{"set", "5", "main", ownMenu, "--ttl=-1s"}, "", 2, "--ttl must be whole seconds"},
		{"", []string{"set", "5", "main", ownMenu, "--ttl", "721h"}, "", 1, "422 invalid_fields"},
		{"", []string{"set", "5", "main", ownMenu, "--write", "sideways"}, "", 2, "--write must be one of"},
		{"", []string{"set", "5", "main", ownMenu, "--write", "through"}, "", 1, "this hub has no menu source"},
		{"", []string{"clear"}, "", 2, "<user-id>"},
		{"", []string{"clear", "5", "."}, "", 2, "the menu type must be"},
		{"", []string{"warm"}, "", 2, "say whose menus"},
		{"", []string{"warm", "5", "--top", "1"}, "", 2, "but not both"},
		{"", []string{"warm", "--top", "1", "--type", "main"}, "", 2, "--top goes without --type"},
		{"", []string{"warm", "--top=-1"}, "", 1, "422 invalid_fields"},
		{"", []string{"warm", "5", "--type", "admin"}, "", 1, "422 invalid_fields"},
		{failing.URL, []string{"warm", "5"}, "", 1, "failed: 1"},
		{"", []string{"invalidate"}, "", 2, "say which menus"},
		{"", []string{"invalidate", "--all", "--role", "user"}, "", 2, "--role and --all"},
		{"", []string{"invalidate", "--role", "nobody"}, "", 1, "422 invalid_fields"},
	} {
		env := hub.client()
		if test.url != "" {
			env = environment{"HUB_URL": test.url}
		}
		callWithInput(t, env, test.stdin, append([]string{"menu"}, test.args...)...).want(t, test.status, test.want)
	}
}

func TestMenuCommandsNeedAKeyForMenus(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	_, events := newKey(t, nil, "--file", path, "--name", "events", "--scope", "publish:*", "--scope", "subscribe:*")
	_, menus := newKey(t, nil, "--file", path, "--name", "menus", "--scope", "menus")
	hub := serve(t, onSharedRedis(t).with("HUB_KEYS_FILE", path))
	call(t, hub.client(), "menu", "get", "5").want(t, 1, "401 unauthorized", "set SERVICE_AUTH_TOKEN")
	call(t, hub.client().with("SERVICE_AUTH_TOKEN", events), "menu", "get", "5").want(t, 1, "403 forbidden", "scope menus")
	as := hub.client().with("SERVICE_AUTH_TOKEN", menus)
	call(t, as, "menu", "get", "5").want(t, 0)
	call(t, as, "check", "--component", "cache").want(t, 0)
}

func TestMenuCommandsWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t)
	hub := serve(t, on(rds))
	hub.healthy(t)
	rds.Stop()
	hub.stderr.has(t, "cached values are served from memory")
	call(t, hub.client(), "menu", "get", "5").want(t, 0, "X-Cache: BYPASS")
	for _, args := range [][]string{
		{"set", "5", "main", ownMenu}, {"clear", "5"}, {"list"}, {"invalidate", "--all"}, {"warm", "--top", "5"},
	} {
		call(t, hub.client(), append([]string{"menu"}, args...)...).want(t, 1, "503 redis_unavailable")
	}
	call(t, hub.client(), "menu", "warm", "5", "6").want(t, 1)
}
