package menucache_test

import (
	"os"
	"testing"

	"github.com/connectbot-hub/connecthub/menucache"
)

func BenchmarkBuild(b *testing.B) {
	d := menucache.DefaultDefinitions()
	b.ReportAllocs()
	for b.Loop() {
		build(b, d, 123456789, "main", "admin", "ru")
	}
}

func BenchmarkRender(b *testing.B) {
	d := menucache.DefaultDefinitions()
	menu := build(b, d, 123456789, "main", "admin", "ru")
	for _, format := range d.Describe().Formats {
		for name, badges := range map[string]map[string]int{"plain": nil, "badges": {"users": 3}} {
			b.Run(string(format)+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := d.Render(format, "main", menu, badges, shorten); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkMayShow(b *testing.B) {
	d := menucache.DefaultDefinitions()
	options := optionsOf(b, build(b, d, 123456789, "main", "admin", "ru"))
	b.ReportAllocs()
	for b.Loop() {
		if !d.MayShow("admin", options) {
			b.Fatal("it may not")
		}
	}
}

func BenchmarkParseOptions(b *testing.B) {
	d := menucache.DefaultDefinitions()
	menu := build(b, d, 123456789, "main", "admin", "ru")
	b.ReportAllocs()
	for b.Loop() {
		optionsOf(b, menu)
	}
}

func BenchmarkParseDefinitions(b *testing.B) {
	file, err := os.ReadFile("definitions.yaml")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := menucache.ParseDefinitions(file); err != nil {
			b.Fatal(err)
		}
	}
}
