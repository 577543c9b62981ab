package cache_test

import (
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func TestAValueIsLoadedOnceAndKeptInBothLevels(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	a, b := open(t, url(t), cfg), open(t, url(t), cfg)
	a.want(t, 1, a.text("one"), "one", cache.Miss)
	a.want(t, 1, a.text("two"), "one", cache.Hit)
	b.want(t, 1, b.text("two"), "one", cache.Hit)
	if a.loads.Load() != 1 || b.loads.Load() != 0 {
		t.Errorf("%d and %d loads", a.loads.Load(), b.loads.Load())
	}
	redistest.Eventually(t, 5*time.Second, "a local hit", func() bool {
		before := a.Stats().LocalHits
		a.want(t, 1, a.text("two"), "one", cache.Hit)
		return a.Stats().LocalHits > before
	})
}

func TestWritesAreSeenAtOnceHereAndSoonElsewhere(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	a, b := open(t, url(t), cfg), open(t, url(t), cfg)
	for i := range 20 {
		text := string(rune('a' + i))
		if err := a.Set(t.Context(), 1, note{Text: text}, time.Minute); err != nil {
			t.Fatal(err)
		}
		a.want(t, 1, a.text("no"), text, cache.Hit)
		timer := time.NewTimer(cache.MaxLag)
		<-timer.C
		b.want(t, 1, b.text("no"), text, cache.Hit)
		b.want(t, 1, b.text("no"), text, cache.Hit)
	}
	if n, err := b.Delete(t.Context(), 1, 2); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	b.want(t, 1, b.text("new"), "new", cache.Miss)
	if err := a.Invalidate(t.Context(), "parity:1"); err != nil {
		t.Fatal(err)
	}
	a.want(t, 1, a.text("newer"), "newer", cache.Miss)
	timer := time.NewTimer(cache.MaxLag)
	<-timer.C
	b.want(t, 1, b.text("no"), "newer", cache.Hit)
	t.Logf("%+v", a.Stats())
}
