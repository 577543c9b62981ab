//go:build clients

package clients

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// values are Python's, what the hub makes of them and what Python calls them. An empty text stands for one that is refused.
func values() [][3]string {
	long := strings.Repeat("долго ", 10_000)
	return [][3]string{
		{`None`, `null`, "NoneType"},
		{`True`, `true`, "bool"},
		{`False`, `false`, "bool"},
		{`0`, `0`, "int"},
		{`-1`, `-1`, "int"},
		{`2147483647`, `2147483647`, "int"},
		{`2147483648`, `2147483648`, "int"},
		{`-2147483649`, `-2147483649`, "int"},
		{`9223372036854775807`, `9223372036854775807`, "int"},
		{`9223372036854775808`, `9223372036854775808`, "int"},
		{`-9223372036854775809`, `-9223372036854775809`, "int"},
		{`1000000000000000000000000000000`, `1000000000000000000000000000000`, "int"},
		{`0.1`, `0.1`, "float"},
		{`1.0`, `1.0`, "float"},
		{`1e+308`, `1e+308`, "float"},
		{`5e-324`, `5e-324`, "float"},
		{`-0.0`, `-0.0`, "float"},
		{`''`, `""`, "str"},
		{`'42'`, `"42"`, "str"},
		{`'Анна 👩🏽\u200d💻'`, `"Анна 👩🏽‍💻"`, "str"},
		{`'\x00\n\\"\u2028'`, `"\u0000\n\\\"\u2028"`, "str"},
		{`'` + long + `'`, `"` + long + `"`, "str"},
		{`[]`, `[]`, "list"},
		{`{}`, `{}`, "dict"},
		{`()`, `[]`, "tuple"},
		{`('a', 1, (None, [()]))`, `["a",1,[null,[[]]]]`, "tuple"},
		{`[1, [2, {'x': [True, None, 0.5, -0.0, 1e+308]}]]`, `[1,[2,{"x":[true,null,0.5,-0.0,1e+308]}]]`, "list"},
		{
			`{'ключ': 'да', '👤': 9223372036854775808, 'пусто': [{}, [], '', None]}`,
			`{"ключ":"да","👤":9223372036854775808,"пусто":[{},[],"",null]}`, "dict",
		},
		{`['` + long + `']`, `["` + long + `"]`, "list"},
		{`{1: 'a', None: 'b', True: 'c'}`, `{"1":"c","null":"b"}`, "dict"},
		{`1e400`, ``, ""},
		{`[1e400]`, ``, ""},
		{`'\ud83d'`, ``, ""}, // Half an emoji.
		{`b'bytes'`, ``, ""},
		{`{1, 2}`, ``, ""},
		{`1j`, ``, ""},
	}
}

func botWritesValues(tb testing.TB, s *shared) {
	tb.Helper()
	var set [][]any
	for i, v := range values() {
		set = append(set, []any{"set", fmt.Sprintf("emp:v%d", i), v[0], 600})
		set = append(set, []any{"set temp", "values", fmt.Sprintf("v%d", i), v[0], 600})
	}
	s.bot(tb, append(set, []any{"set temp", "values", "half", `['\ud83d!']`})...) // Of an emoji.
	if got := s.wants(tb, http.StatusOK, http.MethodGet, "/v1/temp/values/half", ""); got.body != "[\"\uFFFD!\"]" {
		tb.Errorf("the hub reads half an emoji as %s", got.body)
	}
	for i, v := range values() {
		for _, path := range []string{fmt.Sprintf("/v1/temp/values/v%d", i), fmt.Sprintf("/v1/temp/employees/v%d", i)} {
			got := s.ask(tb, http.MethodGet, path+"?meta=true", "")
			switch {
			case v[1] == "":
				if got.status != http.StatusConflict || got.member(tb, "code") != `"value_unreadable"` {
					tb.Errorf("the hub answers %s, with %.30s in it, by %d %.300s", path, v[0], got.status, got.body)
				}
			case got.status != http.StatusOK, !sameJSON(got.member(tb, "data"), v[1]), got.member(tb, "type") != `"`+v[2]+`"`:
				tb.Errorf("the hub reads %s, with %.30s in it, as %d %.300s", path, v[0], got.status, got.body)
			case !about(got.member(tb, "expires_in"), 600):
				tb.Errorf("%s expires in %s seconds", path, got.member(tb, "expires_in"))
			}
		}
	}
}

func hubWritesValues(tb testing.TB, s *shared) {
	tb.Helper()
	var read [][]any
	var want []string
	write := func(data, python string) {
		n := len(want)
		for _, path := range []string{fmt.Sprintf("/v1/temp/written/w%d", n), fmt.Sprintf("/v1/temp/interests/w%d", n)} {
			s.wants(tb, http.StatusCreated, http.MethodPut, path, data)
		}
		read = append(read, []any{"get temp", "written", fmt.Sprintf("w%d", n)}, []any{"get", fmt.Sprintf("int:w%d", n)})
		want = append(want, python, python)
	}
	for _, v := range values() {
		if v[1] != "" && v[2] != "tuple" && !strings.HasPrefix(v[0], "{1:") { // What JSON has.
			write(v[1], v[0])
		}
	}
	write(`["a",1,[null]]`, `['a', 1, [None]]`)
	write(`"\u0410\ud83d\udc64"`, `'А👤'`)
	write(`[1e2,1E+2,100.00]`, `[100.0, 100.0, 100.0]`)
	write(`{"":{"a":{"b":{}}}}`, `{'': {'a': {'b': {}}}}`)
	for i, got := range s.bot(tb, read...) {
		if got != want[i] {
			tb.Errorf("the bot reads %s as %.300s, not %.300s", read[i], got, want[i])
		}
	}
	// What it counts in, it may go on counting in.
	s.bot(tb, []any{"set", "sess:n", "5", 600})
	if got := s.wants(tb, http.StatusOK, http.MethodGet, "/v1/temp/bot_sessions/n", ""); got.body != "5" {
		tb.Errorf("the hub reads a counter as %s", got.body)
	}
	s.wants(tb, http.StatusOK, http.MethodPut, "/v1/temp/bot_sessions/n", "7")
	if got := s.bot(tb, []any{"increment", "sess:n"}, []any{"get", "sess:n"}); !slices.Equal(got, []string{"8", "8"}) {
		tb.Errorf("the bot counts on with %s", got)
	}
}

// counted returns a counter of temporary data.
func (s *shared) counted(tb testing.TB, name string) int {
	tb.Helper()
	var stats struct {
		TempData struct{ Operations map[string]int } `json:"temp_data"`
	}
	if err := json.Unmarshal([]byte(s.wants(tb, http.StatusOK, http.MethodGet, "/stats", "").body), &stats); err != nil {
		tb.Fatal(err)
	}
	n, ok := stats.TempData.Operations[name]
	if !ok {
		tb.Errorf("nothing counts %s", name)
	}
	return n
}

// refusesObjects has the bot write what would build an object, or run a command, where it is read.
func refusesObjects(tb testing.TB, s *shared) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "ran")
	command := "touch " + path
	s.bot(
		tb, []any{"set an object temp", "user_4001", "object"}, []any{"set a command temp", "user_4001", "command", command},
		[]any{"set a command temp", "user_4001", "conversation_state", command}, []any{"set a command temp", "user_4001", "form_data_b", command},
		[]any{"set temp", "user_4001", "form_data_a", "1"}, []any{"set a command", "temp:user_4001:text", command},
		[]any{"set an object", "emp:4001"}, []any{"set a command", "int:4001", command},
		[]any{"set a command", "act:4001:participants", command}, []any{"set a command", "sess:4001", command},
		[]any{"set a command", "menu:user:4001:main", command},
	)
	const user = "/v1/users/4001"
	unreadable := []string{
		user + "/temp/object", user + "/temp/command", user + "/conversation", user + "/temp/text", user + "/forms/default",
		user + "/forms/default/steps/b", "/v1/temp/employees/4001", "/v1/temp/interests/4001", "/v1/temp/participants/4001",
		"/v1/temp/bot_sessions/4001",
	}
	unsafe, all := s.counted(tb, "unsafe"), s.counted(tb, "unreadable")
	for _, path := range unreadable {
		if got := s.wants(tb, http.StatusConflict, http.MethodGet, path, ""); got.member(tb, "code") != `"value_unreadable"` {
			tb.Errorf("GET %s says %s", path, got.body)
		}
	}
	if n := s.counted(tb, "unsafe") - unsafe; n < len(unreadable) { // Other tests count too.
		tb.Errorf("%d were counted as unsafe, not %d", n, len(unreadable))
	}
	if n := s.counted(tb, "unreadable") - all; n < len(unreadable) {
		tb.Errorf("%d were counted as unreadable, not %d", n, len(unreadable))
	}
	if got := s.wants(tb, http.StatusOK, http.MethodGet, "/v1/menus/4001/main", ""); got.header.Get("X-Cache") != "MISS" {
		tb.Errorf("the hub takes a menu that is an object: %s", got.body)
	}
	s.wantsListed(tb, user+"/forms", "forms", "form", "default") // What is beside it can be used.
	s.wants(tb, http.StatusOK, http.MethodGet, user+"/forms/default/steps/a", "")
	s.wants(tb, http.StatusOK, http.MethodPut, user+"/forms/default/steps/a", "2")
	s.wants(tb, http.StatusConflict, http.MethodPost, user+"/forms/default/submit", "")
	s.wantsKeys(tb, "temp:user_4001:form_data_*", "temp:user_4001:form_data_a", "temp:user_4001:form_data_b") // Nothing is lost.
	s.wantsListed(tb, user+"/temp", "keys", "key", "command", "conversation_state", "object", "text")

	s.wants(tb, http.StatusOK, http.MethodPut, user+"/temp/object", "1") // It may be written over, and deleted.
	s.wants(tb, http.StatusOK, http.MethodGet, user+"/temp/object", "")
	s.wants(tb, http.StatusOK, http.MethodDelete, user+"/forms/default/steps/b", "")
	s.wants(tb, http.StatusOK, http.MethodGet, user+"/forms/default", "")
	s.wants(tb, http.StatusOK, http.MethodDelete, user+"/cache", "")
	s.wantsKeys(tb, "*user_4001*")
	if _, err := os.Stat(path); err == nil {
		tb.Error("the command was run")
	}
	if log := s.stderr.String(); strings.Contains(log, path) {
		tb.Errorf("the log quotes what is in the cache:\n%s", log)
	}
}

// readsRecorded has both read what was recorded from the running bot.
func readsRecorded(tb testing.TB, s *shared) {
	tb.Helper()
	text, err := os.ReadFile("../../internal/djangocache/testdata/django-cache.json")
	if err != nil {
		tb.Fatal(err)
	}
	var recorded []struct {
		Key     string `json:"key"`
		Hex     string `json:"value_hex"`
		Decoded any    `json:"decoded"`
	}
	if err := json.Unmarshal(text, &recorded); err != nil || len(recorded) == 0 {
		tb.Fatalf("%d were recorded, %v", len(recorded), err)
	}
	var read [][]any
	for _, r := range recorded {
		raw, err := hex.DecodeString(r.Hex)
		if err != nil {
			tb.Fatal(err)
		}
		if err := s.redis.Client().Set(tb.Context(), r.Key, raw, 10*time.Minute).Err(); err != nil {
			tb.Fatal(err)
		}
		read = append(read, []any{"is", strings.TrimPrefix(r.Key, "connectbot:1:"), r.Decoded})
	}
	for i, got := range s.bot(tb, read...) {
		if got != "True" {
			tb.Errorf("the bot does not read %s as it was recorded", recorded[i].Key)
		}
	}
	for path, want := range map[string]string{
		"/v1/users/123/temp/list":                 `[1,2,3]`,
		"/v1/users/123/temp/scalar_int":           `42`,
		"/v1/users/123/temp/scalar_str":           `"hello"`,
		"/v1/users/123/conversation":              `{"current_menu":"main","context":{"editing":true}}`,
		"/v1/users/123/forms/default/steps/step1": `{"step":1,"preferences":["coffee","lunch"],"notification_time":"10:00"}`,
		"/v1/temp/test_namespace/test_key":        `{"test_key":"test_value","number":42}`,
		"/v1/temp/employees/9":                    `{"id":9,"name":"Анна"}`,
		"/v1/temp/interests/9":                    `["coffee","chess"]`,
	} {
		if got := s.wants(tb, http.StatusOK, http.MethodGet, path, ""); !sameJSON(got.body, want) {
			tb.Errorf("GET %s is %s, not %s", path, got.body, want)
		}
	}
}
