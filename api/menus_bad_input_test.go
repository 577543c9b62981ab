package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/menucache"
)

// TestBadMenuRequests asks for menus in wrong ways: everything that is wrong is named, with what is known.
func TestBadMenuRequests(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for _, id := range []string{"0", "-1", "01", "+1", "1.0", "1e3", "0x1", "1_000", "9223372036854775808", "abc", "%20", "%201", "%D9%A1", "1%2F2", "main"} {
		h.get(t, "/v1/menus/"+id+"/main").problem(t, 422, "invalid_fields", "user_id")
		h.post(t, "/v1/menus/"+id+"/main", "{}").problem(t, 422, "invalid_fields", "user_id")
		h.post(t, "/v1/menus/"+id+"/main/refresh", "").problem(t, 422, "invalid_fields", "user_id")
		h.call(t, http.MethodPut, "/v1/menus/"+id+"/main", ownMenu).problem(t, 422, "invalid_fields", "user_id")
		h.call(t, http.MethodDelete, "/v1/menus/"+id+"/main", "").problem(t, 422, "invalid_fields", "user_id")
		h.call(t, http.MethodDelete, "/v1/menus/"+id, "").problem(t, 422, "invalid_fields", "user_id")
	}
	types := strings.Join(menucache.DefaultDefinitions().Types(), ", ")
	for _, tt := range []struct {
		path   string
		fields []string
		known  []string
	}{
		{"1/nothing", []string{"menu_type"}, []string{"must be one of " + types}},
		{"1/Main", []string{"menu_type"}, nil},
		{"1/%D1%8F", []string{"menu_type"}, nil},
		{"1/main?role=boss", []string{"role"}, []string{"must be one of user, admin, super_admin"}},
		{"1/main?role=User", []string{"role"}, nil},
		{"1/main?lang=de", []string{"lang"}, []string{"must be one of ru, en"}},
		{"1/main?lang=en--us", []string{"lang"}, nil},
		{"1/main?format=xml", []string{"format"}, []string{"must be one of json, telegram-inline, telegram-reply"}},
		{"1/main?badges=meetings", []string{"badges"}, []string{"name:count"}},
		{"1/main?badges=meetings:-1", []string{"badges"}, nil},
		{"1/main?badges=meetings:1.5", []string{"badges"}, nil},
		{"1/main?badges=meetings:9999999999999999999999", []string{"badges"}, nil},
		{"1/main?badges=meetings:1,meetings:2", []string{"badges"}, nil},
		{"1/main?badges=nothing:1", []string{"badges"}, []string{"meetings", "profile"}},
		{"1/main?role=user&role=admin", []string{"role"}, []string{"once"}},
		{"1/main?lang=ru&lang=ru", []string{"lang"}, []string{"once"}},
		{"1/main?role=%zz", []string{"role"}, []string{"well formed"}},
		{"1/main?badges=%", []string{"badges"}, []string{"well formed"}},
		{"0/nothing?role=x&lang=y&format=z", []string{"user_id", "menu_type", "role", "lang", "format"}, nil},
		{"0/nothing?role=x&lang=y&format=z&badges=w", []string{"badges", "user_id", "menu_type", "role", "lang", "format"}, nil},
		{"1/main?role=x&role=y&lang=z", []string{"role", "lang"}, nil},
	} {
		p := h.get(t, "/v1/menus/"+tt.path).problem(t, 422, "invalid_fields", tt.fields...)
		for _, known := range tt.known {
			if !strings.Contains(p.Detail, known) {
				t.Errorf("%s: %q does not tell %q", tt.path, p.Detail, known)
			}
		}
	}
	h.get(t, "/v1/menus/1/admin").problem(t, 403, "role_not_allowed")
	h.get(t, "/v1/menus/1/admin?role=user&format=telegram-reply").problem(t, 403, "role_not_allowed")
	for _, query := range []string{"limit=0", "limit=1001", "limit=-1", "limit=x", "limit=1.0", "limit=%2B5", "limit=9223372036854775808", "limit=1&limit=2"} {
		h.get(t, "/v1/menus?"+query).problem(t, 422, "invalid_fields", "limit")
		h.get(t, "/v1/menus/dead-writes?"+query).problem(t, 422, "invalid_fields", "limit")
	}
	h.get(t, "/v1/menus?cursor=%D1%8F").problem(t, 422, "invalid_fields", "cursor")
	h.get(t, "/v1/menus?cursor="+strings.Repeat("x", 1000)).problem(t, 422, "invalid_fields", "cursor")
}

// TestBadMenuBodies sends bodies that cannot be read or do not say what they should.
func TestBadMenuBodies(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	const get, warm, invalidate = "/v1/menus/1/main", "/v1/menus/warm", "/v1/menus/invalidate"
	for _, path := range []string{get, warm, invalidate} {
		for _, body := range []string{
			"", " ", "[]", "null", `"` + secret + `"`, `{"` + secret, `{"role":"` + secret + `"`, `{"role":"user",}`, `{'role':1}`, "{}{}", `{} ` + secret, "\xff\xfe{\x00",
			"{\"role\":\"" + secret + "\xff\"}", `{"role":"\ud83d"}`, "\ufeff{}", strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000), `{"role":NaN}`,
		} {
			a := h.post(t, path, body)
			if a.problem(t, 400, "malformed_json"); strings.Contains(string(a.body), secret) {
				t.Errorf("the answer repeats what the body holds: %s", a.body)
			}
		}
		h.post(t, path, `{"role":"user","role":"`+secret+`"}`).problem(t, 422, "invalid_fields", "role")
		h.post(t, path, `{"role":"user","r\u006fle":"user"}`).problem(t, 422, "invalid_fields", "role")
		h.post(t, path, `{}`, "Content-Type: text/plain").problem(t, 415, "unsupported_media_type")
		h.post(t, path, `{}`, "Content-Type:").problem(t, 415, "unsupported_media_type")
		h.post(t, path, `{}`, "Content-Encoding: gzip").problem(t, 415, "unsupported_media_type")
		h.post(t, path, `{"x":"`+strings.Repeat("x", 1<<20)+`"}`).problem(t, 413, "payload_too_large")
	}
	for _, tt := range []struct {
		path, body string
		fields     []string
	}{
		{get, `{"colour":1}`, []string{"colour"}},
		{get, `{"Role":"user"}`, []string{"Role"}},
		{get, `{"":1,"a\u0000b":2}`, []string{"(empty)", "a?b"}},
		{get, `{"role":7,"lang":null,"format":[],"badges":"meetings:3"}`, []string{"role", "lang", "format", "badges"}},
		{get, `{"role":"","lang":"","format":""}`, []string{"role", "lang", "format"}},
		{get, `{"role":"boss","lang":"de","format":"xml"}`, []string{"role", "lang", "format"}},
		{get, `{"colour":1,"role":"boss","lang":"de"}`, []string{"colour", "role", "lang"}},
		{get, `{"badges":null}`, []string{"badges"}},
		{get, `{"badges":[1]}`, []string{"badges"}},
		{get, `{"badges":{"meetings":"3"}}`, []string{"badges"}},
		{get, `{"badges":{"meetings":null}}`, []string{"badges"}},
		{get, `{"badges":{"meetings":1.5}}`, []string{"badges"}},
		{get, `{"badges":{"meetings":-1}}`, []string{"badges"}},
		{get, `{"badges":{"meetings":1000000}}`, []string{"badges"}},
		{get, `{"badges":{"meetings":9223372036854775808}}`, []string{"badges"}},
		{get, `{"badges":{"nothing":1}}`, []string{"badges"}},
		{get, `{"badges":{"meetings":1,"meetings":2}}`, []string{"badges/meetings"}},

		{warm, `{}`, []string{"users"}},
		{warm, `{"users":[1],"top":1}`, []string{"users"}},
		{warm, `{"users":[]}`, []string{"users"}},
		{warm, `{"users":1}`, []string{"users"}},
		{warm, `{"users":[0]}`, []string{"users[0]"}},
		{warm, `{"users":[1,null]}`, []string{"users[1]"}},
		{warm, `{"users":[1,"2"]}`, []string{"users"}},
		{warm, `{"users":[1.5]}`, []string{"users"}},
		{warm, `{"users":[9223372036854775808]}`, []string{"users"}},
		{warm, `{"users":[1` + strings.Repeat(",1", 10_000) + `]}`, []string{"users"}},
		{warm, `{"top":0}`, []string{"top"}},
		{warm, `{"top":10001}`, []string{"top"}},
		{warm, `{"top":"1"}`, []string{"top"}},
		{warm, `{"users":[1],"types":[]}`, []string{"types"}},
		{warm, `{"users":[1],"types":"main"}`, []string{"types"}},
		{warm, `{"users":[1],"types":["main","nothing"]}`, []string{"types[1]"}},
		{warm, `{"users":[1],"types":["admin"]}`, []string{"types[0]"}},
		{warm, `{"users":[1],"role":"boss","lang":"de"}`, []string{"role", "lang"}},
		{warm, `{"users":[1],"colour":1,"all":true}`, []string{"colour", "all"}},

		{invalidate, `{}`, []string{"role"}},
		{invalidate, `{"role":"admin","all":true}`, []string{"role"}},
		{invalidate, `{"role":"admin","type":"main"}`, []string{"role"}},
		{invalidate, `{"role":"boss"}`, []string{"role"}},
		{invalidate, `{"type":"nothing"}`, []string{"type"}},
		{invalidate, `{"role":""}`, []string{"role"}},
		{invalidate, `{"all":false}`, []string{"all"}},
		{invalidate, `{"all":1}`, []string{"all"}},
		{invalidate, `{"all":true,"colour":1}`, []string{"colour"}},
	} {
		h.post(t, tt.path, tt.body).problem(t, 422, "invalid_fields", tt.fields...)
	}
}

// TestBadMenus sets what is no menu. What is there stays.
func TestBadMenus(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	h.putMenu(t, "/v1/menus/1/main", ownMenu)
	for _, tt := range []struct {
		name, query, body string
		status            int
		code              string
		fields            []string
	}{
		{"empty", "", "", 400, "malformed_json", nil},
		{"array", "", "[]", 400, "malformed_json", nil},
		{"cut", "", `{"options":["` + secret, 400, "malformed_json", nil},
		{"trailing", "", `{} ` + secret, 400, "malformed_json", nil},
		{"invalid UTF-8", "", "{\"a\":\"" + secret + "\xff\"}", 400, "malformed_json", nil},
		{"no label", "", `{"options":[{"key":"a","label":"А","action":"a"},{"key":"b","label":" ","action":"b"}]}`, 422, "invalid_fields", []string{"options[1].label"}},
		{"key twice", "", `{"options":[{"key":"a","label":"А","action":"a"},{"key":"a","label":"Б","action":"b"}]}`, 422, "invalid_fields", []string{"options[1].key"}},
		{"option is text", "", `{"options":["` + secret + `"]}`, 422, "invalid_fields", []string{"options[0]"}},
		{"another's", "", `{"user_id":2,"type":"preferences","options":[]}`, 422, "invalid_fields", []string{"type", "user_id"}},
		{"role of the menu", "", `{"role":"boss","options":[]}`, 422, "invalid_fields", []string{"role"}},
		{"two roles", "?role=user", `{"role":"admin","options":[]}`, 422, "invalid_fields", []string{"role"}},
		{"role", "?role=boss&lang=de&write=later&ttl=0", ownMenu, 422, "invalid_fields", []string{"ttl", "role", "lang", "write"}},
		{"admin's option", "?role=user", `{"options":[` + adminOptions + `]}`, 422, "invalid_fields", []string{"options[0]", "options[1]"}},
		{"through", "?write=through", ownMenu, 422, "invalid_fields", []string{"write"}},
		{"behind", "?write=behind", ownMenu, 422, "invalid_fields", []string{"write"}},
		{"twice", "?ttl=1&ttl=2", ownMenu, 422, "invalid_fields", []string{"ttl"}},
	} {
		a := h.call(t, http.MethodPut, "/v1/menus/1/main"+tt.query, tt.body)
		if a.problem(t, tt.status, tt.code, tt.fields...); strings.Contains(string(a.body), secret) {
			t.Errorf("%s: the answer repeats what the body holds: %s", tt.name, a.body)
		}
	}
	for _, ttl := range []string{"0", "-1", "2592001", "1.5", "1e3", "x", "%2B60", "060", "60s", "9223372036854775807", "99999999999999999999"} {
		h.call(t, http.MethodPut, "/v1/menus/1/main?ttl="+ttl, ownMenu).problem(t, 422, "invalid_fields", "ttl")
		h.post(t, "/v1/menus/1/main/refresh?ttl="+ttl, "").problem(t, 422, "invalid_fields", "ttl")
	}
	h.call(t, http.MethodPut, "/v1/menus/1/main", ownMenu, "Content-Type: text/plain").problem(t, 415, "unsupported_media_type")
	h.call(t, http.MethodPut, "/v1/menus/1/main", ownMenu, "Content-Encoding: gzip").problem(t, 415, "unsupported_media_type")
	h.call(t, http.MethodPut, "/v1/menus/1/nothing", ownMenu).problem(t, 422, "invalid_fields", "menu_type")
	if got := h.get(t, "/v1/menus/1/main").menu(t, "HIT"); got != ownMenu {
		t.Errorf("the menu has become %s", got)
	}
}
