package menucache_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/menucache"
)

// shelf is a menu source that keeps menus and that a test can hold.
type shelf struct {
	url string
	// gets and puts are how often it was asked.
	gets, puts atomic.Int64

	mu     sync.Mutex
	menus  map[string]string // by path
	query  string            // of the last GET
	status int               // that it answers everything with, if not 0
	// holding, if set, is waited for by GETs, which read the menu before; each says on held that it waits.
	holding, held chan struct{}
}

func newShelf(tb testing.TB) *shelf {
	tb.Helper()
	s := &shelf{menus: map[string]string{}}
	s.url = serve(tb, s.answer).URL
	return s
}

func (s *shelf) answer(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	status, holding, held := s.status, s.holding, s.held
	menu, found := s.menus[r.URL.Path]
	if r.Method == http.MethodGet {
		s.gets.Add(1)
		s.query = r.URL.RawQuery
	} else {
		s.puts.Add(1)
		if status == 0 {
			s.menus[r.URL.Path] = string(body)
		}
	}
	s.mu.Unlock()
	switch {
	case status != 0:
		w.WriteHeader(status)
		return
	case r.Method != http.MethodGet:
		return
	}
	if holding != nil {
		held <- struct{}{}
		<-holding
	}
	if !found {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = io.WriteString(w, menu)
}

func (s *shelf) put(k menucache.Key, menu string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.menus[fmt.Sprintf("/menus/%d/%s", k.UserID, k.Type)] = menu
}

func (s *shelf) get(k menucache.Key) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.menus[fmt.Sprintf("/menus/%d/%s", k.UserID, k.Type)]
}

// fail makes everything be answered with a status, 0 for as it should be.
func (s *shelf) fail(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

// hold makes GETs wait until release is called; each sends on held first.
func (s *shelf) hold(tb testing.TB) (held <-chan struct{}, release func()) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	holding := make(chan struct{})
	s.holding, s.held = holding, make(chan struct{}, 1000)
	release = sync.OnceFunc(func() {
		s.mu.Lock()
		s.holding = nil
		s.mu.Unlock()
		close(holding)
	})
	tb.Cleanup(release)
	return s.held, release
}

// from makes a hub ask a menu source.
func from(tb testing.TB, s *shelf) func(*menucache.Config) {
	tb.Helper()
	return func(c *menucache.Config) {
		c.Source = newSource(tb, menucache.SourceConfig{URL: s.url, Timeout: 5 * time.Second})
	}
}

// TestSourceMenus shows users their own menus, and builds those of the others.
func TestSourceMenus(t *testing.T) {
	t.Parallel()
	for name, mode := range modes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t)
			one, other := openTwo(t, redistest.Shared(t).URL(), mode, from(t, s), func(c *menucache.Config) {
				c.SourceMissTTL, c.Stale = 300*time.Millisecond, -1
			})
			key := menucache.Key{UserID: 1, Type: "main"}
			r := ask(key, "admin", "en")
			one.want(t, r, one.built(t, r), "MISS")
			other.want(t, r, one.built(t, r), "HIT")
			if s.gets.Load() != 1 || s.query != "lang=en&role=admin" {
				t.Errorf("asked %d times, with %s", s.gets.Load(), s.query)
			}
			// It has none: it is asked again soon.
			s.put(key, ` { "options" : [ ] } `)
			after(300 * time.Millisecond)
			one.want(t, r, `{"options":[]}`, "MISS")
			other.want(t, r, `{"options":[]}`, "HIT")
			after(300 * time.Millisecond)
			one.want(t, r, `{"options":[]}`, "HIT")
			if n := s.gets.Load(); n != 2 {
				t.Errorf("asked %d times", n)
			}

			// Nobody is shown what is for others.
			for id, menu := range map[int64]string{
				10: `{"role":"admin","options":[]}`,
				11: `{"options":[{"key":"panel","label":"P","action":"admin_panel"}]}`,
			} {
				r := ask(menucache.Key{UserID: id, Type: "main"}, "user", "")
				s.put(r.Key, menu)
				one.want(t, r, one.built(t, r), "MISS")
				r.Role = "admin"
				one.want(t, r, menu, "MISS")
				r.Role = "user"
				one.want(t, r, one.built(t, r), "MISS")
			}
		})
	}
}

// TestSourceSendsNonsense builds menus when what the source sends is none.
func TestSourceSendsNonsense(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	h := openHub(t, redistest.Shared(t).URL(), redistest.Prefix(t), from(t, s))
	for i, menu := range []string{
		"", "null", "[]", "<html>", `{"options":7}`, `{"user_id":99}`, `{"options":[{"key":"a"}]}`, `{"role":"root"}`,
		`{"a":1,"a":2}`, large(menucache.MaxMenuSize + 1), `{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
	} {
		r := ask(menucache.Key{UserID: int64(i + 1), Type: "main"}, "", "")
		s.put(r.Key, menu)
		h.want(t, r, h.built(t, r), "BYPASS")
		if h.rdb.Exists(t.Context(), h.key(r.Key)).Val() != 0 {
			t.Errorf("%.20s: what was built is kept", menu)
		}
	}
}

// TestSourceFails builds menus while the source is down, shows what is kept past its freshness, and heals.
func TestSourceFails(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	one, other := openTwo(t, redistest.Shared(t).URL(), from(t, s), func(c *menucache.Config) {
		c.TTL, c.Stale = time.Hour, time.Hour-200*time.Millisecond
	})
	kept, absent := menucache.Key{UserID: 1, Type: "main"}, menucache.Key{UserID: 2, Type: "main"}
	s.put(kept, string(own("kept")))
	one.want(t, ask(kept, "", ""), string(own("kept")), "MISS")
	s.fail(http.StatusInternalServerError)
	after(200 * time.Millisecond)
	for range 3 {
		for _, h := range []*hub{one, other} {
			h.want(t, ask(kept, "", ""), string(own("kept")), "STALE")
			h.want(t, ask(absent, "", ""), h.built(t, ask(absent, "", "")), "BYPASS")
		}
	}
	if n := one.rdb.Exists(t.Context(), one.key(absent)).Val(); n != 0 {
		t.Error("what was built is kept")
	}
	if n := s.gets.Load(); n > 8 { // A failed load is not tried again for a second.
		t.Errorf("asked %d times", n)
	}
	if n := one.Stats(); n.LoadErrors == 0 || n.Stale == 0 {
		t.Errorf("%+v", n)
	}
	s.put(kept, string(own("renewed")))
	s.put(absent, string(own("new")))
	s.fail(0)
	for _, h := range []*hub{one, other} {
		for key, menu := range map[menucache.Key][]byte{kept: own("renewed"), absent: own("new")} {
			redistest.Eventually(t, longEnough, "the source's menu", func() bool { return string(h.get(t, ask(key, "", "")).Body) == string(menu) })
		}
	}
}

// TestSourceIsAskedOnce has a thousand callers ask two hubs for one menu while the source is slow.
func TestSourceIsAskedOnce(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	key := menucache.Key{UserID: 1, Type: "main"}
	s.put(key, string(own("a")))
	one, other := openTwo(t, redistest.Shared(t).URL(), from(t, s))
	held, release := s.hold(t)
	var asking sync.WaitGroup
	var answers atomic.Int64
	for i := range 1000 {
		asking.Go(func() {
			a, err := []*hub{one, other}[i%2].Get(t.Context(), ask(key, "", ""))
			if err != nil || string(a.Body) != string(own("a")) {
				t.Errorf("%s, %v", a.Body, err)
			}
			answers.Add(1)
		})
	}
	<-held
	// The other hub waits for the one that asks.
	redistest.Eventually(t, longEnough, "a hub that waits", func() bool { return one.Stats().LockWaits+other.Stats().LockWaits > 0 })
	if answers.Load() != 0 {
		t.Error("somebody was answered")
	}
	release()
	asking.Wait()
	if n := s.gets.Load(); n != 1 {
		t.Errorf("the source was asked %d times", n)
	}
}

// TestWrites sets menus in the source too, through it and behind it, while older ones are on their way from it.
func TestWrites(t *testing.T) {
	t.Parallel()
	for name, mode := range modes() {
		for _, write := range []struct {
			mode   menucache.WriteMode
			status string
		}{{menucache.WriteThrough, "stored"}, {menucache.WriteBehind, "queued"}} {
			t.Run(name+" "+write.status, func(t *testing.T) {
				t.Parallel()
				s := newShelf(t)
				one, other := openTwo(t, redistest.Shared(t).URL(), mode, from(t, s))
				key := menucache.Key{UserID: 1, Type: "main"}
				r := ask(key, "", "")
				s.put(key, string(own("old")))
				held, release := s.hold(t)
				var asking sync.WaitGroup
				for _, h := range []*hub{one, other} {
					asking.Go(func() {
						// It began before: it may return either.
						a, err := h.Get(t.Context(), r)
						if body := string(a.Body); err != nil || body != string(own("old")) && body != string(own("new")) {
							t.Errorf("%s, %v", body, err)
						}
					})
				}
				<-held
				w, err := one.Set(t.Context(), menucache.Write{Key: key, Menu: own("new"), Mode: write.mode, TTL: time.Hour})
				if err != nil || w.Status != write.status || w.ExpiresIn != time.Hour {
					t.Errorf("%+v, %v", w, err)
				}
				one.want(t, r, string(own("new")), "HIT")
				after(lag)
				other.want(t, r, string(own("new")), "HIT")
				release()
				asking.Wait()
				for _, h := range []*hub{one, other} {
					h.want(t, r, string(own("new")), "HIT")
				}
				// It is in the source, and the queue, when the cache has lost it.
				if _, err := other.ClearUser(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				other.want(t, r, string(own("new")), "MISS")
				redistest.Eventually(t, longEnough, "the menu in the source", func() bool { return s.get(key) == string(own("new")) })
				redistest.Eventually(t, longEnough, "an empty queue", func() bool {
					waiting, dead, err := one.QueueDepth(t.Context())
					return waiting == 0 && dead == 0 && err == nil
				})
			})
		}
	}
}

// TestQueuedMenusAreShown clears a menu from the cache that the source has not got yet.
func TestQueuedMenusAreShown(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	one, other := openTwo(t, redistest.Shared(t).URL(), from(t, s))
	key := menucache.Key{UserID: 1, Type: "main"}
	s.put(key, string(own("old")))
	s.fail(http.StatusServiceUnavailable)
	if _, err := one.Set(t.Context(), menucache.Write{Key: key, Menu: own("new"), Mode: menucache.WriteBehind}); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Clear(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	after(lag)
	other.want(t, ask(key, "", ""), string(own("new")), "MISS")
	s.fail(0)
	redistest.Eventually(t, longEnough, "the menu in the source", func() bool { return s.get(key) == string(own("new")) })
	redistest.Eventually(t, longEnough, "a delivery", func() bool { return one.Stats().Delivered+other.Stats().Delivered == 1 })
	if n := one.Stats(); n.Queued != 1 {
		t.Errorf("%+v", n)
	}
}

// TestWritesFail shows what the source has when it did not take what was written.
func TestWritesFail(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	h := openHub(t, redistest.Shared(t).URL(), redistest.Prefix(t), from(t, s))
	key := menucache.Key{UserID: 1, Type: "main"}
	s.put(key, string(own("old")))
	for status, want := range map[int]struct {
		err     error
		outcome menucache.Outcome
	}{
		http.StatusInternalServerError: {menucache.ErrSourceUnavailable, "MISS"}, // It may have been stored.
		http.StatusConflict:            {menucache.ErrSourceRefused, "HIT"},
	} {
		h.get(t, ask(key, "", ""))
		s.fail(status)
		if _, err := h.Set(t.Context(), menucache.Write{Key: key, Menu: own("new"), Mode: menucache.WriteThrough}); !errors.Is(err, want.err) {
			t.Errorf("%d: %v", status, err)
		}
		s.fail(0)
		h.want(t, ask(key, "", ""), string(own("old")), want.outcome)
	}

	// What the source refuses later is listed, and can be queued again.
	s.fail(http.StatusConflict)
	if _, err := h.Set(t.Context(), menucache.Write{Key: key, Menu: own("refused"), Mode: menucache.WriteBehind}); err != nil {
		t.Fatal(err)
	}
	var dead menucache.DeadWritePage
	redistest.Eventually(t, longEnough, "a dead write", func() bool {
		var err error
		dead, err = h.DeadWrites(t.Context(), "", 10)
		return err == nil && len(dead.Writes) == 1
	})
	if w := dead.Writes[0]; w.Key != key || w.Attempts != 1 || dead.Next != "" {
		t.Errorf("%+v", w)
	}
	s.fail(0)
	if err := h.RetryWrite(t.Context(), dead.Writes[0].ID); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, longEnough, "the menu in the source", func() bool { return s.get(key) == string(own("refused")) })
	if err := h.RetryWrite(t.Context(), dead.Writes[0].ID); !errors.Is(err, menucache.ErrNotFound) {
		t.Error(err)
	}
}
