package javaclient_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
	"github.com/connectbot-hub/connecthub/javaclient"
)

func TestPostIsSentOnce(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		timeout time.Duration
		code    javaclient.Code
		status  int
	}{
		"500":               {answer(500, `{"error":"Internal Server Error"}`), 0, javaclient.CodeServerError, 500},
		"503":               {answer(503, ""), 0, javaclient.CodeServerError, 503},
		"429":               {answer(429, ""), 0, javaclient.CodeOverloaded, 429},
		"reset":             {reset, 0, javaclient.CodeConnectionLost, 0},
		"no answer":         {raw(""), 0, javaclient.CodeConnectionLost, 0},
		"half a header":     {raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n"), 0, javaclient.CodeConnectionLost, 0},
		"no HTTP":           {raw("220 smtp ready\r\n"), 0, javaclient.CodeMalformed, 0},
		"endless headers":   {raw("HTTP/1.1 200 OK\r\nX: " + string(make([]byte, 1<<20))), 0, javaclient.CodeTooLarge, 0},
		"cut body":          {raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"pairs\""), 0, javaclient.CodeMalformed, 200},
		"cut chunk":         {raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{\"pai"), 0, javaclient.CodeMalformed, 200},
		"cut JSON":          {answer(200, `{"pairs":[`), 0, javaclient.CodeMalformed, 200},
		"cut 500":           {raw("HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\n{"), 0, javaclient.CodeServerError, 500},
		"HTML":              {answer(200, `<html><body>Sign in</body></html>`), 0, javaclient.CodeMalformed, 200},
		"switching":         {raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), 0, javaclient.CodeMalformed, 101},
		"hangs":             {hang, 50 * time.Millisecond, javaclient.CodeTimeout, 0},
		"hangs in the body": {hangInBody, 50 * time.Millisecond, javaclient.CodeTimeout, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, test.handler)
			cfg := patient(server.URL)
			if test.timeout != 0 {
				cfg.Timeout = test.timeout
			}
			client := newClient(t, cfg)
			err := failureOf(t, post(t.Context(), client))
			if err.Code != test.code || err.Status != test.status || err.NotSent || server.hits.Load() != 1 {
				t.Errorf("%+v, %d requests", err, server.hits.Load())
			}
			if s := client.Stats(); s.Calls != 1 || s.Failures[test.code] != 1 || s.Retries != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func hangInBody(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, `{"pairs":[`)
	_ = http.NewResponseController(w).Flush()
	hang(w, r)
}

// connections is a server that treats each connection as it likes.
type connections struct {
	net.Listener
	done chan struct{}
}

func listen(t *testing.T, address string, handle func(net.Conn)) *connections {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c := &connections{listener, make(chan struct{})}
	go func() {
		defer close(c.done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			handle(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(c.close)
	return c
}

func (c *connections) close() {
	_ = c.Close()
	<-c.done
}

// take reads a request and answers it, if there is an answer.
func take(conn net.Conn, answer string) error {
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, req.Body)
	if answer != "" {
		_, err = io.WriteString(conn, answer)
	}
	return err
}

const keptAlive = "HTTP/1.1 200 OK\r\nContent-Length: 47\r\n\r\n" + somePair

// net/http sends requests again that it finds safe to be repeated. A POST must not be among them.
func TestPostOnAConnectionThatIsClosedAfterItWasRead(t *testing.T) {
	t.Parallel()
	var requests, conns atomic.Int64
	server := listen(t, "127.0.0.1:0", func(conn net.Conn) {
		conns.Add(1)
		for _, reply := range []string{keptAlive, ""} {
			if take(conn, reply) == nil {
				requests.Add(1)
			}
		}
	})
	client := newClient(t, patient("http://"+server.Addr().String()))
	if err := post(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	err := failureOf(t, post(t.Context(), client))
	if err.Code != javaclient.CodeConnectionLost || err.NotSent || requests.Load() != 2 || conns.Load() != 1 {
		t.Errorf("%+v, %d requests on %d connections", err, requests.Load(), conns.Load())
	}
}

func TestPostAfterItsConnectionWasClosedIdle(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	server := listen(t, "127.0.0.1:0", func(conn net.Conn) {
		if take(conn, keptAlive) == nil {
			requests.Add(1)
		}
	})
	client := newClient(t, patient("http://"+server.Addr().String()))
	const calls = 5
	for range calls {
		if err := post(t.Context(), client); err != nil {
			// The end of the connection and the call met. What was certainly not sent comes again, and else it is said.
			if failed := failureOf(t, err); failed.NotSent || failed.Code != javaclient.CodeConnectionLost {
				t.Errorf("%+v", err)
			}
		}
	}
	if n := requests.Load(); n > calls {
		t.Errorf("%d requests", n)
	}
	if err := post(t.Context(), client); err != nil && codeOf(t, err) != javaclient.CodeConnectionLost {
		t.Error(err)
	}
}

// A service that was restarted has left connections behind that are closed.
func TestPostWhenTheServiceWentAway(t *testing.T) {
	t.Parallel()
	server := serve(t, answer(200, somePair))
	client := newClient(t, patient(server.URL))
	if err := post(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	server.Close()
	err := failureOf(t, post(t.Context(), client))
	if err.Code == javaclient.CodeConnectionLost && !err.NotSent { // The end of the connection and the call met.
		err = failureOf(t, post(t.Context(), client))
	}
	if err.Code != javaclient.CodeUnreachable || !err.NotSent || client.Stats().Retries != 2 {
		t.Errorf("%+v, %+v", err, client.Stats())
	}
}

func TestPostIsSentAgainWhenNothingWasSent(t *testing.T) {
	t.Parallel()
	server := serve(t, answer(200, somePair))
	refused := refusedAddress(t)
	for _, refusals := range []int64{1, 2, 3} {
		client := newClient(t, patient(server.URL))
		var dials atomic.Int64
		client.Dial(func(ctx context.Context, network, address string) (net.Conn, error) {
			if dials.Add(1) <= refusals {
				address = refused
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		})
		before := server.hits.Load()
		err := failureOf(t, post(t.Context(), client))
		requests, retries := server.hits.Load()-before, client.Stats().Retries
		if refusals < 3 && (err.Code != "" || requests != 1 || retries != refusals) {
			t.Errorf("%d refusals: %+v, %d requests, %d retries", refusals, err, requests, retries)
		}
		if refusals == 3 && (err.Code != javaclient.CodeUnreachable || !err.NotSent || requests != 0 || retries != 2) {
			t.Errorf("%d refusals: %+v, %d requests, %d retries", refusals, err, requests, retries)
		}
	}
}

// Once a POST was sent it is not sent again, whatever becomes of the connections.
func TestPostIsNotSentAgainAfterARefusal(t *testing.T) {
	t.Parallel()
	server := serve(t, reset)
	refused := refusedAddress(t)
	client := newClient(t, patient(server.URL))
	var dials atomic.Int64
	client.Dial(func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials.Add(1) == 1 {
			address = refused
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	})
	err := failureOf(t, post(t.Context(), client))
	if err.Code != javaclient.CodeConnectionLost || err.NotSent || server.hits.Load() != 1 || dials.Load() != 2 {
		t.Errorf("%+v, %d requests, %d connections", err, server.hits.Load(), dials.Load())
	}
}

// stale is a connection that, once broken, takes nothing more, of which nobody has been told.
type stale struct {
	net.Conn
	broken *atomic.Bool
}

func (c stale) Write(b []byte) (int, error) {
	if c.broken.Load() {
		return 0, syscall.EPIPE
	}
	return c.Conn.Write(b)
}

// On a connection that has gone stale nothing is sent, so that the POST goes to another one, and is certainly not sent when
// there is none.
func TestPostOnAStaleConnection(t *testing.T) {
	t.Parallel()
	server := serve(t, answer(200, somePair))
	refused := refusedAddress(t)
	for _, up := range []bool{true, false} {
		client := newClient(t, patient(server.URL))
		var broken atomic.Bool
		client.Dial(func(ctx context.Context, network, address string) (net.Conn, error) {
			if !up && broken.Load() {
				address = refused
			}
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil || broken.Load() {
				return conn, err
			}
			return stale{conn, &broken}, nil
		})
		if err := post(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		broken.Store(true)
		before := server.hits.Load()
		err := failureOf(t, post(t.Context(), client))
		requests := server.hits.Load() - before
		if up && (err.Code != "" || requests != 1) || !up && (err.Code != javaclient.CodeUnreachable || !err.NotSent || requests != 0) {
			t.Errorf("up: %v: %+v, %d requests", up, err, requests)
		}
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	plain := serve(t, answer(200, somePair))
	for name, url := range map[string]string{
		"refused": "http://" + refusedAddress(t),
		"no name": "http://no-such-host.invalid",
		"no TLS":  "https://" + plain.Listener.Addr().String(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, patient(url))
			for _, call := range []func(context.Context, *javaclient.Client) error{post, get} {
				err := failureOf(t, call(t.Context(), client))
				if err.Code != javaclient.CodeUnreachable || !err.NotSent || err.Err == nil {
					t.Errorf("%+v", err)
				}
			}
		})
	}
	if plain.hits.Load() != 0 {
		t.Error("a request came in")
	}
}

func TestCallersContext(t *testing.T) {
	t.Parallel()
	server := serve(t, hang)
	client := newClient(t, patient(server.URL))
	for name, call := range map[string]func(context.Context, *javaclient.Client) error{"POST": post, "GET": get} {
		ctx, cancel := context.WithCancel(t.Context())
		before := server.hits.Load()
		ended := make(chan error, 1)
		go func() { ended <- call(ctx, client) }()
		redistest.Eventually(t, longEnough, "the request", func() bool { return server.hits.Load() > before })
		cancel()
		err := failureOf(t, <-ended)
		if err.Code != javaclient.CodeCanceled || err.NotSent || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %+v", name, err)
		}
		if err := failureOf(t, call(ctx, client)); err.Code != javaclient.CodeCanceled || !err.NotSent {
			t.Errorf("%s, with a context that is done: %+v", name, err)
		}

		ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
		err = failureOf(t, call(ctx, client))
		cancel()
		if err.Code != javaclient.CodeTimeout || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %+v", name, err)
		}
	}
	if client.Breaker() != javaclient.StateClosed {
		t.Error("callers in a hurry opened the breaker")
	}
}
