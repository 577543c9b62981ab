package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func TestPublishReachesTheLogAsItWasGiven(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t))
	const big = `{"n":9007199254740993,"f":1e400,"nested":{"name":"Анна"}}`
	for _, test := range []struct {
		args           []string
		stdin          string
		channel, wants string
	}{
		{[]string{"--user", "123", "user.login", big}, "", "user:123", `"data":` + big},
		{[]string{"--global", "user.created", "-"}, " " + big + "\n", "global", `"data":` + big},
		{[]string{"--service", "matching", "matching.request"}, "", "service:matching", `"data":{}`},
		{[]string{"--service", "empty", "matching.request", "-"}, "", "service:empty", `"data":{}`},
		{[]string{"--user", "1", "number", "--", "-5"}, "", "user:1", `"data":-5`},
		{[]string{"--user", "2", "list", "[1]", "--source", "bot", "--correlation-id", "c1"}, "", "user:2", `"source":"bot"`},
		{[]string{"--user", "9223372036854775807", "test_event", "null"}, "", "user:9223372036854775807", `"user_id":9223372036854775807`},
		{
			[]string{"--user", "3", "test_event", "--id", "b7ff26d6-ad85-4bed-9895-a3e0fe7d3e82", "--correlation-id", "c1"},
			"", "user:3", `"correlation_id":"c1"`,
		},
	} {
		got := callWithInput(t, hub.client(), test.stdin, append([]string{"publish"}, test.args...)...)
		got.want(t, 0, " on ", test.channel, " at ", " subscribers\n")
		if _, log := hub.get(t, "/v1/events?channel="+test.channel); !strings.Contains(log, test.wants) {
			t.Errorf("%q: the log holds %s, without %s", test.args, log, test.wants)
		}
	}
}

func TestPublishTwiceIsToldApart(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t))
	for _, again := range [][]string{
		{"--idempotency-key", "order-17"},
		{"--id", "b7ff26d6-ad85-4bed-9895-a3e0fe7d3e82"},
	} {
		args := append([]string{"publish", "--user", "123", "user.login", `{"a":1}`}, again...)
		first := call(t, hub.client(), args...)
		first.want(t, 0)
		if strings.Contains(first.stdout, "published before") {
			t.Errorf("%q is taken for published before: %s", again, first.stdout)
		}
		second := call(t, hub.client(), args...)
		second.want(t, 0, ", published before\n")
		if !strings.HasPrefix(second.stdout, strings.TrimSpace(first.stdout)) {
			t.Errorf("the receipts are %q and %q", first.stdout, second.stdout)
		}
	}
	call(t, hub.client(), "publish", "--user", "123", "user.login", `{"a":2}`, "--idempotency-key", "order-17").
		want(t, 1, "422 idempotency_key_reused")
}

func TestPublishSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t))
	for _, test := range []struct {
		name   string
		args   []string
		stdin  string
		status int
		want   string
	}{
		{"no target", []string{"user.login"}, "", 2, "say to whom: --user ID, --global or --service NAME"},
		{"two targets", []string{"--global", "--user", "1", "user.login"}, "", 2, "--user and --global"},
		{"no type", []string{"--global"}, "", 2, "<type>"},
		{"user that is no number", []string{"--user", "anna", "user.login"}, "", 2, "--user"},
		{"service that is no name", []string{"--service", "../../health", "user.login"}, "", 2, "--service must be 1 to 64 letters"},
		{"data that is no JSON", []string{"--global", "user.login", "{a:1}"}, "", 2, "the data is not JSON; quote it for the shell"},
		{"input that is no JSON", []string{"--global", "user.login", "-"}, "{", 2, "the data is not JSON"},
		{"input too long", []string{"--global", "user.login", "-"}, strings.Repeat(" ", 1<<20+1), 2, "more than 1 MiB"},
		{"user that cannot be", []string{"--user=-5", "user.login"}, "", 1, "422 invalid_fields"},
		{"bad type", []string{"--global", "User Login"}, "", 1, "422 invalid_fields"},
		{"too large", []string{"--global", "user.login", "-"}, `"` + strings.Repeat("x", 65<<10) + `"`, 1, "413 payload_too_large"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := callWithInput(t, hub.client(), test.stdin, append([]string{"publish"}, test.args...)...)
			got.want(t, test.status, "connecthub: ", test.want)
			if got.stdout != "" {
				t.Errorf("standard output has %q", got.stdout)
			}
		})
	}
}

// TestTheHubIsAway checks what every command that calls a hub says when there is none, or something else is there.
func TestTheHubIsAway(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<html>Welcome to nginx!</html>"))
	}))
	t.Cleanup(other.Close)
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	notFound := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(notFound.Close)
	nobody := "http://user:s3cret@" + freeAddr(t)

	publish := []string{"publish", "--global", "test_event"}
	for _, test := range []struct {
		url  string
		args []string
		want string
	}{
		{nobody, publish, "does not answer: dial tcp"},
		{nobody, []string{"check"}, "start one with connecthub serve, or set HUB_URL"},
		{other.URL, publish, "what answers at " + other.URL + " is no hub"},
		{other.URL, []string{"check"}, "is no hub"},
		{other.URL, []string{"tail", "--channel", "global"}, "is no hub"},
		{notFound.URL, publish, "is no hub, or something stands before it: 404 Not Found"},
		{notFound.URL, []string{"tail", "--channel", "global"}, "404 Not Found"},
	} {
		got := call(t, environment{"HUB_URL": test.url}, test.args...)
		got.want(t, 1, test.want)
		if strings.Contains(got.stdout+got.stderr, "s3cret") {
			t.Errorf("%q shows the password: %s%s", test.args, got.stdout, got.stderr)
		}
	}
}

func TestPublishFailsWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t)
	hub := serve(t, on(rds))
	hub.healthy(t)
	rds.Pause()
	call(t, hub.client(), "publish", "--global", "test_event", "--idempotency-key", "k").want(t, 1, "503 redis_unavailable")
	rds.Resume()
	hub.healthy(t)
	call(t, hub.client(), "publish", "--global", "test_event", "--idempotency-key", "k").want(t, 0)
}
