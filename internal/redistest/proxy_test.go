package redistest_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func TestADeafConnectionHearsNothingAndAnswers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server)
	options, err := redis.ParseURL(proxy.URL())
	if err != nil {
		t.Fatal(err)
	}
	options.Protocol = 2
	through := redis.NewClient(options)
	t.Cleanup(func() { _ = through.Close() })
	subscribe := func(args ...string) *redis.PubSub {
		t.Helper()
		ps := through.PSubscribe(t.Context(), args...)
		t.Cleanup(func() { _ = ps.Close() })
		if _, err := ps.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		return ps
	}
	say := func(what string) {
		t.Helper()
		if err := through.Publish(t.Context(), "channel", what).Err(); err != nil {
			t.Fatal(err)
		}
	}
	old := subscribe("chan*")
	say("one")
	if m, err := old.ReceiveMessage(t.Context()); err != nil || m.Payload != "one" {
		t.Fatal(m, err)
	}
	proxy.Deafen()
	say("two")
	young := subscribe("chan*")
	say("three")
	if m, err := young.ReceiveMessage(t.Context()); err != nil || m.Payload != "three" {
		t.Fatal(m, err)
	}
	if err := old.Ping(t.Context(), "still there"); err != nil {
		t.Fatal(err)
	}
	answer, err := old.Receive(t.Context())
	if pong, ok := answer.(*redis.Pong); err != nil || !ok || pong.Payload != "still there" {
		t.Errorf("the deaf connection says %v, %v", answer, err)
	}
}
