package api

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/connectbot-hub/connecthub/events"
)

// Key lets a service in. It holds no token, only its hash. It is not changed once it is part of Keys.
type Key struct {
	// ID names the key in logs. Unique among the keys of a hub.
	ID string `json:"id"`
	// Name is the service, and the source of its events. Several keys may have the same, such as an old and a new one.
	Name string `json:"name"`
	// SHA256 is the hash of the token, in hexadecimal.
	SHA256 string `json:"sha256"`
	// Scopes say what the key allows; see ParseScope.
	Scopes []string `json:"scopes"`
	// Expires is from when on the key lets nobody in. Zero: it does not expire.
	Expires time.Time `json:"expires,omitzero"`
	// RateLimit is how many requests a second the key may make, and MaxStreams how many streams it may have open, at most
	// 1000000. 0: as the hub is set.
	RateLimit  int `json:"rate_limit,omitempty"`
	MaxStreams int `json:"max_streams,omitempty"`

	hash   [sha256.Size]byte
	scopes []scope
}

// tokenPrefix makes a leaked token easy to find by scanners.
const tokenPrefix = "cbh_"

// NewKey makes a key with a random token of 256 bits. The token is returned once and kept nowhere. An empty id gets a
// random one.
func NewKey(id, name string, scopes []string) (key *Key, token string, err error) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // It never fails.
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(secret)
	if id == "" {
		id = randomID()
	}
	key = &Key{ID: id, Name: name, SHA256: hashOf(token), Scopes: scopes}
	return key, token, key.prepare()
}

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func randomID() string {
	id := make([]byte, 6)
	_, _ = rand.Read(id) // It never fails.
	return hex.EncodeToString(id)
}

// KeyForToken makes the key, with the id and name service, of a single token that allows everything.
func KeyForToken(token string) (*Key, error) {
	const shortest = 16
	if len(token) < shortest {
		return nil, fmt.Errorf("a token has at least %d characters", shortest)
	}
	key := &Key{ID: "service", Name: "service", SHA256: hashOf(token), Scopes: []string{"*"}}
	return key, key.prepare()
}

// mostOfKey bounds what a key may be allowed of its own.
const mostOfKey = 1_000_000

// prepare checks the key and makes it ready to compare.
func (k *Key) prepare() error {
	if !isLabel(k.ID) || !isLabel(k.Name) {
		return fmt.Errorf("key %s: id and name have 1 to %d bytes, all of them of characters that can be seen", shown(k.ID), events.MaxLabelLength)
	}
	hash, err := hex.DecodeString(k.SHA256)
	if err != nil || len(hash) != sha256.Size {
		return fmt.Errorf("key %q: sha256 must be 64 hexadecimal digits", k.ID)
	}
	copy(k.hash[:], hash)
	if k.hash == sha256.Sum256(nil) {
		return fmt.Errorf("key %q: sha256 is that of no token at all", k.ID)
	}
	if k.RateLimit < 0 || k.RateLimit > mostOfKey || k.MaxStreams < 0 || k.MaxStreams > mostOfKey {
		return fmt.Errorf("key %q: rate_limit and max_streams must be from 0 to %d", k.ID, mostOfKey)
	}
	if len(k.Scopes) == 0 {
		return fmt.Errorf("key %q: has no scopes", k.ID)
	}
	k.scopes = nil
	for _, text := range k.Scopes {
		sc, err := parseScope(text)
		if err != nil {
			return fmt.Errorf("key %q: %w", k.ID, err)
		}
		k.scopes = append(k.scopes, sc)
	}
	return nil
}

// ErrExpired is returned for a key that is to be rotated and lets nobody in any more.
var ErrExpired = errors.New("the key has expired")

// Rotate returns a new key with the same name, scopes, limits and end, with its token, and the key as it is to be kept until
// the callers have the new one: it expires after the overlap, or before, if it did.
func (k *Key) Rotate(overlap time.Duration, now time.Time) (next, old *Key, token string, err error) {
	if k.expired(now) {
		return nil, nil, "", ErrExpired
	}
	if next, token, err = NewKey("", k.Name, k.Scopes); err != nil {
		return nil, nil, "", err
	}
	next.RateLimit, next.MaxStreams, next.Expires = k.RateLimit, k.MaxStreams, k.Expires
	old = k.ending(now.Add(overlap))
	return next, old, token, nil
}

// ending returns the key with an end at that time, if it has none before.
func (k *Key) ending(at time.Time) *Key {
	old := *k
	if at = at.UTC().Truncate(time.Second); old.Expires.IsZero() || at.Before(old.Expires) {
		old.Expires = at
	}
	return &old
}

// expired reports whether the key lets nobody in any more, by the clock on the wall: the other one stands still while the
// machine sleeps.
func (k *Key) expired(now time.Time) bool {
	return !k.Expires.IsZero() && !now.Round(0).Before(k.Expires)
}

// sourceOf returns the source of an event that the key publishes, of which the caller gave one or none.
func (k *Key) sourceOf(given string) string {
	if given != "" && slices.ContainsFunc(k.scopes, func(s scope) bool { return s.allowsSource(given) }) {
		return given
	}
	return k.Name
}

// mayPublish reports whether the key allows an event of this type on this channel.
func (k *Key) mayPublish(ch events.Channel, eventType string) bool {
	return slices.ContainsFunc(k.scopes, func(s scope) bool { return s.allows("publish", ch, eventType) })
}

// mayPublishSome reports whether the key allows an event of some type on this channel; the zero one is any.
func (k *Key) mayPublishSome(ch events.Channel) bool {
	return slices.ContainsFunc(k.scopes, func(s scope) bool { return s.allowsSome("publish", ch) })
}

// maySubscribe reports whether the key allows reading this channel.
func (k *Key) maySubscribe(ch events.Channel) bool {
	return slices.ContainsFunc(k.scopes, func(s scope) bool { return s.allows("subscribe", ch, "") })
}

// maySubscribeSome reports whether the key allows reading some channel.
func (k *Key) maySubscribeSome() bool {
	return slices.ContainsFunc(k.scopes, func(s scope) bool { return s.allowsSome("subscribe", events.Channel{}) })
}

// mayUseTemp reports whether the key allows temporary data of a namespace.
func (k *Key) mayUseTemp(namespace string) bool {
	return slices.ContainsFunc(k.scopes, func(s scope) bool { return s.allowsTemp(namespace) })
}

// mayUse reports whether the key allows all of a part of the API: menus, temp, match or admin.
func (k *Key) mayUse(part string) bool {
	return slices.ContainsFunc(k.scopes, func(s scope) bool { return s.allows(part, events.Channel{}, "") })
}
