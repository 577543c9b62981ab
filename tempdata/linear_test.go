package tempdata_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// formInput is one call of a client, formOutput what it returned.
type formInput struct {
	what, step, value string // what is put, patch, delete, read or submit
}

type formOutput struct {
	steps   string // what was read or submitted
	missing bool
	unknown bool // The client was killed, or Redis: it may have been done or not.
}

// formModel is a form as one who does one call after the other sees it: its state is what stepsText writes.
var formModel = porcupine.Model{ //nolint:gochecknoglobals // A constant, but for the language.
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		before, _ := state.(string)
		in, _ := input.(formInput)
		out, _ := output.(formOutput)
		form := stepsOf(before)
		after := before
		missing := form == nil
		switch in.what {
		case "put":
			form = with(form, in.step, in.value)
			after, missing = stepsText(form), false
		case "patch": // The steps are objects, of which the patch sets one member.
			merged := "{" + strings.Trim(form[in.step], "{}")
			if member := `"` + in.value + `":1`; !strings.Contains(merged, member) {
				merged += map[bool]string{true: ","}[len(merged) > 1] + member
			}
			form = with(form, in.step, merged+"}")
			after, missing = stepsText(form), false
		case "delete":
			if _, ok := form[in.step]; !ok {
				missing = true
				break
			}
			delete(form, in.step)
			after = stepsText(form)
		case "submit":
			after = ""
		}
		if out.unknown {
			return true, after
		}
		if out.missing || missing {
			return out.missing == missing, before
		}
		return (in.what != "read" && in.what != "submit") || out.steps == before, after
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

func with(form map[string]string, step, value string) map[string]string {
	form = maps.Clone(form)
	if form == nil {
		form = map[string]string{}
	}
	form[step] = value
	return form
}

// stepsText is "form" and the steps in the order of their names, "" for no form.
func stepsText(form map[string]string) string {
	text := "form"
	for _, name := range slices.Sorted(maps.Keys(form)) {
		text += " " + name + "=" + form[name]
	}
	return text
}

func stepsOf(text string) map[string]string {
	if text == "" {
		return nil
	}
	form := map[string]string{}
	for _, step := range strings.Fields(text)[1:] {
		name, value, _ := strings.Cut(step, "=")
		form[name] = value
	}
	return form
}

func textOf(f tempdata.Form) string {
	form := map[string]string{}
	for _, step := range f.Steps {
		form[step.Name] = string(step.Data)
	}
	return stepsText(form)
}

// TestFormIsLinearizable lets clients of two processes work on one form, kills some of them in the middle of a call, and
// finds an order of the calls in which each returned what it did.
func TestFormIsLinearizable(t *testing.T) {
	t.Parallel()
	server, prefix := redistest.Shared(t), redistest.Prefix(t)
	stores := []*tempdata.Store{open(t, server, prefix, nil), open(t, server, prefix, nil)}
	for round := range 8 {
		key := tempdata.FormKey{UserID: int64(1 + round), Form: "profile"}
		var mu sync.Mutex
		var history []porcupine.Operation
		begun := time.Now()
		var group sync.WaitGroup
		for client := range 6 {
			group.Go(func() {
				for range 25 {
					op := porcupine.Operation{ClientId: client, Call: int64(time.Since(begun))}
					in, out := callForm(stores[client%2], key)
					op.Input, op.Output, op.Return = in, out, int64(time.Since(begun))
					if out.unknown {
						op.Return = math.MaxInt64
					}
					mu.Lock()
					history = append(history, op)
					mu.Unlock()
					if out.unknown {
						return // Killed.
					}
				}
			})
		}
		group.Wait()
		if result := porcupine.CheckOperationsTimeout(formModel, history, 60*time.Second); result != porcupine.Ok {
			t.Errorf("round %d: %d calls: %v", round, len(history), result)
		}
	}
}

// callForm makes a call, of which a few end before the answer comes.
func callForm(s *tempdata.Store, key tempdata.FormKey) (in formInput, out formOutput) {
	ctx := context.Background()
	if rand.IntN(40) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(300))*time.Microsecond)
		defer cancel()
	}
	in.step, in.value = []string{"a", "b", "c"}[rand.IntN(3)], []string{"p", "q", "r", "s"}[rand.IntN(4)]
	var f tempdata.Form
	var err error
	switch n := rand.IntN(12); {
	case n < 3:
		in.what, in.value = "put", `{"`+in.value+`":1}`
		_, err = s.PutStep(ctx, tempdata.PutStep{FormKey: key, Step: tempdata.Step{Name: in.step, Data: []byte(in.value)}})
	case n < 6:
		in.what = "patch"
		_, err = s.PatchForm(ctx, tempdata.PatchForm{
			FormKey: key, Patch: fmt.Appendf(nil, `{"steps":{%q:{%q:1}}}`, in.step, in.value),
		})
	case n < 7:
		in.what = "delete"
		_, err = s.DeleteStep(ctx, key, in.step, tempdata.Condition{})
	case n < 8:
		in.what = "submit"
		var sub tempdata.Submission
		sub, err = s.Submit(ctx, tempdata.Submit{FormKey: key})
		f = sub.Form
	default:
		in.what = "read"
		f, err = s.Form(ctx, key)
	}
	switch {
	case errors.Is(err, tempdata.ErrNotFound):
		out.missing = true
	case err != nil:
		out.unknown = true
	default:
		out.steps = textOf(f)
	}
	return in, out
}
