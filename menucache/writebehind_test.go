package menucache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/menucache"
)

// upstream is a menu source that keeps what it is given and notes what it should never be given.
type upstream struct {
	url string
	// before, if set, is asked when a menu has come, and returns the status; 0 for a connection that breaks. The menu is
	// kept when the status is 200 or keepAlways is set.
	before     func(r *http.Request, n int) int
	keepAlways bool

	mu     sync.Mutex
	menus  map[string]string // by path
	ids    map[string]int64
	busy   map[string]bool
	puts   int
	faults []string
}

func newUpstream(tb testing.TB, before func(r *http.Request, n int) int) *upstream {
	tb.Helper()
	u := &upstream{before: before, menus: map[string]string{}, ids: map[string]int64{}, busy: map[string]bool{}}
	u.url = serve(tb, u.put).URL
	tb.Cleanup(func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		for _, fault := range u.faults {
			tb.Error(fault)
		}
	})
	return u
}

func (u *upstream) put(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	id, err := strconv.ParseInt(r.Header.Get("X-Write-ID"), 10, 64)
	n := u.begin(r.URL.Path, id, err)
	status := http.StatusOK
	if u.before != nil {
		status = u.before(r, n)
	}
	u.mu.Lock()
	if status == http.StatusOK || u.keepAlways {
		u.menus[r.URL.Path] = string(body)
	}
	u.busy[r.URL.Path] = false
	u.mu.Unlock()
	if status == 0 {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(status)
}

// begin counts a write and notes what is wrong with it.
func (u *upstream) begin(path string, id int64, err error) (n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case err != nil:
		u.faults = append(u.faults, "a write without an id: "+err.Error())
	case id < u.ids[path]:
		u.faults = append(u.faults, fmt.Sprintf("%s: write %d after %d", path, id, u.ids[path]))
	}
	if u.busy[path] {
		u.faults = append(u.faults, path+": two writes at a time")
	}
	u.ids[path], u.busy[path] = id, true
	u.puts++
	return u.puts
}

func (u *upstream) menu(key menucache.Key) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.menus[fmt.Sprintf("/menus/%d/%s", key.UserID, key.Type)]
}

func (u *upstream) calls() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.puts
}

// quick is a queue that loses no time.
func quick() menucache.WriteQueueConfig {
	return menucache.WriteQueueConfig{Backoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond}
}

func newQueue(tb testing.TB, rdb *redis.Client, prefix string, u *upstream, cfg menucache.WriteQueueConfig) menucache.WriteQueue {
	tb.Helper()
	timeout := 10 * time.Second
	if cfg.Lease != 0 {
		timeout = cfg.Lease / 2
	}
	q, err := menucache.NewWriteQueue(rdb, prefix, newSource(tb, menucache.SourceConfig{URL: u.url, Timeout: timeout}), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(q.Close)
	return q
}

func startQueue(tb testing.TB, rdb *redis.Client, prefix string, u *upstream, cfg menucache.WriteQueueConfig) menucache.WriteQueue {
	tb.Helper()
	q := newQueue(tb, rdb, prefix, u, cfg)
	if err := q.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return q
}

func add(tb testing.TB, q menucache.WriteQueue, key menucache.Key, menu string) {
	tb.Helper()
	if _, err := q.Add(tb.Context(), key, []byte(menu)); err != nil {
		tb.Fatal(err)
	}
}

// drained waits until nothing is left to deliver.
func drained(tb testing.TB, q menucache.WriteQueue) {
	tb.Helper()
	redistest.Eventually(tb, longEnough, "all is delivered", func() bool {
		waiting, _, err := q.Depth(tb.Context())
		return err == nil && waiting == 0
	})
}

// counted waits for the counters, which follow what is in Redis.
func counted(tb testing.TB, q menucache.WriteQueue, want menucache.WriteQueueStats) {
	tb.Helper()
	redistest.Eventually(tb, longEnough, fmt.Sprintf("%+v is counted", want), func() bool { return q.Stats() == want })
}

// letters waits for so many dead letters.
func letters(tb testing.TB, q menucache.WriteQueue, n int) []menucache.DeadWrite {
	tb.Helper()
	var page menucache.DeadWritePage
	redistest.Eventually(tb, longEnough, fmt.Sprint(n, " dead letters"), func() bool {
		var err error
		page, err = q.Dead(tb.Context(), "", menucache.MaxPage)
		return err == nil && len(page.Writes) == n
	})
	return page.Writes
}

var mainMenu = menucache.Key{UserID: 5_000_000_000, Type: "main"} //nolint:gochecknoglobals // it is never changed

// servers are those that a hub may use.
func servers() map[string]func(testing.TB) *redis.Client {
	return map[string]func(testing.TB) *redis.Client{
		"redis-server": func(tb testing.TB) *redis.Client {
			tb.Helper()
			return connect(tb, redistest.Shared(tb).URL())
		},
		"embedded": func(tb testing.TB) *redis.Client {
			tb.Helper()
			server, err := redisconn.StartEmbedded("127.0.0.1:0")
			if err != nil {
				tb.Fatal(err)
			}
			tb.Cleanup(server.Close)
			return connect(tb, server.URL())
		},
	}
}

func connect(tb testing.TB, url string) *redis.Client {
	tb.Helper()
	rdb, err := redisconn.Open(url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func TestWriteBehindDelivers(t *testing.T) {
	t.Parallel()
	for name, open := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb, prefix := open(t), redistest.Prefix(t)
			u := newUpstream(t, nil)
			q := newQueue(t, rdb, prefix, u, quick())
			odd := "{\"a\":\"Меню 1 2-3\\n\",\r\n \"b\": [1 , 2]}"
			id, err := q.Add(t.Context(), mainMenu, []byte(odd))
			if n, parseErr := strconv.ParseInt(id, 10, 64); err != nil || parseErr != nil || n <= 0 || n >= 1<<53 {
				t.Errorf("id %q: %v, %v", id, err, parseErr)
			}
			if menu, found, err := q.Pending(t.Context(), mainMenu); string(menu) != odd || !found || err != nil {
				t.Errorf("pending: %q %t %v", menu, found, err)
			}
			if waiting, dead, err := q.Depth(t.Context()); waiting != 1 || dead != 0 || err != nil {
				t.Errorf("depth: %d %d %v", waiting, dead, err)
			}
			other := menucache.Key{UserID: mainMenu.UserID, Type: "help"}
			if menu, found, err := q.Pending(t.Context(), other); menu != nil || found || err != nil {
				t.Errorf("pending of another: %q %t %v", menu, found, err)
			}
			big := large(menucache.MaxMenuSize)
			add(t, q, other, big)
			if err := q.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			drained(t, q)
			if u.menu(mainMenu) != odd || u.menu(other) != big || u.calls() != 2 {
				t.Errorf("%q and %d bytes in %d calls", u.menu(mainMenu), len(u.menu(other)), u.calls())
			}
			counted(t, q, menucache.WriteQueueStats{Queued: 2, Delivered: 2})
			if _, found, err := q.Pending(t.Context(), mainMenu); found || err != nil {
				t.Errorf("still pending, %v", err)
			}
			if n := rdb.XLen(t.Context(), prefix+":menu:writes").Val(); n != 0 {
				t.Errorf("the stream keeps %d entries", n)
			}
			if err := q.Start(t.Context()); err == nil {
				t.Error("started twice")
			}
			q.Close()
			q.Close()
			if err := q.Start(t.Context()); err == nil {
				t.Error("started after Close")
			}
			if c := rdb.XInfoConsumers(t.Context(), prefix+":menu:writes", "hub").Val(); len(c) != 0 {
				t.Errorf("the group keeps %+v", c)
			}
		})
	}
}

// TestWriteBehindCoalesces writes a key many times while the source is slow with the first: only the last follows.
func TestWriteBehindCoalesces(t *testing.T) {
	t.Parallel()
	for name, open := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb, prefix := open(t), redistest.Prefix(t)
			first, goOn := make(chan struct{}), make(chan struct{})
			u := newUpstream(t, func(_ *http.Request, n int) int {
				if n == 1 {
					close(first)
					<-goOn
				}
				return http.StatusOK
			})
			q := startQueue(t, rdb, prefix, u, quick())
			add(t, q, mainMenu, "{}")
			<-first
			for n := range 100 {
				add(t, q, mainMenu, fmt.Sprintf(`{"n":%d}`, n))
			}
			if menu, found, err := q.Pending(t.Context(), mainMenu); string(menu) != `{"n":99}` || !found || err != nil {
				t.Errorf("pending: %q %t %v", menu, found, err)
			}
			close(goOn)
			drained(t, q)
			if u.menu(mainMenu) != `{"n":99}` || u.calls() > 5 {
				t.Errorf("%s after %d calls", u.menu(mainMenu), u.calls())
			}
			redistest.Eventually(t, longEnough, "the stream is empty", func() bool {
				return rdb.XLen(t.Context(), prefix+":menu:writes").Val() == 0
			})
			counted(t, q, menucache.WriteQueueStats{Queued: 101, Superseded: 100, Delivered: int64(u.calls())})
		})
	}
}

// TestWriteBehindOrder has two hubs deliver to a source that is slow, fails and breaks connections, sometimes after it
// kept the menu: no key is delivered twice at a time or out of order, and each ends with its last write.
func TestWriteBehindOrder(t *testing.T) {
	t.Parallel()
	for name, open := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb, prefix := open(t), redistest.Prefix(t)
			u := newUpstream(t, func(*http.Request, int) int {
				<-time.After(rand.N(3 * time.Millisecond))
				return []int{200, 200, 200, 503, 429, 0}[rand.IntN(6)]
			})
			u.keepAlways = true
			cfg := quick()
			cfg.MaxAttempts = 1000
			hubs := []menucache.WriteQueue{
				startQueue(t, rdb, prefix, u, cfg), startQueue(t, connect(t, "redis://"+rdb.Options().Addr), prefix, u, cfg),
			}
			const users, writes = 10, 30
			var wait sync.WaitGroup
			for user := range users {
				wait.Go(func() {
					key := menucache.Key{UserID: int64(user + 1), Type: "main"}
					for n := range writes {
						menu := fmt.Appendf(nil, `{"n":%d}`, n)
						var err error
						if rand.IntN(10) == 0 {
							// What the source does not take is tried again, or taken over by the next.
							err = hubs[n%2].Through(t.Context(), key, menu)
							if errors.Is(err, menucache.ErrSourceUnavailable) {
								_, err = hubs[n%2].Add(t.Context(), key, menu)
							}
						} else {
							_, err = hubs[n%2].Add(t.Context(), key, menu)
						}
						if err != nil {
							t.Error(err)
						}
						<-time.After(rand.N(5 * time.Millisecond))
					}
				})
			}
			wait.Wait()
			drained(t, hubs[0])
			for user := range users {
				if menu := u.menu(menucache.Key{UserID: int64(user + 1), Type: "main"}); menu != fmt.Sprintf(`{"n":%d}`, writes-1) {
					t.Errorf("user %d has %s", user+1, menu)
				}
			}
			one, two := hubs[0].Stats(), hubs[1].Stats()
			if one.Dead+two.Dead != 0 || one.Retried+two.Retried == 0 {
				t.Errorf("%+v and %+v", one, two)
			}
			t.Logf("%d calls for %d writes", u.calls(), users*writes)
		})
	}
}

// TestWriteBehindThrough writes through while an older write of the key waits, or is on its way.
func TestWriteBehindThrough(t *testing.T) {
	t.Parallel()
	for name, open := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb, prefix := open(t), redistest.Prefix(t)
			var status atomic.Int64
			first, goOn := make(chan struct{}), make(chan struct{})
			u := newUpstream(t, func(_ *http.Request, n int) int {
				if n == 4 {
					close(first)
					<-goOn
				}
				return int(status.Load())
			})
			q := newQueue(t, rdb, prefix, u, quick())
			add(t, q, mainMenu, `{"n":1}`)
			for code, want := range map[int64]error{422: menucache.ErrSourceRefused, 503: menucache.ErrSourceUnavailable} {
				status.Store(code)
				if err := q.Through(t.Context(), mainMenu, []byte(`{"n":2}`)); !errors.Is(err, want) {
					t.Errorf("%d: %v", code, err)
				}
				if menu, found, err := q.Pending(t.Context(), mainMenu); string(menu) != `{"n":1}` || !found || err != nil {
					t.Errorf("%d: pending: %q %t %v", code, menu, found, err)
				}
			}
			status.Store(200)
			if err := q.Through(t.Context(), mainMenu, []byte(`{"n":3}`)); err != nil {
				t.Error(err)
			}
			if _, found, err := q.Pending(t.Context(), mainMenu); found || err != nil {
				t.Errorf("the older write is still pending, %v", err)
			}

			if err := q.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			add(t, q, mainMenu, `{"n":4}`)
			<-first
			through := make(chan error)
			go func() { through <- q.Through(t.Context(), mainMenu, []byte(`{"n":5}`)) }()
			select {
			case err := <-through:
				t.Errorf("done while an older write is on its way: %v", err)
			case <-time.After(100 * time.Millisecond):
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := q.Through(ctx, mainMenu, []byte(`{"n":0}`)); err == nil {
				t.Error("a caller who had left was served")
			}
			close(goOn)
			if err := <-through; err != nil {
				t.Error(err)
			}
			drained(t, q)
			if u.menu(mainMenu) != `{"n":5}` || u.calls() != 5 {
				t.Errorf("%s after %d calls", u.menu(mainMenu), u.calls())
			}
			counted(t, q, menucache.WriteQueueStats{Queued: 2, Superseded: 1, Delivered: 1})
		})
	}
}

// TestWriteBehindKilled ends a hub between its delivery and the note of it, and another before its delivery.
func TestWriteBehindKilled(t *testing.T) {
	t.Parallel()
	for name, open := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb, prefix := open(t), redistest.Prefix(t)
			first, goOn := make(chan struct{}), make(chan struct{})
			u := newUpstream(t, func(_ *http.Request, n int) int {
				if n == 1 {
					close(first)
					<-goOn
				}
				return http.StatusOK
			})
			cfg := quick()
			cfg.Lease = 2 * time.Second
			lost := connect(t, "redis://"+rdb.Options().Addr)
			dying := startQueue(t, lost, prefix, u, cfg)
			add(t, dying, mainMenu, `{"n":1}`)
			<-first
			_ = lost.Close() // From here on nothing that it does reaches Redis.
			close(goOn)
			dying.Close()
			if s := dying.Stats(); s.Delivered != 0 {
				t.Errorf("%+v", s)
			}

			other := menucache.Key{UserID: 7, Type: "help"}
			q := newQueue(t, rdb, prefix, u, cfg)
			add(t, q, other, `{"n":2}`)
			err := rdb.XReadGroup(t.Context(), &redis.XReadGroupArgs{
				Group: "hub", Consumer: "killed", Streams: []string{prefix + ":menu:writes", ">"}, Block: -1,
			}).Err()
			if err != nil {
				t.Fatal(err)
			}
			if _, found, err := q.Pending(t.Context(), mainMenu); !found || err != nil {
				t.Errorf("lost, %v", err)
			}
			if err := q.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			drained(t, q)
			if u.menu(mainMenu) != `{"n":1}` || u.menu(other) != `{"n":2}` || u.calls() != 3 {
				t.Errorf("%s and %s after %d calls", u.menu(mainMenu), u.menu(other), u.calls())
			}
			redistest.Eventually(t, longEnough, "nothing is left to acknowledge", func() bool {
				return rdb.XLen(t.Context(), prefix+":menu:writes").Val() == 0
			})
		})
	}
}

// TestWriteBehindOutageOfTheSource has the source fail for a while, across a restart of the hub, which counts on.
func TestWriteBehindOutageOfTheSource(t *testing.T) {
	t.Parallel()
	for name, open := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb, prefix := open(t), redistest.Prefix(t)
			var status atomic.Int64
			status.Store(503)
			u := newUpstream(t, func(*http.Request, int) int { return int(status.Load()) })
			cfg := quick()
			cfg.MaxAttempts = 1 << 40
			q := startQueue(t, rdb, prefix, u, cfg)
			add(t, q, mainMenu, `{"n":1}`)
			redistest.Eventually(t, longEnough, "it is tried again", func() bool { return q.Stats().Retried >= 3 })
			if _, found, err := q.Pending(t.Context(), mainMenu); !found || err != nil {
				t.Errorf("lost, %v", err)
			}
			q.Close()
			made := u.calls()
			if n := q.Stats().Retried; n != int64(made) {
				t.Errorf("%d retries after %d calls", n, made)
			}

			cfg.MaxAttempts = made + 2
			second := startQueue(t, rdb, prefix, u, cfg)
			dead := letters(t, second, 1)[0]
			if dead.Attempts != made+2 || u.calls() != made+2 || dead.Key != mainMenu || time.Since(dead.At).Abs() > time.Minute ||
				!strings.Contains(dead.Problem, "status 503") {
				t.Errorf("%+v after %d calls", dead, u.calls())
			}
			if _, found, err := second.Pending(t.Context(), mainMenu); found || err != nil {
				t.Errorf("still pending, %v", err)
			}
			counted(t, second, menucache.WriteQueueStats{Retried: 1, Dead: 1})

			status.Store(200)
			if err := second.Retry(t.Context(), dead.ID); err != nil {
				t.Fatal(err)
			}
			drained(t, second)
			letters(t, second, 0)
			if u.menu(mainMenu) != `{"n":1}` {
				t.Errorf("the source has %s", u.menu(mainMenu))
			}
			if err := second.Retry(t.Context(), dead.ID); !errors.Is(err, menucache.ErrNotFound) {
				t.Errorf("a second time: %v", err)
			}
		})
	}
}

func TestWriteBehindRefused(t *testing.T) {
	t.Parallel()
	for name, open := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb, prefix := open(t), redistest.Prefix(t)
			var status atomic.Int64
			status.Store(422)
			u := newUpstream(t, func(*http.Request, int) int { return int(status.Load()) })
			core, logs := observer.New(zapcore.InfoLevel)
			cfg := quick()
			cfg.MaxDead, cfg.Logger = 5, zap.New(core)
			q := startQueue(t, rdb, prefix, u, cfg)
			key := func(n int) menucache.Key { return menucache.Key{UserID: int64(n), Type: "help:" + secret} }
			for n := 1; n <= 7; n++ {
				add(t, q, key(n), `{"`+secret+`":0}`)
				redistest.Eventually(t, longEnough, "it is given up", func() bool { return q.Stats().Dead == int64(n) })
			}
			if u.calls() != 7 {
				t.Errorf("%d calls", u.calls())
			}
			all := letters(t, q, 5)
			for i, letter := range all {
				if letter.Key != key(i+3) || letter.Attempts != 1 || !strings.Contains(letter.Problem, "status 422") {
					t.Errorf("%+v", letter)
				}
			}
			for _, entry := range logs.All() {
				if text := fmt.Sprint(entry.Message, entry.ContextMap()); strings.Contains(text, secret) {
					t.Errorf("the log says %s", text)
				}
			}
			if n := logs.FilterLevelExact(zapcore.WarnLevel).Len(); n != 7 {
				t.Errorf("%d warnings", n)
			}

			var paged []menucache.DeadWrite
			for page, cursor := (menucache.DeadWritePage{}), ""; len(paged) == 0 || cursor != ""; cursor = page.Next {
				var err error
				if page, err = q.Dead(t.Context(), cursor, 2); err != nil || len(page.Writes) > 2 {
					t.Fatalf("%d letters, %v", len(page.Writes), err)
				}
				paged = append(paged, page.Writes...)
			}
			if !slices.Equal(paged, all) {
				t.Errorf("in pages: %+v", paged)
			}
			for _, cursor := range []string{"x", "-", "1", "1-", "(1-1", "1-1-1"} {
				var invalid *menucache.InvalidError
				if _, err := q.Dead(t.Context(), cursor, 2); !errors.As(err, &invalid) {
					t.Errorf("cursor %q: %v", cursor, err)
				}
				if err := q.Retry(t.Context(), cursor); !errors.Is(err, menucache.ErrNotFound) {
					t.Errorf("id %q: %v", cursor, err)
				}
			}

			// A newer write takes the place of a dead one, whether it is queued or written through.
			status.Store(200)
			add(t, q, key(7), `{"n":2}`)
			if err := q.Through(t.Context(), key(6), []byte(`{"n":3}`)); err != nil {
				t.Fatal(err)
			}
			drained(t, q)
			letters(t, q, 3)
			for _, gone := range []string{all[4].ID, all[3].ID, "1-1"} {
				if err := q.Retry(t.Context(), gone); !errors.Is(err, menucache.ErrNotFound) {
					t.Errorf("%s: %v", gone, err)
				}
			}
			if u.menu(key(7)) != `{"n":2}` || u.menu(key(6)) != `{"n":3}` {
				t.Errorf("the source has %s and %s", u.menu(key(7)), u.menu(key(6)))
			}
			for _, letter := range all[:3] {
				if err := q.Retry(t.Context(), letter.ID); err != nil {
					t.Error(err)
				}
			}
			drained(t, q)
			letters(t, q, 0)
			if n := rdb.Exists(t.Context(), prefix+":menu:dead-keys", prefix+":menu:leases", prefix+":menu:retry").Val(); n != 0 {
				t.Errorf("%d keys hold what is done", n)
			}
		})
	}
}

// TestWriteBehindForgotten takes a write's entry away, which no hub does: the write is found all the same. Consumers
// that are long gone are removed, unless they hold something.
func TestWriteBehindForgotten(t *testing.T) {
	t.Parallel()
	for name, open := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb, prefix := open(t), redistest.Prefix(t)
			u := newUpstream(t, nil)
			cfg := quick()
			cfg.SweepAfter = 50 * time.Millisecond
			q := newQueue(t, rdb, prefix, u, cfg)
			const users = 250
			for n := range users {
				add(t, q, menucache.Key{UserID: int64(n + 1), Type: "main"}, "{}")
			}
			if err := rdb.Del(t.Context(), prefix+":menu:writes").Err(); err != nil {
				t.Fatal(err)
			}
			if err := q.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			drained(t, q)
			if u.calls() != users {
				t.Errorf("%d calls", u.calls())
			}
			// The stream goes while a hub waits for it.
			if err := rdb.Del(t.Context(), prefix+":menu:writes").Err(); err != nil {
				t.Fatal(err)
			}
			add(t, q, mainMenu, `{"n":1}`)
			drained(t, q)

			// What others put there is no menu of anyone.
			if err := rdb.HSet(t.Context(), prefix+":menu:pending", "nonsense", "nonsense", "x:y", "1 0 1-1 {}").Err(); err != nil {
				t.Fatal(err)
			}
			if err := rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: prefix + ":menu:writes", Values: []string{"a", "b"}}).Err(); err != nil {
				t.Fatal(err)
			}
			drained(t, q)
			if dead := letters(t, q, 1)[0]; dead.Key.UserID != 0 || dead.Problem != "it is for no menu" {
				t.Errorf("%+v", dead)
			}
		})
	}
}

// TestWriteBehindFlush empties the database under a hub, which goes on with what comes then.
func TestWriteBehindFlush(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb, u := connect(t, server.URL()), newUpstream(t, nil)
	q := startQueue(t, rdb, "p", u, quick())
	last := ""
	for n := range 5 {
		menu := fmt.Sprintf(`{"n":%d}`, n)
		id, err := q.Add(t.Context(), mainMenu, []byte(menu))
		if err != nil || id <= last {
			t.Errorf("id %s after %s: %v", id, last, err)
		}
		last = id
		redistest.Eventually(t, longEnough, "it is delivered", func() bool { return u.menu(mainMenu) == menu })
		if err := rdb.FlushDB(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWriteBehindKilledRedis kills and pauses a Redis that keeps everything, under writers: what was acknowledged comes.
func TestWriteBehindKilledRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	u := newUpstream(t, nil)
	core, logs := observer.New(zapcore.InfoLevel)
	cfg := quick()
	cfg.Lease, cfg.Logger = 2*time.Second, zap.New(core)
	rdb := connect(t, server.URL())
	q := startQueue(t, rdb, "p", u, cfg)

	const users = 4
	var acknowledged, tried [users]int
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wait sync.WaitGroup
	var all atomic.Int64
	for user := range users {
		wait.Go(func() {
			for ctx.Err() == nil {
				tried[user]++
				key := menucache.Key{UserID: int64(user + 1), Type: "main"}
				_, err := q.Add(context.WithoutCancel(ctx), key, []byte(strconv.Itoa(tried[user])))
				switch {
				case err == nil:
					acknowledged[user] = tried[user]
					all.Add(1)
				case !errors.Is(err, menucache.ErrUnavailable):
					t.Error(err)
				}
				<-time.After(time.Millisecond)
			}
		})
	}
	more := func() {
		t.Helper()
		enough := all.Load() + 100
		redistest.Eventually(t, longEnough, "writes are acknowledged", func() bool { return all.Load() > enough })
	}
	more()
	server.Kill()
	redistest.Eventually(t, longEnough, "the log tells of it", func() bool { return logs.FilterMessageSnippet("is away").Len() == 1 })
	server.Restart()
	more()
	redistest.Eventually(t, longEnough, "the log tells of the end", func() bool { return logs.FilterMessageSnippet("is back").Len() == 1 })
	server.Pause()
	redistest.Eventually(t, longEnough, "the log tells of it", func() bool { return logs.FilterMessageSnippet("is away").Len() == 2 })
	server.Resume()
	more()
	cancel()
	wait.Wait()
	drained(t, q)
	for user := range users {
		got, err := strconv.Atoi(u.menu(menucache.Key{UserID: int64(user + 1), Type: "main"}))
		if err != nil || got < acknowledged[user] || got > tried[user] {
			t.Errorf("user %d has %d of %d, acknowledged was %d: %v", user+1, got, tried[user], acknowledged[user], err)
		}
	}
	redistest.Eventually(t, longEnough, "the log tells of the end", func() bool { return logs.FilterMessageSnippet("is back").Len() == 2 })
	if n := logs.Len(); n != 4 {
		t.Errorf("%d lines in the log", n)
	}
}

func TestWriteBehindWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Stop()
	q := startQueue(t, connect(t, server.URL()), "p", newUpstream(t, nil), quick())
	_, addErr := q.Add(t.Context(), mainMenu, []byte("{}"))
	_, _, pendingErr := q.Pending(t.Context(), mainMenu)
	_, deadErr := q.Dead(t.Context(), "", 1)
	_, _, depthErr := q.Depth(t.Context())
	for i, err := range []error{
		addErr, pendingErr, deadErr, depthErr, q.Retry(t.Context(), "1-1"), q.Through(t.Context(), mainMenu, []byte("{}")),
	} {
		if !errors.Is(err, menucache.ErrUnavailable) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if s := q.Stats(); s != (menucache.WriteQueueStats{}) {
		t.Errorf("%+v", s)
	}
}

// TestWriteBehindCloses closes a hub that waits for writes, which does not wait for the read to end, and one that is
// delivering, which does.
func TestWriteBehindCloses(t *testing.T) {
	t.Parallel()
	for name, open := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb, prefix := open(t), redistest.Prefix(t)
			first, goOn := make(chan struct{}), make(chan struct{})
			u := newUpstream(t, func(_ *http.Request, n int) int {
				if n == 2 {
					close(first)
					<-goOn
				}
				return http.StatusOK
			})
			q := startQueue(t, rdb, prefix, u, quick())
			add(t, q, mainMenu, "{}")
			drained(t, q)
			began := time.Now()
			q.Close()
			if took := time.Since(began); took > 1500*time.Millisecond {
				t.Errorf("Close took %v", took)
			}

			q = startQueue(t, rdb, prefix, u, quick())
			add(t, q, mainMenu, "{}")
			<-first
			closed := make(chan struct{})
			go func() { q.Close(); close(closed) }()
			select {
			case <-closed:
				t.Error("closed while a write is on its way")
			case <-time.After(50 * time.Millisecond):
			}
			close(goOn)
			<-closed
			if s := q.Stats(); s.Delivered != 1 {
				t.Errorf("%+v", s)
			}
			drained(t, q)
		})
	}
}

// TestWriteBehindCloseLosesNoTime closes hubs while writes come: none is left with a hub that is gone, for whose lease it
// would have to wait.
func TestWriteBehindCloseLosesNoTime(t *testing.T) {
	t.Parallel()
	for name, open := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb, prefix := open(t), redistest.Prefix(t)
			u := newUpstream(t, nil)
			for n := range 25 {
				q := startQueue(t, rdb, prefix, u, quick())
				var all sync.WaitGroup
				all.Go(func() {
					<-time.After(rand.N(3 * time.Millisecond))
					if _, err := q.Add(t.Context(), menucache.Key{UserID: int64(n + 1), Type: "main"}, []byte("{}")); err != nil {
						t.Error(err)
					}
				})
				<-time.After(rand.N(3 * time.Millisecond))
				q.Close()
				all.Wait()
				if held := rdb.XPending(t.Context(), prefix+":menu:writes", "hub").Val(); held != nil && held.Count > 0 {
					t.Fatalf("a hub that is gone holds %d writes", held.Count)
				}
			}
		})
	}
}

func TestNewWriteQueueChecks(t *testing.T) {
	t.Parallel()
	source := newSource(t, menucache.SourceConfig{URL: "http://host", Timeout: time.Second})
	for name, cfg := range map[string]menucache.WriteQueueConfig{
		"attempts": {MaxAttempts: -1}, "backoff": {Backoff: -1}, "longest backoff": {MaxBackoff: time.Millisecond},
		"lease": {Lease: time.Second}, "workers": {Workers: -1}, "sweep": {SweepAfter: -1}, "dead": {MaxDead: -1},
	} {
		if _, err := menucache.NewWriteQueue(nil, "p", source, cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// read waits until every entry of the stream was looked at and brought to an end.
func read(tb testing.TB, rdb *redis.Client, prefix string) {
	tb.Helper()
	redistest.Eventually(tb, longEnough, "the stream is empty", func() bool {
		n, err := rdb.XLen(tb.Context(), prefix+":menu:writes").Result()
		return err == nil && n == 0
	})
}

// TestWriteBehindLeases has another hub hold a key, before this one comes to deliver it and while it does.
func TestWriteBehindLeases(t *testing.T) {
	t.Parallel()
	for name, open := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb, prefix := open(t), redistest.Prefix(t)
			var until atomic.Int64
			hold := func() {
				until.Store(time.Now().Add(300 * time.Millisecond).UnixMilli())
				err := rdb.HSet(t.Context(), prefix+":menu:leases", "5000000000:main", fmt.Sprint("other ", until.Load())).Err()
				if err != nil {
					t.Error(err)
				}
			}
			u := newUpstream(t, func(_ *http.Request, n int) int {
				if time.Now().UnixMilli() < until.Load() {
					t.Errorf("call %d came while another hub had the key", n)
				}
				if n == 1 {
					hold()
				}
				return http.StatusOK
			})
			q := startQueue(t, rdb, prefix, u, quick())
			hold()
			add(t, q, mainMenu, "{}")
			drained(t, q)
			if u.calls() != 2 {
				t.Errorf("%d calls, want one that is not noted and one that is", u.calls())
			}
			counted(t, q, menucache.WriteQueueStats{Queued: 1, Delivered: 1})
		})
	}
}

// TestWriteBehindAfterAFailure lets writes of a key wait while the source is given time to recover.
func TestWriteBehindAfterAFailure(t *testing.T) {
	t.Parallel()
	for name, open := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb, prefix := open(t), redistest.Prefix(t)
			u := newUpstream(t, func(*http.Request, int) int { return http.StatusServiceUnavailable })
			q := startQueue(t, rdb, prefix, u, menucache.WriteQueueConfig{Backoff: 1000 * time.Hour, MaxBackoff: 1000 * time.Hour})
			add(t, q, mainMenu, "{}")
			counted(t, q, menucache.WriteQueueStats{Queued: 1, Retried: 1})
			for range 20 {
				add(t, q, mainMenu, `{"n":1}`)
			}
			read(t, rdb, prefix)
			if menu, found, err := q.Pending(t.Context(), mainMenu); string(menu) != `{"n":1}` || !found || err != nil {
				t.Errorf("pending: %q %t %v", menu, found, err)
			}
			if u.calls() != 1 {
				t.Errorf("%d calls", u.calls())
			}
		})
	}
}

// TestWriteBehindAfterAThrough has a write wait for one that goes past the queue and fails, and then go on at once, with
// an id after it: nobody knows what the source made of the other.
func TestWriteBehindAfterAThrough(t *testing.T) {
	t.Parallel()
	for name, open := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb, prefix := open(t), redistest.Prefix(t)
			first, goOn := make(chan struct{}), make(chan struct{})
			u := newUpstream(t, func(_ *http.Request, n int) int {
				if n == 1 {
					close(first)
					<-goOn
					return http.StatusBadGateway
				}
				return http.StatusOK
			})
			q := newQueue(t, rdb, prefix, u, quick())
			add(t, q, mainMenu, `{"n":1}`)
			through := make(chan error)
			go func() { through <- q.Through(t.Context(), mainMenu, []byte(`{"n":2}`)) }()
			<-first
			if err := q.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			read(t, rdb, prefix)
			close(goOn)
			if err := <-through; !errors.Is(err, menucache.ErrSourceUnavailable) {
				t.Error(err)
			}
			drained(t, q)
			if u.menu(mainMenu) != `{"n":1}` || u.calls() != 2 {
				t.Errorf("%s after %d calls", u.menu(mainMenu), u.calls())
			}
		})
	}
}
