package api_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
		"empty":            {"", "EOF"},
		"no JSON":          {"cbh_secret", "invalid character"},
		"array":            {"[" + good + "]", "cannot unmarshal"},
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
		"cut":              {`{"keys":[` + good, "EOF"},
		"more behind":      {`{"keys":[` + good + `]} {"keys":[` + good + `]}`, "after"},
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
