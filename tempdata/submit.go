package tempdata

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// submittedSpace is the list of a user's forms that were submitted lately.
func submittedSpace(userID int64) string { return submittedOf + strconv.FormatInt(userID, 10) }

// submitForm takes a form out, puts it back or notes that it is done: see form.lua.
type submitForm struct {
	store *Store
	key   FormKey
	// idempotency is the hash of the IdempotencyKey, "" for none.
	idempotency string
	condition   string
	largest     int
	args        []any

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
	// What is submitted with a key is kept under the key, so that no other submission takes its place.
	record := o.key.Form
	if o.idempotency != "" {
		record += "/" + o.idempotency
	}
	kept := submittedSpace(o.key.UserID)
	before, _ := o.store.around(kept)
	keys = append(keys, before+record, o.store.indexKey(kept), o.store.listsKey(kept))
	args := append([]any{
		o.condition, newTag(), stamp(time.Now()), ttl.Milliseconds(), space, o.key.Form, "?", MaxSteps, o.largest,
	}, o.args...)
	args = append(args, kept, record)
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
	if !o.waits(sh) {
		sh.forget(formSpace(o.key.UserID), o.key.Form)
	}
	o.form, o.id, o.again = &formMemory{at: r.changed}, r.id, r.status == "again"
	if o.form.steps, err = o.store.decodeSteps(o.key, r.steps); err != nil {
		return err
	}
	o.form.settle()
	return nil
}

// local refuses: in memory nobody can know that the form is not submitted elsewhere too.
func (o *submitForm) local(sh *shelf) error {
	if o.args[0] == "r" {
		id, _ := o.args[1].(string)
		sh.await(submittedSpace(o.key.UserID), id, &putBackMemory{o})
		return nil
	}
	if space := formSpace(o.key.UserID); o.reply != nil && !sh.waitsFor(space, o.key.Form) {
		sh.forget(space, o.key.Form) // It may be submitted.
	}
	return ErrUnavailable
}

func (o *submitForm) waits(sh *shelf) bool { return o.store.formWaits(sh, o.key) }

// putBackMemory is a form that is put back when Redis is.
type putBackMemory struct{ op *submitForm }

func (m *putBackMemory) size() int64 { return int64(m.op.size()) }

func (m *putBackMemory) newer(string) bool { return false }

func (m *putBackMemory) doubt(time.Time) bool { return false }

func (m *putBackMemory) restore(r *record) restoration {
	return &restorePutBack{submitForm: *m.op, record: r}
}

// restorePutBack puts a form back.
type restorePutBack struct {
	submitForm
	record *record
}

func (o *restorePutBack) receive(sh *shelf) error {
	if err := o.submitForm.receive(sh); err != nil {
		return err
	}
	sh.drop(o.record)
	return nil
}

func (o *restorePutBack) local(*shelf) error { return ErrUnavailable }

func (o *restorePutBack) abandon(sh *shelf) { sh.drop(o.record) }
