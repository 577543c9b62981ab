package api_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/connectbot-hub/connecthub/api"
)

func TestNewKey(t *testing.T) {
	t.Parallel()
	tokens, ids := make(map[string]bool), make(map[string]bool)
	for range 100 {
		key, token, err := api.NewKey("", "bot", []string{"publish:*"})
		if err != nil {
			t.Fatal(err)
		}
		secret, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, "cbh_"))
		if err != nil || len(secret) != 32 || !strings.HasPrefix(token, "cbh_") {
			t.Fatalf("the token %q has %d bytes: %v", token, len(secret), err)
		}
		if sum := sha256.Sum256([]byte(token)); key.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("sha256 is %s", key.SHA256)
		}
		if tokens[token] || ids[key.ID] {
			t.Fatal("a token or an id came twice")
		}
		tokens[token], ids[key.ID] = true, true
	}
}

func TestNewKeyRefuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		id, name string
		scopes   []string
	}{
		"no name":             {"a", "", []string{"*"}},
		"long id":             {strings.Repeat("a", 129), "bot", []string{"*"}},
		"long name":           {"a", strings.Repeat("a", 129), []string{"*"}},
		"no scopes":           {"a", "bot", nil},
		"unknown scope":       {"a", "bot", []string{"publish:*", "everything"}},
		"types to read":       {"a", "bot", []string{"subscribe:user.*"}},
		"a user that is none": {"a", "bot", []string{"subscribe:user:0"}},
	} {
		if key, _, err := api.NewKey(tt.id, tt.name, tt.scopes); err == nil {
			t.Errorf("%s: the key %+v was made", name, key)
		}
	}
}

func TestKeyForToken(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"", "x", "fifteen letters"} {
		if _, err := api.KeyForToken(token); err == nil {
			t.Errorf("%q was taken", token)
		} else if token != "" && strings.Contains(err.Error(), token) && len(token) > 1 {
			t.Errorf("the error repeats the token: %v", err)
		}
	}
	const token = "sixteen letters!"
	key, err := api.KeyForToken(token)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := api.NewKeys(key)
	if err != nil {
		t.Fatal(err)
	}
	h := startHub(t, options{api: api.Config{Keys: keys}})
	auth := "Authorization: Service " + token
	h.publish(t, "user:1", `{"type":"tick"}`, auth)
	if got := h.list(t, "channel=user:1", auth).Events[0].Source; got != "service" {
		t.Errorf("the source is %q", got)
	}
}

func TestNewKeysRefusesTwins(t *testing.T) {
	t.Parallel()
	one, token, err := api.NewKey("a", "one", []string{"*"})
	if err != nil {
		t.Fatal(err)
	}
	sameID, _, err := api.NewKey("a", "two", []string{"*"})
	if err != nil {
		t.Fatal(err)
	}
	sameToken, err := api.KeyForToken(token)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []*api.Key{sameID, sameToken, one} {
		if _, err := api.NewKeys(one, other); err == nil {
			t.Errorf("%+v was taken next to %+v", other, one)
		}
	}
	if keys, err := api.NewKeys(); err != nil || !keys.Empty() {
		t.Errorf("no keys: %v", err)
	}
	if keys, err := api.NewKeys(one); err != nil || keys.Empty() {
		t.Errorf("one key: %v", err)
	}
}

// TestKeysFile adds keys to a file, one after the other, and lets a hub read it.
func TestKeysFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	tokens := make(map[string]string)
	for name, scopes := range map[string][]string{"bot": {"publish:*", "subscribe:*"}, "matching": {"publish:matching.*"}, "почта": {"*"}} {
		key, token, err := api.NewKey("id-"+name, name, scopes)
		if err != nil {
			t.Fatal(err)
		}
		if err := api.AddToKeysFile(path, key); err != nil {
			t.Fatal(err)
		}
		tokens[name] = token
		if err := api.AddToKeysFile(path, key); err == nil {
			t.Error("the same key was added twice")
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("the file has the mode %v", info.Mode())
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("next to the file lies something: %v, %v", entries, err)
	}
	read, err := api.ReadKeysFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(read) != len(tokens) {
		t.Errorf("the file holds %d keys, want %d", len(read), len(tokens))
	}
	keys, err := api.NewKeys(read...)
	if err != nil {
		t.Fatal(err)
	}
	h := startHub(t, options{api: api.Config{Keys: keys}})
	for name, token := range tokens {
		if strings.Contains(string(raw), token) {
			t.Errorf("the file holds the token of %s", name)
		}
		h.publish(t, "service:matching", `{"type":"matching.request"}`, "Authorization: Bearer "+token)
		if got := h.lastEvent(t, "service:matching", tokens["bot"]).Source; got != name {
			t.Errorf("the source is %q, want %q", got, name)
		}
	}
	h.post(t, "/v1/events/global", `{"type":"tick"}`, "Authorization: Bearer "+tokens["matching"]).problem(t, 403, "forbidden")
}

func TestKeysFileErrors(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("a", 64)
	good := fmt.Sprintf(`{"id":"a","name":"bot","sha256":"%s","scopes":["*"]}`, hash)
	change := func(old, new string) string { return `{"keys":[` + strings.Replace(good, old, new, 1) + `]}` }
	for name, tt := range map[string]struct{ content, want string }{
		"empty":            {"", "ends too early"},
		"no JSON":          {"cbh_secret", "is no JSON: at byte 0"},
		"array":            {"[" + good + "]", "is no object"},
		"no keys":          {`{}`, "no keys"},
		"empty list":       {`{"keys":[]}`, "no keys"},
		"null":             {`{"keys":[null]}`, "key"},
		"unknown member":   {`{"keys":[` + good + `],"version":2}`, "version"},
		"token in a key":   {change(`"id"`, `"token":"cbh_secret","id"`), "token"},
		"no id":            {change(`"id":"a"`, `"id":""`), "id and name"},
		"no name":          {change(`"name":"bot",`, ""), "id and name"},
		"no hash":          {change(`"sha256":"`+hash+`",`, ""), "sha256"},
		"short hash":       {change(hash, hash[2:]), "sha256"},
		"no hexadecimal":   {change(hash, strings.Repeat("z", 64)), "sha256"},
		"a token for hash": {change(hash, "cbh_secret"), "sha256"},
		"no scopes":        {change(`["*"]`, "[]"), "no scopes"},
		"unknown scope":    {change(`"*"`, `"publish"`), `"publish" is no scope`},
		"cut":              {`{"keys":[` + good, "ends too early"},
		"more behind":      {`{"keys":[` + good + `]} {"keys":[` + good + `]}`, "is no JSON: at byte"},
		"named twice":      {`{"keys":[` + good + `],"keys":[]}`, `"/keys" is named twice`},
		"scopes twice":     {change(`"scopes"`, `"scopes":["menus"],"scopes"`), `"/keys/0/scopes" is named twice`},
		"other case":       {change(`"scopes"`, `"Scopes"`), `"/keys/0/Scopes" is not known`},
		"wrong kind":       {change(`["*"]`, `"*"`), `"/keys/0/scopes" is not of the kind`},
		"no time":          {change(`"id"`, `"expires":"cbh_secret","id"`), `"/keys/0/expires" is not of the kind`},
		"the year 1":       {change(`"id"`, `"expires":"0001-01-01T00:00:00Z","id"`), `key "a": expires is in the year 1`},
		"local time":       {change(`"id"`, `"expires":"2026-11-22T10:00:00","id"`), `"/keys/0/expires" is not of the kind`},
		"negative limit":   {change(`"id"`, `"rate_limit":-1,"id"`), "rate_limit and max_streams must be from 0 to 1000000"},
		"too many streams": {change(`"id"`, `"max_streams":1000001,"id"`), "rate_limit and max_streams must be from 0 to 1000000"},
		"half a request":   {change(`"id"`, `"rate_limit":0.5,"id"`), `"/keys/0/rate_limit" is not of the kind`},
		"no token's hash":  {change(hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), "sha256 is that of no token at all"},
		"twins":            {`{"keys":[` + good + `,` + good + `]}`, "another key has the same id or token"},
		"a line break":     {change(`"id":"a"`, `"id":"a\nb"`), `key "a\nb": id and name`},
		"an escape":        {change(`"name":"bot"`, `"name":"\u001b[31m"`), `key "a": id and name`},
		"a huge id":        {change(`"id":"a"`, `"id":"`+strings.Repeat("s3", 1<<20)+`"`), `…: id and name`},
		"a huge scope":     {change(`"*"`, `"`+strings.Repeat("s3", 1<<20)+`"`), `… is no scope`},
		"too large":        {change(`"id"`, strings.Repeat(" ", api.MaxKeysFile)+`"id"`), "more than 4194304 bytes"},
		"not UTF-8":        {change(`"name":"bot"`, "\"name\":\"\xff\""), "is no JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "keys.json")
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			keys, err := api.ReadKeysFile(path)
			if err == nil {
				t.Fatalf("%d keys were read", len(keys))
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("the error says %q, want the file and %q", err, tt.want)
			}
			if len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("the error is not fit for a log: %.200q", err)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error repeats a token: %v", err)
			}
			key, _, err := api.NewKey("b", "bot", []string{"*"})
			if err != nil {
				t.Fatal(err)
			}
			if err := api.AddToKeysFile(path, key); err == nil {
				t.Error("a key was added to a bad file")
			}
			if now, err := os.ReadFile(path); err != nil || string(now) != tt.content {
				t.Errorf("the bad file was changed to %q, %v", now, err)
			}
		})
	}
	if _, err := api.ReadKeysFile(filepath.Join(t.TempDir(), "none.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
}

// TestKeysFileIsChangedByMany lets many add keys at once, each of which must be there in the end.
func TestKeysFileIsChangedByMany(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	const many = 30
	var adding sync.WaitGroup
	for n := range many {
		adding.Go(func() {
			key, _, err := api.NewKey(fmt.Sprint("key", n), "bot", []string{"*"})
			if err == nil {
				err = api.AddToKeysFile(path, key)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	adding.Wait()
	keys, err := api.ReadKeysFile(path)
	if err != nil || len(keys) != many {
		t.Errorf("the file holds %d keys, want %d: %v", len(keys), many, err)
	}
}

// TestKeysFileKeepsItsMode checks that a change neither opens the file to others nor takes a link away.
func TestKeysFileKeepsItsMode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, link := filepath.Join(dir, "keys.json"), filepath.Join(dir, "link.json")
	one, _ := makeKey(t, "one", "bot", "*")
	if err := api.AddToKeysFile(path, one); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for n, mode := range map[int]os.FileMode{0: 0o600, 1: 0o640, 2: 0o644, 3: 0o400} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		key, _ := makeKey(t, fmt.Sprint(n), "bot", "*")
		if err := api.AddToKeysFile(link, key); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(path); err != nil || info.Mode() != mode&0o660 {
			t.Errorf("the mode was %v and is %v, %v", mode, info.Mode(), err)
		}
		if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("the link is none: %v, %v", info.Mode(), err)
		}
	}
	if keys, err := api.ReadKeysFile(path); err != nil || len(keys) != 5 {
		t.Errorf("the file holds %d keys: %v", len(keys), err)
	}
	failed := errors.New("changed my mind")
	before, _ := os.ReadFile(path)
	if err := api.ChangeKeysFile(path, func([]*api.Key) ([]*api.Key, error) { return nil, failed }); !errors.Is(err, failed) {
		t.Errorf("the error is %v", err)
	}
	if err := api.ChangeKeysFile(path, func([]*api.Key) ([]*api.Key, error) { return nil, nil }); err == nil {
		t.Error("all keys were taken out")
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != string(before) {
		t.Errorf("the file was changed: %s, %v", now, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("something was left: %v, %v", entries, err)
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	key, token := makeKey(t, "old", "bot", "publish:*", "menus")
	key.RateLimit, key.MaxStreams = 5, 7
	next, old, newToken, err := key.Rotate(time.Hour, now)
	if err != nil {
		t.Fatal(err)
	}
	if next.ID == "old" || next.Name != "bot" || !slices.Equal(next.Scopes, key.Scopes) || next.RateLimit != 5 || next.MaxStreams != 7 ||
		!next.Expires.IsZero() || newToken == token || next.SHA256 == old.SHA256 {
		t.Errorf("the new key is %+v", next)
	}
	if old.ID != "old" || !old.Expires.Equal(now.Add(time.Hour)) || old.SHA256 != key.SHA256 {
		t.Errorf("the old key is %+v", old)
	}
	if next, sooner, _, err := old.Rotate(2*time.Hour, now); err != nil || !sooner.Expires.Equal(now.Add(time.Hour)) || !next.Expires.Equal(sooner.Expires) {
		t.Errorf("a key that ends anyway gets the end %v, the new one %v, %v", sooner.Expires, next.Expires, err)
	}
	if _, _, _, err := old.Rotate(time.Hour, now.Add(time.Hour)); !errors.Is(err, api.ErrExpired) {
		t.Errorf("a key that has expired was rotated: %v", err)
	}
}

// FuzzKeysFile checks that whatever a file holds is refused, with an error fit for a log, or is keys that can be used and are
// the same once they were written and read again.
func FuzzKeysFile(f *testing.F) {
	hash := strings.Repeat("a", 64)
	for _, seed := range []string{
		"", "{}", "null", `{"keys":[]}`, `{"keys":[null]}`, `{"keys":[{"id":"a","name":"b","sha256":"` + hash + `","scopes":["*"]}]}`,
		`{"keys":[{"id":"a","name":"b","sha256":"` + hash + `","scopes":["temp:user_1","source:x"],"expires":"2026-11-22T10:00:00+03:00","rate_limit":5,"max_streams":1}]}`,
		`{"keys":[{"id":"a","id":"b"}]}`, `{"KEYS":[]}`, `{"keys":[{"expires":"0001-01-01T00:00:00Z"}]}`, "\xef\xbb\xbf{}", `{"keys":{}}`,
		`{"keys":[{"id":"a\u0000","name":"b","sha256":"` + hash + `","scopes":["*"]}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		keys, err := api.ParseKeys(raw)
		if err != nil {
			if text := err.Error(); len(text) > 2000 || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
				t.Fatalf("the error is not fit for a log: %.300q", text)
			}
			return
		}
		if len(keys) == 0 {
			t.Fatal("there are no keys and no error")
		}
		for _, key := range keys {
			if strings.ContainsFunc(key.ID+key.Name, func(r rune) bool { return !unicode.IsPrint(r) }) || len(key.ID) > 128 || len(key.Scopes) == 0 {
				t.Fatalf("the key %+v was taken", key)
			}
		}
		written, err := json.Marshal(map[string]any{"keys": keys})
		if err != nil {
			t.Fatal(err)
		}
		again, err := api.ParseKeys(written)
		if err != nil || len(again) != len(keys) || !again[0].Expires.Equal(keys[0].Expires) || again[0].ID != keys[0].ID {
			t.Fatalf("written and read again: %v", err)
		}
	})
}
