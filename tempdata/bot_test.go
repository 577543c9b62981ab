package tempdata_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/djangocache"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// bot writes as the Django bot does, past every hub.
type bot struct {
	server *redistest.Server
	prefix string
}

func (b *bot) set(tb testing.TB, key, data string, ttl time.Duration) {
	tb.Helper()
	text := fmt.Sprintf(`{"data": %s, "type": "dict", "created_at": "2026-11-21T19:11:26.634773", "namespace": "n", "serialized": true}`, data)
	raw, err := djangocache.EncodeString(text)
	if err != nil {
		tb.Fatal(err)
	}
	if err := b.server.Client().Set(context.Background(), b.prefix+":1:"+key, raw, ttl).Err(); err != nil {
		tb.Fatal(err)
	}
}

func (b *bot) delete(tb testing.TB, key string) {
	tb.Helper()
	if err := b.server.Client().Del(context.Background(), b.prefix+":1:"+key).Err(); err != nil {
		tb.Fatal(err)
	}
}

func names(tb testing.TB, s *tempdata.Store, namespace string) (names []string) {
	tb.Helper()
	page, err := s.List(tb.Context(), namespace, "", 1000)
	if err != nil {
		tb.Fatal(err)
	}
	for _, item := range page.Items {
		names = append(names, item.Name)
	}
	return names
}

// TestBotsKeys lists, reads, changes and clears what the bot wrote, before the hub started and since.
func TestBotsKeys(t *testing.T) {
	t.Parallel()
	server, prefix := redistest.Shared(t), redistest.Prefix(t)
	b := &bot{server, prefix}
	b.set(t, "temp:user_123:before", `{"n": 1}`, time.Hour)
	b.set(t, "temp:user_123:form_data_step1", `{"n": 1}`, time.Hour)
	s := open(t, server, prefix, func(c *tempdata.Config) { c.Django = true })
	form := tempdata.FormKey{UserID: 123, Form: tempdata.BotForm}
	user := tempdata.UserNamespace(123)
	for i := range 20 { // Each is known at once.
		b.set(t, fmt.Sprint("temp:user_123:k", i), `{"n": 2}`, 2*time.Hour)
		if got := names(t, s, user); len(got) != i+2 || got[0] != "before" {
			t.Fatalf("after %d keys there are %q", i+1, got)
		}
	}
	b.delete(t, "temp:user_123:k3")
	if got := names(t, s, user); len(got) != 20 {
		t.Errorf("after a deletion there are %q", got)
	}
	b.set(t, "temp:user_123:form_data_step2", `{"n": 2}`, time.Hour)
	if f, err := s.Form(t.Context(), form); err != nil || len(f.Steps) != 2 {
		t.Errorf("the form is %q, %v", steps(f), err)
	}
	before, err := s.Form(t.Context(), form)
	if err != nil {
		t.Fatal(err)
	}
	b.set(t, "temp:user_123:form_data_step1", `{"n": 3}`, time.Hour)
	_, err = s.PutStep(t.Context(), tempdata.PutStep{
		FormKey: form, Step: tempdata.Step{Name: "step3", Data: []byte("1")}, Condition: tempdata.Condition{Tags: []string{before.ETag}},
	})
	unmet(t, err)
	if page, err := s.Forms(t.Context(), 123, "", 10); err != nil || len(page.Items) != 1 || page.Items[0].Name != tempdata.BotForm {
		t.Errorf("the forms are %+v, %v", page, err)
	}
	if n, err := s.ClearForms(t.Context(), 123); err != nil || n != 1 {
		t.Errorf("%d forms were cleared, %v", n, err)
	}
	b.set(t, "temp:user_123:form_data_step1", `{"n": 4}`, time.Hour)
	b.set(t, "temp:user_125:k", `{"n": 4}`, time.Hour)
	b.set(t, "temp:user_125:form_data_step1", `{"n": 4}`, time.Hour)
	if n, err := s.Clear(t.Context(), tempdata.UserNamespace(125)); err != nil || n != 1 {
		t.Errorf("%d values were cleared, %v", n, err)
	}
	wantForm(t, s, tempdata.FormKey{UserID: 125, Form: tempdata.BotForm}, `step1={"n":4} `)
	if n, err := s.ClearForms(t.Context(), 125); err != nil || n != 1 {
		t.Errorf("%d forms were cleared, %v", n, err)
	}
	if n, err := s.ClearUser(t.Context(), 123); err != nil || n != 21 {
		t.Errorf("%d were cleared, %v", n, err)
	}
	if n, err := server.Client().Keys(t.Context(), prefix+":1:temp:user_123:*").Result(); err != nil || len(n) != 0 {
		t.Errorf("still there: %q, %v", n, err)
	}
	for key, want := range map[string]tempdata.Key{
		"emp:9": {Namespace: "employees", Name: "9"}, "act:9:participants": {Namespace: "participants", Name: "9"},
		"sess:9": {Namespace: "bot_sessions", Name: "9"}, "int:9": {Namespace: "interests", Name: "9"},
	} {
		raw, err := djangocache.Encode(djangocache.List{"coffee", int64(1)})
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Client().Set(t.Context(), prefix+":1:"+key, raw, time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
		if v := get(t, s, want); string(v.Data) != `["coffee",1]` || v.Type != "list" {
			t.Errorf("%s is %s, a %s", key, v.Data, v.Type)
		}
		if got := names(t, s, want.Namespace); len(got) != 1 || got[0] != "9" {
			t.Errorf("%s lists %q", want.Namespace, got)
		}
	}
	if n, err := s.ClearAll(t.Context()); err != nil || n != 4 {
		t.Errorf("%d were cleared, %v", n, err)
	}
}

// TestMemoryHearsOfTheBot has the bot change a value that the hub has in memory, before Redis goes away.
func TestMemoryHearsOfTheBot(t *testing.T) {
	t.Parallel()
	s := startCutOff(t, func(c *tempdata.Config) { c.Django = true })
	put(t, s.Store, userKey("k"), `{"n":1}`, time.Hour)
	put(t, s.other, userKey("k"), `{"n":2}`, time.Hour)
	names(t, s.Store, tempdata.UserNamespace(123)) // It has heard of everything before.
	s.line.cut(true)
	if v := get(t, s.Store, userKey("k")); string(v.Data) != `{"n":2}` || !v.Degraded {
		t.Errorf("in memory is %+v", v)
	}
}

// TestUnreadableStep has the bot keep an object in one step: the others go on, and nothing is lost.
func TestUnreadableStep(t *testing.T) {
	t.Parallel()
	server, prefix := redistest.Shared(t), redistest.Prefix(t)
	b := &bot{server, prefix}
	s := open(t, server, prefix, func(c *tempdata.Config) { c.Django = true })
	form := tempdata.FormKey{UserID: 123, Form: tempdata.BotForm}
	b.set(t, "temp:user_123:form_data_good", `{"n": 1}`, time.Hour)
	if err := server.Client().Set(t.Context(), prefix+":1:temp:user_123:form_data_bad", unsafePickle, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	wantError(t, second(s.Form(t.Context(), form)), tempdata.ErrUnreadable)
	wantError(t, second(s.Step(t.Context(), form, "bad")), tempdata.ErrUnreadable)
	if step, err := s.Step(t.Context(), form, "good"); err != nil || string(step.Data) != `{"n":1}` {
		t.Errorf("the readable step is %s, %v", step.Data, err)
	}
	putStep(t, s, form, "more", "1")
	wantError(t, second(s.Submit(t.Context(), tempdata.Submit{FormKey: form})), tempdata.ErrUnreadable)
	if page, err := s.Forms(t.Context(), 123, "", 10); err != nil || len(page.Items) != 1 {
		t.Errorf("the forms are %v, %v", page, err)
	}
	putStep(t, s, form, "bad", "2")
	if sub, err := s.Submit(t.Context(), tempdata.Submit{FormKey: form}); err != nil || len(sub.Steps) != 3 {
		t.Errorf("written over, it is submitted as %q, %v", steps(sub.Form), err)
	}
}

// unsafePickle would run a command.
const unsafePickle = "\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R."

func TestUnsafePickle(t *testing.T) {
	t.Parallel()
	server, prefix := redistest.Shared(t), redistest.Prefix(t)
	s := open(t, server, prefix, func(c *tempdata.Config) { c.Django = true })
	if err := server.Client().Set(t.Context(), prefix+":1:emp:9", unsafePickle, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	key := tempdata.Key{Namespace: "employees", Name: "9"}
	_, err := s.Get(t.Context(), key)
	wantError(t, err, tempdata.ErrUnreadable)
	if n := s.Stats(); n.Unreadable != 1 || n.Unsafe != 1 {
		t.Errorf("counted: %+v", n)
	}
	put(t, s, key, `{"id":9}`, 0)
	if v := get(t, s, key); string(v.Data) != `{"id":9}` {
		t.Errorf("after it was written over it is %s", v.Data)
	}
}

func TestNamespaceWithAColon(t *testing.T) {
	t.Parallel()
	s := open(t, redistest.Shared(t), redistest.Prefix(t), func(c *tempdata.Config) { c.Django = true })
	_, err := s.Get(t.Context(), tempdata.Key{Namespace: "a:b", Name: "c"})
	if fields := fieldsOf(err); len(fields) != 1 || fields[0] != "namespace" {
		t.Errorf("with the bot: %v", err)
	}
	own := shared(t)
	put(t, own, tempdata.Key{Namespace: "a:b", Name: "c"}, "1", 0)
	_, err = own.Get(t.Context(), tempdata.Key{Namespace: "a", Name: "b:c"})
	wantError(t, err, tempdata.ErrNotFound)
}

// TestEmbedded does everything once with the embedded server.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	for name, django := range map[string]bool{"native": false, "django": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			embedded, err := redisconn.StartEmbedded("127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(embedded.Close)
			rdb, err := redisconn.Open(embedded.URL())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = rdb.Close() })
			s, err := tempdata.New(tempdata.Config{Redis: rdb, URL: embedded.URL(), Django: django})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			first := put(t, s, userKey("k"), `{"n":1}`, time.Hour)
			if _, err := s.Put(t.Context(), tempdata.Put{Key: userKey("k"), Data: []byte("2"), Condition: tempdata.Condition{Tags: []string{first.ETag}}}); err != nil {
				t.Error(err)
			}
			if v := get(t, s, userKey("k")); string(v.Data) != "2" || v.Degraded {
				t.Errorf("it is %+v", v)
			}
			form := tempdata.FormKey{UserID: 123, Form: tempdata.BotForm}
			putStep(t, s, form, "a", "1")
			putStep(t, s, form, "b", "2")
			wantForm(t, s, form, "a=1 b=2 ")
			if sub, err := s.Submit(t.Context(), tempdata.Submit{FormKey: form}); err != nil || len(sub.Steps) != 2 {
				t.Error(sub, err)
			}
			if a, err := s.Append(t.Context(), tempdata.Append{Conversation: "c", Messages: [][]byte{[]byte("1")}}); err != nil || a.Length != 1 {
				t.Error(a, err)
			}
			l, err := s.Lease(t.Context(), 1, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.ReleaseLease(t.Context(), 1, l.Token); err != nil {
				t.Error(err)
			}
			if counts, err := s.Counts(t.Context()); err != nil || len(counts) != 2 {
				t.Errorf("counted: %+v, %v", counts, err)
			}
			if n, err := s.ClearAll(t.Context()); err != nil || n != 2 {
				t.Errorf("%d were cleared, %v", n, err)
			}
		})
	}
}

// TestLayoutsListTheirOwn switches between the layouts.
func TestLayoutsListTheirOwn(t *testing.T) {
	t.Parallel()
	server, prefix := redistest.Shared(t), redistest.Prefix(t)
	bots := open(t, server, prefix, func(c *tempdata.Config) { c.Django = true })
	own := open(t, server, prefix, nil)
	put(t, bots, userKey("bots"), "1", 0)
	put(t, own, userKey("own"), "1", 0)
	putStep(t, own, tempdata.FormKey{UserID: 123, Form: "profile"}, "a", "1")
	for want, s := range map[string]*tempdata.Store{"bots": bots, "own": own} {
		if got := names(t, s, tempdata.UserNamespace(123)); len(got) != 1 || got[0] != want {
			t.Errorf("%q are listed, want %s", got, want)
		}
		if counts, err := s.Counts(t.Context()); err != nil || len(counts) != 2 || counts[1].Namespace != "user_*" || counts[1].Keys != 1 {
			t.Errorf("%s: counted %+v, %v", want, counts, err)
		}
	}
	if n, err := own.ClearAll(t.Context()); err != nil || n != 2 {
		t.Errorf("%d were cleared, %v", n, err)
	}
	if v := get(t, bots, userKey("bots")); string(v.Data) != "1" {
		t.Errorf("the bot's is %s", v.Data)
	}
}

// TestBotsEternalKey lists what the bot keeps for ever as what does not expire.
func TestBotsEternalKey(t *testing.T) {
	t.Parallel()
	server, prefix := redistest.Shared(t), redistest.Prefix(t)
	s := open(t, server, prefix, func(c *tempdata.Config) { c.Django = true })
	(&bot{server, prefix}).set(t, "temp:n:k", `{"n": 1}`, 0)
	page, err := s.List(t.Context(), "n", "", 10)
	if err != nil || len(page.Items) != 1 || page.Items[0].ExpiresIn != 0 || get(t, s, tempdata.Key{Namespace: "n", Name: "k"}).ExpiresIn != 0 {
		t.Errorf("listed as %+v, %v", page, err)
	}
}
