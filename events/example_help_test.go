package events_test

import (
	"context"
	"log"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
)

// connect connects an example to a server of its own.
func connect() (rdb *redis.Client, disconnect func()) {
	server, err := redisconn.StartEmbedded("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	if rdb, err = redisconn.Open(server.URL()); err != nil {
		log.Fatal(err)
	}
	return rdb, func() {
		_ = rdb.Close()
		server.Close()
	}
}

// publishAll publishes messages with a publisher that is not what the example is about.
func publishAll(rdb *redis.Client, messages ...events.Message) {
	ctx := context.Background()
	publisher, err := events.NewPublisher(rdb, events.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if err := publisher.Start(ctx); err != nil {
		log.Fatal(err)
	}
	defer publisher.Close()
	for _, m := range messages {
		if _, err := publisher.Publish(ctx, m); err != nil {
			log.Fatal(err)
		}
	}
}
