package tempdata

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
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

// resumeAfter is how long a submission is left to the call that began it, and may be publishing it, before another that
// has not its IdempotencyKey takes it over.
const resumeAfter = 10 * time.Second

// submittedTTL is how long a form is kept after it was submitted, for calls that come again.
const submittedTTL = time.Hour

// Submit takes a form out and returns it. Of several calls at once one gets it, the others ErrNotFound; with the same
// IdempotencyKey, within an hour, all do. One whose call ended with the process, before Publish returned, is returned by a
// call 10 s later. While Redis is away nothing is taken out. It returns InvalidError, ErrNotFound,
// ErrTooLarge, PreconditionError, ErrUnreadable, ErrUnavailable, after which the form may have been taken out so that only
// the same IdempotencyKey gets it, or what Publish returned.
func (s *Store) Submit(ctx context.Context, submit Submit) (Submission, error) {
	var wrong problems
	s.checkForm(&wrong, submit.FormKey)
	if key := submit.IdempotencyKey; key != "" {
		wrong.add(len(key) <= 255, "Idempotency-Key", "must have 1 to 255 bytes")
	}
	if err := wrong.err(); err != nil {
		return Submission{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Submission{}, err
	}
	key := ""
	if submit.IdempotencyKey != "" {
		key = tagOf(submit.IdempotencyKey)
	}
	fingerprint := tagOf(submit.Fingerprint)
	done, largest := "1", MaxSteps*MaxValueSize
	if submit.Publish != nil {
		done = "0"
		if submit.MaxSize > 0 {
			largest = submit.MaxSize
		}
	}
	op := &submitForm{
		key: submit.FormKey, idempotency: key, condition: submit.Condition.code(), largest: largest,
		args: []any{"m", id.String(), fingerprint, done, resumeAfter.Microseconds()},
	}
	if err := s.submit(ctx, op); err != nil {
		if errors.Is(err, ErrUnreadable) && !op.again { // Nobody got it: it is put back as it was.
			err = errors.Join(err, s.putBack(ctx, op))
		}
		return Submission{}, err
	}
	out := Submission{ID: op.id, Form: op.form.form(), Duplicate: op.again}
	out.ExpiresIn, out.ETag = 0, ""
	s.count.submitted.Add(1)
	if submit.Publish == nil {
		return out, nil
	}
	if err := submit.Publish(out); err != nil {
		if !op.again {
			err = errors.Join(err, s.putBack(ctx, op))
		}
		return Submission{}, err
	}
	// If this fails the next call may publish the event again, which has an ID.
	_ = s.submit(ctx, &submitForm{key: submit.FormKey, idempotency: key, args: []any{"f", op.id, ""}})
	return out, nil
}

// putBack puts a form back that was taken out, at the latest when Redis is back.
func (s *Store) putBack(ctx context.Context, op *submitForm) error {
	back := &submitForm{key: op.key, idempotency: op.idempotency, args: []any{"r", op.id, ""}}
	if err := s.submit(ctx, back); err != nil {
		return fmt.Errorf("%w: the form is not put back yet", ErrUnavailable)
	}
	return nil
}

func (s *Store) submit(ctx context.Context, op *submitForm) error {
	if s.botsForm(op.key) && op.args[0] == "m" {
		if err := s.synced(ctx, s.valueSpace(UserNamespace(op.key.UserID))); err != nil {
			return err
		}
	}
	op.store = s
	_, err := s.do(ctx, UserNamespace(op.key.UserID), op, &s.count.writes)
	return err
}
