package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// connect returns a client for a Redis URL.
func connect(tb testing.TB, url string) *redis.Client {
	tb.Helper()
	rdb, err := redisconn.Open(url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// follow opens a stream and returns the lines that come on it.
func (s *server) follow(tb testing.TB, query string) *bufio.Reader {
	tb.Helper()
	status, lines := s.stream(tb, query)
	if status != http.StatusOK {
		tb.Fatalf("the stream's status is %d", status)
	}
	first, err := lines.ReadString('\n')
	if err != nil || !strings.HasPrefix(first, "retry: ") {
		tb.Fatalf("the stream begins with %q, %v", first, err)
	}
	return lines
}

// post publishes an event so many times.
func (s *server) post(tb testing.TB, times int, path, body string) {
	tb.Helper()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for range times {
		res, err := client.Post(s.url+"/v1/events/"+path, "application/json", strings.NewReader(body))
		if err != nil {
			tb.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusCreated {
			tb.Fatalf("publishing gets %s", res.Status)
		}
	}
}

// stream asks for a stream and returns the answer.
func (s *server) stream(tb testing.TB, query string) (status int, body *bufio.Reader) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), soon)
	tb.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/v1/stream?"+query, nil)
	if err != nil {
		tb.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = res.Body.Close() })
	return res.StatusCode, bufio.NewReader(res.Body)
}

// line reads on until a line begins with a prefix and returns what follows that.
func line(tb testing.TB, from *bufio.Reader, prefix string) string {
	tb.Helper()
	for {
		text, err := from.ReadString('\n')
		if err != nil {
			tb.Fatalf("no line with %q: %v", prefix, err)
		}
		if rest, ok := strings.CutPrefix(strings.TrimSuffix(text, "\n"), prefix); ok {
			return rest
		}
	}
}

// ended reads on until the stream ends in order.
func ended(tb testing.TB, from io.Reader) string {
	tb.Helper()
	rest, err := io.ReadAll(from)
	if err != nil {
		tb.Errorf("the stream broke: %v", err)
	}
	return string(rest)
}

// closed waits until nobody listens at an address.
func closed(tb testing.TB, addr string) {
	tb.Helper()
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err == nil {
		_ = conn.Close()
		tb.Errorf("somebody still listens at %s", addr)
	}
}

// embeddedURL returns where the log says that the embedded Redis is.
func (s *server) embeddedURL(tb testing.TB) string {
	tb.Helper()
	first, _, _ := strings.Cut(s.stderr.String(), "\n")
	var entry struct {
		Level, Msg string
		Redis      string `json:"embedded_redis"`
	}
	if err := json.Unmarshal([]byte(first), &entry); err != nil {
		tb.Fatalf("the log begins with %q: %v", first, err)
	}
	if entry.Level != "warn" || !strings.Contains(entry.Msg, "lost when the hub stops") {
		tb.Errorf("the log begins with %q, not with a warning that nothing is kept", first)
	}
	return entry.Redis
}

func TestServeWithTheEmbeddedRedis(t *testing.T) {
	t.Parallel()
	hub := serve(t, nil)
	url := hub.embeddedURL(t)
	hub.stdout.has(t, "Redis is embedded, at "+url+", and keeps nothing: set REDIS_URL")
	hub.healthy(t)
	if _, body := hub.get(t, "/health"); !strings.Contains(body, "The embedded Redis keeps nothing") || !strings.Contains(body, `"status":"warn"`) {
		t.Errorf("/health does not warn: %s", body)
	}

	// Other clients hear what the hub publishes, and the hub takes up what they do.
	rdb := connect(t, url)
	heard := rdb.Subscribe(t.Context(), "connectbot:user:123")
	t.Cleanup(func() { _ = heard.Close() })
	if _, err := heard.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	stream := hub.follow(t, "channel=user:123&channel=global")
	call(t, hub.client(), "publish", "--user", "123", "user.login", `{"n":9007199254740993}`).want(t, 0)
	message, err := heard.ReceiveMessage(t.Context())
	if err != nil || !strings.Contains(message.Payload, `"data":{"n":9007199254740993}`) {
		t.Errorf("a client of the embedded Redis hears %v, %v", message, err)
	}
	if data := line(t, stream, "data: "); !strings.Contains(data, `"data":{"n":9007199254740993}`) {
		t.Errorf("the stream says %s", data)
	}
	payload := `{"id":"3968508e-b40d-466a-bc10-882629fdb7fd","type":"system.maintenance","data":{},` +
		`"timestamp":"2026-11-21T19:11:26.426891","channel":"connectbot:global","user_id":null,"source":"django-connectbot"}`
	if err := rdb.Publish(t.Context(), "connectbot:global", payload).Err(); err != nil {
		t.Fatal(err)
	}
	if data := line(t, stream, "data: "); !strings.Contains(data, "3968508e-b40d-466a-bc10-882629fdb7fd") {
		t.Errorf("the stream says %s", data)
	}

	hub.stop(t)
	closed(t, hub.addr)
	closed(t, strings.TrimSuffix(strings.TrimPrefix(url, "redis://"), "/0"))
}

func TestTwoHubsCannotShareAnEmbeddedRedis(t *testing.T) {
	t.Parallel()
	first := serve(t, nil)
	addr := strings.TrimSuffix(strings.TrimPrefix(first.embeddedURL(t), "redis://"), "/0")
	call(t, environment{"HTTP_ADDR": "127.0.0.1:0", "METRICS_ADDR": noAddr, "EMBEDDED_REDIS_ADDR": addr}, "serve").
		want(t, 2, "EMBEDDED_REDIS_ADDR (or --embedded-redis-addr)", addr, "address already in use")
	hub := serve(t, environment{"REDIS_URL": first.embeddedURL(t)})
	call(t, hub.client(), "publish", "--global", "test_event").want(t, 0)
	call(t, environment{"HTTP_ADDR": hub.addr, "METRICS_ADDR": noAddr, "EMBEDDED_REDIS_ADDR": "127.0.0.1:0"}, "serve").
		want(t, 2, "HTTP_ADDR (or --http-addr)", hub.addr, "address already in use")
}

func TestServeSaysWhereItIsReached(t *testing.T) {
	t.Parallel()
	const token = "a-token-of-decent-length"
	hub := serve(t, environment{"HTTP_ADDR": "0.0.0.0:0", "SERVICE_AUTH_TOKEN": token})
	hub.stdout.has(t, "is listening on http://127.0.0.1:")
	hub.stdout.has(t, "with a key's token in the shell's variable SERVICE_AUTH_TOKEN")
	hub.stdout.has(t, `-H "Authorization: Service $SERVICE_AUTH_TOKEN"`)
	if strings.Contains(hub.stdout.String()+hub.stderr.String(), token) {
		t.Error("the token is shown")
	}
	if status, _ := hub.get(t, "/v1/events?channel=global"); status != http.StatusUnauthorized {
		t.Errorf("without the token the status is %d", status)
	}
	six := serve(t, environment{"HTTP_ADDR": "[::1]:0"})
	six.stdout.has(t, "curl 'http://[::1]:")
	call(t, six.client(), "publish", "--global", "test_event").want(t, 0)
}

func TestServeStartsWithoutRedisAndRecovers(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t)
	rds.Stop()
	hub := serve(t, on(rds))
	hub.stderr.has(t, "Redis subscription lost, trying again")
	if status, body := hub.get(t, "/health"); status != http.StatusServiceUnavailable || !strings.Contains(body, "Redis does not answer") {
		t.Errorf("/health says %d, %s", status, body)
	}
	if status, _ := hub.get(t, "/health/live"); status != http.StatusOK {
		t.Errorf("/health/live says %d", status)
	}
	call(t, hub.client(), "publish", "--global", "test_event").want(t, 1, "Redis is unavailable", "503 redis_unavailable")
	rds.Restart()
	hub.healthy(t)
	hub.stderr.has(t, "Redis subscription is back")
	call(t, hub.client(), "publish", "--global", "test_event").want(t, 0)
	for entry := range strings.Lines(hub.stderr.String()) {
		if !json.Valid([]byte(entry)) {
			t.Errorf("a line of the log is no JSON: %s", entry)
		}
	}
}

func TestServeOverADatabaseNumber(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t)
	url := func(db int) string { return fmt.Sprintf("redis://%s/%d", rds.Addr(), db) }
	hub := serve(t, environment{"REDIS_URL": url(2)})
	call(t, hub.client(), "publish", "--global", "test_event").want(t, 0)
	events := serve(t, environment{"REDIS_URL": url(2), "EVENTS_REDIS_URL": url(3)})
	call(t, events.client(), "publish", "--user", "1", "test_event").want(t, 0)
	for db, want := range map[int][]string{0: nil, 2: {"-canary", ":global"}, 3: {"-canary", ":global", ":user:1"}} {
		for i := range want {
			want[i] = "connectbot:log:{connectbot" + want[i] + "}"
		}
		rdb, keys := connect(t, url(db)), []string{}
		redistest.Eventually(t, soon, fmt.Sprintf("database %d has the logs %q", db, want), func() bool {
			keys = rdb.Keys(t.Context(), "connectbot:log:*").Val()
			slices.Sort(keys)
			return slices.Equal(keys, want)
		})
	}
}

func TestServeAsAUserWithAPassword(t *testing.T) {
	t.Parallel()
	// These are all the rights that a hub needs.
	rds := redistest.Start(t, "--requirepass", "admin", "--user", "hub", "on", ">p@ss/w:rd#1%",
		"resetchannels", "&connectbot:user:*", "&connectbot:global", "&connectbot:service:*", "&hub:takenup:connectbot", "&hub:bridges:connectbot", "&hub:menu:changed", "&hub:matching:changed",
		"~connectbot:log:*", "~connectbot:idem:*", "~connectbot:matching:*", "~connectbot:rate:*", "~hub:*", "+@all", "-@admin", "-@dangerous")
	hub := serve(t, environment{"REDIS_URL": "redis://hub:p%40ss%2Fw%3Ard%231%25@" + rds.Addr(), "RATE_LIMIT_PER_ADDRESS": "1000"})
	hub.healthy(t)
	stream := hub.follow(t, "channel=user:1")
	call(t, hub.client(), "publish", "--user", "1", "user.login").want(t, 0)
	if got := line(t, stream, "event: "); got != "user.login" {
		t.Errorf("the stream says %q", got)
	}
	call(t, hub.client(), "check").want(t, 0)
	if log := hub.stderr.String(); strings.Contains(log, "NOPERM") || strings.Contains(log, "client tracking") {
		t.Errorf("a right is missing: %s", log)
	}

	wrong := serve(t, environment{"REDIS_URL": "redis://hub:s3cret@" + rds.Addr()})
	wrong.stderr.has(t, "WRONGPASS")
	if status, body := wrong.get(t, "/health"); status != http.StatusServiceUnavailable || strings.Contains(body, "s3cret") {
		t.Errorf("/health says %d, %s", status, body)
	}
	if strings.Contains(wrong.stderr.String()+wrong.stdout.String(), "s3cret") {
		t.Errorf("the password is shown: %s", wrong.stderr)
	}
}

func TestServeAsAUserWithoutRightsForMenus(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t, "--user", "hub", "on", ">pass", "resetchannels", "&*", "~connectbot:*", "+@all", "-@admin", "-@dangerous")
	hub := serve(t, environment{"REDIS_URL": "redis://hub:pass@" + rds.Addr()})
	hub.healthy(t)
	call(t, hub.client(), "menu", "get", "5").want(t, 0, "X-Cache: BYPASS")
	call(t, hub.client(), "check", "--component", "health").want(t, 0, "menus: Redis does not do what menus need")
	call(t, hub.client(), "check", "--component", "cache").want(t, 1, "FAIL  cache")
	call(t, hub.client(), "check", "--component", "events").want(t, 0)
}

func TestServeOverAUnixSocket(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rds := redistest.Start(t, "--unixsocket", dir+"/redis.sock", "--requirepass", "pass")
	hub := serve(t, environment{"REDIS_URL": "unix://:pass@" + dir + "/redis.sock?db=4"})
	hub.healthy(t)
	stream := hub.follow(t, "channel=user:1")
	call(t, hub.client(), "publish", "--user", "1", "user.login").want(t, 0)
	if got := line(t, stream, "event: "); got != "user.login" {
		t.Errorf("the stream says %q", got)
	}
	if n := connect(t, strings.TrimSuffix(rds.URL(), "0")+"4").DBSize(t.Context()).Val(); n == 0 {
		t.Error("database 4 is empty")
	}
}

func TestShutdownEndsStreamsAndWaitsForRequests(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t))
	stream := hub.follow(t, "channel=user:1")
	request := beginRequest(t, hub)

	hub.interrupt()
	if rest := ended(t, stream); !strings.Contains(rest, "retry: ") {
		t.Errorf("the stream ended with %q, without a hint when to come back", rest)
	}
	hub.stderr.has(t, "the hub is shutting down")
	select {
	case <-hub.ended:
		t.Error("the hub ended while a request was under way")
	default:
	}
	request.finish(t, "201 Created")
	hub.stop(t)
	closed(t, hub.addr)
	if strings.Contains(hub.stderr.String(), "requests were cut off") {
		t.Errorf("a request was cut off: %s", hub.stderr)
	}
}

func TestShutdownCutsOffWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t).with("SHUTDOWN_TIMEOUT", "50ms"))
	beginRequest(t, hub)
	hub.stop(t)
	hub.stderr.has(t, "they took longer than SHUTDOWN_TIMEOUT")
	closed(t, hub.addr)
}

// slowRequest is a request whose body has not been sent.
type slowRequest struct {
	conn net.Conn
	body string
}

// beginRequest begins to publish an event and returns once the hub waits for it.
func beginRequest(tb testing.TB, hub *server) slowRequest {
	tb.Helper()
	return beginPost(tb, hub, "/v1/events/users/1", `{"type":"user.login"}`)
}

// beginPost sends the head of a request and returns once the hub waits for its body.
func beginPost(tb testing.TB, hub *server, path, body string) slowRequest {
	tb.Helper()
	conn, err := net.DialTimeout("tcp", hub.addr, soon)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(soon)); err != nil {
		tb.Fatal(err)
	}
	// The server says "100 Continue" when the handler begins to read the body.
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"+
		"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", path, hub.addr, len(body))
	if err != nil {
		tb.Fatal(err)
	}
	answer := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	if _, err := io.ReadFull(conn, answer); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 100") {
		tb.Fatalf("the hub says %q, %v", answer, err)
	}
	return slowRequest{conn, body}
}

// finish sends the body and checks the status of the answer.
func (r slowRequest) finish(tb testing.TB, status string) {
	tb.Helper()
	if _, err := io.WriteString(r.conn, r.body); err != nil {
		tb.Fatal(err)
	}
	answer, err := bufio.NewReader(r.conn).ReadString('\n')
	if err != nil || strings.TrimSpace(answer) != "HTTP/1.1 "+status {
		tb.Errorf("the answer is %q, %v", answer, err)
	}
}

func TestASignalStopsTheProgram(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			hub, process := serveProgram(t, nil)
			if err := process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			hub.wait(t, 0)
			hub.stderr.has(t, "the hub is shutting down")
		})
	}
}

func TestASecondSignalDoesNotWait(t *testing.T) {
	t.Parallel()
	hub, _ := serveProgram(t, nil)
	beginRequest(t, hub)
	hub.interrupt()
	hub.stderr.has(t, "the hub is shutting down")
	redistest.Eventually(t, 10*time.Second, "the hub is gone", func() bool { // Well before SHUTDOWN_TIMEOUT.
		hub.interrupt()
		return hub.hasEnded()
	})
	hub.wait(t, -1) // The signal ended it.
}

// TestSettingsTakeEffect checks that each setting reaches the part that it is for.
func TestSettingsTakeEffect(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t)
	rdb := rds.Client()
	hub := serve(t, on(rds).with(
		"CHANNEL_PREFIX", "other", "DEDUPE_WINDOW", "30m", "MAX_STREAMS", "1",
		"USER_LOG_ENTRIES", "100", "GLOBAL_LOG_ENTRIES", "300", "SERVICE_LOG_ENTRIES", "500",
		"USER_LOG_AGE", "1h", "GLOBAL_LOG_AGE", "2h", "SERVICE_LOG_AGE", "3h",
		"LOG_LEVEL", "debug", "LOG_FORMAT", "console",
	), "--no-bridge-legacy")
	hub.healthy(t)

	for _, path := range []string{"users/1", "global", "services/matching"} {
		hub.post(t, 700, path, `{"type":"test_event"}`)
	}
	for log, want := range map[string]struct {
		entries int64
		age     time.Duration
	}{"user:1": {100, time.Hour}, "global": {300, 2 * time.Hour}, "service:matching": {500, 3 * time.Hour}} {
		key := "other:log:{other:" + log + "}"
		if n := rdb.XLen(t.Context(), key).Val(); n < want.entries || n > want.entries+110 {
			t.Errorf("%s keeps %d events, want about %d", log, n, want.entries)
		}
		if ttl := rdb.PTTL(t.Context(), key).Val(); ttl < want.age-time.Minute || ttl > want.age+2*time.Minute {
			t.Errorf("%s lives for %v, want about %v", log, ttl, want.age)
		}
	}
	call(t, hub.client(), "publish", "--global", "test_event", "--idempotency-key", "k").want(t, 0, "other:global")
	for _, key := range rdb.Keys(t.Context(), "other:idem:*").Val() {
		if ttl := rdb.PTTL(t.Context(), key).Val(); ttl <= 20*time.Minute || ttl > 30*time.Minute {
			t.Errorf("%s lives for %v, not for DEDUPE_WINDOW", key, ttl)
		}
	}

	hub.follow(t, "channel=global")
	if status, _ := hub.stream(t, "channel=global"); status != http.StatusTooManyRequests {
		t.Errorf("a stream more than MAX_STREAMS gets %d", status)
	}
	if n := rdb.PubSubNumPat(t.Context()).Val(); n != 0 {
		t.Errorf("there are %d pattern subscriptions, but no bridge", n)
	}
	hub.stderr.has(t, "\tdebug\trequest\t")
}
