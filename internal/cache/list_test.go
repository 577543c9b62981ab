package cache_test

import (
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// names pages through all groups.
func (h *hub) names(tb testing.TB, limit int) []string {
	tb.Helper()
	var names []string
	for cursor := ""; ; {
		groups, next, err := h.List(tb.Context(), cursor, limit)
		if err != nil || len(groups) > limit {
			tb.Fatal(groups, err)
		}
		for _, g := range groups {
			if g.ExpiresIn <= 0 {
				tb.Errorf("%+v", g)
			}
			names = append(names, g.Name)
		}
		if cursor = next; cursor == "" {
			return names
		}
	}
}

func TestListPagesThroughTheGroups(t *testing.T) {
	t.Parallel()
	h := open(t, url(t), config(redistest.Prefix(t)))
	if names := h.names(t, 3); len(names) != 0 {
		t.Error(names)
	}
	const n = 25
	for i := range n {
		h.set(t, 10*i, "one", time.Minute)
		h.set(t, 10*i+1, "two", time.Hour-time.Duration(i)*time.Minute)
	}
	var want []string
	for i := range n { // Those that expire first come first.
		want = append(want, strconv.Itoa(n-1-i))
	}
	for _, limit := range []int{1, 2, 7, n - 1, n, n + 1, 1000} {
		if names := h.names(t, limit); !slices.Equal(names, want) {
			t.Errorf("by %d: %v", limit, names)
		}
	}
	groups, _, err := h.List(t.Context(), "", 1)
	if last := time.Hour - (n-1)*time.Minute; err != nil || groups[0].ExpiresIn > last || groups[0].ExpiresIn < last-30*time.Second {
		t.Error(groups, err)
	}
	for _, cursor := range []string{"x", "1", " ", "1.5 a", "99999999999999999999 a"} {
		if _, _, err := h.List(t.Context(), cursor, 1); !errors.Is(err, cache.ErrCursor) {
			t.Errorf("%q: %v", cursor, err)
		}
	}
}

// Many groups may expire in the same millisecond.
func TestListPagesThroughGroupsThatExpireTogether(t *testing.T) {
	t.Parallel()
	prefix := redistest.Prefix(t)
	h := open(t, url(t), config(prefix))
	pipe := redistest.Shared(t).Client().Pipeline()
	at := strconv.FormatInt(time.Now().Add(time.Hour).UnixMilli(), 10)
	const n = 300
	for i := range n {
		pipe.Do(t.Context(), "zadd", prefix+":index", at, i)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int{7, n} {
		names := h.names(t, limit)
		slices.Sort(names)
		if len(slices.Compact(names)) != n {
			t.Errorf("by %d: %d groups", limit, len(names))
		}
	}
}

func TestListIsCompleteWhileOthersStore(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	a, b := open(t, url(t), cfg), open(t, url(t), cfg)
	const n = 40
	for i := range n {
		a.set(t, 10*i, "one", time.Duration(i+1)*time.Minute)
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i, h := range []*hub{a, b} {
		all.Go(func() {
			for k := i; ; k++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := h.Set(t.Context(), k%n*10+1, note{}, time.Duration(k%90+1)*time.Minute); err != nil {
					t.Error(err)
				}
				if _, err := h.Delete(t.Context(), k%n*10+1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 10 {
		names := b.names(t, 3)
		slices.Sort(names)
		if len(slices.Compact(names)) != n {
			t.Errorf("%d groups", len(names))
		}
	}
	close(stop)
	all.Wait()
}

func TestAGroupLeavesTheListWithItsLastKey(t *testing.T) {
	t.Parallel()
	h := open(t, url(t), config(redistest.Prefix(t)))
	for _, key := range []int{1, 2, 3, 11} {
		h.set(t, key, "one", time.Minute)
	}
	h.want(t, 21, h.text("loaded"), "loaded", cache.Miss)
	for _, step := range []struct {
		remove []int
		left   []string
	}{
		{[]int{1}, []string{"0", "1", "2"}},
		{[]int{2, 5}, []string{"0", "1", "2"}},
		{[]int{3}, []string{"1", "2"}},
		{[]int{20, 21}, []string{"1"}},
		{[]int{10, 11, 12}, nil},
	} {
		if _, err := h.Delete(t.Context(), step.remove...); err != nil {
			t.Fatal(err)
		}
		names := h.names(t, 10)
		slices.Sort(names)
		if !slices.Equal(names, step.left) {
			t.Errorf("after %v: %v", step.remove, names)
		}
	}
}

func TestAGroupLeavesTheListWhenItsValuesExpire(t *testing.T) {
	t.Parallel()
	prefix := redistest.Prefix(t)
	h := open(t, url(t), config(prefix))
	h.set(t, 1, "one", 200*time.Millisecond)
	h.set(t, 2, "two", 100*time.Millisecond) // Another of the group lives longer.
	h.set(t, 11, "three", time.Minute)
	end := time.Now().Add(200 * time.Millisecond)
	if names := h.names(t, 10); len(names) != 2 && time.Now().Before(end) {
		t.Error(names)
	}
	until(end)
	if names := h.names(t, 10); !slices.Equal(names, []string{"1"}) {
		t.Error(names)
	}
	h.set(t, 12, "four", time.Minute)
	if n := redistest.Shared(t).Client().ZCard(t.Context(), prefix+":index").Val(); n != 1 {
		t.Errorf("the index holds %d groups", n)
	}
}
