package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// lines returns the complete lines written so far.
func (o *output) lines() []string {
	all := strings.Split(o.String(), "\n")
	return all[:len(all)-1]
}

// types returns the types of the events that tail --json has written so far.
func (o *output) types(tb testing.TB) []string {
	tb.Helper()
	var types []string
	for _, text := range o.lines() {
		var ev struct{ Type string }
		if err := json.Unmarshal([]byte(text), &ev); err != nil {
			tb.Fatalf("tail wrote %q: %v", text, err)
		}
		types = append(types, ev.Type)
	}
	return types
}

// following waits until the hub has so many open streams.
func (s *server) following(tb testing.TB, streams int) {
	tb.Helper()
	redistest.Eventually(tb, soon, "the stream is open", func() bool {
		_, body := s.get(tb, "/stats")
		var stats struct{ Streams map[string]int }
		return json.Unmarshal([]byte(body), &stats) == nil && stats.Streams["open"] == streams
	})
}

func TestTailShowsWhatComes(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t))
	publish := func(args ...string) {
		t.Helper()
		call(t, hub.client(), append([]string{"publish"}, args...)...).want(t, 0)
	}
	publish("--user", "123", "too.early")
	plain := start(t, hub.client(), "tail", "--channel", "user:123", "--channel", "global")
	raw := start(t, hub.client(), "tail", "--channel", "user:123,global", "--json", "--type", "user.*")
	hub.following(t, 2)
	publish("--user", "124", "not.followed")
	publish("--user", "123", "activity.created", `{"id":7}`, "--source", "bot")
	publish("--global", "user.created", `{"n":9007199254740993}`)
	redistest.Eventually(t, soon, "the events are shown", func() bool {
		return len(plain.stdout.lines()) >= 2 && len(raw.stdout.lines()) >= 1
	})
	readable := regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  (\S+:(?:user:123|global))  (\S+)  (\S+)  from (\S+)$`)
	for i, want := range [][]string{
		{"user:123", "activity.created", `{"id":7}`, "bot"},
		{"global", "user.created", `{"n":9007199254740993}`, "connecthub"},
	} {
		got := readable.FindStringSubmatch(plain.stdout.lines()[i])
		if got == nil || !strings.HasSuffix(got[1], want[0]) || !slices.Equal(got[2:], want[1:]) {
			t.Errorf("line %d is %q, want %q", i, plain.stdout.lines()[i], want)
		}
	}
	if got := raw.stdout.lines(); len(got) != 1 || !strings.Contains(got[0], `"data":{"n":9007199254740993}`) || !json.Valid([]byte(got[0])) {
		t.Errorf("tail --json wrote %q", got)
	}
	plain.stop(t)
	raw.stop(t)
	if plain.stderr.String() != "" {
		t.Errorf("standard error has %q", plain.stderr)
	}
}

func TestTailBeginsWhereItIsTold(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t))
	for i := range 3 {
		call(t, hub.client(), "publish", "--user", "123", fmt.Sprintf("old.n%d", i)).want(t, 0)
	}
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"--all"}, []string{"old.n0", "old.n1", "old.n2"}},
		{[]string{"--since", "1h"}, []string{"old.n0", "old.n1", "old.n2"}},
		{[]string{"--all", "--type", "old.n1", "--type", "old.n2"}, []string{"old.n1", "old.n2"}},
	} {
		tail := start(t, hub.client(), append([]string{"tail", "--json", "--channel", "user:123"}, test.args...)...)
		redistest.Eventually(t, soon, "the old events are shown", func() bool { return len(tail.stdout.lines()) >= len(test.want) })
		if got := tail.stdout.types(t); !slices.Equal(got, test.want) {
			t.Errorf("%q shows %q, want %q", test.args, got, test.want)
		}
		tail.stop(t)
	}
	tail := start(t, hub.client(), "tail", "--json", "--channel", "user:123", "--since", "1ms")
	hub.following(t, 1)
	call(t, hub.client(), "publish", "--user", "123", "new").want(t, 0)
	redistest.Eventually(t, soon, "the new event is shown", func() bool { return len(tail.stdout.lines()) > 0 })
	if got := tail.stdout.types(t); !slices.Equal(got, []string{"new"}) {
		t.Errorf("--since 1ms shows %q", got)
	}
}

// TestTailMissesNothing restarts the hub on its port while another hub goes on publishing.
func TestTailMissesNothing(t *testing.T) {
	t.Parallel()
	env := onSharedRedis(t).with("HTTP_ADDR", freeAddr(t))
	publisher := serve(t, env.with("HTTP_ADDR", "127.0.0.1:0"))
	sent := 0
	publish := func(n int) {
		t.Helper()
		for range n {
			call(t, publisher.client(), "publish", "--user", "123", fmt.Sprintf("event.n%d", sent)).want(t, 0)
			sent++
		}
	}
	hub := serve(t, env)
	tail := start(t, hub.client(), "tail", "--json", "--channel", "user:123")
	hub.following(t, 1)
	hub.stop(t) // Before any event: only the stream's beginning says where it stands.
	publish(3)
	tail.stderr.has(t, "connecting again in")
	hub = serve(t, env)
	hub.following(t, 1)
	publish(3)
	hub.stop(t)
	publish(3)
	hub = serve(t, env)
	hub.following(t, 1)
	publish(3)
	redistest.Eventually(t, soon, "the last event is shown", func() bool { return len(tail.stdout.lines()) >= sent })
	for i, got := range tail.stdout.types(t) {
		if want := fmt.Sprintf("event.n%d", i); got != want {
			t.Fatalf("event %d is %s, want %s: %q", i, got, want, tail.stdout.types(t))
		}
	}
	if got := len(tail.stdout.lines()); got != sent {
		t.Errorf("%d events are shown, %d were sent", got, sent)
	}
	tail.stderr.has(t, "the hub ended the stream")
}

func TestTailWaitsForTheHubAndForRedis(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t)
	env := on(rds).with("HTTP_ADDR", freeAddr(t))
	tail := start(t, environment{"HUB_URL": "http://" + env["HTTP_ADDR"]}, "tail", "--json", "--channel", "user:123")
	tail.stderr.has(t, "does not answer")
	rds.Stop()
	hub := serve(t, env)
	rds.Restart()
	hub.following(t, 1)
	call(t, hub.client(), "publish", "--user", "123", "user.login").want(t, 0)
	redistest.Eventually(t, soon, "the event is shown", func() bool { return len(tail.stdout.lines()) == 1 })
}

func TestTailShowsGaps(t *testing.T) {
	t.Parallel()
	env := onSharedRedis(t).with("HTTP_ADDR", freeAddr(t), "USER_LOG_ENTRIES", "1")
	publisher := serve(t, env.with("HTTP_ADDR", "127.0.0.1:0"))
	hub := serve(t, env)
	plain := start(t, hub.client(), "tail", "--channel", "user:123", "--type", "last")
	raw := start(t, hub.client(), "tail", "--channel", "user:123", "--type", "last", "--json")
	hub.following(t, 2)
	call(t, publisher.client(), "publish", "--user", "123", "first").want(t, 0)
	hub.stop(t)
	publisher.post(t, 250, "users/123", `{"type":"between"}`) // Redis drops events by the hundred.
	call(t, publisher.client(), "publish", "--user", "123", "last").want(t, 0)
	serve(t, env)
	plain.stdout.has(t, "  last  ")
	raw.stdout.has(t, `"type":"last"`)
	if got := plain.stdout.lines(); len(got) != 2 || !strings.HasPrefix(got[0], `-- gap: {"channel":"user:123","after":"`) {
		t.Errorf("tail shows %q", got)
	}
	if got := raw.stdout.lines(); len(got) != 2 || !strings.HasPrefix(got[0], `{"gap":{"channel":"user:123","after":"`) || !json.Valid([]byte(got[0])) {
		t.Errorf("tail --json shows %q", got)
	}
}

func TestTailEndsWhenItIsRefused(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t).with("SERVICE_AUTH_TOKEN", "a-token-of-decent-length"))
	env := hub.client().with("SERVICE_AUTH_TOKEN", "a-token-of-decent-length")
	for _, test := range []struct {
		env    environment
		args   []string
		status int
		want   string
	}{
		{hub.client(), []string{"--channel", "global"}, 1, "connecthub: A valid key is required: Send the token of a valid key"},
		{env, []string{"--channel", "nonsense"}, 1, "connecthub: Invalid content: channel must be user:{id}, global or service:{name}."},
		{env, []string{"--channel", "global", "--type", "*.*"}, 1, "422 invalid_fields"},
		{env, []string{"--channel", "global", "--since", "yesterday"}, 2, "--since"},
		{env, []string{"--channel", "global", "--since=-1h"}, 2, "--since must be above 0"},
		{env, []string{"--channel", "global", "--since", "1h", "--all"}, 2, "--since and --all"},
		{env, nil, 2, "--channel"},
	} {
		got := call(t, test.env, append([]string{"tail"}, test.args...)...)
		got.want(t, test.status, test.want)
		if got.stdout != "" {
			t.Errorf("%q writes %q to standard output", test.args, got.stdout)
		}
	}
}

var errPipe = errors.New("broken pipe")

// brokenPipe is what standard output is to a command whose reader has gone.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errPipe }

func TestTailEndsWhenNobodyReadsIt(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t))
	call(t, hub.client(), "publish", "--global", "test_event").want(t, 0)
	stderr := &output{}
	if status := run(t.Context(), []string{"tail", "--channel", "global", "--all"}, hub.client().lookup, nil, brokenPipe{}, stderr); status != 1 {
		t.Errorf("the status is %d", status)
	}
	stderr.has(t, "broken pipe")
	hub.following(t, 0)
	if status, _ := hub.get(t, "/health/live"); status != http.StatusOK {
		t.Errorf("the hub says %d", status)
	}
}
