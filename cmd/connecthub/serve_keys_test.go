package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// statusFor is what a hub answers to a token.
func (s *server) statusFor(tb testing.TB, token string) int {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, s.url+"/v1/events/types", http.NoBody)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Authorization", "Service "+token)
	status, _ := send(tb, req)
	return status
}

// lets waits until a hub lets a token in, or does not any more.
func (s *server) lets(tb testing.TB, token string, in bool) {
	tb.Helper()
	want := http.StatusOK
	if !in {
		want = http.StatusUnauthorized
	}
	again := time.NewTicker(150 * time.Millisecond) // More than ten refusals a second would be too many.
	defer again.Stop()
	redistest.Eventually(tb, soon, "another answer to the token", func() bool {
		<-again.C
		return s.statusFor(tb, token) == want
	})
}

// tellsOfKeys waits until /health says this of the keys.
func (s *server) tellsOfKeys(tb testing.TB, status api.HealthStatus, output string) {
	tb.Helper()
	redistest.Eventually(tb, soon, "/health tells of the keys "+output, func() bool {
		_, body := s.get(tb, "/health")
		var health api.Health
		if err := json.Unmarshal([]byte(body), &health); err != nil {
			tb.Fatalf("%s: %v", body, err)
		}
		checks := health.Checks["keys"]
		return len(checks) == 1 && checks[0].Status == status && strings.Contains(checks[0].Output, output)
	})
}

// followAs opens a stream with a token.
func (s *server) followAs(tb testing.TB, token string) *bufio.Reader {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), soon)
	tb.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/v1/stream?channel=user:1", http.NoBody)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = res.Body.Close() })
	lines := bufio.NewReader(res.Body)
	if first, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(first, "retry: ") {
		tb.Fatalf("%d: the stream begins with %q, %v", res.StatusCode, first, err)
	}
	return lines
}

// TestKeysAreTakenUpWhileTheHubRuns makes, rotates and revokes keys under a running hub.
func TestKeysAreTakenUpWhileTheHubRuns(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	env := environment{"HUB_KEYS_FILE": path}
	_, first := newKey(t, env, "--id", "first", "--name", "bot", "--scope", "*")
	hub := serve(t, env)
	if hub.statusFor(t, first) != http.StatusOK {
		t.Fatal("the first key is not let in")
	}
	_, second := newKey(t, env, "--id", "second", "--name", "mail", "--scope", "*")
	hub.lets(t, second, true)

	old, stays := hub.followAs(t, first), hub.followAs(t, second)
	rotated := call(t, env, "keys", "rotate", "--id", "first", "--overlap", "4s")
	rotated.want(t, 0, " of bot was added to "+path, "first stays valid until ")
	began := time.Now()
	next := tokenShown.FindString(rotated.stdout)
	hub.lets(t, next, true)
	if status := hub.statusFor(t, first); status != http.StatusOK && time.Since(began) < 3*time.Second {
		t.Errorf("during the overlap the old key gets %d", status)
	}
	if rest, err := io.ReadAll(old); err != nil || !strings.Contains(string(rest), "retry: ") {
		t.Errorf("the stream of the old key ends with %q, %v", rest, err)
	}
	hub.lets(t, first, false)
	call(t, env, "keys", "revoke", "--id", "second").want(t, 0, "Key second was revoked")
	if rest, err := io.ReadAll(stays); err != nil || !strings.Contains(string(rest), "retry: ") {
		t.Errorf("the stream of the revoked key ends with %q, %v", rest, err)
	}
	hub.lets(t, second, false)
	hub.lets(t, next, true)
	hub.stderr.has(t, "took new keys")
	if log := hub.stderr.String(); strings.Contains(log, next) || strings.Contains(log, first) {
		t.Error("the log holds a token")
	}
}

// TestTheLastKeyIsRevoked checks that no keys left means nobody, and not everybody.
func TestTheLastKeyIsRevoked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	env := environment{"HUB_KEYS_FILE": path}
	_, token := newKey(t, env, "--id", "only", "--name", "bot", "--scope", "*")
	hub := serve(t, env)
	call(t, env, "keys", "revoke", "--id", "only").want(t, 0, "where it stays, expired")
	hub.lets(t, token, false)
	if status, _ := hub.get(t, "/v1/events/types"); status != http.StatusUnauthorized {
		t.Errorf("without a key: %d", status)
	}
	hub.tellsOfKeys(t, api.HealthStatusWarn, "All keys have expired")
	write(t, path, `{"keys":[]}`)
	hub.stderr.has(t, "the keys stay as they were")
	if status, _ := hub.get(t, "/v1/events/types"); status != http.StatusUnauthorized {
		t.Errorf("with an empty file: %d", status)
	}
	call(t, env, "serve").want(t, 2, "HUB_KEYS_FILE (or --hub-keys-file) cannot be used", "holds no keys")
}

// TestADamagedKeysFile checks that the keys stay as they were whatever becomes of their file, and that this is told: once in
// the log, and in /health until it is mended.
func TestADamagedKeysFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	env := environment{"HUB_KEYS_FILE": path}
	_, token := newKey(t, env, "--name", "bot", "--scope", "*")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	hub := serve(t, env)
	const stay = "the keys stay as they were"
	for n, break_ := range []func() error{
		func() error { return os.WriteFile(path, good[:len(good)/2], 0o600) },
		func() error { return os.WriteFile(path, nil, 0o600) },
		func() error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) },
		func() error { return os.Remove(path) },
		func() error { return os.Mkdir(path, 0o700) },
	} {
		if err := break_(); err != nil {
			t.Fatal(err)
		}
		redistest.Eventually(t, soon, "the fault is logged", func() bool { return strings.Count(hub.stderr.String(), stay) == n+1 })
		hub.tellsOfKeys(t, api.HealthStatusWarn, "What HUB_KEYS_FILE names cannot be used")
		if status := hub.statusFor(t, token); status != http.StatusOK {
			t.Errorf("fault %d: the key gets %d", n, status)
		}
		if status, _ := hub.get(t, "/v1/events/types"); status != http.StatusUnauthorized {
			t.Errorf("fault %d: without a key: %d", n, status)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write(t, path, string(good))
	hub.stderr.has(t, "the keys in use are back in their file")
	hub.tellsOfKeys(t, api.HealthStatusPass, "")
	if n := strings.Count(hub.stderr.String(), stay); n != 5 {
		t.Errorf("five faults were logged %d times", n)
	}
	audit := hub.stderr.String()
	for _, reason := range []string{"ends too early", "no such file", "it is no regular file"} {
		if !strings.Contains(audit, `"msg":"keys_reload_failed","outcome":"failed","reason":"HUB_KEYS_FILE (or --hub-keys-file) cannot be used`) || !strings.Contains(audit, reason) {
			t.Errorf("the audit log does not give the reason %q: %s", reason, audit)
		}
	}
	call(t, environment{"HUB_KEYS_FILE": path}, "keys", "ls").want(t, 0, "bot")
}

// TestAMountedSecretIsSwapped changes the keys as a mounted secret changes: a link to a folder leads elsewhere.
func TestAMountedSecretIsSwapped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	_, one := newKey(t, nil, "--file", filepath.Join(dir, "one", "keys.json"), "--name", "bot", "--scope", "*")
	_, two := newKey(t, nil, "--file", filepath.Join(dir, "two", "keys.json"), "--name", "bot", "--scope", "*")
	link := func(to string) {
		t.Helper()
		next := filepath.Join(dir, "next")
		if err := os.Symlink(to, next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(dir, "data")); err != nil {
			t.Fatal(err)
		}
	}
	link("one")
	if err := os.Symlink(filepath.Join("data", "keys.json"), filepath.Join(dir, "keys.json")); err != nil {
		t.Fatal(err)
	}
	hub := serve(t, environment{"HUB_KEYS_FILE": filepath.Join(dir, "keys.json")})
	hub.lets(t, one, true)
	link("two")
	hub.lets(t, two, true)
	hub.lets(t, one, false)
}

// TestTwoTokensInAFile changes the token of a hub without a pause: the file holds both for a while.
func TestTwoTokensInAFile(t *testing.T) {
	t.Parallel()
	const old, next = "an-old-token-of-decent-length", "a-new-token-of-decent-length"
	path := filepath.Join(t.TempDir(), "token")
	write(t, path, old+"\n")
	hub := serve(t, environment{"SERVICE_AUTH_TOKEN_FILE": path})
	client := hub.client().with("SERVICE_AUTH_TOKEN_FILE", path)
	publish := []string{"publish", "--global", "test_event"}
	call(t, client, publish...).want(t, 0)
	stream := hub.followAs(t, old)

	write(t, path, "\ufeff"+next+"\r\n\r\n "+old+" \r\n")
	hub.lets(t, next, true)
	hub.lets(t, old, true)
	call(t, client, publish...).want(t, 0)
	write(t, path, next+"\n")
	hub.lets(t, old, false)
	hub.lets(t, next, true)
	call(t, client, publish...).want(t, 0)
	if rest, err := io.ReadAll(stream); err != nil || !strings.Contains(string(rest), "retry: ") {
		t.Errorf("the stream of the old token ends with %q, %v", rest, err)
	}
	// What is no token any more, or half of one, changes nothing.
	write(t, path, "short\n")
	hub.stderr.has(t, "SERVICE_AUTH_TOKEN_FILE (or --service-auth-token-file) is too weak")
	hub.lets(t, next, true)
}

// TestSIGHUPReadsTheKeysAtOnce sends the signal to the program.
func TestSIGHUPReadsTheKeysAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, audit := filepath.Join(dir, "keys.json"), filepath.Join(dir, "audit.log")
	_, first := newKey(t, nil, "--file", path, "--id", "first", "--name", "bot", "--scope", "*")
	hub, process := serveProgram(t, environment{"HUB_KEYS_FILE": path, "AUDIT_LOG_FILE": audit})
	hup := func() {
		t.Helper()
		if err := process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	hup()
	hub.stderr.has(t, "the keys have not changed")
	_, second := newKey(t, nil, "--file", path, "--id", "second", "--name", "bot", "--scope", "*")
	hup()
	hub.stderr.has(t, "took new keys")
	hub.lets(t, second, true)
	hub.lets(t, first, true)

	// The audit log was renamed, as tools that rotate logs do: what comes now is in a new file.
	if err := os.Rename(audit, audit+".1"); err != nil {
		t.Fatal(err)
	}
	hup()
	redistest.Eventually(t, soon, "the audit log is there again", func() bool {
		_, err := os.Stat(audit)
		return err == nil
	})
	call(t, hub.client().with("SERVICE_AUTH_TOKEN", second), "cache", "clear", "--all", "--yes")
	hub.interrupt()
	hub.wait(t, 0)
	before, after := auditLines(t, audit+".1"), auditLines(t, audit)
	told := map[any]int{}
	for _, line := range before {
		told[line["action"]]++
		if added, _ := line["added"].([]any); line["action"] == "keys_reloaded" && (len(added) != 1 || added[0] != "second") {
			t.Errorf("of the reload the audit log says %v", line)
		}
	}
	if told["hub_started"] != 1 || told["keys_reloaded"] != 1 || told["audit_log_opened"] != 2 || len(before) != 4 {
		t.Errorf("before the change the audit log says %v", before)
	}
	if len(after) == 0 || after[0]["action"] != "audit_log_opened" || after[len(after)-1]["action"] != "hub_stopped" {
		t.Errorf("after it the audit log says %v", after)
	}
	if log := hub.stderr.String(); strings.Contains(log, "nothing to read again") || strings.Count(log, "the audit log was opened anew") != 3 {
		t.Errorf("the log does not say what was read again: %s", log)
	}
}

// TestAFaultOfOneFileLeavesTheOther changes the token while the keys file is damaged, and the keys while the token's file is.
func TestAFaultOfOneFileLeavesTheOther(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys, tokens := filepath.Join(dir, "keys.json"), filepath.Join(dir, "token")
	const old, next = "an-old-token-of-decent-length", "a-new-token-of-decent-length"
	env := environment{"HUB_KEYS_FILE": keys}
	_, first := newKey(t, env, "--id", "first", "--name", "bot", "--scope", "*")
	write(t, tokens, old)
	hub := serve(t, env.with("SERVICE_AUTH_TOKEN_FILE", tokens))
	good, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	write(t, keys, "{")
	hub.tellsOfKeys(t, api.HealthStatusWarn, "What HUB_KEYS_FILE names cannot be used")
	write(t, tokens, next)
	hub.lets(t, next, true)
	hub.lets(t, old, false)
	hub.lets(t, first, true)
	if n := strings.Count(hub.stderr.String(), "the keys stay as they were"); n != 1 {
		t.Errorf("one fault is told %d times", n)
	}

	write(t, tokens, "short")
	hub.tellsOfKeys(t, api.HealthStatusWarn, "What SERVICE_AUTH_TOKEN_FILE and HUB_KEYS_FILE names cannot be used")
	write(t, keys, string(good))
	hub.tellsOfKeys(t, api.HealthStatusWarn, "What SERVICE_AUTH_TOKEN_FILE names cannot be used")
	_, second := newKey(t, env, "--id", "second", "--name", "bot", "--scope", "*")
	hub.lets(t, second, true)
	hub.lets(t, next, true)

	// The same token in both is a fault of neither alone: what can be used is, until it is in one only.
	write(t, tokens, second)
	hub.tellsOfKeys(t, api.HealthStatusWarn, "What SERVICE_AUTH_TOKEN_FILE names cannot be used")
	hub.lets(t, next, true)
	call(t, env, "keys", "revoke", "--id", "second").want(t, 0)
	hub.tellsOfKeys(t, api.HealthStatusPass, "")
	hub.lets(t, second, true)
	hub.lets(t, next, false)
}

// TestKeysOfAPipe has the token come from a pipe, which can be read once, and the keys from a file that changes.
func TestKeysOfAPipe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys, pipe := filepath.Join(dir, "keys.json"), filepath.Join(dir, "pipe")
	env := environment{"HUB_KEYS_FILE": keys}
	_, first := newKey(t, env, "--id", "first", "--name", "bot", "--scope", "*")
	newKey(t, env, "--id", "second", "--name", "bot", "--scope", "*")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(pipe, []byte(decentToken), 0o600) }()
	hub := serve(t, env.with("SERVICE_AUTH_TOKEN_FILE", pipe, "JAVA_SERVICE_TOKEN", decentToken)) // Else the pipe is read for that too.
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	hub.lets(t, first, true)
	call(t, env, "keys", "revoke", "--id", "first").want(t, 0)
	hub.lets(t, first, false)
	hub.lets(t, decentToken, true)
	hub.tellsOfKeys(t, api.HealthStatusPass, "")
	hub.stop(t)
}

// TestChangesOfKeys checks that each kind of change is told as what it is.
func TestChangesOfKeys(t *testing.T) {
	t.Parallel()
	hash := func(digit string) string { return strings.Repeat(digit, 64) }
	parse := func(id, rest string) []*api.Key {
		keys, err := api.ParseKeys([]byte(`{"keys":[{"id":"` + id + `",` + rest + `}]}`))
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	base := `"name":"bot","sha256":"` + hash("a") + `","scopes":["*"]`
	for name, test := range map[string]struct {
		id, rest                string
		added, removed, changed int
	}{
		"nothing": {"a", base, 0, 0, 0},
		"another": {"b", base, 1, 1, 0},
		"name":    {"a", strings.Replace(base, "bot", "django", 1), 0, 0, 1},
		"token":   {"a", strings.Replace(base, hash("a"), hash("b"), 1), 0, 0, 1},
		"digits":  {"a", strings.Replace(base, hash("a"), hash("A"), 1), 0, 0, 0},
		"scopes":  {"a", strings.Replace(base, "*", "menus", 1), 0, 0, 1},
		"end":     {"a", base + `,"expires":"2099-01-01T00:00:00Z"`, 0, 0, 1},
		"limit":   {"a", base + `,"rate_limit":5`, 0, 0, 1},
		"streams": {"a", base + `,"max_streams":5`, 0, 0, 1},
	} {
		got := changesOf(parse("a", base), parse(test.id, test.rest))
		if len(got.added) != test.added || len(got.removed) != test.removed || len(got.changed) != test.changed {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
