package tempdata_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// TestRestartToAnOlderState has Redis forget what it acknowledged since it saved: the newer in memory is put back.
func TestRestartToAnOlderState(t *testing.T) {
	t.Parallel()
	for name, django := range map[string]bool{"native": false, "django": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, "--save", "", "--appendonly", "no")
			s := open(t, server, "hub", func(c *tempdata.Config) { c.Django, c.DjangoPrefix = django, "connectbot:1" })
			form := tempdata.FormKey{UserID: 123, Form: tempdata.BotForm}
			say := func(text string) {
				t.Helper()
				if _, err := s.Append(t.Context(), tempdata.Append{Conversation: "c", Messages: [][]byte{[]byte(text)}}); err != nil {
					t.Fatal(err)
				}
			}
			put(t, s, userKey("k"), "1", time.Hour)
			putStep(t, s, form, "a", "1")
			say("1")
			if err := server.Client().Save(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			last := put(t, s, userKey("k"), "2", time.Hour)
			putStep(t, s, form, "b", "2")
			say("2")
			server.Kill()
			server.Restart()
			redistest.Eventually(t, soon, "what is newer is back", func() bool {
				v, err := s.Get(t.Context(), userKey("k"))
				if err != nil || v.Degraded || v.ETag != last.ETag {
					return false
				}
				f, err := s.Form(t.Context(), form)
				if err != nil || f.Degraded || steps(f) != "a=1 b=2 " {
					return false
				}
				h, err := s.Messages(t.Context(), tempdata.History{Conversation: "c", Limit: 10})
				return err == nil && !h.Degraded && len(h.Messages) == 2
			})
		})
	}
}

// TestReadingNoticesARestart reads only, right after a restart that lost everything.
func TestReadingNoticesARestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--save", "", "--appendonly", "no")
	s := open(t, server, "hub", nil)
	first := put(t, s, userKey("k"), "1", time.Hour)
	redistest.Eventually(t, soon, "the process knows which Redis it is", func() bool {
		stats, err := server.Client().Info(t.Context(), "commandstats").Result()
		return err == nil && strings.Contains(stats, "cmdstat_info:calls=")
	})
	server.Kill()
	server.Restart()
	if v := get(t, s, userKey("k")); v.ETag != first.ETag {
		t.Errorf("it is %+v", v)
	}
}

// TestFullMemoryComesBack fills the memory in an outage, with forms of the bot too, which take more as they are written back.
func TestFullMemoryComesBack(t *testing.T) {
	t.Parallel()
	for name, django := range map[string]bool{"native": false, "django": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startCutOff(t, func(c *tempdata.Config) { c.Django, c.MemoryBytes = django, 128<<10 })
			put(t, s.Store, userKey("k"), "1", 0)
			s.line.cut(true)
			kept := map[int]bool{}
			for i := range 200 {
				form := tempdata.FormKey{UserID: int64(1 + i), Form: tempdata.BotForm}
				_, err := s.PutStep(t.Context(), tempdata.PutStep{FormKey: form, Step: tempdata.Step{Name: "a", Data: []byte(`"` + strings.Repeat("x", 500) + `"`)}})
				if kept[i] = err == nil; err != nil && !errors.Is(err, tempdata.ErrFull) {
					t.Fatal(err)
				}
			}
			s.mend(t)
			for i, ok := range kept {
				_, err := s.other.Form(t.Context(), tempdata.FormKey{UserID: int64(1 + i), Form: tempdata.BotForm})
				if ok != (err == nil) {
					t.Errorf("form %d was kept %v, but %v", i, ok, err)
				}
			}
		})
	}
}

// TestBotFormAfterAnOutage renews and restores the steps that were not changed, too.
func TestBotFormAfterAnOutage(t *testing.T) {
	t.Parallel()
	s := startCutOff(t, func(c *tempdata.Config) { c.Django = true })
	form := tempdata.FormKey{UserID: 123, Form: tempdata.BotForm}
	short := tempdata.PutStep{FormKey: form, Step: tempdata.Step{Name: "a", Data: []byte("1")}, TTL: time.Minute}
	if _, err := s.PutStep(t.Context(), short); err != nil {
		t.Fatal(err)
	}
	names(t, s.Store, tempdata.UserNamespace(123)) // It has heard of its own change.
	s.line.cut(true)
	putStep(t, s.Store, form, "b", "2")
	s.mend(t)
	if f := wantForm(t, s.other, form, "a=1 b=2 "); f.ExpiresIn < time.Hour-soon {
		t.Errorf("the form expires in %v", f.ExpiresIn)
	}
}

// TestSubmittedElsewhere has another hub submit or delete a form that is changed in memory: only the change comes back.
func TestSubmittedElsewhere(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(context.Context, *tempdata.Store, tempdata.FormKey) error{
		"submitted": func(ctx context.Context, s *tempdata.Store, key tempdata.FormKey) error {
			return second(s.Submit(ctx, tempdata.Submit{FormKey: key}))
		},
		"deleted": func(ctx context.Context, s *tempdata.Store, key tempdata.FormKey) error {
			return second(s.DeleteForm(ctx, key, tempdata.Condition{}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startCutOff(t, nil)
			form := tempdata.FormKey{UserID: 123, Form: "profile"}
			putStep(t, s.Store, form, "a", "1")
			putStep(t, s.Store, form, "b", "1")
			s.line.cut(true)
			wantForm(t, s.Store, form, "a=1 b=1 ")
			putStep(t, s.Store, form, "b", "2")
			if err := end(t.Context(), s.other, form); err != nil {
				t.Fatal(err)
			}
			putStep(t, s.Store, form, "c", "3")
			s.mend(t)
			wantForm(t, s.Store, form, "c=3 ")
		})
	}
}

// TestFailedPublishingIsTakenBack has Redis go away while the event of a form is published: the form comes back with it.
func TestFailedPublishingIsTakenBack(t *testing.T) {
	t.Parallel()
	for name, django := range map[string]bool{"native": false, "django": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startCutOff(t, func(c *tempdata.Config) { c.Django = django })
			form := tempdata.FormKey{UserID: 123, Form: tempdata.BotForm}
			putStep(t, s.Store, form, "a", "1")
			failed := errors.New("failed")
			_, err := s.Submit(t.Context(), tempdata.Submit{FormKey: form, Publish: func(tempdata.Submission) error {
				s.line.cut(true)
				return failed
			}})
			wantError(t, err, failed)
			putStep(t, s.Store, form, "b", "2")
			s.mend(t)
			wantForm(t, s.other, form, "a=1 b=2 ")
		})
	}
}

// TestCallersDeadlineIsNoOutage lets callers have no time.
func TestCallersDeadlineIsNoOutage(t *testing.T) {
	t.Parallel()
	s := shared(t)
	put(t, s, userKey("k"), "1", 0)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for what, err := range map[string]error{
		"list": second(s.List(ctx, "n", "", 10)), "count": second(s.Counts(ctx)), "lease": second(s.Lease(ctx, 1, 0, 0)),
		"get": second(s.Get(ctx, userKey("k"))), "clear all": second(s.ClearAll(ctx)),
	} {
		if err == nil {
			t.Errorf("%s was done", what)
		}
	}
	if n := s.Stats(); n.Outages != 0 || s.Check() != nil {
		t.Errorf("that was an outage: %+v", n)
	}
	if w := put(t, s, userKey("k"), "2", 0); w.Degraded {
		t.Error("it is kept in memory")
	}
}

// TestClearingAmongWriters clears everything that was there before, whatever others write meanwhile.
func TestClearingAmongWriters(t *testing.T) {
	t.Parallel()
	s := shared(t)
	items := make([]tempdata.Item, 1000)
	for page := range 5 {
		for i := range items {
			items[i] = tempdata.Item{Name: fmt.Sprintf("old%d-%d", page, i), Data: []byte("1"), TTL: time.Hour}
		}
		if _, err := s.PutMany(t.Context(), "n", items); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := 0; ctx.Err() == nil && i < 2000; i++ {
			_, _ = s.Put(ctx, tempdata.Put{Key: tempdata.Key{Namespace: "n", Name: fmt.Sprint("new", i)}, Data: []byte("1"), TTL: time.Minute})
		}
	}()
	if _, err := s.Clear(t.Context(), "n"); err != nil {
		t.Error(err)
	}
	stop()
	<-written
	for _, name := range names(t, s, "n") {
		if strings.HasPrefix(name, "old") {
			t.Fatalf("%s is still there", name)
		}
	}
}

func TestNotStarted(t *testing.T) {
	t.Parallel()
	rdb, err := redisconn.Open(redistest.Shared(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	s, err := tempdata.New(tempdata.Config{Redis: rdb})
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, second(s.Get(t.Context(), userKey("k"))), tempdata.ErrClosed)
	s.Close()
	s.Close()
	wantError(t, s.Start(t.Context()), tempdata.ErrClosed)
}

// TestClearingLeavesStepsAlone clears more values of a user than a page, among which is a step of the bot's form.
func TestClearingLeavesStepsAlone(t *testing.T) {
	t.Parallel()
	s := open(t, redistest.Shared(t), redistest.Prefix(t), func(c *tempdata.Config) { c.Django = true })
	form := tempdata.FormKey{UserID: 123, Form: tempdata.BotForm}
	putStep(t, s, form, "a", "1")
	items := make([]tempdata.Item, 900)
	for i := range items {
		items[i] = tempdata.Item{Name: fmt.Sprint("k", i), Data: []byte("1"), TTL: 2 * time.Hour}
	}
	if _, err := s.PutMany(t.Context(), tempdata.UserNamespace(123), items); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Clear(t.Context(), tempdata.UserNamespace(123)); err != nil || n != len(items) {
		t.Errorf("%d were cleared, %v", n, err)
	}
	wantForm(t, s, form, "a=1 ")
}

// TestMuchWaits has a form wait behind so much that it comes back in a later batch than its putting back.
func TestMuchWaits(t *testing.T) {
	t.Parallel()
	s := startCutOff(t, nil)
	form := tempdata.FormKey{UserID: 123, Form: "profile"}
	putStep(t, s.Store, form, "a", "1")
	_ = second(s.Submit(t.Context(), tempdata.Submit{FormKey: form, Publish: func(tempdata.Submission) error {
		s.line.cut(true)
		return errors.New("failed")
	}}))
	for i := range 300 {
		put(t, s.Store, userKey(fmt.Sprint("k", i)), "1", 0)
	}
	putStep(t, s.Store, form, "b", "2")
	s.mend(t)
	wantForm(t, s.other, form, "a=1 b=2 ")
}

// TestBotGoesOnAfterASubmission has the bot begin its form anew after the hub submitted it, and Redis restart then.
func TestBotGoesOnAfterASubmission(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	b := &bot{server, "connectbot"}
	s := open(t, server, "hub", func(c *tempdata.Config) { c.Django, c.DjangoPrefix = true, "connectbot:1" })
	form := tempdata.FormKey{UserID: 123, Form: tempdata.BotForm}
	putStep(t, s, form, "a", "1")
	if _, err := s.Submit(t.Context(), tempdata.Submit{FormKey: form}); err != nil {
		t.Fatal(err)
	}
	b.set(t, "temp:user_123:form_data_x", `{"n": 1}`, time.Hour)
	wantForm(t, s, form, `x={"n":1} `)
	server.Kill()
	redistest.Eventually(t, soon, "it is away", func() bool {
		_, err := s.Form(t.Context(), form)
		return s.Check() != nil && err == nil
	})
	server.Restart()
	redistest.Eventually(t, soon, "it is back", func() bool {
		f, err := s.Form(t.Context(), form)
		return err == nil && !f.Degraded && steps(f) == `x={"n":1} `
	})
}

// TestLongHistoryAfterARestart keeps more than the usual length.
func TestLongHistoryAfterARestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := open(t, server, "hub", nil)
	for i := range 300 {
		a := tempdata.Append{Conversation: "c", Messages: [][]byte{fmt.Append(nil, i)}, MaxLen: tempdata.MaxMessages}
		if _, err := s.Append(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	read := func() (n int, degraded bool) {
		h, _ := s.Messages(t.Context(), tempdata.History{Conversation: "c", Limit: tempdata.MaxMessages})
		return len(h.Messages), h.Degraded
	}
	read()
	server.Kill()
	redistest.Eventually(t, soon, "it is away", func() bool { _, degraded := read(); return degraded })
	server.Restart()
	redistest.Eventually(t, soon, "it is back", func() bool { _, degraded := read(); return s.Check() == nil && !degraded })
	if n, _ := read(); n != 300 {
		t.Errorf("%d messages are left of 300", n)
	}
}
