package javaclient_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/connectbot-hub/connecthub/javaclient"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// longEnough bounds what should come about at once, on a machine that is busy with other tests.
const longEnough = 20 * time.Second

// patient is a configuration in which nothing ends before its time on a machine that is busy.
func patient(url string) javaclient.Config {
	return javaclient.Config{URL: url, Timeout: longEnough, TotalTimeout: 2 * longEnough, HedgeAfter: -1, QueueFor: longEnough}
}

func newClient(tb testing.TB, cfg javaclient.Config) *javaclient.Client {
	tb.Helper()
	client, err := javaclient.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(client.Close)
	return client
}

// service is a stand-in for the Java service.
type service struct {
	*httptest.Server
	// hits are the requests, and conns the connections, that came in.
	hits, conns atomic.Int64
}

// serve runs a service. It is closed after the client that newClient makes later.
func serve(tb testing.TB, handler http.HandlerFunc) *service {
	tb.Helper()
	s := &service{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hits.Add(1)
		handler(w, r)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.conns.Add(1)
		}
	}
	s.Start()
	tb.Cleanup(s.Close)
	return s
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// raw answers with these bytes and ends the connection.
func raw(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // Else the end would be a reset.
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, answer)
		_ = conn.Close()
	}
}

// reset ends the connection without a word, as a service does that is killed.
func reset(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // Else the client may be told while it writes, in other words.
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// hang answers nothing until the caller has gone.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // Only then is a leaving caller noticed.
	<-r.Context().Done()
}

// inTurn lets each request be answered by the next handler, and the last one answer all others.
func inTurn(handlers ...http.HandlerFunc) http.HandlerFunc {
	var next atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		handlers[min(next.Add(1), int64(len(handlers)))-1](w, r)
	}
}

// signal returns a channel and what closes it, which may be called twice: a test that fails must not leave a service waiting.
func signal() (signalled <-chan struct{}, give func()) {
	channel := make(chan struct{})
	give = sync.OnceFunc(func() { close(channel) })
	return channel, give
}

const (
	somePair   = `{"pairs":[{"employee1_id":1,"employee2_id":2}]}`
	algorithms = `{"algorithms":["SIMPLE_RANDOM","INTEREST_BASED"],"total":2}`
)

// post makes the simplest POST.
func post(ctx context.Context, c *javaclient.Client) error {
	_, err := c.Simple(ctx, javaclient.Call{}, []javaclient.Employee{{ID: 1}, {ID: 2}})
	return err
}

// get makes the simplest GET.
func get(ctx context.Context, c *javaclient.Client) error {
	_, err := c.Algorithms(ctx, javaclient.Call{})
	return err
}

// codeOf returns the code of an error, and fails the test if it is none of a client.
func codeOf(tb testing.TB, err error) javaclient.Code {
	tb.Helper()
	return failureOf(tb, err).Code
}

func failureOf(tb testing.TB, err error) *javaclient.Error {
	tb.Helper()
	var failed *javaclient.Error
	switch {
	case err == nil:
		return &javaclient.Error{}
	case !errors.As(err, &failed):
		tb.Errorf("%T %v", err, err)
		return &javaclient.Error{}
	}
	return failed
}

// refusedAddress returns an address at which nobody listens.
func refusedAddress(tb testing.TB) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}
