package api_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// fill keeps something of every kind, of two users and of nobody.
func (h *hub) fill(tb testing.TB) {
	tb.Helper()
	for _, user := range []string{"7", "8"} {
		h.get(tb, "/v1/menus/"+user+"/main").is(tb, 200, "application/json")
		h.get(tb, "/v1/menus/"+user+"/preferences").is(tb, 200, "application/json")
		for _, path := range []string{"/temp/a", "/temp/b", "/conversation", "/forms/f/steps/s", "/forms/g/steps/s"} {
			h.put(tb, "/v1/users/"+user+path, `1`).is(tb, 201, "application/json")
		}
		h.post(tb, "/v1/conversations/"+user+"/messages", `{"message":1}`).is(tb, 201, "application/json")
	}
	h.put(tb, "/v1/temp/n/a", `1`).is(tb, 201, "application/json")
}

// told checks that one event came, and no other before the next.
func (h *hub) told(tb testing.TB, messages <-chan message, channel, data string) {
	tb.Helper()
	got := decode[envelope](tb, []byte(nextMessage(tb, messages).payload))
	if got.Type != "system.cache_cleared" || string(got.Data) != data || got.Source != "connecthub" {
		tb.Errorf("told is %s, %s, from %s", got.Type, got.Data, got.Source)
	}
	last := h.publish(tb, channel, `{"type":"last"}`)
	if got := decode[envelope](tb, []byte(nextMessage(tb, messages).payload)); got.ID != last.ID {
		tb.Errorf("told is more: %s, %s", got.Type, got.Data)
	}
}

// TestClearUserCache clears all of one user, and nothing of another.
func TestClearUserCache(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	h.fill(t)
	messages := h.subscribe(t, "user:7")
	h.delete(t, "/v1/users/7/cache").json(t, 200, `{"menus":2,"temp_data":5}`)
	h.told(t, messages, "user:7", `{"cache_type":"all","user_id":7}`)
	for _, path := range []string{"/temp/a", "/temp/b", "/conversation", "/forms/f", "/forms/g"} {
		h.get(t, "/v1/users/7"+path).is(t, 404, "application/problem+json")
		h.get(t, "/v1/users/8"+path).is(t, 200, "application/json")
	}
	h.get(t, "/v1/menus/7/main").menu(t, "MISS")
	h.get(t, "/v1/menus/8/main").menu(t, "HIT")
	h.get(t, "/v1/conversations/7/messages").json(t, 200, `{"messages":[1]}`)
	h.get(t, "/v1/temp/n/a").json(t, 200, `1`)
	h.delete(t, "/v1/users/9/cache").json(t, 200, `{"menus":0,"temp_data":0}`)
}

// TestClearCache clears all of everybody but the log.
func TestClearCache(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	h.fill(t)
	h.publish(t, "user:7", `{"type":"before"}`)
	foreign := h.prefix + "foreign"
	if err := h.redis.Client().Set(t.Context(), foreign, "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	messages := h.subscribe(t, "global")
	h.delete(t, "/v1/cache").json(t, 200, `{"temp_data":13}`)
	h.told(t, messages, "global", `{"cache_type":"all"}`)
	for _, path := range []string{"/v1/users/7/temp/a", "/v1/users/8/forms/f", "/v1/users/8/conversation", "/v1/temp/n/a"} {
		h.get(t, path).is(t, 404, "application/problem+json")
	}
	h.get(t, "/v1/conversations/8/messages").json(t, 200, `{"messages":[]}`)
	h.get(t, "/v1/menus/8/main").menu(t, "MISS")
	if n := h.logLength(t, "user:7"); n != 1 {
		t.Errorf("the log holds %d events", n)
	}
	if n := h.redis.Client().Exists(t.Context(), foreign).Val(); n != 1 {
		t.Error("what is another's is gone")
	}
}

// speechless fails to publish what tells of clearing.
type speechless struct {
	publisher
	silent *atomic.Bool
}

func (p speechless) Publish(ctx context.Context, m events.Message) (events.Receipt, error) {
	if p.silent.Load() {
		return events.Receipt{}, errors.New("no voice")
	}
	return p.publisher.Publish(ctx, m)
}

// TestClearCacheUnannounced clears, but cannot tell of it at first.
func TestClearCacheUnannounced(t *testing.T) {
	t.Parallel()
	var silent atomic.Bool
	h := startHub(t, options{wrap: func(p publisher) publisher { return speechless{p, &silent} }})
	for _, path := range []string{"/v1/users/7/cache", "/v1/cache"} {
		silent.Store(true)
		h.put(t, "/v1/users/7/temp/a", `1`)
		a := h.delete(t, path)
		if p := a.problem(t, 503, "not_announced"); !p.Retryable || a.header.Get("Retry-After") != "1" || strings.Contains(p.Detail, "voice") {
			t.Errorf("%s: %s", path, a.body)
		}
		h.get(t, "/v1/users/7/temp/a").problem(t, 404, "value_not_found")
		silent.Store(false)
		h.delete(t, path).is(t, 200, "application/json")
	}
}

// TestClearCacheWithoutRedis clears nothing.
func TestClearCacheWithoutRedis(t *testing.T) {
	redis := redistest.Start(t)
	h := startHub(t, options{redis: redis})
	h.fill(t)
	redis.Stop()
	for _, path := range []string{"/v1/users/7/cache", "/v1/cache"} {
		if p := h.delete(t, path).problem(t, 503, "redis_unavailable"); !p.Retryable {
			t.Errorf("%s: not retryable", path)
		}
	}
}

// TestClearingHasNoConditions sends conditions to calls that clear. Nothing is cleared.
func TestClearingHasNoConditions(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	h.fill(t)
	for _, path := range []string{
		"/v1/temp/n", "/v1/users/7/temp", "/v1/users/7/forms", "/v1/users/7/cache", "/v1/cache", "/v1/conversations/7/messages",
	} {
		for header, fields := range map[string][]string{
			`If-Match: "46097b6ca318730251ce"`: {"If-Match"}, "If-Match: *": {"If-Match"}, "If-None-Match: *": {"If-None-Match"}, `If-Match: ""`: {"If-Match"},
		} {
			p := h.call(t, "DELETE", path, "", header).problem(t, 422, "invalid_fields", fields...)
			if p.Errors[0].Problem != "is not known here" {
				t.Errorf("%s with %s: %s", path, header, p.Detail)
			}
		}
	}
	h.call(t, "DELETE", "/v1/users/0/temp", "", "If-Match: *", "If-None-Match: *").problem(t, 422, "invalid_fields", "user_id", "If-Match", "If-None-Match")
	for _, path := range []string{"/v1/temp/n/a", "/v1/users/7/temp/a", "/v1/users/7/forms/f", "/v1/users/8/conversation"} {
		h.get(t, path).is(t, 200, "application/json")
	}
	h.get(t, "/v1/menus/7/main").menu(t, "HIT")
	h.get(t, "/v1/conversations/7/messages").json(t, 200, `{"messages":[1]}`)
}
