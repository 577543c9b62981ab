package cache_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// A load that began before a change is answered, and not stored after it; nobody who asks after the change joins it.
func TestALoadThatBeganBeforeAChangeIsNotStored(t *testing.T) {
	t.Parallel()
	rdb := redistest.Shared(t).Client()
	for name, test := range map[string]struct {
		before string // what is under the key, which is no value
		change func(ctx context.Context, h *hub) error
		want   string
	}{
		"Set": {
			change: func(ctx context.Context, h *hub) error { return h.Set(ctx, 1, note{Text: "set"}, time.Minute) },
			want:   "set",
		},
		"Set and Delete": {
			change: func(ctx context.Context, h *hub) error {
				err := h.Set(ctx, 1, note{Text: "set"}, time.Minute)
				_, deleteErr := h.Delete(ctx, 1)
				return errors.Join(err, deleteErr)
			},
			want: "new",
		},
		"Delete": {
			change: func(ctx context.Context, h *hub) error { _, err := h.Delete(ctx, 1); return err },
			want:   "new",
		},
		"Invalidate": {
			change: func(ctx context.Context, h *hub) error { return h.Invalidate(ctx, "parity:1") },
			want:   "new",
		},
		"a foreign SET": {
			change: func(ctx context.Context, h *hub) error {
				return errors.Join(h.Set(ctx, 2, note{Text: "foreign"}, time.Minute), rdb.Rename(ctx, h.name(2), h.name(1)).Err())
			},
			want: "foreign",
		},
		"a foreign DEL": {
			before: "damaged",
			change: func(ctx context.Context, h *hub) error { return rdb.Del(ctx, h.name(1)).Err() },
			want:   "new",
		},
	} {
		for _, where := range []string{"here", "elsewhere"} {
			t.Run(name+" "+where, func(t *testing.T) {
				t.Parallel()
				cfg := config(redistest.Prefix(t))
				cfg.LockWait = 20 * time.Millisecond // That is for how long those who ask later may be held up.
				h := open(t, url(t), cfg)
				other := h
				if where == "elsewhere" {
					other = open(t, url(t), cfg)
				}
				h.set(t, 50, "other", time.Minute) // That there is an epoch now is a change for all keys.
				h.quiet()
				if test.before != "" {
					must(t, rdb.Set(t.Context(), h.name(1), test.before, time.Minute))
				}
				w := hold()
				answers := h.ask(t.Context(), 1, "", w.text("old"))
				<-w.began
				if err := test.change(t.Context(), other); err != nil {
					t.Fatal(err)
				}
				if where == "elsewhere" || strings.Contains(name, "foreign") {
					after(cache.MaxLag)
				}
				if v, err := h.Get(t.Context(), 1, h.text("new")); err != nil || v.Text != test.want {
					t.Errorf("%q %v, want %q, while the load is held", v.Text, err, test.want)
				}
				close(w.goOn)
				same(t, <-answers, "old", cache.Miss)
				if h.Stats().Refused != 1 {
					t.Errorf("%+v", h.Stats())
				}
				h.want(t, 1, h.text("new"), test.want, cache.Hit)
				other.want(t, 1, h.text("new"), test.want, cache.Hit)
			})
		}
	}
}

// A load of a value that is there but stale, as above.
func TestARefreshThatBeganBeforeAForeignDELIsNotStored(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	cfg.TTL, cfg.Jitter, cfg.Stale = 50*time.Millisecond, -1, time.Minute
	h := open(t, url(t), cfg)
	h.want(t, 1, h.text("one"), "one", cache.Miss)
	after(cfg.TTL)
	w := hold()
	same(t, <-h.ask(t.Context(), 1, "", w.text("old")), "one", cache.Stale)
	<-w.began
	rdb := redistest.Shared(t).Client()
	must(t, rdb.Del(t.Context(), h.name(1)))
	close(w.goOn)
	redistest.Eventually(t, 5*time.Second, "the load is refused", func() bool { return h.Stats().Refused == 1 })
	if n := rdb.Exists(t.Context(), h.name(1)).Val(); n != 0 {
		t.Error("it was stored")
	}
}

func TestTouchKeepsAValueLonger(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	a, b := open(t, url(t), cfg), open(t, url(t), cfg)
	if err := a.Touch(t.Context(), 1, time.Minute); !errors.Is(err, cache.ErrNotFound) {
		t.Error(err)
	}
	const short = 200 * time.Millisecond
	a.set(t, 1, "one", short)
	end := time.Now().Add(short)
	b.want(t, 1, never(t), "one", cache.Hit)
	if err := a.Touch(t.Context(), 1, time.Minute); err != nil {
		t.Fatal(err)
	}
	until(end.Add(cache.MaxLag))
	a.want(t, 1, never(t), "one", cache.Hit)
	b.want(t, 1, never(t), "one", cache.Hit)
	if left := redistest.Shared(t).Client().PTTL(t.Context(), a.name(1)).Val(); left < 50*time.Second {
		t.Error(left)
	}
	if groups, _, err := a.List(t.Context(), "", 1); err != nil || len(groups) != 1 || groups[0].ExpiresIn < 50*time.Second {
		t.Error(groups, err)
	}
	if _, err := a.Get(t.Context(), 3, a.absent()); !errors.Is(err, cache.ErrNotFound) {
		t.Error(err)
	}
	if err := a.Touch(t.Context(), 3, time.Minute); !errors.Is(err, cache.ErrNotFound) {
		t.Error(err)
	}
}

// Touch writes what it read, which may have been invalidated in between.
func TestTouchBringsNothingBack(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	a, b := open(t, url(t), cfg), open(t, url(t), cfg)
	for range 100 {
		a.set(t, 1, "old", time.Minute)
		touched := make(chan error, 1)
		go func() { touched <- b.Touch(t.Context(), 1, time.Minute) }()
		if err := a.Invalidate(t.Context(), "all"); err != nil {
			t.Fatal(err)
		}
		if err := <-touched; err != nil && !errors.Is(err, cache.ErrNotFound) {
			t.Fatal(err)
		}
		if v, err := a.Get(t.Context(), 1, a.text("new")); err != nil || v.Text != "new" {
			t.Fatal(v, err)
		}
	}
}

func TestDeleteDeletesAllItsKeysAndSaysHowMany(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	a, b := open(t, url(t), cfg), open(t, url(t), cfg)
	for n := range 4 {
		a.set(t, n, "one", time.Minute)
		b.want(t, n, never(t), "one", cache.Hit)
	}
	if n, err := b.Delete(t.Context()); n != 0 || err != nil {
		t.Error(n, err)
	}
	if n, err := b.Delete(t.Context(), 1, 2, 3, 7); n != 3 || err != nil {
		t.Error(n, err)
	}
	after(cache.MaxLag)
	for n := range 4 {
		want, outcome := "new", cache.Miss
		if n == 0 {
			want, outcome = "one", cache.Hit
		}
		a.want(t, n, a.text("new"), want, outcome)
	}
}

func TestInvalidateIsByTag(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	a, b := open(t, url(t), cfg), open(t, url(t), cfg)
	for n := range 4 {
		a.want(t, n, a.text("old"), "old", cache.Miss)
		b.want(t, n, never(t), "old", cache.Hit)
	}
	if err := a.Invalidate(t.Context(), "parity:1"); err != nil {
		t.Fatal(err)
	}
	acknowledged := time.Now()
	a.want(t, 0, never(t), "old", cache.Hit)
	a.want(t, 1, a.text("new"), "new", cache.Miss)
	until(acknowledged.Add(cache.MaxLag))
	b.want(t, 1, never(t), "new", cache.Hit)
	b.want(t, 2, never(t), "old", cache.Hit)
	b.want(t, 3, b.text("new"), "new", cache.Miss)
	for _, tag := range []string{"", "a b", "a=1", "floor"} {
		if err := a.Invalidate(t.Context(), tag); err == nil {
			t.Errorf("%q was taken for a tag", tag)
		}
	}
}

// When Redis loses the epoch, and its clock has gone back.
func TestAValueFromAnEpochThatWasLostIsNotServed(t *testing.T) {
	t.Parallel()
	h := open(t, url(t), config(redistest.Prefix(t)))
	rdb := redistest.Shared(t).Client()
	must(t, rdb.Set(t.Context(), h.epochKey, "floor=1 all="+strconv.FormatInt(time.Now().Add(time.Hour).UnixMicro(), 10), 0))
	h.set(t, 1, "old", time.Minute)
	h.want(t, 1, never(t), "old", cache.Hit)
	must(t, rdb.Del(t.Context(), h.epochKey))
	h.quiet()
	h.want(t, 1, h.text("new"), "new", cache.Miss)
}

// What other clients do is seen by a hub that has the key in its process.
func TestForeignWritesAreSeen(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(ctx context.Context, rdb *redis.Client, h *hub, other string) error{
		"SET": func(ctx context.Context, rdb *redis.Client, h *hub, other string) error {
			return rdb.Set(ctx, h.name(1), other, time.Minute).Err()
		},
		"DEL": func(ctx context.Context, rdb *redis.Client, h *hub, _ string) error {
			return rdb.Del(ctx, h.name(1)).Err()
		},
		"EXPIRE": func(ctx context.Context, rdb *redis.Client, h *hub, _ string) error {
			return rdb.PExpire(ctx, h.name(1), time.Millisecond).Err()
		},
		"FLUSHDB": func(ctx context.Context, rdb *redis.Client, _ *hub, _ string) error { return rdb.FlushDB(ctx).Err() },
		"RENAME away": func(ctx context.Context, rdb *redis.Client, h *hub, _ string) error {
			return rdb.Rename(ctx, h.name(1), "elsewhere").Err()
		},
		"RENAME to": func(ctx context.Context, rdb *redis.Client, h *hub, other string) error {
			if err := rdb.Set(ctx, "elsewhere", other, time.Minute).Err(); err != nil {
				return err
			}
			return rdb.Rename(ctx, "elsewhere", h.name(1)).Err()
		},
		"a list": func(ctx context.Context, rdb *redis.Client, h *hub, _ string) error {
			if err := rdb.Del(ctx, h.name(1)).Err(); err != nil {
				return err
			}
			return rdb.RPush(ctx, h.name(1), "one").Err()
		},
		"damage": func(ctx context.Context, rdb *redis.Client, h *hub, _ string) error {
			return rdb.SetRange(ctx, h.name(1), 1, "damage").Err()
		},
		"a deleted epoch": func(ctx context.Context, rdb *redis.Client, h *hub, _ string) error {
			return rdb.Del(ctx, h.epochKey).Err()
		},
		"a damaged epoch": func(ctx context.Context, rdb *redis.Client, h *hub, _ string) error {
			return rdb.Set(ctx, h.epochKey, "all=1 nonsense", 0).Err()
		},
		"a list for an epoch": func(ctx context.Context, rdb *redis.Client, h *hub, _ string) error {
			if err := rdb.Del(ctx, h.epochKey).Err(); err != nil {
				return err
			}
			return rdb.RPush(ctx, h.epochKey, "one").Err()
		},
	} {
		for kind, bound := range map[string]time.Duration{"tracked": cache.MaxLag, "embedded": time.Second} {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				at, rdb := privateServer(t, kind)
				h := open(t, at, config("x"))
				if h.redis.Tracked() != (kind == "tracked") {
					t.Fatalf("tracked: %v", h.redis.Tracked())
				}
				other := h.encode(t, "other")
				h.want(t, 1, h.text("old"), "old", cache.Miss)
				h.wantLocal(t, "old")
				if err := write(t.Context(), rdb, h, other); err != nil {
					t.Fatal(err)
				}
				if name == "EXPIRE" {
					bound += 500 * time.Millisecond // It is the server that finds out, a few times a second.
				}
				seen, written := time.Duration(0), time.Now()
				redistest.Eventually(t, 5*time.Second, "it is seen", func() bool {
					asked := time.Since(written)
					v, err := h.Get(t.Context(), 1, h.text("new"))
					if err != nil {
						t.Error(err)
					}
					seen = asked
					return v.Text != "old"
				})
				if seen > bound+20*time.Millisecond { // The last one asked before may be as old as Eventually is slow.
					t.Errorf("seen after %v", seen)
				}
				t.Logf("seen after %v", seen)
				// And the key is as good as any.
				redistest.Eventually(t, 5*time.Second, "it heals", func() bool {
					before := h.Stats().LocalHits
					v, err := h.Get(t.Context(), 1, h.text("new"))
					return err == nil && v.Text != "old" && h.Stats().LocalHits > before
				})
				if name == "damage" && h.Stats().Damaged == 0 {
					t.Error("no damage counted")
				}
				h.set(t, 2, "two", time.Minute)
				h.want(t, 2, never(t), "two", cache.Hit)
			})
		}
	}
}

// encode makes what a cache would store.
func (h *hub) encode(tb testing.TB, text string) string {
	tb.Helper()
	h.set(tb, 99, text, time.Minute)
	raw, err := h.rdb.Get(tb.Context(), h.name(99)).Result()
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func (h *hub) name(n int) string { return h.prefix + strconv.Itoa(n) }
