package menucache_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/menucache"
)

// soon is how long a menu may take while Redis is known to be away.
const soon = 50 * time.Millisecond

// getSoon gets a menu and checks that it came soon, at the second attempt at least: the machine may be busy.
func (h *hub) getSoon(tb testing.TB, r menucache.Request) menucache.Answer {
	tb.Helper()
	var took time.Duration
	for range 2 {
		began := time.Now()
		a := h.get(tb, r)
		if took = time.Since(began); took <= soon {
			return a
		}
	}
	tb.Errorf("it took %v", took)
	return menucache.Answer{}
}

// wantUnavailable calls everything that needs Redis.
func (h *hub) wantUnavailable(tb testing.TB) {
	tb.Helper()
	key := menucache.Key{UserID: 1, Type: "main"}
	for name, call := range map[string]func(context.Context) error{
		"set": func(ctx context.Context) error {
			_, err := h.Set(ctx, menucache.Write{Key: key, Menu: own("x")})
			return err
		},
		"clear":      func(ctx context.Context) error { _, err := h.Clear(ctx, key); return err },
		"clear user": func(ctx context.Context) error { _, err := h.ClearUser(ctx, 1); return err },
		"invalidate": func(ctx context.Context) error { return h.Invalidate(ctx, menucache.Selection{All: true}) },
		"renew":      func(ctx context.Context) error { _, err := h.Renew(ctx, key, 0); return err },
		"users":      func(ctx context.Context) error { _, err := h.Users(ctx, "", 10); return err },
		"warm":       func(ctx context.Context) error { _, err := h.Warm(ctx, menucache.Warming{Top: 1}); return err },
	} {
		began := time.Now()
		err := call(tb.Context())
		if took := time.Since(began); !errors.Is(err, menucache.ErrUnavailable) || took > time.Second {
			tb.Errorf("%s: %v after %v", name, err, took)
		}
	}
	h.told.want(tb)
}

// TestRedisIsAway takes Redis away in three ways, changes what it has, and gives it back.
func TestRedisIsAway(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]struct{ begin, end func(*redistest.Server) }{
		"killed":  {(*redistest.Server).Kill, (*redistest.Server).Restart},
		"stopped": {(*redistest.Server).Stop, (*redistest.Server).Restart},
		"paused":  {(*redistest.Server).Pause, (*redistest.Server).Resume},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			one, other := openTwo(t, server.URL(), func(c *menucache.Config) { c.TTL, c.Stale = time.Hour, time.Hour-time.Second })
			set, stale := ask(menucache.Key{UserID: 1, Type: "main"}, "", ""), ask(menucache.Key{UserID: 2, Type: "main"}, "", "")
			one.set(t, menucache.Write{Key: set.Key, Menu: own("kept")})
			one.settled(t, stale)
			one.settled(t, set)
			outage.begin(server)
			began := time.Now() // Nothing is made anew from now on.
			one.noticed(t, true)
			other.noticed(t, true)
			after(time.Until(began.Add(time.Second)))
			for range 2 {
				if a := one.getSoon(t, set); string(a.Body) != string(own("kept")) || a.Outcome != "HIT" {
					t.Errorf("what is in memory: %s %s", a.Outcome, a.Body)
				}
				if a := one.getSoon(t, stale); string(a.Body) != one.built(t, stale) || a.Outcome != "STALE" {
					t.Errorf("what is stale: %s %s", a.Outcome, a.Body)
				}
			}
			if a := other.getSoon(t, set); string(a.Body) != other.built(t, set) || a.Outcome != "BYPASS" {
				t.Errorf("what is not in memory: %s %s", a.Outcome, a.Body)
			}
			// Nor is an outage a way around the role.
			other.getSoon(t, ask(set.Key, "admin", ""))
			if a := other.getSoon(t, set); string(a.Body) != other.built(t, set) {
				t.Errorf("after an admin: %s", a.Body)
			}
			if n := other.Stats(); n.Bypassed == 0 {
				t.Errorf("%+v", n)
			}
			one.wantUnavailable(t)

			outage.end(server)
			// Somebody is faster than the hubs.
			rdb := server.Client()
			must(t, rdb.Del(t.Context(), one.key(set.Key)))
			one.noticed(t, false)
			other.noticed(t, false)
			for _, h := range []*hub{one, other} {
				if a := h.get(t, set); string(a.Body) != h.built(t, set) || a.Outcome == "BYPASS" {
					t.Errorf("when it is back: %s %s", a.Outcome, a.Body)
				}
			}
			one.set(t, menucache.Write{Key: set.Key, Menu: own("new")})
			one.want(t, set, string(own("new")), "HIT")
			after(lag)
			other.want(t, set, string(own("new")), "HIT")
		})
	}
}

// TestStartsWithoutRedis starts while Redis is away, builds menus, and uses Redis when it comes.
func TestStartsWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Kill()
	h := openHub(t, server.URL(), "hub", func(c *menucache.Config) { c.WarmTop = 10 })
	h.noticed(t, true)
	r := ask(mainMenu, "", "")
	if a := h.getSoon(t, r); string(a.Body) != h.built(t, r) || a.Outcome != "BYPASS" && a.Outcome != "HIT" {
		t.Errorf("%s %s", a.Outcome, a.Body)
	}
	h.wantUnavailable(t)
	server.Restart()
	h.noticed(t, false)
	redistest.Eventually(t, longEnough, "a menu that is kept", func() bool {
		h.get(t, r)
		return h.rdb.Exists(t.Context(), h.key(mainMenu)).Val() == 1
	})
}

// TestCacheIsLost empties Redis, with the epoch, as cache.clear() of the Django bot does.
func TestCacheIsLost(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	one, other := openTwo(t, server.URL())
	r := ask(mainMenu, "", "")
	one.set(t, menucache.Write{Key: mainMenu, Menu: own("a")})
	one.settled(t, r)
	other.settled(t, r)
	raw := one.rdb.Get(t.Context(), one.key(mainMenu)).Val()
	must(t, one.rdb.FlushDB(t.Context()))
	after(lag)
	for _, h := range []*hub{one, other} {
		if a := h.get(t, r); string(a.Body) != h.built(t, r) {
			t.Errorf("after the flush: %s", a.Body)
		}
	}
	// What was written before does not count, even if somebody brings it back.
	must(t, one.rdb.Set(t.Context(), one.key(mainMenu), raw, time.Hour))
	after(lag)
	if a := one.get(t, r); string(a.Body) != one.built(t, r) {
		t.Errorf("from before the flush: %s", a.Body)
	}
}

// TestEmbedded calls everything there is to call with the embedded Redis.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	for name, mode := range modes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := embedded(t)
			s := newShelf(t)
			one, other := openTwo(t, url, mode, from(t, s))
			scenario(t, one)
			scenario(t, other)
			for _, write := range []menucache.WriteMode{menucache.WriteCache, menucache.WriteThrough, menucache.WriteBehind} {
				key := menucache.Key{UserID: 50, Type: "main"}
				one.set(t, menucache.Write{Key: key, Menu: own("m" + string(write)), Mode: write})
				one.want(t, ask(key, "", ""), string(own("m"+string(write))), "HIT")
				after(lag)
				other.want(t, ask(key, "", ""), string(own("m"+string(write))), "HIT")
				if n, err := other.Clear(t.Context(), key); n != 1 || err != nil {
					t.Errorf("%d, %v", n, err)
				}
			}
			redistest.Eventually(t, longEnough, "a delivery", func() bool {
				waiting, _, err := one.QueueDepth(t.Context())
				return waiting == 0 && err == nil
			})
			if one.Tracked() {
				t.Error("the embedded Redis does not track")
			}
		})
	}
}

// TestQueueIsAway does without the database of the queue: what the source has is not known to be the newest.
func TestQueueIsAway(t *testing.T) {
	t.Parallel()
	queue := redistest.Start(t)
	s := newShelf(t)
	var rdb *redis.Client
	h := openHub(t, redistest.Shared(t).URL(), redistest.Prefix(t), from(t, s), func(c *menucache.Config) {
		rdb = connect(t, queue.URL())
		c.Queue = rdb
	})
	key := menucache.Key{UserID: 1, Type: "main"}
	s.put(key, string(own("a")))
	queue.Kill()
	r := ask(key, "", "")
	h.want(t, r, h.built(t, r), "BYPASS")
	if _, err := h.Set(t.Context(), menucache.Write{Key: key, Menu: own("b"), Mode: menucache.WriteBehind}); !errors.Is(err, menucache.ErrUnavailable) {
		t.Error(err)
	}
	queue.Restart()
	redistest.Eventually(t, longEnough, "the source's menu", func() bool { return string(h.get(t, r).Body) == string(own("a")) })
}
