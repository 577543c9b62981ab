package events_test

import (
	"net/url"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestWhyAConnectionIsLost takes a bridge's rights away while it is connected: the log names them, and not only that the
// connection ended.
func TestWhyAConnectionIsLost(t *testing.T) {
	t.Parallel()
	rds := redistest.Start(t)
	admin := rds.Client()
	if err := admin.Do(t.Context(), "ACL", "SETUSER", "hub", "on", ">secret", "~*", "&*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(rds.URL())
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword("hub", "secret")
	rdb, err := redisconn.Open(address.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	core, logs := observer.New(zap.WarnLevel)
	bridge, err := events.NewBridge(rdb, events.Config{Prefix: "connectbot", Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	if err := bridge.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bridge.Close)
	redistest.Eventually(t, soon, "the bridge is connected", bridge.Connected)
	if err := admin.Do(t.Context(), "ACL", "SETUSER", "hub", "resetchannels", "&hub:*").Err(); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, soon, "the log names the right", func() bool {
		for _, entry := range logs.FilterMessage("Redis bridge lost, trying again").All() {
			if cause, ok := entry.ContextMap()["error"].(string); ok && strings.Contains(cause, "NOPERM") {
				return true
			}
		}
		return false
	})
	if n := logs.Len(); n > 3 {
		t.Errorf("it is told %d times", n)
	}
}
