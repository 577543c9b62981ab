package cache_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func TestAValuePastItsFreshnessIsReturnedWhileItIsLoadedOnceOnTwoHubs(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	cfg.TTL, cfg.Jitter, cfg.Stale = 500*time.Millisecond, -1, time.Minute
	a, b := open(t, url(t), cfg), open(t, url(t), cfg)
	a.want(t, 1, a.text("one"), "one", cache.Miss)
	stale := time.Now().Add(cfg.TTL)
	b.want(t, 1, never(t), "one", cache.Hit)
	until(stale)
	w := hold()
	same(t, <-a.ask(t.Context(), 1, "", w.text("two")), "one", cache.Stale)
	<-w.began
	for range 20 { // Neither hub loads it again meanwhile.
		a.want(t, 1, never(t), "one", cache.Stale)
		b.want(t, 1, never(t), "one", cache.Stale)
	}
	close(w.goOn)
	for _, h := range []*hub{a, b} {
		redistest.Eventually(t, 5*time.Second, "the new value", func() bool {
			v, err := h.Get(t.Context(), 1, h.text("three"))
			return err == nil && v.Text != "one"
		})
		if s := h.Stats(); s.Stale < 20 {
			t.Errorf("%+v", s)
		}
	}
}

func TestAValueThatCannotBeLoadedAnewIsReturnedUntilStaleEnds(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	cfg.TTL, cfg.Jitter, cfg.Stale, cfg.RetryAfter = 100*time.Millisecond, -1, 900*time.Millisecond, 250*time.Millisecond
	h := open(t, url(t), cfg)
	h.want(t, 1, h.text("one"), "one", cache.Miss)
	stored := time.Now()
	until(stored.Add(cfg.TTL))
	var tried []time.Time
	loads := h.loads.Load()
	for time.Since(stored) < 800*time.Millisecond {
		h.want(t, 1, h.fails(), "one", cache.Stale)
		if n := h.loads.Load(); n > loads {
			loads = n
			tried = append(tried, time.Now())
		}
		h.quiet() // Each time it may be read from Redis anew, which is no reason to try again.
	}
	for i := 1; i < len(tried); i++ {
		if pause := tried[i].Sub(tried[i-1]); pause < cfg.RetryAfter-cache.MaxLag {
			t.Errorf("tried again after %v", pause)
		}
	}
	if len(tried) < 2 {
		t.Errorf("tried %d times", len(tried))
	}
	until(stored.Add(cfg.TTL + cfg.Stale + 50*time.Millisecond))
	if _, err := h.Get(t.Context(), 1, h.fails()); !errors.Is(err, errSource) {
		t.Error(err)
	}
	if h.Stats().LoadErrors == 0 {
		t.Error("no load errors counted")
	}
}

func TestAFailedRefreshIsNotRepeatedWhenTheValueIsReadFromRedisAgain(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	cfg.TTL, cfg.Jitter, cfg.Stale, cfg.RetryAfter = 50*time.Millisecond, -1, time.Minute, time.Minute
	cfg.LocalAge = -1 // So that every Get reads it.
	h := open(t, url(t), cfg)
	h.want(t, 1, h.text("one"), "one", cache.Miss)
	after(cfg.TTL)
	h.quiet() // Being told of a change is a reason to try again.
	for range 50 {
		h.want(t, 1, h.fails(), "one", cache.Stale)
	}
	redistest.Eventually(t, 5*time.Second, "the refresh", func() bool { return h.Stats().LoadErrors == 1 })
	for range 50 {
		h.want(t, 1, h.fails(), "one", cache.Stale)
	}
	h.Close()
	if n := h.loads.Load(); n != 2 {
		t.Errorf("%d loads", n)
	}
}

func TestAValueInTheLastTenthOfItsFreshnessIsLoadedAnew(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	cfg.TTL, cfg.Jitter, cfg.Stale = 2*time.Second, -1, time.Minute
	h := open(t, url(t), cfg)
	h.want(t, 1, h.text("one"), "one", cache.Miss)
	stored := time.Now()
	until(stored.Add(1500 * time.Millisecond))
	h.want(t, 1, never(t), "one", cache.Hit)
	until(stored.Add(1850 * time.Millisecond))
	v, err := h.Lookup(t.Context(), 1, "", h.text("two"))
	if err != nil || v.Value.Text != "one" || v.Outcome != cache.Hit && time.Since(stored) < cfg.TTL {
		t.Error(v, err)
	}
	redistest.Eventually(t, 5*time.Second, "the new value", func() bool {
		v, err := h.Get(t.Context(), 1, h.text("two"))
		return err == nil && v.Text == "two"
	})
	if v, err := h.Lookup(t.Context(), 1, "", never(t)); err != nil || v.Outcome != cache.Hit || v.Age > time.Second {
		t.Error(v, err)
	}
}

func TestAValueThatWasSetIsNotLoadedBeforeItsTTLEnds(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	cfg.TTL, cfg.Stale = time.Millisecond, time.Minute
	h := open(t, url(t), cfg)
	const ttl = 400 * time.Millisecond
	h.set(t, 1, "set", ttl)
	h.set(t, 2, "touched", time.Minute)
	if err := h.Touch(t.Context(), 2, ttl); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(ttl - 100*time.Millisecond); time.Now().Before(end); {
		h.want(t, 1, never(t), "set", cache.Hit)
		h.want(t, 2, never(t), "touched", cache.Hit)
	}
	after(ttl)
	h.want(t, 1, h.text("loaded"), "loaded", cache.Miss)
	h.want(t, 2, h.text("loaded"), "loaded", cache.Miss)
}

func TestEveryKeyInRedisExpiresButTheEpoch(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg := config("x")
	cfg.TTL, cfg.Jitter, cfg.Stale = 10*time.Minute, 0.5, time.Hour
	cfg.TTLOf = func(v note) time.Duration {
		if v.For == "short" {
			return time.Minute
		}
		return 0
	}
	h := open(t, server.URL(), cfg)
	rdb := server.Client()
	var least, most time.Duration
	for n := range 200 {
		h.want(t, n, h.text("one"), "one", cache.Miss)
		left := rdb.PTTL(t.Context(), "x:note:"+strconv.Itoa(n)).Val() - cfg.Stale
		if left > cfg.TTL || left < cfg.TTL/2-time.Minute {
			t.Errorf("kept for %v", left)
		}
		if least == 0 || left < least {
			least = left
		}
		most = max(most, left)
	}
	if most-least < cfg.TTL/4 {
		t.Errorf("all expire together: between %v and %v", least, most)
	}
	same(t, <-h.ask(t.Context(), 500, "short", h.variant("short")), "for short", cache.Miss)
	if left := rdb.PTTL(t.Context(), "x:note:500").Val() - cfg.Stale; left > time.Minute || left < 20*time.Second {
		t.Errorf("TTLOf was not heeded: %v", left)
	}
	h.set(t, 501, "set", time.Minute)
	if _, err := h.Get(t.Context(), 502, h.absent()); !errors.Is(err, cache.ErrNotFound) {
		t.Error(err)
	}
	w := hold()
	answers := h.ask(t.Context(), 503, "", w.text("one"))
	<-w.began
	if err := h.Invalidate(t.Context(), "parity:0"); err != nil {
		t.Fatal(err)
	}
	h.remove(t, 504)
	keys := rdb.Keys(t.Context(), "*").Val()
	if len(keys) < 204 {
		t.Errorf("only %d keys", len(keys))
	}
	for _, key := range keys {
		left := rdb.PTTL(t.Context(), key).Val()
		if (left <= 0) != (key == "x:epoch" || key == "x:index") {
			t.Errorf("%s expires in %v", key, left)
		}
	}
	close(w.goOn)
	<-answers
}

func TestAgeIsSinceTheValueWasLoaded(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	a, b := open(t, url(t), cfg), open(t, url(t), cfg)
	before := time.Now()
	a.want(t, 1, a.text("one"), "one", cache.Miss)
	loaded := time.Now()
	after(200 * time.Millisecond)
	for _, h := range []*hub{a, b, b} {
		r, err := h.Lookup(t.Context(), 1, "", never(t))
		const inexact = 2 * time.Millisecond
		if least, most := time.Since(loaded), time.Since(before); err != nil || r.Age < least-50*time.Millisecond || r.Age > most+inexact {
			t.Errorf("%v, between %v and %v: %v", r.Age, least, most, err)
		}
	}
}

func TestALoadEndsAfterLoadTimeout(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	cfg.LoadTimeout = 100 * time.Millisecond
	h := open(t, url(t), cfg)
	begun := time.Now()
	_, err := h.Get(t.Context(), 1, func(ctx context.Context) (note, error) {
		<-ctx.Done()
		return note{}, ctx.Err()
	})
	if took := time.Since(begun); !errors.Is(err, context.DeadlineExceeded) || took < cfg.LoadTimeout || took > 5*time.Second {
		t.Errorf("%v after %v", err, took)
	}
}
