package events_test

import (
	"context"
	"fmt"
	"log"

	"github.com/connectbot-hub/connecthub/events"
)

// A publisher gives each event to every service that subscribed to its channel, and keeps it in the channel's log. A
// message that is sent again with its idempotency key is not published again.
func ExamplePublisher() {
	ctx := context.Background()
	rdb, disconnect := connect() // In a program: redis.NewClient.
	defer disconnect()

	publisher, err := events.NewPublisher(rdb, events.Config{Source: "shop"})
	if err != nil {
		log.Fatal(err)
	}
	if err := publisher.Start(ctx); err != nil {
		log.Fatal(err)
	}
	defer publisher.Close()

	user, err := events.User(123)
	if err != nil {
		log.Fatal(err)
	}
	message := events.Message{
		Channel:        user,
		Type:           events.TypeUserLogin,
		Data:           []byte(`{"name": "Иван"}`),
		IdempotencyKey: "login of 123 at noon",
	}
	for range 2 {
		receipt, err := publisher.Publish(ctx, message)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(receipt.Type, "on", receipt.Channel, "duplicate:", receipt.Duplicate)
	}
	// Output:
	// user.login on connectbot:user:123 duplicate: false
	// user.login on connectbot:user:123 duplicate: true
}

// A subscriber calls handlers for the events of the channels it follows.
func ExampleSubscriber() {
	ctx := context.Background()
	rdb, disconnect := connect() // In a program: redis.NewClient.
	defer disconnect()

	subscriber, err := events.NewSubscriber(rdb, events.Config{})
	if err != nil {
		log.Fatal(err)
	}
	done := make(chan struct{})
	err = subscriber.Handle("matching.*", func(_ context.Context, ev events.Event) error {
		fmt.Printf("%s from %s: %s\n", ev.Type, ev.Source, ev.Data)
		close(done)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	matching, err := events.Service("matching")
	if err != nil {
		log.Fatal(err)
	}
	subscriber.Follow(matching, events.Global())
	if err := subscriber.Start(ctx); err != nil {
		log.Fatal(err)
	}
	defer subscriber.Close()

	publishAll(rdb, events.Message{
		Channel: matching, Type: events.TypeMatchingRequest, Source: "bot", Data: []byte(`{"users": [1, 2], "type": "coffee"}`),
	})
	<-done
	// Output:
	// matching.request from bot: {"users":[1,2],"type":"coffee"}
}

// A stream reads what the log holds and goes on with what is published. Its cursor is kept by the reader, who may come
// back with it later, to any hub.
func ExampleFanout() {
	ctx := context.Background()
	rdb, disconnect := connect() // In a program: redis.NewClient.
	defer disconnect()

	fanout, err := events.NewFanout(rdb, events.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if err := fanout.Start(ctx); err != nil {
		log.Fatal(err)
	}
	defer fanout.Close()

	say := func(text string) {
		publishAll(rdb, events.Message{Channel: events.Global(), Type: events.TypeSystemMaintenance, Data: []byte(`"` + text + `"`)})
	}
	read := func(from events.Cursor, n int) events.Cursor {
		stream, err := fanout.Follow(ctx, from, events.Pattern{}, events.Global())
		if err != nil {
			log.Fatal(err)
		}
		defer stream.Close()
		for range n {
			delivery, err := stream.Next(ctx)
			if err != nil {
				log.Fatal(err)
			}
			ev, err := delivery.Record.Event()
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(ev.Type, string(ev.Data))
		}
		return stream.Cursor()
	}

	say("at nine")
	say("at ten")
	cursor := read(events.Earliest(), 1).String()
	say("called off")
	from, err := events.ParseCursor(cursor)
	if err != nil {
		log.Fatal(err)
	}
	read(from, 2)
	// Output:
	// system.maintenance "at nine"
	// system.maintenance "at ten"
	// system.maintenance "called off"
}

func ExampleParsePattern() {
	pattern, err := events.ParsePattern("user.*", "system.maintenance")
	if err != nil {
		log.Fatal(err)
	}
	for _, typ := range []string{"user.login", "user.action.open_menu", "users", "system.maintenance", "system.cache_cleared"} {
		fmt.Println(typ, pattern.Match(typ))
	}
	_, err = events.ParsePattern("user*")
	fmt.Println(err)
	// Output:
	// user.login true
	// user.action.open_menu true
	// users false
	// system.maintenance true
	// system.cache_cleared false
	// events: bad type: want a type, a prefix such as user.* or *
}
