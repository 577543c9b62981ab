package main

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/djangocache"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// menu asks for a menu and returns where it came from and what it is.
func (s *server) menu(tb testing.TB, path string) (outcome, body string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, s.url+"/v1/menus/"+path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		tb.Fatalf("the menu %s gets %s, %s, %v", path, res.Status, raw, err)
	}
	return res.Header.Get("X-Cache"), string(raw)
}

// put sets ownMenu and returns the status and the header of the answer.
func (s *server) put(tb testing.TB, path string) (status int, header http.Header) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPut, s.url+"/v1/menus/"+path, strings.NewReader(ownMenu))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode, res.Header
}

// remember asks for a menu, the first of this hub, until it is in the hub's memory. What a hub has stored itself it forgets
// when Redis tells of the change; what it has read stays.
func (s *server) remember(tb testing.TB, path string) {
	tb.Helper()
	hits := func() (local, fromRedis float64) {
		_, text := s.get(tb, "/stats")
		var stats struct{ Caches map[string]map[string]float64 }
		if err := json.Unmarshal([]byte(text), &stats); err != nil {
			tb.Fatal(err)
		}
		return stats.Caches["menus"]["hits_local"], stats.Caches["menus"]["hits_redis"]
	}
	redistest.Eventually(tb, soon, "the hub has the menu in its memory", func() bool {
		before, _ := hits()
		s.menu(tb, path)
		after, fromRedis := hits()
		// What it had before it followed what changes in Redis it has forgotten, and read again.
		return after > before && fromRedis > 0
	})
}

func TestHubsShareMenus(t *testing.T) {
	t.Parallel()
	env := onSharedRedis(t)
	one, two := serve(t, env), serve(t, env)
	built, _ := two.menu(t, "5/main")
	if again, _ := two.menu(t, "5/main"); built != "MISS" || again != "HIT" {
		t.Errorf("the menu is a %s and then a %s", built, again)
	}
	if from, _ := one.menu(t, "5/main"); from != "HIT" {
		t.Errorf("what one hub built is a %s for the other", from)
	}
	if status, _ := one.put(t, "5/main"); status != http.StatusOK {
		t.Fatalf("setting a menu gets %d", status)
	}
	redistest.Eventually(t, time.Second, "the other hub returns what was set", func() bool {
		from, menu := two.menu(t, "5/main")
		return from == "HIT" && menu == ownMenu
	})
	call(t, one.client(), "menu", "clear", "5").want(t, 0, "Cleared: 1")
	redistest.Eventually(t, time.Second, "the other hub builds the menu anew", func() bool {
		_, menu := two.menu(t, "5/main")
		return strings.Contains(menu, "show_profile")
	})
}

func TestClearingMenusIsTold(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t))
	user, all := hub.follow(t, "channel=user:5"), hub.follow(t, "channel=global")
	call(t, hub.client(), "menu", "clear", "5").want(t, 0)
	call(t, hub.client(), "menu", "clear", "5", "main").want(t, 0)
	call(t, hub.client(), "menu", "invalidate", "--role", "admin").want(t, 0)
	for _, want := range []string{
		`"data":{"cache_type":"menu","user_id":5}`, `"data":{"cache_type":"menu","user_id":5,"menu_type":"main"}`,
	} {
		if data := line(t, user, "data: "); !strings.Contains(data, want) || !strings.Contains(data, `"type":"system.cache_cleared"`) {
			t.Errorf("the user's channel says %s, want %s", data, want)
		}
	}
	if data := line(t, all, "data: "); !strings.Contains(data, `"data":{"cache_type":"menu","role":"admin"}`) {
		t.Errorf("the global channel says %s", data)
	}
}

func TestMenusWithTheEmbeddedRedis(t *testing.T) {
	t.Parallel()
	first := serve(t, nil)
	second := serve(t, environment{"REDIS_URL": first.embeddedURL(t)})
	call(t, first.client(), "check").want(t, 0)
	call(t, second.client(), "menu", "set", "5", "main", ownMenu).want(t, 0)
	redistest.Eventually(t, soon, "the hubs share menus", func() bool {
		_, menu := first.menu(t, "5/main")
		return menu == ownMenu
	})
	call(t, first.client(), "menu", "invalidate", "--all").want(t, 0)
	call(t, first.client(), "menu", "list").want(t, 0)
}

// TestMenusAndEventsEachHaveTheirRedis also checks what is said of the embedded one.
func TestMenusAndEventsEachHaveTheirRedis(t *testing.T) {
	t.Parallel()
	env := onSharedRedis(t)
	hub := serve(t, env.with("EVENTS_REDIS_URL", env["REDIS_URL"], "REDIS_URL", ""))
	hub.stderr.has(t, "no REDIS_URL is set: menus and temporary data are kept in memory only and are lost when the hub stops")
	hub.stdout.has(t, "and keeps nothing: set REDIS_URL to keep menus and temporary data.")
	call(t, hub.client(), "check").want(t, 0, "persistence: The embedded Redis keeps nothing: menus and temporary data are lost when the hub stops.")
	call(t, hub.client(), "menu", "get", "5").want(t, 0, "X-Cache: MISS")
	prefix := env["KEY_PREFIX"]
	for url, want := range map[string]string{env["REDIS_URL"]: prefix + ":log:", hub.embeddedURL(t): prefix + ":menu:"} {
		keys, err := connect(t, url).Keys(t.Context(), prefix+":*").Result()
		if err != nil || !strings.Contains(strings.Join(keys, " "), want) {
			t.Errorf("%s holds %q, %v, without %s", url, keys, err, want)
		}
		for _, key := range keys {
			event := strings.HasPrefix(key, prefix+":log:") || strings.HasPrefix(key, prefix+":idem:")
			if event != (want == prefix+":log:") {
				t.Errorf("%s holds %s", url, key)
			}
		}
	}
}

// definitionsWith are definitions whose only menu has one option.
func definitionsWith(key string) string {
	return "languages: [ru]\nroles: [user]\nmenus:\n  main:\n    options:\n" +
		"      - {key: " + key + ", action: act_" + key + ", labels: {ru: Пункт}}\n"
}

// faultyDefinitions have an option without a label, in line 6.
const faultyDefinitions = "languages: [ru]\nroles: [user]\nmenus:\n  main:\n    options:\n      - {key: one, action: act_one}\n"

func TestMenuDefinitionsAreReadAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "menus.yaml")
	write(t, path, definitionsWith("one"))
	hub, process := serveProgram(t, onSharedRedis(t).with("MENU_DEFINITIONS", path))
	has := func(key string) bool {
		_, menu := hub.menu(t, "5/main")
		return strings.Contains(menu, `"key":"`+key+`"`)
	}
	reload := func() {
		t.Helper()
		if err := process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	if !has("one") {
		t.Fatal("the file is not used")
	}
	write(t, path, definitionsWith("two"))
	reload()
	redistest.Eventually(t, soon, "a signal makes the hub read the file", func() bool { return has("two") })
	write(t, path, definitionsWith("three"))
	redistest.Eventually(t, soon, "the hub sees that the file changed", func() bool { return has("three") })

	write(t, path, faultyDefinitions)
	reload()
	hub.stderr.has(t, "the menu definitions stay as they are")
	hub.stderr.has(t, "line 6, menu main: ")
	if !has("three") {
		t.Error("the definitions in use are gone")
	}
	hub.awaitHealth(t, "menu_definitions", "warn", "The file of definitions cannot be used")
	call(t, hub.client(), "check").want(t, 0, "menu_definitions: The file of definitions cannot be used, the last good one is: see the log.")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	reload()
	hub.stderr.has(t, "no such file")
	write(t, path, definitionsWith("four"))
	reload()
	redistest.Eventually(t, soon, "the hub takes the mended file", func() bool { return has("four") })
	hub.awaitHealth(t, "menu_definitions", "pass", "")
	hub.stop(t)
}

func TestAFaultyDefinitionsFileKeepsTheHubFromStarting(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "menus.yaml")
	write(t, path, faultyDefinitions)
	call(t, environment{"HTTP_ADDR": "127.0.0.1:0", "METRICS_ADDR": noAddr, "EMBEDDED_REDIS_ADDR": "127.0.0.1:0", "MENU_DEFINITIONS": path}, "serve").
		want(t, 2, "MENU_DEFINITIONS (or --menu-definitions) cannot be used: ", path, "line 6, menu main: ")
}

func TestAHangupWithoutDefinitionsEndsNothing(t *testing.T) {
	t.Parallel()
	hub, process := serveProgram(t, nil)
	if err := process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	hub.stderr.has(t, "there is nothing to read again")
	call(t, hub.client(), "menu", "get", "5").want(t, 0)
}

// TestMenusAreSharedWithTheDjangoBot uses bytes that the bot wrote.
func TestMenusAreSharedWithTheDjangoBot(t *testing.T) {
	t.Parallel()
	var recorded struct {
		Key   string
		TTL   int64  `json:"ttl_s"`
		Value string `json:"value_hex"`
	}
	raw, err := os.ReadFile(filepath.Join("testdata", "django-menu.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &recorded); err != nil {
		t.Fatal(err)
	}
	value, err := hex.DecodeString(recorded.Value)
	if err != nil {
		t.Fatal(err)
	}
	rds := redistest.Start(t)
	rdb := rds.Client()
	botWrites := func() {
		t.Helper()
		if err := rdb.Set(t.Context(), recorded.Key, value, time.Duration(recorded.TTL)*time.Second).Err(); err != nil {
			t.Fatal(err)
		}
	}
	botWrites()
	hub := serve(t, on(rds).with("DJANGO_COMPAT", "true"))

	// The bot cached an administrator's menu, which only an administrator gets.
	if from, menu := hub.menu(t, "124/main?role=admin"); from != "HIT" || !strings.HasPrefix(menu, `{"type":"main","user_id":124,"role":"admin"`) ||
		!strings.Contains(menu, `"label":"🔧 Админ панель"`) {
		t.Errorf("an administrator gets a %s: %s", from, menu)
	}
	if from, menu := hub.menu(t, "124/main"); from != "MISS" || strings.Contains(menu, "admin_panel") {
		t.Errorf("a user gets a %s: %s", from, menu)
	}
	botWrites() // In the place of the user's, which the hub has in its memory.
	redistest.Eventually(t, soon, "the hub sees what the bot writes", func() bool {
		from, menu := hub.menu(t, "124/main?role=admin")
		return from == "HIT" && strings.Contains(menu, "admin_panel")
	})

	if status, _ := hub.put(t, "5/main?ttl=600"); status != http.StatusOK {
		t.Fatalf("setting a menu gets %d", status)
	}
	const key = "connectbot:1:menu:user:5:main"
	written, err := rdb.Get(t.Context(), key).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if ttl := rdb.PTTL(t.Context(), key).Val(); ttl < 590*time.Second || ttl > 600*time.Second {
		t.Errorf("%s lives for %v", key, ttl)
	}
	pickled, err := djangocache.DecodeString(written)
	if err != nil || written[0] == '{' {
		t.Fatalf("the hub wrote %q: %v", written, err)
	}
	var kept struct {
		Data     json.RawMessage
		UserID   int64  `json:"user_id"`
		MenuType string `json:"menu_type"`
		CachedAt int64  `json:"cached_at"`
	}
	if err := json.Unmarshal(pickled, &kept); err != nil {
		t.Fatal(err)
	}
	if string(kept.Data) != ownMenu || kept.UserID != 5 || kept.MenuType != "main" || kept.CachedAt == 0 {
		t.Errorf("the hub wrote %s", pickled)
	}
	call(t, hub.client(), "menu", "clear", "5").want(t, 0, "Cleared: 1")
	if n := rdb.Exists(t.Context(), key).Val(); n != 0 {
		t.Errorf("%s is still there", key)
	}
	call(t, hub.client(), "check", "--component", "cache").want(t, 0)
}

// menuSource is a service that holds menus.
type menuSource struct {
	*httptest.Server
	mu      sync.Mutex
	menus   map[string]string
	answers int // What it answers to every call, if not 0.
	token   string
}

func newMenuSource(tb testing.TB) *menuSource {
	tb.Helper()
	s := &menuSource{menus: map[string]string{}}
	s.Server = httptest.NewServer(s)
	tb.Cleanup(s.Close)
	return s
}

func (s *menuSource) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = r.Header.Get("Authorization")
	menu, found := s.menus[r.URL.Path]
	switch {
	case s.answers != 0:
		w.WriteHeader(s.answers)
	case r.Method == http.MethodPut:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.menus[r.URL.Path] = string(body)
	case !found:
		w.WriteHeader(http.StatusNotFound)
	default:
		_, _ = io.WriteString(w, menu)
	}
}

// answer makes the source answer every call with a status; 0 lets it work again.
func (s *menuSource) answer(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = status
}

func (s *menuSource) get(path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.menus[path]
}

// shown returns the Authorization that the source was shown last.
func (s *menuSource) shown() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token
}

// withSource returns the environment of a hub with this source.
func (s *menuSource) withSource(env environment) environment {
	url := strings.Replace(s.URL, "http://", "http://user:s3cret@", 1) + "/base"
	return env.with("MENU_SOURCE_URL", url, "MENU_SOURCE_TOKEN", " t0ken-of-the-source ")
}

func TestMenusOfASource(t *testing.T) {
	t.Parallel()
	source := newMenuSource(t)
	hub := serve(t, source.withSource(onSharedRedis(t)))
	if from, menu := hub.menu(t, "5/main"); from != "MISS" || !strings.Contains(menu, "show_profile") {
		t.Errorf("who has no menu of his own gets a %s, %s", from, menu)
	}
	call(t, hub.client(), "menu", "set", "5", "main", ownMenu, "--write", "through").
		want(t, 0, "main of user 5: stored; the cache keeps it for 30m0s")
	if got := source.get("/base/menus/5/main"); got != ownMenu {
		t.Errorf("the source has %q", got)
	}
	if shown := source.shown(); shown != "Service t0ken-of-the-source" {
		t.Errorf("the source was shown %q", shown)
	}
	if from, menu := hub.menu(t, "5/main"); from != "HIT" || menu != ownMenu {
		t.Errorf("what was stored is a %s, %s", from, menu)
	}
	call(t, hub.client(), "menu", "clear", "5").want(t, 0)
	if from, menu := hub.menu(t, "5/main"); from != "MISS" || menu != ownMenu {
		t.Errorf("the source's menu is a %s, %s", from, menu)
	}
	call(t, hub.client(), "menu", "set", "6", "main", ownMenu, "--write", "behind").want(t, 0, "main of user 6: queued")
	redistest.Eventually(t, soon, "the source gets what was queued", func() bool { return source.get("/base/menus/6/main") == ownMenu })

	source.answer(http.StatusInternalServerError)
	if from, menu := hub.menu(t, "7/main"); from != "BYPASS" || !strings.Contains(menu, "show_profile") {
		t.Errorf("without the source the menu is a %s, %s", from, menu)
	}
	status, header := hub.put(t, "7/main?write=through")
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("writing through gets %d, %v", status, header)
	}
	hub.awaitHealth(t, "menu_source", "warn", "does not answer, or fails")
	call(t, hub.client(), "check").want(t, 1, "; menu_source: The menu source does not answer, or fails: menus are built.",
		"FAIL  cache", "build a menu: it was not cached (X-Cache is BYPASS)")

	source.answer(http.StatusUnprocessableEntity)
	call(t, hub.client(), "menu", "set", "7", "main", ownMenu, "--write", "through").want(t, 1, "502 menu_source_refused")
	call(t, hub.client(), "menu", "set", "8", "main", ownMenu, "--write", "behind").want(t, 0, "queued")
	redistest.Eventually(t, soon, "/health warns of a write that was given up", func() bool {
		status, body := hub.get(t, "/health")
		return status == http.StatusOK && strings.Contains(body, "Writes to the menu source were given up: see GET /v1/menus/dead-writes.")
	})
	source.Close()
	call(t, hub.client(), "menu", "set", "9", "main", ownMenu, "--write", "through").want(t, 1, "503 menu_source_unavailable")
	_, health := hub.get(t, "/health")
	hub.stop(t)
	for _, secret := range []string{"s3cret", "t0ken"} {
		if strings.Contains(hub.stderr.String()+hub.stdout.String()+health, secret) {
			t.Errorf("%s is told: %s", secret, hub.stderr)
		}
	}
}

// TestMenuSettingsTakeEffect checks those that no other test does.
func TestMenuSettingsTakeEffect(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t)
	rdb := rds.Client()
	kept := func(key string) (freshFor, keptFor time.Duration) {
		t.Helper()
		raw, err := rdb.Get(t.Context(), key).Bytes()
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		if raw[0] != '{' {
			if raw, err = djangocache.DecodeString(raw); err != nil {
				t.Fatal(err)
			}
		}
		var entry struct {
			Hub struct {
				Stored  int64 `json:"stored_at"`
				Fresh   int64 `json:"fresh_until"`
				Expires int64 `json:"expires_at"`
			}
		}
		if err := json.Unmarshal(raw, &entry); err != nil {
			t.Fatal(err)
		}
		return time.Duration(entry.Hub.Fresh-entry.Hub.Stored) * time.Millisecond,
			time.Duration(entry.Hub.Expires-entry.Hub.Stored) * time.Millisecond
	}

	first := serve(t, on(rds).with("KEY_PREFIX", "mine", "MENU_TTL", "10m", "MENU_STALE", "9m"))
	call(t, first.client(), "menu", "set", "4", "main", ownMenu).want(t, 0, "keeps it for 10m0s")
	first.remember(t, "5/main")
	if fresh, all := kept("mine:menu:user:5:main"); fresh < 50*time.Second || fresh > time.Minute || all < 590*time.Second || all > 10*time.Minute {
		t.Errorf("a menu is fresh for %v and kept for %v", fresh, all)
	}
	first.stop(t)
	// A hub that stops in the moment in which it begins to follow what changes in Redis has just forgotten what it had.
	redistest.Eventually(t, soon, "what a hub was asked for is noted when it stops", func() bool {
		if len(rdb.Keys(t.Context(), "mine:menu:popular:*").Val()) > 0 {
			return true
		}
		again := serve(t, on(rds).with("KEY_PREFIX", "mine"))
		again.remember(t, "5/main")
		again.stop(t)
		return false
	})

	// What the first was asked for, the second makes ready.
	second := serve(t, on(rds).with("KEY_PREFIX", "mine", "MENU_WARM", "1"))
	second.stderr.has(t, `"msg":"the menu cache is warm","built":0,"cached":1,"failed":0`)
	third := serve(t, on(rds).with("KEY_PREFIX", "mine", "MENU_WARM", "0",
		"MENU_STALE", "0s", "DJANGO_COMPAT", "true", "DJANGO_KEY_PREFIX", "other:2"))
	third.menu(t, "5/main")
	if fresh, all := kept("other:2:menu:user:5:main"); fresh != all || all < 27*time.Minute || all > 30*time.Minute {
		t.Errorf("a menu is fresh for %v and kept for %v", fresh, all)
	}
	if strings.Contains(third.stderr.String(), "warm") {
		t.Errorf("MENU_WARM=0 warms: %s", third.stderr)
	}

	source := newMenuSource(t)
	hung, token := make(chan struct{}), filepath.Join(t.TempDir(), "token")
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hung }))
	t.Cleanup(slow.Close)
	t.Cleanup(func() { close(hung) })
	write(t, token, "\ufefft0ken-from-a-file\r\n")
	fourth := serve(t, on(rds).with("KEY_PREFIX", "fourth", "MENU_SOURCE_URL", source.URL, "MENU_SOURCE_TOKEN_FILE", token))
	fourth.menu(t, "5/main")
	if shown := source.shown(); shown != "Service t0ken-from-a-file" {
		t.Errorf("the source was shown %q", shown)
	}
	fifth := serve(t, on(rds).with("KEY_PREFIX", "fifth", "MENU_SOURCE_URL", slow.URL, "MENU_SOURCE_TIMEOUT", "1ms"))
	began := time.Now()
	if from, _ := fifth.menu(t, "5/main"); from != "BYPASS" || time.Since(began) > time.Second {
		t.Errorf("with a source that hangs the menu is a %s after %v", from, time.Since(began))
	}
	if status, body := fifth.get(t, "/health"); status != http.StatusOK || !strings.Contains(body, "The menu source does not answer") {
		t.Errorf("/health says %d, %s", status, body)
	}
}

func TestAQueuedMenuOutlivesItsHub(t *testing.T) {
	t.Parallel()
	source := newMenuSource(t)
	source.answer(http.StatusServiceUnavailable)
	env := source.withSource(onSharedRedis(t))
	first, process := serveProgram(t, env)
	call(t, first.client(), "menu", "set", "5", "main", ownMenu, "--write", "behind").want(t, 0, "queued")
	redistest.Eventually(t, soon, "the hub has tried in vain", func() bool {
		_, stats := first.get(t, "/stats")
		return !strings.Contains(stats, `"writes_retried":0,`)
	})
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	first.wait(t, -1)
	second := serve(t, env)
	call(t, second.client(), "menu", "clear", "5").want(t, 0)
	if _, menu := second.menu(t, "5/main"); menu != ownMenu {
		t.Errorf("while the write is on its way, the menu is %s", menu)
	}
	source.answer(0)
	const lease = 30 * time.Second // Of the first hub, if it died while it called the source.
	redistest.Eventually(t, lease+soon, "the source gets the menu", func() bool { return source.get("/base/menus/5/main") == ownMenu })
}

func TestMenusWhileTheirRedisIsAway(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		end  func(*redistest.Server)
		back func(*redistest.Server)
	}{
		{"killed", (*redistest.Server).Kill, (*redistest.Server).Restart},
		{"paused", (*redistest.Server).Pause, (*redistest.Server).Resume},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			rds := redistest.Start(t)
			env := onSharedRedis(t)
			hub := serve(t, env.with("EVENTS_REDIS_URL", env["REDIS_URL"], "REDIS_URL", rds.URL()))
			hub.healthy(t)
			hub.remember(t, "5/main")
			test.end(rds)
			hub.stderr.has(t, "Redis does not answer: cached values are served from memory")
			for path, want := range map[string]string{"5/main": "HIT", "6/main": "BYPASS"} {
				// The fastest of a few, as the machine is busy with other tests.
				fastest, first := time.Hour, ""
				for i := range 10 {
					began := time.Now()
					from, menu := hub.menu(t, path)
					fastest = min(fastest, time.Since(began))
					if i == 0 {
						first = from
					}
					if !strings.Contains(menu, "show_profile") {
						t.Errorf("without Redis the menu is %s", menu)
					}
				}
				if first != want || fastest > 50*time.Millisecond {
					t.Errorf("without Redis %s is a %s and takes %v, want a %s", path, first, fastest, want)
				}
			}
			status, header := hub.put(t, "5/main")
			if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
				t.Errorf("without Redis setting a menu gets %d, %v", status, header)
			}
			hub.awaitHealth(t, "menus", "warn", "menus come from memory or are built")
			hub.awaitHealth(t, "redis_main", "warn", "Redis does not answer")
			if status, body := hub.get(t, "/health"); status != http.StatusOK {
				t.Errorf("/health says %d, %s", status, body)
			}
			call(t, hub.client(), "check", "--component", "cache").want(t, 1, "FAIL  cache", "503 redis_unavailable")
			call(t, hub.client(), "check", "--component", "events").want(t, 0) // They have another Redis.
			test.back(rds)
			redistest.Eventually(t, soon, "menus can be set again", func() bool {
				status, _ := hub.put(t, "5/main")
				return status == http.StatusOK
			})
			call(t, hub.client(), "check", "--component", "cache").want(t, 0)
		})
	}
}
