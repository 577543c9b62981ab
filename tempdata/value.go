package tempdata

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// valueMemory is what is known of a value.
type valueMemory struct {
	store *Store
	key   Key
	// raw is what Redis would hold, "" for nothing.
	raw string
	// at is when it was written or deleted, if it waits for Redis.
	at      time.Time
	expires time.Time
	// base is the tag of what Redis held when it went away, "" for nothing; known says that this is known.
	base  string
	known bool
	// lost says that it does not wait because it was changed, but because Redis may have lost it.
	lost bool
}

func (m *valueMemory) size() int64 { return int64(len(m.raw) + len(m.key.Namespace) + len(m.key.Name)) }

func (m *valueMemory) exists(now time.Time) bool { return m.raw != "" && now.Before(m.expires) }

func (m *valueMemory) newer(theirs string) bool {
	if m.raw == theirs || !m.exists(time.Now()) {
		return false
	}
	ours, err := m.store.layout.decode(m.key, m.raw)
	if theirs == "" || err != nil {
		return err == nil
	}
	c, err := m.store.layout.decode(m.key, theirs)
	return err == nil && !c.at.IsZero() && ours.at.After(c.at)
}

func (m *valueMemory) doubt(now time.Time) bool {
	if !m.exists(now) {
		return false
	}
	c, err := m.store.layout.decode(m.key, m.raw)
	if err != nil {
		return false
	}
	m.at, m.base, m.known, m.lost = c.at, "", true, true
	return true
}

// recall returns what is known of a value, nil if nothing.
func (s *Store) recall(sh *shelf, key Key) *valueMemory {
	r := sh.find(key.Namespace, key.Name)
	if r == nil {
		return nil
	}
	m, _ := r.memory.(*valueMemory)
	if m.raw == "" || time.Now().Before(m.expires) {
		return m
	}
	if !r.waits {
		sh.drop(r) // It has expired. What there is now is not known.
		return nil
	}
	m.raw = ""
	return m
}

// learn notes what Redis holds under a key: raw is "" for nothing.
func (s *Store) learn(sh *shelf, key Key, raw string, ttl time.Duration) {
	switch {
	case sh == nil:
	case raw == "":
		sh.forget(key.Namespace, key.Name)
	default:
		sh.keep(key.Namespace, key.Name, &valueMemory{store: s, key: key, raw: raw, expires: time.Now().Add(kept(ttl))})
	}
}

// kept is how long a value is known in memory that has a time to live, negative if it has none.
func kept(ttl time.Duration) time.Duration {
	if ttl < 0 {
		return MaxTTL
	}
	return ttl
}

// change changes a value in memory; raw is "" to delete it.
func (s *Store) change(sh *shelf, key Key, raw string, at time.Time, ttl time.Duration) error {
	m := &valueMemory{store: s, key: key, raw: raw, at: at, expires: at.Add(ttl)}
	old := s.recall(sh, key) // Before it may be forgotten to make room.
	waits := sh.waitsFor(key.Namespace, key.Name)
	if !sh.makeRoom(m.size() + recordSize) {
		return ErrFull
	}
	if old != nil {
		m.base, m.known = old.base, old.known
		if !waits {
			m.base, m.known = tagOf(old.raw), true
		}
	}
	sh.await(key.Namespace, key.Name, m)
	return nil
}

// restore returns what puts the value back.
func (m *valueMemory) restore(r *record) restoration { return &restoreValue{memory: m, record: r} }

// restoreValue puts back into Redis what was written while it was away.
type restoreValue struct {
	memory *valueMemory
	record *record
	reply  *redis.Cmd
}

func (o *restoreValue) size() int { return len(o.memory.raw) + 256 }

func (o *restoreValue) send(ctx context.Context, pipe redis.Pipeliner, _ *shelf) {
	m, raw := o.memory, o.memory.raw
	ttl := time.Until(m.expires).Milliseconds()
	if ttl <= 0 {
		raw = "" // It has expired, and so has what it replaced.
	}
	space := m.store.valueSpace(m.key.Namespace)
	keys := []string{m.store.indexKey(space), m.store.listsKey(space), m.store.layout.redisKey(m.key)}
	o.reply = pipe.EvalSha(ctx, restoreScript.Hash(), keys, space, m.base, raw, ttl, m.key.Name)
}

func (o *restoreValue) receive(sh *shelf) error {
	if err := replyError(o.reply.Err()); err != nil {
		return err
	}
	theirs, err := o.reply.Text()
	if err != nil {
		return errReply
	}
	m := o.memory
	switch {
	case o.record.memory != memory(m):
	case theirs == "" && m.raw == "":
		sh.drop(o.record)
		m.store.count.restored.Add(1)
	case theirs == "":
		sh.settled(o.record)
		m.base, m.known, m.lost = "", false, false
		m.store.count.restored.Add(1)
	case !m.wins(theirs):
		if !m.lost {
			m.store.count.overtaken.Add(1)
		}
		sh.drop(o.record)
	default:
		m.base, m.known = tagOf(theirs), true // And again.
	}
	return nil
}

// wins reports whether what waits was written after what Redis has. If that does not tell, it is newer if it was written
// since Redis went away.
func (m *valueMemory) wins(theirs string) bool {
	c, err := m.store.layout.decode(m.key, theirs)
	if err != nil && !errors.Is(err, ErrUnreadable) || c.at.IsZero() {
		return !m.known
	}
	return m.at.After(c.at)
}

func (o *restoreValue) abandon(sh *shelf) { sh.drop(o.record) }

func (o *restoreValue) local(*shelf) error { return ErrUnavailable }

func (o *restoreValue) waits(*shelf) bool { return true }
