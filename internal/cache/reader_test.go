package cache_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// calls returns how often Redis ran each command, scripts' included, since the server started.
func calls(tb testing.TB, rdb *redis.Client) map[string]int {
	tb.Helper()
	info, err := rdb.Info(tb.Context(), "commandstats").Result()
	if err != nil {
		tb.Fatal(err)
	}
	all := map[string]int{}
	for line := range strings.Lines(info) {
		name, rest, found := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		if !found {
			continue
		}
		number, _, _ := strings.Cut(rest, ",")
		if all[name], err = strconv.Atoi(number); err != nil {
			tb.Fatal(err)
		}
	}
	return all
}

// many is how many callers read at the same time, each its own key.
const many = 500

// fill sets the keys through one hub and opens another, which has none of them in its process.
func fill(tb testing.TB, at string) *hub {
	tb.Helper()
	a := open(tb, at, config("x"))
	for n := range many {
		a.set(tb, n, strconv.Itoa(n), time.Minute)
	}
	return open(tb, at, config("x"))
}

// together calls do for each key, as much at the same time as can be.
func together(do func(n int)) (wait func()) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for n := range many {
		all.Go(func() {
			<-start
			do(n)
		})
	}
	close(start)
	return all.Wait
}

func TestConcurrentReadsGoToRedisTogether(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	h, rdb := fill(t, server.URL()), server.Client()
	before := calls(t, rdb)
	must(t, rdb.Do(t.Context(), "client", "pause", 150, "all")) // So that they gather, however slow the machine is.
	together(func(n int) {
		if v, err := h.Get(t.Context(), n, never(t)); err != nil || v.Text != strconv.Itoa(n) {
			t.Errorf("%d: %q %v", n, v.Text, err)
		}
	})()
	reads, gets := calls(t, rdb)["mget"]-before["mget"], calls(t, rdb)["get"]-before["get"]
	t.Logf("%d MGETs for %d keys", reads, many)
	if reads > many/4 || gets != 0 {
		t.Errorf("%d MGETs and %d GETs for %d keys", reads, gets, many)
	}
	if s := h.Stats(); s.RemoteHits != many || s.RedisErrors != 0 {
		t.Errorf("%+v", s)
	}
}

// Touch reads with its caller's context, Get with one that lasts.
func TestACallerWhoLeavesHarmsNoOtherInTheSameRead(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	h := fill(t, server.URL())
	leaving, leave := context.WithCancel(t.Context())
	defer leave()
	contexts := []context.Context{t.Context(), leaving, leaving}
	together(func(n int) {
		ctx := contexts[n%3]
		var v note
		var err error
		if n%3 == 1 {
			err = h.Touch(ctx, n, time.Minute)
		} else {
			v, err = h.Get(ctx, n, never(t))
		}
		switch {
		case n%3 > 0 && errors.Is(err, context.Canceled):
		case err != nil, n%3 != 1 && v.Text != strconv.Itoa(n):
			t.Errorf("%d: %q %v", n, v.Text, err)
		}
		if n == 0 {
			leave()
		}
	})()
	for n := range many {
		if v, err := h.Get(t.Context(), n, never(t)); err != nil || v.Text != strconv.Itoa(n) {
			t.Errorf("%d: %q %v", n, v.Text, err)
		}
	}
}

func TestReadsDoNotWaitLongForRedisThatHangs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	h := fill(t, server.URL())
	server.Pause()
	begun := time.Now()
	together(func(n int) {
		text := "loaded " + strconv.Itoa(n)
		if v, err := h.Get(t.Context(), n, h.text(text)); err != nil || v.Text != text {
			t.Errorf("%d: %q %v", n, v.Text, err)
		}
	})()
	if took := time.Since(begun); took > 1500*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	server.Resume()
	redistest.Eventually(t, 5*time.Second, "it is noticed", func() bool { return !h.redis.Away() })
	for n := range many {
		h.want(t, n, never(t), strconv.Itoa(n), cache.Hit)
	}
}

func TestCloseWhileReadsWait(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	h := fill(t, server.URL())
	server.Pause()
	wait := together(func(n int) {
		if v, err := h.Get(t.Context(), n, h.text("loaded")); !errors.Is(err, cache.ErrClosed) && (err != nil || v.Text != "loaded") {
			t.Errorf("%d: %q %v", n, v.Text, err)
		}
	})
	begun := time.Now()
	h.redis.Close() // In the wrong order, on purpose.
	h.Close()
	wait()
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	server.Resume()
}

// Who cannot leave reads on its own goroutine.
func TestCallersWhoCannotLeave(t *testing.T) {
	t.Parallel()
	h := open(t, url(t), config(redistest.Prefix(t)))
	ctx := context.WithoutCancel(t.Context())
	w := hold()
	first := h.ask(ctx, 1, "", w.text("one"))
	<-w.began
	second, third := h.ask(ctx, 1, "", never(t)), h.ask(t.Context(), 1, "", never(t))
	// They join, or come when the value is there.
	close(w.goOn)
	same(t, <-first, "one", cache.Miss)
	for _, a := range []answer{<-second, <-third} {
		if a.err != nil || a.Value.Text != "one" {
			t.Errorf("%+v", a)
		}
	}
	h.want(t, 1, never(t), "one", cache.Hit)

	_, err := h.Get(ctx, 2, func(context.Context) (note, error) { panic("ouch") })
	if err == nil || !strings.Contains(err.Error(), "ouch") {
		t.Errorf("after a panic: %v", err)
	}
	if _, err := h.Get(ctx, 3, h.fails()); !errors.Is(err, errSource) {
		t.Error(err)
	}

	w = hold()
	last := h.ask(ctx, 4, "", w.text("four"))
	<-w.began
	closed := make(chan struct{})
	go func() {
		h.Close()
		close(closed)
	}()
	redistest.Eventually(t, 5*time.Second, "the cache closes", func() bool {
		_, err := h.Get(ctx, 1, never(t))
		return errors.Is(err, cache.ErrClosed)
	})
	select {
	case <-closed:
		t.Error("Close did not wait")
	default:
	}
	close(w.goOn)
	same(t, <-last, "four", cache.Miss)
	<-closed
}
