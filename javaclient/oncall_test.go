package javaclient_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/javaclient"
)

// told keeps what OnCall is told.
type told struct {
	mu    sync.Mutex
	calls []string
	took  []time.Duration
}

func (o *told) note(call javaclient.CallName, ok bool, took time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	outcome := " failed"
	if ok {
		outcome = " ok"
	}
	o.calls, o.took = append(o.calls, string(call)+outcome), append(o.took, took)
}

func (o *told) all() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.calls)
}

// Every call has a name in numbers, but those to the service's health have none.
func TestOnCallNames(t *testing.T) {
	t.Parallel()
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/algorithms"):
			answer(200, algorithms)(w, r)
		case strings.HasSuffix(r.URL.Path, "/bracket"), strings.HasSuffix(r.URL.Path, "/generate"):
			answer(404, `{"status":404}`)(w, r)
		default:
			answer(200, somePair)(w, r)
		}
	})
	var calls told
	cfg := patient(server.URL)
	cfg.OnCall = calls.note
	client := newClient(t, cfg)
	ctx, people := t.Context(), []javaclient.Employee{{ID: 1}, {ID: 2}}
	_, _ = client.Simple(ctx, javaclient.Call{}, people)
	_, _ = client.Interest(ctx, javaclient.Call{}, "chess", people)
	_, _ = client.SecretCoffee(ctx, javaclient.Call{}, javaclient.SecretCoffee{Employees: people})
	_, _ = client.FromAPI(ctx, javaclient.Call{}, javaclient.FromAPI{})
	_, _ = client.Tournament(ctx, javaclient.Call{}, javaclient.Tournament{})
	_, _ = client.Teams(ctx, javaclient.Call{}, javaclient.Teams{})
	_, _ = client.Algorithms(ctx, javaclient.Call{})
	_, _ = client.Health(ctx), client.Actuator(ctx)
	want := []string{
		"simple ok", "interest ok", "secret_coffee ok", "from_api ok", "tournament failed", "teams failed", "algorithms ok",
	}
	if got := calls.all(); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

// A call takes as long as its attempts, however it ends; one that the breaker refuses took none.
func TestOnCallTime(t *testing.T) {
	t.Parallel()
	server := serve(t, hang)
	var calls told
	cfg := patient(server.URL)
	cfg.OnCall, cfg.Timeout, cfg.TotalTimeout = calls.note, 20*time.Millisecond, 20*time.Millisecond
	client := newClient(t, cfg)
	for client.Breaker() != javaclient.StateOpen {
		if err := post(t.Context(), client); err == nil {
			t.Fatal("a service that hangs has answered")
		}
	}
	n := len(calls.all())
	for _, took := range calls.took {
		if took < cfg.Timeout || took > longEnough {
			t.Errorf("a call that timed out after %v took %v", cfg.Timeout, took)
		}
	}
	if code := codeOf(t, post(t.Context(), client)); code != javaclient.CodeBreakerOpen || len(calls.all()) != n || n != int(client.Stats().Calls)-1 {
		t.Errorf("after %s %d calls are told of, before it %d", code, len(calls.all()), n)
	}
}

// A call that gets no turn is not told of, and the wait for a turn is no part of the time.
func TestOnCallTurn(t *testing.T) {
	t.Parallel()
	var calls told
	release, give := signal()
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		<-release
		answer(200, somePair)(w, r)
	})
	t.Cleanup(give)
	cfg := patient(server.URL)
	cfg.OnCall, cfg.Concurrency, cfg.QueueFor = calls.note, 1, time.Millisecond
	client := newClient(t, cfg)
	var first sync.WaitGroup
	first.Go(func() { _ = post(t.Context(), client) })
	redistest.Eventually(t, longEnough, "the call is under way", func() bool { return server.hits.Load() == 1 })
	if code := codeOf(t, post(t.Context(), client)); code != javaclient.CodeBusy {
		t.Errorf("the second call gets %q", code)
	}
	left, cancel := context.WithCancel(t.Context())
	cancel()
	if code := codeOf(t, post(left, client)); code != javaclient.CodeCanceled {
		t.Errorf("who has left gets %q", code)
	}
	give()
	first.Wait()
	if got := calls.all(); !slices.Equal(got, []string{"simple ok"}) {
		t.Errorf("told %q", got)
	}
}
