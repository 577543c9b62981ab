package once_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/once"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestRedisAwayBefore runs nothing while Redis is stopped or hangs, and takes no key by it that this process could not
// have again.
func TestRedisAwayBefore(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]struct{ begin, end func(*redistest.Server) }{
		"killed": {(*redistest.Server).Kill, (*redistest.Server).Restart},
		"paused": {(*redistest.Server).Pause, (*redistest.Server).Resume},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, cfg := redistest.Start(t), config(t)
			cfg.Timeout, cfg.Lease = 300*time.Millisecond, time.Hour
			o := newOnce(t, server, cfg)
			want(t, do(t.Context(), o, "warm", returns("v")), "v", false) // Now Redis has the script.
			outage.begin(server)
			got := do(t.Context(), o, "k", never(t))
			if !errors.Is(got.err, once.ErrUnavailable) || errors.Is(got.err, once.ErrNotKept) || got.value != "" {
				t.Errorf("got %v", got)
			}
			outage.end(server)
			redistest.Eventually(t, soon, "it is done", func() bool {
				got = do(t.Context(), o, "k", returns("v"))
				return !errors.Is(got.err, once.ErrUnavailable)
			})
			want(t, got, "v", false)
		})
	}
}

// TestTakenByNobody lets Redis carry out late what nobody waits for any more: no other process waits for that.
func TestTakenByNobody(t *testing.T) {
	t.Parallel()
	server, cfg := redistest.Start(t), config(t)
	cfg.Timeout, cfg.Lease = 300*time.Millisecond, time.Hour
	a, b := newOnce(t, server, cfg), newOnce(t, server, cfg)
	want(t, do(t.Context(), a, "warm", returns("v")), "v", false)
	server.Pause()
	if got := do(t.Context(), a, "k", never(t)); !errors.Is(got.err, once.ErrUnavailable) {
		t.Errorf("got %v", got)
	}
	server.Resume()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	want(t, do(ctx, b, "k", returns("v")), "v", false)
}

// TestRedisAwayAfter takes Redis away while a thing is done: its value is handed over with a warning, kept by the process,
// and by Redis as soon as it is back.
func TestRedisAwayAfter(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"that keeps all":     {"--appendonly", "yes", "--appendfsync", "always"},
		"that keeps nothing": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, cfg := redistest.Start(t, args...), config(t)
			a, b := newOnce(t, server, cfg), newOnce(t, server, cfg)
			h := hold()
			first := begin(t.Context(), a, "k", h.do)
			receive(t, h.begun)
			server.Kill()
			h.succeed("v")
			warned := func(got answer, repeated bool) {
				if got.value != "v" || got.repeated != repeated || !errors.Is(got.err, once.ErrNotKept) || !errors.Is(got.err, once.ErrUnavailable) {
					t.Errorf("got %v", got)
				}
			}
			warned(receive(t, first), false)
			warned(do(t.Context(), a, "k", never(t)), true)
			if _, _, err := a.Do(t.Context(), "k", "another", time.Hour, never(t)); !errors.Is(err, once.ErrReused) {
				t.Errorf("another fingerprint gives %v", err)
			}
			server.Restart()
			redistest.Eventually(t, soon, "the value is kept", func() bool { return a.Callers("k") < 0 })
			want(t, do(t.Context(), a, "k", never(t)), "v", true)
			redistest.Eventually(t, soon, "the other process is connected", func() bool {
				return !errors.Is(do(t.Context(), b, "other", returns("")).err, once.ErrUnavailable)
			})
			want(t, do(t.Context(), b, "k", never(t)), "v", true)
		})
	}
}

// TestCloseWhileRedisIsAway does not wait for Redis to come back.
func TestCloseWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	server, cfg := redistest.Start(t), config(t)
	cfg.Lease = time.Hour
	o := newOnce(t, server, cfg)
	h := hold()
	first := begin(t.Context(), o, "k", h.do)
	receive(t, h.begun)
	server.Kill()
	h.succeed("v")
	if got := receive(t, first); got.value != "v" || !errors.Is(got.err, once.ErrNotKept) {
		t.Errorf("got %v", got)
	}
	o.Close()
}

// TestFailureWhileRedisIsAway frees a key for this process although Redis cannot be told.
func TestFailureWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	server, cfg := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always"), config(t)
	cfg.Lease = time.Hour
	o := newOnce(t, server, cfg)
	failure := errors.New("not today")
	h := hold()
	first := begin(t.Context(), o, "k", h.do)
	receive(t, h.begun)
	server.Kill()
	h.fail(failure)
	if got := receive(t, first); got != (answer{"", false, failure}) {
		t.Errorf("got %v", got)
	}
	server.Restart()
	var got answer
	redistest.Eventually(t, soon, "it is done", func() bool {
		got = do(t.Context(), o, "k", returns("v"))
		return !errors.Is(got.err, once.ErrUnavailable)
	})
	want(t, got, "v", false)
}
