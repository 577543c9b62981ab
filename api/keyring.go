package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/connectbot-hub/connecthub/events"
)

// Keys are the keys of one hub. They may be replaced while it runs, and are safe for concurrent use; to find a key takes no
// lock. No keys at all means that everybody is let in, which is for loopback only: keys that were there are never
// replaced by none.
type Keys struct {
	replacing sync.Mutex
	now       atomic.Pointer[keySet]
}

// keySet is what the keys are until they are replaced.
type keySet struct {
	keys []*Key
	// changed is closed when the set is replaced, and when one of its keys expires: then another takes its place.
	changed chan struct{}
	expiry  *time.Timer
}

// NewKeys checks that no two keys have the same id or token.
func NewKeys(keys ...*Key) (*Keys, error) {
	if err := checkTwins(keys); err != nil {
		return nil, err
	}
	k := &Keys{}
	if len(keys) > 0 {
		k.install(keys)
	}
	return k, nil
}

func checkTwins(keys []*Key) error {
	for i, k := range keys {
		if slices.ContainsFunc(keys[:i], func(o *Key) bool { return o.ID == k.ID || o.hash == k.hash }) {
			return fmt.Errorf("key %q: another key has the same id or token", k.ID)
		}
	}
	return nil
}

// Replace puts other keys in the place of those there are. Streams whose key is no longer among them, has expired, or does
// not allow their channels any more, end at once. It refuses no keys at all and what NewKeys does, and then nothing
// changes.
func (k *Keys) Replace(keys ...*Key) error {
	if len(keys) == 0 {
		return errors.New("there would be no keys left")
	}
	if err := checkTwins(keys); err != nil {
		return err
	}
	k.replacing.Lock()
	defer k.replacing.Unlock()
	k.install(keys)
	return nil
}

// install puts a set in its place. The caller holds the lock, or is alone.
func (k *Keys) install(keys []*Key) {
	next := &keySet{keys: keys, changed: make(chan struct{})}
	now := time.Now()
	var first time.Duration
	for _, key := range keys {
		if !key.Expires.IsZero() && !key.expired(now) && (first == 0 || key.Expires.Sub(now) < first) {
			first = key.Expires.Sub(now)
		}
	}
	if first > 0 {
		next.expiry = time.AfterFunc(first, func() {
			k.replacing.Lock()
			defer k.replacing.Unlock()
			if k.now.Load() == next {
				k.install(keys)
			}
		})
	}
	if old := k.now.Swap(next); old != nil {
		if old.expiry != nil {
			old.expiry.Stop()
		}
		close(old.changed)
	}
}

// All returns the keys.
func (k *Keys) All() []*Key {
	if set := k.now.Load(); set != nil {
		return slices.Clone(set.keys)
	}
	return nil
}

// Empty reports whether there are no keys.
func (k *Keys) Empty() bool { return k.now.Load() == nil }

// find returns the key of a token, in a time that does not depend on how much of it is right or which key it is; nil when
// there is none, or it has expired.
func (k *Keys) find(token string) *Key {
	if set := k.now.Load(); set != nil {
		return set.find(sha256.Sum256([]byte(token)))
	}
	return nil
}

func (s *keySet) find(hash [sha256.Size]byte) *Key {
	var found *Key
	for _, key := range s.keys {
		if subtle.ConstantTimeCompare(hash[:], key.hash[:]) == 1 {
			found = key
		}
	}
	if found != nil && !found.Expires.IsZero() && found.expired(time.Now()) {
		return nil
	}
	return found
}

// admission is the right to read a stream, for as long as the reader's key gives it.
type admission struct {
	keys     *Keys
	key      *Key // nil when none is needed
	channels []events.Channel
	// changed is closed when the right is to be renewed; nil when it lasts.
	changed <-chan struct{}
}

// renew reports whether the reader may go on, and watches from then on.
func (a *admission) renew() bool {
	if a.key == nil {
		return true
	}
	set := a.keys.now.Load()
	a.changed = set.changed
	key := set.find(a.key.hash)
	return key != nil && !slices.ContainsFunc(a.channels, func(ch events.Channel) bool { return !key.maySubscribe(ch) })
}

// due reports whether the right is to be renewed.
func (a *admission) due() bool {
	select {
	case <-a.changed:
		return true
	default:
		return false
	}
}
