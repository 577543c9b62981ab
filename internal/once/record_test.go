package once_test

import (
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestForeignRecord meets keys that hold what no Once wrote.
func TestForeignRecord(t *testing.T) {
	t.Parallel()
	server, cfg := redistest.Shared(t), config(t)
	o, rdb := newOnce(t, server, cfg), server.Client()
	want(t, do(t.Context(), o, "k", returns("v")), "v", false)
	key := keysOf(t, rdb, cfg.Prefix)[0]
	for _, value := range []string{"", "x", "z damaged"} {
		rdb.HSet(t.Context(), key, "value", value)
		if got := do(t.Context(), o, "k", never(t)); got.err == nil || got.value != "" {
			t.Errorf("%q gives %v", value, got)
		}
	}
	rdb.Set(t.Context(), key, "s3cret", 0)
	if got := do(t.Context(), o, "k", never(t)); got.err == nil || strings.Contains(got.err.Error(), "s3cret") {
		t.Errorf("a key of another type gives %v", got)
	}
}
