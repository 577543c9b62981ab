package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func TestMatchingCommands(t *testing.T) {
	t.Parallel()
	service := newJava(t)
	hub := serve(t, onSharedRedis(t).with("JAVA_SERVICE_URL", service.URL, "MATCHING_FALLBACK", "off", "MATCHING_RETRY_FOR", "0s"))
	as := hub.client()
	matching := func(args ...string) outcome {
		t.Helper()
		return call(t, as, append([]string{"matching"}, args...)...)
	}
	const moment = `20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z`
	like := func(got outcome, status int, stdout, stderr string) {
		t.Helper()
		got.want(t, status)
		if !regexp.MustCompile("^"+stdout+"$").MatchString(got.stdout) || !regexp.MustCompile("^"+stderr+"$").MatchString(got.stderr) {
			t.Errorf("it writes\n%s\nand\n%s\nwant\n%s\nand\n%s", got.stdout, got.stderr, stdout, stderr)
		}
	}

	like(matching("ls"), 0, "", "No request has failed.\n")
	like(matching("retry", "--all"), 0, "", "No request has failed.\n")
	like(matching("request", "--wait", "--id", "good", "--type", "lunch", "1", "2", "3"), 0,
		"request     good\nstate       completed\nattempts    1\nasked       "+moment+"\nchanged     "+moment+"\n"+
			"matched by  java\npair        1 and 2\nno partner  3\n", "")
	like(matching("request", "4", "5"), 0, "[0-9a-f-]{36}\n", "")
	like(matching("request", "--id", "good", "--type", "lunch", "1", "2", "3"), 0, "good\n", "") // It is known.
	service.failing.Store(true)
	like(matching("request", "--wait", "--id", "bad", "1", "2"), 1,
		"request     bad\nstate       failed\nattempts    1\nasked       "+moment+"\nchanged     "+moment+"\n"+
			"went wrong  server_error\n", "")
	matching("request", "--wait", "--id", "worse", "1", "2").want(t, 1)

	like(matching("ls"), 0,
		"REQUEST  STATE   ATTEMPTS  CHANGED                      WHY\n"+
			"worse    failed  1         "+moment+"  server_error\n"+
			"bad      failed  1         "+moment+"  server_error\n", "")
	like(matching("ls", "--limit", "1", "--json"), 0,
		`\{"attempts":1,"created_at":"`+moment+`","error":\{"code":"server_error"\},"request_id":"worse","retries":0,"state":"failed","updated_at":"`+moment+`"\}`+"\n",
		"There are more: say --limit.\n")
	like(matching("ls", "--state", "queued"), 0, "", "No request is queued.\n")
	shown := matching("show", "bad", "--json")
	shown.want(t, 0)
	var status struct {
		RequestID string `json:"request_id"`
		State     string
	}
	if err := json.Unmarshal([]byte(shown.stdout), &status); err != nil || status.RequestID != "bad" || status.State != "failed" {
		t.Errorf("show --json writes %s", shown.stdout)
	}

	service.failing.Store(false)
	like(matching("retry", "bad", "good", "none", "worse"), 1, "Retried: bad\nRetried: worse\n",
		"connecthub: good: The request has not failed: .*\\(409 matching_request_not_failed, request .*\\)\n"+
			"none: There is no such request: .*\\(404 matching_request_not_found, request .*\\)\n")
	hub.completed(t, "user:1", 3)
	like(matching("show", "bad"), 0,
		"request     bad\nstate       completed\nattempts    1\nretried     once by hand\nasked       "+moment+"\nchanged     "+moment+"\n"+
			"matched by  java\npair        1 and 2\n", "")
	like(matching("ls"), 0, "", "No request has failed.\n")
	service.failing.Store(true)
	matching("request", "--wait", "--id", "again", "1", "2").want(t, 1)
	service.failing.Store(false)
	like(matching("retry", "--all"), 0, "Retried: again\n", "")
}

func TestMatchingListShowsAllPages(t *testing.T) {
	t.Parallel()
	var asked []string
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.RequestURI())
		page := `{"requests":[{"request_id":"a","state":"failed"}],"next_cursor":"more"}`
		switch {
		case r.Method == http.MethodPost:
			page = `{"request_id":"a","state":"queued"}`
		case r.URL.Query().Has("cursor"):
			page = `{"requests":[{"request_id":"b","state":"failed"}],"next_cursor":null}`
		}
		_, _ = w.Write([]byte(page))
	}))
	t.Cleanup(hub.Close)
	call(t, environment{"HUB_URL": hub.URL}, "matching", "retry", "--all").want(t, 0, "Retried: a\nRetried: b\n")
	want := "GET /v1/matching/requests?limit=100&state=failed, GET /v1/matching/requests?cursor=more&limit=100&state=failed, " +
		"POST /v1/matching/requests/a/retry, POST /v1/matching/requests/b/retry"
	if got := strings.Join(asked, ", "); got != want {
		t.Errorf("it asks\n%s, want\n%s", got, want)
	}
}

func TestMatchingCommandsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	_, menus := newKey(t, nil, "--file", path, "--name", "menus", "--scope", "menus")
	_, match := newKey(t, nil, "--file", path, "--name", "matching", "--scope", "match")
	hub := serve(t, onSharedRedis(t).with("HUB_KEYS_FILE", path))
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<html>Welcome to nginx!</html>"))
	}))
	t.Cleanup(page.Close)
	as := hub.client().with("SERVICE_AUTH_TOKEN", match)
	away := environment{"HUB_URL": "http://" + freeAddr(t)}
	call(t, nil, "help", "matching", "retry").want(t, 0, "Usage: connecthub matching retry", "($HUB_URL)")
	for _, test := range []struct {
		env    environment
		args   []string
		status int
		want   string
	}{
		{as, []string{"ls"}, 0, "No request has failed."},
		{as, []string{"ls", "--state", "completed"}, 2, "--state must be one of"},
		{as, []string{"ls", "--limit", "0"}, 2, "--limit must be at least 1"},
		{as, []string{"show"}, 2, "<id>"},
		{as, []string{"show", ".."}, 2, "a request's id must be"},
		{as, []string{"show", "none"}, 1, "404 matching_request_not_found"},
		{as, []string{"show", "a/b"}, 1, "no such request"},
		{as, []string{"retry"}, 2, "say which requests"},
		{as, []string{"retry", "--all", "x"}, 2, "but not both"},
		{as, []string{"retry", "none"}, 1, "404 matching_request_not_found"},
		{as, []string{"retry", "."}, 2, "a request's id must be"},
		{as, []string{"request"}, 2, "<user-id>"},
		{as, []string{"request", "anna"}, 2, "<user-id>"},
		{as, []string{"request", "1", "1"}, 1, "users[1]"},
		{as, []string{"request", "0"}, 1, "users[0]"},
		{as, []string{"request", "1", "2", "--algorithm", "MAGIC"}, 1, "SIMPLE_RANDOM, INTEREST_BASED, CROSS_DEPARTMENT"},
		{as, []string{"request", "1", "2", "--id", "a b"}, 1, "request_id"},
		{as.with("SERVICE_AUTH_TOKEN", menus), []string{"ls"}, 1, "scope match"},
		{hub.client(), []string{"request", "1", "2"}, 1, "401 unauthorized"},
		{away, []string{"ls"}, 1, "does not answer"},
		{away, []string{"show", "x"}, 1, "start one with connecthub serve"},
		{away, []string{"retry", "x"}, 1, "does not answer"},
		{away, []string{"request", "1", "2"}, 1, "does not answer"},
		{environment{"HUB_URL": page.URL}, []string{"ls"}, 1, "is no hub"},
		{environment{"HUB_URL": page.URL}, []string{"show", "x"}, 1, "is no hub"},
	} {
		call(t, test.env, append([]string{"matching"}, test.args...)...).want(t, test.status, test.want)
	}
}

func TestMatchingRequestCanBeLeft(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t)) // Which waits for a Java service.
	waiting := start(t, hub.client(), "matching", "request", "--id", "week-47", "--wait", "1", "2")
	hub.awaitQueued(t, "week-47")
	waiting.interrupt()
	waiting.wait(t, 1)
	waiting.stderr.has(t, "connecthub: the request week-47 goes on")
	redistest.Eventually(t, soon, "it waits for its next attempt", func() bool { // Unless one is under way.
		shown := call(t, hub.client(), "matching", "show", "week-47")
		shown.want(t, 0, "went wrong", "unreachable")
		return strings.Contains(shown.stdout, "next attempt")
	})
}
