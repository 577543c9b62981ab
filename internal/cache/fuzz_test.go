package cache_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// What can be decoded is encoded as what is decoded to the same.
func FuzzJSONDecode(f *testing.F) {
	codec := cache.JSON[note]()
	now := time.Now()
	raw, err := codec.Encode(note{Text: "one"}, cache.Meta{StoredAt: now, FreshUntil: now, ExpiresAt: now, Epoch: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	for _, text := range []string{
		``, `{}`, `null`, `[]`, `{"epoch":1}`, `{"epoch":-1}`, `{"epoch":0,"value":{}}`, `{"epoch":1e3}`, `{"epoch":9223372036854775807}`,
		`{"epoch":1,"stored_at":-9223372036854775808,"expires_at":9223372036854775807}`, `{"epoch":1,"value":1}`,
		`{"epoch":1,"value":{"text":1}}`, `{"epoch":1,"missing":true}`, `{"epoch":1}x`, "{\"epoch\":1,\"value\":{\"text\":\"\xff\"}}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, m, err := codec.Decode(raw)
		if err != nil {
			return
		}
		if m.Epoch <= 0 {
			t.Errorf("epoch %d", m.Epoch)
		}
		again, err := codec.Encode(v, m)
		if err != nil {
			t.Fatal(err)
		}
		v2, m2, err := codec.Decode(again)
		if err != nil || v2 != v || m2 != m {
			t.Errorf("%v %v, then %v %v: %v", v, m, v2, m2, err)
		}
	})
}

// Whatever is under the key of the epoch, the cache works, and Go and Lua agree on what it means: a value is as valid
// after the epoch was read by the one as by the other.
func FuzzEpoch(f *testing.F) {
	for _, text := range []string{
		"", " ", "floor", "floor=", "=1", "floor=1", "floor=1 all=2", "floor=1  all=2 ", " floor=1", "floor=1\nall=2", "floor=-1", "floor=+1",
		"floor=1 all=9999999999999999", "floor=1 all=99999999999999999", "floor=0x1", "floor=1_0", "floor=1 a=b=5", "floor=1 \x00=2",
		"all=1", "floor=1 floor=2", "floor=1 é=2", "floor=1 a\u00a0=2", "floor=1 %=2", "floor=1 all=٣", "floor=00000000000000001", "floor=0 \xee=0",
	} {
		f.Add(text)
	}
	h := open(f, url(f), config(redistest.Prefix(f)))
	rdb := redistest.Shared(f).Client()
	f.Fuzz(func(t *testing.T, text string) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		must(t, rdb.Set(ctx, h.epochKey, text, 0))
		if err := h.Set(ctx, 1, note{Text: "one"}, time.Minute); err != nil {
			t.Fatal(err)
		}
		healed, err := rdb.Get(ctx, h.epochKey).Result()
		if err != nil || healed == text && !strings.Contains(text, "floor=") {
			t.Errorf("%q became %q: %v", text, healed, err)
		}
		h.want(t, 1, never(t), "one", cache.Hit)
		if err := h.Invalidate(ctx, "parity:1"); err != nil {
			t.Fatal(err)
		}
		h.want(t, 1, h.text("two"), "two", cache.Miss)
		h.want(t, 1, never(t), "two", cache.Hit)
	})
}

// A cursor is one that List returned, or an error, and never a group twice.
func FuzzListCursor(f *testing.F) {
	h := open(f, url(f), config(redistest.Prefix(f)))
	for _, key := range []int{1, 11, 21, 31} {
		h.set(f, key, "one", time.Hour)
	}
	_, next, err := h.List(f.Context(), "", 2)
	if err != nil {
		f.Fatal(err)
	}
	for _, cursor := range []string{next, "", " ", "1 ", "-1 x", "9223372036854775807 x", "9223372036854775808 x", "1e3 x", "x y", "1\x00 y", "1  x"} {
		f.Add(cursor)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		groups, _, err := h.List(t.Context(), cursor, 3)
		if err != nil && !errors.Is(err, cache.ErrCursor) {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, g := range groups {
			if seen[g.Name] || g.ExpiresIn <= 0 {
				t.Errorf("%v", groups)
			}
			seen[g.Name] = true
		}
	})
}
