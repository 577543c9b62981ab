package menucache_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/menucache"
)

func (h *hub) warm(tb testing.TB, w menucache.Warming) menucache.Warmed {
	tb.Helper()
	warmed, err := h.Warm(tb.Context(), w)
	if err != nil {
		tb.Fatal(err)
	}
	return warmed
}

// TestWarm makes menus ready for users, after which both hubs have them.
func TestWarm(t *testing.T) {
	t.Parallel()
	for name, mode := range modes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, other := openTwo(t, redistest.Shared(t).URL(), mode)
			users, types := []int64{1, 2, 3, 4, 5}, []string{"main", "admin", "help"}
			one.get(t, ask(menucache.Key{UserID: 1, Type: "main"}, "admin", "en"))
			w := menucache.Warming{Users: users, Types: types, Role: "admin", Language: "en"}
			if got := one.warm(t, w); got != (menucache.Warmed{Built: 14, Cached: 1}) {
				t.Errorf("%+v", got)
			}
			if got := other.warm(t, w); got != (menucache.Warmed{Cached: 15}) {
				t.Errorf("%+v", got)
			}
			for _, id := range users {
				for _, typ := range types {
					r := ask(menucache.Key{UserID: id, Type: typ}, "admin", "en")
					other.want(t, r, other.built(t, r), "HIT")
				}
			}
			if got := one.warm(t, menucache.Warming{Users: []int64{6}}); got != (menucache.Warmed{Built: 1}) {
				t.Errorf("%+v", got)
			}
			r := ask(menucache.Key{UserID: 6, Type: "main"}, "", "")
			other.want(t, r, other.built(t, r), "HIT")
		})
	}
}

func TestWarmRefuses(t *testing.T) {
	t.Parallel()
	h := openHub(t, redistest.Shared(t).URL(), redistest.Prefix(t))
	many := make([]int64, menucache.MaxWarm/2+1)
	for i := range many {
		many[i] = int64(i + 1)
	}
	for _, test := range []struct {
		warming menucache.Warming
		fields  []string
	}{
		{menucache.Warming{}, []string{"users"}},
		{menucache.Warming{Top: -1}, []string{"users"}},
		{menucache.Warming{Users: []int64{1}, Top: 1}, []string{"users"}},
		{menucache.Warming{Users: many, Types: []string{"main", "help"}}, []string{"users"}},
		{menucache.Warming{Top: menucache.MaxWarm + 1}, []string{"top"}},
		{menucache.Warming{Users: []int64{1, 0, -1}}, []string{"users[1]"}},
		{menucache.Warming{Users: []int64{1}, Role: "root", Language: "xx", Types: []string{"main", "x"}}, []string{"role", "lang", "types[1]"}},
		{menucache.Warming{Users: []int64{1}, Types: []string{"main", "admin"}}, []string{"types[1]"}},
	} {
		_, err := h.Warm(t.Context(), test.warming)
		wantProblem(t, err, test.fields...)
	}
	if n := h.Stats().Loads; n != 0 {
		t.Errorf("%d loads", n)
	}
}

// TestWarmTop makes those menus ready that were asked for most, at the start of a hub and when it is asked to.
func TestWarmTop(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(testing.TB) string{
		"redis-server": func(tb testing.TB) string { tb.Helper(); return redistest.Shared(tb).URL() },
		"embedded":     embedded,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, prefix := url(t), redistest.Prefix(t)
			first := openHub(t, url, prefix)
			if got := first.warm(t, menucache.Warming{Top: 10}); got != (menucache.Warmed{}) {
				t.Errorf("nothing was asked for, and %+v", got)
			}
			// The higher the id, the more it is asked for.
			for range 2 {
				for id := range int64(10) {
					for range 3 * (id + 1) {
						first.get(t, ask(menucache.Key{UserID: id + 1, Type: "admin"}, "admin", "en"))
					}
				}
				after(lag) // Until the hub was told of what it built, which it then reads once more.
			}
			first.Close()
			popular := prefix + ":menu:popular:" + time.Now().UTC().Format(time.DateOnly)
			members, err := first.rdb.ZRange(t.Context(), popular, 0, -1).Result()
			if err != nil || len(members) != 10 {
				t.Fatalf("%v, %v", members, err)
			}
			if left := first.rdb.TTL(t.Context(), popular).Val(); left < 47*time.Hour || left > 48*time.Hour {
				t.Errorf("it is kept for %v", left)
			}
			for _, odd := range []string{"x", "1:main:user", "0:main:user:ru", "1:gone:user:ru", "1:main:root:ru", "1:main:user:xx", "2:admin:user:ru", "a:b:c:d"} {
				must(t, first.rdb.ZIncrBy(t.Context(), popular, 100, odd))
			}

			second := openHub(t, url, prefix)
			if err := second.Invalidate(t.Context(), menucache.Selection{All: true}); err != nil {
				t.Fatal(err)
			}
			if got := second.warm(t, menucache.Warming{Top: 4}); got != (menucache.Warmed{Built: 4}) {
				t.Errorf("%+v", got)
			}
			users, err := second.Users(t.Context(), "", 100)
			if err != nil || len(users.Users) < 4 {
				t.Errorf("%+v, %v", users, err)
			}

			if err := second.Invalidate(t.Context(), menucache.Selection{All: true}); err != nil {
				t.Fatal(err)
			}
			third := openHub(t, url, prefix, func(c *menucache.Config) { c.WarmTop = 100 })
			redistest.Eventually(t, longEnough, "a warm cache", func() bool { return third.Stats().Loads == 10 })
			redistest.Eventually(t, longEnough, "menus that are stored", func() bool {
				for id := range int64(10) {
					raw, err := third.rdb.Get(t.Context(), fmt.Sprintf("%s:menu:user:%d:admin", prefix, id+1)).Result()
					if err != nil || raw == "" {
						return false
					}
				}
				return true
			})
			for id := range int64(10) {
				r := ask(menucache.Key{UserID: id + 1, Type: "admin"}, "admin", "en")
				redistest.Eventually(t, longEnough, "a hit", func() bool { return third.get(t, r).Outcome == "HIT" })
			}
		})
	}
}

// TestWarmEnds ends a warming with its context, and counts what is not ready as failed.
func TestWarmEnds(t *testing.T) {
	t.Parallel()
	h := openHub(t, redistest.Shared(t).URL(), redistest.Prefix(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	warmed, err := h.Warm(ctx, menucache.Warming{Users: []int64{1, 2, 3}})
	if err != nil || warmed != (menucache.Warmed{Failed: 3}) {
		t.Errorf("%+v, %v", warmed, err)
	}
}

// TestWarmFails warms while Redis, and the source, are away.
func TestWarmFails(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := newShelf(t)
	h := openHub(t, server.URL(), "hub", from(t, s))
	s.fail(500)
	if got := h.warm(t, menucache.Warming{Users: []int64{1, 2}}); got != (menucache.Warmed{Failed: 2}) {
		t.Errorf("%+v", got)
	}
	s.fail(0)
	server.Kill()
	h.noticed(t, true)
	if got := h.warm(t, menucache.Warming{Users: []int64{3, 4}}); got != (menucache.Warmed{Failed: 2}) {
		t.Errorf("%+v", got)
	}
	if _, err := h.Warm(t.Context(), menucache.Warming{Top: 1}); !errors.Is(err, menucache.ErrUnavailable) {
		t.Error(err)
	}
}
