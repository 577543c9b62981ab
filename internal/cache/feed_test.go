package cache_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// What the hub may do in Redis decides how it hears of changes, and never whether it works.
func TestAHubDoesWithWhatRedisAllows(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rules         []string
		tracked       bool
		hubs, foreign time.Duration
		told          bool
	}{
		"all":                        {[]string{"+@all", "&*"}, true, cache.MaxLag, cache.MaxLag, true},
		"no channel":                 {[]string{"+@all", "resetchannels"}, true, cache.MaxLag, cache.MaxLag, true},
		"no PUBLISH":                 {[]string{"+@all", "&*", "-publish"}, true, cache.MaxLag, cache.MaxLag, true},
		"no CLIENT":                  {[]string{"+@all", "&*", "-client"}, false, cache.MaxLag, time.Second, true},
		"neither CLIENT nor PUBLISH": {[]string{"+@all", "&*", "-client", "-publish"}, false, time.Second, time.Second, true},
		"neither CLIENT nor channel": {[]string{"+@all", "resetchannels", "-client"}, false, cache.MaxLag, cache.MaxLag, false},
		"neither CLIENT nor SUBSCRIBE": {
			[]string{"+@all", "&*", "-client", "-subscribe"}, false, cache.MaxLag, cache.MaxLag, false,
		},
		"embedded": {nil, false, cache.MaxLag, time.Second, true},
		"no HELLO": {nil, false, cache.MaxLag, time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kind := "tracked"
			if test.rules == nil {
				kind = name
			}
			at, rdb := privateServer(t, kind)
			if test.rules != nil {
				args := []any{"acl", "setuser", "hub", "on", ">secret", "~*"}
				for _, rule := range test.rules {
					args = append(args, rule)
				}
				must(t, rdb.Do(t.Context(), args...))
				at = strings.Replace(at, "redis://", "redis://hub:secret@", 1)
			}
			a, b := open(t, at, config("x")), open(t, at, config("x"))
			if a.redis.Tracked() != test.tracked || a.redis.Away() {
				t.Errorf("tracked: %v, away: %v", a.redis.Tracked(), a.redis.Away())
			}
			for i := range 2 {
				text := strconv.Itoa(i)
				a.set(t, 1, text, time.Minute)
				acknowledged := time.Now()
				a.want(t, 1, never(t), text, cache.Hit)
				until(acknowledged.Add(test.hubs))
				b.want(t, 1, never(t), text, cache.Hit)
			}
			a.remove(t, 1)
			acknowledged := time.Now()
			a.want(t, 1, a.text("new"), "new", cache.Miss)
			until(acknowledged.Add(test.hubs))
			b.want(t, 1, never(t), "new", cache.Hit)
			if err := b.Invalidate(t.Context(), "all"); err != nil {
				t.Fatal(err)
			}
			acknowledged = time.Now()
			b.want(t, 1, b.text("newer"), "newer", cache.Miss)
			until(acknowledged.Add(test.hubs))
			a.want(t, 1, never(t), "newer", cache.Hit)

			foreign := b.encode(t, "foreign")
			a.wantLocal(t, "newer")
			must(t, rdb.Set(t.Context(), a.name(1), foreign, time.Minute))
			acknowledged = time.Now()
			until(acknowledged.Add(test.foreign))
			a.want(t, 1, never(t), "foreign", cache.Hit)
			a.quiet()
			a.want(t, 1, never(t), "foreign", cache.Hit)
			hits := a.Stats().LocalHits
			after(cache.MaxLag)
			a.want(t, 1, never(t), "foreign", cache.Hit)
			if !test.told && a.Stats().LocalHits > hits {
				t.Error("a hub that is told nothing uses an old value")
			}
			if s := a.Stats(); s.RedisErrors != 0 || s.Bypassed != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A connection that breaks loses what Redis would have told.
func TestNothingIsMissedWhenTheConnectionBreaksDuringWrites(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tracked", "no CLIENT"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			rdb, at := server.Client(), server.URL()
			if kind != "tracked" {
				must(t, rdb.Do(t.Context(), "acl", "setuser", "hub", "on", ">secret", "~*", "&*", "+@all", "-client"))
				at = strings.Replace(at, "redis://", "redis://hub:secret@", 1)
			}
			a, b := open(t, at, config("x")), open(t, at, config("x"))
			var all sync.WaitGroup
			stop := make(chan struct{})
			all.Go(func() {
				for n := 0; ; n++ {
					killFeeds(t.Context(), t, rdb)
					select {
					case <-stop:
						return
					default:
						after(time.Duration(n%7) * 10 * time.Millisecond)
					}
				}
			})
			for i := range 15 {
				text := strconv.Itoa(i)
				a.set(t, 1, text, time.Minute)
				acknowledged := time.Now()
				a.want(t, 1, never(t), text, cache.Hit)
				b.want(t, 2, b.text("other"), "other", b.outcome(t, 2))
				until(acknowledged.Add(cache.MaxLag))
				b.want(t, 1, never(t), text, cache.Hit)
			}
			close(stop)
			all.Wait()
			if a.redis.Away() || a.Stats().Bypassed != 0 || b.Stats().Bypassed != 0 {
				t.Errorf("a broken connection counts as Redis away: %+v", b.Stats())
			}
			redistest.Eventually(t, 5*time.Second, "the feed is back", func() bool {
				before := b.Stats().LocalHits
				b.want(t, 1, never(t), "14", cache.Hit)
				return b.Stats().LocalHits > before
			})
			if b.Stats().Interruptions < 2 {
				t.Errorf("%+v", b.Stats())
			}
		})
	}
}

// outcome is Miss for a key that is not there, and otherwise Hit.
func (h *hub) outcome(tb testing.TB, key int) cache.Outcome {
	tb.Helper()
	n, err := h.rdb.Exists(tb.Context(), h.name(key)).Result()
	if err != nil {
		tb.Fatal(err)
	}
	if n == 0 {
		return cache.Miss
	}
	return cache.Hit
}

// killFeeds breaks the connections on which caches hear of changes, and no others.
func killFeeds(ctx context.Context, tb testing.TB, rdb *redis.Client) {
	tb.Helper()
	list, err := rdb.ClientList(ctx).Result()
	if err != nil {
		tb.Error(err)
	}
	for line := range strings.Lines(list) {
		fields := map[string]string{}
		for field := range strings.FieldsSeq(line) {
			name, value, _ := strings.Cut(field, "=")
			fields[name] = value
		}
		if strings.ContainsAny(fields["flags"], "BP") { // Broadcast tracking, Pub/Sub.
			rdb.ClientKillByFilter(ctx, "id", fields["id"])
		}
	}
}

// A connection may hang while Redis answers on others.
func TestNothingIsStaleWhenTheFeedHangs(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	proxy := newProxy(t, redistest.Shared(t).Addr())
	a, b := open(t, url(t), cfg), openFed(t, url(t), proxy.url(), cfg)
	a.set(t, 1, "old", time.Minute)
	b.wantLocal(t, "old")
	w := hold()
	loading := b.ask(t.Context(), 2, "", w.text("old"))
	<-w.began
	b.quiet()

	release := proxy.hold()
	defer release()
	for key := 1; key <= 2; key++ {
		a.set(t, key, "new", time.Minute)
	}
	until(time.Now().Add(cache.MaxLag))
	for range 5 { // Over the time after which the connection is given up.
		for key := 1; key <= 2; key++ {
			b.want(t, key, never(t), "new", cache.Hit)
		}
		after(cache.MaxLag)
	}
	if b.redis.Away() {
		t.Error("Redis counts as away")
	}
	b.set(t, 1, "newer", time.Minute)
	close(w.goOn)
	same(t, <-loading, "old", cache.Miss)
	release()
	b.wantLocal(t, "newer")
}

// proxy stands between a feed and Redis, and can hold back what Redis says.
type proxy struct {
	listener net.Listener
	gate     sync.RWMutex
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := new(net.Dialer).DialContext(context.Background(), "tcp", to)
			if err != nil {
				t.Error(err)
				return
			}
			all.Go(func() {
				_, _ = io.Copy(server, client) // Until one of them closes.
				_ = server.Close()
			})
			all.Go(func() {
				defer func() { _ = client.Close() }()
				for buffer := make([]byte, 4096); ; {
					n, err := server.Read(buffer)
					if err != nil {
						return
					}
					p.gate.RLock()
					_, err = client.Write(buffer[:n])
					p.gate.RUnlock()
					if err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		all.Wait()
	})
	return p
}

func (p *proxy) url() string { return "redis://" + p.listener.Addr().String() + "/0" }

// hold holds back what Redis says, until release is called, perhaps twice.
func (p *proxy) hold() (release func()) {
	p.gate.Lock()
	return sync.OnceFunc(p.gate.Unlock)
}

func TestAnOutage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fail, recover func(*redistest.Server)
		remembers     bool
	}{
		"killed": {(*redistest.Server).Kill, (*redistest.Server).Restart, false},
		"paused": {(*redistest.Server).Pause, (*redistest.Server).Resume, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			cfg := config("x")
			cfg.TTL, cfg.Jitter, cfg.Stale = time.Second, -1, time.Minute
			a, b := open(t, server.URL(), cfg), open(t, server.URL(), cfg)
			a.want(t, 1, a.text("stale"), "stale", cache.Miss)
			stale := time.Now().Add(cfg.TTL)
			for n, text := range []string{2: "fresh", 3: "deleted", 5: "deleted elsewhere"} {
				if text != "" {
					a.set(t, n, text, time.Minute)
				}
			}
			if _, err := a.Get(t.Context(), 9, a.absent()); !errors.Is(err, cache.ErrNotFound) {
				t.Fatal(err)
			}
			a.quiet()
			if _, err := a.Get(t.Context(), 9, a.absent()); !errors.Is(err, cache.ErrNotFound) {
				t.Fatal(err)
			}
			for n, text := range map[int]string{2: "fresh", 3: "deleted", 5: "deleted elsewhere"} {
				a.want(t, n, never(t), text, cache.Hit)
			}
			if v, err := a.Get(t.Context(), 1, a.text("stale")); err != nil || v.Text != "stale" {
				t.Error(v, err)
			}
			a.remove(t, 3)
			b.remove(t, 5)
			a.quiet()

			test.fail(server)
			redistest.Eventually(t, 2*time.Second, "it is noticed", a.redis.Away)
			until(stale)
			promptly(t, "a stale value", func() { a.want(t, 1, never(t), "stale", cache.Stale) })
			promptly(t, "a fresh value", func() { a.want(t, 2, never(t), "fresh", cache.Hit) })
			promptly(t, "nothing", func() {
				if _, err := a.Get(t.Context(), 9, a.absent()); !errors.Is(err, cache.ErrNotFound) {
					t.Error(err)
				}
			})
			for n, text := range map[int]string{3: "new", 4: "unknown", 5: "new"} {
				promptly(t, text, func() { a.want(t, n, a.text(text), text, cache.Bypass) })
				promptly(t, text, func() { a.want(t, n, never(t), text, cache.Hit) })
			}
			promptly(t, "a failure", func() {
				if _, err := a.Get(t.Context(), 6, a.fails()); !errors.Is(err, errSource) {
					t.Error(err)
				}
			})
			for call, do := range map[string]func() error{
				"Set":        func() error { return a.Set(t.Context(), 7, note{}, time.Minute) },
				"Touch":      func() error { return a.Touch(t.Context(), 7, time.Minute) },
				"Delete":     func() error { _, err := a.Delete(t.Context(), 7); return err },
				"Invalidate": func() error { return a.Invalidate(t.Context(), "elsewhere") },
				"List":       func() error { _, _, err := a.List(t.Context(), "", 1); return err },
			} {
				promptly(t, call, func() {
					if err := do(); !errors.Is(err, cache.ErrUnavailable) {
						t.Errorf("%s: %v", call, err)
					}
				})
			}
			promptly(t, "a fresh value", func() { a.want(t, 2, never(t), "fresh", cache.Hit) }) // It is still there.
			if s := a.Stats(); s.Bypassed != 3 {
				t.Errorf("%+v", s)
			}

			test.recover(server)
			redistest.Eventually(t, 5*time.Second, "it is noticed", func() bool { return !a.redis.Away() && !b.redis.Away() })
			text, outcome := "new", cache.Miss
			if test.remembers {
				text, outcome = "fresh", cache.Hit
			}
			a.want(t, 2, a.text("new"), text, outcome)
			b.want(t, 4, b.text("newer"), "newer", cache.Miss) // What was loaded meanwhile is nobody else's,
			a.want(t, 4, never(t), "newer", cache.Hit)         // and of no use any more.
			b.set(t, 4, "newest", time.Minute)
			b.quiet()
			a.want(t, 4, never(t), "newest", cache.Hit)
		})
	}
}

// promptly fails the test when something takes more than 50 ms.
func promptly(t *testing.T, what string, do func()) {
	t.Helper()
	begun := time.Now()
	do()
	if took := time.Since(begun); took > 50*time.Millisecond {
		t.Errorf("%s took %v", what, took)
	}
}

// What was missed while a connection was broken does not come back with a later outage.
func TestAnOutageBringsNothingBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	a, b := open(t, server.URL(), config("x")), open(t, server.URL(), config("x"))
	for n := range 3 {
		a.set(t, n, "old", time.Minute)
	}
	a.quiet()
	for n := range 3 {
		a.want(t, n, never(t), "old", cache.Hit)
	}
	for a.Stats().Interruptions < 3 { // Until a deletion falls into an interruption, more likely than not.
		killFeeds(t.Context(), t, rdb)
		b.remove(t, 1)
		if err := b.Invalidate(t.Context(), "parity:0"); err != nil {
			t.Fatal(err)
		}
		before := a.Stats().Interruptions
		redistest.Eventually(t, 5*time.Second, "the feed is back", func() bool { return a.Stats().Interruptions > before })
	}
	a.quiet()
	server.Kill()
	redistest.Eventually(t, 2*time.Second, "it is noticed", a.redis.Away)
	for n := range 3 {
		a.want(t, n, a.text("new"), "new", cache.Bypass)
	}
}

func TestAHubStartsWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Kill()
	h := open(t, server.URL(), config("x"))
	if !h.redis.Away() {
		t.Error("Redis is not known to be away")
	}
	promptly(t, "a load", func() { h.want(t, 1, h.text("one"), "one", cache.Bypass) })
	promptly(t, "a local value", func() { h.want(t, 1, never(t), "one", cache.Hit) })
	server.Restart()
	redistest.Eventually(t, 5*time.Second, "it is noticed", func() bool { return !h.redis.Away() })
	h.want(t, 1, h.text("two"), "two", cache.Miss)
	h.wantLocal(t, "two")
}

// A Get that finds Redis hanging does not wait longer than patience, and no value is staler than promised meanwhile.
func TestWhatHangsIsNoticed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	h := open(t, server.URL(), config("x"))
	h.set(t, 1, "one", time.Minute)
	h.wantLocal(t, "one")
	server.Pause()
	after(cache.MaxLag + 20*time.Millisecond) // No more local hits.
	for n := range 3 {
		begun := time.Now()
		v, err := h.Get(t.Context(), n, h.text("one"))
		if took := time.Since(begun); err != nil || v.Text != "one" || took > 700*time.Millisecond {
			t.Error(v, err, took)
		}
	}
	server.Resume()
}

func TestWhatRedisKeptOverARestartIsServed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	a, b := open(t, server.URL(), config("x")), open(t, server.URL(), config("x"))
	for n := range 4 {
		a.set(t, n, "old", time.Minute)
		b.want(t, n, never(t), "old", cache.Hit)
	}
	a.remove(t, 1)
	if err := a.Invalidate(t.Context(), "parity:0"); err != nil {
		t.Fatal(err)
	}
	b.quiet()
	server.Kill()
	server.Restart()
	redistest.Eventually(t, 5*time.Second, "it is noticed", func() bool { return !a.redis.Away() && !b.redis.Away() })
	for n, want := range []string{"new", "new", "new", "old"} {
		if v, err := b.Get(t.Context(), n, b.text("new")); err != nil || v.Text != want {
			t.Errorf("%d: %q, want %q: %v", n, v.Text, want, err)
		}
	}
}

func TestCloseOfRedisEndsTheFeed(t *testing.T) {
	t.Parallel()
	r := cache.NewRedis(redistest.Shared(t).Client(), url(t), "channel", nil)
	r.Close() // Never started.
	r = cache.NewRedis(redistest.Shared(t).Client(), url(t), "channel", nil)
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Close()
	r.Close()
}
