package tempdata_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// exampleStore starts a Store on an embedded Redis.
func exampleStore(ctx context.Context) (*tempdata.Store, func()) {
	server, err := redisconn.StartEmbedded("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	rdb, err := redisconn.Open(server.URL())
	if err != nil {
		log.Fatal(err)
	}
	store, err := tempdata.New(tempdata.Config{Redis: rdb})
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Start(ctx); err != nil {
		log.Fatal(err)
	}
	return store, func() {
		store.Close()
		_ = rdb.Close() // It fails only when closed twice.
		server.Close()
	}
}

// A value is changed only by who has seen what it is.
func ExampleStore_Put() {
	ctx := context.Background()
	store, end := exampleStore(ctx)
	defer end()

	key := tempdata.Key{Namespace: "activity_drafts", Name: "activity_draft_123"}
	first, err := store.Put(ctx, tempdata.Put{Key: key, Data: []byte(`{"title": "Шахматы"}`)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("kept for", first.ExpiresIn)
	if _, err := store.Put(ctx, tempdata.Put{Key: key, Data: []byte(`{"title": "Обед"}`)}); err != nil {
		log.Fatal(err)
	}
	_, err = store.Put(ctx, tempdata.Put{
		Key: key, Data: []byte(`{"title": "Шахматы", "place": "кухня"}`), Condition: tempdata.Condition{Tags: []string{first.ETag}},
	})
	var unmet *tempdata.PreconditionError
	fmt.Println("changed by others meanwhile:", errors.As(err, &unmet))
	// Output:
	// kept for 1h0m0s
	// changed by others meanwhile: true
}

// Two devices fill in a form, and one submits it.
func ExampleStore_Submit() {
	ctx := context.Background()
	store, end := exampleStore(ctx)
	defer end()

	form := tempdata.FormKey{UserID: 123, Form: "coffee"}
	for _, step := range []tempdata.Step{
		{Name: "who", Data: []byte(`{"name": "Анна"}`)},
		{Name: "when", Data: []byte(`"12:30"`)},
	} {
		if _, err := store.PutStep(ctx, tempdata.PutStep{FormKey: form, Step: step}); err != nil {
			log.Fatal(err)
		}
	}
	patch := []byte(`{"steps": {"who": {"floor": 3}}}`)
	if _, err := store.PatchForm(ctx, tempdata.PatchForm{FormKey: form, Patch: patch}); err != nil {
		log.Fatal(err)
	}
	submitted, err := store.Submit(ctx, tempdata.Submit{FormKey: form})
	if err != nil {
		log.Fatal(err)
	}
	for _, step := range submitted.Steps {
		fmt.Printf("%s: %s\n", step.Name, step.Data)
	}
	_, err = store.Submit(ctx, tempdata.Submit{FormKey: form})
	fmt.Println("again:", errors.Is(err, tempdata.ErrNotFound))
	// Output:
	// who: {"name":"Анна","floor":3}
	// when: "12:30"
	// again: true
}
