package tempdata

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// newTag returns an entity tag that nothing else has.
func newTag() string {
	var random [tagSize/2 + 6]byte
	binary.BigEndian.PutUint64(random[:], rand.Uint64())  //nolint:gosec // G404: it only has to be unlike others.
	binary.BigEndian.PutUint64(random[8:], rand.Uint64()) //nolint:gosec // G404: as above.
	return hex.EncodeToString(random[:tagSize/2])
}

// stamp writes a time so that later ones are greater as texts: 16 digits of microseconds.
func stamp(at time.Time) string {
	const digits = 16
	text := strconv.FormatInt(max(at.UnixMicro(), 0), 10)
	return strings.Repeat("0", max(digits-len(text), 0)) + text
}

// parseStamp is the reverse of stamp, for what begins with one.
func parseStamp(text string) (time.Time, bool) {
	if len(text) < 16 {
		return time.Time{}, false
	}
	n, err := strconv.ParseInt(text[:16], 10, 64)
	return time.UnixMicro(n).UTC(), err == nil && n >= 0
}

// formStep is a step as it is kept.
type formStep struct {
	name, raw string
	data      []byte
	at        time.Time
}

// botsForm reports whether a form is that of the bot.
func (s *Store) botsForm(key FormKey) bool { return s.cfg.Django && key.Form == BotForm }

func stepKey(key FormKey, step string) Key { return Key{UserNamespace(key.UserID), stepPrefix + step} }

func (s *Store) encodeStep(key FormKey, step string, data []byte, at time.Time) (formStep, error) {
	if !s.botsForm(key) {
		return formStep{step, stamp(at) + " " + string(data), data, at}, nil
	}
	raw, err := s.layout.encode(stepKey(key, step), data, at)
	return formStep{step, string(raw), data, at}, err
}

func (s *Store) decodeStep(key FormKey, step, raw string) (formStep, error) {
	if s.botsForm(key) {
		c, err := s.decode(stepKey(key, step), raw)
		return formStep{step, raw, c.data, c.at}, err
	}
	at, ok := parseStamp(raw)
	if !ok || len(raw) < 18 || raw[16] != ' ' {
		s.count.unreadable.Add(1)
		return formStep{}, fmt.Errorf("%w: a step of a form", ErrUnreadable)
	}
	return formStep{step, raw, []byte(raw[17:]), at}, nil
}

// decodeSteps decodes names and values in turn. The steps of the bot come in the order in which they were put.
func (s *Store) decodeSteps(key FormKey, pairs []string) (steps []formStep, err error) {
	for i := 0; i+1 < len(pairs); i += 2 {
		step, err := s.decodeStep(key, pairs[i], pairs[i+1])
		if err != nil {
			return nil, err
		}
		steps = append(steps, step)
	}
	if s.botsForm(key) {
		slices.SortStableFunc(steps, func(a, b formStep) int { return a.at.Compare(b.at) })
	}
	return steps, nil
}

// formKeys returns the keys for the scripts, and the space whose list the form is in.
func (s *Store) formKeys(key FormKey) (keys []string, space string) {
	form := strconv.FormatInt(key.UserID, 10) + "/" + key.Form
	space, at := formSpace(key.UserID), s.cfg.Prefix+":form:"+form
	if s.botsForm(key) {
		space, at = s.valueSpace(UserNamespace(key.UserID)), s.layout.redisKey(stepKey(key, ""))
	}
	return []string{s.indexKey(space), s.listsKey(space), at, s.cfg.Prefix + ":ended:" + form}, space
}

// formMemory is what is known of a form.
type formMemory struct {
	store *Store
	key   FormKey
	// tag is "" if there is no form; then there are no steps.
	tag     string
	at      time.Time
	expires time.Time
	steps   []formStep
	// whole says that there are no other steps.
	whole bool
	// asked is when Redis was asked last.
	asked time.Time

	// changed holds, for each step that was put or deleted since Redis went away, when; deleted when the form was.
	changed map[string]time.Time
	deleted time.Time
}

func (m *formMemory) size() int64 {
	size := 200 + len(m.key.Form)
	for _, step := range m.steps {
		size += len(step.name) + len(step.raw) + len(step.data) + 150
	}
	for name := range m.changed {
		size += len(name) + 60
	}
	return int64(size)
}

// settle finds out when the form was changed, if nothing tells, as with the bot's.
func (m *formMemory) settle() {
	for _, step := range m.steps {
		if step.at.After(m.at) {
			m.at = step.at
		}
	}
}

func (m *formMemory) exists(now time.Time) bool { return m.tag != "" && now.Before(m.expires) }

// newer is false: forms are read by a script, which a server that restarted does not know.
func (m *formMemory) newer(string) bool { return false }

func (m *formMemory) doubt(now time.Time) bool {
	return m.whole && m.exists(now)
}

func (m *formMemory) step(name string) int {
	return slices.IndexFunc(m.steps, func(s formStep) bool { return s.name == name })
}

// form makes of what is known a Form.
func (m *formMemory) form() Form {
	f := Form{UpdatedAt: m.at, ExpiresIn: max(time.Until(m.expires), 0), ETag: quoted(m.tag)}
	for _, step := range m.steps {
		f.Steps = append(f.Steps, Step{step.name, step.data})
	}
	return f
}

// recallForm returns what is known of a form, nil if nothing.
func (s *Store) recallForm(sh *shelf, key FormKey) *formMemory {
	r := sh.find(formSpace(key.UserID), key.Form)
	if r == nil {
		return nil
	}
	m, _ := r.memory.(*formMemory)
	if m.tag == "" || time.Now().Before(m.expires) {
		return m
	}
	if !r.waits {
		sh.drop(r)
		return nil
	}
	m.tag, m.steps, m.whole, m.deleted, m.changed = "", nil, true, m.at, nil // It has expired.
	return m
}

// restore returns what puts the form back.
func (m *formMemory) restore(r *record) restoration { return &restoreForm{memory: m, record: r} }

// restoreForm puts back into Redis what was changed of a form while it was away.
type restoreForm struct {
	memory *formMemory
	record *record
	reply  *redis.Cmd
}

func (o *restoreForm) size() int { return int(o.memory.size()) }

func (o *restoreForm) send(ctx context.Context, pipe redis.Pipeliner, _ *shelf) {
	m := o.memory
	keys, space := m.store.formKeys(m.key)
	flag := func(at time.Time) string {
		if at.IsZero() {
			return ""
		}
		return stamp(at)
	}
	deleted, ttl := m.deleted, time.Until(m.expires).Milliseconds()
	steps, changed := m.steps, m.changed
	if m.tag != "" && ttl <= 0 { // It has expired, and so has what it was before.
		deleted, steps, changed = m.at, nil, nil
	}
	args := []any{space, m.key.Form, m.tag, stamp(m.at), max(ttl, 1), flag(deleted), newTag(), stamp(m.asked)}
	for _, step := range steps {
		args = append(args, step.name, flag(changed[step.name]), step.raw)
	}
	for name, at := range changed {
		if m.step(name) < 0 {
			args = append(args, name, flag(at), "")
		}
	}
	script := restoreFormScript
	if m.store.botsForm(m.key) {
		script = restoreBotFormScript
	}
	o.reply = pipe.EvalSha(ctx, script.Hash(), keys, args...)
}

func (o *restoreForm) receive(sh *shelf) error {
	if err := replyError(o.reply.Err()); err != nil {
		return err
	}
	alike, err := o.reply.Int64()
	if err != nil {
		return errReply
	}
	m := o.memory
	if o.record.memory != memory(m) {
		return nil
	}
	if len(m.changed) > 0 || !m.deleted.IsZero() {
		m.store.count.restored.Add(1)
	}
	if alike != 1 || m.tag == "" {
		sh.drop(o.record) // What Redis has now is read when it is asked for.
		return nil
	}
	m.changed, m.deleted = nil, time.Time{}
	sh.settled(o.record)
	return nil
}

func (o *restoreForm) abandon(sh *shelf) { sh.drop(o.record) }

func (o *restoreForm) local(*shelf) error { return ErrUnavailable }

func (o *restoreForm) waits(*shelf) bool { return true }
