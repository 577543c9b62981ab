package api_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/contracttest"
)

// raw is a transport that sends these bytes, whatever the request, and says that no more will follow if cut is set.
type raw struct {
	tb    testing.TB
	bytes string
	cut   bool
}

func (r raw) RoundTrip(req *http.Request) (*http.Response, error) {
	conn, err := new(net.Dialer).DialContext(req.Context(), "tcp", req.URL.Host)
	if err != nil {
		return nil, err
	}
	r.tb.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(soon)); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, r.bytes); err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok && r.cut {
		if err := tcp.CloseWrite(); err != nil {
			return nil, err
		}
	}
	return http.ReadResponse(bufio.NewReader(conn), req)
}

// TestCutBody sends less of a body than was announced. What came is a whole event by itself, and must not become one.
func TestCutBody(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	const head = "POST /v1/events/users/1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	for _, request := range []string{
		head + "Content-Length: 100\r\n\r\n" + `{"type":"tick"}`,
		head + "Transfer-Encoding: chunked\r\n\r\nf\r\n" + `{"type":"tick"}` + "\r\n",
		head + "Transfer-Encoding: chunked\r\n\r\nf\r\n" + `{"type":"tick"}` + "\r\nzz\r\n\r\n",
	} {
		h.http.Transport = contracttest.Transport(t, raw{t, request, true})
		h.post(t, "/v1/events/users/1", "").problem(t, 400, "malformed_json")
	}
	// The like with a body that is whole.
	h.http.Transport = contracttest.Transport(t, raw{t, head + "Content-Length: 15\r\n\r\n" + `{"type":"tick"}`, false})
	h.post(t, "/v1/events/users/1", "").receipt(t)
	if n := h.logLength(t, "user:1"); n != 1 {
		t.Errorf("the log holds %d events, want 1", n)
	}
}

// TestOldClient follows a stream as HTTP/1.0 knows it: the end of the connection is the end of the stream.
func TestOldClient(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	h.ticks(t, "user:1", 0, 3)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /v1/stream?channel=user:1&last_event_id=earliest HTTP/1.0\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(conn)
	events := 0
	for events < 3 && lines.Scan() {
		if strings.HasPrefix(lines.Text(), "data: ") {
			events++
		}
	}
	h.server.Drain()
	last := ""
	for lines.Scan() {
		if lines.Text() != "" {
			last = lines.Text()
		}
	}
	if events != 3 || !strings.HasPrefix(last, "retry: ") || lines.Err() != nil {
		t.Errorf("%d events came, the last line is %q, %v", events, last, lines.Err())
	}
}
