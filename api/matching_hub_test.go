package api_test

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/cache"
	"github.com/connectbot-hub/connecthub/internal/jobqueue"
	"github.com/connectbot-hub/connecthub/internal/once"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/tracing"
	"github.com/connectbot-hub/connecthub/javaclient"
	"github.com/connectbot-hub/connecthub/matching"
	"github.com/connectbot-hub/connecthub/tempdata"
)

// matchingOptions say how the hub of a test matches people.
type matchingOptions struct {
	java *java
	// alone leaves the hub without a fallback.
	alone  bool
	client javaclient.Config
	jobs   jobqueue.Config
	// retryFor is how long a job waits for Java.
	retryFor time.Duration
	// byEvent has events be requests too.
	byEvent bool
}

// startMatchingHub starts a hub, and what stands for Java.
func startMatchingHub(tb testing.TB, m matchingOptions) (*hub, *java) {
	tb.Helper()
	if m.java == nil {
		m.java = startJava(tb)
	}
	return startHub(tb, options{matching: &m}), m.java
}

// wireMatching makes and starts what matches people, as the command does.
func (h *hub) wireMatching(tb testing.TB, deps *api.Deps, o options) {
	tb.Helper()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	m := *o.matching
	m.client.URL, m.client.Logger, m.client.Tracing = m.java.server.URL, o.api.Logger, o.api.Tracing
	rdb, err := redisconn.Open(o.redis.URL())
	must(err)
	tb.Cleanup(func() { _ = rdb.Close() })
	if o.api.Tracing != nil {
		rdb.AddHook(tracing.Redis(o.api.Tracing, "main"))
	}
	client, err := javaclient.New(m.client)
	must(err)
	tb.Cleanup(client.Close)
	prefix := h.prefix + ":hub:matching"
	remember, err := once.New(once.Config{Redis: rdb, Prefix: prefix + ":once"})
	must(err)
	tb.Cleanup(remember.Close)
	shared := cache.NewRedis(rdb, o.redis.URL(), prefix+":changed", o.api.Logger)
	matcher, err := matching.NewMatcher(matching.MatcherConfig{
		Client: client, Once: remember, Cache: shared, Prefix: prefix, Fallback: !m.alone, Logger: o.api.Logger,
	})
	must(err)
	must(shared.Start(tb.Context()))
	tb.Cleanup(shared.Close)
	tb.Cleanup(matcher.Close)
	m.jobs.Redis, m.jobs.Prefix, m.jobs.Logger = rdb, prefix+":jobs", o.api.Logger
	queue, err := jobqueue.New(m.jobs)
	must(err)
	jobs, err := matching.NewJobs(matching.JobsConfig{
		Matcher: matcher, Queue: queue, Publish: tellOf(deps.Publisher), Project: projectInto(deps.Temp),
		RetryFor: m.retryFor, Logger: o.api.Logger, Tracing: o.api.Tracing,
	})
	must(err)
	must(jobs.Start(tb.Context()))
	tb.Cleanup(jobs.Close)
	deps.Matching, deps.MatchingJobs = matcher, jobs
	if !m.byEvent {
		return // Consumers take half a second to end.
	}
	channel, err := events.Service("matching")
	must(err)
	types, err := events.ParsePattern("matching.request")
	must(err)
	requests, err := events.NewConsumer(rdb, o.events, events.Consumption{
		Channel: channel, Group: "matching", Types: types,
		Handle: func(ctx context.Context, r *events.Record) error { return jobs.Accept(ctx, []byte(r.JSON)) },
	})
	must(err)
	must(requests.Start(tb.Context()))
	tb.Cleanup(requests.Close)
}

// tellOf publishes what a request came to.
func tellOf(pub publisher) func(context.Context, matching.Event) error {
	return func(ctx context.Context, e matching.Event) error {
		ch, err := events.Service("matching")
		if e.UserID != 0 {
			ch, err = events.User(e.UserID)
		}
		if err != nil {
			return err
		}
		_, err = pub.Publish(ctx, events.Message{
			Channel: ch, Type: e.Type, ID: e.ID, CorrelationID: e.CorrelationID, Traceparent: e.Traceparent,
			Source: "connecthub", Data: e.Data,
		})
		return err
	}
}

// putter is what a request is kept with.
type putter interface {
	Put(ctx context.Context, put tempdata.Put) (tempdata.Written, error)
}

// projectInto keeps what is known of a request as temporary data.
func projectInto(temp putter) func(context.Context, string, []byte, bool) error {
	return func(ctx context.Context, id string, doc []byte, first bool) error {
		_, err := temp.Put(ctx, tempdata.Put{
			Key: tempdata.Key{Namespace: "matching_requests", Name: id}, Data: doc, Condition: tempdata.Condition{Absent: first},
		})
		return err
	}
}

// java stands for the Java service: it pairs at random, unless a test has it answer otherwise.
type java struct {
	server *httptest.Server

	mu     sync.Mutex
	answer http.HandlerFunc
	asked  []asked
}

// asked is a request that reached Java.
type asked struct {
	path, query string
	header      http.Header
	body        []byte
}

func startJava(tb testing.TB) *java {
	tb.Helper()
	j := &java{}
	j.server = httptest.NewServer(j)
	tb.Cleanup(j.server.Close)
	return j
}

// answers has Java answer so from now on; with nil as it does by itself.
func (j *java) answers(with http.HandlerFunc) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.answer = with
}

// says has Java answer with a status and a body of JSON from now on.
func (j *java) says(status int, body string) {
	j.answers(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

// hangs has Java not answer until the caller is gone, or the test is over.
func (j *java) hangs(tb testing.TB) {
	tb.Helper()
	j.answers(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-tb.Context().Done():
		}
	})
}

// calls returns what Java was asked at a path.
func (j *java) calls(path string) []asked {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []asked
	for _, a := range j.asked {
		if a.path == path {
			all = append(all, a)
		}
	}
	return all
}

func (j *java) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	j.mu.Lock()
	j.asked = append(j.asked, asked{r.URL.Path, r.URL.RawQuery, r.Header.Clone(), body})
	answer := j.answer
	j.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/api/matching/algorithms":
		_, _ = io.WriteString(w, `{"algorithms":["SIMPLE_RANDOM","INTEREST_BASED","CROSS_DEPARTMENT","ROUND_TABLE"],"total":4}`)
	case "/api/matching/tournament/bracket":
		_, _ = io.WriteString(w, `{"matches":[{"round":1,"table":"A","white":101,"black":104}]}`)
	case "/api/matching/teams/generate":
		_, _ = io.WriteString(w, `{"teams":[{"name":"Север","members":[101,104]}]}`)
	case "/api/v1/matching/match/secret-coffee/from-api":
		_, _ = io.WriteString(w, `{"transaction_id":"t-1","pairs":[{"employee1_id":1,"employee2_id":2}],"unmatched_employees":[3]}`)
	default:
		_, _ = w.Write(pairUp(body))
	}
}

// pairUp pairs those in a body at random, as Java does.
func pairUp(body []byte) []byte {
	var request struct{ Employees []json.RawMessage }
	if json.Unmarshal(body, &request.Employees) != nil {
		_ = json.Unmarshal(body, &request)
	}
	people := request.Employees
	rand.Shuffle(len(people), func(a, b int) { people[a], people[b] = people[b], people[a] })
	pairs := []map[string]any{}
	for ; len(people) > 1; people = people[2:] {
		pairs = append(pairs, map[string]any{"employee1": people[0], "employee2": people[1], "valid": true})
	}
	answer, _ := json.Marshal(map[string]any{
		"pairs": pairs, "unmatched": people, "algorithm": "SIMPLE_RANDOM", "meta": map[string]any{"total_pairs": len(pairs)},
	})
	return answer
}
