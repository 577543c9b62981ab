package cache_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// BenchmarkGet measures where a value may come from; a value is 1 KiB.
func BenchmarkGet(b *testing.B) {
	text := strings.Repeat("x", 1<<10)
	get := func(b *testing.B, h *hub, key int) {
		b.Helper()
		if _, err := h.Get(b.Context(), key, h.text(text)); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("local", func(b *testing.B) {
		h := open(b, url(b), config(redistest.Prefix(b)))
		h.set(b, 1, text, time.Hour)
		h.quiet()
		b.ReportAllocs()
		for b.Loop() {
			get(b, h, 1)
		}
	})
	b.Run("local/parallel", func(b *testing.B) {
		h := open(b, url(b), config(redistest.Prefix(b)))
		h.set(b, 1, text, time.Hour)
		h.quiet()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				get(b, h, 1)
			}
		})
	})
	b.Run("redis", func(b *testing.B) {
		cfg := config(redistest.Prefix(b))
		cfg.LocalAge = -1
		h := open(b, url(b), cfg)
		h.set(b, 1, text, time.Hour)
		b.ReportAllocs()
		for b.Loop() {
			get(b, h, 1)
		}
	})
	b.Run("redis/parallel", func(b *testing.B) {
		cfg := config(redistest.Prefix(b))
		cfg.LocalAge = -1
		h := open(b, url(b), cfg)
		var keys atomic.Int64
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			key := int(keys.Add(1)) // Each its own, so that none waits for another's read.
			h.set(b, key, text, time.Hour)
			for pb.Next() {
				get(b, h, key)
			}
		})
	})
	b.Run("miss", func(b *testing.B) {
		h := open(b, url(b), config(redistest.Prefix(b)))
		key := 0
		b.ReportAllocs()
		for b.Loop() {
			key++
			get(b, h, key)
		}
	})
}

func BenchmarkSet(b *testing.B) {
	h := open(b, url(b), config(redistest.Prefix(b)))
	text := strings.Repeat("x", 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		h.set(b, 1, text, time.Hour)
	}
}

func BenchmarkInvalidate(b *testing.B) {
	h := open(b, url(b), config(redistest.Prefix(b)))
	b.ReportAllocs()
	for b.Loop() {
		h.invalidate(b, "all")
	}
}
