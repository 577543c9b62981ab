package redisconn_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/push"

	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// told is what a tracking connection was told.
type told struct {
	mu               sync.Mutex
	started, flushed int
	changed          map[string]int
}

func track(t *testing.T, url string, prefixes ...string) (*redis.Client, *told) {
	t.Helper()
	heard := &told{changed: map[string]int{}}
	client, err := redisconn.OpenTracking(url, redisconn.Tracking{
		Prefixes: prefixes,
		Started:  func() { heard.mu.Lock(); defer heard.mu.Unlock(); heard.started++ },
		Flushed:  func() { heard.mu.Lock(); defer heard.mu.Unlock(); heard.flushed++ },
		Changed:  func(key string) { heard.mu.Lock(); defer heard.mu.Unlock(); heard.changed[key]++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client, heard
}

func (h *told) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprint(h.started, " ", h.flushed, " ", h.changed)
}

// Every change that was acknowledged before a PING is sent has been told of when it returns.
func TestAPingReturnsAfterAllChanges(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client, heard := track(t, server.URL(), "a:", "b")
	if err := client.Ping(t.Context()).Err(); err != nil || heard.String() != "1 0 map[]" {
		t.Fatal(err, heard)
	}
	rdb := server.Client()
	for i := range 200 {
		key := fmt.Sprint("a:", i)
		if err := rdb.Set(t.Context(), key, "x", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if err := rdb.Set(t.Context(), fmt.Sprint("c:", i), "x", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if err := client.Ping(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if len(heard.changed) != i+1 || heard.changed[key] != 1 {
			t.Fatalf("after %s: %v", key, heard)
		}
	}
	const many = 5000 // More than fits into a buffer.
	pipe := rdb.Pipeline()
	for i := range many {
		pipe.Set(t.Context(), fmt.Sprint("b", strings.Repeat("x", 100), i), "x", 0)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := client.Ping(t.Context()).Err(); err != nil || len(heard.changed) != 200+many {
		t.Fatal(err, len(heard.changed))
	}
	if err := rdb.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.Ping(t.Context()).Err(); err != nil || heard.flushed != 1 || heard.started != 1 {
		t.Fatal(err, heard.started, heard.flushed)
	}
}

func TestEachTrackingConnectionSaysThatItStarted(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client, heard := track(t, server.URL(), "a:")
	rdb := server.Client()
	for i := 1; i < 5; i++ {
		redistest.Eventually(t, 10*time.Second, "it is connected", func() bool { return client.Ping(t.Context()).Err() == nil })
		if heard.started != i {
			t.Errorf("started %d times, want %d", heard.started, i)
		}
		if n := rdb.InfoMap(t.Context(), "clients").Val()["Clients"]["tracking_clients"]; n != "1" {
			t.Errorf("%s connections track", n)
		}
		if i == 3 {
			server.Kill()
			server.Restart()
			rdb = server.Client()
			continue
		}
		if err := rdb.ClientKillByFilter(t.Context(), "type", "normal", "skipme", "yes").Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAServerThatCannotTrackSaysSo(t *testing.T) {
	t.Parallel()
	old := redistest.Start(t, "--rename-command", "HELLO", "") // It would track, and tell nothing.
	limited := redistest.Start(t)
	if err := limited.Client().Do(t.Context(), "acl", "setuser", "hub", "on", ">secret", "~*", "+@all", "-client|tracking").Err(); err != nil {
		t.Fatal(err)
	}
	embedded, err := redisconn.StartEmbedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer embedded.Close()
	for name, url := range map[string]string{
		"no HELLO":           old.URL(),
		"no CLIENT TRACKING": strings.Replace(limited.URL(), "redis://", "redis://hub:secret@", 1),
		"embedded":           embedded.URL(),
	} {
		client, heard := track(t, url, "a:")
		err := client.Ping(t.Context()).Err()
		if _, ok := err.(redis.Error); !ok || heard.started != 0 { //nolint:errorlint // As it is.
			t.Errorf("%s: %v, %v", name, err, heard)
		}
	}
	if _, err := redisconn.OpenTracking("http://x", redisconn.Tracking{}); err == nil {
		t.Error("no URL of Redis")
	}
}

func TestWhatIsNoInvalidationCountsAsAFlush(t *testing.T) {
	t.Parallel()
	for _, notification := range [][]any{{"invalidate"}, {"invalidate", nil}, {"invalidate", "a"}, {"invalidate", []any{"a"}, "b"}} {
		flushed := 0
		tracking := redisconn.Tracking{Flushed: func() { flushed++ }}
		if err := tracking.HandlePushNotification(t.Context(), push.NotificationHandlerContext{}, notification); err != nil || flushed != 1 {
			t.Errorf("%v: %v, flushed %d times", notification, err, flushed)
		}
	}
}
