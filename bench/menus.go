package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redisconn"
)

// getMenus returns requests for the main menus of so many users in turn.
func getMenus(users int, query string) request { return getFrom("/v1/menus/", users, query) }

func getFrom(path string, users int, query string) request {
	return func(out []byte, n int) []byte {
		out = append(append(out, "GET "...), path...)
		// A step that has no divisor in common with users goes through all of them, and not in their order.
		out = strconv.AppendInt(out, int64(1+n*7919%users), 10)
		return append(append(append(out, "/main"...), query...), " HTTP/1.1\r\nHost: localhost\r\n\r\n"...)
	}
}

// menuBody and menuHeaders are what the hub answers with.
const menuBody = `{"type":"main","user_id":123,"role":"user","options":[{"key":"profile","label":"👤 Профиль","action":"show_profile"},` +
	`{"key":"activities","label":"🎯 Мои активности","action":"show_activities"},` +
	`{"key":"preferences","label":"⚙️ Настройки","action":"show_preferences"}]}`

var menuHeaders = map[string]string{ //nolint:gochecknoglobals // A constant, but for the language.
	"Age": "0", "Cache-Control": "private, no-cache", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
	"Etag": `"r8cskwhpgmba"`, "X-Cache": "HIT", "X-Content-Type-Options": "nosniff", "X-Request-Id": "2h4a5w8wcojzz2c5fql05w8njw",
}

// manyUsers have more menus than the hub that may keep 1 MiB of them in memory.
const manyUsers = 50_000

// menus compares what it takes to return a menu with an Echo handler that returns nothing.
func menus(ctx context.Context, s *site, o *options) error {
	empty, err := s.role(ctx, "parse")
	if err != nil {
		return err
	}
	defer empty.stop()
	hub, err := s.hub(ctx)
	if err != nil {
		return err
	}
	defer hub.stop()
	small, err := s.hub(ctx, "--menu-local-mib", "1")
	if err != nil {
		return err
	}
	defer small.stop()
	if err := warm(ctx, small.addr, manyUsers); err != nil {
		return err
	}
	if err := seed(ctx, s.redisURL); err != nil {
		return err
	}
	if err := compare(ctx, o, "Menus", []target{
		{"(a) an empty Echo handler", empty.addr, getFrom("/empty/", 1000, "")},
		{"(b) an Echo handler with the body and headers of a menu", empty.addr, getFrom("/same/", 1000, "")},
		{"(c) the hub, a menu in memory", hub.addr, getMenus(1000, "")},
		{"(d) the hub, the same as a Telegram keyboard", hub.addr, getMenus(1000, "?format=telegram-inline")},
		{"(e) the hub, with a badge", hub.addr, getMenus(1000, "?format=telegram-inline&badges=users:3")},
		{"(f) as (b), got with one GET through go-redis", empty.addr, getFrom("/redis/", manyUsers, "")},
		{"(g) the hub, a menu in Redis", small.addr, getMenus(manyUsers, "")},
	}); err != nil {
		return err
	}
	local, err := counters(ctx, small.addr)
	if err != nil {
		return err
	}
	fmt.Printf("Of the hits of (g), %.0f %% came from memory.\n\n", 100*local["hits_local"]/local["hits"])
	if err := stampede(ctx, hub.addr, small.addr); err != nil {
		return err
	}
	return menuMemory(ctx, s)
}

// seed puts into Redis what /redis gets.
func seed(ctx context.Context, url string) error {
	rdb, err := redisconn.Open(url)
	if err != nil {
		return err
	}
	defer func() { _ = rdb.Close() }() // It fails only when closed twice.
	pipe := rdb.Pipeline()
	for n := range manyUsers {
		pipe.Set(ctx, "bench:menu:"+strconv.Itoa(1+n), menuBody, time.Hour)
	}
	_, err = pipe.Exec(ctx)
	return err
}

// warm gets every user's menu once.
func warm(ctx context.Context, addr string, users int) error {
	c, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	defer c.close()
	for n := range users {
		if err := c.do(getMenus(users, ""), n); err != nil {
			return err
		}
	}
	return nil
}

// stampede asks two hubs for one cold menu a thousand times at once, and shows how often it was built.
func stampede(ctx context.Context, addrs ...string) error {
	const times = 1000
	var before, after float64
	for _, addr := range addrs {
		c, err := counters(ctx, addr)
		if err != nil {
			return err
		}
		before += c["builds"]
	}
	clients := make([]*httpClient, times)
	for i := range clients {
		var err error
		if clients[i], err = dial(ctx, addrs[i%len(addrs)]); err != nil {
			return err
		}
		defer clients[i].close()
	}
	cold := func(out []byte, _ int) []byte { return getMenus(1, "?role=admin")(out, 0) }
	var group sync.WaitGroup
	failures := make([]error, times)
	for i, c := range clients {
		group.Go(func() { failures[i] = c.do(cold, 0) })
	}
	group.Wait()
	for _, err := range failures {
		if err != nil {
			return err
		}
	}
	for _, addr := range addrs {
		c, err := counters(ctx, addr)
		if err != nil {
			return err
		}
		after += c["builds"]
	}
	fmt.Printf("A menu that nobody has, asked for %d times at once through two hubs, was built %.0f time(s).\n\n", times, after-before)
	return nil
}

// menuMemory measures what a cached menu takes, in the hub and in Redis.
func menuMemory(ctx context.Context, s *site) error {
	const users = 50_000
	roomy, err := s.hub(ctx, "--key-prefix", "bench-memory")
	if err != nil {
		return err
	}
	defer roomy.stop()
	if err := warm(ctx, roomy.addr, 100); err != nil {
		return err
	}
	inHub, err := roomy.residentKB()
	if err != nil {
		return err
	}
	inRedis, err := s.redis.residentKB()
	if err != nil {
		return err
	}
	if err := warm(ctx, roomy.addr, users); err != nil {
		return err
	}
	// Once more, since a change in Redis takes a menu out of memory again.
	if err := warm(ctx, roomy.addr, users); err != nil {
		return err
	}
	c, err := counters(ctx, roomy.addr)
	if err != nil {
		return err
	}
	hubAfter, err := roomy.residentKB()
	if err != nil {
		return err
	}
	redisAfter, err := s.redis.residentKB()
	if err != nil {
		return err
	}
	fmt.Printf("%d menus: Redis grew by %d bytes for each; the hub, which kept %.0f of them in memory, by %d bytes for each of those.\n\n",
		users, (redisAfter-inRedis)*1024/users, c["entries_local"], int(float64(hubAfter-inHub)*1024/c["entries_local"]))
	return nil
}

// counters returns what /stats shows of the menu cache.
func counters(ctx context.Context, addr string) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/stats", nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // It was only read.
	var stats struct {
		Caches map[string]map[string]float64 `json:"caches"`
	}
	if err := json.NewDecoder(res.Body).Decode(&stats); err != nil {
		return nil, err
	}
	return stats.Caches["menus"], nil
}
