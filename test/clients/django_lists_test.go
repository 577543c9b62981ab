//go:build clients

package clients

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// listed are the names that a list of the hub has.
func (s *shared) listed(tb testing.TB, path, of, name string) []string {
	tb.Helper()
	var items []map[string]any
	if err := json.Unmarshal([]byte(s.wants(tb, http.StatusOK, http.MethodGet, path, "").member(tb, of)), &items); err != nil {
		tb.Fatal(err)
	}
	names := []string{}
	for _, item := range items {
		names = append(names, fmt.Sprint(item[name]))
	}
	slices.Sort(names)
	return names
}

// wantsListed fails the test unless a list of the hub has just these names.
func (s *shared) wantsListed(tb testing.TB, path, of, name string, want ...string) {
	tb.Helper()
	if got := s.listed(tb, path, of, name); !slices.Equal(got, want) {
		tb.Errorf("%s lists %q, not %q", path, got, want)
	}
}

// wantsKeys fails the test unless Django's cache has just these keys.
func (s *shared) wantsKeys(tb testing.TB, pattern string, want ...string) {
	tb.Helper()
	quoted := []string{}
	for _, key := range want {
		quoted = append(quoted, "'"+key+"'")
	}
	if got := s.bot(tb, []any{"keys", pattern})[0]; got != "["+strings.Join(quoted, ", ")+"]" {
		tb.Errorf("the bot has the keys %s, not %q", got, want)
	}
}

func listsAndClears(tb testing.TB, s *shared) {
	tb.Helper()
	s.bot(
		tb, []any{"set temp", "user_2001", "draft", "1"}, []any{"set temp", "user_2001", "other", "[]"},
		[]any{"set temp", "user_2001", "conversation_state", "{}", 7200}, []any{"set temp", "user_2001", "form_data_step1", "{}", 3600},
		[]any{"set menu", 2001, "main", "{'options': []}"}, []any{"set temp", "user_20011", "draft", "1"},
		[]any{"set temp", "drawer", "a:b.c-d", "1"}, []any{"set temp", "drawer", "e", "1", 100},
	)
	s.wants(tb, http.StatusCreated, http.MethodPut, "/v1/users/2001/temp/hubs", "1")
	s.wantsListed(tb, "/v1/users/2001/temp", "keys", "key", "conversation_state", "draft", "hubs", "other")
	s.wantsListed(tb, "/v1/users/2001/forms", "forms", "form", "default")
	s.wantsListed(tb, "/v1/temp/drawer", "keys", "key", "a:b.c-d", "e")

	s.bot(tb, []any{"delete", "temp:user_2001:other"}, []any{"touch", "temp:drawer:e", 5000})
	s.wantsListed(tb, "/v1/users/2001/temp", "keys", "key", "conversation_state", "draft", "hubs")
	if got := s.wants(tb, http.StatusOK, http.MethodGet, "/v1/temp/drawer/e", "").header.Get("Expires-In"); !about(got, 5000) {
		tb.Errorf("the bot made it expire in 5000 seconds, the hub says %s", got)
	}
	s.wants(tb, http.StatusOK, http.MethodPost, "/v1/temp/drawer/e/touch?ttl=9000", "")
	if got := s.bot(tb, []any{"ttl", "temp:drawer:e"})[0]; !about(got, 9000) {
		tb.Errorf("the hub made it expire in 9000 seconds, the bot says %s", got)
	}

	s.wants(tb, http.StatusOK, http.MethodDelete, "/v1/users/2001/temp", "")
	s.wantsListed(tb, "/v1/users/2001/temp", "keys", "key")
	s.wantsKeys(tb, "temp:user_2001:*", "temp:user_2001:form_data_step1")
	s.bot(tb, []any{"set temp", "user_2001", "draft", "1"})
	if got := s.wants(tb, http.StatusOK, http.MethodDelete, "/v1/users/2001/cache", ""); got.body != `{"menus":1,"temp_data":2}` {
		tb.Errorf("clearing all of a user says %s", got.body)
	}
	s.wantsKeys(tb, "*:2001:*")
	s.wantsKeys(tb, "*user_2001*", "temp:user_20011:draft")
	s.wants(tb, http.StatusOK, http.MethodDelete, "/v1/temp/drawer", "")
	s.wantsKeys(tb, "temp:drawer:*")
}

func fillsForms(tb testing.TB, s *shared) {
	tb.Helper()
	const form = "/v1/users/3001/forms/default"
	step := func(name, value string) []any {
		return []any{"set temp", "user_3001", "form_data_" + name, value, 3600}
	}
	holds := func(what, method, path, body, want string) {
		tb.Helper()
		// The order of the steps counts.
		if got := s.wants(tb, http.StatusOK, method, path, body).member(tb, "steps"); got != want {
			tb.Errorf("%s the form holds %s, not %s", what, got, want)
		}
	}
	s.bot(tb, step("step1", `{'name': 'Anna'}`), step("step2", `('chess', 1)`), step("step3", `'10:00'`))
	holds("filled in by the bot,", http.MethodGet, form, "", `{"step1":{"name":"Anna"},"step2":["chess",1],"step3":"10:00"}`)
	s.wantsListed(tb, "/v1/users/3001/forms", "forms", "form", "default")

	s.wants(tb, http.StatusOK, http.MethodPut, form+"/steps/step4", `"четыре"`)
	s.bot(tb, step("step1", `1`))
	holds("filled in by both,", http.MethodGet, form, "", `{"step2":["chess",1],"step3":"10:00","step4":"четыре","step1":1}`)
	holds("going back,", http.MethodPost, form+"/back", "", `{"step2":["chess",1],"step3":"10:00","step4":"четыре"}`)
	holds("patched,", http.MethodPatch, form, `{"steps":{"step3":null,"step5":{"a":[1]}}}`, `{"step2":["chess",1],"step4":"четыре","step5":{"a":[1]}}`)
	read := s.bot(tb, []any{"get temp", "user_3001", "form_data_step4"}, []any{"get temp", "user_3001", "form_data_step5"})
	if !slices.Equal(read, []string{`'четыре'`, `{'a': [1]}`}) {
		tb.Errorf("the bot reads the steps %s", read)
	}
	tag := s.wants(tb, http.StatusOK, http.MethodGet, form, "").header.Get("ETag")
	s.bot(tb, step("step2", `2`))
	if s.wants(tb, http.StatusOK, http.MethodGet, form, "").header.Get("ETag") == tag {
		tb.Error("the ETag is the same after the bot changed a step")
	}
	s.wants(tb, http.StatusOK, http.MethodDelete, form+"/steps/step4", "")
	s.wantsKeys(tb, "temp:user_3001:*", "temp:user_3001:form_data_step2", "temp:user_3001:form_data_step5")
	holds("submitted,", http.MethodPost, form+"/submit", "", `{"step5":{"a":[1]},"step2":2}`)
	s.wants(tb, http.StatusNotFound, http.MethodPost, form+"/submit", "")
	s.wantsKeys(tb, "temp:user_3001:*")

	s.bot(tb, step("step1", `1`), step("step2", `2`))
	s.wants(tb, http.StatusCreated, http.MethodPut, "/v1/users/3001/forms/hubs/steps/a", "1")
	s.wantsListed(tb, "/v1/users/3001/forms", "forms", "form", "default", "hubs")
	if got := s.wants(tb, http.StatusOK, http.MethodDelete, "/v1/users/3001/forms", ""); got.body != `{"cleared":2}` {
		tb.Errorf("clearing the forms says %s", got.body)
	}
	s.wantsKeys(tb, "*user_3001*")
	s.wantsListed(tb, "/v1/users/3001/forms", "forms", "form")
	s.wants(tb, http.StatusNotFound, http.MethodGet, form, "")
}

// djangoWasThere starts a hub where the bot has been for long, and has the bot clear its cache then.
func djangoWasThere(tb testing.TB, python string) {
	tb.Helper()
	s := &shared{redis: redistest.Start(tb), python: python}
	fill := [][]any{
		{"set temp", "user_1", "draft", "1"},
		{"set temp", "user_1", "form_data_a", "1"},
		{"set temp", "sessions", "a", "1"},
		{"set", "act:1:participants", "[]"},
		{"set menu", 1, "main", "{'options': []}"},
		{"set", "of_another_application", "1", nil},
	}
	lists := map[string][]string{
		"/v1/users/1/temp": {"keys", "key", "draft"}, "/v1/users/1/forms": {"forms", "form", "default"},
		"/v1/temp/sessions": {"keys", "key", "a"}, "/v1/temp/participants": {"keys", "key", "1"},
	}
	s.bot(tb, fill...)
	s.hub = serve(tb, "REDIS_URL="+s.redis.URL(), "DJANGO_COMPAT=true")
	for path, want := range lists {
		s.wantsListed(tb, path, want[0], want[1], want[2:]...)
	}
	s.bot(tb, []any{"clear"})
	for path, want := range lists {
		s.wantsListed(tb, path, want[0], want[1])
	}
	for _, path := range []string{"/v1/users/1/temp/draft", "/v1/users/1/forms/default", "/v1/temp/sessions/a", "/v1/temp/participants/1"} {
		s.wants(tb, http.StatusNotFound, http.MethodGet, path, "")
	}
	s.bot(tb, fill...)
	for path, want := range lists {
		s.wantsListed(tb, path, want[0], want[1], want[2:]...)
	}
	s.wants(tb, http.StatusOK, http.MethodDelete, "/v1/cache", "")
	s.wantsKeys(tb, "*", "of_another_application")
}
