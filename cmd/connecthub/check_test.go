package main

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// readable is how check shows a step: mark, component, time and name.
var readable = regexp.MustCompile(`(?m)^(ok  |FAIL)  (health|events|cache|temp_data|matching) +\d+\.\d ms  (.*)$`)

func TestCheckPasses(t *testing.T) {
	t.Parallel()
	healthSteps := []string{"the process answers", "it can accept events", "no check fails"}
	eventsSteps := []string{
		"open a stream", "publish an event", "receive it on the stream", "find it in the log",
		"publish it again, which must change nothing",
	}
	cacheSteps := []string{
		"read the definitions", "clear the test user's menus", "build a menu", "get it from the cache", "get it again, unchanged",
		"keep options of other roles from the user", "set a menu and read it back", "clear it", "build it anew",
	}
	tempSteps := []string{
		"set a value for a minute", "get it, with its ETag and its expiry", "set it anew, and refuse an old ETag",
		"put two steps of a form", "patch the form and read it merged", "go back a step", "submit the form, once",
		"append to a history and read it in order", "find the value's key in the list", "delete the value",
		"take a lease, refuse it to others, release it",
	}
	matchingSteps := []string{"list the algorithms", "pair four people, so that nobody is forgotten"}
	kept := redistest.Start(t, "--appendonly", "yes") // Else there is a warning.
	hub := serve(t, on(kept).with("JAVA_SERVICE_URL", newJava(t).URL))
	hub.healthy(t)
	for _, test := range []struct {
		args []string
		want []string
	}{
		{nil, slices.Concat(healthSteps, eventsSteps, cacheSteps, tempSteps, matchingSteps)},
		{[]string{"--component", "all"}, slices.Concat(healthSteps, eventsSteps, cacheSteps, tempSteps, matchingSteps)},
		{[]string{"--component", "matching"}, matchingSteps},
		{[]string{"--component", "temp_data"}, tempSteps},
		{[]string{"--component", "temp_data", "--user-id", "125"}, tempSteps},
		{[]string{"--component", "cache"}, cacheSteps},
		{[]string{"--component", "cache", "--user-id", "124"}, cacheSteps},
		{[]string{"--component", "events"}, eventsSteps},
		{[]string{"--component", "health"}, healthSteps},
		{[]string{"--component", "events", "--user-id", "123"}, eventsSteps},
	} {
		got := call(t, hub.client(), append([]string{"check"}, test.args...)...)
		got.want(t, 0)
		var steps []string
		for _, found := range readable.FindAllStringSubmatch(got.stdout, -1) {
			steps = append(steps, found[3])
		}
		if !slices.Equal(steps, test.want) || strings.Count(got.stdout, "ok  ") != len(test.want) || got.stderr != "" {
			t.Errorf("check %q:\n%s%s", test.args, got.stdout, got.stderr)
		}
	}
	for channel, want := range map[string]int{"service:connecthub-check": 3, "user:123": 1} {
		if _, log := hub.get(t, "/v1/events?channel="+channel); strings.Count(log, `"source":"connecthub-check"`) != want {
			t.Errorf("%s holds %s, want %d events", channel, log, want)
		}
	}
	hub.following(t, 0)
}

// jsonStep is a line of check --json.
type jsonStep struct {
	Component, Step, Note, Error string
	OK                           bool
	Ms                           *float64
}

func jsonSteps(tb testing.TB, text string) []jsonStep {
	tb.Helper()
	var steps []jsonStep
	for one := range strings.Lines(text) {
		var s jsonStep
		if err := json.Unmarshal([]byte(one), &s); err != nil || s.Ms == nil {
			tb.Fatalf("check --json says %q: %v", one, err)
		}
		steps = append(steps, s)
	}
	return steps
}

func TestCheckTellsWarnings(t *testing.T) {
	t.Parallel()
	hub := serve(t, nil)
	hub.healthy(t)
	got := call(t, hub.client(), "check", "--json")
	got.want(t, 0)
	steps := jsonSteps(t, got.stdout)
	if len(steps) != 30 {
		t.Fatalf("check --json shows %d steps:\n%s", len(steps), got.stdout)
	}
	for _, s := range steps {
		if !s.OK || s.Error != "" || *s.Ms < 0 || s.Note != "" && s.Step != "no check fails" && s.Component != "matching" {
			t.Errorf("a step is %+v", s)
		}
	}
	for _, s := range steps[28:] {
		if !strings.HasPrefix(s.Note, "degraded: the Java service is away") {
			t.Errorf("a step is %+v", s)
		}
	}
	if !strings.Contains(steps[2].Note, "persistence: The embedded Redis keeps nothing") {
		t.Errorf("the note is %q", steps[2].Note)
	}
	call(t, hub.client(), "check", "--component", "health").want(t, 0, "no check fails (matching_service: ", "; persistence: The embedded Redis keeps nothing")
}

func TestCheckFailsWithoutRedis(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t)
	hub := serve(t, on(rds))
	hub.healthy(t)
	rds.Stop()
	call(t, hub.client(), "check", "--component", "events").want(t, 1, "FAIL  events", "503 redis_unavailable")
	hub.awaitHealth(t, "redis", "fail", "Redis does not answer")
	got := call(t, hub.client(), "check", "--json")
	got.want(t, 1)
	var ok []bool
	for _, s := range jsonSteps(t, got.stdout) {
		ok = append(ok, s.OK)
		if !s.OK && s.Error == "" {
			t.Errorf("a step fails without an error: %+v", s)
		}
	}
	// The process answers, the other two checks of health fail. A stream opens and waits; publishing fails, which ends the rest.
	// Menus are defined, but cannot be cleared. Temporary data is kept in memory, but nobody knows what else a form has. People
	// are matched.
	temp, matching := []bool{true, true, true, true, false}, []bool{true, true}
	if !slices.Equal(ok, slices.Concat([]bool{true, false, false, true, false, true, false}, temp, matching)) || !strings.Contains(got.stdout, "redis: Redis does not answer") {
		t.Errorf("check --json without Redis:\n%s", got.stdout)
	}
	if got.stderr != "" {
		t.Errorf("standard error has %q", got.stderr)
	}
}

func TestCheckFailsWithoutAHub(t *testing.T) {
	t.Parallel()
	got := call(t, environment{"HUB_URL": "http://" + freeAddr(t)}, "check")
	got.want(t, 1, "does not answer")
	if n := strings.Count(got.stdout, "FAIL"); n != 7 {
		t.Errorf("%d steps fail:\n%s", n, got.stdout)
	}
}

func TestCheckNeedsAKey(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t).with("SERVICE_AUTH_TOKEN", "a-token-of-decent-length"))
	hub.healthy(t)
	call(t, hub.client(), "check").want(t, 1, "ok    health", "FAIL  events", "FAIL  cache", "FAIL  temp_data", "FAIL  matching", "401 unauthorized", "set SERVICE_AUTH_TOKEN")
	call(t, hub.client().with("SERVICE_AUTH_TOKEN", "a-token-of-decent-length"), "check").want(t, 0)
}

func TestCheckIsCalledWrongly(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"--user-id must be above 0": {"--user-id=-1"},
		"--component":               {"--component", "menus"},
		"--user-id":                 {"--user-id", "anna"},
		"unexpected argument":       {"events"},
	} {
		call(t, nil, append([]string{"check"}, args...)...).want(t, 2, "connecthub: ", want)
	}
	call(t, environment{"SERVICE_AUTH_TOKEN_FILE": "/no/such/file"}, "check").want(t, 2, "SERVICE_AUTH_TOKEN_FILE", "no such file")
}

// behind is the environment of commands that call this hub through a proxy with a fault. Answer, unless it is nil, answers a
// request itself and returns true, or changes it; change, unless it is nil, changes what the hub answers.
func (s *server) behind(tb testing.TB, answer func(http.ResponseWriter, *http.Request) bool, change func(*http.Response)) environment {
	tb.Helper()
	target, err := url.Parse(s.url)
	if err != nil {
		tb.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(res *http.Response) error {
			if change != nil {
				change(res)
			}
			return nil
		},
	}
	faulty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer == nil || !answer(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	tb.Cleanup(faulty.Close)
	return environment{"HUB_URL": faulty.URL}
}

// TestCheckFindsACacheThatDoesNotWork puts a proxy with a fault before a hub.
func TestCheckFindsACacheThatDoesNotWork(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t))
	for i, test := range []struct {
		name string
		// answer answers a request itself, or changes it.
		answer func(w http.ResponseWriter, r *http.Request) bool
		// change changes the hub's answer.
		change func(res *http.Response)
		want   string
	}{
		{
			"it keeps nothing", nil, func(res *http.Response) { res.Header.Set("X-Cache", "MISS") },
			`get it from the cache: X-Cache is "MISS", not HIT`,
		},
		{
			"it is passed by", nil, func(res *http.Response) { res.Header.Set("X-Cache", "BYPASS") },
			"build a menu: it was not cached (X-Cache is BYPASS): Redis or the menu source does not answer the hub",
		},
		{
			"its tags change", nil, func(res *http.Response) { res.Header.Set("ETag", `"`+rand.Text()+`"`) },
			"get it from the cache: it is not the menu that was built",
		},
		{
			"it does not compare tags", func(_ http.ResponseWriter, r *http.Request) bool {
				r.Header.Del("If-None-Match")
				return false
			}, nil,
			"get it again, unchanged: the status is 200, not 304",
		},
		{
			"it shows everybody what is an administrator's", func(_ http.ResponseWriter, r *http.Request) bool {
				r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "role=user", "role=admin", 1)
				return false
			}, nil,
			"keep options of other roles from the user: the role user is shown the option admin_panel",
		},
		{
			"it does not set", func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPut {
					_, _ = w.Write([]byte(`{"user_id":1,"menu_type":"main","status":"cached","expires_in":60}`))
				}
				return r.Method == http.MethodPut
			}, nil,
			"set a menu and read it back: another menu comes back",
		},
		{
			"it does not clear", func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodDelete {
					_, _ = w.Write([]byte(`{"cleared":0}`))
				}
				return r.Method == http.MethodDelete
			}, nil,
			"clear it: 0 menus were cleared, not 1",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			call(t, hub.behind(t, test.answer, test.change), "check", "--component", "cache", "--user-id", strconv.Itoa(100+i)).want(t, 1, "FAIL  cache", test.want)
		})
	}
}

func TestCheckLeavesNoMenuBehind(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t))
	call(t, hub.client(), "check", "--component", "cache").want(t, 0)
	call(t, hub.client(), "menu", "clear", "9223372036854775807").want(t, 0, "Cleared: 0")
}

func TestCheckWorksWithOtherDefinitions(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "menus.yaml")
	write(t, path, definitionsWith("one"))
	hub := serve(t, onSharedRedis(t).with("MENU_DEFINITIONS", path))
	call(t, hub.client(), "check", "--component", "cache").want(t, 0, "keep options of other roles from the user (there are none)")
}
