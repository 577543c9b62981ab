package api

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/connectbot-hub/connecthub/events"
)

// Key lets a service in. It holds no token, only its hash.
type Key struct {
	// ID names the key in logs. Unique among the keys of a hub.
	ID string `json:"id"`
	// Name is the service, and the source of its events that name none.
	Name string `json:"name"`
	// SHA256 is the hash of the token, in hexadecimal.
	SHA256 string `json:"sha256"`
	// Scopes say what the key allows; see ParseScope.
	Scopes []string `json:"scopes"`

	hash   [sha256.Size]byte
	scopes []scope
}

// Keys are the keys of one hub. They are not changed after they were made and are safe for concurrent use. No keys at all
// means that everybody is let in, which is for loopback only.
type Keys struct{ keys []*Key }

// tokenPrefix makes a leaked token easy to find by scanners.
const tokenPrefix = "cbh_"

// NewKey makes a key with a random token of 256 bits. The token is returned once and kept nowhere.
func NewKey(id, name string, scopes []string) (key *Key, token string, err error) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // It never fails.
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(secret)
	if id == "" {
		id = randomID()
	}
	sum := sha256.Sum256([]byte(token))
	key = &Key{ID: id, Name: name, SHA256: hex.EncodeToString(sum[:]), Scopes: scopes}
	return key, token, key.prepare()
}

func randomID() string {
	id := make([]byte, 6)
	_, _ = rand.Read(id) // It never fails.
	return hex.EncodeToString(id)
}

// KeyForToken makes the key of a single token that allows everything.
func KeyForToken(token string) (*Key, error) {
	const shortest = 16
	if len(token) < shortest {
		return nil, fmt.Errorf("a token has at least %d characters", shortest)
	}
	sum := sha256.Sum256([]byte(token))
	key := &Key{ID: "service", Name: "service", SHA256: hex.EncodeToString(sum[:]), Scopes: []string{"*"}}
	return key, key.prepare()
}

// prepare checks the key and makes it ready to compare.
func (k *Key) prepare() error {
	if k.ID == "" || k.Name == "" || len(k.ID) > events.MaxLabelLength || len(k.Name) > events.MaxLabelLength {
		return fmt.Errorf("key %q: id and name have 1 to %d bytes", k.ID, events.MaxLabelLength)
	}
	hash, err := hex.DecodeString(k.SHA256)
	if err != nil || len(hash) != sha256.Size {
		return fmt.Errorf("key %q: sha256 must be 64 hexadecimal digits", k.ID)
	}
	copy(k.hash[:], hash)
	if len(k.Scopes) == 0 {
		return fmt.Errorf("key %q: has no scopes", k.ID)
	}
	for _, text := range k.Scopes {
		sc, err := parseScope(text)
		if err != nil {
			return fmt.Errorf("key %q: %w", k.ID, err)
		}
		k.scopes = append(k.scopes, sc)
	}
	return nil
}

// NewKeys checks that no two keys have the same id or token.
func NewKeys(keys ...*Key) (*Keys, error) {
	for i, k := range keys {
		if slices.ContainsFunc(keys[:i], func(o *Key) bool { return o.ID == k.ID || o.hash == k.hash }) {
			return nil, fmt.Errorf("key %q: another key has the same id or token", k.ID)
		}
	}
	return &Keys{keys}, nil
}

// keysFile is the content of a keys file.
type keysFile struct {
	Keys []*Key `json:"keys"`
}

// ReadKeysFile reads the keys of a file {"keys": [{"id","name","sha256","scopes"}]}.
func ReadKeysFile(path string) ([]*Key, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // G304: the operator names the file.
	if err != nil {
		return nil, err
	}
	var file keysFile
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: something follows after the keys", path)
	}
	if len(file.Keys) == 0 {
		return nil, fmt.Errorf("%s: holds no keys", path)
	}
	for _, key := range file.Keys {
		if key == nil {
			return nil, fmt.Errorf("%s: a key is null", path)
		}
		if err := key.prepare(); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return file.Keys, nil
}

// AddToKeysFile appends a key to a keys file, which is made when it is not there, readable by its owner only.
func AddToKeysFile(path string, key *Key) error {
	keys, err := ReadKeysFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	keys = append(keys, key)
	if _, err := NewKeys(keys...); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(keysFile{keys}, "", "  ")
	if err != nil {
		return err
	}
	next := path + ".new" // A hub that reads the file meanwhile sees the old one or the new one.
	if err := os.WriteFile(next, append(raw, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// find returns the key of a token, in a time that does not depend on how much of it is right; nil when there is none.
func (k *Keys) find(token string) *Key {
	sum := sha256.Sum256([]byte(token))
	var found *Key
	for _, key := range k.keys {
		if subtle.ConstantTimeCompare(sum[:], key.hash[:]) == 1 {
			found = key
		}
	}
	return found
}

// Empty reports whether there are no keys.
func (k *Keys) Empty() bool { return len(k.keys) == 0 }

// mayPublish reports whether the key allows an event of this type on this channel.
func (k *Key) mayPublish(ch events.Channel, eventType string) bool {
	return slices.ContainsFunc(k.scopes, func(s scope) bool { return s.allows("publish", ch, eventType) })
}

// maySubscribe reports whether the key allows reading this channel.
func (k *Key) maySubscribe(ch events.Channel) bool {
	return slices.ContainsFunc(k.scopes, func(s scope) bool { return s.allows("subscribe", ch, "") })
}

// mayUseTemp reports whether the key allows temporary data of a namespace.
func (k *Key) mayUseTemp(namespace string) bool {
	return slices.ContainsFunc(k.scopes, func(s scope) bool { return s.allowsTemp(namespace) })
}

// mayUse reports whether the key allows all of a part of the API: menus, temp, match or admin.
func (k *Key) mayUse(part string) bool {
	return slices.ContainsFunc(k.scopes, func(s scope) bool { return s.allows(part, events.Channel{}, "") })
}
