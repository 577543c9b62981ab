package cache_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// changed is a change that ends with a text and an error.
func changed(text string, err error) func(context.Context) (note, error) {
	return func(context.Context) (note, error) { return note{Text: text}, err }
}

// unasked is a change that must not be made.
func unasked(tb testing.TB) func(context.Context) (note, error) {
	tb.Helper()
	return func(context.Context) (note, error) {
		tb.Error("the change was made")
		return note{}, errSource
	}
}

func TestAReplacedValueIsKeptForItsTTLAndSeenByBothHubs(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tracked", "no HELLO", "embedded"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			at, _ := privateServer(t, kind)
			a, b := open(t, at, config("x")), open(t, at, config("x"))
			for i := range 3 {
				text := strconv.Itoa(i)
				if err := a.Replace(t.Context(), 1, time.Minute, changed(text, nil)); err != nil {
					t.Fatal(err)
				}
				acknowledged := time.Now()
				a.want(t, 1, never(t), text, cache.Hit)
				until(acknowledged.Add(cache.MaxLag))
				b.want(t, 1, never(t), text, cache.Hit)
			}
			if groups, _, err := b.List(t.Context(), "", 10); err != nil || len(groups) != 1 {
				t.Error(groups, err)
			}
			if err := b.Replace(t.Context(), 1, 50*time.Millisecond, changed("short", nil)); err != nil {
				t.Fatal(err)
			}
			after(cache.MaxLag)
			a.want(t, 1, a.text("loaded"), "loaded", cache.Miss)
			if s := a.Stats(); s.Refused != 0 || s.RedisErrors != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestAChangeThatFailsDropsTheValueUnlessNothingWasChanged(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(context.Context) (note, error)
		want   error
		keeps  bool
	}{
		"an error":      {changed("new", errSource), errSource, false},
		"nothing there": {changed("", cache.ErrNotFound), cache.ErrNotFound, false},
		"unchanged":     {changed("new", fmt.Errorf("%w: %w", errSource, cache.ErrUnchanged)), errSource, true},
		"unencodable":   {changed("unencodable", nil), errEncode, false},
		"a panic":       {func(context.Context) (note, error) { panic("ouch") }, errPanic, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(redistest.Prefix(t))
			cfg.Codec = picky{cache.JSON[note]()}
			a, b := open(t, url(t), cfg), open(t, url(t), cfg)
			a.set(t, 1, "old", time.Minute)
			b.wantLocal(t, "old")
			err := func() (err error) {
				defer func() {
					if recover() != nil {
						err = errPanic
					}
				}()
				return a.Replace(t.Context(), 1, time.Minute, test.change)
			}()
			if !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if n := a.rdb.Exists(t.Context(), cfg.LockPrefix+"1").Val(); n != 0 {
				t.Error("the lock was left")
			}
			acknowledged := time.Now()
			if test.keeps {
				a.want(t, 1, never(t), "old", cache.Hit)
				b.want(t, 1, never(t), "old", cache.Hit)
				return
			}
			a.want(t, 1, a.text("loaded"), "loaded", cache.Miss)
			until(acknowledged.Add(cache.MaxLag))
			b.want(t, 1, never(t), "loaded", cache.Hit)
		})
	}
}

var (
	errEncode = errors.New("no such text")
	errPanic  = errors.New("it panicked")
)

// picky is a codec that cannot write everything.
type picky struct{ cache.Codec[note] }

func (p picky) Encode(v note, m cache.Meta) ([]byte, error) {
	if v.Text == "unencodable" {
		return nil, errEncode
	}
	return p.Codec.Encode(v, m)
}

func TestACallerWhoLeavesDuringAChangeHidesNothing(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fails   bool
		text    string
		outcome cache.Outcome
	}{
		"and it is made": {false, "new", cache.Hit},
		"and it fails":   {true, "loaded", cache.Miss},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(redistest.Prefix(t))
			a, b := open(t, url(t), cfg), open(t, url(t), cfg)
			a.set(t, 1, "old", time.Minute)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := a.Replace(ctx, 1, time.Minute, func(ctx context.Context) (note, error) {
				cancel()
				if test.fails {
					return note{}, ctx.Err()
				}
				return note{Text: "new"}, nil
			})
			if test.fails != errors.Is(err, context.Canceled) || !test.fails && err != nil {
				t.Error(err)
			}
			b.want(t, 1, b.text("loaded"), test.text, test.outcome)
			a.want(t, 1, never(t), test.text, cache.Hit)
		})
	}
	t.Run("before it", func(t *testing.T) {
		t.Parallel()
		h := open(t, url(t), config(redistest.Prefix(t)))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := h.Replace(ctx, 1, time.Minute, unasked(t)); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestALoadInTheAirIsNotStoredAfterAChange(t *testing.T) {
	t.Parallel()
	t.Run("that began before", func(t *testing.T) {
		t.Parallel()
		cfg := config(redistest.Prefix(t))
		a, b := open(t, url(t), cfg), open(t, url(t), cfg)
		for _, loader := range []*hub{a, b} {
			w := hold()
			loading := loader.ask(t.Context(), 1, "", w.text("old"))
			<-w.began
			if err := a.Replace(t.Context(), 1, time.Minute, changed("new", nil)); err != nil {
				t.Fatal(err)
			}
			close(w.goOn)
			same(t, <-loading, "old", cache.Miss)
			a.want(t, 1, never(t), "new", cache.Hit)
			b.quiet()
			b.want(t, 1, never(t), "new", cache.Hit)
			a.remove(t, 1)
			b.quiet()
		}
	})
	t.Run("that began meanwhile", func(t *testing.T) {
		t.Parallel()
		cfg := config(redistest.Prefix(t))
		cfg.LockWait = 20 * time.Millisecond
		a, b := open(t, url(t), cfg), open(t, url(t), cfg)
		for _, ends := range []error{nil, errSource} {
			w := hold()
			var loading <-chan answer
			err := a.Replace(t.Context(), 1, time.Minute, func(ctx context.Context) (note, error) {
				loading = b.ask(ctx, 1, "", w.text("old"))
				<-w.began
				return note{Text: "new"}, ends
			})
			if !errors.Is(err, ends) {
				t.Error(err)
			}
			close(w.goOn)
			same(t, <-loading, "old", cache.Miss)
			outcome := cache.Hit
			if ends != nil {
				outcome = cache.Miss
			}
			a.want(t, 1, a.text("new"), "new", outcome)
			b.quiet()
			b.want(t, 1, never(t), "new", cache.Hit)
			a.remove(t, 1)
			b.quiet()
		}
	})
	t.Run("that was stored meanwhile", func(t *testing.T) {
		t.Parallel()
		cfg := config(redistest.Prefix(t))
		cfg.LockWait = 20 * time.Millisecond
		a, b := open(t, url(t), cfg), open(t, url(t), cfg)
		err := a.Replace(t.Context(), 1, time.Minute, func(ctx context.Context) (note, error) {
			same(t, <-b.ask(ctx, 1, "", b.text("old")), "old", cache.Miss)
			return note{Text: "new"}, nil
		})
		if err != nil {
			t.Error(err)
		}
		a.want(t, 1, a.text("new"), "new", cache.Miss)
		b.quiet()
		b.want(t, 1, never(t), "new", cache.Hit)
	})
}

func TestAReplaceWithoutRedisChangesNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	h := open(t, server.URL(), config("x"))
	server.Kill()
	redistest.Eventually(t, 2*time.Second, "it is noticed", h.redis.Away)
	promptly(t, "Replace", func() {
		if err := h.Replace(t.Context(), 1, time.Minute, unasked(t)); !errors.Is(err, cache.ErrUnavailable) {
			t.Error(err)
		}
	})
	server.Restart()
	redistest.Eventually(t, 5*time.Second, "it is noticed", func() bool { return !h.redis.Away() })
	server.Pause()
	if err := h.Replace(t.Context(), 1, time.Minute, unasked(t)); !errors.Is(err, cache.ErrUnavailable) {
		t.Error(err)
	}
	server.Resume()
}

func TestAReplaceThatLosesRedisSaysSoAndMayBeTriedAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ fail, recover func(*redistest.Server) }{
		"killed": {(*redistest.Server).Kill, (*redistest.Server).Restart},
		"paused": {(*redistest.Server).Pause, (*redistest.Server).Resume},
	} {
		for kind, ends := range map[string]error{"after the change": nil, "after an error": errSource} {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				server := redistest.Start(t)
				a, b := open(t, server.URL(), config("x")), open(t, server.URL(), config("x"))
				a.set(t, 1, "old", time.Minute)
				begun := time.Now()
				err := a.Replace(t.Context(), 1, time.Minute, func(context.Context) (note, error) {
					test.fail(server)
					return note{Text: "new"}, ends
				})
				if took := time.Since(begun); !errors.Is(err, cache.ErrUnavailable) || took > 2*time.Second {
					t.Errorf("%v after %v", err, took)
				}
				test.recover(server)
				redistest.Eventually(t, 5*time.Second, "it is noticed", func() bool { return !a.redis.Away() && !b.redis.Away() })
				redistest.Eventually(t, 5*time.Second, "it works again", func() bool {
					return a.Replace(t.Context(), 1, time.Minute, changed("new", nil)) == nil
				})
				a.want(t, 1, a.text("new"), "new", a.outcome(t, 1))
				b.quiet()
				b.want(t, 1, never(t), "new", cache.Hit)
			})
		}
	}
}

// A connection may break while Redis is well: what was kept before the change is not what is returned after it.
func TestAReplaceSurvivesBrokenConnections(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, b := open(t, server.URL(), config("x")), open(t, server.URL(), config("x"))
	rdb := server.Client()
	for i := range 10 {
		a.set(t, 1, "old", time.Minute)
		_ = a.Replace(t.Context(), 1, time.Minute, func(ctx context.Context) (note, error) {
			must(t, rdb.ClientKillByFilter(ctx, "type", "normal", "skipme", "yes"))
			return note{Text: "new"}, []error{nil, errSource}[i%2]
		})
		b.quiet()
		for _, h := range []*hub{a, b} {
			if v, err := h.Get(t.Context(), 1, h.text("new")); err != nil || v.Text != "new" {
				t.Error(v, err)
			}
		}
	}
}

func TestAReplaceOfAClosedCache(t *testing.T) {
	t.Parallel()
	for name, ends := range map[string]error{"a change": nil, "an error": errSource} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(redistest.Prefix(t))
			a, b := open(t, url(t), cfg), open(t, url(t), cfg)
			b.set(t, 1, "old", time.Minute)
			err := a.Replace(t.Context(), 1, time.Minute, func(ctx context.Context) (note, error) {
				a.Close()
				must(t, b.rdb.Set(ctx, cfg.LockPrefix+"1", "somebody", time.Minute)) // So that it has to be dropped.
				return note{Text: "new"}, ends
			})
			if !errors.Is(err, ends) {
				t.Error(err)
			}
			b.quiet()
			b.want(t, 1, b.text("new"), "new", cache.Miss)
			if err := a.Replace(t.Context(), 1, time.Minute, unasked(t)); !errors.Is(err, cache.ErrClosed) {
				t.Error(err)
			}
		})
	}
}

// TestOverlappingChangesLeaveNothingOlderThanTheSource changes keys through two hubs at the same time, while both read.
// Changes take their turn in the source in any order, fail before it or after it, and loads take locks away from them.
func TestOverlappingChangesLeaveNothingOlderThanTheSource(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tracked", "embedded"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			at, _ := privateServer(t, kind)
			cfg := config("x")
			cfg.TTL, cfg.Jitter, cfg.Stale = 300*time.Millisecond, 0.5, time.Minute
			cfg.LockWait = 15 * time.Millisecond
			hubs := [2]*hub{open(t, at, cfg), open(t, at, cfg)}
			var src source
			var seen [2]promises // by hub
			ctx, stop := context.WithTimeout(t.Context(), 4*time.Second)
			defer stop()
			calls := context.WithoutCancel(ctx) // None is cut short.
			var reads, changes atomic.Int64
			var all sync.WaitGroup
			for i, h := range hubs {
				for range 3 {
					all.Go(func() {
						for ctx.Err() == nil {
							key := rand.IntN(keys)
							least := seen[i].least(key, time.Now())
							v, err := h.Get(calls, key, src.load(key))
							version, bad := strconv.ParseInt(v.Text, 10, 64)
							if err != nil || bad != nil || version < least {
								t.Errorf("hub %d, key %d: %q %v, at least %d was promised", i, key, v.Text, err, least)
								stop()
							}
							reads.Add(1)
							_ = dawdle(ctx, time.Millisecond)
						}
					})
				}
				for range 3 {
					all.Go(func() {
						for ctx.Err() == nil {
							key := rand.IntN(keys)
							version, err := replaced(calls, h, &src, key)
							if err != nil && !errors.Is(err, errSource) {
								t.Errorf("hub %d, key %d: %v", i, key, err)
								stop()
							}
							acknowledged := time.Now()
							seen[i].add(key, acknowledged, version)
							seen[1-i].add(key, acknowledged.Add(cache.MaxLag), version)
							changes.Add(1)
							_ = dawdle(ctx, 60*time.Millisecond)
						}
					})
				}
			}
			all.Wait()
			after(cache.MaxLag)
			for key := range keys {
				for i, h := range hubs {
					v, err := h.Get(t.Context(), key, src.load(key))
					if want := strconv.FormatInt(src.versions[key].Load(), 10); err != nil || v.Text != want {
						t.Errorf("hub %d, key %d: %q %v, the source ended with %s", i, key, v.Text, err, want)
					}
				}
			}
			t.Logf("%d reads, %d changes", reads.Load(), changes.Load())
		})
	}
}

// replaced changes a key once, and returns the version that the source then had at least.
func replaced(ctx context.Context, h *hub, src *source, key int) (version int64, err error) {
	err = h.Replace(ctx, key, time.Minute, func(ctx context.Context) (note, error) {
		if err := dawdle(ctx, 20*time.Millisecond); err != nil {
			return note{}, err
		}
		how := rand.IntN(8)
		if how == 0 {
			return note{}, fmt.Errorf("%w: %w", errSource, cache.ErrUnchanged)
		}
		version = src.versions[key].Add(1)
		if err := dawdle(ctx, 20*time.Millisecond); err != nil {
			return note{}, err
		}
		if how == 1 {
			return note{}, errSource
		}
		return note{Text: strconv.FormatInt(version, 10)}, nil
	})
	return version, err
}
