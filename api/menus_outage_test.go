package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestMenusWithoutRedis takes Redis away: menus are answered all the same, and what changes something says that it did not.
func TestMenusWithoutRedis(t *testing.T) {
	redis := redistest.Start(t)
	h := startHub(t, options{redis: redis})
	h.putMenu(t, "/v1/menus/124/main", ownMenu)
	for _, path := range []string{"/v1/menus/123/main", "/v1/menus/124/main"} {
		const often = 20 // What Redis says of the writes may drop a menu from memory once more.
		before := h.stats(t).Caches["menus"]["local_hits"]
		redistest.Eventually(t, soon, "the menu is in memory", func() bool {
			h.get(t, path)
			return h.stats(t).Caches["menus"]["local_hits"] > before+often
		})
	}
	redis.Stop()
	redistest.Eventually(t, soon, "the hub knows that Redis is away", func() bool {
		return h.get(t, "/v1/menus/125/main").header.Get("X-Cache") == "BYPASS"
	})
	if got := string(h.get(t, "/v1/menus/123/main").body); got != userMenu {
		t.Errorf("a menu in memory is %s", got)
	}
	if got := string(h.get(t, "/v1/menus/124/main").body); got != ownMenu {
		t.Errorf("a menu that was set is %s", got)
	}
	for _, path := range []string{"1/main", "2/main?format=telegram-inline", "3/main?lang=en&role=admin&badges=profile:3"} {
		h.get(t, "/v1/menus/"+path).menu(t, "BYPASS")
	}
	h.get(t, "/v1/menus/definitions").is(t, 200, "application/json")
	for _, tt := range []struct{ method, path, body string }{
		{http.MethodPut, "/v1/menus/123/main", ownMenu},
		{http.MethodPost, "/v1/menus/123/main/refresh", ""},
		{http.MethodDelete, "/v1/menus/123/main", ""},
		{http.MethodDelete, "/v1/menus/123", ""},
		{http.MethodPost, "/v1/menus/invalidate", `{"all":true}`},
		{http.MethodPost, "/v1/menus/warm", `{"top":5}`},
		{http.MethodGet, "/v1/menus", ""},
		{http.MethodGet, "/v1/menus/callbacks/cb:x", ""},
	} {
		a := h.call(t, tt.method, tt.path, tt.body)
		if p := a.problem(t, 503, "redis_unavailable"); !p.Retryable || a.header.Get("Retry-After") != "1" {
			t.Errorf("%s %s: retryable %t, Retry-After %q", tt.method, tt.path, p.Retryable, a.header.Get("Retry-After"))
		}
	}
	// What is wrong is wrong without Redis too.
	h.get(t, "/v1/menus/0/nothing").problem(t, 422, "invalid_fields", "user_id", "menu_type")
	h.call(t, http.MethodPut, "/v1/menus/1/main", "[]").problem(t, 400, "malformed_json")

	redis.Restart()
	redistest.Eventually(t, soon, "menus can be set again", func() bool {
		return h.call(t, http.MethodPut, "/v1/menus/123/main", ownMenu).status == 200
	})
	if got := h.get(t, "/v1/menus/123/main").menu(t, "HIT"); got != ownMenu {
		t.Errorf("after Redis is back the menu is %s", got)
	}
}

// TestMenuLogsTellNoSecrets does to menus all that can be done, and looks for what should not be in the log.
func TestMenuLogsTellNoSecrets(t *testing.T) {
	t.Parallel()
	h, source := startSourcedHub(t)
	const user, payload = "987654321987", "secret-payload"
	menu := strings.NewReplacer("own", payload, "Своё", payload).Replace(ownMenu)
	path := "/v1/menus/" + user + "/main"
	h.call(t, http.MethodPut, path+"?write=through", menu).is(t, 200, "application/json")
	source.status.Store(http.StatusUnprocessableEntity)
	h.call(t, http.MethodPut, path+"?write=through", menu).is(t, 502, "application/problem+json")
	h.call(t, http.MethodPut, path+"?write=behind", menu).is(t, 202, "application/json")
	redistest.Eventually(t, soon, "the write is given up", func() bool { return len(h.deadWrites(t, "").DeadWrites) == 1 })
	h.call(t, http.MethodPut, path, menu+payload).problem(t, 400, "malformed_json")
	h.call(t, http.MethodPut, path+"?role="+payload, menu).problem(t, 422, "invalid_fields", "role")
	h.get(t, path+"?role="+payload).problem(t, 422, "invalid_fields", "role")
	h.get(t, path+"?badges="+payload+":1").is(t, 200, "application/json")
	h.post(t, path, `{"`+payload+`":"`+payload+`"}`).problem(t, 422, "invalid_fields", payload)
	h.get(t, "/v1/menus/callbacks/"+payload).problem(t, 404, "callback_not_found")
	h.call(t, http.MethodDelete, path, "").is(t, 200, "application/json")
	h.stop(t)
	for _, entry := range h.logs.All() {
		raw, err := json.Marshal(entry.ContextMap())
		if err != nil {
			t.Fatal(err)
		}
		if line := entry.Message + " " + string(raw); strings.Contains(line, payload) || strings.Contains(line, user) {
			t.Errorf("the log tells of it: %s", line)
		}
	}
}
