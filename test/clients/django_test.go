//go:build clients

package clients

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// shared is a Redis that a hub shares with the Django bot.
type shared struct {
	redis  *redistest.Server
	python string
	*hub
}

// bot has Django's cache do commands, see django_bot.py, and returns what each returned.
func (s *shared) bot(tb testing.TB, commands ...[]any) []string {
	tb.Helper()
	text, err := json.Marshal(commands)
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(tb.TempDir(), "commands.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		tb.Fatal(err)
	}
	var returned []string
	for line := range strings.Lines(run(tb, nil, s.python, "django_bot.py", s.redis.URL(), path)) {
		var one string
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			tb.Fatalf("%q: %v", line, err)
		}
		returned = append(returned, one)
	}
	if len(returned) != len(commands) {
		tb.Fatalf("%d of %d commands returned", len(returned), len(commands))
	}
	return returned
}

// reply is what the hub answered.
type reply struct {
	status int
	header http.Header
	body   string
}

// ask sends the hub a request.
func (s *shared) ask(tb testing.TB, method, path, body string) reply {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}
	res, err := client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, strings.TrimSpace(string(text))}
}

// wants asks and fails the test unless this status comes.
func (s *shared) wants(tb testing.TB, status int, method, path, body string) reply {
	tb.Helper()
	got := s.ask(tb, method, path, body)
	if got.status != status {
		tb.Errorf("%s %s answers %d, not %d: %.300s", method, path, got.status, status, got.body)
	}
	return got
}

// member returns a member of the JSON that the hub answered with.
func (r reply) member(tb testing.TB, name string) string {
	tb.Helper()
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(r.body), &all); err != nil {
		tb.Fatalf("%.300s: %v", r.body, err)
	}
	return string(all[name])
}

// sameJSON tells whether two texts are the same JSON, numbers to their last digit.
func sameJSON(a, b string) bool {
	var values [2]any
	for i, text := range []string{a, b} {
		dec := json.NewDecoder(strings.NewReader(text))
		dec.UseNumber()
		if dec.Decode(&values[i]) != nil {
			return false
		}
	}
	return reflect.DeepEqual(values[0], values[1])
}

// about tells whether a number of seconds is a TTL that began a moment ago.
func about(text string, ttl int) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n <= ttl && n > ttl-int(soon/time.Second)
}

// place is where the bot keeps something.
type place struct {
	name string
	// key is that of Django's cache, path that of the hub.
	key, path string
	ttl       int
	// set and get are the commands of the bot, without the value and the TTL.
	set, get []any
	// python and json are a value.
	python, json string
}

// places are all that the bot has, each with its name as a part of every key.
func places(id int) []place {
	user := fmt.Sprintf("user_%d", id)
	temp := func(name, namespace, key, path string, ttl int) place {
		return place{
			name: name, key: "temp:" + namespace + ":" + key, path: path, ttl: ttl,
			set: []any{"set temp", namespace, key}, get: []any{"get temp", namespace, key},
			python: `{'имя': 'Анна ☕️', 'список': [1, None, True, 2.5]}`, json: `{"имя":"Анна ☕️","список":[1,null,true,2.5]}`,
		}
	}
	bare := func(name, namespace, key, path string, ttl int) place {
		p := temp(name, namespace, key, path, ttl)
		p.key, p.set, p.get = key, []any{"set", key}, []any{"get", key}
		return p
	}
	of := fmt.Sprintf("/v1/users/%d", id)
	n := strconv.Itoa(id)
	return []place{
		{
			name: "menu", key: "menu:user:" + n + ":main", path: "/v1/menus/" + n + "/main", ttl: 1800,
			set: []any{"set menu", id, "main"}, get: []any{"get menu", id, "main"},
			python: `{'type': 'main', 'user_id': ` + n + `, 'role': 'user', 'options': [{'key': 'a', 'label': '☕️ Кофе', 'action': 'b'}]}`,
			json:   `{"type":"main","user_id":` + n + `,"role":"user","options":[{"key":"a","label":"☕️ Кофе","action":"b"}]}`,
		},
		temp("temporary data", "default", "t"+n, "/v1/temp/default/t"+n, 1800),
		temp("a user's temporary data", user, "draft", of+"/temp/draft", 1800),
		temp("form step", user, "form_data_step1", of+"/forms/default/steps/step1", 3600),
		temp("conversation state", user, "conversation_state", of+"/conversation", 7200),
		temp("session", "sessions", "s"+n, "/v1/temp/sessions/s"+n, 86400),
		temp("matching request", "matching_requests", "m"+n, "/v1/temp/matching_requests/m"+n, 1800),
		temp("activity draft", "activity_drafts", "activity_draft_"+n, "/v1/temp/activity_drafts/activity_draft_"+n, 3600),
		bare("employee", "employees", "emp:"+n, "/v1/temp/employees/"+n, 3600),
		bare("interests", "interests", "int:"+n, "/v1/temp/interests/"+n, 1800),
		bare("participants", "participants", "act:"+n+":participants", "/v1/temp/participants/"+n, 900),
		bare("bot session", "bot_sessions", "sess:"+n, "/v1/temp/bot_sessions/"+n, 7200),
	}
}

// with is a command with more arguments.
func with(command []any, more ...any) []any { return append(slices.Clone(command), more...) }

// djangoShares checks that a hub and the bot read what the other wrote.
func djangoShares(t *testing.T, python string) {
	t.Helper()
	rds := redistest.Start(t) // Of its own: the keys have the names that the bot knows.
	s := &shared{redis: rds, python: python, hub: serve(t, "REDIS_URL="+rds.URL(), "DJANGO_COMPAT=true")}
	for name, test := range map[string]func(testing.TB, *shared){
		"every place, the bot writes": botWritesPlaces,
		"every place, the hub writes": hubWritesPlaces,
		"every value, the bot writes": botWritesValues,
		"every value, the hub writes": hubWritesValues,
		"lists and clearing":          listsAndClears,
		"forms":                       fillsForms,
		"objects":                     refusesObjects,
		"recorded":                    readsRecorded,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

func botWritesPlaces(tb testing.TB, s *shared) {
	tb.Helper()
	const id, ttl = 1001, 77
	var set, gone [][]any
	for _, p := range places(id) {
		set = append(set, with(p.set, p.python, p.ttl))
		gone = append(gone, []any{"delete", p.key})
	}
	s.bot(tb, set...)
	for _, p := range places(id) {
		got := s.wants(tb, http.StatusOK, http.MethodGet, p.path, "")
		if !sameJSON(got.body, p.json) {
			tb.Errorf("the hub reads the bot's %s as %s", p.name, got.body)
		}
		if p.name == "menu" {
			if got.header.Get("X-Cache") != "HIT" {
				tb.Errorf("the hub does not take the bot's menu")
			}
		} else if expires := got.header.Get("Expires-In"); !about(expires, p.ttl) {
			tb.Errorf("the bot's %s expires in %q seconds, not %d", p.name, expires, p.ttl)
		}
	}
	set = nil
	for _, p := range places(id) {
		set = append(set, with(p.set, p.python, ttl))
	}
	s.bot(tb, set...)
	for _, p := range places(id)[1:] {
		if expires := s.wants(tb, http.StatusOK, http.MethodGet, p.path, "").header.Get("Expires-In"); !about(expires, ttl) {
			tb.Errorf("the bot's %s expires in %q seconds, not %d", p.name, expires, ttl)
		}
	}
	s.bot(tb, gone...)
	for _, p := range places(id)[1:] { // A menu is built where there is none.
		s.wants(tb, http.StatusNotFound, http.MethodGet, p.path, "")
	}
}

func hubWritesPlaces(tb testing.TB, s *shared) {
	tb.Helper()
	const id, ttl = 1002, 77
	var read [][]any
	for _, p := range places(id) {
		got := s.ask(tb, http.MethodPut, p.path, p.json)
		if got.status != http.StatusOK && got.status != http.StatusCreated {
			tb.Errorf("PUT %s answers %d: %s", p.path, got.status, got.body)
		}
		read = append(read, p.get, []any{"ttl", p.key})
	}
	got := s.bot(tb, read...)
	for i, p := range places(id) {
		if got[2*i] != p.python || !about(got[2*i+1], p.ttl) {
			tb.Errorf("the bot reads the hub's %s as %s, for %s seconds", p.name, got[2*i], got[2*i+1])
		}
	}
	for _, p := range places(id) {
		s.wants(tb, http.StatusOK, http.MethodPut, p.path+"?ttl="+strconv.Itoa(ttl), p.json)
	}
	got = s.bot(tb, read...)
	for i, p := range places(id) {
		if got[2*i] != p.python || !about(got[2*i+1], ttl) {
			tb.Errorf("the bot reads the hub's %s as %s, for %s seconds", p.name, got[2*i], got[2*i+1])
		}
	}
	var gone [][]any
	for _, p := range places(id) {
		s.wants(tb, http.StatusOK, http.MethodDelete, p.path, "")
		gone = append(gone, []any{"get", p.key})
	}
	for i, got := range s.bot(tb, gone...) {
		if got != "'missing'" {
			tb.Errorf("the bot still reads %s from %s, which the hub deleted", got, gone[i])
		}
	}
}
