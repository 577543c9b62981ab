package api_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// requests counts what OnRequest is told.
type requests struct{ answered atomic.Int64 }

func (r *requests) count(api.RequestInfo) { r.answered.Add(1) }

func (r *requests) await(tb testing.TB, n int64) {
	tb.Helper()
	redistest.Eventually(tb, soon, "the requests are answered", func() bool { return r.answered.Load() == n })
}

// TestUnsentBodiesKeepNobodyOut lets strangers announce bodies and send none, on all connections that there may be.
func TestUnsentBodiesKeepNobodyOut(t *testing.T) {
	t.Parallel()
	const most = 60 // More than may come without a token at once: the last are refused for that.
	for name, request := range map[string]string{
		"without a key":      "POST /v1/events/global HTTP/1.1\r\n",
		"with a wrong token": "POST /v1/events/global HTTP/1.1\r\nAuthorization: Service wrong\r\n",
		"for everybody":      "GET /health/live HTTP/1.1\r\n",
		"for nothing":        "POST /nothing HTTP/1.1\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r requests
			h, tokens := startKeyedHubWith(t, map[string][]string{"bot": {"*"}}, options{api: api.Config{MaxConnections: most, OnRequest: r.count}})
			for range most {
				send(t, h.dial(t), request+"Host: 127.0.0.1\r\nContent-Length: 100\r\n\r\n")
			}
			r.await(t, most)
			alive(t, h.dial(t))
			h.publish(t, "global", `{"type":"tick"}`, "Authorization: Service "+tokens["bot"])
			if got := h.server.Connections(); got.Open != most || got.Refused != 0 {
				t.Errorf("connections %+v", got)
			}
		})
	}
}

// stuckListener accepts so many connections to which nothing can be written.
type stuckListener struct {
	net.Listener
	left           int
	writing, ended chan struct{}
}

type stuckConn struct {
	net.Conn
	writing, ended chan struct{}
}

func (l *stuckListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil || l.left == 0 {
		return conn, err
	}
	l.left--
	return stuckConn{conn, l.writing, l.ended}, nil
}

func (c stuckConn) Write([]byte) (int, error) {
	select {
	case c.writing <- struct{}{}:
	case <-c.ended:
	}
	<-c.ended
	return 0, net.ErrClosed
}

// TestUnreadAnswersKeepNobodyOut lets strangers ask for what everybody may have, and take no answer.
func TestUnreadAnswersKeepNobodyOut(t *testing.T) {
	t.Parallel()
	const most = 10
	stuck := &stuckListener{left: most, writing: make(chan struct{}), ended: make(chan struct{})}
	h, tokens := startKeyedHubWith(t, map[string][]string{"bot": {"*"}}, options{
		api:    api.Config{MaxConnections: most},
		listen: func(l net.Listener) net.Listener { stuck.Listener = l; return stuck },
	})
	defer close(stuck.ended)
	for range most {
		send(t, h.dial(t), "GET /openapi.yaml HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		<-stuck.writing
	}
	alive(t, h.dial(t))
	h.publish(t, "global", `{"type":"tick"}`, "Authorization: Service "+tokens["bot"])
}

// TestARefusalOfAKeyIsAnswered refuses a request with a key before its body has come: the connection stays for the answer.
func TestARefusalOfAKeyIsAnswered(t *testing.T) {
	t.Parallel()
	var r requests
	h, tokens := startKeyedHubWith(t, map[string][]string{"menus": {"menus"}}, options{api: api.Config{MaxConnections: 1, OnRequest: r.count}})
	conn := h.dial(t)
	send(t, conn, "POST /v1/events/global HTTP/1.1\r\nHost: x\r\nAuthorization: Service "+tokens["menus"]+"\r\nContent-Length: 15\r\n\r\n")
	r.await(t, 1)
	closedBy(t, h.dial(t))
	send(t, conn, `{"type":"tick"}`)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("the answer is %s, %v", resp.Status, err)
	}
	alive(t, conn)
}

// lateListener accepts a first connection over which a request has come that the server has not seen yet.
type lateListener struct {
	net.Listener
	accepted atomic.Bool
	first    *lateConn
}

type lateConn struct {
	net.Conn
	came, seen chan struct{}
	closes     atomic.Int64
}

func (l *lateListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil || l.accepted.Swap(true) {
		return conn, err
	}
	l.first.Conn = conn
	return l.first, nil
}

func (c *lateConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 1 { // A single byte is what package http reads ahead.
		c.came <- struct{}{}
		<-c.seen
	}
	return n, err
}

func (c *lateConn) Close() error {
	c.closes.Add(1)
	return c.Conn.Close()
}

// TestWhatIsClosedIsNotDone closes a connection for another while its request is on the way to the server.
func TestWhatIsClosedIsNotDone(t *testing.T) {
	t.Parallel()
	for _, keyed := range []bool{false, true} {
		late := &lateListener{first: &lateConn{came: make(chan struct{}), seen: make(chan struct{})}}
		o := options{api: api.Config{MaxConnections: 1}, listen: func(l net.Listener) net.Listener { late.Listener = l; return late }}
		var h *hub
		auth := ""
		if keyed {
			var tokens map[string]string
			h, tokens = startKeyedHubWith(t, map[string][]string{"bot": {"*"}}, o)
			auth = "Authorization: Service " + tokens["bot"] + "\r\n"
		} else {
			h = startHub(t, o)
		}
		body := `{"type":"tick"}`
		conn := h.dial(t)
		send(t, conn, "POST /v1/events/global HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"+auth+"Content-Length: 15\r\n\r\n"+body)
		<-late.first.came
		alive(t, h.dial(t))
		if rest := closedBy(t, conn); rest != "" {
			t.Errorf("the hub said %q", rest)
		}
		close(late.first.seen)
		redistest.Eventually(t, soon, "the server is done with it", func() bool { return late.first.closes.Load() == 2 })
		if n := h.logLength(t, "global"); n != 0 {
			t.Errorf("with keys %t: what nobody got an answer to was done", keyed)
		}
		if got := h.server.Connections(); got.ClosedIdle != 1 || got.Refused != 0 {
			t.Errorf("connections %+v", got)
		}
	}
}

// failingListener fails once, as when there are too many open files.
type failingListener struct {
	net.Listener
	failed bool
}

func (l *failingListener) Accept() (net.Conn, error) {
	if !l.failed {
		l.failed = true
		return nil, filesError{}
	}
	return l.Listener.Accept()
}

type filesError struct{}

func (filesError) Error() string   { return "too many open files" }
func (filesError) Timeout() bool   { return false }
func (filesError) Temporary() bool { return true }

// TestFailureToAcceptIsTold checks that the log tells when no connections can be accepted.
func TestFailureToAcceptIsTold(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{listen: func(l net.Listener) net.Listener { return &failingListener{Listener: l} }})
	h.get(t, "/health/live").is(t, 200, "application/health+json")
	for _, entry := range h.logs.All() {
		if text, _ := entry.ContextMap()["report"].(string); strings.Contains(text, "too many open files") {
			if entry.Level.String() != "warn" {
				t.Errorf("it is told at level %s", entry.Level)
			}
			return
		}
	}
	t.Error("the log does not tell of it")
}
