package api_test

import (
	"strings"
	"testing"
)

// TestTempScopes tries each call for temporary data with keys of all kinds. What a key may not do names the scope that it
// needs.
func TestTempScopes(t *testing.T) {
	t.Parallel()
	scopes := map[string][]string{
		"all": {"*"}, "temp": {"temp"}, "sessions": {"temp:sessions"}, "drafts": {"temp:drafts"}, "users": {"temp:user_*"}, "user": {"temp:user_7"},
		"other user": {"temp:user_77"}, "histories": {"temp:conversations"}, "both": {"temp:drafts", "temp:user_7"},
		"menus": {"menus"}, "admin": {"admin"}, "menus and user": {"menus", "temp:user_7"}, "menus and temp": {"menus", "temp"},
		"else": {"publish:*", "subscribe:*", "menus", "match", "admin"},
	}
	h, tokens := startKeyedHub(t, scopes)
	groups := map[string]struct {
		allowed []string
		needed  string
	}{
		"/v1/temp/sessions": {[]string{"all", "temp", "sessions", "menus and temp"}, "temp:sessions"},
		"/v1/users/7":       {[]string{"all", "temp", "users", "user", "both", "menus and user", "menus and temp"}, "temp:user_7"},
		"/v1/conversations": {[]string{"all", "temp", "histories", "menus and temp"}, "temp:conversations"},
		"cache of a user":   {[]string{"all", "menus and user", "menus and temp", "admin", "else"}, ""},
		"/v1/cache":         {[]string{"all", "admin", "else"}, "admin"},
	}
	tried := 0
	for _, route := range routesOf(t, h.server) {
		method, path, _ := strings.Cut(route, " ")
		path = strings.NewReplacer(
			"{namespace}", "sessions", "{user_id}", "7", "{key}", "k", "{form}", "f", "{step}", "s", "{conversation_id}", "c",
		).Replace(path)
		which := ""
		for name := range groups {
			if strings.HasPrefix(path, name) {
				which = name
			}
		}
		if path == "/v1/users/7/cache" {
			which = "cache of a user"
		}
		if which == "" {
			continue
		}
		tried++
		group := groups[which]
		allowed := make(map[string]bool)
		for _, name := range group.allowed {
			allowed[name] = true
		}
		for name := range scopes {
			a := h.call(t, method, path, `{}`, "Content-Type: application/json", "Authorization: Service "+tokens[name])
			switch {
			case allowed[name] && (a.status == 401 || a.status == 403):
				t.Errorf("%s with the key %s: %d %s", route, name, a.status, a.body)
			case !allowed[name] && a.status != 403:
				t.Errorf("%s with the key %s: %d %s", route, name, a.status, a.body)
			case !allowed[name] && method != "HEAD":
				if p := a.problem(t, 403, "forbidden"); !strings.Contains(p.Detail, " scope "+group.needed) {
					t.Errorf("%s with the key %s: the detail %q does not name %s", route, name, p.Detail, group.needed)
				}
			}
		}
		if a := h.call(t, method, path, `{}`, "Content-Type: application/json"); a.status != 401 {
			t.Errorf("%s without a key: %d", route, a.status)
		}
	}
	if want := 8 + 8 + 10 + 3 + 2 + 3 + 2; tried != want {
		t.Errorf("%d routes were tried, want %d", tried, want)
	}
	// What clears all of a user names all that is missing.
	for name, lacking := range map[string]string{
		"menus": "scope temp:user_7;", "temp": "scope menus;", "user": "scope menus;", "sessions": "scope menus and temp:user_7;", "other user": "scope menus and temp:user_7;",
	} {
		p := h.call(t, "DELETE", "/v1/users/7/cache", "", "Authorization: Service "+tokens[name]).problem(t, 403, "forbidden")
		if !strings.Contains(p.Detail, lacking+" admin would do too.") {
			t.Errorf("with the key %s the detail is %q, want %s", name, p.Detail, lacking)
		}
	}
	h.call(t, "DELETE", "/v1/users/0/cache", "", "Authorization: Service "+tokens["admin"]).problem(t, 422, "invalid_fields", "user_id")
	// Names that are no names need the whole, and a user's namespace is nowhere else.
	for path, needed := range map[string]string{
		"/v1/temp/a%20b/k": "temp.", "/v1/temp/user_*/k": "temp:user_*.", "/v1/users/x/temp/k": "temp:user_*.", "/v1/users/0/temp": "temp:user_*.",
		"/v1/temp/user_8/k": "temp:user_8.", "/v1/temp/conversations/k": "temp:conversations.",
	} {
		p := h.get(t, path, "Authorization: Service "+tokens["sessions"]).problem(t, 403, "forbidden")
		if !strings.Contains(p.Detail, needed) {
			t.Errorf("%s: the detail %q does not name %s", path, p.Detail, needed)
		}
	}
	h.get(t, "/v1/users/x/temp/k", "Authorization: Service "+tokens["users"]).problem(t, 422, "invalid_fields", "user_id")
	h.get(t, "/v1/users/07/temp/k", "Authorization: Service "+tokens["user"]).problem(t, 403, "forbidden")
	h.get(t, "/v1/temp/user_7/k", "Authorization: Service "+tokens["user"]).problem(t, 403, "namespace_reserved")
	h.post(t, "/v1/events/global", `{"type":"tick"}`, "Authorization: Service "+tokens["temp"]).problem(t, 403, "forbidden")
	h.get(t, "/v1/menus", "Authorization: Service "+tokens["temp"]).problem(t, 403, "forbidden")
}
