package once_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/once"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestLease lets another process do what one is too slow for: the value that is stored first counts for both.
func TestLease(t *testing.T) {
	t.Parallel()
	for _, slowFirst := range []bool{false, true} {
		t.Run(fmt.Sprintf("slow first %v", slowFirst), func(t *testing.T) {
			t.Parallel()
			server, cfg := redistest.Shared(t), config(t)
			b := newOnce(t, server, cfg)
			cfg.Timeout, cfg.Lease = 300*time.Millisecond, 301*time.Millisecond
			a := newOnce(t, server, cfg)
			slow, quick := hold(), hold()
			late := begin(t.Context(), a, "k", func(ctx context.Context) ([]byte, error) {
				value, err := slow.do(ctx)
				if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
					t.Errorf("the context of do after the lease: %v", ctx.Err())
				}
				return value, err
			})
			receive(t, slow.begun)
			other := begin(t.Context(), b, "k", quick.do)
			receive(t, quick.begun)
			if slowFirst {
				slow.succeed("slow")
				want(t, receive(t, late), "slow", false)
				quick.succeed("quick")
				want(t, receive(t, other), "slow", true)
			} else {
				quick.succeed("quick")
				want(t, receive(t, other), "quick", false)
				slow.succeed("slow")
				want(t, receive(t, late), "quick", true)
			}
		})
	}
}

// TestLeaseAndFingerprint uses a key for something else after the lease of a do that is too slow: its value is not kept,
// and it is told so.
func TestLeaseAndFingerprint(t *testing.T) {
	t.Parallel()
	server, cfg := redistest.Shared(t), config(t)
	b := newOnce(t, server, cfg)
	cfg.Timeout, cfg.Lease = 300*time.Millisecond, 301*time.Millisecond
	a := newOnce(t, server, cfg)
	slow := hold()
	late := begin(t.Context(), a, "k", slow.do)
	receive(t, slow.begun)
	redistest.Eventually(t, soon, "the lease is over", func() bool {
		value, _, err := b.Do(t.Context(), "k", "another", time.Hour, returns("other"))
		return err == nil && string(value) == "other"
	})
	slow.succeed("slow")
	got := receive(t, late)
	if got.value != "slow" || got.repeated || !errors.Is(got.err, once.ErrNotKept) || errors.Is(got.err, once.ErrUnavailable) || errors.Is(got.err, once.ErrReused) {
		t.Errorf("got %v", got)
	}
	if got := do(t.Context(), a, "k", never(t)); !errors.Is(got.err, once.ErrReused) {
		t.Errorf("then got %v", got)
	}
}
