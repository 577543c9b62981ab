package once_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/once"
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

func FuzzDecode(f *testing.F) {
	rdb := redis.NewClient(&redis.Options{})
	f.Cleanup(func() { _ = rdb.Close() })
	o, err := once.New(once.Config{Redis: rdb, Prefix: "p"})
	if err != nil {
		f.Fatal(err)
	}
	small, err := o.Encode(bytes.Repeat([]byte("a"), 10_000))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", " ", " {}", "z", "zx", string(small), string(small[:len(small)-3])} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		value, err := o.Decode(text)
		if err != nil {
			return
		}
		if value == nil || len(value) > max(once.MaxValueSize, len(text)) {
			t.Fatalf("%d bytes", len(value))
		}
		encoded, err := o.Encode(value)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := o.Decode(string(encoded)); err != nil || !bytes.Equal(again, value) {
			t.Fatal("it does not come back as it was", err)
		}
	})
}
