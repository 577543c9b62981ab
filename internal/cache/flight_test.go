package cache_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func TestAThousandGetsOnTwoHubsShareOneLoad(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	cfg.LockWait = 10 * time.Second // However slow the machine is.
	a, b := open(t, url(t), cfg), open(t, url(t), cfg)
	var loads atomic.Int64
	load := func(ctx context.Context) (note, error) {
		loads.Add(1)
		timer := time.NewTimer(50 * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
			return note{Text: "one"}, nil
		case <-ctx.Done():
			return note{}, ctx.Err()
		}
	}
	var all sync.WaitGroup
	for i := range 1000 {
		h := []*hub{a, b}[i%2]
		all.Go(func() {
			if v, err := h.Get(t.Context(), 1, load); err != nil || v.Text != "one" {
				t.Error(v, err)
			}
		})
	}
	all.Wait()
	if n := loads.Load(); n != 1 {
		t.Errorf("%d loads", n)
	}
	stats := [2]cache.Stats{a.Stats(), b.Stats()}
	if stats[0].Loads+stats[1].Loads != 1 || stats[0].LockWaits+stats[1].LockWaits < 1 {
		t.Errorf("%+v", stats)
	}
}

func TestAReaderWaitsForTheLockOfADeadOwnerAtMostLockWait(t *testing.T) {
	t.Parallel()
	prefix := redistest.Prefix(t)
	cfg := config(prefix)
	cfg.LockWait = 200 * time.Millisecond
	h := open(t, url(t), cfg)
	rdb := redistest.Shared(t).Client()
	must(t, rdb.Set(t.Context(), prefix+":lock:1", "somebody", time.Minute))
	begun := time.Now()
	first, second := h.ask(t.Context(), 1, "", h.text("one")), h.ask(t.Context(), 1, "", h.text("one"))
	for _, asked := range []<-chan answer{first, second} {
		if a := <-asked; a.err != nil || a.Value.Text != "one" {
			t.Error(a)
		}
	}
	if took := time.Since(begun); took < cfg.LockWait || took > cfg.LockWait+2*time.Second {
		t.Errorf("it took %v", took)
	}
	if s := h.Stats(); s.LockWaits < 1 || s.LockSteals < 1 || s.Loads < 1 {
		t.Errorf("%+v", s)
	}
	h.want(t, 1, never(t), "one", cache.Hit)
	if n := rdb.Exists(t.Context(), prefix+":lock:1").Val(); n != 0 {
		t.Error("the lock was left")
	}
}

func TestALoadThatLosesItsLockIsAnsweredAndNotStored(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	cfg.LockWait = 20 * time.Millisecond
	slow, thief := open(t, url(t), cfg), open(t, url(t), cfg)
	w := hold()
	answers := slow.ask(t.Context(), 1, "", w.text("old"))
	<-w.began
	thief.want(t, 1, thief.text("new"), "new", cache.Miss)
	close(w.goOn)
	same(t, <-answers, "old", cache.Miss)
	if s := slow.Stats(); s.Refused != 1 {
		t.Errorf("%+v", s)
	}
	slow.want(t, 1, never(t), "new", cache.Hit)
}

func TestTheLockIsGivenBack(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		load cache.Load[note]
		want string
	}{
		"after an error":     {func(context.Context) (note, error) { return note{}, errSource }, errSource.Error()},
		"after a panic":      {func(context.Context) (note, error) { panic("ouch") }, "ouch"},
		"after ErrNotFound":  {func(context.Context) (note, error) { return note{}, cache.ErrNotFound }, "not found"},
		"after a value":      {func(context.Context) (note, error) { return note{}, nil }, ""},
		"after the deadline": {func(ctx context.Context) (note, error) { <-ctx.Done(); return note{}, ctx.Err() }, "deadline"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prefix := redistest.Prefix(t)
			cfg := config(prefix)
			cfg.LoadTimeout = 100 * time.Millisecond
			cfg.MissingTTL = -1
			h := open(t, url(t), cfg)
			_, err := h.Get(t.Context(), 1, test.load)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if n := redistest.Shared(t).Client().Exists(t.Context(), prefix+":lock:1").Val(); n != 0 {
				t.Error("the lock was left")
			}
		})
	}
	t.Run("after a refusal", func(t *testing.T) {
		t.Parallel()
		prefix := redistest.Prefix(t)
		h := open(t, url(t), config(prefix))
		w := hold()
		answers := h.ask(t.Context(), 1, "", w.text("old"))
		<-w.began
		if err := h.Invalidate(t.Context(), "all"); err != nil {
			t.Fatal(err)
		}
		close(w.goOn)
		same(t, <-answers, "old", cache.Miss)
		if n := redistest.Shared(t).Client().Exists(t.Context(), prefix+":lock:1").Val(); n != 0 || h.Stats().Refused != 1 {
			t.Errorf("%d locks, %+v", n, h.Stats())
		}
	})
}

func TestACallerWhoLeavesStopsNoLoad(t *testing.T) {
	t.Parallel()
	h := open(t, url(t), config(redistest.Prefix(t)))
	w := hold()
	ctx, cancel := context.WithCancel(t.Context())
	first := h.ask(ctx, 1, "", w.text("one"))
	<-w.began
	second := h.ask(t.Context(), 1, "", never(t))
	cancel()
	if a := <-first; !errors.Is(a.err, context.Canceled) {
		t.Error(a)
	}
	close(w.goOn)
	if a := <-second; a.err != nil || a.Value.Text != "one" { // A miss, or a hit if it asked late.
		t.Error(a)
	}
	h.want(t, 1, never(t), "one", cache.Hit)
}

func TestAGetEndsWithItsContextAlsoWhenRedisHangs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	h := open(t, server.URL(), config("x"))
	server.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_, err := h.Get(ctx, 1, h.text("one"))
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 200*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
	server.Resume()
}

func TestAnErrorOfALoadIsReturnedAndTheKeyLeftAloneForRetryAfter(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	cfg.RetryAfter = 300 * time.Millisecond
	h := open(t, url(t), cfg)
	for range 10 {
		if _, err := h.Get(t.Context(), 1, h.fails()); !errors.Is(err, errSource) {
			t.Fatal(err)
		}
	}
	if n := h.loads.Load(); n != 1 {
		t.Errorf("%d loads", n)
	}
	after(cfg.RetryAfter)
	h.want(t, 1, h.text("one"), "one", cache.Miss)
}

func TestAFailureForOneVariantIsNoneForAnother(t *testing.T) {
	t.Parallel()
	h := open(t, url(t), config(redistest.Prefix(t)))
	same(t, <-h.ask(t.Context(), 1, "a", h.variant("a")), "for a", cache.Miss)
	if a := <-h.ask(t.Context(), 1, "b", h.fails()); !errors.Is(a.err, errSource) {
		t.Error(a)
	}
	same(t, <-h.ask(t.Context(), 1, "a", never(t)), "for a", cache.Hit)
}

// variant loads a note for a variant.
func (h *hub) variant(variant string) cache.Load[note] {
	return func(context.Context) (note, error) {
		h.loads.Add(1)
		return note{Text: "for " + variant, For: variant}, nil
	}
}

func TestVariantsReplaceEachOtherAndTheLastIsKept(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	a, b := open(t, url(t), cfg), open(t, url(t), cfg)
	same(t, <-a.ask(t.Context(), 1, "x", a.variant("x")), "for x", cache.Miss)
	same(t, <-a.ask(t.Context(), 1, "y", a.variant("y")), "for y", cache.Miss)
	same(t, <-a.ask(t.Context(), 1, "y", never(t)), "for y", cache.Hit)
	same(t, <-b.ask(t.Context(), 1, "y", never(t)), "for y", cache.Hit)
	same(t, <-b.ask(t.Context(), 1, "x", b.variant("x")), "for x", cache.Miss)
	// Whatever is there is good enough for who names no variant.
	same(t, <-b.ask(t.Context(), 1, "", never(t)), "for x", cache.Hit)

	var all sync.WaitGroup
	for i := range 60 {
		h, variant := []*hub{a, b}[i%2], []string{"x", "y", "z"}[i%3]
		all.Go(func() {
			r, err := h.Lookup(t.Context(), 2, variant, h.variant(variant))
			if err != nil || r.Value.For != variant {
				t.Error(variant, r, err)
			}
		})
	}
	all.Wait()
	kept, err := a.Get(t.Context(), 2, never(t))
	if err != nil || !strings.Contains("xyz", kept.For) {
		t.Error(kept, err)
	}
}

func TestThatThereIsNothingIsRememberedForMissingTTL(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	cfg.MissingTTL = 300 * time.Millisecond
	a, b := open(t, url(t), cfg), open(t, url(t), cfg)
	deadline := time.Now().Add(cfg.MissingTTL)
	for _, h := range []*hub{a, a, b, b} {
		if _, err := h.Get(t.Context(), 1, h.absent()); !errors.Is(err, cache.ErrNotFound) {
			t.Fatal(err)
		}
	}
	if n := a.loads.Load() + b.loads.Load(); n != 1 && time.Now().Before(deadline) {
		t.Errorf("%d loads", n)
	}
	after(cfg.MissingTTL)
	a.want(t, 1, a.text("one"), "one", cache.Miss)
	if groups, _, err := a.List(t.Context(), "", 10); err != nil || len(groups) != 1 {
		t.Error(groups, err)
	}
}

func TestThatThereIsNothingIsNotRememberedWithANegativeMissingTTL(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	cfg.MissingTTL = -1
	h := open(t, url(t), cfg)
	for i := range int64(3) {
		if _, err := h.Get(t.Context(), 1, h.absent()); !errors.Is(err, cache.ErrNotFound) || h.loads.Load() != i+1 {
			t.Fatal(err, h.loads.Load())
		}
	}
}

func TestCloseWaitsAndLaterCallsFail(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	cfg.Stale, cfg.Jitter, cfg.TTL = time.Minute, -1, 50*time.Millisecond
	h := open(t, url(t), cfg)
	h.want(t, 1, h.text("one"), "one", cache.Miss)
	after(cfg.TTL)
	w := hold()
	same(t, <-h.ask(t.Context(), 1, "", w.text("two")), "one", cache.Stale)
	<-w.began // In the background.
	closed := make(chan struct{})
	go func() {
		h.Close()
		close(closed)
	}()
	redistest.Eventually(t, 5*time.Second, "the cache closes", func() bool {
		_, err := h.Get(t.Context(), 1, never(t))
		return errors.Is(err, cache.ErrClosed)
	})
	select {
	case <-closed:
		t.Error("Close did not wait")
	default:
	}
	close(w.goOn)
	<-closed
	h.Close()

	_, deleteErr := h.Delete(t.Context(), 1)
	_, _, listErr := h.List(t.Context(), "", 1)
	_, getErr := h.Get(t.Context(), 1, never(t))
	for call, err := range map[string]error{
		"Get": getErr, "Delete": deleteErr, "List": listErr, "Set": h.Set(t.Context(), 1, note{}, time.Minute),
		"Touch": h.Touch(t.Context(), 1, time.Minute), "Invalidate": h.Invalidate(t.Context(), "all"),
	} {
		if !errors.Is(err, cache.ErrClosed) {
			t.Errorf("%s: %v", call, err)
		}
	}
	if v, err := open(t, url(t), config(cfg.Prefix[:len(cfg.Prefix)-len(":note:")])).Get(t.Context(), 1, h.text("two")); err != nil || v.Text != "two" {
		t.Error("the refresh was not stored:", v, err)
	}
}

// TestSlowLoadsAreStored has several processes load the same for longer than they wait for each other.
func TestSlowLoadsAreStored(t *testing.T) {
	t.Parallel()
	cfg := config(redistest.Prefix(t))
	cfg.LockWait = 20 * time.Millisecond
	hubs := make([]*hub, 4)
	for i := range hubs {
		hubs[i] = open(t, url(t), cfg)
	}
	var readers sync.WaitGroup
	for _, h := range hubs {
		slow := func(ctx context.Context) (note, error) {
			h.loads.Add(1)
			after(5 * cfg.LockWait)
			return note{Text: "one"}, ctx.Err()
		}
		readers.Go(func() {
			for begun := time.Now(); time.Since(begun) < time.Second; {
				if v, err := h.Get(t.Context(), 1, slow); err != nil || v.Text != "one" {
					t.Error(v, err)
				}
			}
		})
	}
	readers.Wait()
	for i, h := range hubs {
		if s := h.Stats(); h.loads.Load() > 1 || s.LocalHits+s.RemoteHits == 0 {
			t.Errorf("hub %d: %+v", i, s)
		}
	}
}
