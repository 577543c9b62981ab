package cache_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strconv"
	"strings"
	"time"

	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
)

// connect connects an example to a server of its own.
func connect() (r *cache.Redis, disconnect func()) {
	server, err := redisconn.StartEmbedded("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	rdb, err := redisconn.Open(server.URL())
	if err != nil {
		log.Fatal(err)
	}
	r = cache.NewRedis(rdb, server.URL(), "shop:changed", nil)
	return r, func() {
		r.Close()
		_ = rdb.Close()
		server.Close()
	}
}

// prices says how the examples keep prices by the number of an article.
func prices(r *cache.Redis) cache.Config[int, string] {
	return cache.Config[int, string]{
		Redis:    r,
		Prefix:   "shop:price:",
		RedisKey: func(article int) string { return "shop:price:" + strconv.Itoa(article) },
		Parse: func(name string) (int, bool) {
			article, err := strconv.Atoi(strings.TrimPrefix(name, "shop:price:"))
			return article, err == nil
		},
		LockPrefix: "shop:lock:",
		EpochKey:   "shop:epoch",
	}
}

// start makes a cache for an example.
func start(ctx context.Context, cfg cache.Config[int, string]) *cache.Cache[int, string] {
	c, err := cache.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	if err := cfg.Redis.Start(ctx); err != nil {
		log.Fatal(err)
	}
	return c
}

// A cache stands before what is slow, which it asks only once.
func ExampleCache_Get() {
	ctx := context.Background()
	r, disconnect := connect()
	defer disconnect()
	c := start(ctx, prices(r))
	defer c.Close()

	price := func(ctx context.Context, article int) (string, error) {
		return c.Get(ctx, article, func(context.Context) (string, error) {
			fmt.Println("asking the database for article", article)
			return "5 €", nil
		})
	}
	for range 3 {
		text, err := price(ctx, 42)
		fmt.Println(text, err)
	}
	// Output:
	// asking the database for article 42
	// 5 € <nil>
	// 5 € <nil>
	// 5 € <nil>
}

// A value that is past its freshness is returned while it is loaded anew, or when that fails.
func ExampleCache_Lookup_stale() {
	ctx := context.Background()
	r, disconnect := connect()
	defer disconnect()
	cfg := prices(r)
	cfg.TTL, cfg.Stale = 10*time.Millisecond, time.Hour
	c := start(ctx, cfg)
	defer c.Close()

	lookup := func(load cache.Load[string]) {
		result, err := c.Lookup(ctx, 42, "", load)
		fmt.Println(result.Value, result.Outcome, err)
	}
	lookup(func(context.Context) (string, error) { return "5 €", nil })
	<-time.After(cfg.TTL)
	lookup(func(context.Context) (string, error) { return "", errors.New("the database is down") })
	// Output:
	// 5 € MISS <nil>
	// 5 € STALE <nil>
}

// What is set or deleted is seen at once here, and by every other process within MaxLag.
func ExampleCache_Set() {
	ctx := context.Background()
	r, disconnect := connect()
	defer disconnect()
	c := start(ctx, prices(r))
	defer c.Close()

	load := func(context.Context) (string, error) { return "5 €", nil }
	if err := c.Set(ctx, 42, "4 €", time.Hour); err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Get(ctx, 42, load))
	if _, err := c.Delete(ctx, 42); err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Get(ctx, 42, load))
	// Output:
	// 4 € <nil>
	// 5 € <nil>
}

// Values that have something in common are invalidated together, however many they are.
func ExampleCache_Invalidate() {
	ctx := context.Background()
	r, disconnect := connect()
	defer disconnect()
	cfg := prices(r)
	cfg.Tags = func(article int, _ string) []string { return []string{"shelf:" + strconv.Itoa(article/10)} }
	c := start(ctx, cfg)
	defer c.Close()

	show := func(price string) {
		for _, article := range []int{41, 42, 51} {
			text, err := c.Get(ctx, article, func(context.Context) (string, error) { return price, nil })
			fmt.Println(article, text, err)
		}
	}
	show("5 €")
	if err := c.Invalidate(ctx, "shelf:4"); err != nil {
		log.Fatal(err)
	}
	show("6 €")
	// Output:
	// 41 5 € <nil>
	// 42 5 € <nil>
	// 51 5 € <nil>
	// 41 6 € <nil>
	// 42 6 € <nil>
	// 51 5 € <nil>
}
