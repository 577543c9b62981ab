package api_test

import (
	"fmt"
	"testing"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// quiet waits until no stream is open and the hub has left the channel.
func (h *hub) quiet(tb testing.TB, channel string) {
	tb.Helper()
	redistest.Eventually(tb, soon, "the streams are gone", func() bool {
		streams := h.stats(tb).Streams
		return streams["open"] == 0 && streams["channels"] == 0 && h.subscribers(tb, channel) == 0
	})
}

func TestMaxStreams(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{api: api.Config{MaxStreams: 2}})
	first := h.follow(t, "channel=user:1")
	h.follow(t, "channel=user:2")
	for range 3 {
		a := h.get(t, "/v1/stream?channel=user:3")
		if p := a.problem(t, 429, "too_many_streams"); !p.Retryable || a.header.Get("Retry-After") != "5" {
			t.Errorf("retryable %t, Retry-After %q", p.Retryable, a.header.Get("Retry-After"))
		}
	}
	// What is refused for another reason takes no place, and the rest of the hub goes on.
	h.get(t, "/v1/stream?channel=x").problem(t, 422, "invalid_fields", "channel")
	h.publish(t, "user:2", `{"type":"tick"}`)
	first.close()
	h.redisLeft(t, "user:1")
	h.follow(t, "channel=user:3")
	h.get(t, "/v1/stream?channel=user:3").problem(t, 429, "too_many_streams")
}

// redisLeft waits until the hub is subscribed to a channel no more.
func (h *hub) redisLeft(tb testing.TB, channel string) {
	tb.Helper()
	redistest.Eventually(tb, soon, "the hub has left "+channel, func() bool { return h.subscribers(tb, channel) == 0 })
}

// TestOneSubscription checks that the hub subscribes once to a channel however many listen, and leaves it with the last.
func TestOneSubscription(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	const n = 50
	var streams []*stream
	for range n {
		streams = append(streams, h.follow(t, "channel=user:1&channel=global"))
	}
	for _, channel := range []string{"user:1", "global"} {
		if got := h.subscribers(t, channel); got != 1 {
			t.Errorf("%s has %d subscriptions, want 1", channel, got)
		}
	}
	if s := h.stats(t).Streams; s["open"] != n || s["opened"] != n || s["channels"] != 2 {
		t.Errorf("stats %v", s)
	}
	if receipt := h.publish(t, "user:1", `{"type":"tick","data":1}`); receipt.Subscribers != 1 {
		t.Errorf("%d subscribers, want 1", receipt.Subscribers)
	}
	for _, s := range streams {
		s.expect(t, "1")
	}
	for _, s := range streams[1:] {
		s.close()
	}
	redistest.Eventually(t, soon, "one stream is left", func() bool { return h.stats(t).Streams["open"] == 1 })
	h.publish(t, "user:1", `{"type":"tick","data":2}`)
	streams[0].expect(t, "2")
	if got := h.subscribers(t, "user:1"); got != 1 {
		t.Errorf("%d subscriptions for the last stream, want 1", got)
	}
	streams[0].close()
	h.quiet(t, "user:1")
	if got := h.publish(t, "user:1", `{"type":"tick"}`).Subscribers; got != 0 {
		t.Errorf("%d subscribers after all have left", got)
	}
}

// TestComingAndGoing opens and drops streams of one channel again and again while events are published: none is left over,
// and whoever is there gets what is published.
func TestComingAndGoing(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for n := range 30 {
		s := h.follow(t, "channel=user:1")
		h.publish(t, "user:1", fmt.Sprintf(`{"type":"tick","data":%d}`, n))
		s.expect(t, fmt.Sprint(n))
		s.close()
	}
	h.quiet(t, "user:1")
}
