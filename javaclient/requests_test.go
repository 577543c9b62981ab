package javaclient_test

import (
	"io"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/connectbot-hub/connecthub/javaclient"
)

const secret = "s3cret"

func TestNewChecksWithoutRepeating(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cfg  javaclient.Config
		want string // in the error; empty: no error
	}{
		"nothing":          {javaclient.Config{}, ""},
		"with a path":      {javaclient.Config{URL: "https://host/java/", Token: "t"}, ""},
		"with a user":      {javaclient.Config{URL: "https://user:" + secret + "@host"}, ""},
		"only a timeout":   {javaclient.Config{Timeout: time.Minute}, ""},
		"other scheme":     {javaclient.Config{URL: "ftp://user:" + secret + "@host"}, "http://"},
		"no host":          {javaclient.Config{URL: "http:///" + secret}, "with a host"},
		"unreadable":       {javaclient.Config{URL: "http://user:" + secret + "%zz@host"}, "http://"},
		"query":            {javaclient.Config{URL: "http://host/?" + secret}, "no query"},
		"fragment":         {javaclient.Config{URL: "http://host/#" + secret}, "no query"},
		"token":            {javaclient.Config{Token: secret + "\n"}, "token"},
		"timeout":          {javaclient.Config{Timeout: -1}, "timeout"},
		"total below one":  {javaclient.Config{Timeout: time.Second, TotalTimeout: time.Millisecond}, "total timeout"},
		"open for nothing": {javaclient.Config{OpenFor: -1}, "OpenFor"},
		"nobody":           {javaclient.Config{Concurrency: -1}, "Concurrency"},
		"queue":            {javaclient.Config{QueueFor: -1}, "QueueFor"},
		"answer":           {javaclient.Config{MaxAnswer: -1}, "MaxAnswer"},
		"largest answer":   {javaclient.Config{MaxAnswer: 1 << 30}, ""},
		"larger answer":    {javaclient.Config{MaxAnswer: 1<<30 + 1}, "MaxAnswer"},
		"endless answer":   {javaclient.Config{MaxAnswer: math.MaxInt64}, "MaxAnswer"},
		"last port":        {javaclient.Config{URL: "http://host:65535"}, ""},
		"no port":          {javaclient.Config{URL: "http://[::1]:/"}, ""},
		"port 0":           {javaclient.Config{URL: "http://user:" + secret + "@host:0"}, "port"},
		"port too large":   {javaclient.Config{URL: "http://user:" + secret + "@host:65536"}, "port"},
		"endless port":     {javaclient.Config{URL: "http://user:" + secret + "@host:99999999999999999999"}, "port"},
		"user and token":   {javaclient.Config{URL: "http://user:" + secret + "@host", Token: secret}, "no user"},
		"name and token":   {javaclient.Config{URL: "http://" + secret + "@host", Token: "t"}, "no user"},
	} {
		client, err := javaclient.New(test.cfg)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), secret)):
			t.Errorf("%s: %v", name, err)
		}
		if client != nil {
			client.Close()
			client.Close()
		}
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	type request struct {
		method, uri, body string
		header            http.Header
		length            int64
	}
	var got atomic.Pointer[request]
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got.Store(&request{r.Method, r.RequestURI, string(body), r.Header, r.ContentLength})
		answer(200, `{"pairs":[],"teams":[],"matches":[],"algorithms":[],"status":"OK"}`)(w, r)
	})
	cfg := patient(server.URL + "/java/")
	cfg.Token = secret
	client := newClient(t, cfg)
	call := javaclient.Call{
		RequestID: "r-1", Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Tracestate: "a=1, b=2",
	}
	no := false
	people := []javaclient.Employee{
		{ID: 1, DisplayName: "Ann", Department: "7", Other: jsontext.Value(`{"position_level":3}`)},
		{ID: 2, Active: &no, Preferences: &javaclient.Preferences{WithNewcomers: true}},
	}
	const sent = `[{"id":1,"displayName":"Ann","department":"7","activeEmployee":true,"position_level":3},` +
		`{"id":2,"activeEmployee":false,"preferences":{"with_newcomers":true}}]`
	ctx := t.Context()
	for _, test := range []struct {
		name, method, uri, body string
		ask                     func() error
	}{
		{"simple", "POST", "/java/api/matching/coffee/simple", sent, func() error {
			_, err := client.Simple(ctx, call, people)
			return err
		}},
		{"nobody", "POST", "/java/api/matching/coffee/simple", `[]`, func() error {
			_, err := client.Simple(ctx, call, nil)
			return err
		}},
		{"interest", "POST", "/java/api/matching/coffee/interest?interest=go+%26+tea", sent, func() error {
			_, err := client.Interest(ctx, call, "go & tea", people)
			return err
		}},
		{
			"coffee", "POST", "/java/api/v1/matching/match/secret-coffee",
			`{"requestId":"q","algorithmParams":{"seed":1},"employees":` + sent + `}`, func() error {
				_, err := client.SecretCoffee(ctx, call, javaclient.SecretCoffee{
					RequestID: "q", Params: jsontext.Value(`{"seed":1}`), Employees: people,
				})
				return err
			},
		},
		{"coffee for nobody", "POST", "/java/api/v1/matching/match/secret-coffee", `{"employees":[]}`, func() error {
			_, err := client.SecretCoffee(ctx, call, javaclient.SecretCoffee{})
			return err
		}},
		{
			"from api", "POST", "/java/api/v1/matching/match/secret-coffee/from-api",
			`{"algorithm_type":"X","department_ids":[1]}`, func() error {
				_, err := client.FromAPI(ctx, call, javaclient.FromAPI{Algorithm: "X", Other: jsontext.Value(`{"department_ids":[1]}`)})
				return err
			},
		},
		{
			"tournament", "POST", "/java/api/matching/tournament/bracket",
			`{"participants":[{"id":1,"rating":1.5}],"game_type":"chess"}`, func() error {
				_, err := client.Tournament(ctx, call, javaclient.Tournament{
					GameType: "chess", Players: []javaclient.Player{{ID: 1, Rating: 1.5}},
				})
				return err
			},
		},
		{
			"teams", "POST", "/java/api/matching/teams/generate",
			`{"participants":[{"id":1,"skills":["go"]}],"team_size":3}`, func() error {
				_, err := client.Teams(ctx, call, javaclient.Teams{Size: 3, Members: []javaclient.Member{{ID: 1, Skills: []string{"go"}}}})
				return err
			},
		},
		{"algorithms", "GET", "/java/api/matching/algorithms", "", func() error {
			_, err := client.Algorithms(ctx, call)
			return err
		}},
	} {
		if err := test.ask(); err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		r := got.Load()
		if r.method != test.method || r.uri != test.uri || r.body != test.body || r.length != int64(len(test.body)) {
			t.Errorf("%s: %s %s, %d bytes\n%s", test.name, r.method, r.uri, r.length, r.body)
		}
		want := map[string]string{
			"Accept": "application/json", "User-Agent": "connecthub", "Authorization": "Service " + secret, "X-Request-Id": "r-1",
			"Traceparent": call.Traceparent, "Tracestate": call.Tracestate, "Content-Type": "application/json",
			"Idempotency-Key": "", "X-Idempotency-Key": "", // With these, net/http would send a POST twice.
		}
		if test.body == "" {
			want["Content-Type"] = ""
		}
		for name, value := range want {
			if r.header.Get(name) != value {
				t.Errorf("%s: %s: %q", test.name, name, r.header.Get(name))
			}
		}
	}
	if people[0].Active != nil || people[1].Active != &no {
		t.Error("the caller's employees have changed")
	}
	if err := client.Health(ctx); err != nil || got.Load().uri != "/java/api/v1/matching/health" {
		t.Errorf("%v, %s", err, got.Load().uri)
	}
	_ = client.Actuator(ctx)
	if got.Load().uri != "/java/actuator/health" {
		t.Errorf("%s", got.Load().uri)
	}
}

// A user in the address is who the hub is.
func TestUserOfTheAddress(t *testing.T) {
	t.Parallel()
	var got atomic.Pointer[http.Request]
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got.Store(r)
		answer(200, somePair)(w, r)
	})
	client := newClient(t, patient(strings.Replace(server.URL, "http://", "http://user:"+secret+"@", 1)))
	if err := post(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	if user, password, ok := got.Load().BasicAuth(); !ok || user != "user" || password != secret {
		t.Errorf("%q, %q", user, password)
	}
}

func TestHeadersThatAreNotFit(t *testing.T) {
	t.Parallel()
	var got atomic.Pointer[http.Header]
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got.Store(&r.Header)
		answer(200, algorithms)(w, r)
	})
	client := newClient(t, patient(server.URL))
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	good := "00-" + trace + "-" + parent + "-00"
	for _, test := range []struct {
		call                 javaclient.Call
		id, parent, sentElse bool
	}{
		{javaclient.Call{}, false, false, false},
		{javaclient.Call{RequestID: "a b"}, false, false, false},
		{javaclient.Call{RequestID: "a\r\nX: y"}, false, false, false},
		{javaclient.Call{RequestID: "я"}, false, false, false},
		{javaclient.Call{RequestID: strings.Repeat("x", 257)}, false, false, false},
		{javaclient.Call{RequestID: strings.Repeat("x", 256)}, true, false, false},
		{javaclient.Call{Tracestate: "a=1"}, false, false, false},
		{javaclient.Call{Traceparent: good, Tracestate: "a=1"}, false, true, true},
		{javaclient.Call{Traceparent: good, Tracestate: "a=1\n"}, false, true, false},
		{javaclient.Call{Traceparent: good, Tracestate: strings.Repeat("x", 513)}, false, true, false},
		{javaclient.Call{Traceparent: good + "-x"}, false, false, false},
		{javaclient.Call{Traceparent: "01" + good[2:] + "-x"}, false, true, false},
		{javaclient.Call{Traceparent: "01" + good[2:] + "x"}, false, false, false},
		{javaclient.Call{Traceparent: "01" + good[2:] + "-\n"}, false, false, false},
		{javaclient.Call{Traceparent: "ff" + good[2:]}, false, false, false},
		{javaclient.Call{Traceparent: strings.ToUpper(good)}, false, false, false},
		{javaclient.Call{Traceparent: "00-" + strings.Repeat("0", 32) + "-" + parent + "-00"}, false, false, false},
		{javaclient.Call{Traceparent: "00-" + trace + "-" + strings.Repeat("0", 16) + "-00"}, false, false, false},
		{javaclient.Call{Traceparent: strings.Replace(good, "-", "_", 1)}, false, false, false},
		{javaclient.Call{Traceparent: good[:54]}, false, false, false},
	} {
		if _, err := client.Algorithms(t.Context(), test.call); err != nil {
			t.Errorf("%q: %v", test.call, err)
		}
		header := *got.Load()
		for name, want := range map[string]bool{"X-Request-Id": test.id, "Traceparent": test.parent, "Tracestate": test.sentElse} {
			if (header[name] != nil) != want {
				t.Errorf("%q: %s: %q", test.call, name, header[name])
			}
		}
	}
}

func TestRequestsThatAreNoJSON(t *testing.T) {
	t.Parallel()
	server := serve(t, answer(200, somePair))
	client := newClient(t, patient(server.URL))
	for _, other := range []string{`{"id":2}`, `{"a":"` + secret, `[]`, `{"displayName":"` + secret + `"}`} {
		_, err := client.Simple(t.Context(), javaclient.Call{}, []javaclient.Employee{
			{ID: 1, DisplayName: secret, Other: jsontext.Value(other)},
		})
		failed := failureOf(t, err)
		if failed.Code != javaclient.CodeRefused || failed.Status != 0 || !failed.NotSent || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %+v", other, failed)
		}
	}
	_, err := client.Simple(t.Context(), javaclient.Call{}, []javaclient.Employee{{ID: 1, DisplayName: "\xff"}})
	if err != nil || server.hits.Load() != 1 {
		t.Errorf("%v, %d requests", err, server.hits.Load())
	}
}
