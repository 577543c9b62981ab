package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/javaclient"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// numbersShown are the numbers of /stats by where they are, such as streams.open.
type numbersShown map[string]float64

// stats asks for /stats.
func (s *server) stats(tb testing.TB) numbersShown {
	tb.Helper()
	status, body := s.get(tb, "/stats")
	return shownIn(tb, status, body)
}

// resetStats has the counters begin anew and returns what they were.
func (s *server) resetStats(tb testing.TB) numbersShown {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, s.url+"/stats/reset", nil)
	if err != nil {
		tb.Fatal(err)
	}
	status, body := send(tb, req)
	return shownIn(tb, status, body)
}

func shownIn(tb testing.TB, status int, body string) numbersShown {
	tb.Helper()
	var stats api.Stats
	if err := json.Unmarshal([]byte(body), &stats); err != nil || status != http.StatusOK {
		tb.Fatalf("the numbers are answered %d %s", status, body)
	}
	return flat(tb, &stats)
}

// flat names each number of /stats by its way there.
func flat(tb testing.TB, stats *api.Stats) numbersShown {
	tb.Helper()
	raw, err := json.Marshal(stats)
	if err != nil {
		tb.Fatal(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(raw, &tree); err != nil {
		tb.Fatal(err)
	}
	shown := numbersShown{}
	var walk func(path string, node any)
	walk = func(path string, node any) {
		switch node := node.(type) {
		case float64:
			shown[path] = node
		case map[string]any:
			for name, child := range node {
				walk(strings.TrimPrefix(path+"."+name, "."), child)
			}
		}
	}
	walk("", tree)
	return shown
}

// statsStates are the numbers of /stats that say how something is now, and statsCounters those that count. A number must be in
// one of the lists: what is a state must be left alone by POST /stats/reset, see subtract.
func statsStates() []string {
	return []string{
		"streams.open", "streams.channels", "caches.menus.entries_local", "caches.menus.bytes_local",
		"temp_data.operations.records", "temp_data.operations.waiting", "temp_data.operations.bytes", "temp_data.keys.*",
		"matching.jobs.waiting", "matching.jobs.dead", "redis.main.*", "redis.events.*",
	}
}

func statsCounters() []string {
	names := map[string]string{
		"events":                  "published duplicates failed refused bridged bridged_before ignored",
		"events_by_scope.user":    "published duplicates failed refused",
		"events_by_scope.global":  "published duplicates failed refused",
		"events_by_scope.service": "published duplicates failed refused",
		"streams":                 "opened resumed delivered cut_slow gaps resubscribed",
		"caches.menus": "hits hits_local hits_redis stale misses bypassed builds errors redis_errors not_stored damaged lock_waits " +
			"lock_steals interruptions writes_queued writes_delivered writes_retried writes_superseded writes_dead",
		"temp_data.operations": "reads writes deletes appends submitted leased unmet failed full contended unreadable unsafe outages " +
			"degraded restored overtaken abandoned",
		"matching.calls": "java fallback repeated failed service_calls service_retries service_hedges breaker_opened " +
			"service_failed_timeout",
		"matching.jobs": "accepted known completed fallback failed told events_taken events_taken_over events_refused events_lost",
		"requests":      "total unauthorized forbidden rate_limited client_errors server_errors",
	}
	var all []string
	for section, list := range names {
		for name := range strings.FieldsSeq(list) {
			all = append(all, section+"."+name)
		}
	}
	return all
}

func isState(name string) bool {
	return slices.ContainsFunc(statsStates(), func(state string) bool {
		section, all := strings.CutSuffix(state, "*")
		return name == state || all && strings.HasPrefix(name, section)
	})
}

// fill sets every number below a pointer.
func fill(to reflect.Value, n int64) {
	switch to.Kind() {
	case reflect.Pointer:
		fill(to.Elem(), n)
	case reflect.Struct:
		for i := range to.NumField() {
			fill(to.Field(i), n)
		}
	case reflect.Int64:
		to.SetInt(n)
	}
}

// everyNumber returns numbers none of which is 0.
func everyNumber(n int64) (*numbers, *asked) {
	all := &numbers{
		bridge:   &events.BridgeStats{},
		breaker:  javaclient.StateClosed,
		refused:  map[events.Scope]int64{events.ScopeUser: n, events.ScopeGlobal: n, events.ScopeService: n},
		requests: map[int]int64{200: n, 401: n, 403: n, 404: n, 429: n, 503: n},
	}
	for _, part := range []any{&all.publisher, &all.fanout, all.bridge, &all.menus, &all.temp, &all.matcher, &all.jobs, &all.consumer, &all.java} {
		fill(reflect.ValueOf(part), n)
	}
	all.java.Failures = map[javaclient.Code]int64{javaclient.CodeTimeout: n}
	answers := &asked{servers: map[string]redisServer{}, jobs: &struct{ waiting, dead int64 }{n, n}}
	for _, name := range []string{"main", "events"} {
		answers.servers[name] = redisServer{up: true, info: map[string]int64{}}
		for _, number := range serverNumbers() {
			answers.servers[name].info[number] = n
		}
	}
	for _, space := range []string{"sessions", "user_*"} {
		answers.keys = append(answers.keys, tempdata.Count{Namespace: space, Keys: n})
	}
	return all, answers
}

// TestEachNumberOfStatsIsACounterOrAState checks that each number of /stats is known as one or the other, and that the counters
// begin anew, and only they.
func TestEachNumberOfStatsIsACounterOrAState(t *testing.T) {
	t.Parallel()
	const before, after = 7, 9
	then, now := statsOf(everyNumber(before)), statsOf(everyNumber(after))
	whole := flat(t, &now)
	was := flat(t, &then)
	subtract(&now, &then)
	counters := statsCounters()
	for name, got := range flat(t, &now) {
		want := whole[name] - was[name]
		switch {
		case whole[name] == 0:
			t.Errorf("%s is not filled by this test", name)
		case isState(name):
			want = whole[name]
		case !slices.Contains(counters, name):
			t.Errorf("%s is neither among the counters nor among the states", name)
		}
		if got != want {
			t.Errorf("%s was %v and is %v: it is shown as %v, want %v", name, was[name], whole[name], got, want)
		}
	}
	for _, name := range counters {
		if _, ok := whole[name]; !ok {
			t.Errorf("there is no %s", name)
		}
	}
}

// TestStatsBeginAnew checks that the counters, the ratio and the latencies begin anew, and that what was counted is told.
func TestStatsBeginAnew(t *testing.T) {
	t.Parallel()
	service := newJava(t)
	hub := serve(t, onSharedRedis(t).with("JAVA_SERVICE_URL", service.URL))
	hub.awaitHealth(t, "menus", "pass", "")
	hub.follow(t, "channel=user:1")
	hub.post(t, 3, "users/1", `{"type":"x"}`)
	for range 4 {
		hub.menu(t, "123/main")
	}
	if status, body := hub.coffee(t, nil); status != http.StatusOK {
		t.Fatal(body)
	}
	// An answer is counted before it is read to its end, a stream as it begins; the rest is counted before it is answered.
	first := hub.resetStats(t)
	for name, want := range map[string]float64{
		"events_by_scope.user.published": 3, "streams.opened": 1, "streams.open": 1, "matching.calls.java": 1,
		"matching.latencies.simple.count": 1, "caches.menus.misses": 1, "caches.menus.hits": 3, "caches.menus.hit_ratio": .75,
	} {
		if first[name] != want {
			t.Errorf("before, %s is %v, want %v", name, first[name], want)
		}
	}
	if first["requests.total"] < 8 || first["matching.latencies.simple.p99_ms"] <= 0 {
		t.Errorf("before: %v", first)
	}
	began := time.Now()
	hub.menu(t, "123/main")
	second := hub.stats(t)
	for name, want := range map[string]float64{
		"events_by_scope.user.published": 0, "streams.opened": 0, "streams.open": 1, "matching.calls.java": 0,
		"caches.menus.misses": 0, "caches.menus.hits": 1, "caches.menus.hit_ratio": 1, "requests.total": 2,
	} {
		if second[name] != want {
			t.Errorf("after, %s is %v, want %v", name, second[name], want)
		}
	}
	if _, ok := second["matching.latencies.simple.count"]; ok {
		t.Error("there are latencies of calls that were not made")
	}
	_, body := hub.get(t, "/stats")
	var stats api.Stats
	if err := json.Unmarshal([]byte(body), &stats); err != nil {
		t.Fatal(err)
	}
	if since, err := time.Parse(time.RFC3339Nano, stats.Since); err != nil || since.After(began) || began.Sub(since) > soon {
		t.Errorf("since %s, %v, and it was at about %v", stats.Since, err, began)
	}
}

// TestNoNumberIsLostInBetween has the counters begin anew again and again, while events are published and others read them.
func TestNoNumberIsLostInBetween(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t))
	hub.healthy(t)
	const publishers, each, resets = 2, 100, 20
	var publishing, reading sync.WaitGroup
	for n := range publishers {
		publishing.Go(func() { hub.post(t, each, fmt.Sprint("users/", n+1), `{"type":"x"}`) })
	}
	reading.Go(func() {
		for range resets {
			for name, n := range hub.stats(t) {
				if n < 0 {
					t.Errorf("%s is %v", name, n)
				}
			}
		}
	})
	sum := numbersShown{}
	add := func(shown numbersShown) {
		for name, n := range shown {
			if !isState(name) {
				sum[name] += n
			}
		}
	}
	for range resets {
		add(hub.resetStats(t))
	}
	publishing.Wait()
	reading.Wait()
	add(hub.resetStats(t))
	if got := sum["events_by_scope.user.published"]; got != publishers*each {
		t.Errorf("%v events were counted, %d published", got, publishers*each)
	}
	if got := sum["events.published"]; got != sum["events_by_scope.user.published"]+sum["events_by_scope.global.published"]+sum["events_by_scope.service.published"] {
		t.Errorf("%v events were counted in all: %v", got, sum)
	}
	if got := sum["requests.total"]; got < publishers*each+2*resets {
		t.Errorf("%v requests were counted", got)
	}
}

// TestStatsOfTwoServers checks what the servers tell, and that little of the embedded one is no fault.
func TestStatsOfTwoServers(t *testing.T) {
	t.Parallel()
	hub := serve(t, environment{"EVENTS_REDIS_URL": redistest.Start(t).URL()})
	shown := hub.stats(t)
	for _, name := range serverNumbers() {
		if _, ok := shown["redis.events."+name]; !ok {
			t.Errorf("the real Redis does not tell %s: %v", name, shown)
		}
	}
	if shown["redis.main.total_commands_processed"] == 0 || shown["redis.events.used_memory"] < 1000 {
		t.Errorf("the servers tell %v", shown)
	}
	if _, ok := shown["redis.main.used_memory"]; ok {
		t.Error("the embedded Redis tells its memory")
	}
}

func TestParseInfo(t *testing.T) {
	t.Parallel()
	got := parseInfo("# Stats\r\ntotal_commands_processed:12\r\nkeyspace_hits:9223372036854775807\nkeyspace_misses:9223372036854775808\r\n" +
		"instantaneous_input_kbps:0.05\r\nused_memory_human:1.00M\r\nused_memory:-1\r\nmaxmemory: 0 \r\n\r\nno colon\r\n:5\r\n:\r\nredis_version:7.0.15\r\n")
	want := map[string]int64{"total_commands_processed": 12, "keyspace_hits": 9223372036854775807, "maxmemory": 0}
	if !maps.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
}
