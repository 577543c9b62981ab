package api_test

import "testing"

// TestSourceIsTheKeys checks in whose name a key may publish.
func TestSourceIsTheKeys(t *testing.T) {
	t.Parallel()
	h, tokens := startKeyedHub(t, map[string][]string{
		"plain": {"publish:*"}, "one": {"publish:*", "source:django-connectbot"}, "any": {"publish:*", "source:*"},
		"all": {"*"}, "two": {"publish:*", "source:a", "source:b"}, "sourceless": {"source:*"}, "reader": {"subscribe:*", "temp:user_*", "publish:*"},
	})
	for _, tt := range []struct{ key, given, want string }{
		{"plain", "", "plain"},
		{"plain", "plain", "plain"},
		{"plain", "connecthub", "plain"},
		{"plain", "django-connectbot", "plain"},
		{"one", "", "one"},
		{"one", "django-connectbot", "django-connectbot"},
		{"one", "Django-Connectbot", "one"},
		{"one", "django-connectbot2", "one"},
		{"one", "*", "one"},
		{"any", "", "any"},
		{"any", "почта", "почта"},
		{"all", "bot", "bot"},
		{"two", "a", "a"},
		{"two", "b", "b"},
		{"two", "c", "two"},
	} {
		body := `{"type":"tick"}`
		if tt.given != "" {
			body = `{"type":"tick","source":"` + tt.given + `"}`
		}
		h.publish(t, "user:1", body, "Authorization: Service "+tokens[tt.key])
		if got := h.lastEvent(t, "user:1", tokens["reader"]).Source; got != tt.want {
			t.Errorf("%s publishes as %q and is %q, want %q", tt.key, tt.given, got, tt.want)
		}
	}
	// To speak for others is no right to publish, and what is wrong with a source that is not taken does not matter.
	h.post(t, "/v1/events/global", `{"type":"tick"}`, "Authorization: Service "+tokens["sourceless"]).problem(t, 403, "forbidden")
	h.publish(t, "global", `{"type":"tick","source":"a\nb"}`, "Authorization: Service "+tokens["plain"])
	h.post(t, "/v1/events/global", `{"type":"tick","source":"a\nb"}`, "Authorization: Service "+tokens["any"]).
		problem(t, 422, "invalid_fields", "source")
	// A form that is published has the key's name too.
	auth := "Authorization: Service " + tokens["reader"]
	h.call(t, "PUT", "/v1/users/7/forms/f/steps/s", `1`, auth).is(t, 201, "application/json")
	h.post(t, "/v1/users/7/forms/f/submit", `{"publish":{"channel":"user:7","type":"form.submitted"}}`, auth).is(t, 200, "application/json")
	if got := h.lastEvent(t, "user:7", tokens["reader"]).Source; got != "reader" {
		t.Errorf("the form's source is %q", got)
	}
}

// TestSourceWithoutKeys checks that on a hub without keys everybody says who he is.
func TestSourceWithoutKeys(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	h.publish(t, "user:1", `{"type":"tick","source":"bot"}`)
	h.publish(t, "user:1", `{"type":"tick"}`)
	events := h.list(t, "channel=user:1").Events
	if len(events) != 2 || events[0].Source != "bot" || events[1].Source != "connecthub" {
		t.Errorf("the events are %+v", events)
	}
}

// TestTheSameCallerWithANewKey checks that an Idempotency-Key outlives the change to a new key of the same name, and that
// another caller does not share it.
func TestTheSameCallerWithANewKey(t *testing.T) {
	t.Parallel()
	h, keys, tokens := startRotatingHub(t)
	first := h.publish(t, "global", `{"type":"tick"}`, "Idempotency-Key: k", "Authorization: Service "+tokens["old"])
	again := h.publish(t, "global", `{"type":"tick"}`, "Idempotency-Key: k", "Authorization: Service "+tokens["new"])
	if !again.Duplicate || again.ID != first.ID {
		t.Errorf("the new key published once more: %+v and %+v", first, again)
	}
	other := h.publish(t, "global", `{"type":"tick"}`, "Idempotency-Key: k", "Authorization: Service "+tokens["other"])
	if other.Duplicate || len(keys.All()) != 3 {
		t.Errorf("another caller shares the key: %+v", other)
	}
}
