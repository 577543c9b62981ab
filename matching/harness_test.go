package matching_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/internal/jobqueue"
	"github.com/connectbot-hub/connecthub/internal/once"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/javaclient"
	"github.com/connectbot-hub/connecthub/matching"
)

// soon is longer than anything takes that the tests wait for.
const soon = 20 * time.Second

// java stands for the service: it pairs at random, unless a test has it do something else.
type java struct {
	server *httptest.Server
	calls  atomic.Int64
	mu     sync.Mutex
	answer func(w http.ResponseWriter, r *http.Request, body []byte) bool
	last   http.Header
}

func startJava(tb testing.TB) *java {
	tb.Helper()
	j := &java{}
	j.server = httptest.NewServer(http.HandlerFunc(j.serve))
	tb.Cleanup(j.server.Close)
	return j
}

// answers makes the service answer so until it is called with nil. What returns false leaves it to the service.
func (j *java) answers(with func(w http.ResponseWriter, r *http.Request, body []byte) bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.answer = with
}

// fails makes the service answer with a status and a body.
func (j *java) fails(status int, body string) {
	j.answers(func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return true
	})
}

func (j *java) header(name string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last.Get(name)
}

func (j *java) serve(w http.ResponseWriter, r *http.Request) {
	j.calls.Add(1)
	body, _ := io.ReadAll(r.Body)
	j.mu.Lock()
	answer := j.answer
	j.last = r.Header.Clone()
	j.mu.Unlock()
	if answer != nil && answer(w, r, body) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/api/matching/algorithms":
		_, _ = io.WriteString(w, `{"algorithms":["SIMPLE_RANDOM","INTEREST_BASED","CROSS_DEPARTMENT","ROUND_TABLE"],"total":4}`)
	case "/api/matching/tournament/bracket":
		_, _ = io.WriteString(w, `{"matches":[{"round":1,"a":1,"b":2}]}`)
	case "/api/matching/teams/generate":
		_, _ = io.WriteString(w, `{"teams":[{"members":[1,2]}]}`)
	case "/api/v1/matching/health":
		_, _ = io.WriteString(w, `{"status":"OK"}`)
	default:
		_, _ = w.Write(pairUp(body))
	}
}

// pairUp pairs the employees of a request at random.
func pairUp(body []byte) []byte {
	type employee map[string]any
	var request struct{ Employees []employee }
	if json.Unmarshal(body, &request.Employees) != nil {
		_ = json.Unmarshal(body, &request)
	}
	all := request.Employees
	rand.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	type pair struct {
		Employee1 employee `json:"employee1"`
		Employee2 employee `json:"employee2"`
		Valid     bool     `json:"valid"`
	}
	pairs := []pair{}
	for ; len(all) > 1; all = all[2:] {
		pairs = append(pairs, pair{all[0], all[1], true})
	}
	text, _ := json.Marshal(map[string]any{"pairs": pairs, "unmatched": all, "algorithm": "SIMPLE_RANDOM"})
	return text
}

// told keeps the events, each once by channel and id as the publisher does.
type told struct {
	tb     testing.TB
	mu     sync.Mutex
	events map[string]matching.Event
	fail   func(matching.Event) error
	docs   map[string]string
}

func (t *told) publish(_ context.Context, e matching.Event) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fail != nil {
		if err := t.fail(e); err != nil {
			return err
		}
	}
	key := fmt.Sprint(e.UserID, " ", e.ID)
	if known, ok := t.events[key]; ok {
		if known.Type != e.Type || !bytes.Equal(known.Data, e.Data) {
			t.tb.Errorf("the event %s is told twice, and differently: %s and %s", key, known.Data, e.Data)
		}
		return nil
	}
	t.events[key] = e
	return nil
}

func (t *told) project(_ context.Context, id string, doc []byte, first bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.docs[id] == "" || !first {
		t.docs[id] = string(doc)
	}
	return nil
}

// of returns the events for a user, or with 0 for the service.
func (t *told) of(userID int64) []matching.Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []matching.Event
	for _, e := range t.events {
		if e.UserID == userID {
			found = append(found, e)
		}
	}
	return found
}

// options are what a test has otherwise than usual.
type options struct {
	redis    *redistest.Server
	prefix   string
	java     *java
	told     *told
	client   javaclient.Config
	cacheTTL time.Duration
	// waitForOthers goes with cacheTTL.
	waitForOthers time.Duration
	alone         bool // without a fallback
	queue         jobqueue.Config
	retryFor      time.Duration
	tracing       trace.TracerProvider
}

// hub is what cmd makes of the package.
type hub struct {
	*matching.Matcher
	jobs  *matching.Jobs
	java  *java
	told  *told
	redis *redistest.Server
	stop  func()
}

func start(tb testing.TB, o options) *hub {
	tb.Helper()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	if o.redis == nil {
		o.redis = redistest.Shared(tb)
	}
	if o.prefix == "" {
		o.prefix = redistest.Prefix(tb)
	}
	if o.java == nil {
		o.java = startJava(tb)
	}
	if o.told == nil {
		o.told = &told{tb: tb, events: map[string]matching.Event{}, docs: map[string]string{}}
	}
	rdb, err := redisconn.Open(o.redis.URL())
	must(err)
	tb.Cleanup(func() { _ = rdb.Close() })
	if o.client.URL == "" {
		o.client.URL = o.java.server.URL
	}
	client, err := javaclient.New(o.client)
	must(err)
	tb.Cleanup(client.Close)
	remember, err := once.New(once.Config{Redis: rdb, Prefix: o.prefix + ":once"})
	must(err)
	tb.Cleanup(remember.Close)
	shared := cache.NewRedis(rdb, o.redis.URL(), o.prefix+":changed", nil)
	matcher, err := matching.NewMatcher(matching.MatcherConfig{
		Client: client, Once: remember, Cache: shared, Prefix: o.prefix, Fallback: !o.alone, CacheTTL: o.cacheTTL, WaitForOthers: o.waitForOthers,
	})
	must(err)
	must(shared.Start(tb.Context()))
	tb.Cleanup(shared.Close)
	tb.Cleanup(matcher.Close)
	o.queue.Redis, o.queue.Prefix = rdb, o.prefix+":jobs"
	queue, err := jobqueue.New(o.queue)
	must(err)
	jobs, err := matching.NewJobs(matching.JobsConfig{
		Matcher: matcher, Queue: queue, Publish: o.told.publish, Project: o.told.project, RetryFor: o.retryFor, Tracing: o.tracing,
	})
	must(err)
	must(jobs.Start(tb.Context()))
	tb.Cleanup(jobs.Close)
	return &hub{Matcher: matcher, jobs: jobs, java: o.java, told: o.told, redis: o.redis, stop: jobs.Close}
}

// people is a JSON array of employees 1 to n.
func people(n int) []byte {
	all := make([]map[string]any, n)
	for i := range all {
		all[i] = map[string]any{"id": i + 1, "displayName": fmt.Sprint("Somebody ", i+1), "department": i % 3}
	}
	text, _ := json.Marshal(all)
	return text
}

// with is an object with the member employees, and others.
func with(n int, members string) []byte {
	return fmt.Appendf(nil, `{%s"employees":%s}`, members, people(n))
}

// await waits until a request is in a state.
func (h *hub) await(tb testing.TB, id string, state matching.State) matching.Status {
	tb.Helper()
	var status matching.Status
	redistest.Eventually(tb, soon, "the request "+id+" is "+string(state), func() bool {
		var err error
		status, err = h.jobs.Get(tb.Context(), id)
		return err == nil && status.State == state
	})
	return status
}
