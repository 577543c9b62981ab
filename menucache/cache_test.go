package menucache_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/menucache"
)

func TestNewChecks(t *testing.T) {
	t.Parallel()
	url := redistest.Shared(t).URL()
	rdb := connect(t, url)
	patient := newSource(t, menucache.SourceConfig{URL: "http://127.0.0.1", Timeout: 30 * time.Second})
	for want, change := range map[string]func(*menucache.Config){
		"are required":       func(c *menucache.Config) { c.Redis = nil },
		"RedisURL":           func(c *menucache.Config) { c.RedisURL = "" },
		"Announce":           func(c *menucache.Config) { c.Announce = nil },
		"TTL must":           func(c *menucache.Config) { c.TTL = time.Millisecond },
		"TTL must be from":   func(c *menucache.Config) { c.TTL = menucache.MaxTTL + 1 },
		"Stale must":         func(c *menucache.Config) { c.Stale = 30 * time.Minute },
		"SourceMissTTL must": func(c *menucache.Config) { c.SourceMissTTL = -1 },
		"WarmTop must":       func(c *menucache.Config) { c.WarmTop = menucache.MaxWarm + 1 },
		"WarmTop must be":    func(c *menucache.Config) { c.WarmTop = -1 },
		"the lease":          func(c *menucache.Config) { c.Source = patient },
		"":                   func(c *menucache.Config) { c.TTL, c.Stale = menucache.MaxTTL, -1 },
	} {
		cfg := menucache.Config{Redis: rdb, RedisURL: url, Announce: (&told{}).announce}
		change(&cfg)
		m, err := menucache.New(cfg)
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v", want, err)
		case m != nil:
			m.Close() // Without Start, and twice.
			m.Close()
		}
	}
}

// TestGet asks for menus for the first time, again, through another hub, and for somebody else.
func TestGet(t *testing.T) {
	t.Parallel()
	for name, mode := range modes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, other := openTwo(t, redistest.Shared(t).URL(), mode)
			r := ask(mainMenu, "admin", "en-US")
			built := one.built(t, ask(mainMenu, "admin", "en"))
			first := one.want(t, r, built, "MISS")
			if first.Age != 0 {
				t.Errorf("a new menu has the age %v", first.Age)
			}
			one.settled(t, r)
			second := one.want(t, r, built, "HIT")
			third := other.want(t, r, built, "HIT")
			if first.ETag != second.ETag || first.ETag != third.ETag || !strings.HasPrefix(first.ETag, `"`) {
				t.Errorf("ETags %s %s %s", first.ETag, second.ETag, third.ETag)
			}
			after(5 * time.Millisecond)
			if age := other.want(t, r, built, "HIT").Age; age < 5*time.Millisecond || age > longEnough {
				t.Errorf("age %v", age)
			}
			if n := other.Stats(); n.Loads != 0 || n.RemoteHits == 0 {
				t.Errorf("the other hub counts %+v", n)
			}

			// With another role or language it is another menu, which takes its place.
			user := one.want(t, ask(mainMenu, "", ""), one.built(t, ask(mainMenu, "user", "ru")), "MISS")
			if user.ETag == first.ETag {
				t.Error("two menus have one ETag")
			}
			after(lag)
			other.want(t, r, built, "MISS")
			again := openHub(t, redistest.Shared(t).URL(), one.prefix, mode)
			if a := again.want(t, r, built, "HIT"); a.ETag != first.ETag {
				t.Errorf("ETag %s after a restart", a.ETag)
			}
		})
	}
}

func TestGetRefuses(t *testing.T) {
	t.Parallel()
	h := openHub(t, redistest.Shared(t).URL(), redistest.Prefix(t))
	for _, test := range []struct {
		request menucache.Request
		fields  []string
	}{
		{menucache.Request{}, []string{"user_id", "menu_type"}},
		{ask(menucache.Key{UserID: -1, Type: "main"}, "", ""), []string{"user_id"}},
		{ask(menucache.Key{UserID: 1, Type: "Main"}, "root", "xx"), []string{"menu_type", "role", "lang"}},
		{menucache.Request{Key: mainMenu, Format: "xml"}, []string{"format"}},
		{menucache.Request{Key: mainMenu, Badges: map[string]int{"": 1}}, []string{"badges"}},
		{menucache.Request{Key: mainMenu, Badges: map[string]int{"meetings": -1}}, []string{"badges"}},
		{menucache.Request{Key: mainMenu, Badges: map[string]int{"none": 1}}, []string{"badges"}},
	} {
		_, err := h.Get(t.Context(), test.request)
		wantProblem(t, err, test.fields...)
	}
	if _, err := h.Get(t.Context(), ask(menucache.Key{UserID: 1, Type: "admin"}, "user", "")); !errors.Is(err, menucache.ErrRoleNotAllowed) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Get(ctx, ask(menucache.Key{UserID: 2, Type: "main"}, "", "")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestFormats asks for a menu in every format, with and without badges.
func TestFormats(t *testing.T) {
	t.Parallel()
	one, other := openTwo(t, redistest.Shared(t).URL())
	d := one.Definitions()
	key := menucache.Key{UserID: 7, Type: "activities"}
	menu := build(t, d, key.UserID, key.Type, "user", "en")
	etags := map[string]string{}
	for _, format := range d.Describe().Formats {
		for _, badges := range []map[string]int{nil, {}, {"meetings": 0}, {"meetings": 3}, {"coffee": 3}, {"chess": 1, "meetings": 3}} {
			want, err := d.Render(format, key.Type, menu, badges, shorten)
			if err != nil {
				t.Fatal(err)
			}
			r := menucache.Request{Key: key, Language: "en", Format: format, Badges: badges}
			for range 2 { // The second answer may be one that was kept.
				a, b := one.get(t, r), other.get(t, r)
				if !bytes.Equal(a.Body, want) || !bytes.Equal(b.Body, want) || a.ETag != b.ETag {
					t.Errorf("%s %v: %s %s, %s %s", format, badges, a.ETag, a.Body, b.ETag, b.Body)
				}
				if known, ok := etags[a.ETag]; ok && known != string(want) {
					t.Errorf("%s stands for two bodies", a.ETag)
				}
				etags[a.ETag] = string(want)
			}
		}
	}
	if len(etags) != 9 { // Three formats; no badges, three meetings, and three meetings and a game of chess.
		t.Errorf("%d ETags", len(etags))
	}
}

// TestDemoted shows nobody what an admin may see, whoever put it there.
func TestDemoted(t *testing.T) {
	t.Parallel()
	panel := `{"type":"main","options":[{"key":"x","label":"X","action":"admin_panel"}]}`
	for _, entry := range []string{
		`{"type":"main","user_id":1,"role":"admin","options":[{"key":"profile","label":"P","action":"show_profile"}]}`,
		`{"type":"main","user_id":1,"role":"user","options":[{"key":"admin_panel","label":"P","action":"other"}]}`,
		panel,
		`{"role":7,"options":[{"key":"manage_users","label":"P","action":"a"}]}`,
		`{"role":"","options":[{"key":"a","label":"P","action":"a"},{"key":"b","label":"P","action":"manage\u005froles"}]}`,
		`{"options":[],"options":[{"key":"a","key":"admin_panel","label":"P","action":"a"}]}`,
	} {
		one, other := openTwo(t, redistest.Shared(t).URL(), django)
		must(t, one.rdb.Set(t.Context(), one.botKey(mainMenu), botEntry(t, mainMenu, entry), botTTL))
		for _, h := range []*hub{one, other} {
			r := ask(mainMenu, "user", "ru")
			if a := h.get(t, r); string(a.Body) != h.built(t, r) {
				t.Errorf("%s: shown %s", entry, a.Body)
			}
		}
	}

	one, other := openTwo(t, redistest.Shared(t).URL())
	one.set(t, menucache.Write{Key: mainMenu, Menu: []byte(panel)})
	one.want(t, ask(mainMenu, "admin", ""), panel, "HIT")
	r := ask(mainMenu, "user", "")
	for _, h := range []*hub{one, other} {
		if a := h.get(t, r); string(a.Body) != h.built(t, r) {
			t.Errorf("shown %s", a.Body)
		}
	}
}

func TestSet(t *testing.T) {
	t.Parallel()
	for name, mode := range modes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, other := openTwo(t, redistest.Shared(t).URL(), mode)
			key := menucache.Key{UserID: 1, Type: "help"}
			if w := one.set(t, menucache.Write{Key: key, Menu: []byte(" { \"options\" : [ ] , \"more\" : 1.0 } ")}); w.Status != "cached" ||
				w.ExpiresIn != 30*time.Minute {
				t.Errorf("%+v", w)
			}
			for _, role := range []string{"user", "admin", "super_admin"} {
				for _, language := range []string{"ru", "en"} {
					one.want(t, ask(key, role, language), `{"options":[],"more":1.0}`, "HIT")
					other.want(t, ask(key, role, language), `{"options":[],"more":1.0}`, "HIT")
				}
			}

			one.set(t, menucache.Write{Key: key, Menu: own("a"), Role: "admin", Language: "en-GB", TTL: time.Hour})
			r := ask(key, "admin", "en")
			one.want(t, r, string(own("a")), "HIT")
			after(lag)
			other.want(t, r, string(own("a")), "HIT")
			redisKey := one.key(key)
			if name == "django" {
				redisKey = one.botKey(key)
			}
			if left := one.rdb.PTTL(t.Context(), redisKey).Val(); left < 59*time.Minute || left > time.Hour {
				t.Errorf("it is kept for %v", left)
			}
			other.want(t, ask(key, "user", "en"), other.built(t, ask(key, "user", "en")), "MISS")

			named := `{"role":"admin","options":[]}`
			one.set(t, menucache.Write{Key: key, Menu: []byte(named)})
			one.want(t, ask(key, "admin", "en"), named, "HIT")
			one.want(t, ask(key, "user", "ru"), one.built(t, ask(key, "user", "ru")), "MISS")

			// It is not kept for longer than it was set for.
			if w := one.set(t, menucache.Write{Key: key, Menu: own("short"), TTL: time.Second}); w.ExpiresIn != time.Second {
				t.Errorf("%+v", w)
			}
			after(time.Second)
			for _, h := range []*hub{one, other} {
				if a := h.get(t, ask(key, "", "")); strings.Contains(string(a.Body), "Own") {
					t.Errorf("%s after a second", a.Body)
				}
			}
		})
	}
}

func TestSetRefuses(t *testing.T) {
	t.Parallel()
	h := openHub(t, redistest.Shared(t).URL(), redistest.Prefix(t))
	one := menucache.Key{UserID: 1, Type: "main"}
	for _, test := range []struct {
		write  menucache.Write
		fields []string
	}{
		{menucache.Write{Menu: own("a"), Role: "root", Language: "xx", TTL: 1, Mode: "x"}, []string{"user_id", "menu_type", "ttl", "role", "lang", "write"}},
		{menucache.Write{Key: one, Menu: own("a"), TTL: time.Second - 1}, []string{"ttl"}},
		{menucache.Write{Key: one, Menu: own("a"), TTL: menucache.MaxTTL + 1}, []string{"ttl"}},
		{menucache.Write{Key: one, Menu: own("a"), TTL: -time.Second}, []string{"ttl"}},
		{menucache.Write{Key: one, Menu: own("a"), Mode: menucache.WriteThrough}, []string{"write"}},
		{menucache.Write{Key: one, Menu: own("a"), Mode: menucache.WriteBehind}, []string{"write"}},
		{menucache.Write{Key: one, Menu: []byte(`{"role":"admin","options":[]}`), Role: "user"}, []string{"role"}},
		{menucache.Write{Key: one, Menu: []byte(`{"user_id":2,"options":[]}`)}, []string{"user_id"}},
		{menucache.Write{Key: menucache.Key{UserID: 1, Type: "admin"}, Menu: own("a"), Role: "user"}, []string{"role"}},
		{
			menucache.Write{Key: one, Role: "user", Menu: []byte(`{"options":[{"key":"manage_users","label":"U","action":"a"},` +
				`{"key":"ok","label":"OK","action":"ok"},{"key":"b","label":"B","action":"manage_roles"}]}`)},
			[]string{"options[0]", "options[2]"},
		},
	} {
		_, err := h.Set(t.Context(), test.write)
		wantProblem(t, err, test.fields...)
	}
	_, err := h.Set(t.Context(), menucache.Write{Key: one, Role: "user", Menu: []byte(`{"options":[{"key":"admin_panel","label":"U","action":"a"}]}`)})
	if err == nil || !strings.Contains(err.Error(), `"admin_panel"`) {
		t.Errorf("the option is not named: %v", err)
	}
	for menu, want := range map[string]error{"[]": menucache.ErrMalformed, large(menucache.MaxMenuSize + 1): menucache.ErrTooLarge} {
		if _, err := h.Set(t.Context(), menucache.Write{Key: one, Menu: []byte(menu)}); !errors.Is(err, want) {
			t.Errorf("%.20s: %v", menu, err)
		}
	}
	h.want(t, ask(one, "", ""), h.built(t, ask(one, "", "")), "MISS")
	roomy := `{"options":[],"a":"` + strings.Repeat("x", menucache.MaxMenuSize-21) + `"}`
	h.set(t, menucache.Write{Key: one, Menu: []byte(roomy), TTL: menucache.MaxTTL})
	h.want(t, ask(one, "", ""), roomy, "HIT")
}

func TestRenew(t *testing.T) {
	t.Parallel()
	for name, mode := range modes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, other := openTwo(t, redistest.Shared(t).URL(), mode)
			_, err := one.Renew(t.Context(), menucache.Key{UserID: 0, Type: "x"}, 1)
			wantProblem(t, err, "user_id", "menu_type", "ttl")
			if _, err := one.Renew(t.Context(), mainMenu, 0); !errors.Is(err, menucache.ErrNotFound) {
				t.Error(err)
			}
			one.set(t, menucache.Write{Key: mainMenu, Menu: own("a"), TTL: 5 * time.Second})
			if w, err := other.Renew(t.Context(), mainMenu, 2*time.Hour); err != nil || w.ExpiresIn != 2*time.Hour || w.Status != "cached" {
				t.Errorf("%+v, %v", w, err)
			}
			users, err := one.Users(t.Context(), "", 10)
			if err != nil || len(users.Users) != 1 || users.Users[0].ExpiresIn < 119*time.Minute {
				t.Errorf("%+v, %v", users, err)
			}
			one.want(t, ask(mainMenu, "", "en"), string(own("a")), "HIT")

			one.want(t, ask(menucache.Key{UserID: 2, Type: "main"}, "admin", "en"), one.built(t, ask(menucache.Key{UserID: 2, Type: "main"}, "admin", "en")), "MISS")
			if w, err := one.Renew(t.Context(), menucache.Key{UserID: 2, Type: "main"}, 0); err != nil || w.ExpiresIn != 30*time.Minute {
				t.Errorf("%+v, %v", w, err)
			}
			// For whom it was built is still part of it.
			r := ask(menucache.Key{UserID: 2, Type: "main"}, "user", "en")
			other.want(t, r, other.built(t, r), "MISS")
		})
	}
}

// TestClear clears menus, one and all of a user, through one hub while another has them too.
func TestClear(t *testing.T) {
	t.Parallel()
	for name, mode := range modes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, other := openTwo(t, redistest.Shared(t).URL(), mode)
			keys := []menucache.Key{{UserID: 7, Type: "main"}, {UserID: 7, Type: "help"}, {UserID: 8, Type: "main"}}
			fill := func() {
				for _, key := range keys {
					one.set(t, menucache.Write{Key: key, Menu: own("a")})
				}
				after(lag)
				for _, key := range keys {
					other.want(t, ask(key, "", ""), string(own("a")), "HIT")
				}
			}
			gone := func(key menucache.Key) {
				t.Helper()
				one.want(t, ask(key, "", ""), one.built(t, ask(key, "", "")), "MISS")
				after(lag)
				other.want(t, ask(key, "", ""), one.built(t, ask(key, "", "")), "HIT")
			}
			clear := func(n int, call func() (int, error)) {
				t.Helper()
				if got, err := call(); got != n || err != nil {
					t.Errorf("cleared %d, %v; want %d", got, err, n)
				}
			}
			fill()
			clear(1, func() (int, error) { return one.Clear(t.Context(), keys[0]) })
			one.told.want(t, `7 {"cache_type":"menu","user_id":7,"menu_type":"main"}`)
			gone(keys[0])
			one.want(t, ask(keys[1], "", ""), string(own("a")), "HIT")
			clear(0, func() (int, error) { return one.Clear(t.Context(), menucache.Key{UserID: 9, Type: "main"}) })
			one.told.want(t, `9 {"cache_type":"menu","user_id":9,"menu_type":"main"}`)

			fill()
			clear(2, func() (int, error) { return one.ClearUser(t.Context(), 7) })
			one.told.want(t, `7 {"cache_type":"menu","user_id":7}`)
			gone(keys[0])
			gone(keys[1])
			other.want(t, ask(keys[2], "", ""), string(own("a")), "HIT")
			clear(0, func() (int, error) { return one.ClearUser(t.Context(), 9) })

			fill()
			one.told.fail(true)
			if n, err := one.ClearUser(t.Context(), 7); n != 2 || !errors.Is(err, menucache.ErrNotAnnounced) {
				t.Errorf("%d, %v", n, err)
			}
			if n, err := one.Clear(t.Context(), keys[2]); n != 1 || !errors.Is(err, menucache.ErrNotAnnounced) {
				t.Errorf("%d, %v", n, err)
			}
			for _, key := range keys {
				gone(key)
			}
			other.told.want(t)
		})
	}
	h := openHub(t, redistest.Shared(t).URL(), redistest.Prefix(t))
	_, err := h.Clear(t.Context(), menucache.Key{UserID: -5, Type: "menus"})
	wantProblem(t, err, "user_id", "menu_type")
	_, err = h.ClearUser(t.Context(), 0)
	wantProblem(t, err, "user_id")
	h.told.want(t)
}

// TestInvalidate makes menus count as none by role, by type and all.
func TestInvalidate(t *testing.T) {
	t.Parallel()
	for name, mode := range modes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, other := openTwo(t, redistest.Shared(t).URL(), mode)
			writes := []menucache.Write{
				{Key: menucache.Key{UserID: 1, Type: "main"}, Role: "admin"},
				{Key: menucache.Key{UserID: 2, Type: "main"}, Role: "user"},
				{Key: menucache.Key{UserID: 3, Type: "help"}, Role: "user"},
				{Key: menucache.Key{UserID: 4, Type: "help"}}, // For any role: it goes with each.
			}
			for i, test := range []struct {
				selection menucache.Selection
				gone      []int
				said      string
			}{
				{menucache.Selection{Role: "admin"}, []int{0, 3}, `0 {"cache_type":"menu","role":"admin"}`},
				{menucache.Selection{Role: "super_admin"}, []int{3}, `0 {"cache_type":"menu","role":"super_admin"}`},
				{menucache.Selection{Type: "main"}, []int{0, 1}, `0 {"cache_type":"menu","menu_type":"main"}`},
				{menucache.Selection{All: true}, []int{0, 1, 2, 3}, `0 {"cache_type":"menu"}`},
				{menucache.Selection{All: true}, []int{0, 1, 2, 3}, ""}, // Not announced.
			} {
				name := fmt.Sprint("n", i)
				for _, w := range writes {
					w.Menu = own(name)
					one.set(t, w)
				}
				after(lag)
				for _, w := range writes {
					other.want(t, ask(w.Key, w.Role, ""), string(own(name)), "HIT")
				}
				one.told.fail(test.said == "")
				err := one.Invalidate(t.Context(), test.selection)
				if test.said == "" {
					if !errors.Is(err, menucache.ErrNotAnnounced) {
						t.Error(err)
					}
				} else if err != nil {
					t.Error(err)
				} else {
					one.told.want(t, test.said)
				}
				check := func(h *hub) {
					t.Helper()
					for j, w := range writes {
						r := ask(w.Key, w.Role, "")
						a := h.get(t, r)
						want := string(own(name))
						if slices.Contains(test.gone, j) {
							want = h.built(t, r)
						}
						if string(a.Body) != want {
							t.Errorf("%+v, menu %d: %s", test.selection, j, a.Body)
						}
					}
				}
				check(one)
				after(lag)
				check(other)
			}
		})
	}
	h := openHub(t, redistest.Shared(t).URL(), redistest.Prefix(t))
	for field, selections := range map[string][]menucache.Selection{
		"role": {
			{},
			{Role: "root"},
			{Role: "user", Type: "main"},
			{Role: "user", All: true},
			{Type: "main", All: true},
			{Role: "user", Type: "main", All: true},
		},
		"type": {{Type: "nothing"}},
	} {
		for _, s := range selections {
			wantProblem(t, h.Invalidate(t.Context(), s), field)
		}
	}
	h.told.want(t)
}

// TestWorkDoesNotGrow compares what Redis has to do with 10 menus and with 10,000.
func TestWorkDoesNotGrow(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	h := openHub(t, server.URL(), "hub")
	changes := map[string]func() error{
		"role":  func() error { return h.Invalidate(t.Context(), menucache.Selection{Role: "user"}) },
		"type":  func() error { return h.Invalidate(t.Context(), menucache.Selection{Type: "main"}) },
		"all":   func() error { return h.Invalidate(t.Context(), menucache.Selection{All: true}) },
		"clear": func() error { _, err := h.Clear(t.Context(), menucache.Key{UserID: 1, Type: "main"}); return err },
		"user":  func() error { _, err := h.ClearUser(t.Context(), 2); return err },
	}
	work := map[string]map[string]int{}
	for _, n := range []int{10, 10, 10_000} { // The first time scripts are loaded.
		for name, change := range changes {
			fill(t, h, n)
			before := commands(t, rdb)
			if err := change(); err != nil {
				t.Fatal(err)
			}
			got := since(before, commands(t, rdb))
			delete(got, "mget") // The hub reads the new epoch behind the caller's back.
			if n == 10_000 && fmt.Sprint(got) != fmt.Sprint(work[name]) {
				t.Errorf("%s: %v with 10 menus, %v with 10,000", name, work[name], got)
			}
			work[name] = got
		}
	}
	t.Log(work)
}

// fill keeps a menu for each of n users, from 1 on: the same bytes, which a hub wrote.
func fill(tb testing.TB, h *hub, n int) {
	tb.Helper()
	key := menucache.Key{UserID: 1, Type: "main"}
	h.get(tb, ask(key, "", ""))
	raw := h.rdb.Get(tb.Context(), h.key(key)).Val()
	if raw == "" {
		tb.Fatal("no menu is kept")
	}
	_, err := h.rdb.Pipelined(tb.Context(), func(p redis.Pipeliner) error {
		for id := range n {
			p.Set(tb.Context(), h.key(menucache.Key{UserID: int64(id + 1), Type: "main"}), raw, time.Hour)
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// scenario calls everything there is to call.
func scenario(tb testing.TB, h *hub) {
	tb.Helper()
	ctx := tb.Context()
	try := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Error(err)
		}
	}
	for id := int64(1); id <= 5; id++ {
		for _, t := range h.Definitions().Types() {
			h.get(tb, menucache.Request{Key: menucache.Key{UserID: id, Type: t}, Role: "super_admin", Format: menucache.FormatTelegramInline})
		}
		h.set(tb, menucache.Write{Key: menucache.Key{UserID: id, Type: "help"}, Menu: []byte(
			`{"options":[{"key":"long","label":"Long","action":"` + strings.Repeat("long", 30) + strconv.FormatInt(id, 10) + `"}]}`)})
		h.get(tb, menucache.Request{Key: menucache.Key{UserID: id, Type: "help"}, Format: menucache.FormatTelegramInline})
	}
	_, err := h.Warm(ctx, menucache.Warming{Users: []int64{1, 31, 32}, Types: []string{"main", "profile"}})
	try(err)
	_, err = h.Warm(ctx, menucache.Warming{Top: 10})
	try(err)
	_, err = h.Renew(ctx, menucache.Key{UserID: 1, Type: "main"}, time.Hour)
	try(err)
	_, err = h.Callback(ctx, menucache.CallbackID(strings.Repeat("long", 30)+"1"))
	try(err)
	_, err = h.Clear(ctx, menucache.Key{UserID: 1, Type: "main"})
	try(err)
	_, err = h.ClearUser(ctx, 2)
	try(err)
	try(h.Invalidate(ctx, menucache.Selection{Role: "user"}))
	try(h.Invalidate(ctx, menucache.Selection{Type: "help"}))
	try(h.Invalidate(ctx, menucache.Selection{All: true}))
	_, err = h.Users(ctx, "", 5)
	try(err)
	_, err = h.DeadWrites(ctx, "", 5)
	try(err)
	_, _, err = h.QueueDepth(ctx)
	try(err)
	if err := h.RetryWrite(ctx, "1-1"); !errors.Is(err, menucache.ErrNotFound) {
		tb.Error(err)
	}
	h.Stats()
	h.ResetStats()
	h.get(tb, ask(mainMenu, "", ""))
}

// TestEveryKeyExpires looks at what is left in Redis after everything was called, and at the commands that it took.
func TestEveryKeyExpires(t *testing.T) {
	t.Parallel()
	for name, mode := range modes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			rdb := server.Client()
			one, other := openTwo(t, server.URL(), mode)
			scenario(t, one)
			scenario(t, other)
			one.Close() // Which notes down what was asked for most.
			other.Close()
			for called := range commands(t, rdb) {
				if called == "keys" || strings.HasPrefix(called, "flush") || called == "scan" && name != "django" {
					t.Errorf("%s was called", called)
				}
			}
			endless := []string{one.prefix + ":menu:epoch", one.prefix + ":menu:users"}
			kept, err := rdb.Keys(t.Context(), "*").Result()
			if err != nil || len(kept) < 5 {
				t.Fatalf("%d keys, %v", len(kept), err)
			}
			for _, key := range kept {
				if left := rdb.PTTL(t.Context(), key).Val(); left <= 0 && !slices.Contains(endless, key) {
					t.Errorf("%s does not expire: %v", key, left)
				}
				if !strings.HasPrefix(key, one.prefix+":") {
					t.Errorf("%s is not under the prefix", key)
				}
			}
		})
	}
}

// TestTTLHasJitter looks at when menus expire that were built together.
func TestTTLHasJitter(t *testing.T) {
	t.Parallel()
	h := openHub(t, redistest.Shared(t).URL(), redistest.Prefix(t))
	seen := map[time.Duration]bool{}
	for id := range int64(20) {
		key := menucache.Key{UserID: id + 1, Type: "main"}
		h.get(t, ask(key, "", ""))
		left := h.rdb.PTTL(t.Context(), h.key(key)).Val()
		if left < 27*time.Minute || left > 30*time.Minute {
			t.Errorf("a menu is kept for %v", left)
		}
		seen[left.Truncate(time.Second)] = true
	}
	if len(seen) < 5 {
		t.Errorf("20 menus expire at %d moments", len(seen))
	}
}

// TestRoundTrips counts what a hub asks Redis for a menu that is kept.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]map[string]int{"plain": {"mget": 1}, "django": {"pttl": 1, "mget": 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			rdb := server.Client()
			one, other := openTwo(t, server.URL(), modes()[name])
			other.get(t, ask(mainMenu, "", "")) // Which opens its connection.
			for _, format := range one.Definitions().Describe().Formats {
				key := menucache.Key{UserID: 1, Type: "main"}
				r := menucache.Request{Key: key, Format: format}
				var before map[string]int
				var trips int64
				one.get(t, r)
				redistest.Eventually(t, longEnough, "a quiet Redis", func() bool {
					before = commands(t, rdb)
					after(3 * lag) // In Django mode what was written is put into the index a little later.
					return len(since(before, commands(t, rdb))) == 0
				})
				one.settled(t, r)
				redistest.Eventually(t, longEnough, "a hundred answers from memory", func() bool {
					before, trips = commands(t, rdb), one.trips.n.Load()
					for range 100 {
						if a := one.get(t, r); a.Outcome != "HIT" {
							t.Error(a.Outcome)
						}
					}
					return one.trips.n.Load() == trips && len(since(before, commands(t, rdb))) == 0
				})
				before, trips = commands(t, rdb), other.trips.n.Load()
				if a := other.get(t, r); a.Outcome != "HIT" {
					t.Error(a.Outcome)
				}
				if n := other.trips.n.Load() - trips; n != 1 {
					t.Errorf("%s: %d round trips for what is in Redis", format, n)
				}
				wantCommands(t, rdb, before, want)
				if _, err := one.Clear(t.Context(), key); err != nil {
					t.Fatal(err)
				}
				after(lag)
			}
		})
	}
}

// TestUsers pages through more users than a page holds.
func TestUsers(t *testing.T) {
	t.Parallel()
	one, other := openTwo(t, redistest.Shared(t).URL())
	const n = menucache.MaxPage + 234
	ids := make([]int64, n)
	for i := range ids {
		ids[i] = int64(i + 1)
	}
	if w, err := one.Warm(t.Context(), menucache.Warming{Users: ids}); err != nil || w.Built != n {
		t.Fatalf("%+v, %v", w, err)
	}
	all := func(limit int) map[int64]time.Duration {
		t.Helper()
		users := map[int64]time.Duration{}
		for cursor := ""; ; {
			page, err := other.Users(t.Context(), cursor, limit)
			if err != nil || len(page.Users) > limit {
				t.Fatalf("%d users, %v", len(page.Users), err)
			}
			for _, u := range page.Users {
				if _, ok := users[u.ID]; ok || u.ExpiresIn <= 0 || u.ExpiresIn > 30*time.Minute {
					t.Errorf("user %d, again: %t, is kept for %v", u.ID, ok, u.ExpiresIn)
				}
				users[u.ID] = u.ExpiresIn
			}
			if cursor = page.Next; cursor == "" {
				return users
			}
		}
	}
	if got := len(all(menucache.MaxPage)); got != n {
		t.Errorf("%d users", got)
	}
	if got := len(all(100)); got != n {
		t.Errorf("%d users by the hundred", got)
	}
	if _, err := one.Clear(t.Context(), menucache.Key{UserID: 3, Type: "main"}); err != nil {
		t.Fatal(err)
	}
	if _, err := one.ClearUser(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	one.set(t, menucache.Write{Key: menucache.Key{UserID: 7, Type: "help"}, Menu: own("a"), TTL: time.Minute})
	if _, err := one.Clear(t.Context(), menucache.Key{UserID: 7, Type: "main"}); err != nil {
		t.Fatal(err)
	}
	users := all(500)
	if len(users) != n-2 || users[3] != 0 || users[5] != 0 || users[7] == 0 {
		t.Errorf("%d users, 3: %v, 5: %v, 7: %v", len(users), users[3], users[5], users[7])
	}

	for _, cursor := range []string{"!", "x", "MTIz", base64.RawURLEncoding.EncodeToString([]byte("x y")), "\xff"} {
		_, err := one.Users(t.Context(), cursor, 10)
		wantProblem(t, err, "cursor")
	}
	for _, limit := range []int{0, -1, menucache.MaxPage + 1} {
		_, err := one.Users(t.Context(), "", limit)
		wantProblem(t, err, "limit")
	}
	// Cursors outlive those whom they name.
	page, err := one.Users(t.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range page.Users {
		if _, err := one.ClearUser(t.Context(), u.ID); err != nil {
			t.Fatal(err)
		}
	}
	next, err := one.Users(t.Context(), page.Next, 10)
	if err != nil || len(next.Users) != 10 {
		t.Errorf("%+v, %v", next, err)
	}
}

// TestSetDefinitions changes what menus are built from.
func TestSetDefinitions(t *testing.T) {
	t.Parallel()
	for name, mode := range modes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := parse(t, small)
			later := parse(t, strings.ReplaceAll(small, "{ru: Шахматы}", "{ru: Шашки}"))
			one, other := openTwo(t, redistest.Shared(t).URL(), mode, defining(before))
			set, r := menucache.Key{UserID: 2, Type: "main"}, ask(menucache.Key{UserID: 1, Type: "main"}, "", "")
			old := one.built(t, r)
			one.want(t, r, old, "MISS")
			one.set(t, menucache.Write{Key: set, Menu: own("a")})
			one.want(t, menucache.Request{Key: set, Format: menucache.FormatTelegramReply},
				`{"keyboard":[[{"text":"Own a"}]],"resize_keyboard":true}`, "HIT")

			for _, h := range []*hub{one, other} {
				h.SetDefinitions(later)
				if h.Definitions() != later {
					t.Error("other definitions are in force")
				}
			}
			renewed := one.built(t, r)
			if renewed == old || !strings.Contains(renewed, "Шашки") {
				t.Fatal(renewed)
			}
			one.want(t, r, renewed, "MISS")
			other.want(t, r, renewed, "HIT")
			one.want(t, ask(set, "admin", "en"), string(own("a")), "HIT")
			other.want(t, ask(set, "", ""), string(own("a")), "HIT")

			// A menu that was set is not shown when one of its options is now kept from the role.
			kept := parse(t, replace(t, small, "  other:\n", "  more:\n    roles: [admin]\n    options: [{key: a, action: b, labels: {ru: A}}]\n  other:\n"))
			one.SetDefinitions(kept)
			one.want(t, ask(set, "user", ""), one.built(t, ask(set, "user", "")), "MISS")
		})
	}
}

// TestNoMixture asks for menus while definitions change: every answer is wholly of one, and of those now in force.
func TestNoMixture(t *testing.T) {
	t.Parallel()
	one, other := openTwo(t, redistest.Shared(t).URL())
	labelled := func(name string) *menucache.Definitions {
		return parse(t, "languages: [ru]\nroles: [user]\nmenus:\n  main:\n    rows: [[a, b]]\n    options:\n"+
			"      - {key: a, action: a_"+name+", labels: {ru: A "+name+"}}\n      - {key: b, action: b_"+name+", labels: {ru: B "+name+"}}\n")
	}
	sets := []*menucache.Definitions{labelled("first"), labelled("second")}
	for _, h := range []*hub{one, other} {
		h.SetDefinitions(sets[0])
	}
	want := map[string]bool{}
	for _, d := range sets {
		for _, format := range d.Describe().Formats {
			body, err := d.Render(format, "main", build(t, d, 1, "main", "user", "ru"), nil, shorten)
			if err != nil {
				t.Fatal(err)
			}
			want[string(body)] = true
		}
	}
	var stop atomic.Bool
	var asking sync.WaitGroup
	var answers atomic.Int64
	for _, h := range []*hub{one, other} {
		for _, format := range sets[0].Describe().Formats {
			asking.Go(func() {
				for !stop.Load() {
					a, err := h.Get(t.Context(), menucache.Request{Key: menucache.Key{UserID: 1, Type: "main"}, Format: format})
					if err != nil || !want[string(a.Body)] {
						t.Errorf("%s, %v", a.Body, err)
						return
					}
					answers.Add(1)
				}
			})
		}
	}
	for i := range 40 {
		for _, h := range []*hub{one, other} {
			h.SetDefinitions(sets[i%2])
			a := h.get(t, ask(menucache.Key{UserID: 1, Type: "main"}, "", ""))
			if string(a.Body) != h.built(t, ask(menucache.Key{UserID: 1, Type: "main"}, "", "")) {
				t.Errorf("after the change: %s", a.Body)
			}
		}
		seen := answers.Load()
		redistest.Eventually(t, longEnough, "more answers", func() bool { return stop.Load() || answers.Load() > seen+20 || t.Failed() })
	}
	stop.Store(true)
	asking.Wait()
}

// TestStale shows what is past its freshness while it is built anew.
func TestStale(t *testing.T) {
	t.Parallel()
	one, other := openTwo(t, redistest.Shared(t).URL(), func(c *menucache.Config) {
		c.TTL, c.Stale = time.Hour, time.Hour-200*time.Millisecond
	})
	r := ask(mainMenu, "", "")
	built := one.built(t, r)
	one.want(t, r, built, "MISS")
	after(200 * time.Millisecond)
	if a := other.want(t, r, built, "STALE"); a.Age < 200*time.Millisecond {
		t.Errorf("age %v", a.Age)
	}
	redistest.Eventually(t, longEnough, "a fresh menu", func() bool {
		n := one.Stats().Loads + other.Stats().Loads
		return n >= 2
	})
	if n := other.Stats().Stale; n == 0 {
		t.Error("it is not counted")
	}
	// What was set does not become stale.
	one.set(t, menucache.Write{Key: mainMenu, Menu: own("a"), TTL: time.Minute})
	after(200 * time.Millisecond)
	other.want(t, r, string(own("a")), "HIT")
}

func TestStats(t *testing.T) {
	t.Parallel()
	h := openHub(t, redistest.Shared(t).URL(), redistest.Prefix(t))
	r := ask(mainMenu, "", "")
	h.get(t, r)
	h.settled(t, r)
	n := h.Stats()
	if n.Misses != 1 || n.Loads != 1 || n.LocalHits == 0 || n.Entries != 1 || n.Bytes < 200 || n.HitRatio() <= 0 || n.Queued != 0 {
		t.Errorf("%+v", n)
	}
	h.ResetStats()
	if n = h.Stats(); n.Misses != 0 || n.LocalHits != 0 || n.Entries != 1 || n.HitRatio() != 0 {
		t.Errorf("after the reset: %+v", n)
	}
	if waiting, dead, err := h.QueueDepth(t.Context()); waiting != 0 || dead != 0 || err != nil {
		t.Errorf("%d, %d, %v", waiting, dead, err)
	}
	page, err := h.DeadWrites(t.Context(), "", 1)
	if err != nil || page.Writes != nil {
		t.Errorf("%+v, %v", page, err)
	}
	_, err = h.DeadWrites(t.Context(), "", 0)
	wantProblem(t, err, "limit")
}

// TestClose ends Menus while they are asked, after which nothing is promised any more.
func TestClose(t *testing.T) {
	t.Parallel()
	h := openHub(t, redistest.Shared(t).URL(), redistest.Prefix(t))
	var asking sync.WaitGroup
	began := make(chan struct{}, 8)
	for i := range int64(8) {
		asking.Go(func() {
			for n := int64(0); ; n++ {
				_, err := h.Get(t.Context(), ask(menucache.Key{UserID: 1 + i + 8*n, Type: "main"}, "", ""))
				if n == 0 {
					began <- struct{}{}
				}
				if err != nil {
					if !errors.Is(err, menucache.ErrUnavailable) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	for range 8 {
		<-began
	}
	h.Close()
	h.Close()
	asking.Wait()
	_, setErr := h.Set(t.Context(), menucache.Write{Key: mainMenu, Menu: own("a")})
	_, clearErr := h.ClearUser(t.Context(), 1)
	_, usersErr := h.Users(t.Context(), "", 1)
	for _, err := range []error{setErr, clearErr, usersErr, h.Invalidate(t.Context(), menucache.Selection{All: true})} {
		if !errors.Is(err, menucache.ErrUnavailable) {
			t.Error(err)
		}
	}
	h.told.want(t)
}

// TestBodiesAreJSON reads what is answered as others do.
func TestBodiesAreJSON(t *testing.T) {
	t.Parallel()
	h := openHub(t, redistest.Shared(t).URL(), redistest.Prefix(t))
	for _, typ := range h.Definitions().Types() {
		for _, format := range h.Definitions().Describe().Formats {
			r := menucache.Request{Key: menucache.Key{UserID: 1, Type: typ}, Role: "super_admin", Format: format}
			if a := h.get(t, r); !json.Valid(a.Body) {
				t.Errorf("%s %s: %s", typ, format, a.Body)
			}
		}
	}
}

// TestTheSourceIsToldForWhom refuses what would be shown to others: the source keeps the menu, and nothing beside it.
func TestTheSourceIsToldForWhom(t *testing.T) {
	t.Parallel()
	source := newShelf(t)
	h := openHub(t, redistest.Shared(t).URL(), redistest.Prefix(t), from(t, source))
	k := menucache.Key{UserID: 1, Type: "main"}
	menu := func(role string) []byte {
		return []byte(`{` + role + `"options":[{"key":"vault","label":"Vault","action":"open_vault"}]}`)
	}
	for _, mode := range []menucache.WriteMode{menucache.WriteThrough, menucache.WriteBehind} {
		_, err := h.Set(t.Context(), menucache.Write{Key: k, Menu: menu(""), Role: "admin", Mode: mode})
		wantProblem(t, err, "role")
		_, err = h.Set(t.Context(), menucache.Write{Key: k, Menu: menu(""), Language: "en", Mode: mode})
		wantProblem(t, err, "lang")
		h.set(t, menucache.Write{Key: k, Menu: menu(`"role":"admin",`), Mode: mode})
		if got := h.get(t, ask(k, "user", "")); strings.Contains(string(got.Body), "vault") {
			t.Errorf("%s: a user gets %s", mode, got.Body)
		}
		if got := h.get(t, ask(k, "admin", "")); !strings.Contains(string(got.Body), "vault") {
			t.Errorf("%s: an admin gets %s", mode, got.Body)
		}
	}
}

// TestASetMenuStays checks that who asks with another role or language does not take it away.
func TestASetMenuStays(t *testing.T) {
	t.Parallel()
	one, other := openTwo(t, redistest.Shared(t).URL())
	k := menucache.Key{UserID: 1, Type: "main"}
	one.set(t, menucache.Write{Key: k, Menu: own("mine"), Role: "user", Language: "ru"})
	for range 3 {
		for _, h := range []*hub{one, other} {
			h.want(t, ask(k, "admin", "ru"), h.built(t, ask(k, "admin", "ru")), "MISS")
			h.want(t, ask(k, "user", "en"), h.built(t, ask(k, "user", "en")), "MISS")
			h.want(t, ask(k, "user", "ru"), string(own("mine")), "HIT")
		}
	}
}

// TestTheBotWritesAfterAnInvalidation checks that what is newer counts, at once and whatever its TTL.
func TestTheBotWritesAfterAnInvalidation(t *testing.T) {
	t.Parallel()
	rdb := redistest.Shared(t).Client()
	h := openHub(t, redistest.Shared(t).URL(), redistest.Prefix(t), django)
	for i, ttl := range []time.Duration{30 * time.Minute, time.Hour, 5 * time.Minute} {
		k := menucache.Key{UserID: int64(1 + i), Type: "main"}
		must(t, rdb.Set(t.Context(), h.botKey(k), botEntry(t, k, `{"type":"main","role":"user","options":[]}`), ttl))
		if err := h.Invalidate(t.Context(), menucache.Selection{Role: "user"}); err != nil {
			t.Fatal(err)
		}
		if got := h.get(t, ask(k, "user", "ru")); got.Outcome != "MISS" {
			t.Errorf("%v: what the bot wrote before is a %s", ttl, got.Outcome)
		}
		after(100 * time.Millisecond) // The hub hears of the invalidation itself.
		bots := `{"type":"main","role":"user","options":[{"key":"new","label":"New","action":"new"}]}`
		must(t, rdb.Set(t.Context(), h.botKey(k), botEntry(t, k, bots), ttl))
		redistest.Eventually(t, time.Second, "the bot's menu is shown", func() bool {
			return strings.Contains(string(h.get(t, ask(k, "user", "ru")).Body), `"new"`)
		})
	}
}

// TestAnothersMenuIsNotShown checks a value that came under the wrong key.
func TestAnothersMenuIsNotShown(t *testing.T) {
	t.Parallel()
	rdb := redistest.Shared(t).Client()
	h := openHub(t, redistest.Shared(t).URL(), redistest.Prefix(t), django)
	k := menucache.Key{UserID: 1, Type: "main"}
	must(t, rdb.Set(t.Context(), h.botKey(k), botEntry(t, menucache.Key{UserID: 2, Type: "main"}, `{"type":"main","options":[]}`), time.Minute))
	h.want(t, ask(k, "user", "ru"), h.built(t, ask(k, "user", "ru")), "BYPASS")
}
