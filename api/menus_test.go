package api_test

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/menucache"
)

// menu checks that the answer is a menu with the headers of one, and that it came from there.
func (a answer) menu(tb testing.TB, outcome string) string {
	tb.Helper()
	a.is(tb, 200, "application/json")
	if got := a.header.Get("X-Cache"); got != outcome {
		tb.Errorf("X-Cache: %s, want %s", got, outcome)
	}
	a.seconds(tb)
	if tag := a.header.Get("ETag"); len(tag) < 5 || tag[0] != '"' {
		tb.Errorf("ETag: %s", tag)
	}
	if control := a.header.Get("Cache-Control"); control != "private, no-cache" {
		tb.Errorf("Cache-Control: %s", control)
	}
	return string(a.body)
}

// seconds returns the Age.
func (a answer) seconds(tb testing.TB) int {
	tb.Helper()
	age, err := strconv.Atoi(a.header.Get("Age"))
	if err != nil || age < 0 {
		tb.Errorf("Age: %s", a.header.Get("Age"))
	}
	return age
}

const (
	userOptions = `{"key":"profile","label":"👤 Профиль","action":"show_profile"},` +
		`{"key":"activities","label":"🎯 Мои активности","action":"show_activities"},` +
		`{"key":"preferences","label":"⚙️ Настройки","action":"show_preferences"}`
	adminOptions = `{"key":"admin_panel","label":"🔧 Админ панель","action":"admin_panel"},` +
		`{"key":"manage_users","label":"👥 Управление пользователями","action":"manage_users"}`
	userMenu  = `{"type":"main","user_id":123,"role":"user","options":[` + userOptions + `]}`
	adminMenu = `{"type":"main","user_id":123,"role":"admin","options":[` + userOptions + `,` + adminOptions + `]}`
)

// TestMenu gets a menu in all roles, languages and formats.
func TestMenu(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	first := h.get(t, "/v1/menus/123/main")
	if got := first.menu(t, "MISS"); got != userMenu || first.seconds(t) != 0 {
		t.Errorf("the menu is %s, of an age of %d", got, first.seconds(t))
	}
	again := h.get(t, "/v1/menus/123/main?role=user&lang=ru&format=json")
	if got := again.menu(t, "HIT"); got != userMenu || again.header.Get("ETag") != first.header.Get("ETag") {
		t.Errorf("a second later it is %s, %s", got, again.header.Get("ETag"))
	}
	if got := h.get(t, "/v1/menus/123/main?role=admin").menu(t, "MISS"); got != adminMenu {
		t.Errorf("an admin's menu is %s", got)
	}
	tags := map[string]string{first.header.Get("ETag"): "the first"}
	for query, want := range map[string]string{
		"lang=en":                    `"label":"👤 Profile"`,
		"format=telegram-inline":     `{"inline_keyboard":[[{"text":"👤 Профиль","callback_data":"show_profile"},{"text":"🎯 Мои активности","callback_data":"show_activities"}],[{"text":"⚙️ Настройки","callback_data":"show_preferences"}]]}`,
		"format=telegram-reply":      `{"keyboard":[[{"text":"👤 Профиль"},{"text":"🎯 Мои активности"}],[{"text":"⚙️ Настройки"}]],"resize_keyboard":true}`,
		"badges=profile:3":           `"label":"👤 Профиль (3)"`,
		"badges=profile:4,users:1":   `"label":"👤 Профиль (4)"`,
		"role=super_admin&lang=en":   `"role":"super_admin"`,
		"badges=profile%3A5&lang=en": `"label":"👤 Profile (5)"`,
	} {
		a := h.get(t, "/v1/menus/123/main?"+query)
		a.is(t, 200, "application/json")
		if !strings.Contains(string(a.body), want) {
			t.Errorf("%s: %s has no %s", query, a.body, want)
		}
		tag := a.header.Get("ETag")
		if other := tags[tag]; other != "" {
			t.Errorf("%s has the ETag of %s", query, other)
		}
		tags[tag] = query
	}
	// The same in other words.
	h.get(t, "/v1/menus/123/main")
	for _, path := range []string{
		"/v1/menus/123/main?role=&lang=&format=&badges=", "/v1/menus/123/main?", "/v1/menus/123/main?&&=&role", "/v1/menus/123/m%61in",
		"/v1/menus/%3123/main", "/v1/menus/123/main?r%6fle=us%65r", "/v1/menus/123/main?lang=ru-RU", "/v1/menus/123/main?lang=RU_ru",
		"/v1/menus/123/main?colour=blue&token=x", "/v1/menus/123/main?badges=profile:0",
	} {
		if got := h.get(t, path).menu(t, "HIT"); got != userMenu {
			t.Errorf("%s: %s", path, got)
		}
	}
	if got := h.get(t, "/v1/menus/9223372036854775807/preferences").menu(t, "MISS"); !strings.Contains(got, `"user_id":9223372036854775807`) {
		t.Errorf("the highest user's menu is %s", got)
	}
}

// TestMenuOfAge checks that the age grows and that a menu near its end is made anew.
func TestMenuOfAge(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	h.get(t, "/v1/menus/1/main").menu(t, "MISS")
	redistest.Eventually(t, soon, "the menu is a second old", func() bool { return h.get(t, "/v1/menus/1/main").seconds(t) > 0 })
	h = startHub(t, options{menus: menucache.Config{TTL: time.Minute, Stale: time.Minute - time.Millisecond}})
	h.get(t, "/v1/menus/1/main").menu(t, "MISS")
	redistest.Eventually(t, soon, "the menu is stale", func() bool { return h.get(t, "/v1/menus/1/main").header.Get("X-Cache") == "STALE" })
}

// TestMenuNotModified sends what the caller has.
func TestMenuNotModified(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	first := h.get(t, "/v1/menus/123/main")
	tag := first.header.Get("ETag")
	for _, fields := range []string{
		tag, "W/" + tag, "*", " * ", `"other", ` + tag, `"other",W/"another" , W/` + tag + ` , "one"`, `,,` + tag, `"a,b",` + tag,
	} {
		a := h.get(t, "/v1/menus/123/main", "If-None-Match: "+fields)
		if a.status != 304 || len(a.body) != 0 || a.header.Get("Content-Type") != "" {
			t.Errorf("If-None-Match: %s: %d, %q", fields, a.status, a.body)
		}
		for name, want := range map[string]string{"ETag": tag, "X-Cache": "HIT", "Cache-Control": "private, no-cache"} {
			if got := a.header.Get(name); got != want {
				t.Errorf("If-None-Match: %s: %s is %q, want %q", fields, name, got, want)
			}
		}
		a.seconds(t)
	}
	for _, fields := range []string{
		`"other"`, `W/"other"`, strings.Trim(tag, `"`), tag[:len(tag)-1], tag[1:], `w/` + tag, `"*"`, "W/", `"`, `x, ` + tag, "W/*", `"a` + tag, `""`,
	} {
		if got := h.get(t, "/v1/menus/123/main", "If-None-Match: "+fields).menu(t, "HIT"); got != userMenu {
			t.Errorf("If-None-Match: %s: %s", fields, got)
		}
	}
	// Another menu is another menu, and what is not a menu is a problem.
	h.get(t, "/v1/menus/123/main?lang=en", "If-None-Match: "+tag).menu(t, "MISS")
	h.get(t, "/v1/menus/123/nothing", "If-None-Match: *").problem(t, 422, "invalid_fields", "menu_type")
	h.get(t, "/v1/menus/123/admin", "If-None-Match: *").problem(t, 403, "role_not_allowed")
}

// TestRenderMenu checks that POST answers what GET answers.
func TestRenderMenu(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for query, body := range map[string]string{
		"": `{}`,
		"?role=admin&lang=en&format=telegram-reply":    `{"role":"admin","lang":"en","format":"telegram-reply"}`,
		"?badges=profile:3,users:2&role=admin":         ` {"badges" : {"profile": 3, "users": 2}, "role": "admin"} `,
		"?badges=profile:0":                            `{"badges":{"profile":0}}`,
		"?format=telegram-inline&badges=preferences:9": `{"format":"telegram-inline","badges":{"preferences":9}}`,
	} {
		got := h.get(t, "/v1/menus/123/main"+query)
		want := got.menu(t, "MISS")
		a := h.post(t, "/v1/menus/123/main", body, "If-None-Match: "+got.header.Get("ETag"))
		if a.menu(t, "HIT") != want || a.header.Get("ETag") != got.header.Get("ETag") {
			t.Errorf("%s: %s, want %s", body, a.body, want)
		}
		h.call(t, "DELETE", "/v1/menus/123", "").is(t, 200, "application/json")
	}
	h.post(t, "/v1/menus/123/admin", `{"role":"user"}`).problem(t, 403, "role_not_allowed")
	h.post(t, "/v1/menus/123/admin", `{"role":"admin"}`).menu(t, "MISS")
}

// TestMenuDefinitions checks that what there is is told, and that it is there.
func TestMenuDefinitions(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	a := h.get(t, "/v1/menus/definitions")
	a.is(t, 200, "application/json")
	got := decode[api.MenuDefinitions](t, a.body)
	var want api.MenuDefinitions
	raw, err := json.Marshal(menucache.DefaultDefinitions().Describe())
	if err != nil {
		t.Fatal(err)
	}
	if want = decode[api.MenuDefinitions](t, raw); !reflect.DeepEqual(got, want) {
		t.Errorf("the definitions are %+v, want %+v", got, want)
	}
	for _, m := range got.Menus {
		role := "user"
		if len(m.Roles) > 0 {
			role = m.Roles[0]
			h.get(t, "/v1/menus/1/"+m.Type).problem(t, 403, "role_not_allowed")
		}
		for _, format := range got.Formats {
			h.get(t, "/v1/menus/1/"+m.Type+"?role="+role+"&format="+format).is(t, 200, "application/json")
		}
	}
}

// TestMenuCallbacks follows an action that is too long for a button.
func TestMenuCallbacks(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	action := "show:" + strings.Repeat("кофе", 20)
	h.putMenu(t, "/v1/menus/123/main", `{"options":[{"key":"a","label":"А","action":"`+action+`"}]}`)
	a := h.get(t, "/v1/menus/123/main?format=telegram-inline")
	keyboard := decode[api.InlineKeyboardMarkup](t, []byte(a.menu(t, "HIT")))
	id := keyboard.InlineKeyboard[0][0].CallbackData
	if !strings.HasPrefix(id, "cb:") || len(id) > 64 {
		t.Errorf("the button sends %q", id)
	}
	for _, path := range []string{id, strings.ReplaceAll(id, ":", "%3A")} {
		a = h.get(t, "/v1/menus/callbacks/"+path)
		a.is(t, 200, "application/json")
		if got := decode[api.MenuCallback](t, a.body); got.ID != id || got.CallbackData != action {
			t.Errorf("%s stands for %+v", path, got)
		}
	}
	for _, path := range []string{"cb:unknown", "show_profile", "%2F", "%D1%8F", strings.Repeat("x", 1000), id + "%20"} {
		h.get(t, "/v1/menus/callbacks/"+path).problem(t, 404, "callback_not_found")
	}
}

// TestMenuStats checks that /stats tells of the cache.
func TestMenuStats(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for range 4 {
		h.get(t, "/v1/menus/1/main")
	}
	for name, want := range map[string]float64{"hits": 3, "misses": 1, "hit_ratio": 0.75} {
		if got := h.stats(t).Caches["menus"][name]; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// TestMenuScope asks with a key that may do all but menus, and with one that may do nothing else.
func TestMenuScope(t *testing.T) {
	t.Parallel()
	h, tokens := startKeyedHub(t, map[string][]string{"other": {"publish:*", "subscribe:*", "temp", "match", "admin"}, "menus": {"menus"}, "all": {"*"}})
	allowed := map[string]int{
		"GET /v1/menus/definitions": 200, "GET /v1/menus": 200, "GET /v1/menus/1/main": 200, "POST /v1/menus/1/main": 200,
		"PUT /v1/menus/1/main": 422, "POST /v1/menus/1/main/refresh": 200, "DELETE /v1/menus/1/main": 200, "DELETE /v1/menus/1": 200,
		"POST /v1/menus/warm": 422, "POST /v1/menus/invalidate": 422, "GET /v1/menus/callbacks/cb:x": 404,
		"GET /v1/menus/dead-writes": 200, "POST /v1/menus/dead-writes/1-0/retry": 404,
	}
	h.get(t, "/v1/menus/1/main", "Authorization: Service "+tokens["all"]).menu(t, "MISS")
	for _, route := range routesOf(t, h.server) {
		route = strings.NewReplacer("{user_id}", "1", "{menu_type}", "main", "callbacks/{id}", "callbacks/cb:x", "{id}", "1-0").Replace(route)
		method, path, _ := strings.Cut(route, " ")
		if !strings.HasPrefix(path, "/v1/menus") {
			continue
		}
		h.get(t, "/v1/menus/1/main", "Authorization: Service "+tokens["all"])
		h.call(t, method, path, "{}").problem(t, 401, "unauthorized")
		h.call(t, method, path, "{}", "Authorization: Service "+tokens["other"]).problem(t, 403, "forbidden")
		for _, key := range []string{"menus", "all"} {
			h.get(t, "/v1/menus/1/main", "Authorization: Service "+tokens["all"])
			if a := h.call(t, method, path, "{}", "Authorization: Service "+tokens[key]); a.status != allowed[route] {
				t.Errorf("%s with the key %s: %d, want %d: %s", route, key, a.status, allowed[route], a.body)
			}
		}
		delete(allowed, route)
	}
	if len(allowed) > 0 {
		t.Errorf("not served: %v", allowed)
	}
	h.post(t, "/v1/events/global", `{"type":"tick"}`, "Authorization: Service "+tokens["menus"]).problem(t, 403, "forbidden")
}
