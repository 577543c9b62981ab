package tempdata

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

func (s *Store) checkForm(p *problems, key FormKey) {
	p.add(key.UserID > 0, "user_id", wantUserID)
	p.add(isName(key.Form), "form", wantName)
}

// checkStep checks the name of a step, which with the bot becomes a part of a key's name.
func checkStep(p *problems, field, step string) {
	p.add(isName(step) && len(step) <= MaxNameSize-len(stepPrefix), field, "must be 1 to 118 ASCII letters, digits and _ . : - (but not . or ..)")
}

// changeForm does an operation on a form.
func (s *Store) changeForm(ctx context.Context, op *changeForm) (degraded bool, err error) {
	if s.botsForm(op.key) && !s.outage.on() {
		if err := s.synced(ctx, s.valueSpace(UserNamespace(op.key.UserID))); err != nil && !s.outage.on() && !op.one() {
			return false, err
		}
	}
	op.store, op.at = s, time.Now()
	for i, c := range op.changes {
		if c.what == "s" {
			if op.changes[i].step, err = s.encodeStep(op.key, c.step.name, c.step.data, op.at); err != nil {
				return false, err
			}
		}
	}
	counter := &s.count.reads
	if len(op.changes) > 0 {
		counter = &s.count.writes
	}
	return s.do(ctx, UserNamespace(op.key.UserID), op, counter)
}

// Form returns a form. It returns InvalidError, ErrNotFound, ErrUnreadable or ErrUnavailable.
func (s *Store) Form(ctx context.Context, key FormKey) (Form, error) {
	var wrong problems
	s.checkForm(&wrong, key)
	if err := wrong.err(); err != nil {
		return Form{}, err
	}
	op := &changeForm{key: key, whole: true}
	degraded, err := s.changeForm(ctx, op)
	if err != nil {
		return Form{}, err
	}
	return op.result(degraded), nil
}

func (o *changeForm) result(degraded bool) Form {
	f := o.form.form()
	f.Degraded = degraded
	return f
}

// Step returns one step of a form. It returns what Form does.
func (s *Store) Step(ctx context.Context, key FormKey, step string) (StepValue, error) {
	var wrong problems
	s.checkForm(&wrong, key)
	checkStep(&wrong, "step", step)
	if err := wrong.err(); err != nil {
		return StepValue{}, err
	}
	op := &changeForm{key: key, only: step}
	degraded, err := s.changeForm(ctx, op)
	if err != nil {
		return StepValue{}, err
	}
	i := op.form.step(step)
	if i < 0 {
		return StepValue{}, fromMemory(degraded, ErrNoStep)
	}
	f := op.form.form()
	return StepValue{Step: Step{step, op.form.steps[i].data}, ETag: f.ETag, ExpiresIn: f.ExpiresIn, Degraded: degraded}, nil
}

// PutStep sets one step of a form; its TTL begins anew. It returns InvalidError, ErrMalformed, ErrTooLarge,
// PreconditionError, ErrUnavailable or ErrFull.
func (s *Store) PutStep(ctx context.Context, put PutStep) (Written, error) {
	var wrong problems
	s.checkForm(&wrong, put.FormKey)
	checkStep(&wrong, "step", put.Name)
	ttl := wrong.ttl("ttl", put.TTL, formTTL)
	if err := wrong.err(); err != nil {
		return Written{}, err
	}
	data, err := compact(put.Data, MaxValueSize)
	if err != nil {
		return Written{}, err
	}
	return s.writeForm(ctx, &changeForm{
		key: put.FormKey, condition: put.Condition.code(), ttl: ttl,
		changes: []formChange{{"s", formStep{name: put.Name, data: data}}},
	})
}

func (s *Store) writeForm(ctx context.Context, op *changeForm) (Written, error) {
	degraded, err := s.changeForm(ctx, op)
	if err != nil {
		return Written{}, err
	}
	return Written{ETag: quoted(op.form.tag), ExpiresIn: op.ttl, Created: op.created, Degraded: degraded}, nil
}

// DeleteStep deletes one step of a form; the TTL of the others begins anew. It returns what PutStep does, and ErrNotFound.
func (s *Store) DeleteStep(ctx context.Context, key FormKey, step string, condition Condition) (Written, error) {
	var wrong problems
	s.checkForm(&wrong, key)
	checkStep(&wrong, "step", step)
	if err := wrong.err(); err != nil {
		return Written{}, err
	}
	return s.writeForm(ctx, &changeForm{
		key: key, condition: condition.code(), ttl: formTTL, changes: []formChange{{"d", formStep{name: step}}},
	})
}

// DeleteForm deletes a form. It returns what DeleteStep does.
func (s *Store) DeleteForm(ctx context.Context, key FormKey, condition Condition) (Written, error) {
	var wrong problems
	s.checkForm(&wrong, key)
	if err := wrong.err(); err != nil {
		return Written{}, err
	}
	written, err := s.writeForm(ctx, &changeForm{
		key: key, condition: condition.code(), changes: []formChange{{what: "x"}},
	})
	return Written{Degraded: written.Degraded}, err
}

// patience is how often a change is tried that others forestall.
const patience = 50

// edit changes a form by what it is now. Change may be called several times; the form is as it was when change was called
// last.
func (s *Store) edit(
	ctx context.Context, key FormKey, condition Condition, ttl time.Duration, change func(before Form, exists bool) ([]formChange, error),
) (Form, error) {
	var wrong problems
	s.checkForm(&wrong, key)
	ttl = wrong.ttl("ttl", ttl, formTTL)
	if err := wrong.err(); err != nil {
		return Form{}, err
	}
	for range patience {
		before, err := s.Form(ctx, key)
		exists := err == nil
		if err != nil && !errors.Is(err, ErrNotFound) {
			return Form{}, err
		}
		if !met(condition.code(), strings.Trim(before.ETag, `"`)) {
			return Form{}, &PreconditionError{before.ETag}
		}
		changes, err := change(before, exists)
		if err != nil {
			return Form{}, err
		}
		op := &changeForm{key: key, condition: hasTag(before.ETag), ttl: ttl, changes: changes, whole: true}
		if len(changes) == 0 && exists {
			return before, nil
		}
		degraded, err := s.changeForm(ctx, op)
		var unmet *PreconditionError
		if err == nil {
			return op.result(degraded), nil
		}
		if !errors.As(err, &unmet) {
			return Form{}, err
		}
	}
	s.count.contended.Add(1)
	return Form{}, ErrContended
}

// Back deletes the step that was put first last, and returns its name and the form after that. It returns what DeleteStep
// does, ErrNotFound also when there is no step, and ErrContended.
func (s *Store) Back(ctx context.Context, key FormKey, condition Condition) (removed string, after Form, err error) {
	after, err = s.edit(ctx, key, condition, 0, func(before Form, exists bool) ([]formChange, error) {
		switch {
		case !exists:
			return nil, ErrNotFound
		case len(before.Steps) == 0:
			return nil, ErrNoStep
		}
		removed = before.Steps[len(before.Steps)-1].Name
		return []formChange{{"d", formStep{name: removed}}}, nil
	})
	return removed, after, err
}

// PatchForm changes a form by a JSON merge patch, and returns it. It returns what PutStep does, and ErrContended.
func (s *Store) PatchForm(ctx context.Context, p PatchForm) (Form, error) {
	patch, err := compact(p.Patch, MaxValueSize)
	if err != nil {
		return Form{}, err
	}
	patches, all, err := readFormPatch(patch)
	var invalid *InvalidError
	var wrong problems
	switch {
	case errors.As(err, &invalid):
		wrong = invalid.Fields
	case err != nil:
		return Form{}, err
	}
	s.checkForm(&wrong, p.FormKey)
	wrong.ttl("ttl", p.TTL, formTTL)
	if err := wrong.err(); err != nil {
		return Form{}, err
	}
	return s.edit(ctx, p.FormKey, p.Condition, p.TTL, func(before Form, exists bool) ([]formChange, error) {
		if !exists && len(patches) == 0 {
			return nil, ErrNotFound // There is nothing that a form could begin with.
		}
		return formChanges(before, patches, all)
	})
}

// stepPatch is what a patch does to a step.
type stepPatch struct {
	name  string
	patch []byte
}

const wantSteps = `is not known; a patch changes steps, such as {"steps":{"profile":{"name":"Анна"}}}`

// memberName makes a member's name fit to be repeated.
func memberName(name string) string {
	if isName(name) {
		return name
	}
	return strconv.Quote(strings.ToValidUTF8(name[:min(len(name), MaxNameSize)], ""))
}

// readFormPatch reads {"steps": {name: patch}}. All says that steps is null, so that all steps go.
func readFormPatch(patch []byte) (steps []stepPatch, all bool, err error) {
	var wrong problems
	members, err := objectMembers(patch)
	if err != nil {
		return nil, false, fmt.Errorf("%w: want an object", ErrMalformed)
	}
	for _, m := range members {
		switch {
		case m.name != "steps":
			wrong.add(false, memberName(m.name), wantSteps)
		case string(m.patch) == "null":
			all = true
		default:
			if steps, err = objectMembers(m.patch); err != nil {
				wrong.add(false, "steps", "must be an object of steps, or null")
			}
		}
	}
	set := 0
	for _, step := range steps {
		if string(step.patch) != "null" {
			set++
		}
		if len(wrong) > maxWrong {
			break
		}
		checkStep(&wrong, "steps."+memberName(step.name), step.name)
	}
	if err := wrong.err(); err != nil {
		return nil, false, err
	}
	if set > MaxSteps {
		return nil, false, errTooManySteps()
	}
	return steps, all, nil
}

// maxWrong bounds how much is told to be wrong, about.
const maxWrong = 20

// objectMembers reads the members of an object that compact returned.
func objectMembers(object []byte) (members []stepPatch, err error) {
	dec := jsontext.NewDecoder(bytes.NewReader(object))
	if dec.PeekKind() != '{' {
		return nil, ErrMalformed
	}
	_, _ = dec.ReadToken() // The brace that PeekKind saw.
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		member := stepPatch{name: name.String()}
		value, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		member.patch = bytes.Clone(value)
		members = append(members, member)
	}
	return members, nil
}

// formChanges makes of patches what changes the steps that a form has.
func formChanges(before Form, patches []stepPatch, all bool) (changes []formChange, err error) {
	now := map[string][]byte{}
	for _, step := range before.Steps {
		if now[step.Name] = step.Data; all {
			changes = append(changes, formChange{"d", formStep{name: step.Name}})
		}
	}
	for _, p := range patches {
		data, exists := now[p.name]
		if string(p.patch) == "null" {
			if exists {
				changes = append(changes, formChange{"d", formStep{name: p.name}})
			}
			continue
		}
		after, err := mergePatch(data, p.patch)
		if err != nil {
			return nil, err
		}
		if len(after) > MaxValueSize {
			return nil, errFormTooLarge()
		}
		changes = append(changes, formChange{"s", formStep{name: p.name, data: after}})
	}
	return changes, nil
}

// Forms returns a page of a user's forms, as List does of keys.
func (s *Store) Forms(ctx context.Context, userID int64, cursor string, limit int) (Page, error) {
	var wrong problems
	wrong.add(userID > 0, "user_id", wantUserID)
	page, err := s.list(ctx, &wrong, formSpace(userID), cursor, limit)
	if err != nil || !s.cfg.Django || cursor != "" {
		return page, err
	}
	bots := &changeForm{key: FormKey{userID, BotForm}} // Whose steps need not be readable.
	switch _, err := s.changeForm(ctx, bots); {
	case errors.Is(err, ErrNotFound):
		return page, nil
	case err != nil:
		return Page{}, err
	}
	page.Items = append([]Listed{{BotForm, bots.form.form().ExpiresIn}}, page.Items...)
	return page, nil
}

// ClearForms deletes all forms of a user, also what is kept of those that were submitted, and returns how many there were. It
// returns what Clear does.
func (s *Store) ClearForms(ctx context.Context, userID int64) (int, error) {
	if userID <= 0 {
		return 0, invalid("user_id", wantUserID)
	}
	if _, err := s.clear(ctx, submittedSpace(userID), ""); err != nil {
		return 0, err
	}
	n, err := s.clear(ctx, formSpace(userID), "")
	if err != nil || !s.cfg.Django {
		return n, err
	}
	switch _, err := s.DeleteForm(ctx, FormKey{userID, BotForm}, Condition{}); {
	case err == nil:
		return n + 1, nil
	case errors.Is(err, ErrNotFound):
		return n, nil
	default:
		return n, err
	}
}
