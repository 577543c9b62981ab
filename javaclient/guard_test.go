package javaclient_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/javaclient"
)

func TestWhatOpensTheBreaker(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		opens   bool
	}{
		"500":         {answer(500, ""), true},
		"501":         {answer(501, ""), true},
		"502":         {answer(502, ""), true},
		"reset":       {reset, true},
		"HTML":        {answer(200, "<html>"), true},
		"no sense":    {answer(200, `{"pairs":[{"employee1_id":1,"employee2_id":1}]}`), true},
		"too large":   {answer(200, string(make([]byte, 5000))), true},
		"hangs":       {hang, true},
		"error":       {answer(200, `{"status":"error","error":"oops"}`), true},
		"well":        {answer(200, somePair), false},
		"400":         {answer(400, ""), false},
		"401":         {answer(401, ""), false},
		"404":         {answer(404, ""), false},
		"429":         {answer(429, ""), false},
		"302":         {answer(302, ""), false},
		"data source": {answer(200, `{"status":"error","error":"data_api_failed"}`), false},
		"nobody":      {answer(200, `{"status":"error","error":"no_employees_from_api"}`), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, test.handler)
			cfg := patient(server.URL)
			cfg.MaxAnswer, cfg.OpenFor = 4096, time.Hour
			if name == "hangs" {
				cfg.Timeout = 20 * time.Millisecond
			}
			client := newClient(t, cfg)
			for i := range 5 {
				if client.Breaker() != javaclient.StateClosed {
					t.Fatalf("open after %d calls", i)
				}
				_ = post(t.Context(), client)
			}
			if open := client.Breaker() == javaclient.StateOpen; open != test.opens {
				t.Fatalf("the breaker is %s", client.Breaker())
			}
			hits := server.hits.Load()
			err := failureOf(t, post(t.Context(), client))
			if open := err.Code == javaclient.CodeBreakerOpen; open != test.opens || open && (!err.NotSent || err.RetryAfter < time.Minute) {
				t.Errorf("%+v", err)
			}
			if test.opens != (server.hits.Load() == hits) {
				t.Errorf("%d requests, then %d", hits, server.hits.Load())
			}
			if s := client.Stats(); test.opens && (s.Opened != 1 || s.RejectedByBreaker != 1) {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestDataSourceDoesNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	server := serve(t, answer(502, ""))
	client := newClient(t, patient(server.URL))
	for range 20 {
		if _, err := client.FromAPI(t.Context(), javaclient.Call{}, javaclient.FromAPI{}); codeOf(t, err) != javaclient.CodeDataSource {
			t.Fatal(err)
		}
		if _, err := client.SecretCoffee(t.Context(), javaclient.Call{}, javaclient.SecretCoffee{}); codeOf(t, err) != javaclient.CodeDataSource {
			t.Fatal(err)
		}
	}
	if client.Breaker() != javaclient.StateClosed {
		t.Error("the breaker opened")
	}
}

// A caller who had waited for half of Config.Timeout has found out that the service hangs, one in a hurry has not.
func TestCallersDeadlineAndTheBreaker(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		timeout time.Duration
		want    javaclient.State
	}{{60 * time.Millisecond, javaclient.StateOpen}, {longEnough, javaclient.StateClosed}} {
		for name, call := range map[string]func(context.Context, *javaclient.Client) error{"POST": post, "GET": get} {
			server := serve(t, hang)
			cfg := patient(server.URL)
			cfg.Timeout, cfg.OpenFor, cfg.HedgeAfter = test.timeout, time.Hour, time.Millisecond
			client := newClient(t, cfg)
			for range 5 {
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				if err := failureOf(t, call(ctx, client)); err.Code != javaclient.CodeTimeout {
					t.Errorf("%s: %+v", name, err)
				}
				cancel()
			}
			if got := client.Breaker(); got != test.want {
				t.Errorf("%s of %v: %s", name, test.timeout, got)
			}
		}
	}
}

func TestHealthSeesTheTruth(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	down.Store(true)
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case down.Load():
			answer(503, "")(w, r)
		case r.URL.Path == "/api/v1/matching/health":
			answer(200, `{"status":"OK"}`)(w, r)
		default:
			answer(200, `{"status":"UP"}`)(w, r)
		}
	})
	cfg := patient(server.URL)
	cfg.OpenFor = time.Hour
	client := newClient(t, cfg)
	for range 5 {
		_ = post(t.Context(), client)
	}
	hits := server.hits.Load()
	if err := client.Health(t.Context()); codeOf(t, err) != javaclient.CodeServerError || server.hits.Load() != hits+1 {
		t.Errorf("%v, %d requests", err, server.hits.Load()-hits)
	}
	down.Store(false)
	if err := client.Health(t.Context()); err != nil {
		t.Error(err)
	}
	if err := client.Actuator(t.Context()); err != nil {
		t.Error(err)
	}
	if s := client.Stats(); client.Breaker() != javaclient.StateOpen || s.Calls != 5 {
		t.Errorf("%s, %+v", client.Breaker(), s)
	}
}

func TestBreakerClosesWhenTheServiceIsBack(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	down.Store(true)
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			answer(500, "")(w, r)
			return
		}
		answer(200, somePair)(w, r)
	})
	core, logs := observer.New(zapcore.DebugLevel)
	cfg := patient(server.URL)
	cfg.OpenFor, cfg.Logger = 20*time.Millisecond, zap.New(core)
	client := newClient(t, cfg)
	for range 5 {
		_ = post(t.Context(), client)
	}
	for i := range int64(3) { // It stays open as long as the service is down.
		redistest.Eventually(t, longEnough, "a probe", func() bool {
			_ = post(t.Context(), client)
			return server.hits.Load() > 5+i
		})
	}
	down.Store(false)
	redistest.Eventually(t, longEnough, "a closed breaker", func() bool { return post(t.Context(), client) == nil })
	if client.Breaker() != javaclient.StateClosed || client.Stats().Opened != 1 || logs.Len() != 2 {
		t.Errorf("%s, %+v, %v", client.Breaker(), client.Stats(), logs.All())
	}
}

// A service that may still be down is asked by one request at a time.
func TestProbeIsNotHedged(t *testing.T) {
	t.Parallel()
	released, release := signal()
	defer release()
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			<-released
		}
		answer(500, "")(w, r)
	})
	cfg := patient(server.URL)
	cfg.OpenFor, cfg.HedgeAfter = 20*time.Millisecond, time.Millisecond
	client := newClient(t, cfg)
	for range 5 {
		_ = post(t.Context(), client)
	}
	ended := make(chan error, 1)
	ctx := t.Context()
	redistest.Eventually(t, longEnough, "a half open breaker", func() bool { return client.Breaker() == javaclient.StateHalfOpen })
	go func() { ended <- get(ctx, client) }()
	redistest.Eventually(t, longEnough, "the probe", func() bool { return server.hits.Load() == 6 })
	for range 100 {
		if err := post(ctx, client); codeOf(t, err) != javaclient.CodeBreakerOpen {
			t.Fatal(err)
		}
	}
	release()
	if err := <-ended; codeOf(t, err) != javaclient.CodeServerError || client.Stats().Hedges != 0 {
		t.Errorf("%v, %+v", err, client.Stats())
	}
}

// An attempt after the breaker opened is none; what is told is what the service said.
func TestBreakerOpensWithinACall(t *testing.T) {
	t.Parallel()
	server := serve(t, answer(500, ""))
	cfg := patient(server.URL)
	cfg.OpenFor = time.Hour
	client := newClient(t, cfg)
	_ = get(t.Context(), client)
	if err := failureOf(t, get(t.Context(), client)); err.Code != javaclient.CodeServerError || server.hits.Load() != 5 {
		t.Errorf("%+v, %d requests", err, server.hits.Load())
	}
}

func TestBreakerAnswersAtOnce(t *testing.T) {
	t.Parallel()
	released, release := signal()
	defer release()
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			<-released
		}
		answer(500, "")(w, r)
	})
	cfg := patient(server.URL)
	cfg.OpenFor, cfg.Concurrency = time.Hour, 2
	client := newClient(t, cfg)
	ended := make(chan error, 2)
	ctx := t.Context()
	go func() { ended <- get(ctx, client) }()
	redistest.Eventually(t, longEnough, "a call under way", func() bool { return server.hits.Load() == 1 })
	for range 5 {
		_ = post(t.Context(), client)
	}
	const calls = 200
	start := time.Now()
	for range calls {
		if err := post(t.Context(), client); codeOf(t, err) != javaclient.CodeBreakerOpen {
			t.Fatal(err)
		}
	}
	if each := time.Since(start) / calls; each > 5*time.Millisecond {
		t.Errorf("%v a call", each)
	}
	release()
	if err := <-ended; codeOf(t, err) != javaclient.CodeServerError {
		t.Error(err)
	}
}

func TestBulkhead(t *testing.T) {
	t.Parallel()
	const concurrency = 3
	var underWay, most atomic.Int64
	released, release := signal()
	defer release()
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), underWay.Add(1)))
		defer underWay.Add(-1)
		<-released
		answer(200, somePair)(w, r)
	})
	cfg := patient(server.URL)
	cfg.Concurrency, cfg.QueueFor = concurrency, 30*time.Millisecond
	client := newClient(t, cfg)
	var calls sync.WaitGroup
	ctx := t.Context()
	for range concurrency {
		calls.Go(func() {
			if err := post(ctx, client); err != nil {
				t.Error(err)
			}
		})
	}
	redistest.Eventually(t, longEnough, "calls", func() bool { return underWay.Load() == concurrency })
	if err := failureOf(t, post(ctx, client)); err.Code != javaclient.CodeBusy || !err.NotSent {
		t.Errorf("%+v", err)
	}
	hurried, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if err := failureOf(t, post(hurried, client)); err.Code != javaclient.CodeTimeout || !err.NotSent {
		t.Errorf("%+v", err)
	}
	left, cancel := context.WithCancel(ctx)
	cancel()
	if err := failureOf(t, post(left, client)); err.Code != javaclient.CodeCanceled || !err.NotSent {
		t.Errorf("%+v", err)
	}
	release()
	calls.Wait()
	if err := post(ctx, client); err != nil || most.Load() != concurrency {
		t.Errorf("%v, %d at the same time", err, most.Load())
	}
	if s := client.Stats(); s.RejectedByBulkhead != 1 || s.Calls != concurrency+4 {
		t.Errorf("%+v", s)
	}
}

// Waiting for a turn is part of the time of a call, and those who wait get their turn.
func TestBulkheadAndTime(t *testing.T) {
	t.Parallel()
	var hung atomic.Bool
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			hung.Store(true)
			hang(w, r)
			return
		}
		answer(200, somePair)(w, r)
	})
	cfg := patient(server.URL)
	cfg.Concurrency, cfg.Timeout, cfg.TotalTimeout = 1, 150*time.Millisecond, 150*time.Millisecond
	client := newClient(t, cfg)
	ended := make(chan error, 1)
	ctx := t.Context()
	go func() { ended <- get(ctx, client) }()
	redistest.Eventually(t, longEnough, "a call under way", hung.Load)
	redistest.Eventually(t, longEnough, "a turn", func() bool {
		err := post(ctx, client)
		if code := codeOf(t, err); err != nil && code != javaclient.CodeTimeout {
			t.Fatal(err)
		}
		return err == nil
	})
	if err := <-ended; codeOf(t, err) != javaclient.CodeTimeout {
		t.Error(err)
	}
}

func TestManyAtATime(t *testing.T) {
	t.Parallel()
	server := serve(t, inTurn(answer(200, somePair), answer(500, ""), answer(200, somePair), reset, answer(200, somePair)))
	cfg := patient(server.URL)
	cfg.Concurrency, cfg.HedgeAfter = 4, time.Millisecond
	client := newClient(t, cfg)
	var calls sync.WaitGroup
	ctx := t.Context()
	const each, all = 20, 16
	for i := range all {
		calls.Go(func() {
			for range each {
				_ = [...]func(context.Context, *javaclient.Client) error{post, get}[i%2](ctx, client)
				_, _ = client.Stats(), client.Breaker()
			}
		})
	}
	calls.Wait()
	if s := client.Stats(); s.Calls != each*all {
		t.Errorf("%+v", s)
	}
}
