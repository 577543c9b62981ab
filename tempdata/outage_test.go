package tempdata_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// cutOff is a Store whose line to Redis can be cut, and another with the same data whose line cannot.
type cutOff struct {
	*tempdata.Store
	line  *line
	other *tempdata.Store
}

func startCutOff(tb testing.TB, change func(*tempdata.Config)) *cutOff {
	tb.Helper()
	server, prefix := redistest.Shared(tb), redistest.Prefix(tb)
	l := newLine(tb, server)
	rdb, err := redisconn.Open(l.url())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = rdb.Close() })
	s := open(tb, server, prefix, func(c *tempdata.Config) {
		c.Redis, c.URL = rdb, l.url()
		if change != nil {
			change(c)
		}
	})
	return &cutOff{s, l, open(tb, server, prefix, change)}
}

// mend mends the line and waits until nothing waits for Redis any more.
func (c *cutOff) mend(tb testing.TB) {
	tb.Helper()
	c.line.cut(false)
	redistest.Eventually(tb, soon, "what waited is written", func() bool { return c.Check() == nil && c.Stats().Waiting == 0 })
}

func userKey(name string) tempdata.Key {
	return tempdata.Key{Namespace: tempdata.UserNamespace(123), Name: name}
}

func TestValuesWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	for name, django := range map[string]bool{"native": false, "django": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startCutOff(t, func(c *tempdata.Config) { c.Django = django })
			ctx := t.Context()
			known := put(t, s.Store, userKey("known"), `{"n":1}`, time.Hour)
			put(t, s.Store, userKey("gone"), `1`, time.Hour)
			put(t, s.Store, userKey("short"), `1`, time.Hour)
			put(t, s.other, userKey("unknown"), `1`, time.Hour)
			put(t, s.other, userKey("overwritten"), `1`, time.Hour)
			put(t, s.other, userKey("both"), `1`, time.Hour)
			s.line.cut(true)

			v := get(t, s.Store, userKey("known"))
			if !v.Degraded || string(v.Data) != `{"n":1}` || v.ETag != known.ETag || v.ExpiresIn > time.Hour || v.ExpiresIn < time.Hour-soon {
				t.Errorf("the known value is %+v", v)
			}
			for what, err := range map[string]error{
				"get":             second(s.Get(ctx, userKey("unknown"))),
				"touch":           second(s.Touch(ctx, userKey("unknown"), time.Hour, tempdata.Condition{})),
				"put if absent":   second(s.Put(ctx, tempdata.Put{Key: userKey("unknown"), Data: []byte("2"), Condition: tempdata.Condition{Absent: true}})),
				"delete if there": second(s.Delete(ctx, userKey("unknown"), tempdata.Condition{Exists: true})),
				"list":            second(s.List(ctx, tempdata.UserNamespace(123), "", 10)),
				"clear":           second(s.Clear(ctx, tempdata.UserNamespace(123))),
				"lease":           second(s.Lease(ctx, 123, 0, 0)),
				"many":            second(s.GetMany(ctx, tempdata.UserNamespace(123), []string{"known", "unknown"})),
			} {
				if !errors.Is(err, tempdata.ErrUnavailable) {
					t.Errorf("%s of what is not known: %v, want ErrUnavailable", what, err)
				}
			}
			changed, err := s.Put(ctx, tempdata.Put{Key: userKey("known"), Data: []byte(`{"n":2}`), TTL: 10 * time.Minute, Condition: tempdata.Condition{Tags: []string{known.ETag}}})
			if err != nil || !changed.Degraded || changed.Created {
				t.Errorf("the change gave %+v, %v", changed, err)
			}
			_, err = s.Put(ctx, tempdata.Put{Key: userKey("known"), Data: []byte(`3`), Condition: tempdata.Condition{Tags: []string{known.ETag}}})
			if tag := unmet(t, err); tag != changed.ETag {
				t.Errorf("the current tag is %s, want %s", tag, changed.ETag)
			}
			if _, err := s.Delete(ctx, userKey("gone"), tempdata.Condition{}); err != nil {
				t.Error(err)
			}
			_, err = s.Get(ctx, userKey("gone"))
			wantError(t, err, tempdata.ErrNotFound)
			put(t, s.Store, userKey("short"), `2`, time.Second)
			put(t, s.Store, userKey("overwritten"), `2`, time.Hour)
			put(t, s.Store, userKey("both"), `2`, time.Hour)
			put(t, s.Store, userKey("new"), `"Анна"`, time.Hour)
			put(t, s.other, userKey("both"), `3`, time.Hour) // Later than the change in memory.
			if n := s.Stats(); n.Waiting != 6 || n.Outages != 1 || s.Check() == nil {
				t.Errorf("6 changes wait: %+v", n)
			}
			redistest.Eventually(t, soon, "the short one has expired", func() bool {
				_, err := s.Get(ctx, userKey("short"))
				return errors.Is(err, tempdata.ErrNotFound)
			})
			s.mend(t)

			for name, want := range map[string]string{"known": `{"n":2}`, "unknown": `1`, "overwritten": `2`, "both": `3`, "new": `"Анна"`} {
				for _, store := range []*tempdata.Store{s.Store, s.other} {
					if v := get(t, store, userKey(name)); string(v.Data) != want || v.Degraded {
						t.Errorf("%s is %s, want %s: %+v", name, v.Data, want, v)
					}
				}
			}
			if v := get(t, s.other, userKey("known")); v.ETag != changed.ETag || v.ExpiresIn > 10*time.Minute || v.ExpiresIn < 10*time.Minute-soon {
				t.Errorf("what was written back is %+v", v)
			}
			for _, name := range []string{"gone", "short"} {
				_, err = s.other.Get(ctx, userKey(name))
				wantError(t, err, tempdata.ErrNotFound)
			}
			if n := s.Stats(); n.Restored != 5 || n.Overtaken != 1 {
				t.Errorf("5 changes were written and one overtaken: %+v", n)
			}
		})
	}
}

// second returns the error of a call.
func second[T any](_ T, err error) error { return err }

func TestFormsWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	for name, django := range map[string]bool{"native": false, "django": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startCutOff(t, func(c *tempdata.Config) { c.Django = django })
			ctx := t.Context()
			form := tempdata.FormKey{UserID: 123, Form: tempdata.BotForm}
			unknown := tempdata.FormKey{UserID: 124, Form: tempdata.BotForm}
			deleted := tempdata.FormKey{UserID: 125, Form: tempdata.BotForm}
			putStep(t, s.Store, form, "a", "1")
			putStep(t, s.Store, form, "b", "1")
			putStep(t, s.Store, form, "c", "1")
			putStep(t, s.other, unknown, "a", "1")
			putStep(t, s.Store, deleted, "a", "1")
			wantForm(t, s.Store, form, "a=1 b=1 c=1 ")
			s.line.cut(true)

			if f := wantForm(t, s.Store, form, "a=1 b=1 c=1 "); !f.Degraded {
				t.Error("it is not said that this comes from memory")
			}
			if w := putStep(t, s.Store, form, "b", "2"); !w.Degraded {
				t.Error("it is not said that this is kept in memory")
			}
			if _, err := s.DeleteStep(ctx, form, "c", tempdata.Condition{}); err != nil {
				t.Error(err)
			}
			patched, err := s.PatchForm(ctx, tempdata.PatchForm{FormKey: form, Patch: []byte(`{"steps":{"d":{"x":1}}}`)})
			if err != nil || !patched.Degraded {
				t.Error(patched, err)
			}
			_, err = s.DeleteStep(ctx, form, "c", tempdata.Condition{})
			wantError(t, err, tempdata.ErrNotFound)
			wantError(t, second(s.Submit(ctx, tempdata.Submit{FormKey: form})), tempdata.ErrUnavailable)

			putStep(t, s.Store, unknown, "b", "2")
			if step, err := s.Step(ctx, unknown, "b"); err != nil || string(step.Data) != "2" || !step.Degraded {
				t.Errorf("the step just put is %+v, %v", step, err)
			}
			wantError(t, second(s.Form(ctx, unknown)), tempdata.ErrUnavailable)
			wantError(t, second(s.Step(ctx, unknown, "a")), tempdata.ErrUnavailable)
			wantError(t, second(s.DeleteStep(ctx, unknown, "a", tempdata.Condition{})), tempdata.ErrUnavailable)

			if _, err := s.DeleteForm(ctx, deleted, tempdata.Condition{}); err != nil {
				t.Error(err)
			}
			wantError(t, second(s.Form(ctx, deleted)), tempdata.ErrNotFound)
			putStep(t, s.other, form, "e", "3") // Another device, at another hub.
			s.mend(t)

			for _, store := range []*tempdata.Store{s.Store, s.other} {
				f, err := store.Form(ctx, form)
				if err != nil {
					t.Fatal(err)
				}
				for _, want := range []string{"a=1 ", "b=2 ", `d={"x":1} `, "e=3 "} {
					if !strings.Contains(steps(f), want) {
						t.Errorf("the form is %q, without %q", steps(f), want)
					}
				}
				if len(f.Steps) != 4 {
					t.Errorf("the form is %q", steps(f))
				}
				wantForm(t, store, unknown, "a=1 b=2 ")
				wantError(t, second(store.Form(ctx, deleted)), tempdata.ErrNotFound)
			}
			if sub, err := s.other.Submit(ctx, tempdata.Submit{FormKey: form}); err != nil || len(sub.Steps) != 4 {
				t.Errorf("submitted: %+v, %v", sub, err)
			}
		})
	}
}

func TestHistoriesWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	s := startCutOff(t, nil)
	ctx := t.Context()
	say := func(store *tempdata.Store, conversation string, texts ...string) {
		t.Helper()
		a := tempdata.Append{Conversation: conversation, MaxLen: 5}
		for _, text := range texts {
			a.Messages = append(a.Messages, []byte(`"`+text+`"`))
		}
		if _, err := store.Append(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	heard := func(store *tempdata.Store, conversation string) (text string) {
		t.Helper()
		h, err := store.Messages(ctx, tempdata.History{Conversation: conversation, Limit: 100})
		if err != nil {
			return err.Error()
		}
		for _, m := range h.Messages {
			text += strings.Trim(string(m.Data), `"`) + " "
		}
		return text
	}
	say(s.Store, "known", "1", "2", "3")
	say(s.other, "unknown", "1", "2")
	say(s.Store, "deleted", "1")
	s.line.cut(true)
	say(s.Store, "known", "4", "5", "6")
	say(s.Store, "unknown", "3")
	if got := heard(s.Store, "known"); got != "2 3 4 5 6 " {
		t.Errorf("in memory is %q", got)
	}
	wantError(t, second(s.Messages(ctx, tempdata.History{Conversation: "unknown", Limit: 2})), tempdata.ErrUnavailable)
	if h, err := s.Messages(ctx, tempdata.History{Conversation: "unknown", Limit: 1}); err != nil || string(h.Messages[0].Data) != `"3"` || !h.Degraded {
		t.Errorf("the last is %+v, %v", h, err)
	}
	if _, err := s.DeleteHistory(ctx, "deleted"); err != nil {
		t.Error(err)
	}
	say(s.Store, "deleted", "2")
	say(s.Store, "new", "1")
	s.mend(t)
	for conversation, want := range map[string]string{"known": "2 3 4 5 6 ", "unknown": "1 2 3 ", "deleted": "2 ", "new": "1 "} {
		for _, store := range []*tempdata.Store{s.Store, s.other} {
			if got := heard(store, conversation); got != want {
				t.Errorf("%s is %q, want %q", conversation, got, want)
			}
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	s := startCutOff(t, func(c *tempdata.Config) { c.MemoryBytes = 256 << 10 })
	put(t, s.Store, userKey("first"), `1`, 0)
	s.line.cut(true)
	text := `"` + strings.Repeat("x", 1000) + `"`
	kept, full := 0, false
	for i := range 200 {
		_, err := s.Put(t.Context(), tempdata.Put{Key: userKey(fmt.Sprint("k", i)), Data: []byte(text)})
		switch {
		case err == nil && !full:
			kept++
		case errors.Is(err, tempdata.ErrFull):
			full = true
		default:
			t.Fatalf("put %d: %v", i, err)
		}
	}
	if n := s.Stats(); !full || kept < 20 || n.Bytes > 256<<10 || n.Full == 0 {
		t.Errorf("%d of 200 were kept: %+v", kept, n)
	}
	s.mend(t)
	page, err := s.List(t.Context(), tempdata.UserNamespace(123), "", 1000)
	if err != nil || len(page.Items) != kept+1 {
		t.Errorf("%d are there, want %d: %v", len(page.Items), kept+1, err)
	}
}

func TestWithoutFallback(t *testing.T) {
	t.Parallel()
	s := startCutOff(t, func(c *tempdata.Config) { c.MemoryBytes = -1 })
	put(t, s.Store, userKey("known"), `1`, 0)
	s.line.cut(true)
	wantError(t, second(s.Get(t.Context(), userKey("known"))), tempdata.ErrUnavailable)
	wantError(t, second(s.Put(t.Context(), tempdata.Put{Key: userKey("known"), Data: []byte("2")})), tempdata.ErrUnavailable)
	s.mend(t)
	if v := get(t, s.Store, userKey("known")); string(v.Data) != "1" {
		t.Errorf("it is %s", v.Data)
	}
}

// TestRestartedRedis has Redis lose everything: what this process has in memory is put back.
func TestRestartedRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--save", "", "--appendonly", "no")
	s := open(t, server, "hub", nil)
	form := tempdata.FormKey{UserID: 123, Form: "profile"}
	before := put(t, s, userKey("k"), `{"a":1}`, time.Hour)
	tag := putStep(t, s, form, "who", `"Анна"`)
	if _, err := s.Append(t.Context(), tempdata.Append{Conversation: "c", Messages: [][]byte{[]byte("1"), []byte("2")}}); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, soon, "the process knows which Redis it is", func() bool {
		stats, err := server.Client().Info(t.Context(), "commandstats").Result()
		return err == nil && strings.Contains(stats, "cmdstat_info:calls=")
	})
	server.Kill()
	server.Restart()
	redistest.Eventually(t, soon, "it is all back", func() bool {
		n, err := server.Client().Exists(t.Context(), "hub:temp:user_123/k", "hub:form:123/profile", "hub:history:c").Result()
		return err == nil && n == 3
	})
	if v := get(t, s, userKey("k")); v.ETag != before.ETag || v.ExpiresIn > time.Hour || v.ExpiresIn < time.Hour-soon {
		t.Errorf("it is %+v", v)
	}
	if f := wantForm(t, s, form, `who="Анна" `); f.ETag != tag.ETag {
		t.Errorf("the form is %+v", f)
	}
	if n, err := s.ClearUser(t.Context(), 123); err != nil || n != 2 {
		t.Errorf("%d were cleared, %v", n, err)
	}
}

// TestOutagesUnderLoad kills, pauses and restarts Redis while users fill in forms, keep states and talk, and checks that
// nothing that was acknowledged is lost, comes back or comes twice, and that nobody is told that it is not there.
func TestOutagesUnderLoad(t *testing.T) {
	t.Parallel()
	for name, django := range map[string]bool{"native": false, "django": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outagesUnderLoad(t, django)
		})
	}
}

func outagesUnderLoad(t *testing.T, django bool) {
	t.Helper()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := open(t, server, "hub", func(c *tempdata.Config) { c.Django, c.DjangoPrefix = django, "connectbot:1" })
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	const users = 12
	var degraded atomic.Int64
	states := make([]*loadedUser, users)
	var group sync.WaitGroup
	for i := range states {
		u := &loadedUser{store: s, id: int64(1 + i), degraded: &degraded, form: map[string]string{}}
		states[i] = u
		group.Go(func() { u.live(t, ctx) })
	}
	done := func() (n int) {
		for _, u := range states {
			n += int(u.done.Load())
		}
		return n
	}
	atLeast := func(more int) {
		t.Helper()
		from := done()
		redistest.Eventually(t, soon, "users go on", func() bool { return done() >= from+more })
	}
	for range 2 {
		for _, outage := range []struct{ begin, end func() }{
			{server.Kill, server.Restart}, {server.Pause, server.Resume}, {server.Stop, server.Restart},
		} {
			atLeast(200)
			outage.begin()
			redistest.Eventually(t, soon, "the outage is noticed", func() bool { return s.Check() != nil })
			atLeast(200)
			outage.end()
			redistest.Eventually(t, soon, "it is back", func() bool { return s.Check() == nil })
		}
	}
	stop()
	group.Wait()
	redistest.Eventually(t, soon, "what waited is written", func() bool { return s.Check() == nil && s.Stats().Waiting == 0 })
	// Another Store knows only what is in Redis.
	fresh := open(t, server, "hub", func(c *tempdata.Config) { c.Django, c.DjangoPrefix = django, "connectbot:1" })
	for _, u := range states {
		u.check(t, fresh)
	}
	t.Logf("%d operations, %d of them in memory; %+v", done(), degraded.Load(), s.Stats())
	if degraded.Load() == 0 {
		t.Error("no operation was done in memory")
	}
}

// loadedUser is somebody who changes and reads, and knows what was acknowledged. Whatever failed may have been done.
type loadedUser struct {
	store    *tempdata.Store
	id       int64
	degraded *atomic.Int64
	done     atomic.Int64

	state, maybe int // of the conversation; maybe is the last one that was tried
	form         map[string]string
	said, tried  int
	unsure       map[int]bool
}

func (u *loadedUser) key() tempdata.Key {
	return tempdata.Key{Namespace: tempdata.UserNamespace(u.id), Name: tempdata.ConversationKey}
}

func (u *loadedUser) formKey() tempdata.FormKey {
	return tempdata.FormKey{UserID: u.id, Form: tempdata.BotForm}
}

func (u *loadedUser) talk() string { return fmt.Sprint("talk", u.id) }

func (u *loadedUser) live(tb testing.TB, ctx context.Context) {
	tb.Helper()
	u.unsure = map[int]bool{}
	check := func(what string, is bool, err error) bool {
		if err != nil && !errors.Is(err, tempdata.ErrUnavailable) {
			tb.Errorf("user %d: %s: %v", u.id, what, err)
		}
		if is {
			u.degraded.Add(1)
		}
		return err == nil
	}
	call := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		switch rand.IntN(6) {
		case 0:
			u.maybe++
			w, err := u.store.Put(call, tempdata.Put{Key: u.key(), Data: fmt.Appendf(nil, `{"n":%d}`, u.maybe)})
			if check("put", w.Degraded, err) {
				u.state = u.maybe
			}
		case 1:
			v, err := u.store.Get(call, u.key())
			if errors.Is(err, tempdata.ErrNotFound) && u.state == 0 {
				continue
			}
			if check("get", v.Degraded, err) {
				u.wantState(tb, v)
			}
		case 2, 3:
			step, data := fmt.Sprint("s", rand.IntN(4)), fmt.Sprint(rand.IntN(1000))
			w, err := u.store.PutStep(call, tempdata.PutStep{FormKey: u.formKey(), Step: tempdata.Step{Name: step, Data: []byte(data)}})
			if check("put step", w.Degraded, err) {
				u.form[step] = data
			} else {
				u.form[step] = "?"
			}
		case 4:
			f, err := u.store.Form(call, u.formKey())
			if errors.Is(err, tempdata.ErrNotFound) && len(u.form) == 0 {
				continue
			}
			if check("form", f.Degraded, err) {
				u.wantForm(tb, f)
			}
		case 5:
			u.tried++
			a, err := u.store.Append(call, tempdata.Append{
				Conversation: u.talk(), Messages: [][]byte{fmt.Append(nil, u.tried)}, MaxLen: tempdata.MaxMessages,
			})
			if !check("append", a.Degraded, err) {
				u.unsure[u.tried] = true
			}
			u.said = u.tried
		}
		u.done.Add(1)
		// Users are many, but none is quick.
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(1+rand.IntN(3)) * time.Millisecond):
		}
	}
}

func (u *loadedUser) wantState(tb testing.TB, v tempdata.Value) {
	tb.Helper()
	var n int
	if _, err := fmt.Sscanf(string(v.Data), `{"n":%d}`, &n); err != nil || n < u.state || n > u.maybe {
		tb.Errorf("user %d: the state is %s, degraded %v, after %d was acknowledged and %d tried", u.id, v.Data, v.Degraded, u.state, u.maybe)
	}
}

func (u *loadedUser) wantForm(tb testing.TB, f tempdata.Form) {
	tb.Helper()
	got := map[string]string{}
	for _, step := range f.Steps {
		got[step.Name] = string(step.Data)
	}
	for name, want := range u.form {
		if want != "?" && got[name] != want {
			tb.Errorf("user %d: step %s is %q, want %s; degraded %v", u.id, name, got[name], want, f.Degraded)
		}
	}
}

func (u *loadedUser) check(tb testing.TB, fresh *tempdata.Store) {
	tb.Helper()
	if u.state > 0 {
		u.wantState(tb, get(tb, fresh, u.key()))
	}
	if len(u.form) > 0 {
		f, err := fresh.Form(tb.Context(), u.formKey())
		if err != nil {
			tb.Fatal(err)
		}
		u.wantForm(tb, f)
	}
	h, err := fresh.Messages(tb.Context(), tempdata.History{Conversation: u.talk(), Limit: tempdata.MaxMessages})
	if err != nil {
		tb.Fatal(err)
	}
	count := map[int]int{}
	for _, m := range h.Messages {
		var n int
		_, _ = fmt.Sscan(string(m.Data), &n)
		count[n]++
	}
	for n := max(1, u.said-tempdata.MaxMessages+len(u.unsure)+1); n <= u.said; n++ {
		if count[n] > 1 || count[n] == 0 && !u.unsure[n] {
			tb.Errorf("user %d: message %d of %d is there %d times", u.id, n, u.said, count[n])
		}
	}
}
