package cache_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func TestStatsCountWhatHappened(t *testing.T) {
	t.Parallel()
	prefix := redistest.Prefix(t)
	cfg := config(prefix)
	cfg.LocalAge = time.Hour
	a, b := open(t, url(t), cfg), open(t, url(t), cfg)
	if ratio := a.Stats().HitRatio(); ratio != 0 {
		t.Error(ratio)
	}
	a.want(t, 1, a.text("one"), "one", cache.Miss)
	if _, err := a.Get(t.Context(), 2, a.absent()); !errors.Is(err, cache.ErrNotFound) {
		t.Error(err)
	}
	if _, err := a.Get(t.Context(), 3, a.fails()); !errors.Is(err, errSource) {
		t.Error(err)
	}
	a.quiet()
	a.want(t, 1, never(t), "one", cache.Hit)
	for range 4 {
		a.want(t, 1, never(t), "one", cache.Hit)
	}
	must(t, redistest.Shared(t).Client().Set(t.Context(), a.name(4), "{", time.Minute))
	a.want(t, 4, a.text("four"), "four", cache.Miss)
	s := a.Stats()
	want := cache.Stats{
		LocalHits: 4, RemoteHits: 1, Misses: 3, Loads: 4, LoadErrors: 1,
		Damaged: s.Damaged, Interruptions: s.Interruptions, Entries: s.Entries, Bytes: s.Bytes,
	}
	if s != want || s.Damaged == 0 || s.Entries == 0 || s.Bytes == 0 || s.HitRatio() != 5.0/8 {
		t.Errorf("%+v, %v", s, s.HitRatio())
	}
	b.want(t, 1, never(t), "one", cache.Hit)
	if s := b.Stats(); s.RemoteHits != 1 || s.HitRatio() != 1 || s.Entries != 1 || s.Bytes < 1<<10 {
		t.Errorf("%+v", s)
	}
	b.ResetStats()
	if s := b.Stats(); s != (cache.Stats{Entries: s.Entries, Bytes: s.Bytes}) || s.Entries != 1 {
		t.Errorf("%+v", s)
	}
}

func TestHottestAreThoseAskedForMost(t *testing.T) {
	t.Parallel()
	h := open(t, url(t), config(redistest.Prefix(t)))
	for key := range 20 {
		h.want(t, key, h.text("one"), "one", cache.Miss)
	}
	if _, err := h.Get(t.Context(), 20, h.absent()); !errors.Is(err, cache.ErrNotFound) {
		t.Error(err)
	}
	if _, err := h.Get(t.Context(), 21, h.fails()); !errors.Is(err, errSource) {
		t.Error(err)
	}
	h.quiet()
	for key := range 20 {
		h.want(t, key, never(t), "one", cache.Hit)
	}
	for range 200 {
		h.want(t, 7, never(t), "one", cache.Hit)
	}
	seen := map[int]bool{}
	for key, v := range h.Hottest() {
		if v.Text != "one" || key > 19 || seen[key] {
			t.Error(key, v)
		}
		seen[key] = true
		if _, err := h.Get(t.Context(), 100+key, h.text("other")); err != nil { // The loop may use the cache.
			t.Error(err)
		}
	}
	if len(seen) != 20 {
		t.Errorf("%d keys", len(seen))
	}
	for range h.Hottest() {
		break
	}
}

func TestLocalBytesBoundsWhatIsKeptInTheProcess(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	cfg.LocalBytes = 50 << 10
	cfg.Weigh = func(v note) int { return len(v.Text) }
	h := open(t, url(t), cfg)
	text := strings.Repeat("x", 5<<10)
	for key := range 60 {
		h.want(t, key, h.text(text), text, cache.Miss)
	}
	redistest.Eventually(t, 5*time.Second, "what is too much goes", func() bool {
		s := h.Stats()
		return s.Bytes <= 50<<10 && s.Entries < 10
	})
	h.quiet()
	for key := range 60 { // It is all in Redis.
		h.want(t, key, never(t), text, cache.Hit)
	}
}

func TestLocalAgeIsHowLongAValueIsUsedWithoutReadingItAgain(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	cfg.LocalAge = 200 * time.Millisecond
	h := open(t, url(t), cfg)
	h.set(t, 1, "one", time.Minute)
	h.quiet()
	h.want(t, 1, never(t), "one", cache.Hit)
	read := time.Now()
	h.want(t, 1, never(t), "one", cache.Hit)
	until(read.Add(cfg.LocalAge))
	h.want(t, 1, never(t), "one", cache.Hit)
	if s := h.Stats(); s.RemoteHits != 2 {
		t.Errorf("%+v", s)
	}
}
