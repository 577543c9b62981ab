package main

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// replacement changes the body of an answer.
type replacement struct{ old, by string }

func (r replacement) in(tb testing.TB, res *http.Response) {
	tb.Helper()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Error(err)
	}
	raw = bytes.ReplaceAll(raw, []byte(r.old), []byte(r.by))
	res.Header.Set("Content-Length", strconv.Itoa(len(raw)))
	res.Body = io.NopCloser(bytes.NewReader(raw))
}

func TestCheckFindsTemporaryDataThatDoesNotWork(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t))
	for i, test := range []struct {
		name string
		// The fault is in the answers to requests of this method whose path has this part.
		method, part string
		ask          func(*http.Request)
		change       func(*http.Response)
		body         replacement
		want         string
	}{
		{
			name: "it says that there was something", method: "PUT", part: "/temp/", change: func(res *http.Response) { res.StatusCode = http.StatusOK },
			want: "set a value for a minute: the status is 200, not 201",
		},
		{
			name: "it tells no tags", method: "PUT", part: "/temp/", change: func(res *http.Response) { res.Header.Del("ETag") },
			want: `set a value for a minute: the ETag is "", and was "" before`,
		},
		{
			name: "it takes numbers for floats", method: "GET", part: "/temp/", body: replacement{"740993", "740992"},
			want: "get it, with its ETag and its expiry: another value comes back",
		},
		{
			name: "its tags change", method: "GET", part: "/temp/", change: func(res *http.Response) { res.Header.Set("ETag", `"x"`) },
			want: `get it, with its ETag and its expiry: its ETag is "\"x\"", but `,
		},
		{
			name: "it keeps for ever", method: "GET", part: "/temp/", change: func(res *http.Response) { res.Header.Del("Expires-In") },
			want: `get it, with its ETag and its expiry: it expires in "" seconds, but was set for 60`,
		},
		{
			name: "it does not compare tags", method: "PUT", part: "/temp/", ask: func(r *http.Request) { r.Header.Del("If-Match") },
			want: "set it anew, and refuse an old ETag: the status is 200, not 412",
		},
		{
			name: "its refusals tell no tag", method: "PUT", part: "/temp/", change: func(res *http.Response) {
				if res.StatusCode == http.StatusPreconditionFailed {
					res.Header.Del("ETag")
				}
			},
			want: "set it anew, and refuse an old ETag: the refusal does not tell the ETag of what is there",
		},
		{
			name: "its steps are in no order", method: "GET", part: "/forms/",
			body: replacement{`"interests":["coffee"],"time":"11:00"`, `"time":"11:00","interests":["coffee"]`},
			want: `patch the form and read it merged: the form holds other steps than {"interests":["coffee"],"time":"11:00"}`,
		},
		{
			name: "it sends pages", method: "GET", part: "/forms/", body: replacement{`{"form"`, `<html>`},
			want: "patch the form and read it merged: what answers at http://127.0.0.1:",
		},
		{
			name: "it keeps the step", method: "POST", part: "/back", body: replacement{`["coffee"]`, `["coffee"],"time":"11:00"`},
			want: "go back a step: the form holds other steps",
		},
		{
			name: "it submits for ever", method: "POST", part: "/submit", ask: func(r *http.Request) {
				r.Header.Set("Idempotency-Key", strings.ReplaceAll(r.URL.Path, "/", "-"))
			},
			want: "submit the form, once: the status is 200, not 404",
		},
		{
			name: "its histories are turned round", method: "GET", part: "/messages", ask: func(r *http.Request) { r.URL.RawQuery = "order=newest" },
			want: `append to a history and read it in order: the history is ["три" "два" "раз"], not ["раз" "два" "три"]`,
		},
		{
			name: "it lists other keys", method: "GET", part: "/temp", body: replacement{`"key":"connecthub-check`, `"key":"other`},
			want: "find the value's key in the list: it is not there",
		},
		{
			name: "it deletes nothing", method: "DELETE", part: "/temp/", ask: func(r *http.Request) { r.Method = http.MethodGet },
			want: "delete the value: the status is 200, not 404",
		},
		{
			name: "it gives leases to everybody", method: "POST", part: "/lease", ask: func(r *http.Request) {
				r.URL.Path = strings.Replace(r.URL.Path, "/lease", strconv.Itoa(len(r.URL.RawQuery))+"/lease", 1)
			},
			want: "take a lease, refuse it to others, release it: the status is 201, not 409",
		},
		{
			name: "it releases nothing", method: "DELETE", part: "/lease", ask: func(r *http.Request) { r.URL.RawQuery = "token=" + uuid.NewString() },
			want: "take a lease, refuse it to others, release it: The lease is not yours",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			isFaulty := func(method, path string) bool { return method == test.method && strings.Contains(path, test.part) }
			env := hub.behind(t, func(_ http.ResponseWriter, r *http.Request) bool {
				if test.ask != nil && isFaulty(r.Method, r.URL.Path) {
					test.ask(r)
				}
				return false
			}, func(res *http.Response) {
				if !isFaulty(res.Request.Method, res.Request.URL.Path) {
					return
				}
				if test.change != nil {
					test.change(res)
				}
				if test.body.old != "" {
					test.body.in(t, res)
				}
			})
			call(t, env, "check", "--component", "temp_data", "--user-id", strconv.Itoa(200+i)).want(t, 1, "FAIL  temp_data", test.want)
		})
	}
}

func TestCheckLeavesNoTemporaryDataBehind(t *testing.T) {
	t.Parallel()
	for name, compat := range map[string]string{"native": "false", "the bot's layout": "true"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rds := redistest.Start(t)
			hub := serve(t, on(rds).with("DJANGO_COMPAT", compat))
			none := func() {
				t.Helper()
				for _, path := range []string{"/v1/users/9223372036854775807/temp", "/v1/users/9223372036854775807/forms"} {
					if _, body := hub.get(t, path); !strings.Contains(body, ":[],") {
						t.Errorf("%s is %s", path, body)
					}
				}
				for _, key := range rds.Client().Keys(t.Context(), "*connecthub-check*").Val() {
					if !strings.Contains(key, ":submitted:") && !strings.Contains(key, ":ended:") { // For who submits again, and for hubs that were cut off.
						t.Errorf("there is %q", key)
					}
				}
			}
			call(t, hub.client(), "check", "--component", "temp_data").want(t, 0)
			none()
			for _, part := range []string{"/temp?", "/forms/", "/messages", "/lease"} { // Where it fails.
				env := hub.behind(t, nil, func(res *http.Response) {
					if res.Request.Method != http.MethodDelete && strings.Contains(res.Request.URL.RequestURI(), part) {
						res.StatusCode = http.StatusTeapot
					}
				})
				call(t, env, "check", "--component", "temp_data").want(t, 1, "FAIL  temp_data")
				none()
			}
		})
	}
}

// TestChecksOfTheSameUserAtOnce have one lease between them.
func TestChecksOfTheSameUserAtOnce(t *testing.T) {
	t.Parallel()
	hub := serve(t, onSharedRedis(t))
	ended := make(chan outcome)
	const checks = 5
	for range checks {
		go func() { ended <- call(t, hub.client(), "check", "--component", "temp_data") }()
	}
	for range checks {
		if got := <-ended; got.status != 0 {
			t.Errorf("a check says %s%s", got.stdout, got.stderr)
		}
	}
}

func TestCheckTellsThatTemporaryDataIsInMemory(t *testing.T) {
	t.Parallel()
	for fallback, want := range map[string]struct {
		steps  int
		failed string
	}{
		"memory": {5, "patch the form and read it merged: Redis is unavailable"}, // Which may hold other steps.
		"off":    {1, "set a value for a minute: Redis is unavailable"},
	} {
		t.Run(fallback, func(t *testing.T) {
			t.Parallel()
			rds := redistest.Start(t)
			hub := serve(t, on(rds).with("TEMPDATA_FALLBACK", fallback))
			hub.healthy(t)
			rds.Stop()
			got := call(t, hub.client(), "check", "--component", "temp_data", "--json")
			got.want(t, 1)
			steps := jsonSteps(t, got.stdout)
			if len(steps) != want.steps {
				t.Fatalf("it shows %s", got.stdout)
			}
			for i, s := range steps {
				inMemory := s.Note == "degraded: Redis is away, and the hub keeps it in its own memory"
				if last := i == len(steps)-1; s.OK == last || inMemory == last {
					t.Errorf("a step is %+v", s)
				}
			}
			call(t, hub.client(), "check", "--component", "temp_data").want(t, 1, want.failed, "503 redis_unavailable")
		})
	}
}
