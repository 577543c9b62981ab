package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// readable is how check shows a step: mark, component, time and name.
var readable = regexp.MustCompile(`(?m)^(ok  |FAIL)  (health|events) +\d+\.\d ms  (.*)$`)

func TestCheckPasses(t *testing.T) {
	t.Parallel()
	healthSteps := []string{"the process answers", "it can accept events", "no check fails"}
	eventsSteps := []string{
		"open a stream", "publish an event", "receive it on the stream", "find it in the log",
		"publish it again, which must change nothing",
	}
	hub := serve(t, onSharedRedis(t))
	hub.healthy(t)
	for _, test := range []struct {
		args []string
		want []string
	}{
		{nil, slices.Concat(healthSteps, eventsSteps)},
		{[]string{"--component", "all"}, slices.Concat(healthSteps, eventsSteps)},
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
	if len(steps) != 8 {
		t.Fatalf("check --json shows %d steps:\n%s", len(steps), got.stdout)
	}
	for _, s := range steps {
		if !s.OK || s.Error != "" || *s.Ms < 0 || s.Note != "" && s.Step != "no check fails" {
			t.Errorf("a step is %+v", s)
		}
	}
	if !strings.Contains(steps[2].Note, "persistence: The embedded Redis keeps nothing") {
		t.Errorf("the note is %q", steps[2].Note)
	}
	call(t, hub.client(), "check", "--component", "health").want(t, 0, "no check fails (persistence: The embedded Redis keeps nothing")
}

func TestCheckFailsWithoutRedis(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t)
	hub := serve(t, on(rds))
	hub.healthy(t)
	rds.Stop()
	call(t, hub.client(), "check", "--component", "events").want(t, 1, "FAIL  events", "503 redis_unavailable")
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
	if !slices.Equal(ok, []bool{true, false, false, true, false}) || !strings.Contains(got.stdout, "redis: Redis does not answer") {
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
	if n := strings.Count(got.stdout, "FAIL"); n != 4 {
		t.Errorf("%d steps fail:\n%s", n, got.stdout)
	}
}

func TestCheckNeedsAKey(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t).with("SERVICE_AUTH_TOKEN", "a-token-of-decent-length"))
	hub.healthy(t)
	call(t, hub.client(), "check").want(t, 1, "ok    health", "FAIL  events", "401 unauthorized", "set SERVICE_AUTH_TOKEN")
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
