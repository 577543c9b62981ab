package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// withTheBot returns a Redis of its own that holds what was recorded from the bot, and settings for it.
func withTheBot(tb testing.TB) (*redis.Client, environment) {
	tb.Helper()
	server := redistest.Start(tb)
	rdb := server.Client()
	text, err := os.ReadFile("../../tempdata/testdata/django-cache.json")
	if err != nil {
		tb.Fatal(err)
	}
	var vectors []struct {
		Key string `json:"key"`
		TTL int    `json:"ttl_s"`
		Hex string `json:"value_hex"`
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		tb.Fatal(err)
	}
	for _, v := range vectors {
		raw, err := hex.DecodeString(v.Hex)
		if err != nil {
			tb.Fatal(err)
		}
		if err := rdb.Set(tb.Context(), v.Key, raw, time.Duration(v.TTL)*time.Second).Err(); err != nil {
			tb.Fatal(err)
		}
	}
	return rdb, on(server)
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	rdb, env := withTheBot(t)
	dry := call(t, env, "migrate", "--from", "django", "--dry-run")
	dry.want(t, 0, "WOULD COPY", "Other keys of the bot, which are not copied: 5\n")
	if keys := rdb.Keys(t.Context(), "hub:*").Val(); len(keys) > 0 || dry.stderr != "" {
		t.Errorf("a dry run wrote %q, and said %q", keys, dry.stderr)
	}
	call(t, env, "migrate", "--from", "django", "--apply").want(t, 0,
		"NAMESPACE           FOUND  COPIED  KEPT HERE  EXPIRED  UNREADABLE  WITHOUT EXPIRY\n"+
			"employees           1      1       0          0        0           0\n",
		"user_*              4      4       0          0        0           0\n"+
			"user_*:form_data_*  1      1       0          0        0           0\n")
	hub := serve(t, env) // It serves the menus that were copied.
	call(t, hub.client(), "menu", "get", "124", "--role", "admin", "--lang", "ru").want(t, 0, "X-Cache: HIT", `"manage_users"`)
	call(t, hub.client(), "menu", "list").want(t, 0, "123  ", "124  ", "125  ")

	again := call(t, env, "migrate", "--from", "django", "--apply", "--json")
	again.want(t, 0)
	var report tempdata.MigrationReport
	if err := json.Unmarshal([]byte(again.stdout), &report); err != nil || !report.Applied || report.Unknown != 5 || len(report.Namespaces) != 6 {
		t.Errorf("%s: %v", again.stdout, err)
	}
	for _, n := range report.Namespaces {
		if n.Copied != 0 || n.Kept != n.Found || n.Found == 0 {
			t.Errorf("the second time: %+v", n)
		}
	}
	other := env.with("KEY_PREFIX", "other", "DJANGO_KEY_PREFIX", "nobody:1")
	for _, how := range []string{"--apply", "--dry-run"} {
		nothing := call(t, other, "migrate", "--from", "django", how)
		nothing.want(t, 0, "which are not copied: 0\n")
		if want := "connecthub: no key begins with nobody:1: there is nothing to copy; see --django-key-prefix and --redis-url\n"; nothing.stderr != want {
			t.Errorf("where there is nothing it says %q, want %q", nothing.stderr, want)
		}
	}
	call(t, other, "migrate", "--from=django", "--apply", "--django-key-prefix=connectbot:1").want(t, 0)
	if n := rdb.Exists(t.Context(), "other:form:123/default").Val(); n != 1 {
		t.Error("KEY_PREFIX is not minded")
	}
}

func TestMigrateTellsWhatIsLeftBehind(t *testing.T) {
	t.Parallel()
	rdb, env := withTheBot(t)
	for i := range 25 {
		if err := rdb.Set(t.Context(), fmt.Sprintf("connectbot:1:temp:sessions:%02d\x1b[2J", i), "hunter2", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if err := rdb.Set(t.Context(), fmt.Sprintf("connectbot:1:sess:%02d", i), "\x80\x04ccos\nhunter2\n.", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := rdb.Set(t.Context(), "connectbot:1:emp:1", "5", 0).Err(); err != nil {
		t.Fatal(err)
	}
	inJSON := call(t, env, "migrate", "--from", "django", "--dry-run", "--json")
	inJSON.want(t, 1, `"reason":"unreadable value: unsafe pickle: `)
	if strings.Contains(inJSON.stdout, "tempdata:") || strings.Contains(inJSON.stdout, "djangocache:") {
		t.Errorf("it says %s", inJSON.stdout)
	}
	for range 2 {
		got := call(t, env, "migrate", "--from", "django", "--apply")
		got.want(t, 1, "bot_sessions: 25 could not be copied, of which 25 would build an object:\n", "  connectbot:1:sess:",
			": unreadable value: unsafe pickle: ", "  and 5 more\n", "connecthub: 25 of the bot's keys could not be copied\n",
			"employees: 1 had no expiry, and get the usual one of their namespace here.\n", "which are not copied: 30\n")
		if strings.Contains(got.stdout+got.stderr, "hunter2") || strings.Count(got.stdout, "connectbot:1:sess:") != 20 {
			t.Errorf("it says %s%s", got.stdout, got.stderr)
		}
	}
}

func TestMigrateCalledWrongly(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	env := on(server)
	for _, test := range []struct {
		env  environment
		args []string
		want string
	}{
		{env, nil, "--from"},
		{env, []string{"--from", "django"}, "--dry-run"},
		{env, []string{"--from", "django", "--dry-run", "--apply"}, "can't be used together"},
		{env, []string{"--from", "rails", "--apply"}, "django"},
		{env, []string{"--from", "django", "--apply", "--key-prefix", "a:b"}, "KEY_PREFIX (or --key-prefix) must be"},
		{env, []string{"--from", "django", "--apply", "--django-key-prefix", "a:"}, "DJANGO_KEY_PREFIX (or --django-key-prefix) must"},
		{env, []string{"--from", "django", "--apply", "--django-key-prefix", "hub"}, "must not be KEY_PREFIX"},
		{nil, []string{"--from", "django", "--apply"}, "REDIS_URL (or --redis-url) must be set"},
		{nil, []string{"--from", "django", "--apply", "--redis-url", "http://x"}, "REDIS_URL (or --redis-url)"},
	} {
		call(t, test.env, append([]string{"migrate"}, test.args...)...).want(t, 2, test.want)
	}
	call(t, nil, "help", "migrate").want(t, 0, "Usage: connecthub migrate", "Exit status 1", "($DJANGO_KEY_PREFIX)")
	server.Kill()
	for _, how := range [][]string{{"--apply"}, {"--dry-run", "--json"}} {
		got := call(t, env, append([]string{"migrate", "--from", "django"}, how...)...)
		got.want(t, 1, "run it again to go on")
		if got.stdout != "" || strings.Contains(got.stderr, "tempdata:") {
			t.Errorf("without Redis it says %q, %q", got.stdout, got.stderr)
		}
	}
}

// TestMigrateStops does what Ctrl+C does.
func TestMigrateStops(t *testing.T) {
	t.Parallel()
	_, env := withTheBot(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var stdout, stderr output
	status := run(ctx, []string{"migrate", "--from", "django", "--apply"}, env.lookup, strings.NewReader(""), &stdout, &stderr)
	if status != 1 || stderr.String() != "connecthub: stopped before the end; run it again to go on\n" {
		t.Errorf("%d: %s%s", status, stdout.String(), stderr.String())
	}
}

func TestProgressBar(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		terminal bool
		want     string
	}{
		{false, "50% of about 1000 keys looked at\n0% of about 0 keys looked at\n"},
		{
			true, "\r[##########..............................]  25% of about 1000 keys" +
				"\r[####################....................]  50% of about 1000 keys" +
				"\r[........................................]   0% of about 0 keys\r\x1b[K",
		},
	} {
		var out strings.Builder
		now := time.Unix(0, 0)
		bar := &progressBar{out: &out, terminal: test.terminal, now: func() time.Time { return now }, shown: now}
		for _, step := range []struct {
			after       time.Duration
			done, total int64
		}{{0, 100, 1000}, {time.Second, 250, 1000}, {50 * time.Millisecond, 300, 1000}, {9 * time.Second, 500, 1000}, {10 * time.Second, 0, 0}} {
			now = now.Add(step.after)
			bar.show(step.done, step.total)
		}
		bar.close()
		if out.String() != test.want {
			t.Errorf("terminal %v: %q, want %q", test.terminal, out.String(), test.want)
		}
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	if newProgressBar(file).terminal {
		t.Error("a file counts as a terminal")
	}
}
