package javaclient_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/connectbot-hub/connecthub/javaclient"
)

// Connections are used again, whatever the service answers, as long as HTTP lets it: after an answer that is cut off or
// that goes on for very long there is no using them.
func TestConnectionsAreUsedAgain(t *testing.T) {
	t.Parallel()
	const limit = 4096
	page := "<html>" + strings.Repeat("x", limit/2)
	for name, handler := range map[string]http.HandlerFunc{
		"well":         answer(200, somePair),
		"400":          answer(400, page),
		"404":          answer(404, ""),
		"500":          answer(500, page),
		"500 endless":  answer(500, strings.Repeat("x", 10*limit)),
		"302":          answer(302, page),
		"204":          answer(204, ""),
		"HTML":         answer(200, page),
		"cut JSON":     answer(200, somePair[:20]),
		"large":        answer(200, strings.Repeat("x", 10*limit)),
		"large chunks": chunks(strings.Repeat("x", limit), 10),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, handler)
			cfg := patient(server.URL)
			cfg.MaxAnswer = limit
			for _, call := range []func(context.Context, *javaclient.Client) error{post, get} {
				before := server.conns.Load()
				for range 3 { // The breaker would end a longer row.
					client := newClient(t, cfg)
					for range 3 {
						_ = call(t.Context(), client)
					}
				}
				if n := server.conns.Load() - before; n != 3 {
					t.Errorf("%d connections for 3 clients", n)
				}
			}
			if server.hits.Load() < 18 {
				t.Errorf("%d requests", server.hits.Load())
			}
		})
	}
}

func chunks(chunk string, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for range n {
			_, _ = io.WriteString(w, chunk)
			_ = http.NewResponseController(w).Flush()
		}
	}
}

// A connection for each call that is under way, and no more.
func TestConnectionsUnderLoad(t *testing.T) {
	t.Parallel()
	const callers, each = 16, 50
	server := serve(t, answer(400, "no"))
	client := newClient(t, patient(server.URL))
	var calls sync.WaitGroup
	ctx := t.Context()
	for range callers {
		calls.Go(func() {
			for range each {
				if err := post(ctx, client); codeOf(t, err) != javaclient.CodeRefused {
					t.Error(err)
				}
			}
		})
	}
	calls.Wait()
	// net/http may dial for a call that another connection then becomes free for.
	if n := server.conns.Load(); n > 2*callers {
		t.Errorf("%d connections for %d calls", n, callers*each)
	}
}

// A cut answer costs its connection, and no other.
func TestConnectionsAfterCutAnswers(t *testing.T) {
	t.Parallel()
	cut := raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
	well := answer(200, somePair)
	server := serve(t, inTurn(well, cut, well, well, cut, well, well))
	client := newClient(t, patient(server.URL))
	for range 7 {
		_ = post(t.Context(), client)
	}
	if server.conns.Load() != 3 || server.hits.Load() != 7 {
		t.Errorf("%d connections for %d requests", server.conns.Load(), server.hits.Load())
	}
}

func TestNoRedirectIsFollowed(t *testing.T) {
	t.Parallel()
	other := serve(t, answer(200, somePair))
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, status) })
		client := newClient(t, patient(server.URL))
		for _, call := range []func(context.Context, *javaclient.Client) error{post, get} {
			if err := call(t.Context(), client); codeOf(t, err) != javaclient.CodeRedirected {
				t.Errorf("%d: %v", status, err)
			}
		}
	}
	if other.hits.Load() != 0 {
		t.Error("a redirect was followed")
	}
}
