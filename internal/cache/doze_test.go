package cache_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// dozes waits until Redis is sent less than so many commands a second.
func dozes(tb testing.TB, rdb *redis.Client, most int) {
	tb.Helper()
	redistest.Eventually(tb, 20*time.Second, "it dozes", func() bool {
		before := calls(tb, rdb)
		after(time.Second)
		sent := -1 // The INFO above.
		for name, n := range calls(tb, rdb) {
			sent += n - before[name]
		}
		return sent < most
	})
}

// feeds are the ways in which Redis tells of changes, as kinds of privateServer that know commandstats.
func feeds() []string { return []string{"tracked", "no HELLO"} }

func TestAnIdleHubSendsLittle(t *testing.T) {
	t.Parallel()
	for _, kind := range feeds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			at, rdb := privateServer(t, kind)
			h := open(t, at, config("x"))
			h.set(t, 1, "one", time.Minute)
			for range 2 {
				h.wantLocal(t, "one") // It is awake soon.
				dozes(t, rdb, 10)
			}
		})
	}
}

func TestWhatChangesWhileAHubDozesIsSeenByItsFirstGet(t *testing.T) {
	t.Parallel()
	for _, kind := range feeds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			at, rdb := privateServer(t, kind)
			a, b := open(t, at, config("x")), open(t, at, config("x"))
			for name, change := range map[string]func() cache.Outcome{
				"set":    func() cache.Outcome { a.set(t, 1, "new", time.Minute); return cache.Hit },
				"delete": func() cache.Outcome { a.remove(t, 1); return cache.Miss },
				"invalidate": func() cache.Outcome {
					if err := a.Invalidate(t.Context(), "all"); err != nil {
						t.Error(err)
					}
					return cache.Miss
				},
				"replace": func() cache.Outcome {
					if err := a.Replace(t.Context(), 1, time.Minute, changed("new", nil)); err != nil {
						t.Error(err)
					}
					return cache.Hit
				},
			} {
				t.Log(name)
				a.set(t, 1, "old", time.Minute)
				b.quiet()
				b.wantLocal(t, "old")
				dozes(t, rdb, 15)
				outcome := change()
				after(cache.MaxLag)
				b.want(t, 1, b.text("new"), "new", outcome)
			}
			if s := b.Stats(); s.Bypassed != 0 || s.RedisErrors != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestRedisGoesAwayWhileAHubDozes(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"killed", "paused"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			h, rdb := open(t, server.URL(), config("x")), server.Client()
			h.set(t, 1, "one", time.Minute)
			h.wantLocal(t, "one")
			dozes(t, rdb, 10)
			fail, recovers := server.Kill, server.Restart
			if kind == "paused" {
				fail, recovers = server.Pause, server.Resume
			}
			fail()
			begun := time.Now()
			if v, err := h.Get(t.Context(), 1, h.text("one")); err != nil || v.Text != "one" {
				t.Error(v, err)
			}
			if took := time.Since(begun); took > time.Second {
				t.Errorf("the first Get took %v", took)
			}
			redistest.Eventually(t, 2*time.Second, "it is noticed", h.redis.Away)
			promptly(t, "a known value", func() { h.want(t, 1, never(t), "one", cache.Hit) })
			promptly(t, "an unknown value", func() { h.want(t, 2, h.text("two"), "two", cache.Bypass) })
			after(1500 * time.Millisecond) // It dozes again.
			recovers()
			redistest.Eventually(t, 5*time.Second, "it is noticed", func() bool { return !h.redis.Away() })
			h.set(t, 1, "new", time.Minute)
			h.wantLocal(t, "new")
		})
	}
}
