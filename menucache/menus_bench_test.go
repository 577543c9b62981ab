package menucache_test

import (
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/menucache"
)

// BenchmarkMenusGet asks for a menu that is in memory, in several forms, and for one that is in Redis only.
func BenchmarkMenusGet(b *testing.B) {
	key := menucache.Key{UserID: 1, Type: "main"}
	for name, r := range map[string]menucache.Request{
		"json":     {Key: key, Role: "admin"},
		"telegram": {Key: key, Role: "admin", Format: menucache.FormatTelegramInline},
		"badges":   {Key: key, Role: "admin", Format: menucache.FormatTelegramInline, Badges: map[string]int{"users": 3}},
	} {
		b.Run("local/"+name, func(b *testing.B) {
			h := openHub(b, redistest.Shared(b).URL(), redistest.Prefix(b))
			h.settled(b, r)
			b.ReportAllocs()
			for b.Loop() {
				h.get(b, r)
			}
		})
	}
	for name, mode := range modes() {
		b.Run("redis/"+name, func(b *testing.B) {
			prefix := redistest.Prefix(b)
			one := openHub(b, redistest.Shared(b).URL(), prefix, mode)
			// It keeps next to nothing in memory.
			other := openHub(b, redistest.Shared(b).URL(), prefix, mode, func(c *menucache.Config) { c.LocalBytes = 1 })
			const users = 1000
			for id := range int64(users) {
				one.get(b, ask(menucache.Key{UserID: id + 1, Type: "main"}, "admin", ""))
			}
			b.ReportAllocs()
			n := int64(0)
			for b.Loop() {
				n++
				if a := other.get(b, ask(menucache.Key{UserID: n%users + 1, Type: "main"}, "admin", "")); a.Outcome != "HIT" {
					b.Fatal(a.Outcome)
				}
			}
			b.ReportMetric(float64(other.Stats().RemoteHits)/float64(b.N), "remote/op")
		})
	}
	b.Run("parallel", func(b *testing.B) {
		h := openHub(b, redistest.Shared(b).URL(), redistest.Prefix(b))
		r := ask(key, "admin", "")
		h.settled(b, r)
		b.ReportAllocs()
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				if _, err := h.Get(b.Context(), r); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkMenusGetBuilt asks for menus that nobody has yet: they are built and stored.
func BenchmarkMenusGetBuilt(b *testing.B) {
	h := openHub(b, redistest.Shared(b).URL(), redistest.Prefix(b))
	b.ReportAllocs()
	id := int64(0)
	for b.Loop() {
		id++
		h.get(b, ask(menucache.Key{UserID: id, Type: "main"}, "admin", ""))
	}
}
