package main

import (
	"bufio"
	"context"
	"encoding/json"
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
		func() error { return os.Remove(path) },
		func() error { return os.Mkdir(path, 0o700) },
	} {
		if err := break_(); err != nil {
			t.Fatal(err)
		}
		redistest.Eventually(t, soon, "the fault is logged", func() bool { return strings.Count(hub.stderr.String(), stay) == n+1 })
		hub.tellsOfKeys(t, api.HealthStatusWarn, "The files of the keys cannot be used")
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
	hub.stderr.has(t, "the keys in use are back in their files")
	hub.tellsOfKeys(t, api.HealthStatusPass, "")
	if n := strings.Count(hub.stderr.String(), stay); n != 4 {
		t.Errorf("four faults were logged %d times", n)
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
	if len(before) != 2 || before[0]["action"] != "hub_started" || before[1]["action"] != "keys_reloaded" {
		t.Errorf("before the change the audit log says %v", before)
	}
	if added, _ := before[1]["added"].([]any); len(added) != 1 || added[0] != "second" {
		t.Errorf("of the reload the audit log says %v", before[1])
	}
	if len(after) == 0 || after[len(after)-1]["action"] != "hub_stopped" {
		t.Errorf("after it the audit log says %v", after)
	}
}
