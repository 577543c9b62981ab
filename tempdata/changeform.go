package tempdata

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// formChange is one change of a form: "s" sets a step, "d" deletes it, "x" deletes the form; the others are form.lua's.
type formChange struct {
	what string
	step formStep
}

// changeForm changes a form, or reads it if there are no changes. With whole, its result is the form after that.
type changeForm struct {
	store     *Store
	key       FormKey
	condition string
	changes   []formChange
	at        time.Time
	ttl       time.Duration
	whole     bool
	// only is the name of the one step that is read, "" for all.
	only string

	form    *formMemory // what there is now; of its steps only all or none
	created bool

	known *formMemory
	tag   string
	reply *redis.Cmd
}

func (o *changeForm) size() int {
	n := 256
	for _, c := range o.changes {
		n += len(c.step.raw) + 64
	}
	return n
}

func (o *changeForm) send(ctx context.Context, pipe redis.Pipeliner, sh *shelf) {
	known := "?"
	if o.whole || sh != nil {
		known = ""
		if o.known = o.store.recallForm(sh, o.key); o.known != nil && o.known.whole {
			known = o.known.tag
		}
	}
	keys, space := o.store.formKeys(o.key)
	o.tag = newTag()
	args := []any{
		o.condition, o.tag, stamp(o.at), o.ttl.Milliseconds(), space, o.key.Form, known, MaxSteps, MaxValueSize,
	}
	for _, c := range o.changes {
		args = append(args, c.what, c.step.name, c.step.raw)
	}
	if o.only != "" && o.store.botsForm(o.key) {
		args = append(args, "g", o.only, "")
	}
	o.reply = pipe.EvalSha(ctx, o.store.formScriptOf(o.key).Hash(), keys, args...)
}

func (s *Store) formScriptOf(key FormKey) *redis.Script {
	if s.botsForm(key) {
		return botFormScript
	}
	return formScript
}

func (o *changeForm) receive(sh *shelf) error {
	r, err := readFormReply(o.reply)
	if err != nil {
		return err
	}
	space := formSpace(o.key.UserID)
	if err := r.failure(); err != nil {
		if errors.Is(err, ErrNotFound) && r.before == "" {
			sh.forget(space, o.key.Form)
		}
		return err
	}
	o.created = r.before == ""
	if r.after == "" {
		sh.forget(space, o.key.Form)
		o.form = &formMemory{at: o.at, expires: o.at.Add(o.ttl)} // The bot has no form without steps.
		return nil
	}
	m := &formMemory{store: o.store, key: o.key, tag: r.after, at: r.changed, expires: time.Now().Add(kept(r.left)), whole: true, asked: o.at}
	switch {
	case len(r.steps) > 0:
		if m.steps, err = o.store.decodeSteps(o.key, r.steps); err != nil {
			if m.steps, err = o.readable(r.steps, err); err != nil {
				return err
			}
			m.whole = false
		}
	case o.known != nil && o.known.tag == r.before:
		m.steps = applied(o.known.steps, o.changes)
	default:
		m.whole = o.created || o.whole
		m.steps = applied(nil, o.changes)
	}
	m.settle()
	if o.form = m; m.whole {
		own := *m
		sh.keep(space, o.key.Form, &own)
	} else {
		sh.forget(space, o.key.Form)
	}
	return nil
}

// readable returns the steps that the operation needs of those of which one cannot be read, for which err tells why.
func (o *changeForm) readable(pairs []string, err error) ([]formStep, error) {
	if o.whole {
		return nil, err
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == o.only {
			return o.store.decodeSteps(o.key, pairs[i:i+2])
		}
	}
	return nil, nil
}

// applied returns the steps after changes, in a slice of its own.
func applied(steps []formStep, changes []formChange) []formStep {
	steps = slices.Clone(steps)
	for _, c := range changes {
		i := slices.IndexFunc(steps, func(s formStep) bool { return s.name == c.step.name })
		switch {
		case c.what == "x":
			steps = nil
		case c.what == "s" && i >= 0:
			steps[i] = c.step
		case c.what == "s":
			steps = append(steps, c.step)
		case i >= 0:
			steps = slices.Delete(steps, i, i+1)
		}
	}
	return steps
}

func (o *changeForm) local(sh *shelf) error {
	m := o.store.recallForm(sh, o.key)
	if m == nil {
		m = &formMemory{store: o.store, key: o.key}
	}
	if !m.whole && !o.blind(m) {
		return ErrUnavailable
	}
	if !met(o.condition, m.tag) {
		return &PreconditionError{quoted(m.tag)}
	}
	exists := m.tag != ""
	if o.created = !exists; len(o.changes) == 0 {
		if !exists {
			return ErrNotFound
		}
		form := *m // The shelf may change its own.
		o.form = &form
		return nil
	}
	next := *m
	next.steps, next.changed = applied(m.steps, o.changes), maps.Clone(m.changed)
	if next.changed == nil {
		next.changed = map[string]time.Time{}
	}
	for _, c := range o.changes {
		switch {
		case c.what == "x" && !exists && m.whole:
			return ErrNotFound
		case c.what == "x":
			next.deleted, next.whole = o.at, true
			for _, step := range m.steps {
				next.changed[step.name] = o.at
			}
			continue
		case c.what == "d" && m.step(c.step.name) < 0:
			return errNoStep(exists)
		}
		next.changed[c.step.name] = o.at
	}
	total := 0
	for _, step := range next.steps {
		total += len(step.data)
	}
	switch {
	case len(next.steps) > MaxSteps:
		return errTooManySteps()
	case total > MaxValueSize:
		return errFormTooLarge()
	}
	next.tag, next.at, next.expires = newTag(), o.at, o.at.Add(o.ttl)
	if o.changes[0].what == "x" {
		next.tag = ""
	}
	if !sh.makeRoom(next.size() + recordSize) {
		return ErrFull
	}
	sh.await(formSpace(o.key.UserID), o.key.Form, &next)
	form := next
	o.form = &form
	return nil
}

func (o *changeForm) waits(sh *shelf) bool { return o.store.formWaits(sh, o.key) }

// formWaits reports whether a form waits for Redis.
func (s *Store) formWaits(sh *shelf, key FormKey) bool {
	return sh.waitsFor(formSpace(key.UserID), key.Form)
}

// blind reports whether the operation can be done without knowing the whole form: to put steps, whatever others there are,
// to delete the form, or to read a step that is known.
func (o *changeForm) blind(m *formMemory) bool {
	if o.condition != "" || o.whole {
		return false
	}
	for _, c := range o.changes {
		if c.what == "d" && m.step(c.step.name) < 0 || c.what == "x" && o.store.botsForm(o.key) {
			return false
		}
	}
	return len(o.changes) > 0 || o.only != "" && m.step(o.only) >= 0
}

// one reports whether the operation is about steps that it names, whatever others there are.
func (o *changeForm) one() bool {
	return o.condition == "" && !o.whole && (o.only != "" || len(o.changes) > 0 && o.changes[0].what != "x")
}

// errNoStep says that a step is not there, and whether its form is.
func errNoStep(form bool) error {
	if form {
		return ErrNoStep
	}
	return ErrNotFound
}

func errTooManySteps() error {
	return fmt.Errorf("%w: a form has at most %d steps", ErrTooLarge, MaxSteps)
}

func errFormTooLarge() error {
	return fmt.Errorf("%w: the steps of a form have at most %d bytes together", ErrTooLarge, MaxValueSize)
}

// formReply is what form.lua and botform.lua return.
type formReply struct {
	status, before, after string
	changed               time.Time
	left                  time.Duration
	id                    string
	steps                 []string // name, value, name, value, …
}

func readFormReply(cmd *redis.Cmd) (r formReply, err error) {
	if err := replyError(cmd.Err()); err != nil {
		return r, err
	}
	reply, err := cmd.Slice()
	if err != nil {
		return r, errReply
	}
	text := func(i int) string {
		if i >= len(reply) {
			return ""
		}
		switch v := reply[i].(type) {
		case string:
			return v
		case int64:
			return strconv.FormatInt(v, 10)
		}
		return ""
	}
	left, _ := strconv.ParseInt(text(4), 10, 64)
	r.status, r.before, r.after, r.left, r.id = text(0), text(1), text(2), time.Duration(left)*time.Millisecond, text(5)
	r.changed, _ = parseStamp(text(3))
	for i := 6; i+1 < len(reply); i += 2 {
		name, ok := reply[i].(string)
		value, ok2 := reply[i+1].(string)
		if !ok || !ok2 {
			return r, errReply
		}
		r.steps = append(r.steps, name, value)
	}
	return r, nil
}

// failure returns the error that a reply is.
func (r *formReply) failure() error {
	switch r.status {
	case "ok", "again":
		return nil
	case "unmet":
		return &PreconditionError{quoted(r.before)}
	case "noform":
		return errNoStep(false)
	case "reused":
		return ErrKeyReused
	case "nostep":
		return errNoStep(true)
	case "steps":
		return errTooManySteps()
	case "bytes":
		return errFormTooLarge()
	}
	return errReply
}

// refreshForm reads the bot's form again if it is in memory, as the bot may have changed it.
type refreshForm struct{ changeForm }

func (o *refreshForm) send(ctx context.Context, pipe redis.Pipeliner, sh *shelf) {
	space := formSpace(o.key.UserID)
	if r := sh.find(space, o.key.Form); r != nil && !r.waits {
		o.changeForm.send(ctx, pipe, sh)
	}
}

func (o *refreshForm) receive(sh *shelf) error {
	if o.reply == nil {
		return nil
	}
	err := o.changeForm.receive(sh)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnreadable) {
		return nil
	}
	return err
}

// local leaves it for later.
func (o *refreshForm) local(*shelf) error { return ErrUnavailable }
