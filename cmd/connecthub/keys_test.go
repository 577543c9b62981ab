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
	"time"

	"github.com/connectbot-hub/connecthub/api"
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
	for _, scope := range []string{"publish:*", "menus", "temp", "temp:sessions", "temp:user_123", "temp:user_*", "temp:conversations", "match", "admin", "source:*", "source:django-connectbot"} {
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
		{[]string{"--file", path, "--name", "bot", "--id", "a\x1b[31m", "--scope", "*"}, 2, "id and name have 1 to"},
		{[]string{"--file", path, "--name", "bot", "--scope", "source:"}, 2, `--scope: "source:" is no scope`},
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

func TestKeysLs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	hash := func(digit string) string { return strings.Repeat(digit, 64) }
	write(t, path, `{"keys":[{"id":"a","name":"bot","sha256":"`+hash("a")+`","scopes":["publish:*","menus"],"rate_limit":5},`+
		`{"id":"b","name":"почта","sha256":"`+hash("b")+`","scopes":["*"],"expires":"2020-11-22T10:00:00+03:00"},`+
		`{"id":"c","name":"new","sha256":"`+hash("c")+`","scopes":["*"],"expires":"2999-01-01T00:00:00Z","max_streams":7}]}`)
	env := environment{"HUB_KEYS_FILE": path}
	got := call(t, env, "keys", "ls")
	got.want(t, 0, "ID", "publish:* menus", "почта", "expired 2020-11-22T07:00:00Z", "2999-01-01T00:00:00Z", "never")
	if strings.Contains(got.stdout, hash("a")) {
		t.Errorf("the hash is shown: %s", got.stdout)
	}
	call(t, env, "keys", "ls", "--hash").want(t, 0, hash("a"), hash("c"))
	asJSON := call(t, env, "keys", "ls", "--json")
	asJSON.want(t, 0)
	var list struct{ Keys []map[string]any }
	if err := json.Unmarshal([]byte(asJSON.stdout), &list); err != nil || len(list.Keys) != 3 {
		t.Fatalf("%s: %v", asJSON.stdout, err)
	}
	if list.Keys[0]["rate_limit"] != 5.0 || list.Keys[2]["max_streams"] != 7.0 || list.Keys[0]["sha256"] != nil || list.Keys[0]["expires"] != nil {
		t.Errorf("shown as JSON: %s", asJSON.stdout)
	}
	call(t, env, "keys", "ls", "--json", "--hash").want(t, 0, hash("b"))
	call(t, nil, "keys", "ls").want(t, 2, "--file")
	call(t, nil, "keys", "ls", "--file", path+"x").want(t, 1, "no such file")
}

// TestKeysThatExpire makes keys with an end, and rotates them.
func TestKeysThatExpire(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	env := environment{"HUB_KEYS_FILE": path}
	made, _ := newKey(t, env, "--id", "a", "--name", "bot", "--scope", "*", "--expires", "2099-01-31T03:00:00+03:00")
	made.want(t, 0, "It expires at 2099-01-31T00:00:00Z.")
	began := time.Now().Truncate(time.Second)
	newKey(t, env, "--id", "b", "--name", "mail", "--scope", "*", "--expires", "720h")
	newKey(t, env, "--id", "c", "--name", "never", "--scope", "*", "--expires", "never")
	call(t, env, "keys", "rotate", "--id", "a").want(t, 0, "It expires at 2099-01-31T00:00:00Z.")
	call(t, env, "keys", "rotate", "--id", "b", "--expires", "never").want(t, 0)
	call(t, env, "keys", "rotate", "--id", "c", "--expires", "2099-02-01T00:00:00Z").want(t, 0, "It expires at 2099-02-01T00:00:00Z.")
	keys, err := api.ReadKeysFile(path)
	if err != nil || len(keys) != 6 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	first, second := time.Date(2099, 1, 31, 0, 0, 0, 0, time.UTC), time.Date(2099, 2, 1, 0, 0, 0, 0, time.UTC)
	if a, b, c := keys[0], keys[2], keys[4]; !a.Expires.Equal(first) || !b.Expires.IsZero() || !c.Expires.Equal(second) {
		t.Errorf("the new keys expire at %v, %v and %v", a.Expires, b.Expires, c.Expires)
	}
	newKey(t, env, "--id", "d", "--name", "mail", "--scope", "*", "--expires", "720h")
	if keys, err = api.ReadKeysFile(path); err != nil {
		t.Fatal(err)
	}
	if at := keys[6].Expires; at.Before(began.Add(720*time.Hour)) || at.After(time.Now().Add(720*time.Hour)) {
		t.Errorf("in 720h is %v", at)
	}
	for _, when := range []string{"soon", "0s", "-1h", "2020-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "2099-01-31"} {
		for _, command := range [][]string{{"new", "--name", "bot", "--scope", "*"}, {"rotate", "--id", "d"}} {
			got := call(t, env, append(append([]string{"keys"}, command...), "--expires="+when)...)
			got.want(t, 2, "--expires must be never, a time to come such as 2027-01-31T00:00:00Z, or a duration such as 720h")
		}
	}
}

// TestKeysOfOneNameAreOneService checks that who makes another key of a service is told what that means.
func TestKeysOfOneNameAreOneService(t *testing.T) {
	t.Parallel()
	env := environment{"HUB_KEYS_FILE": filepath.Join(t.TempDir(), "keys.json")}
	const note = "Note: the file has other keys of bot. They are one service"
	for n, name := range []string{"bot", "mail", "bot"} {
		made, _ := newKey(t, env, "--name", name, "--scope", "*")
		if told := strings.Contains(made.stdout, note); told != (n == 2) {
			t.Errorf("key %d of %s: %s", n, name, made.stdout)
		}
	}
}

func TestKeysRotateAndRevokeRefuse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	env := environment{"HUB_KEYS_FILE": path}
	newKey(t, env, "--id", "a", "--name", "bot", "--scope", "*")
	newKey(t, env, "--id", "b", "--name", "bot", "--scope", "*")
	call(t, env, "keys", "rotate", "--id", "b", "--overlap", "0s").want(t, 0)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"rotate"}, 2, "--id"},
		{[]string{"rotate", "--id", "c"}, 1, `there is no key with the id "c"`},
		{[]string{"rotate", "--id", "b"}, 1, "key b: the key has expired"},
		{[]string{"rotate", "--id", "a", "--overlap=-1s"}, 2, "--overlap must be from 0s"},
		{[]string{"rotate", "--id", "a", "--overlap", "9000h"}, 2, "--overlap must be from 0s"},
		{[]string{"revoke"}, 2, "--id"},
		{[]string{"revoke", "--id", "c"}, 1, `there is no key with the id "c"`},
		{[]string{"revoke", "--id", "a", "--file", path + "x"}, 1, "no such file"},
	} {
		got := call(t, env, append([]string{"keys"}, test.args...)...)
		got.want(t, test.status, "connecthub: ", test.want)
		if tokenShown.MatchString(got.stdout) {
			t.Errorf("%q shows a token", test.args)
		}
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the file was changed: %s, %v", after, err)
	}
}
