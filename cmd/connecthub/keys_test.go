package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var tokenShown = regexp.MustCompile(`(?m)^cbh_\S{43}$`)

// newKey makes a key and returns what was shown and the token in it.
func newKey(tb testing.TB, env environment, args ...string) (shown outcome, token string) {
	tb.Helper()
	shown = call(tb, env, append([]string{"keys", "new"}, args...)...)
	shown.want(tb, 0, "Its token, which is not shown again:")
	tokens := tokenShown.FindAllString(shown.stdout, -1)
	if len(tokens) != 1 {
		tb.Fatalf("%d tokens are shown:\n%s", len(tokens), shown.stdout)
	}
	return shown, tokens[0]
}

func TestKeysNewAddsToAFileThatServeReads(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	env := environment{"HUB_KEYS_FILE": path}
	first, publishing := newKey(t, env, "--name", "bot", "--id", "bot1", "--scope", "publish:user:*", "--scope", "publish:activity.*")
	first.want(t, 0, "Key bot1 of bot was added to "+path)
	_, reading := newKey(t, nil, "--file", path, "--name", "matching", "--scope", "subscribe:user:123,subscribe:global")

	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{publishing, reading} {
		sum := sha256.Sum256([]byte(token))
		if strings.Contains(string(raw), token) || !strings.Contains(string(raw), hex.EncodeToString(sum[:])) {
			t.Errorf("the file holds the token or not its hash: %s", raw)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is readable by others: %v, %v", info.Mode(), err)
	}

	hub := serve(t, onSharedRedis(t).with("HUB_KEYS_FILE", path))
	as := func(token string) environment { return hub.client().with("SERVICE_AUTH_TOKEN", token) }
	call(t, as(publishing), "publish", "--user", "123", "user.login").want(t, 0)
	call(t, as(publishing), "publish", "--global", "activity.created").want(t, 0)
	call(t, as(publishing), "publish", "--global", "user.login").want(t, 1, "403 forbidden")
	call(t, as(reading), "publish", "--user", "123", "user.login").want(t, 1, "403 forbidden")
	call(t, as(publishing), "tail", "--channel", "user:123").want(t, 1, "403 forbidden")
	tail := start(t, as(reading), "tail", "--json", "--all", "--channel", "user:123")
	tail.stdout.has(t, `"source":"bot"`) // The key's name.
}

func TestKeysNewWithoutAFileShowsOne(t *testing.T) {
	t.Parallel()
	shown, token := newKey(t, nil, "--name", "bot", "--scope", "*")
	var file json.RawMessage
	text := shown.stdout[strings.Index(shown.stdout, "{"):]
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&file); err != nil {
		t.Fatalf("no JSON is shown: %v\n%s", err, shown.stdout)
	}
	path := filepath.Join(t.TempDir(), "keys.json")
	write(t, path, string(file))
	hub := serve(t, onSharedRedis(t).with("HUB_KEYS_FILE", path))
	call(t, hub.client().with("SERVICE_AUTH_TOKEN", token), "publish", "--global", "test_event").want(t, 0)
}

func TestKeysNewNamesTheScopes(t *testing.T) {
	t.Parallel()
	help := strings.Join(strings.Fields(call(t, nil, "help", "keys", "new").stdout), " ")
	for _, scope := range []string{"publish:*", "menus", "temp", "temp:sessions", "temp:user_123", "temp:user_*", "temp:conversations", "admin"} {
		if !strings.Contains(help, " "+scope) {
			t.Errorf("the help does not name %s", scope)
		}
		newKey(t, nil, "--name", "bot", "--scope", scope)
	}
}

func TestKeysNewRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.json")
	newKey(t, nil, "--file", path, "--name", "bot", "--id", "bot1", "--scope", "*")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(dir, "broken.json")
	write(t, broken, "{")
	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--name", "bot"}, 2, "--scope"},
		{[]string{"--scope", "*"}, 2, "--name"},
		{[]string{"--file", path, "--name", "bot", "--scope", "publish"}, 2, `--scope: "publish" is no scope: want *, publish:`},
		{[]string{"--file", path, "--name", "bot", "--scope", "subscribe:user.*"}, 2, `"subscribe:user.*" is no scope`},
		{[]string{"--file", path, "--name", strings.Repeat("n", 1000), "--scope", "*"}, 2, "id and name have 1 to"},
		{[]string{"--file", path, "--name", "bot", "--id", "bot1", "--scope", "*"}, 1, `"bot1": another key has the same id`},
		{[]string{"--file", broken, "--name", "bot", "--scope", "*"}, 1, broken},
		{[]string{"--file", filepath.Join(dir, "none", "keys.json"), "--name", "bot", "--scope", "*"}, 1, "no such file or directory"},
	} {
		got := call(t, nil, append([]string{"keys", "new"}, test.args...)...)
		got.want(t, test.status, "connecthub: ", test.want)
		if tokenShown.MatchString(got.stdout) {
			t.Errorf("%q shows a token", test.args)
		}
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the file was changed: %s, %v", after, err)
	}
}
