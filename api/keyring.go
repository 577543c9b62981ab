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
	// clock is time.Now where it is nil.
	clock func() time.Time
}

// keySet is what the keys are until they are replaced.
type keySet struct {
	keys   []*Key
	byHash map[[sha256.Size]byte]*Key
	// changed is closed when the set is replaced, and when one of its keys expires: then another takes its place.
	changed chan struct{}
	expiry  *time.Timer
}

// lookAtClock is how long is waited for a key to expire before the time is looked at anew: timers know nothing of a clock that
// is set, or of the time that the machine slept.
const lookAtClock = time.Minute

// NewKeys checks that no two keys have the same id or token.
func NewKeys(keys ...*Key) (*Keys, error) {
	if err := checkTwins(keys); err != nil {
		return nil, err
	}
	k := &Keys{}
	if len(keys) > 0 {
		k.replacing.Lock()
		defer k.replacing.Unlock()
		k.install(keys)
	}
	return k, nil
}

func checkTwins(keys []*Key) error {
	ids, hashes := make(map[string]bool, len(keys)), make(map[[sha256.Size]byte]bool, len(keys))
	for _, k := range keys {
		if ids[k.ID] || hashes[k.hash] {
			return fmt.Errorf("key %q: another key has the same id or token", k.ID)
		}
		ids[k.ID], hashes[k.hash] = true, true
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

// install puts a set in its place. The caller holds the lock.
func (k *Keys) install(keys []*Key) {
	next := &keySet{keys: keys, byHash: make(map[[sha256.Size]byte]*Key, len(keys)), changed: make(chan struct{})}
	now := k.time()
	var first time.Time
	for _, key := range keys {
		next.byHash[key.hash] = key
		if !key.Expires.IsZero() && !key.expired(now) && (first.IsZero() || key.Expires.Before(first)) {
			first = key.Expires
		}
	}
	if !first.IsZero() {
		next.expiry = time.AfterFunc(untilLook(first, now), func() { k.expire(next, first) })
	}
	if old := k.now.Swap(next); old != nil {
		if old.expiry != nil {
			old.expiry.Stop()
		}
		close(old.changed)
	}
}

// expire puts the same keys in the place of a set of which the first has expired, and waits on if none has.
func (k *Keys) expire(set *keySet, first time.Time) {
	k.replacing.Lock()
	defer k.replacing.Unlock()
	switch now := k.time(); {
	case k.now.Load() != set: // It was replaced meanwhile.
	case now.Before(first):
		set.expiry.Reset(untilLook(first, now))
	default:
		k.install(set.keys)
	}
}

// untilLook is how long to wait before it is looked whether it is that time.
func untilLook(at, now time.Time) time.Duration { return min(at.Sub(now), lookAtClock) }

// time is what the clock on the wall shows.
func (k *Keys) time() time.Time {
	if k.clock != nil {
		return k.clock()
	}
	return time.Now().Round(0)
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

// find returns the key of a token; nil when there is none, or it has expired. How long that takes depends on the hash of the
// token alone, and tells nothing of how much of a token is right: of two tokens that are nearly the same the hashes have
// nothing in common, and which hashes the map compares depends on a seed that is made for each map.
func (k *Keys) find(token string) *Key {
	if set := k.now.Load(); set != nil {
		return k.findIn(set, sha256.Sum256([]byte(token)))
	}
	return nil
}

func (k *Keys) findIn(set *keySet, hash [sha256.Size]byte) *Key {
	found := set.byHash[hash]
	if found == nil || subtle.ConstantTimeCompare(hash[:], found.hash[:]) != 1 {
		return nil
	}
	if !found.Expires.IsZero() && found.expired(k.time()) {
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
	key := a.keys.findIn(set, a.key.hash)
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
