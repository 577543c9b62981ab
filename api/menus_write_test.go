package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/menucache"
)

// putMenu sets a menu and returns what became of it.
func (h *hub) putMenu(tb testing.TB, path, body string) api.MenuWritten {
	tb.Helper()
	return h.call(tb, http.MethodPut, path, body).written(tb, 200)
}

func (a answer) written(tb testing.TB, status int) api.MenuWritten {
	tb.Helper()
	a.is(tb, status, "application/json")
	return decode[api.MenuWritten](tb, a.body)
}

// ownMenu is a menu that nobody would build.
const ownMenu = `{"options":[{"key":"own","label":"Своё","action":"own"}],"extra":{"b":1,"a":[2.50]}}`

// TestPutMenu sets menus and gets them.
func TestPutMenu(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	h.get(t, "/v1/menus/123/main").menu(t, "MISS")
	if got, want := h.putMenu(t, "/v1/menus/123/main", " "+ownMenu+"\n"), (api.MenuWritten{UserID: 123, MenuType: "main", Status: "cached", ExpiresIn: 1800}); got != want {
		t.Errorf("written: %+v, want %+v", got, want)
	}
	// To everybody, byte for byte, and as a keyboard.
	for _, query := range []string{"", "?role=admin", "?lang=en", "?role=super_admin&lang=en"} {
		if got := h.get(t, "/v1/menus/123/main"+query).menu(t, "HIT"); got != ownMenu {
			t.Errorf("%s: %s", query, got)
		}
	}
	if got, want := h.get(t, "/v1/menus/123/main?format=telegram-inline&badges=own:7").menu(t, "HIT"), `{"inline_keyboard":[[{"text":"Своё (7)","callback_data":"own"}]]}`; got != want {
		t.Errorf("as a keyboard it is %s, want %s", got, want)
	}
	h.get(t, "/v1/menus/124/main").menu(t, "MISS")
	h.get(t, "/v1/menus/123/preferences").menu(t, "MISS")

	// To one role or language only.
	h.putMenu(t, "/v1/menus/123/main?role=admin&ttl=60", ownMenu)
	if got := h.get(t, "/v1/menus/123/main?role=admin").menu(t, "HIT"); got != ownMenu {
		t.Errorf("the admin gets %s", got)
	}
	if got := h.get(t, "/v1/menus/123/main").menu(t, "MISS"); got != userMenu {
		t.Errorf("the user gets %s", got)
	}
	h.putMenu(t, "/v1/menus/123/main?lang=en-GB", ownMenu)
	if got := h.get(t, "/v1/menus/123/main?lang=en").menu(t, "HIT"); got != ownMenu {
		t.Errorf("in English: %s", got)
	}
	if got := h.get(t, "/v1/menus/123/main").menu(t, "MISS"); got != userMenu {
		t.Errorf("in Russian: %s", got)
	}
	h.putMenu(t, "/v1/menus/123/main", adminMenu)
	if got := h.get(t, "/v1/menus/123/main").menu(t, "MISS"); got != userMenu {
		t.Errorf("the user gets the menu of an admin: %s", got)
	}

	for ttl, want := range map[string]int64{"1": 1, "60": 60, "2592000": 2592000, "": 1800} {
		if got := h.putMenu(t, "/v1/menus/123/main?ttl="+ttl, ownMenu).ExpiresIn; got != want {
			t.Errorf("ttl=%s: expires in %d s", ttl, got)
		}
	}
	// The TTL is kept to.
	h.putMenu(t, "/v1/menus/5/main?ttl=1", ownMenu)
	redistest.Eventually(t, soon, "the menu has expired", func() bool {
		return string(h.get(t, "/v1/menus/5/main").body) != ownMenu
	})
}

// TestPutLargeMenu sends as much as is taken, and more.
func TestPutLargeMenu(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	sized := func(n int) string {
		const start, end = `{"options":[],"x":"`, `"}`
		return start + strings.Repeat("x", n-len(start)-len(end)) + end
	}
	largest := sized(menucache.MaxMenuSize)
	h.putMenu(t, "/v1/menus/1/main", largest)
	if got := h.get(t, "/v1/menus/1/main").menu(t, "HIT"); got != largest {
		t.Errorf("a menu of %d bytes came back with %d", len(largest), len(got))
	}
	for _, size := range []int{menucache.MaxMenuSize + 1, 1 << 20, 3 << 20} {
		h.call(t, http.MethodPut, "/v1/menus/1/main", sized(size)).problem(t, 413, "payload_too_large")
	}
}

// TestRefreshMenu keeps menus longer.
func TestRefreshMenu(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	h.post(t, "/v1/menus/123/main/refresh", "").problem(t, 404, "menu_not_cached")
	h.putMenu(t, "/v1/menus/123/main?ttl=60", ownMenu)
	for query, want := range map[string]int64{"?ttl=2592000": 2592000, "?ttl=90": 90, "": 1800, "?ttl=": 1800} {
		// It needs no body, and no media type.
		got := h.post(t, "/v1/menus/123/main/refresh"+query, "", "Content-Type:").written(t, 200)
		if want := (api.MenuWritten{UserID: 123, MenuType: "main", Status: "cached", ExpiresIn: want}); got != want {
			t.Errorf("%s: %+v, want %+v", query, got, want)
		}
		if got := h.users(t, "").Users; len(got) != 1 || got[0].ExpiresIn < want-5 {
			t.Errorf("%s: the list says %+v", query, got)
		}
	}
	if got := h.get(t, "/v1/menus/123/main").menu(t, "HIT"); got != ownMenu {
		t.Errorf("the menu has become %s", got)
	}
	h.post(t, "/v1/menus/123/preferences/refresh", "").problem(t, 404, "menu_not_cached")
	h.call(t, http.MethodDelete, "/v1/menus/123/main", "")
	h.post(t, "/v1/menus/123/main/refresh", "").problem(t, 404, "menu_not_cached")
}

func (a answer) cleared(tb testing.TB) int {
	tb.Helper()
	a.is(tb, 200, "application/json")
	return decode[api.MenusCleared](tb, a.body).Cleared
}

// cacheCleared waits for the event that tells of it and checks what it says.
func cacheCleared(tb testing.TB, messages <-chan message, channel string, want map[string]any) {
	tb.Helper()
	m := nextMessage(tb, messages)
	event := decode[envelope](tb, []byte(m.payload))
	var data map[string]any
	if err := json.Unmarshal(event.Data, &data); err != nil {
		tb.Fatal(err)
	}
	if m.channel != channel || event.Type != "system.cache_cleared" || fmt.Sprint(data) != fmt.Sprint(want) {
		tb.Errorf("on %s came %s, want data %v on %s", m.channel, m.payload, want, channel)
	}
}

// TestClearMenus clears what is there and what is not, and looks for the events.
func TestClearMenus(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	messages := h.subscribe(t, "user:123")
	h.putMenu(t, "/v1/menus/123/main", ownMenu)
	h.get(t, "/v1/menus/123/preferences")
	h.get(t, "/v1/menus/124/main")
	one := map[string]any{"cache_type": "menu", "user_id": float64(123), "menu_type": "main"}
	all := map[string]any{"cache_type": "menu", "user_id": float64(123)}
	for _, want := range []int{1, 0} {
		if n := h.call(t, http.MethodDelete, "/v1/menus/123/main", "").cleared(t); n != want {
			t.Errorf("cleared %d, want %d", n, want)
		}
		cacheCleared(t, messages, h.full("user:123"), one)
	}
	if got := h.get(t, "/v1/menus/123/main").menu(t, "MISS"); got != userMenu {
		t.Errorf("after it was cleared the menu is %s", got)
	}
	for _, want := range []int{2, 0} {
		if n := h.call(t, http.MethodDelete, "/v1/menus/123", "").cleared(t); n != want {
			t.Errorf("cleared %d, want %d", n, want)
		}
		cacheCleared(t, messages, h.full("user:123"), all)
	}
	h.get(t, "/v1/menus/124/main").menu(t, "HIT")
}

// TestInvalidateMenus makes menus out of date by role, by type and all.
func TestInvalidateMenus(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	messages := h.subscribe(t, "global")
	menus := map[string]string{ // What they are, by whom and how they are asked for.
		"user's main": "/v1/menus/1/main", "admin's main": "/v1/menus/2/main?role=admin",
		"user's preferences": "/v1/menus/3/preferences", "admin's preferences": "/v1/menus/4/preferences?role=admin",
	}
	for _, tt := range []struct {
		body, name string
		gone       []string
		data       map[string]any
	}{
		{`{"role":"admin"}`, "role:admin", []string{"admin's main", "admin's preferences"}, map[string]any{"cache_type": "menu", "role": "admin"}},
		{`{"type":"main"}`, "type:main", []string{"user's main", "admin's main"}, map[string]any{"cache_type": "menu", "menu_type": "main"}},
		{`{"all":true}`, "all", []string{"user's main", "admin's main", "user's preferences", "admin's preferences"}, map[string]any{"cache_type": "menu"}},
		{`{"role":"super_admin"}`, "role:super_admin", nil, map[string]any{"cache_type": "menu", "role": "super_admin"}},
	} {
		for _, path := range menus {
			h.get(t, path)
			h.get(t, path).menu(t, "HIT")
		}
		a := h.post(t, "/v1/menus/invalidate", tt.body)
		a.is(t, 200, "application/json")
		if got := decode[api.MenusInvalidated](t, a.body).Invalidated; got != tt.name {
			t.Errorf("%s: invalidated %s", tt.body, got)
		}
		cacheCleared(t, messages, h.full("global"), tt.data)
		for name, path := range menus {
			want := "HIT"
			if slices.Contains(tt.gone, name) {
				want = "MISS"
			}
			if got := h.get(t, path).header.Get("X-Cache"); got != want {
				t.Errorf("after %s, %s is a %s, want %s", tt.body, name, got, want)
			}
		}
	}
}

// TestNotAnnounced clears while the event cannot be published, and again when it can.
func TestNotAnnounced(t *testing.T) {
	t.Parallel()
	var mute atomic.Bool
	h := startHub(t, options{menus: menucache.Config{Announce: func(context.Context, int64, []byte) error {
		if mute.Load() {
			return errors.New("internal detail")
		}
		return nil
	}}})
	for _, tt := range []struct{ method, path, body string }{
		{http.MethodDelete, "/v1/menus/1/main", ""},
		{http.MethodDelete, "/v1/menus/1", ""},
		{http.MethodPost, "/v1/menus/invalidate", `{"all":true}`},
	} {
		h.get(t, "/v1/menus/1/main").menu(t, "MISS")
		mute.Store(true)
		a := h.call(t, tt.method, tt.path, tt.body)
		if p := a.problem(t, 503, "not_announced"); !p.Retryable || a.header.Get("Retry-After") == "" || strings.Contains(string(a.body), "internal") {
			t.Errorf("%s %s: %s", tt.method, tt.path, a.body)
		}
		mute.Store(false)
		h.get(t, "/v1/menus/1/main").menu(t, "MISS")
		h.call(t, tt.method, tt.path, tt.body).is(t, 200, "application/json")
	}
}

func (h *hub) users(tb testing.TB, query string) api.MenuUserList {
	tb.Helper()
	a := h.get(tb, "/v1/menus"+query)
	a.is(tb, 200, "application/json")
	return decode[api.MenuUserList](tb, a.body)
}

// TestListMenuUsers pages through the users who have menus.
func TestListMenuUsers(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	if list := h.users(t, ""); len(list.Users) != 0 || list.NextCursor != nil {
		t.Errorf("at first there are %+v", list)
	}
	const many = 250
	for id := range many {
		h.get(t, "/v1/menus/"+strconv.Itoa(5_000_000_000+id)+"/main").menu(t, "MISS")
	}
	for limit, pages := range map[string]int{"": 3, "limit=1000": 1, "limit=250": 1, "limit=249": 2, "limit=20": 13} {
		seen := make(map[int64]bool)
		list := api.MenuUserList{NextCursor: new(string)}
		n := 0
		for ; list.NextCursor != nil; n++ {
			list = h.users(t, "?"+limit+"&cursor="+*list.NextCursor)
			for _, u := range list.Users {
				if seen[u.UserID] || u.ExpiresIn < 1 || u.ExpiresIn > 1800 {
					t.Errorf("%s: %+v, seen before: %t", limit, u, seen[u.UserID])
				}
				seen[u.UserID] = true
			}
		}
		if len(seen) != many || n != pages {
			t.Errorf("%s: %d users on %d pages, want %d on %d", limit, len(seen), n, many, pages)
		}
	}
	h.call(t, http.MethodDelete, "/v1/menus/5000000007", "")
	for _, u := range h.users(t, "?limit=1000").Users {
		if u.UserID == 5_000_000_007 {
			t.Error("a user is listed after his menus were cleared")
		}
	}
}

// TestWarmMenus fills the cache.
func TestWarmMenus(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	warm := func(body string) api.MenusWarmed {
		t.Helper()
		a := h.post(t, "/v1/menus/warm", body)
		a.is(t, 200, "application/json")
		return decode[api.MenusWarmed](t, a.body)
	}
	if got := warm(`{"users":[1,2,3]}`); got != (api.MenusWarmed{Built: 3}) {
		t.Errorf("first: %+v", got)
	}
	if got := warm(`{"users":[3,4],"types":["main","preferences"],"role":"user","lang":"ru"}`); got != (api.MenusWarmed{Built: 3, Cached: 1}) {
		t.Errorf("then: %+v", got)
	}
	for _, path := range []string{"/v1/menus/1/main", "/v1/menus/4/preferences"} {
		h.get(t, path).menu(t, "HIT")
	}
	if got := warm(`{"users":[1],"role":"admin","lang":"en"}`); got != (api.MenusWarmed{Built: 1}) {
		t.Errorf("for an admin: %+v", got)
	}
	h.get(t, "/v1/menus/1/main?role=admin&lang=en").menu(t, "HIT")
	if got := warm(`{"top":100}`); got.Failed != 0 {
		t.Errorf("top: %+v", got)
	}
	ids := make([]string, 2000)
	for i := range ids {
		ids[i] = strconv.Itoa(100 + i)
	}
	began := time.Now()
	if got := warm(`{"users":[` + strings.Join(ids, ",") + `]}`); got != (api.MenusWarmed{Built: len(ids)}) {
		t.Errorf("many: %+v", got)
	}
	t.Logf("%d menus in %v", len(ids), time.Since(began))
}
