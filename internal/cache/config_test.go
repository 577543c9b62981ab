package cache_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*cache.Config[int, note]){
		"no Redis":                 func(c *cache.Config[int, note]) { c.Redis = nil },
		"no Prefix":                func(c *cache.Config[int, note]) { c.Prefix = "" },
		"no RedisKey":              func(c *cache.Config[int, note]) { c.RedisKey = nil },
		"no Parse":                 func(c *cache.Config[int, note]) { c.Parse = nil },
		"no LockPrefix":            func(c *cache.Config[int, note]) { c.LockPrefix = "" },
		"no EpochKey":              func(c *cache.Config[int, note]) { c.EpochKey = "" },
		"an Index without Group":   func(c *cache.Config[int, note]) { c.Group = nil },
		"an Index, no Siblings":    func(c *cache.Config[int, note]) { c.Siblings = nil },
		"locks among the values":   func(c *cache.Config[int, note]) { c.LockPrefix = c.Prefix + "lock:" },
		"an epoch among values":    func(c *cache.Config[int, note]) { c.EpochKey = c.Prefix + "epoch" },
		"a TTL below 1 ms":         func(c *cache.Config[int, note]) { c.TTL = time.Microsecond },
		"a negative TTL":           func(c *cache.Config[int, note]) { c.TTL = -1 },
		"a Jitter of more than 1":  func(c *cache.Config[int, note]) { c.Jitter = 1.1 },
		"a negative time to serve": func(c *cache.Config[int, note]) { c.Stale = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config("x")
			cfg.Redis = cache.NewRedis(redistest.Shared(t).Client(), url(t), "channel", nil)
			spoil(&cfg)
			if _, err := cache.New(cfg); err == nil {
				t.Error("it was taken")
			}
		})
	}
}

func TestACacheNeedsOnlyWhatIsRequired(t *testing.T) {
	t.Parallel()
	whole := config(redistest.Prefix(t))
	h := open(t, url(t), cache.Config[int, note]{
		Prefix: whole.Prefix, RedisKey: whole.RedisKey, Parse: whole.Parse, LockPrefix: whole.LockPrefix, EpochKey: whole.EpochKey,
	})
	h.want(t, 1, h.text("one"), "one", cache.Miss)
	if left := redistest.Shared(t).Client().PTTL(t.Context(), h.name(1)).Val(); left > 5*time.Minute || left < 4*time.Minute {
		t.Errorf("kept for %v", left)
	}
	if n, err := h.Delete(t.Context(), 1); n != 1 || err != nil {
		t.Error(n, err)
	}
	if groups, next, err := h.List(t.Context(), "", 1); len(groups) != 0 || next != "" || err != nil {
		t.Error(groups, next, err)
	}
}

// What JSON cannot write is an error of Set, and of nobody who reads.
func TestWhatCannotBeEncodedIsAnsweredAllTheSame(t *testing.T) {
	t.Parallel()
	prefix := redistest.Prefix(t)
	whole := config(prefix)
	rdb := redistest.Shared(t).Client()
	r := cache.NewRedis(rdb, url(t), "channel", nil)
	c, err := cache.New(cache.Config[int, float64]{
		Redis: r, Prefix: whole.Prefix, RedisKey: whole.RedisKey, Parse: whole.Parse, LockPrefix: whole.LockPrefix, EpochKey: whole.EpochKey,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer c.Close()
	if err := c.Set(t.Context(), 1, math.Inf(1), time.Minute); err == nil {
		t.Error("infinity was set")
	}
	v, err := c.Get(t.Context(), 1, func(context.Context) (float64, error) { return math.Inf(1), nil })
	if !math.IsInf(v, 1) || err != nil {
		t.Error(v, err)
	}
	if n := rdb.Exists(t.Context(), prefix+":lock:1").Val(); n != 0 {
		t.Error("the lock was left")
	}
}
