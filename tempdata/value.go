package tempdata

import (
	"context"
	"crypto/sha1" //nolint:gosec // G505: scripts in Redis can compute no other hash, and nothing secret depends on it.
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// tagSize is how many hexadecimal digits an entity tag has: 80 bits.
const tagSize = 20

// tagOf is tagOf in condition.lua, of the value itself: "" for nothing.
func tagOf[T string | []byte](raw T) string { return strings.Trim(etagOf(raw), `"`) }

// etagOf is tagOf as HTTP writes it.
func etagOf[T string | []byte](raw T) string {
	if len(raw) == 0 {
		return ""
	}
	sum := sha1.Sum([]byte(raw)) //nolint:gosec // G401: see the import.
	var tag [tagSize + 2]byte
	tag[0], tag[tagSize+1] = '"', '"'
	hex.Encode(tag[1:], sum[:tagSize/2])
	return string(tag[:])
}

// quoted makes an entity tag as HTTP writes it, "" of "".
func quoted(tag string) string {
	if tag == "" {
		return ""
	}
	return `"` + tag + `"`
}

// code writes a condition as the scripts read it.
func (c Condition) code() string {
	switch {
	case c.Absent && (c.Exists || len(c.Tags) > 0):
		return never
	case c.Absent:
		return "-"
	case len(c.Tags) > 0:
		code := "="
		for _, tag := range c.Tags {
			if len(tag) == tagSize+2 { // Others are not ours.
				code += " " + strings.Trim(tag, `"`)
			}
		}
		return code
	case c.Exists:
		return "*"
	}
	return ""
}

// never is a condition that nothing meets: to have none of no tags.
const never = "="

// hasTag is the condition to have a tag, or with "" to be nothing.
func hasTag(tag string) string {
	if tag == "" {
		return "-"
	}
	return "= " + strings.Trim(tag, `"`)
}

// met is met in condition.lua.
func met(condition, tag string) bool {
	switch condition {
	case "":
		return true
	case "*":
		return tag != ""
	case "-":
		return tag == ""
	}
	return tag != "" && slices.Contains(strings.Fields(condition)[1:], tag)
}

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

// getValues reads values of one namespace.
type getValues struct {
	store *Store
	keys  []Key
	raws  []string // "" for what is not there
	ttls  []time.Duration

	get  *redis.SliceCmd
	left []*redis.DurationCmd
}

// size is a guess of what comes back.
func (o *getValues) size() int { return 2 << 10 * len(o.keys) }

func (o *getValues) send(ctx context.Context, pipe redis.Pipeliner, _ *shelf) {
	names := make([]string, len(o.keys))
	o.left = make([]*redis.DurationCmd, len(o.keys))
	for i, key := range o.keys {
		names[i] = o.store.layout.redisKey(key)
	}
	o.get = pipe.MGet(ctx, names...)
	for i, name := range names {
		o.left[i] = pipe.PTTL(ctx, name)
	}
}

func (o *getValues) receive(sh *shelf) error {
	if err := replyError(o.get.Err()); err != nil {
		return err
	}
	for i, value := range o.get.Val() {
		raw, _ := value.(string)
		if err := sh.missing(o.keys[i].Namespace, o.keys[i].Name, raw); err != nil {
			return err
		}
	}
	o.raws, o.ttls = make([]string, len(o.keys)), make([]time.Duration, len(o.keys))
	for i, value := range o.get.Val() {
		o.raws[i], _ = value.(string)
		if o.ttls[i] = o.left[i].Val(); o.ttls[i] == -2 {
			o.raws[i] = "" // It has gone since.
		}
		o.store.learn(sh, o.keys[i], o.raws[i], o.ttls[i])
	}
	return nil
}

func (o *getValues) local(sh *shelf) error {
	o.raws, o.ttls = make([]string, len(o.keys)), make([]time.Duration, len(o.keys))
	for i, key := range o.keys {
		m := o.store.recall(sh, key)
		if m == nil {
			return ErrUnavailable
		}
		o.raws[i], o.ttls[i] = m.raw, time.Until(m.expires)
	}
	return nil
}

func (o *getValues) waits(sh *shelf) bool { return anyWaits(sh, o.keys) }

func anyWaits(sh *shelf, keys []Key) bool {
	return slices.ContainsFunc(keys, func(key Key) bool { return sh.waitsFor(key.Namespace, key.Name) })
}

// putValues sets values of one namespace. The condition is about the first.
type putValues struct {
	store     *Store
	keys      []Key
	raws      []string
	ttls      []time.Duration
	condition string
	at        time.Time
	created   []bool

	sent *putTogether
	from int // where in what was sent

	// one is what keys, raws, ttls and created are parts of when there is one value.
	one struct {
		key     [1]Key
		raw     [1]string
		ttl     [1]time.Duration
		created [1]bool
	}
}

// putOne returns what sets one value.
func putOne(s *Store, key Key, raw string, ttl time.Duration, condition string, at time.Time) *putValues {
	o := &putValues{store: s, condition: condition, at: at}
	o.one.key[0], o.one.raw[0], o.one.ttl[0] = key, raw, ttl
	o.keys, o.raws, o.ttls = o.one.key[:], o.one.raw[:], o.one.ttl[:]
	return o
}

// allCreated returns room to tell which values were created.
func (o *putValues) allCreated() []bool {
	if len(o.keys) == 1 {
		return o.one.created[:]
	}
	return make([]bool, len(o.keys))
}

// putTogether is puts that are one command, which takes Redis half as long as one each.
type putTogether struct {
	keys  []string
	args  []any
	count int
	reply *redis.Cmd

	created []int64
	err     error
}

// join adds the values of a put to those before, if there are any like them and neither has a condition; else it begins
// anew.
func (o *putValues) join(before *putTogether) (t *putTogether) {
	space := o.store.valueSpace(o.keys[0].Namespace)
	lists := o.store.listsKey(space)
	if t = before; t == nil || o.condition != "" || t.args[0] != "" || t.keys[0] != lists {
		t = &putTogether{keys: append(make([]string, 0, 1+2*len(o.keys)), lists), args: append(make([]any, 0, 1+4*len(o.keys)), o.condition)}
	}
	o.sent, o.from = t, t.count
	index := o.store.indexKey(space)
	for i, key := range o.keys {
		t.keys = append(t.keys, index, o.store.layout.redisKey(key))
		t.args = append(t.args, space, o.raws[i], o.ttls[i].Milliseconds(), key.Name)
	}
	t.count += len(o.keys)
	return t
}

func (t *putTogether) send(ctx context.Context, pipe redis.Pipeliner) {
	t.reply = pipe.EvalSha(ctx, putScript.Hash(), t.keys, t.args...)
}

// receive reads the reply, once.
func (t *putTogether) receive() ([]int64, error) {
	if t.created != nil || t.err != nil {
		return t.created, t.err
	}
	if t.err = replyError(t.reply.Err()); t.err != nil {
		return nil, t.err
	}
	if tag, ok := t.reply.Val().(string); ok {
		t.err = &PreconditionError{quoted(tag)}
	} else if t.created, t.err = t.reply.Int64Slice(); t.err != nil || len(t.created) != t.count {
		t.created, t.err = nil, errReply
	}
	return t.created, t.err
}

func (o *putValues) size() (n int) {
	for _, raw := range o.raws {
		n += len(raw) + 128
	}
	return n
}

func (o *putValues) send(ctx context.Context, pipe redis.Pipeliner, _ *shelf) {
	o.join(nil).send(ctx, pipe)
}

func (o *putValues) receive(sh *shelf) error {
	created, err := o.sent.receive()
	if err != nil {
		return err
	}
	o.created = o.allCreated()
	for i, key := range o.keys {
		if created[o.from+i] < 0 {
			err = fmt.Errorf("%w: the list of its namespace is something else", ErrUnavailable)
		}
		o.created[i] = created[o.from+i] == 1
		o.store.learn(sh, key, o.raws[i], o.ttls[i])
	}
	return err
}

func (o *putValues) local(sh *shelf) error {
	var need int64
	for _, raw := range o.raws {
		need += int64(len(raw)) + 2*MaxNameSize + recordSize
	}
	if m := o.store.recall(sh, o.keys[0]); o.condition != "" {
		if m == nil {
			return ErrUnavailable
		}
		if tag := tagOf(m.raw); !met(o.condition, tag) {
			return &PreconditionError{quoted(tag)}
		}
	}
	if !sh.makeRoom(need) {
		return ErrFull
	}
	o.created = o.allCreated()
	for i, key := range o.keys {
		m := o.store.recall(sh, key)
		o.created[i] = m == nil || m.raw == ""
		if err := o.store.change(sh, key, o.raws[i], o.at, o.ttls[i]); err != nil {
			return err
		}
	}
	return nil
}

func (o *putValues) waits(sh *shelf) bool { return anyWaits(sh, o.keys) }

// touchValue gives a value another time to live, or deletes it with a ttl of 0.
type touchValue struct {
	store     *Store
	key       Key
	ttl       time.Duration
	condition string
	tag       string

	reply *redis.Cmd
}

func (o *touchValue) size() int { return 256 }

func (o *touchValue) send(ctx context.Context, pipe redis.Pipeliner, _ *shelf) {
	space := o.store.valueSpace(o.key.Namespace)
	keys := []string{o.store.indexKey(space), o.store.listsKey(space), o.store.layout.redisKey(o.key)}
	o.reply = pipe.EvalSha(ctx, touchScript.Hash(), keys, space, o.condition, o.ttl.Milliseconds(), o.key.Name)
}

func (o *touchValue) receive(sh *shelf) error {
	if err := replyError(o.reply.Err()); err != nil {
		return err
	}
	reply, err := o.reply.Slice()
	if err != nil || len(reply) == 0 {
		return errReply
	}
	if len(reply) == 2 {
		o.tag, _ = reply[1].(string)
	}
	switch reply[0] {
	case int64(0):
		return &PreconditionError{quoted(o.tag)}
	case int64(-1):
		sh.forget(o.key.Namespace, o.key.Name)
		return ErrNotFound
	}
	if m := o.store.recall(sh, o.key); m != nil {
		m.expires = time.Now().Add(o.ttl)
	}
	if o.ttl == 0 {
		sh.forget(o.key.Namespace, o.key.Name)
	}
	return nil
}

func (o *touchValue) local(sh *shelf) error {
	m := o.store.recall(sh, o.key)
	if m == nil {
		if o.ttl > 0 || o.condition != "" {
			return ErrUnavailable
		}
		return o.store.change(sh, o.key, "", time.Now(), 0) // Whatever Redis holds.
	}
	if o.tag = tagOf(m.raw); !met(o.condition, o.tag) {
		return &PreconditionError{quoted(o.tag)}
	}
	if m.raw == "" {
		return ErrNotFound
	}
	raw, at := m.raw, time.Now()
	if o.ttl == 0 {
		raw = ""
	} else if c, err := o.store.layout.decode(o.key, raw); err == nil && !c.at.IsZero() {
		at = c.at // It is not written anew: another may have been since it was.
	}
	if err := o.store.change(sh, o.key, raw, at, o.ttl); err != nil {
		return err
	}
	o.store.recall(sh, o.key).expires = time.Now().Add(o.ttl)
	return nil
}

func (o *touchValue) waits(sh *shelf) bool { return sh.waitsFor(o.key.Namespace, o.key.Name) }

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

// refresh reads again what is in memory of some keys, as another program may have changed it.
type refresh struct{ getValues }

func (o *refresh) send(ctx context.Context, pipe redis.Pipeliner, sh *shelf) {
	known := o.keys[:0]
	for _, key := range o.keys {
		if r := sh.find(key.Namespace, key.Name); r != nil && !r.waits {
			known = append(known, key)
		}
	}
	if o.keys = known; len(known) > 0 {
		o.getValues.send(ctx, pipe, sh)
	}
}

func (o *refresh) receive(sh *shelf) error {
	if len(o.keys) == 0 {
		return nil
	}
	return o.getValues.receive(sh)
}

// local leaves it for later.
func (o *refresh) local(*shelf) error { return ErrUnavailable }

// forgetBotForm forgets the form of the bot of which a value is a step, unless it waits.
func (sh *shelf) forgetBotForm(namespace, name string) {
	if !strings.HasPrefix(name, stepPrefix) || !isUserNamespace(namespace) {
		return
	}
	if space := formsOf + strings.TrimPrefix(namespace, userPrefix); !sh.waitsFor(space, BotForm) {
		sh.forget(space, BotForm)
	}
}
