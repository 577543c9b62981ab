package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// auditLines reads an audit log.
func auditLines(tb testing.TB, path string) []map[string]any {
	tb.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	var all []map[string]any
	for text := range strings.Lines(string(raw)) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(text), &fields); err != nil {
			tb.Fatalf("%q is no JSON: %v", text, err)
		}
		if _, ok := fields["time"].(string); !ok {
			tb.Errorf("%q has no time", text)
		}
		all = append(all, fields)
	}
	return all
}

// administer makes so many requests that are written down, with the token decentToken.
func administer(tb testing.TB, hub *server, times int) {
	tb.Helper()
	for range times {
		req, err := http.NewRequestWithContext(tb.Context(), http.MethodDelete, hub.url+"/v1/users/123/cache", http.NoBody)
		if err != nil {
			tb.Fatal(err)
		}
		req.Header.Set("Authorization", "Service "+decentToken)
		req.Header.Set("X-Request-ID", "r-1")
		if status, body := send(tb, req); status != http.StatusOK {
			tb.Fatalf("%d %s", status, body)
		}
	}
}

const decentToken = "a-token-of-decent-length"

// TestTheAuditLogIsAFile checks what lies in it, that it is for its owner only, and that nothing is left out.
func TestTheAuditLogIsAFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	const many = 250 // The log would take a sample of so many.
	hub := serve(t, onSharedRedis(t).with("SERVICE_AUTH_TOKEN", decentToken, "AUDIT_LOG_FILE", path, "LOG_LEVEL", "error"))
	administer(t, hub, many)
	hub.stop(t)
	lines := auditLines(t, path)
	if len(lines) != many+2 {
		t.Fatalf("there are %d lines, want %d", len(lines), many+2)
	}
	if lines[0]["action"] != "hub_started" || lines[0]["version"] != versionText() || lines[many+1]["action"] != "hub_stopped" {
		t.Errorf("the lines begin and end with %v and %v", lines[0], lines[many+1])
	}
	for name, want := range map[string]any{
		"action": "user_cache_cleared", "key": "service", "name": "service", "route": "DELETE /v1/users/:user_id/cache",
		"path": "/v1/users/123/cache", "status": 200.0, "outcome": "done", "request_id": "r-1", "remote": "127.0.0.1",
	} {
		if got := lines[1][name]; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is readable by others: %v, %v", info.Mode(), err)
	}
	if strings.Contains(hub.stderr.String(), "user_cache_cleared") {
		t.Error("the lines are in the log too")
	}
	// Another run goes on where this one ended.
	serve(t, onSharedRedis(t).with("AUDIT_LOG_FILE", path)).stop(t)
	if n := len(auditLines(t, path)); n != many+4 {
		t.Errorf("there are %d lines after another run", n)
	}
}

// TestTheAuditLogIsInTheLog checks that without a file the lines are in the log, all of them, whatever its level.
func TestTheAuditLogIsInTheLog(t *testing.T) {
	t.Parallel()
	const many = 150
	hub := serve(t, onSharedRedis(t).with("SERVICE_AUTH_TOKEN", decentToken, "LOG_LEVEL", "error"))
	administer(t, hub, many)
	hub.stop(t)
	n := 0
	for text := range strings.Lines(hub.stderr.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(text), &fields); err != nil {
			t.Fatalf("%q is no JSON: %v", text, err)
		}
		if fields["logger"] == "audit" && fields["msg"] == "user_cache_cleared" && fields["key"] == "service" {
			n++
		}
	}
	if n != many {
		t.Errorf("%d lines are in the log, want %d", n, many)
	}
}

// TestKeysCommandsAreWrittenDown checks the lines of the commands, and that a command does nothing when there can be none.
func TestKeysCommandsAreWrittenDown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, keys := filepath.Join(dir, "audit.log"), filepath.Join(dir, "keys.json")
	env := environment{"AUDIT_LOG_FILE": path, "HUB_KEYS_FILE": keys}
	_, first := newKey(t, env, "--id", "a", "--name", "bot", "--scope", "menus")
	_, second := newKey(t, env, "--id", "b", "--name", "bot", "--scope", "menus")
	rotated := call(t, env, "keys", "rotate", "--id", "a")
	rotated.want(t, 0)
	call(t, env, "keys", "revoke", "--id", "b").want(t, 0)
	call(t, env, "keys", "revoke", "--id", "no\nsuch"+strings.Repeat("y", 1000)).want(t, 1, "there is no key with the id")
	var actions []string
	for _, fields := range auditLines(t, path) {
		action, _ := fields["action"].(string)
		outcome, _ := fields["outcome"].(string)
		actions = append(actions, action+" "+outcome)
		if id, _ := fields["id"].(string); id == "" || len(id) > 128 {
			t.Errorf("%s names %v", action, fields["id"])
		}
		if outcome != "failed" && fields["name"] != "bot" {
			t.Errorf("%s has the name %v", action, fields["name"])
		}
		if next, _ := fields["new_id"].(string); action == "key_rotated" && !strings.Contains(rotated.stdout, "Key "+next+" of bot was added") {
			t.Errorf("of %s the audit log has the new id %q", rotated.stdout, next)
		}
	}
	want := "key_created attempted, key_created done, key_created attempted, key_created done, key_rotated attempted, key_rotated done, " +
		"key_revoked attempted, key_revoked done, key_revoked failed"
	if got := strings.Join(actions, ", "); got != want {
		t.Errorf("the lines are of %s", got)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{first, second, tokenShown.FindString(rotated.stdout)} {
		if strings.Contains(string(raw), token) {
			t.Error("a token is in the audit log")
		}
	}
	before, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	call(t, env.with("AUDIT_LOG_FILE", dir), "keys", "revoke", "--id", "a").want(t, 2, "AUDIT_LOG_FILE", "cannot be written")
	for _, args := range [][]string{{"revoke", "--id", "a"}, {"rotate", "--id", "a"}, {"new", "--name", "bot", "--scope", "menus"}} {
		got := call(t, env.with("AUDIT_LOG_FILE", "/dev/full"), append([]string{"keys"}, args...)...)
		got.want(t, 2, "AUDIT_LOG_FILE", "cannot be written", "no space left")
		if tokenShown.MatchString(got.stdout) {
			t.Errorf("%q shows a token", args)
		}
	}
	if after, err := os.ReadFile(keys); err != nil || string(after) != string(before) {
		t.Errorf("the keys were changed all the same: %s, %v", after, err)
	}
}

// TestAnAuditLogThatIsAPipe checks that nothing waits for a reader of it: neither at the start, nor once there is none any more.
func TestAnAuditLogThatIsAPipe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe, keys := filepath.Join(dir, "pipe"), filepath.Join(dir, "keys.json")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	env := environment{"HUB_KEYS_FILE": keys, "AUDIT_LOG_FILE": pipe}
	call(t, env, "keys", "new", "--name", "bot", "--scope", "*").want(t, 2, "AUDIT_LOG_FILE", "nobody reads from the pipe")
	call(t, environment{"HTTP_ADDR": "127.0.0.1:0", "METRICS_ADDR": noAddr, "EMBEDDED_REDIS_ADDR": "127.0.0.1:0", "AUDIT_LOG_FILE": pipe}, "serve").
		want(t, 2, "AUDIT_LOG_FILE", "nobody reads from the pipe")
	reader, err := os.OpenFile(pipe, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	hub := serve(t, onSharedRedis(t).with("SERVICE_AUTH_TOKEN", decentToken, "AUDIT_LOG_FILE", pipe))
	administer(t, hub, 1)
	if line, err := bufio.NewReader(reader).ReadString('\n'); err != nil || !strings.Contains(line, "hub_started") {
		t.Errorf("the pipe has %q, %v", line, err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	administer(t, hub, 1)
	hub.stderr.has(t, "the audit log cannot be written")
	hub.stop(t)
}

// TestAnAuditLogThatIsFull checks that a line which cannot be written is in the log.
func TestAnAuditLogThatIsFull(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Fatal("this test needs /dev/full, which Linux has")
	}
	hub := serve(t, onSharedRedis(t).with("SERVICE_AUTH_TOKEN", decentToken, "AUDIT_LOG_FILE", "/dev/full"))
	administer(t, hub, 1)
	hub.stderr.has(t, "the audit log cannot be written")
	hub.stderr.has(t, "user_cache_cleared")
}
