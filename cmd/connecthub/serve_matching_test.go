package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/matching"
)

// coffee asks for pairs among people of whom only the ids are known, and returns status and body.
func (s *server) coffee(tb testing.TB, header http.Header) (status int, body string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, s.url+"/v1/matching/coffee/simple",
		strings.NewReader(`[{"id":1},{"id":2},{"id":3}]`))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("Content-Type", "application/json")
	return send(tb, req)
}

func TestTheJavaServiceIsShownAToken(t *testing.T) {
	t.Parallel()
	const own, other = "a-token-of-decent-length", "another-token"
	dir := t.TempDir()
	file := func(name, token string) string {
		path := filepath.Join(dir, name)
		write(t, path, token+"\r\n")
		return path
	}
	keys := filepath.Join(dir, "keys.json")
	_, match := newKey(t, nil, "--file", keys, "--name", "matching", "--scope", "match")
	for name, test := range map[string]struct {
		env    environment
		bearer string // what the caller shows the hub
		want   string
	}{
		"there is none":                 {environment{}, "", ""},
		"the hub's own":                 {environment{"SERVICE_AUTH_TOKEN": own}, own, "Service " + own},
		"the hub's own, of a file":      {environment{"SERVICE_AUTH_TOKEN_FILE": file("own", own)}, own, "Service " + own},
		"one of its own":                {environment{"SERVICE_AUTH_TOKEN": own, "JAVA_SERVICE_TOKEN": other}, own, "Service " + other},
		"one of its own, of a file":     {environment{"SERVICE_AUTH_TOKEN": own, "JAVA_SERVICE_TOKEN_FILE": file("other", other)}, own, "Service " + other},
		"one for it and no key":         {environment{"JAVA_SERVICE_TOKEN": other}, "", "Service " + other},
		"the keys of services stay":     {environment{"HUB_KEYS_FILE": keys}, match, ""},
		"with keys, what is set for it": {environment{"HUB_KEYS_FILE": keys, "JAVA_SERVICE_TOKEN": other}, match, "Service " + other},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := newJava(t)
			hub := serve(t, onSharedRedis(t).and(test.env).with("JAVA_SERVICE_URL", service.URL))
			header := http.Header{}
			if test.bearer != "" {
				header.Set("Authorization", "Bearer "+test.bearer)
			}
			status, body := hub.coffee(t, header)
			if status != http.StatusOK || !strings.Contains(body, `"source":"java"`) {
				t.Fatalf("the answer is %d %s", status, body)
			}
			if got := service.lastShown(); got != test.want {
				t.Errorf("the service is shown %q, want %q", got, test.want)
			}
			if strings.Contains(hub.stdout.String()+hub.stderr.String(), own) {
				t.Error("the token is in the log")
			}
		})
	}
}

// TestNobodyElseIsShownTheHubsToken asks what would be shown to whatever listens where the Java service would be by default.
func TestNobodyElseIsShownTheHubsToken(t *testing.T) {
	t.Parallel()
	const own, other = "a-token-of-decent-length", "another-token"
	ownFile := filepath.Join(t.TempDir(), "own")
	write(t, ownFile, own)
	for _, test := range []struct {
		url, own, ownFile, other string
		want                     string
	}{
		{"", own, "", "", ""},
		{"", "", ownFile, "", ""},
		{"", own, "", other, other},
		{"http://localhost:8080", own, "", "", own},
		{"http://localhost:8080", "", ownFile, "", own},
		{"http://user:word@localhost:8080", own, "", "", ""},
	} {
		c := &serveCommand{
			tokenSettings:    tokenSettings{ServiceAuthToken: test.own, ServiceAuthTokenFile: test.ownFile},
			matchingSettings: matchingSettings{JavaServiceURL: test.url, JavaServiceToken: test.other},
		}
		if got, _, err := c.javaToken(); err != nil || got != test.want {
			t.Errorf("with %+v it is %q, %v", test, got, err)
		}
	}
}

// healthOf returns what /health says of a check.
func (s *server) healthOf(tb testing.TB, name string) (status, output string) {
	tb.Helper()
	_, body := s.get(tb, "/health")
	var report struct {
		Checks map[string][]struct{ Status, Output string }
	}
	if err := json.Unmarshal([]byte(body), &report); err != nil || len(report.Checks[name]) != 1 {
		tb.Fatalf("/health says %s", body)
	}
	return report.Checks[name][0].Status, report.Checks[name][0].Output
}

// awaitHealth waits until /health says so of a check.
func (s *server) awaitHealth(tb testing.TB, name, status, output string) {
	tb.Helper()
	redistest.Eventually(tb, soon, name+" is "+status+": "+output, func() bool {
		is, says := s.healthOf(tb, name)
		return is == status && strings.Contains(says, output)
	})
}

func TestHealthTellsOfMatching(t *testing.T) {
	t.Parallel()
	service := newJava(t)
	env := onSharedRedis(t).with("JAVA_SERVICE_URL", service.URL, "MATCHING_RETRY_FOR", "0s", "MATCHING_FALLBACK", "off")
	hub := serve(t, env)
	hub.awaitHealth(t, "matching_service", "pass", "")
	hub.awaitHealth(t, "matching_requests", "pass", "")
	service.health.Store(http.StatusServiceUnavailable)
	hub.awaitHealth(t, "matching_service", "warn", "data source")
	service.failing.Store(true)
	call(t, hub.client(), "matching", "request", "1", "2", "--wait").want(t, 1, "server_error")
	hub.awaitHealth(t, "matching_requests", "warn", "1. See connecthub matching ls.")
	service.Close()
	hub.awaitHealth(t, "matching_service", "warn", "nobody is matched. Requests that may wait do so for MATCHING_RETRY_FOR, and then fail.")
	if status, _ := hub.get(t, "/health"); status != http.StatusOK {
		t.Errorf("/health answers %d: what is not matched is no reason to take the hub out of service", status)
	}
	without := serve(t, onSharedRedis(t))
	without.awaitHealth(t, "matching_service", "warn", "the hub matches people by itself.")
	without.awaitHealth(t, "matching_requests", "pass", "")
}

// TestHealthOfAnotherForm has the service match, and fail to, while nobody understands what it says of its health.
func TestHealthOfAnotherForm(t *testing.T) {
	t.Parallel()
	service := newJava(t)
	service.vague.Store(true)
	hub := serve(t, onSharedRedis(t).with("JAVA_SERVICE_URL", service.URL))
	const odd, none = "what it answers to /api/v1/matching/health is not understood.", "is no matching service: the hub matches people by itself."
	hub.awaitHealth(t, "matching_service", "warn", odd)
	hub.coffee(t, nil)
	hub.awaitHealth(t, "matching_service", "warn", odd)
	service.failing.Store(true)
	hub.coffee(t, nil)
	hub.awaitHealth(t, "matching_service", "warn", none)
	service.failing.Store(false)
	hub.coffee(t, nil)
	hub.awaitHealth(t, "matching_service", "warn", odd)
}

// TestStoppingHandsRequestsOn stops a hub whose Java service hangs, while it still answers over HTTP: another goes on with what it
// had, and it takes no more.
func TestStoppingHandsRequestsOn(t *testing.T) {
	t.Parallel()
	service := newJava(t)
	service.hanging.Store(true)
	env := onSharedRedis(t).with("JAVA_SERVICE_URL", service.URL, "JAVA_TIMEOUT", "20s", "JAVA_TIMEOUT_TOTAL", "25s")
	first := serve(t, env)
	call(t, first.client(), "matching", "request", "--id", "week-47", "1", "2").want(t, 0, "week-47\n")
	redistest.Eventually(t, soon, "the service is asked", func() bool { return service.coffees() == 1 })
	request := beginPost(t, first, "/v1/matching/requests", `{"request_id":"week-48","users":[3,4]}`)
	first.interrupt()
	first.stderr.has(t, "the hub is shutting down")
	service.hanging.Store(false)
	second := serve(t, env)
	second.completed(t, "user:1", 1)
	if first.hasEnded() {
		t.Error("the hub did not wait for a request over HTTP")
	}
	request.finish(t, "503 Service Unavailable")
	first.stop(t)
	call(t, second.client(), "matching", "show", "week-47").want(t, 0, "completed")
	call(t, second.client(), "matching", "show", "week-48").want(t, 1, "matching_request_not_found")
}

// TestPublishingWithoutRedis tells those who work on a request that Redis is away, and nothing else is wrong.
func TestPublishingWithoutRedis(t *testing.T) {
	t.Parallel()
	publisher, err := events.NewPublisher(connect(t, "redis://"+freeAddr(t)), events.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := publisher.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(publisher.Close)
	h := &hub{publisher: publisher}
	err = h.publishMatched(t.Context(), matching.Event{UserID: 1, Type: matching.TypeCompleted, ID: "1", Data: []byte("{}")})
	if !errors.Is(err, matching.ErrUnavailable) || !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("the error is %v", err)
	}
	err = h.publishMatched(t.Context(), matching.Event{Type: "Bad Type", ID: "1", Data: []byte("{}")})
	if err == nil || errors.Is(err, matching.ErrUnavailable) {
		t.Errorf("for what is no event the error is %v", err)
	}
}

func TestMatchingWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t)
	hub := serve(t, on(rds).with("JAVA_SERVICE_URL", newJava(t).URL))
	hub.healthy(t)
	rds.Stop()
	hub.awaitHealth(t, "matching_requests", "fail", "requests for matching are not worked on")
	hub.awaitHealth(t, "matching_service", "pass", "")
	if status, body := hub.coffee(t, nil); status != http.StatusOK {
		t.Errorf("without a key the answer is %d %s", status, body)
	}
	if status, body := hub.coffee(t, http.Header{"Idempotency-Key": {"one"}}); status != http.StatusServiceUnavailable {
		t.Errorf("with a key the answer is %d %s", status, body)
	}
	for _, args := range [][]string{{"ls"}, {"show", "x"}, {"retry", "x"}, {"request", "1", "2"}} {
		call(t, hub.client(), append([]string{"matching"}, args...)...).want(t, 1, "503 redis_unavailable")
	}
	rds.Restart()
	hub.awaitHealth(t, "matching_requests", "pass", "")
	call(t, hub.client(), "matching", "request", "1", "2", "--wait").want(t, 0, "matched by")
}

// completed returns the events matching.completed of a channel's log, waiting until there are so many.
func (s *server) completed(tb testing.TB, channel string, n int) []map[string]any {
	tb.Helper()
	var found []map[string]any
	redistest.Eventually(tb, soon, channel+" has "+strconv.Itoa(n)+" events matching.completed", func() bool {
		_, body := s.get(tb, "/v1/events?limit=1000&channel="+channel)
		var page struct {
			Events []map[string]any
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			tb.Fatalf("the log of %s is %s", channel, body)
		}
		found = nil
		for _, e := range page.Events {
			if e["type"] == "matching.completed" {
				found = append(found, e)
			}
		}
		if len(found) > n {
			tb.Fatalf("%s has %d events: %v", channel, len(found), found)
		}
		return len(found) == n
	})
	return found
}

// TestHubsShareRequestsForMatching has two hubs hear what the bot publishes on Redis itself, and through one of them.
func TestHubsShareRequestsForMatching(t *testing.T) {
	t.Parallel()
	service := newJava(t)
	env := onSharedRedis(t).with("JAVA_SERVICE_URL", service.URL)
	one, two := serve(t, env), serve(t, env)
	one.awaitHealth(t, "matching_requests", "pass", "")
	two.awaitHealth(t, "bridge", "pass", "")
	channel := env["CHANNEL_PREFIX"] + ":service:matching"
	payload := `{"id":"3968508e-b40d-466a-bc10-882629fdb7fd","type":"matching.request","data":{"users":[1,2,3],"type":"lunch"},` +
		`"timestamp":"2026-11-21T19:11:26.426891","channel":"` + channel + `","user_id":null,"source":"django-connectbot"}`
	if err := connect(t, env["REDIS_URL"]).Publish(t.Context(), channel, payload).Err(); err != nil {
		t.Fatal(err)
	}
	one.post(t, 1, "services/matching", `{"type":"matching.request","correlation_id":"tie","data":{"request_id":"week-47","users":["4","5"]}}`)
	for _, e := range two.completed(t, "service:matching", 2) {
		data, _ := e["data"].(map[string]any)
		pairs, _ := data["pairs"].([]any)
		if len(pairs) != 1 || e["source"] != "connecthub" || data["degraded"] != false {
			t.Errorf("the service is told %v", e)
		}
	}
	for channel, want := range map[string]struct {
		partner           float64
		request, kind, to string
	}{
		"user:1": {2, "3968508e-b40d-466a-bc10-882629fdb7fd", "lunch", "3968508e-b40d-466a-bc10-882629fdb7fd"},
		"user:2": {1, "3968508e-b40d-466a-bc10-882629fdb7fd", "lunch", "3968508e-b40d-466a-bc10-882629fdb7fd"},
		"user:4": {5, "week-47", "coffee", "tie"},
		"user:5": {4, "week-47", "coffee", "tie"},
	} {
		e := one.completed(t, channel, 1)[0]
		data, _ := e["data"].(map[string]any)
		if data["partner_id"] != want.partner || data["request_id"] != want.request || data["type"] != want.kind || e["correlation_id"] != want.to {
			t.Errorf("%s is told %v", channel, e)
		}
	}
	one.completed(t, "user:3", 0)
	if n := service.coffees(); n != 2 {
		t.Errorf("the service was asked %d times for two requests", n)
	}
	redistest.Eventually(t, soon, "others can read what is known of it", func() bool {
		status, body := two.get(t, "/v1/temp/matching_requests/week-47")
		return status == http.StatusOK && strings.Contains(body, `"state":"completed"`) && strings.Contains(body, `"type":"coffee"`)
	})
	_, stats := one.get(t, "/stats")
	_, others := two.get(t, "/stats")
	if stats += others; strings.Count(stats, `"breaker":"closed"`) != 2 || strings.Count(stats, `"dead":0`) != 2 ||
		strings.Count(stats, `"accepted":1`)+2*strings.Count(stats, `"accepted":2`) != 2 {
		t.Errorf("the stats are %s", stats)
	}
}

// TestARequestOutlivesItsHub kills a hub that waits for the answer of the Java service.
func TestARequestOutlivesItsHub(t *testing.T) {
	t.Parallel()
	service := newJava(t)
	service.hanging.Store(true)
	env := on(redistest.Start(t)).with("JAVA_SERVICE_URL", service.URL)
	first, process := serveProgram(t, env)
	call(t, first.client(), "matching", "request", "--id", "week-47", "1", "2").want(t, 0, "week-47\n")
	redistest.Eventually(t, soon, "the service is asked", func() bool { return service.coffees() > 0 })
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-first.ended
	service.hanging.Store(false)
	second := serve(t, env)
	redistest.Eventually(t, 2*soon, "another hub goes on", func() bool {
		return strings.HasPrefix(call(t, second.client(), "matching", "show", "week-47").stdout, "request     week-47\nstate       completed\nattempts    2\n")
	})
	for _, channel := range []string{"service:matching", "user:1", "user:2"} {
		second.completed(t, channel, 1)
	}
}

func TestWithoutJavaTheHubMatches(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t).with("MATCHING_RETRY_FOR", "0s"))
	status, body := hub.coffee(t, nil)
	if status != http.StatusOK || !strings.Contains(body, `"source":"fallback","degraded":true,"reason":"unreachable"`) {
		t.Errorf("the answer is %d %s", status, body)
	}
	call(t, hub.client(), "matching", "request", "1", "2", "--wait").want(t, 0, "the hub, as the Java service was away", "1 and 2")
	off := serve(t, onSharedRedis(t).with("MATCHING_FALLBACK", "off"))
	if status, body := off.coffee(t, nil); status != http.StatusServiceUnavailable || !strings.Contains(body, "matching_service_unavailable") {
		t.Errorf("without a fallback the answer is %d %s", status, body)
	}
	for entry := range strings.Lines(hub.stderr.String() + off.stderr.String()) {
		if strings.Contains(entry, `"level":"error"`) || strings.Count(hub.stderr.String(), "matches by itself") > 1 {
			t.Errorf("the log is noisy: %s", entry)
		}
	}
}

func TestTheSamePeopleWithinTheCacheTTL(t *testing.T) {
	t.Parallel()
	service := newJava(t)
	hub := serve(t, onSharedRedis(t).with("JAVA_SERVICE_URL", service.URL, "MATCHING_CACHE_TTL", "1m"))
	for range 3 {
		hub.coffee(t, nil)
	}
	if n := service.coffees(); n != 1 {
		t.Errorf("the service was asked %d times", n)
	}
}

// awaitQueued waits until a request was tried once in vain.
func (s *server) awaitQueued(tb testing.TB, id string) {
	tb.Helper()
	redistest.Eventually(tb, soon, id+" waits for the Java service", func() bool {
		status, body := s.get(tb, "/v1/matching/requests/"+id)
		return status == http.StatusOK && strings.Contains(body, `"state":"queued"`) && strings.Contains(body, `"code":"unreachable"`)
	})
}
