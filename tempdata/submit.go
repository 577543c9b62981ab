package tempdata

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// submitForm takes a form out, puts it back or notes that it is done: see form.lua.
type submitForm struct {
	store     *Store
	key       FormKey
	condition string
	largest   int
	args      []any

	form  *formMemory
	id    string
	again bool

	reply *redis.Cmd
}

func (o *submitForm) size() int { return 256 }

func (o *submitForm) send(ctx context.Context, pipe redis.Pipeliner, _ *shelf) {
	keys, space := o.store.formKeys(o.key)
	ttl := submittedTTL
	if o.args[0] == "r" {
		ttl = formTTL
	}
	args := append([]any{
		o.condition, newTag(), stamp(time.Now()), ttl.Milliseconds(), space, o.key.Form, "?", MaxSteps, o.largest,
	}, o.args...)
	o.reply = pipe.EvalSha(ctx, o.store.formScriptOf(o.key).Hash(), keys, args...)
}

func (o *submitForm) receive(sh *shelf) error {
	r, err := readFormReply(o.reply)
	if err != nil {
		return err
	}
	if err := r.failure(); err != nil {
		return err
	}
	sh.forget(formSpace(o.key.UserID), o.key.Form)
	o.form, o.id, o.again = &formMemory{at: r.changed}, r.id, r.status == "again"
	if o.form.steps, err = o.store.decodeSteps(o.key, r.steps); err != nil {
		return err
	}
	o.form.settle()
	return nil
}

// local refuses: in memory nobody can know that the form is not submitted elsewhere too.
func (o *submitForm) local(sh *shelf) error {
	if o.reply == nil {
		return ErrNotDone
	}
	if space := formSpace(o.key.UserID); !sh.waitsFor(space, o.key.Form) {
		sh.forget(space, o.key.Form) // It may be submitted.
	}
	return ErrUnavailable
}

func (o *submitForm) waits(sh *shelf) bool { return o.store.formWaits(sh, o.key) }
