package tempdata_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/tempdata"
)

func putStep(tb testing.TB, s *tempdata.Store, key tempdata.FormKey, step, data string) tempdata.Written {
	tb.Helper()
	w, err := s.PutStep(tb.Context(), tempdata.PutStep{FormKey: key, Step: tempdata.Step{Name: step, Data: []byte(data)}})
	if err != nil {
		tb.Fatalf("put %s: %v", step, err)
	}
	return w
}

// steps are those of a form as text.
func steps(f tempdata.Form) (text string) {
	for _, step := range f.Steps {
		text += step.Name + "=" + string(step.Data) + " "
	}
	return text
}

func wantForm(tb testing.TB, s *tempdata.Store, key tempdata.FormKey, want string) tempdata.Form {
	tb.Helper()
	f, err := s.Form(tb.Context(), key)
	if err != nil {
		tb.Fatal(err)
	}
	if got := steps(f); got != want {
		tb.Errorf("the form is %q, want %q", got, want)
	}
	return f
}

// everyForm runs a test with a form of the hub and with that of the bot.
func everyForm(t *testing.T, test func(*testing.T, *tempdata.Store, tempdata.FormKey)) {
	t.Helper()
	layouts(t, func(t *testing.T, s *tempdata.Store) {
		t.Helper()
		test(t, s, tempdata.FormKey{UserID: 123, Form: tempdata.BotForm})
	})
}

func TestForm(t *testing.T) {
	t.Parallel()
	everyForm(t, func(t *testing.T, s *tempdata.Store, key tempdata.FormKey) {
		t.Helper()
		_, err := s.Form(t.Context(), key)
		wantError(t, err, tempdata.ErrNotFound)
		first := putStep(t, s, key, "who", `{"name":"Анна"}`)
		if !first.Created || first.ExpiresIn != time.Hour {
			t.Errorf("the first put gave %+v", first)
		}
		second := putStep(t, s, key, "what", `["coffee","chess"]`)
		if second.Created || second.ETag == first.ETag {
			t.Errorf("the second put gave %+v", second)
		}
		f := wantForm(t, s, key, `who={"name":"Анна"} what=["coffee","chess"] `)
		if f.ETag != second.ETag || f.ExpiresIn <= time.Hour-soon || time.Since(f.UpdatedAt) > soon {
			t.Errorf("got %+v", f)
		}
		step, err := s.Step(t.Context(), key, "what")
		if err != nil || string(step.Data) != `["coffee","chess"]` || step.ETag != f.ETag {
			t.Errorf("the step is %+v, %v", step, err)
		}
		_, err = s.Step(t.Context(), key, "when")
		wantError(t, err, tempdata.ErrNotFound)
		_, err = s.PutStep(t.Context(), tempdata.PutStep{
			FormKey: key, Step: tempdata.Step{Name: "who", Data: []byte("1")}, Condition: tempdata.Condition{Tags: []string{first.ETag}},
		})
		if tag := unmet(t, err); tag != second.ETag {
			t.Errorf("the current tag is %s, want %s", tag, second.ETag)
		}
		if _, err := s.PatchForm(t.Context(), tempdata.PatchForm{
			FormKey: key, Patch: []byte(`{"steps":{"who":{"age":30},"what":null}}`),
		}); err != nil {
			t.Error(err)
		}
		patched, err := s.PatchForm(t.Context(), tempdata.PatchForm{FormKey: key, Patch: []byte(`{"steps":{"when":"12:30"}}`)})
		if err != nil || steps(patched) != `who={"name":"Анна","age":30} when="12:30" ` {
			t.Errorf("the patch made %q, %v", steps(patched), err)
		}
		removed, after, err := s.Back(t.Context(), key, tempdata.Condition{})
		if err != nil || removed != "when" || steps(after) != `who={"name":"Анна","age":30} ` {
			t.Errorf("going back from %q made %q, %v", removed, steps(after), err)
		}
		page, err := s.Forms(t.Context(), 123, "", 10)
		if err != nil || len(page.Items) != 1 || page.Items[0].Name != key.Form {
			t.Errorf("the forms are %+v, %v", page, err)
		}
		if n, err := s.ClearForms(t.Context(), 123); err != nil || n != 1 {
			t.Errorf("%d forms were cleared, %v", n, err)
		}
		_, err = s.Form(t.Context(), key)
		wantError(t, err, tempdata.ErrNotFound)
	})
}

func TestManyWritersOfOneForm(t *testing.T) {
	t.Parallel()
	everyForm(t, func(t *testing.T, s *tempdata.Store, key tempdata.FormKey) {
		t.Helper()
		var group sync.WaitGroup
		for i := range 20 {
			group.Go(func() {
				for n := range 5 {
					if n%2 == 0 {
						putStep(t, s, key, fmt.Sprintf("s%d", i), fmt.Sprint(n))
						continue
					}
					patch := fmt.Appendf(nil, `{"steps":{"s%d":%d,"p%d":{"n":%d}}}`, i, n, i, n)
					if _, err := s.PatchForm(t.Context(), tempdata.PatchForm{FormKey: key, Patch: patch}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		f, err := s.Form(t.Context(), key)
		if err != nil || len(f.Steps) != 40 {
			t.Fatalf("%d steps, %v", len(f.Steps), err)
		}
		for _, step := range f.Steps {
			if want := map[byte]string{'s': "4", 'p': `{"n":3}`}[step.Name[0]]; string(step.Data) != want {
				t.Errorf("%s is %s, want %s", step.Name, step.Data, want)
			}
		}
	})
}

func TestSubmitOnce(t *testing.T) {
	t.Parallel()
	everyForm(t, func(t *testing.T, s *tempdata.Store, key tempdata.FormKey) {
		t.Helper()
		putStep(t, s, key, "who", `"Анна"`)
		putStep(t, s, key, "what", `"coffee"`)
		var mu sync.Mutex
		var got []tempdata.Submission
		var group sync.WaitGroup
		for i := range 20 {
			group.Go(func() {
				submit := tempdata.Submit{FormKey: key}
				if i%2 == 0 {
					submit.Publish = func(tempdata.Submission) error { return nil }
				}
				sub, err := s.Submit(t.Context(), submit)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					got = append(got, sub)
				} else if !errors.Is(err, tempdata.ErrNotFound) {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if len(got) != 1 || len(got[0].Steps) != 2 || got[0].ID == "" || got[0].Duplicate {
			t.Errorf("the form was submitted as %+v", got)
		}
		_, err := s.Form(t.Context(), key)
		wantError(t, err, tempdata.ErrNotFound)
	})
}

func TestSubmitAgain(t *testing.T) {
	t.Parallel()
	everyForm(t, func(t *testing.T, s *tempdata.Store, key tempdata.FormKey) {
		t.Helper()
		putStep(t, s, key, "who", `"Анна"`)
		refuse := errors.New("refused")
		var published []string
		publish := func(fail bool) func(tempdata.Submission) error {
			return func(sub tempdata.Submission) error {
				published = append(published, sub.ID)
				if fail {
					return refuse
				}
				return nil
			}
		}
		_, err := s.Submit(t.Context(), tempdata.Submit{FormKey: key, Publish: publish(true)})
		wantError(t, err, refuse)
		wantForm(t, s, key, `who="Анна" `)
		_, err = s.Submit(t.Context(), tempdata.Submit{FormKey: key, Publish: publish(true)})
		wantError(t, err, refuse)
		if len(published) != 2 || published[0] != published[1] {
			t.Errorf("the same form was published as %q", published)
		}
		putStep(t, s, key, "who", `"Анна"`)
		_, err = s.Submit(t.Context(), tempdata.Submit{FormKey: key, Publish: publish(false), MaxSize: 3})
		wantError(t, err, tempdata.ErrTooLarge)
		first, err := s.Submit(t.Context(), tempdata.Submit{FormKey: key, Publish: publish(false), IdempotencyKey: "k"})
		if err != nil || first.ID == published[0] {
			t.Fatal(first, err, "after the form was changed")
		}
		putStep(t, s, key, "who", `"Пётр"`) // Another form of the name, which the repeated call must leave alone.
		again, err := s.Submit(t.Context(), tempdata.Submit{FormKey: key, Publish: publish(false), IdempotencyKey: "k"})
		if err != nil || !again.Duplicate || again.ID != first.ID || steps(again.Form) != `who="Анна" ` {
			t.Errorf("again: %+v, %v", again, err)
		}
		wantForm(t, s, key, `who="Пётр" `)
		_, err = s.Submit(t.Context(), tempdata.Submit{FormKey: key, Publish: publish(false), IdempotencyKey: "k", Fingerprint: "another"})
		wantError(t, err, tempdata.ErrKeyReused)
		if _, err := s.Submit(t.Context(), tempdata.Submit{FormKey: key, IdempotencyKey: "other"}); err != nil {
			t.Error(err)
		}
		again, err = s.Submit(t.Context(), tempdata.Submit{FormKey: key, Publish: publish(false), IdempotencyKey: "k"})
		if err != nil || again.ID != first.ID {
			t.Errorf("after another submission: %+v, %v", again, err)
		}
		if n, err := s.ClearForms(t.Context(), key.UserID); err != nil || n != 0 {
			t.Errorf("%d forms were cleared, %v", n, err)
		}
		_, err = s.Submit(t.Context(), tempdata.Submit{FormKey: key, Publish: publish(false), IdempotencyKey: "k"})
		wantError(t, err, tempdata.ErrNotFound) // What was kept of it is cleared.
	})
}

// TestSubmitAfterACrash has the process die between taking the form out and publishing it.
func TestSubmitAfterACrash(t *testing.T) {
	t.Parallel()
	for name, django := range map[string]bool{"native": false, "django": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			submitAfterACrash(t, django)
		})
	}
}

func submitAfterACrash(t *testing.T, django bool) {
	t.Helper()
	prefix, key := redistest.Prefix(t), tempdata.FormKey{UserID: 123, Form: tempdata.BotForm}
	s := open(t, redistest.Shared(t), prefix, func(c *tempdata.Config) { c.Django = django })
	putStep(t, s, key, "who", `"Анна"`)
	var id string
	func() {
		defer func() { _ = recover() }()
		_, _ = s.Submit(t.Context(), tempdata.Submit{FormKey: key, Publish: func(sub tempdata.Submission) error {
			id = sub.ID
			panic("killed")
		}})
	}()
	publish := tempdata.Submit{FormKey: key, Publish: func(tempdata.Submission) error { return nil }}
	_, err := s.Submit(t.Context(), publish)
	wantError(t, err, tempdata.ErrNotFound) // The first call may still be publishing it.
	later := time.Now().Add(-11 * time.Second).UnixMicro()
	if err := redistest.Shared(t).Client().HSet(t.Context(), prefix+":submitted:123/"+key.Form, "at", later).Err(); err != nil {
		t.Fatal(err)
	}
	sub, err := s.Submit(t.Context(), publish)
	if err != nil || sub.ID != id || steps(sub.Form) != `who="Анна" ` {
		t.Errorf("after the crash: %+v, %v; the id was %s", sub, err, id)
	}
	_, err = s.Submit(t.Context(), publish)
	wantError(t, err, tempdata.ErrNotFound)
}
