package once_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/connectbot-hub/connecthub/internal/once"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	rdb := redistest.Shared(t).Client()
	for what, cfg := range map[string]once.Config{
		"no Redis":              {Prefix: "p"},
		"no prefix":             {Redis: rdb},
		"a short timeout":       {Redis: rdb, Prefix: "p", Timeout: time.Microsecond},
		"a lease too short":     {Redis: rdb, Prefix: "p", Lease: time.Second},
		"a timeout over 45 sec": {Redis: rdb, Prefix: "p", Timeout: time.Minute},
	} {
		if _, err := once.New(cfg); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

// TestDo does a thing, and gives its value in this process and another for as long as it is kept.
func TestDo(t *testing.T) {
	t.Parallel()
	server, cfg := redistest.Shared(t), config(t)
	a, b := newOnce(t, server, cfg), newOnce(t, server, cfg)
	want(t, do(t.Context(), a, "k", returns("v")), "v", false)
	want(t, do(t.Context(), a, "k", never(t)), "v", true)
	want(t, do(t.Context(), b, "k", never(t)), "v", true)
	want(t, do(t.Context(), b, "other", returns("w")), "w", false)
	keys := keysOf(t, server.Client(), cfg.Prefix)
	if len(keys) != 2 {
		t.Errorf("Redis holds %v", keys)
	}
	for _, key := range keys {
		ttl := server.Client().PTTL(t.Context(), key).Val()
		if len(key) != len(cfg.Prefix)+1+43 || ttl <= 59*time.Minute || ttl > time.Hour {
			t.Errorf("%s is kept for %v", key, ttl)
		}
	}

	for range 2 { // After it is forgotten, it is done again.
		if _, repeated, err := a.Do(t.Context(), "short", "", time.Millisecond, returns("v")); repeated || err != nil {
			t.Errorf("repeated %v, %v", repeated, err)
		}
		redistest.Eventually(t, soon, "the value is forgotten", func() bool { return len(keysOf(t, server.Client(), cfg.Prefix)) == 2 })
	}
	if _, _, err := a.Do(t.Context(), "k", "fingerprint", 0, never(t)); err == nil {
		t.Error("a value is kept for no time")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if got := do(gone, a, "k", never(t)); !errors.Is(got.err, context.Canceled) {
		t.Errorf("a caller who had left got %v", got)
	}
}

// TestValues keeps values of every size as they are, and large ones in less room.
func TestValues(t *testing.T) {
	t.Parallel()
	server, cfg := redistest.Shared(t), config(t)
	a, b := newOnce(t, server, cfg), newOnce(t, server, cfg)
	noise := make([]byte, once.MaxValueSize)
	for i := range noise {
		noise[i] = byte(rand.Uint32()) //nolint:gosec // It need not be unguessable.
	}
	for i, value := range [][]byte{
		nil, []byte(""), []byte(" "), []byte("z"), []byte("+"), []byte("?"), []byte("!"), []byte("\x00\xff"), noise,
		bytes.Repeat([]byte("{}"), 500), bytes.Repeat([]byte("{}"), 1000), bytes.Repeat([]byte(`{"a":1}`), once.MaxValueSize/7),
	} {
		key := fmt.Sprint(i)
		want(t, do(t.Context(), a, key, func(context.Context) ([]byte, error) { return value, nil }), string(value), false)
		want(t, do(t.Context(), b, key, never(t)), string(value), true)
	}
	rdb := server.Client()
	large := 0
	for _, key := range keysOf(t, rdb, cfg.Prefix) {
		if n := rdb.Do(t.Context(), "HSTRLEN", key, "value").Val().(int64); n > 1<<20 {
			large++
		}
	}
	if large != 1 { // What is noise.
		t.Errorf("%d records are large", large)
	}
	if got := do(t.Context(), a, "large", returns(string(append(noise, 0)))); !errors.Is(got.err, once.ErrTooLarge) || got.value != "" {
		t.Errorf("too much gives %v", got.err)
	}
	want(t, do(t.Context(), b, "large", returns("v")), "v", false)
}

// commands counts the commands of a client.
type commands struct{ n atomic.Int64 }

func (c *commands) DialHook(next redis.DialHook) redis.DialHook { return next }
func (c *commands) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.n.Add(1)
		return next(ctx, cmd)
	}
}

func (c *commands) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestOneRoundTrip(t *testing.T) {
	t.Parallel()
	server, cfg := redistest.Shared(t), config(t)
	counter := new(commands)
	cfg.Redis = server.Client()
	cfg.Redis.AddHook(counter)
	o := with(t, cfg)
	want(t, do(t.Context(), o, "k", returns("v")), "v", false)
	before := counter.n.Load()
	for range 10 {
		want(t, do(t.Context(), o, "k", never(t)), "v", true)
	}
	if n := counter.n.Load() - before; n != 10 {
		t.Errorf("10 repeated calls made %d commands", n)
	}
}

// TestFingerprint refuses a key that comes with another fingerprint: under way here, under way elsewhere, and done.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	server, cfg := redistest.Shared(t), config(t)
	a, b := newOnce(t, server, cfg), newOnce(t, server, cfg)
	refused := func(when string) {
		for _, o := range []*once.Once{a, b} {
			value, repeated, err := o.Do(t.Context(), "k", "another", time.Hour, never(t))
			if !errors.Is(err, once.ErrReused) || value != nil || repeated {
				t.Errorf("%s: %q, %v", when, value, err)
			}
		}
	}
	h := hold()
	first := begin(t.Context(), a, "k", h.do)
	receive(t, h.begun)
	refused("under way")
	h.succeed("v")
	want(t, receive(t, first), "v", false)
	refused("done")
	want(t, do(t.Context(), b, "k", never(t)), "v", true)
}

// TestFailure frees the key at once: who shares the do gets its error, and who waits elsewhere runs its own.
func TestFailure(t *testing.T) {
	t.Parallel()
	server, cfg := redistest.Shared(t), config(t)
	a, b := newOnce(t, server, cfg), newOnce(t, server, cfg)
	h, failure := hold(), errors.New("not today")
	first := begin(t.Context(), a, "k", h.do)
	receive(t, h.begun)
	sharing := begin(t.Context(), a, "k", never(t))
	redistest.Eventually(t, soon, "a second caller shares it", func() bool { return a.Callers("k") == 2 })
	elsewhere := begin(t.Context(), b, "k", returns("v"))
	redistest.Eventually(t, soon, "another process waits", func() bool { return b.Idle("k") })
	h.fail(failure)
	for _, answers := range []<-chan answer{first, sharing} {
		if got := receive(t, answers); got != (answer{"", false, failure}) {
			t.Errorf("got %v", got)
		}
	}
	want(t, receive(t, elsewhere), "v", false)
	want(t, do(t.Context(), a, "k", never(t)), "v", true)

	fail := func(context.Context) ([]byte, error) { return []byte("x"), failure }
	for range 3 { // Each caller tries again at once.
		if got := do(t.Context(), a, "again", fail); got != (answer{"", false, failure}) {
			t.Errorf("got %v", got)
		}
	}
	want(t, do(t.Context(), b, "again", returns("v")), "v", false)
}

// TestPanic makes a panic an error that tells nothing of the payload, and frees the key.
func TestPanic(t *testing.T) {
	t.Parallel()
	server, cfg := redistest.Shared(t), config(t)
	core, logs := observer.New(zap.InfoLevel)
	cfg.Logger = zap.New(core)
	o := newOnce(t, server, cfg)
	got := do(t.Context(), o, "k", func(context.Context) ([]byte, error) { panic("s3cret") })
	text := fmt.Sprint(got.err)
	for _, entry := range logs.All() {
		text += fmt.Sprint(entry.Message, entry.ContextMap())
	}
	if got.err == nil || strings.Contains(text, "s3cret") || !strings.Contains(text, "TestPanic") {
		t.Errorf("a panic gives %s", text)
	}
	want(t, do(t.Context(), newOnce(t, server, cfg), "k", returns("v")), "v", false)
}

// TestCallersLeave lets the first caller leave: the work goes on, and its retry gets the value. A caller who waits for
// another process and leaves runs nothing.
func TestCallersLeave(t *testing.T) {
	t.Parallel()
	server, cfg := redistest.Shared(t), config(t)
	a, b := newOnce(t, server, cfg), newOnce(t, server, cfg)
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	h := hold()
	first := begin(ctx, a, "k", func(ctx context.Context) ([]byte, error) {
		value, err := h.do(ctx)
		if ctx.Err() != nil || ctx.Value(key{}) != "value" {
			t.Errorf("the context of do: %v, %v", ctx.Err(), ctx.Value(key{}))
		}
		return value, err
	})
	receive(t, h.begun)
	leaving, leave := context.WithCancel(t.Context())
	elsewhere := begin(leaving, b, "k", never(t))
	redistest.Eventually(t, soon, "another process waits", func() bool { return b.Idle("k") })
	staying := begin(t.Context(), b, "k", never(t))
	redistest.Eventually(t, soon, "two wait there", func() bool { return b.Callers("k") == 2 })
	cancel()
	leave()
	for _, answers := range []<-chan answer{first, elsewhere} {
		if got := receive(t, answers); !errors.Is(got.err, context.Canceled) || got.value != "" {
			t.Errorf("who left got %v", got)
		}
	}
	retry := begin(t.Context(), a, "k", never(t))
	redistest.Eventually(t, soon, "the retry shares it", func() bool { return a.Callers("k") == 1 })
	h.succeed("v")
	want(t, receive(t, retry), "v", true)
	want(t, receive(t, staying), "v", true)

	h = hold()
	first = begin(t.Context(), a, "k2", h.do)
	receive(t, h.begun)
	leaving, leave = context.WithCancel(t.Context())
	elsewhere = begin(leaving, b, "k2", never(t))
	redistest.Eventually(t, soon, "another process waits", func() bool { return b.Idle("k2") })
	leave()
	receive(t, elsewhere)
	redistest.Eventually(t, soon, "nobody waits there", func() bool { return b.Callers("k2") < 0 })
	h.fail(errors.New("not today"))
	receive(t, first)
	want(t, do(t.Context(), a, "k2", returns("v")), "v", false)
}

// TestLinear has 50 callers in two processes ask for each key: it is done once, and all get the same bytes.
func TestLinear(t *testing.T) {
	t.Parallel()
	server, cfg := redistest.Shared(t), config(t)
	instances := []*once.Once{newOnce(t, server, cfg), newOnce(t, server, cfg)}
	const keys, callers = 20, 50
	var ran [keys]atomic.Int64
	var firsts [keys]atomic.Int64
	var values [keys]sync.Map
	var wait sync.WaitGroup
	for key := range keys {
		for caller := range callers {
			wait.Go(func() {
				got := do(t.Context(), instances[caller%2], fmt.Sprint(key), func(context.Context) ([]byte, error) {
					ran[key].Add(1)
					return []byte(fmt.Sprintf("%d by %d", key, caller)), nil
				})
				if got.err != nil {
					t.Error(got.err)
				}
				if !got.repeated {
					firsts[key].Add(1)
				}
				values[key].Store(got.value, true)
			})
		}
	}
	wait.Wait()
	for key := range keys {
		different := 0
		values[key].Range(func(any, any) bool { different++; return true })
		if ran[key].Load() != 1 || different != 1 || firsts[key].Load() != 1 {
			t.Errorf("key %d was done %d times, gave %d values, and %d callers were the first",
				key, ran[key].Load(), different, firsts[key].Load())
		}
	}
}

// TestClose waits for what is being done, and ends the waiting for other processes.
func TestClose(t *testing.T) {
	t.Parallel()
	server, cfg := redistest.Shared(t), config(t)
	a, b := newOnce(t, server, cfg), newOnce(t, server, cfg)
	h := hold()
	first := begin(t.Context(), a, "k", h.do)
	receive(t, h.begun)
	waiting := begin(t.Context(), b, "k", never(t))
	redistest.Eventually(t, soon, "another process waits", func() bool { return b.Idle("k") })
	b.Close()
	b.Close()
	if got := receive(t, waiting); !errors.Is(got.err, once.ErrClosed) {
		t.Errorf("who waited got %v", got)
	}
	closed := make(chan struct{})
	go func() {
		a.Close()
		close(closed)
	}()
	redistest.Eventually(t, soon, "Close has begun", func() bool {
		return errors.Is(do(t.Context(), a, "other", returns("")).err, once.ErrClosed)
	})
	select {
	case <-closed:
		t.Error("Close did not wait")
	default:
	}
	h.succeed("v")
	want(t, receive(t, first), "v", false)
	receive(t, closed)
	want(t, do(t.Context(), newOnce(t, server, cfg), "k", never(t)), "v", true)
}

// TestEmbedded uses the embedded server.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	server, err := redisconn.StartEmbedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	cfg := config(t)
	var both []*once.Once
	for range 2 {
		cfg.Redis, err = redisconn.Open(server.URL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cfg.Redis.Close() })
		both = append(both, with(t, cfg))
	}
	h := hold()
	first := begin(t.Context(), both[0], "k", h.do)
	receive(t, h.begun)
	second := begin(t.Context(), both[1], "k", never(t))
	redistest.Eventually(t, soon, "another process waits", func() bool { return both[1].Idle("k") })
	h.succeed("v")
	want(t, receive(t, first), "v", false)
	want(t, receive(t, second), "v", true)
	failure := errors.New("not today")
	if got := do(t.Context(), both[0], "k2", func(context.Context) ([]byte, error) { return nil, failure }); got != (answer{"", false, failure}) {
		t.Errorf("got %v", got)
	}
	want(t, do(t.Context(), both[1], "k2", returns("v")), "v", false)
	if _, _, err := both[0].Do(t.Context(), "k2", "another", time.Hour, never(t)); !errors.Is(err, once.ErrReused) {
		t.Errorf("another fingerprint gives %v", err)
	}
}
