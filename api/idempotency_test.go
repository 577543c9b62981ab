package api_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/connectbot-hub/connecthub/api"
)

// onlyOnce publishes one more event and checks that, before it, the Redis channel carried this one alone, and the log too.
func (h *hub) onlyOnce(tb testing.TB, channel string, messages <-chan message, receipt api.Receipt) {
	tb.Helper()
	before := h.logLength(tb, channel)
	if before != 1 {
		tb.Errorf("the log holds %d events, want 1", before)
	}
	last := h.publish(tb, channel, `{"type":"last"}`)
	for _, want := range []string{receipt.ID, last.ID} {
		got := decode[envelope](tb, []byte(nextMessage(tb, messages).payload))
		if got.ID != want {
			tb.Fatalf("%s was published, a %s, want %s", got.ID, got.Type, want)
		}
	}
}

// sameButDuplicate checks that again is the first receipt, marked as a duplicate.
func sameButDuplicate(tb testing.TB, first, again api.Receipt) {
	tb.Helper()
	if !again.Duplicate {
		tb.Errorf("%+v is not marked as a duplicate", again)
	}
	again.Duplicate = false
	if again != first {
		tb.Errorf("got the receipt %+v, and the first was %+v", again, first)
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	for _, channel := range []string{"user:123", "global", "service:matching"} {
		t.Run(channel, func(t *testing.T) {
			t.Parallel()
			h := startHub(t, options{})
			messages := h.subscribe(t, channel)
			const key = "Idempotency-Key: activity-42-created"
			first := h.publish(t, channel, `{"type":"tick","data":{"n":1}}`, key)
			if first.Duplicate {
				t.Errorf("%+v is marked as a duplicate", first)
			}
			sameButDuplicate(t, first, h.publish(t, channel, `{"type":"tick","data":{"n":1}}`, key))
			// The same but for white space, which nobody keeps.
			sameButDuplicate(t, first, h.publish(t, channel, `{ "data" : {"n": 1}, "type": "tick" }`, key))
			for _, other := range []string{
				`{"type":"tick","data":{"n":2}}`, `{"type":"tock","data":{"n":1}}`, `{"type":"tick"}`,
				`{"type":"tick","data":{"n":1},"id":"mine"}`, `{"type":"tick","data":{"n":1},"source":"me"}`,
				`{"type":"tick","data":{"n":1},"correlation_id":"c"}`, `{"type":"tick","data":{"n":1},"timestamp":"2026-11-21T09:00:00Z"}`,
			} {
				h.post(t, pathOf(channel), other, key).problem(t, 422, "idempotency_key_reused", "Idempotency-Key")
			}
			h.onlyOnce(t, channel, messages, first)
		})
	}
}

// TestIdempotencyKeyBelongsToItsChannel checks that a key is free on another channel.
func TestIdempotencyKeyBelongsToItsChannel(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	seen := make(map[string]bool)
	for _, channel := range []string{"user:1", "user:2", "global", "service:a", "service:b"} {
		receipt := h.publish(t, channel, `{"type":"tick"}`, "Idempotency-Key: k")
		if receipt.Duplicate || seen[receipt.ID] {
			t.Errorf("on %s the key counts as used: %+v", channel, receipt)
		}
		seen[receipt.ID] = true
	}
}

// TestIdempotencyKeyBelongsToItsCaller checks that two services that happen to use the same key do not meet.
func TestIdempotencyKeyBelongsToItsCaller(t *testing.T) {
	t.Parallel()
	h, tokens := startKeyedHub(t, map[string][]string{"activities": {"publish:*"}, "notifier": {"publish:*"}})
	const key = "Idempotency-Key: 1"
	ours := h.publish(t, "user:1", `{"type":"tick"}`, key, "Authorization: Bearer "+tokens["activities"])
	theirs := h.publish(t, "user:1", `{"type":"tock"}`, key, "Authorization: Bearer "+tokens["notifier"])
	if ours.Duplicate || theirs.Duplicate || ours.ID == theirs.ID {
		t.Errorf("the callers met: %+v and %+v", ours, theirs)
	}
	sameButDuplicate(t, ours, h.publish(t, "user:1", `{"type":"tick"}`, key, "Authorization: Service "+tokens["activities"]))
	sameButDuplicate(t, theirs, h.publish(t, "user:1", `{"type":"tock"}`, key, "Authorization: Service "+tokens["notifier"]))
	if n := h.logLength(t, "user:1"); n != 2 {
		t.Errorf("the log holds %d events, want 2", n)
	}
}

func TestIdempotencyKeyForms(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	seen := make(map[string]bool)
	for _, key := range []string{"x", "X", "a,b", "a%2Cb", `"quoted"`, "a;b=c", "!~", strings.Repeat("k", 255)} {
		receipt := h.publish(t, "global", `{"type":"tick"}`, "Idempotency-Key: "+key)
		if seen[receipt.ID] {
			t.Errorf("the key %q was taken for another", key)
		}
		seen[receipt.ID] = true
	}
	for _, key := range []string{`""`, "two words", strings.Repeat("k", 256), "ключ"} {
		h.post(t, "/v1/events/global", `{"type":"tick"}`, "Idempotency-Key: "+key).problem(t, 422, "invalid_fields", "Idempotency-Key")
	}
}

// TestSameID checks that an id is published once on its channel, whoever made it.
func TestSameID(t *testing.T) {
	t.Parallel()
	t.Run("the caller's", func(t *testing.T) {
		t.Parallel()
		h := startHub(t, options{})
		messages := h.subscribe(t, "service:matching")
		first := h.publish(t, "service:matching", `{"type":"matching.request","id":"coffee-47"}`)
		sameButDuplicate(t, first, h.publish(t, "service:matching", `{"type":"matching.request","id":"coffee-47"}`))
		// What else it says does not matter: the id says that it is the same event. But one of another type is another.
		sameButDuplicate(t, first, h.publish(t, "service:matching", `{"type":"matching.request","id":"coffee-47","data":1}`))
		h.post(t, "/v1/events/services/matching", `{"type":"matching.failed","id":"coffee-47"}`).problem(t, 422, "idempotency_key_reused", "id")
		h.onlyOnce(t, "service:matching", messages, first)
		if other := h.publish(t, "global", `{"type":"matching.request","id":"coffee-47"}`); other.Duplicate {
			t.Errorf("on another channel it counts as used: %+v", other)
		}
	})
	t.Run("the hub's", func(t *testing.T) {
		t.Parallel()
		h := startHub(t, options{})
		messages := h.subscribe(t, "user:5")
		first := h.publish(t, "user:5", `{"type":"tick"}`)
		sameButDuplicate(t, first, h.publish(t, "user:5", `{"type":"tick","id":"`+first.ID+`"}`))
		h.onlyOnce(t, "user:5", messages, first)
	})
	t.Run("with a key", func(t *testing.T) {
		t.Parallel()
		h := startHub(t, options{})
		messages := h.subscribe(t, "user:5")
		first := h.publish(t, "user:5", `{"type":"tick","id":"a"}`, "Idempotency-Key: k1")
		sameButDuplicate(t, first, h.publish(t, "user:5", `{"type":"tick","id":"a"}`, "Idempotency-Key: k2"))
		sameButDuplicate(t, first, h.publish(t, "user:5", `{"type":"tick","id":"a"}`, "Idempotency-Key: k2"))
		h.onlyOnce(t, "user:5", messages, first)
	})
}

// TestIdenticalRequestsAtOnce sends fifty at a time, to two hubs on one Redis: one event comes of it.
func TestIdenticalRequestsAtOnce(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ body, header string }{
		"by key": {`{"type":"tick","data":{"n":1}}`, "Idempotency-Key: same"},
		"by id":  {`{"type":"tick","data":{"n":1},"id":"same"}`, "Idempotency-Key:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hubs := []*hub{startHub(t, options{})}
			two := options{}
			two.events.Prefix = hubs[0].prefix
			hubs = append(hubs, startHub(t, two))
			messages := hubs[0].subscribe(t, "user:123")
			const n = 50
			answers := make([]answer, n)
			errs := make([]error, n)
			var all sync.WaitGroup
			for i := range n {
				all.Go(func() {
					answers[i], errs[i] = hubs[i%2].try(t, "POST", "/v1/events/users/123", strings.NewReader(tt.body), tt.header)
				})
			}
			all.Wait()
			var first api.Receipt
			var duplicates []api.Receipt
			for i, a := range answers {
				if errs[i] != nil {
					t.Fatal(errs[i])
				}
				if receipt := a.receipt(t); receipt.Duplicate {
					duplicates = append(duplicates, receipt)
				} else {
					first = receipt
				}
			}
			if len(duplicates) != n-1 {
				t.Fatalf("%d of %d are duplicates", len(duplicates), n)
			}
			for _, receipt := range duplicates {
				sameButDuplicate(t, first, receipt)
			}
			hubs[0].onlyOnce(t, "user:123", messages, first)
		})
	}
}

// TestDifferentRequestsAtOnce makes sure that the test above would see an event too many.
func TestDifferentRequestsAtOnce(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	const n = 50
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			body := fmt.Sprintf(`{"type":"tick","data":%d}`, i)
			if a, err := h.try(t, "POST", "/v1/events/global", strings.NewReader(body), fmt.Sprint("Idempotency-Key: ", i)); err != nil || a.status != 201 {
				t.Errorf("%d: %v, %s", i, err, a.body)
			}
		})
	}
	all.Wait()
	seen := make(map[string]bool)
	for _, event := range h.list(t, "channel=global").Events {
		seen[string(event.Data)] = true
	}
	if len(seen) != n {
		t.Errorf("%d different events are in the log, want %d", len(seen), n)
	}
}
