package menucache_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/menucache"
)

// open makes and starts Menus that share a Redis with all others of the same address and prefix.
func open(ctx context.Context, url string) (*redis.Client, *menucache.Menus) {
	rdb, err := redisconn.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	menus, err := menucache.New(menucache.Config{
		Redis: rdb, RedisURL: url,
		Announce: func(_ context.Context, userID int64, data []byte) error {
			fmt.Printf("to %d: %s\n", userID, data) //nolint:forbidigo // It is what the example shows.
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := menus.Start(ctx); err != nil {
		log.Fatal(err)
	}
	return rdb, menus
}

// A menu is built when it is asked for first, and then kept. It is written in the form that the caller needs.
func ExampleMenus_Get() {
	server, err := redisconn.StartEmbedded("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	rdb, menus := open(ctx, server.URL())
	defer func() { _ = rdb.Close() }()
	defer menus.Close()

	request := menucache.Request{
		Key: menucache.Key{UserID: 124, Type: "calendar"}, Language: "en", Format: menucache.FormatTelegramReply,
		Badges: map[string]int{"confirm": 3},
	}
	for range 2 {
		answer, err := menus.Get(ctx, request)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(answer.Outcome, string(answer.Body))
	}
	// Output:
	// MISS {"keyboard":[[{"text":"✅ Confirm (3)"},{"text":"⏭️ Decline"}],[{"text":"🔄 Refresh"},{"text":"⬅️ Back to menu"}]],"resize_keyboard":true}
	// HIT {"keyboard":[[{"text":"✅ Confirm (3)"},{"text":"⏭️ Decline"}],[{"text":"🔄 Refresh"},{"text":"⬅️ Back to menu"}]],"resize_keyboard":true}
}

// A menu that was set is shown instead of the one that would be built, until it expires or is cleared.
func ExampleMenus_Set() {
	server, err := redisconn.StartEmbedded("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	rdb, menus := open(ctx, server.URL())
	defer func() { _ = rdb.Close() }()
	defer menus.Close()

	key := menucache.Key{UserID: 124, Type: "main"}
	written, err := menus.Set(ctx, menucache.Write{
		Key: key, TTL: 10 * time.Minute, Menu: []byte(`{"options": [{"key": "quiz", "label": "🧩 Quiz", "action": "show_quiz"}]}`),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(written.Status, written.ExpiresIn)
	answer, err := menus.Get(ctx, menucache.Request{Key: key})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(answer.Body))
	cleared, err := menus.ClearUser(ctx, key.UserID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("cleared", cleared)
	// Output:
	// cached 10m0s
	// {"options":[{"key":"quiz","label":"🧩 Quiz","action":"show_quiz"}]}
	// to 124: {"cache_type":"menu","user_id":124}
	// cleared 1
}

// Menus are invalidated by role, by type, or all, in one step however many there are.
func ExampleMenus_Invalidate() {
	server, err := redisconn.StartEmbedded("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	rdb, menus := open(ctx, server.URL())
	defer func() { _ = rdb.Close() }()
	defer menus.Close()

	warmed, err := menus.Warm(ctx, menucache.Warming{Users: []int64{1, 2, 3}, Role: "admin", Types: []string{"main", "admin"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%+v\n", warmed)
	if err := menus.Invalidate(ctx, menucache.Selection{Role: "admin"}); err != nil {
		log.Fatal(err)
	}
	answer, err := menus.Get(ctx, menucache.Request{Key: menucache.Key{UserID: 1, Type: "main"}, Role: "admin"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Outcome)
	// Output:
	// {Built:6 Cached:0 Failed:0}
	// to 0: {"cache_type":"menu","role":"admin"}
	// MISS
}
