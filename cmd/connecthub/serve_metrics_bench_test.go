package main

import (
	"net/http"
	"testing"
)

// BenchmarkScrape is what a scrape of a hub costs, with what it asks Redis for, and all of HTTP.
func BenchmarkScrape(b *testing.B) {
	hub := serve(b, measured(onSharedRedis(b)))
	hub.healthy(b)
	for _, path := range []string{"/v1/menus/1/main", "/stats", "/v1/events/types", "/docs", "/v1/temp/sessions/a", "/nothing"} {
		hub.send(b, http.MethodGet, path, "", 0)
	}
	for b.Loop() {
		hub.scrape(b)
	}
}
