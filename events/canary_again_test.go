package events_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

const minInterval = 100 * time.Millisecond

// deafCanary returns a canary whose event is on its way to a connection that hears nothing, what kills that connection, and
// the fanout.
func deafCanary(tb testing.TB) (canary *events.Canary, kill func(), fanout *events.Fanout) {
	tb.Helper()
	server := redistest.Start(tb)
	proxy := redistest.NewProxy(tb, server)
	rdb, err := redisconn.Open(proxy.URL())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = rdb.Close() })
	cfg, admin := config(tb), server.Client()
	publisher, fanout := newPublisher(tb, rdb, cfg), newFanout(tb, rdb, cfg)
	canary = newCanary(tb, publisher, fanout, events.CanaryConfig{})
	well(tb, canary)
	proxy.Deafen()
	receive(tb, listen(tb, admin, "hub:takenup:"+cfg.Prefix)) // It was published after that.
	return canary, func() {
		if err := admin.ClientKillByFilter(tb.Context(), "TYPE", "pubsub").Err(); err != nil {
			tb.Error(err)
		}
	}, fanout
}

// TestCanaryBeginsAnewOnANewConnection breaks the connection while an event is on its way, which the next one never gets: that is
// no loss, and no reason to give up the next one.
func TestCanaryBeginsAnewOnANewConnection(t *testing.T) {
	t.Parallel()
	canary, kill, fanout := deafCanary(t)
	kill()
	well(t, canary)
	if s := canary.Stats(); s.Lost != 0 || s.Unpublished != 0 {
		t.Errorf("%+v", s)
	}
	if s := fanout.Stats(); s.Reconnects != 1 {
		t.Errorf("%+v", s)
	}
}

// TestCanaryDoesNotBeginAnewForEver has new connections all the time, of which none hears anything: it is told in time.
func TestCanaryDoesNotBeginAnewForEver(t *testing.T) {
	t.Parallel()
	canary, _, _ := deafCanary(t)
	redistest.Eventually(t, 15*time.Second, "the canary says so", func() bool {
		canary.NewConnection()
		return canary.Check(t.Context()) != nil
	})
	if s := canary.Stats(); s.Lost != 1 {
		t.Errorf("%+v", s)
	}
}

// TestCanaryTriesAgainSoon starts with a Redis that takes nothing for a moment, and a long interval.
func TestCanaryTriesAgainSoon(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--min-replicas-to-write", "1")
	cfg, rdb := config(t), server.Client()
	canary := newCanary(t, newPublisher(t, rdb, cfg), newFanout(t, rdb, cfg), events.CanaryConfig{Interval: events.MaxCanaryInterval})
	unwell(t, canary, "Redis does not take an event")
	setting(t, server, "min-replicas-to-write", "0")
	redistest.Eventually(t, events.MaxCanaryInterval-time.Second, "it is well", func() bool { return canary.Check(t.Context()) == nil })
}

// refusing is a Redis that answers scripts so, without a server.
type refusing struct{ says error }

func (r *refusing) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (r *refusing) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (r *refusing) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			if cmd.SetErr(r.says); r.says == nil {
				cmd.(*redis.Cmd).SetVal("+1-1 0")
			}
		}
		return r.says
	}
}

type refusal string

func (r refusal) Error() string { return string(r) }
func (r refusal) RedisError()   {}

// TestPublisherTellsThatItMayNotPublish checks which failures of callers' events are told, and for how long.
func TestPublisherTellsThatItMayNotPublish(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := &refusing{}
		rdb := redis.NewClient(&redis.Options{ // It looks up the name in its address, and the resolver must not know of this time.
			Addr: "127.0.0.1:1", Dialer: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody answers") },
		})
		defer func() { _ = rdb.Close() }()
		rdb.AddHook(server)
		publisher, err := events.NewPublisher(rdb, events.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := publisher.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer publisher.Close()
		publish := func(says error, to string) {
			server.says = says
			_, _ = publisher.Publish(t.Context(), events.Message{Channel: channel(t, to), Type: "x"})
		}
		const forbidden = refusal("NOPERM No permissions to access a channel")
		told := "events: Redis refuses events of channels of the scope user: its user lacks a channel, a key or a command"
		for i, step := range []struct {
			says error
			to   string
			wait time.Duration
			want string
		}{
			{says: nil, to: "user:1"},
			{says: context.DeadlineExceeded, to: "user:1"},
			{says: refusal("OOM command not allowed"), to: "user:1"}, // Which the canary finds out, and its end.
			{says: errors.New("connection reset"), to: "user:1"},
			{says: forbidden, to: "user:1", want: told},
			{says: nil, to: "global", want: told},
			{says: nil, to: "user:2"},
			{says: refusal("ERR The user executing the script can't publish to the channel"), to: "user:3", want: told},
			{says: nil, to: "user:2"},
			{says: forbidden, to: "user:1", wait: 59 * time.Second, want: told},
			{says: forbidden, to: "user:1", wait: time.Minute},
		} {
			publish(step.says, step.to)
			<-time.After(step.wait)
			got := ""
			if err := publisher.Check(t.Context()); err != nil {
				got = err.Error()
			}
			if got != step.want {
				t.Errorf("step %d: %q, want %q", i, got, step.want)
			}
		}
	})
}
