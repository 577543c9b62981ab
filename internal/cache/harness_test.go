package cache_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// note is what the tests keep.
type note struct {
	Text string `json:"text"`
	For  string `json:"for,omitempty"`
}

// config is that of a cache of notes by number, under a prefix.
func config(prefix string) cache.Config[int, note] {
	return cache.Config[int, note]{
		Prefix:     prefix + ":note:",
		RedisKey:   func(n int) string { return prefix + ":note:" + strconv.Itoa(n) },
		Parse:      parser(prefix + ":note:"),
		LockPrefix: prefix + ":lock:",
		EpochKey:   prefix + ":epoch",
		Index:      prefix + ":index",
		Group:      func(n int) string { return strconv.Itoa(n / 10) },
		Siblings:   siblings,
		Tags:       func(n int, _ note) []string { return []string{"all", "parity:" + strconv.Itoa(n%2)} },
		Match:      func(v note, variant string) bool { return variant == "" || v.For == variant },
		TTL:        time.Minute,
	}
}

func parser(prefix string) func(string) (int, bool) {
	return func(name string) (int, bool) {
		n, err := strconv.Atoi(strings.TrimPrefix(name, prefix))
		return n, err == nil
	}
}

func siblings(n int) []int {
	all := make([]int, 10)
	for i := range all {
		all[i] = n/10*10 + i
	}
	return all
}

// hub is one process's cache.
type hub struct {
	*cache.Cache[int, note]

	redis            *cache.Redis
	rdb              *redis.Client
	prefix, epochKey string
	loads            atomic.Int64
}

// open makes a cache as one of several hubs would, and closes it with the test.
func open(tb testing.TB, url string, cfg cache.Config[int, note]) *hub {
	tb.Helper()
	return openFed(tb, url, url, cfg)
}

// openFed makes a cache whose feed reaches Redis at another address.
func openFed(tb testing.TB, url, feed string, cfg cache.Config[int, note]) *hub {
	tb.Helper()
	rdb, err := redisconn.Open(url)
	if err != nil {
		tb.Fatal(err)
	}
	h := &hub{
		redis: cache.NewRedis(rdb, feed, cfg.LockPrefix+"changed", nil), rdb: rdb, prefix: cfg.Prefix, epochKey: cfg.EpochKey,
	}
	cfg.Redis = h.redis
	if h.Cache, err = cache.New(cfg); err != nil {
		tb.Fatal(err)
	}
	if err := h.redis.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		h.Close()
		h.redis.Close()
		_ = rdb.Close()
	})
	return h
}

// text loads a note, and counts it.
func (h *hub) text(text string) cache.Load[note] {
	return func(context.Context) (note, error) {
		h.loads.Add(1)
		return note{Text: text}, nil
	}
}

// fails is a load that does, and counts it.
func (h *hub) fails() cache.Load[note] {
	return func(context.Context) (note, error) {
		h.loads.Add(1)
		return note{}, errSource
	}
}

var errSource = errors.New("the source is down")

// absent is a load of what does not exist, and counts it.
func (h *hub) absent() cache.Load[note] {
	return func(context.Context) (note, error) {
		h.loads.Add(1)
		return note{}, cache.ErrNotFound
	}
}

// never is a load that must not be called.
func never(tb testing.TB) cache.Load[note] {
	tb.Helper()
	return func(context.Context) (note, error) {
		tb.Error("a value was loaded")
		return note{}, errSource
	}
}

// held is a load that a test can hold: it says on began that it began, and waits for goOn to be closed.
type held struct{ began, goOn chan struct{} }

func hold() held { return held{began: make(chan struct{}, 1), goOn: make(chan struct{})} }

func (w held) text(text string) cache.Load[note] {
	return func(ctx context.Context) (note, error) {
		w.began <- struct{}{}
		select {
		case <-w.goOn:
			return note{Text: text}, nil
		case <-ctx.Done():
			return note{}, ctx.Err()
		}
	}
}

// answer is what a Lookup returned.
type answer struct {
	cache.Result[note]

	err error
}

// ask looks a key up in the background.
func (h *hub) ask(ctx context.Context, key int, variant string, load cache.Load[note]) <-chan answer {
	answers := make(chan answer, 1)
	go func() {
		r, err := h.Lookup(ctx, key, variant, load)
		answers <- answer{r, err}
	}()
	return answers
}

// want gets a key and compares it.
func (h *hub) want(tb testing.TB, key int, load cache.Load[note], text string, outcome cache.Outcome) {
	tb.Helper()
	r, err := h.Lookup(tb.Context(), key, "", load)
	same(tb, answer{r, err}, text, outcome)
}

func same(tb testing.TB, a answer, text string, outcome cache.Outcome) {
	tb.Helper()
	if a.err != nil || a.Value.Text != text || a.Outcome != outcome {
		tb.Errorf("%q %s %v, want %q %s", a.Value.Text, a.Outcome, a.err, text, outcome)
	}
}

// wantLocal gets key 1 until it is answered from the process, after the cache was told of its own writes.
func (h *hub) wantLocal(tb testing.TB, text string) {
	tb.Helper()
	h.quiet()
	redistest.Eventually(tb, 5*time.Second, "a local answer", func() bool {
		before := h.Stats().LocalHits
		h.want(tb, 1, never(tb), text, cache.Hit)
		return h.Stats().LocalHits > before
	})
}

// set sets a text.
func (h *hub) set(tb testing.TB, key int, text string, ttl time.Duration) {
	tb.Helper()
	if err := h.Set(tb.Context(), key, note{Text: text}, ttl); err != nil {
		tb.Fatal(err)
	}
}

// remove deletes a key.
func (h *hub) remove(tb testing.TB, key int) {
	tb.Helper()
	if _, err := h.Delete(tb.Context(), key); err != nil {
		tb.Fatal(err)
	}
}

// until waits until a moment, which must not have passed long ago for what the test is about.
func until(at time.Time) {
	timer := time.NewTimer(time.Until(at))
	<-timer.C
}

// after waits for a bound that the package documents.
func after(bound time.Duration) { until(time.Now().Add(bound)) }

// must runs a command.
func must(tb testing.TB, cmd interface{ Err() error }) {
	tb.Helper()
	if err := cmd.Err(); err != nil {
		tb.Fatal(err)
	}
}

// quiet waits until the cache has seen its own writes.
func (h *hub) quiet() { after(cache.MaxLag) }

func url(tb testing.TB) string {
	tb.Helper()
	return redistest.Shared(tb).URL()
}

// privateServer starts a server that the test may break: kind is tracked, no HELLO, or embedded.
func privateServer(tb testing.TB, kind string) (url string, rdb *redis.Client) {
	tb.Helper()
	var args []string
	switch kind {
	case "no HELLO":
		args = []string{"--rename-command", "HELLO", ""}
		fallthrough
	case "tracked":
		server := redistest.Start(tb, args...)
		return server.URL(), server.Client()
	}
	server, err := redisconn.StartEmbedded("127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(server.Close)
	if rdb, err = redisconn.Open(server.URL()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = rdb.Close() })
	return server.URL(), rdb
}
