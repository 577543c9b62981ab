package djangocache_test

import (
	"testing"

	"github.com/connectbot-hub/connecthub/internal/djangocache"
)

// menu is the bot's menu of an admin, about 1.1 kB of JSON.
func menu(tb testing.TB) (deflated, plain []byte, text string) {
	tb.Helper()
	for _, vector := range vectors(tb) {
		if vector.Key != "connectbot:1:menu:user:124:main" {
			continue
		}
		deflated = vector.raw(tb)
		b, err := djangocache.DecodeString(deflated)
		if err != nil {
			tb.Fatal(err)
		}
		if plain, err = djangocache.AppendString(nil, b); err != nil {
			tb.Fatal(err)
		}
		return deflated, plain, string(b)
	}
	tb.Fatal("no such vector")
	return nil, nil, ""
}

func BenchmarkDecodeString(b *testing.B) {
	deflated, plain, text := menu(b)
	for name, raw := range map[string][]byte{"deflated": deflated, "plain": plain} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := djangocache.DecodeString(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	raw, err := djangocache.Pickle(employee())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := djangocache.Decode(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	b.ReportAllocs()
	var dst []byte
	for b.Loop() {
		var err error
		if dst, err = djangocache.AppendJSON(dst[:0], employee()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeString(b *testing.B) {
	_, _, text := menu(b)
	b.Run("deflated", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if _, err := djangocache.EncodeString(text); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		var dst []byte
		for b.Loop() {
			var err error
			if dst, err = djangocache.AppendString(dst[:0], text); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func employee() djangocache.Dict {
	return dict{
		{"id", int64(9)},
		{"name", "Анна"},
		{"telegram_id", int64(123456789)},
		{"is_admin", false},
		{"department", nil},
		{"interests", list{"coffee", "chess", "books"}},
		{"rating", 4.5},
	}
}
