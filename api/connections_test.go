package api_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// dial opens a connection to the hub. It is closed with the test.
func (h *hub) dial(tb testing.TB) net.Conn {
	tb.Helper()
	_, addr, _ := strings.Cut(h.url, "://")
	conn, err := new(net.Dialer).DialContext(tb.Context(), "tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(soon)); err != nil {
		tb.Fatal(err)
	}
	return conn
}

// send writes to a connection.
func send(tb testing.TB, conn net.Conn, text string) {
	tb.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		tb.Fatal(err)
	}
}

const askLiveness = "GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

// alive asks over a connection, which stays open.
func alive(tb testing.TB, conn net.Conn) {
	tb.Helper()
	send(tb, conn, askLiveness)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		tb.Errorf("the answer is %s, %v", resp.Status, err)
	}
}

// closedBy reads on until the hub closes the connection, and returns what came before.
func closedBy(tb testing.TB, conn net.Conn) string {
	tb.Helper()
	rest, err := io.ReadAll(conn)
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		tb.Fatalf("the hub did not close the connection: %s", rest)
	}
	return string(rest)
}

// connected waits until the hub has so many connections.
func (h *hub) connected(tb testing.TB, want int64) {
	tb.Helper()
	redistest.Eventually(tb, soon, strconv.FormatInt(want, 10)+" connections are open", func() bool {
		return h.server.Connections().Open == want
	})
}

// TestIdleConnectionsKeepNobodyOut opens many more connections than may be, and asks nothing over them.
func TestIdleConnectionsKeepNobodyOut(t *testing.T) {
	t.Parallel()
	const most, idle = 50, 3000
	h := startHub(t, options{api: api.Config{MaxConnections: most}})
	for n := range idle {
		conn := h.dial(t)
		if n%2 == 0 {
			send(t, conn, "GET /health/live HT") // A slow header is no request either.
		}
		if n%500 == 499 {
			h.get(t, "/health/live").is(t, 200, "application/health+json")
			h.publish(t, "global", `{"type":"tick"}`)
		}
	}
	h.connected(t, most)
	if s := h.server.Connections(); s.ClosedIdle < idle-most || s.Refused != 0 {
		t.Errorf("connections %+v", s)
	}
}

// TestTheLongestIdleGoesFirst checks the order, and that a request puts a connection at the end of it.
func TestTheLongestIdleGoesFirst(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{api: api.Config{MaxConnections: 3}})
	var conns []net.Conn
	open := func() {
		t.Helper()
		conns = append(conns, h.dial(t))
		h.connected(t, min(int64(len(conns)), 3))
		redistest.Eventually(t, soon, "it was let in", func() bool {
			s := h.server.Connections()
			return s.Open+s.ClosedIdle == int64(len(conns))
		})
	}
	for range 3 {
		open()
	}
	alive(t, conns[0])
	open()
	if rest := closedBy(t, conns[1]); rest != "" {
		t.Errorf("the hub said %q", rest)
	}
	alive(t, conns[0])
	alive(t, conns[3])
	open()
	closedBy(t, conns[2])
	for _, n := range []int{0, 3, 4} {
		alive(t, conns[n])
		_ = conns[n].Close()
	}
	h.connected(t, 0)
	if s := h.server.Connections(); s != (api.ConnectionStats{ClosedIdle: 2}) {
		t.Errorf("connections %+v", s)
	}
}

// TestConnectionsInUseStay fills the hub with a stream and a request, and finds that both count, and that none is cut for
// another.
func TestConnectionsInUseStay(t *testing.T) {
	t.Parallel()
	g := &gate{entered: make(chan struct{}), opened: make(chan struct{})}
	h := startHub(t, options{api: api.Config{MaxConnections: 2}, wrap: func(p publisher) publisher { g.publisher = p; return g }})
	s := h.follow(t, "channel=user:1")
	var publishing sync.WaitGroup
	defer publishing.Wait()
	publishing.Go(func() {
		a, err := h.try(t, "POST", "/v1/events/users/1", strings.NewReader(`{"type":"tick","data":7}`))
		if err != nil || a.status != http.StatusCreated {
			t.Errorf("publishing: %d, %v", a.status, err)
		}
	})
	<-g.entered
	for n := range 5 {
		if rest := closedBy(t, h.dial(t)); rest != "" {
			t.Errorf("the hub said %q", rest)
		}
		if got := h.server.Connections(); got != (api.ConnectionStats{Open: 2, Refused: int64(n + 1)}) {
			t.Errorf("connections %+v", got)
		}
	}
	close(g.opened)
	s.expect(t, "7")
	publishing.Wait()
	h.base.CloseIdleConnections()
	h.connected(t, 1)
	alive(t, h.dial(t)) // In the place of the one over which was published.
	s.close()
	h.connected(t, 1)
}

// TestEndedStreamsLeaveNoConnection ends streams in every way.
func TestEndedStreamsLeaveNoConnection(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{api: api.Config{MaxStreams: 3}})
	for range 3 {
		s := h.follow(t, "channel=user:1")
		s.close()
		h.get(t, "/v1/stream?channel=x").problem(t, 422, "invalid_fields", "channel")
		conn := h.dial(t)
		send(t, conn, "GET /v1/stream?channel=user:2 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
			t.Fatalf("the stream begins with %q, %v", line, err)
		}
		_ = conn.Close()
	}
	h.base.CloseIdleConnections()
	h.connected(t, 0)
	last := []*stream{h.follow(t, "channel=user:1"), h.follow(t, "channel=user:1"), h.follow(t, "channel=user:1")}
	h.server.Drain()
	for _, s := range last {
		s.goodbye(t)
	}
	h.base.CloseIdleConnections()
	h.connected(t, 0)
}

// panicking at a stream: its place must not be lost.
type panickingFollower struct{}

func (panickingFollower) Follow(context.Context, events.Cursor, events.Pattern, ...events.Channel) (*events.Stream, error) {
	panic("a fault")
}

func TestAFaultCostsNoPlace(t *testing.T) {
	t.Parallel()
	server := api.New(api.Deps{Fanout: panickingFollower{}}, api.Config{MaxStreams: 1})
	for range 3 {
		recorder := httptest.NewRecorder()
		server.Handler().ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1/v1/stream?channel=global", http.NoBody))
		if recorder.Code != http.StatusInternalServerError {
			t.Errorf("status %d", recorder.Code)
		}
	}
}

// TestMaxStreamsPerKey gives each key its own share.
func TestMaxStreamsPerKey(t *testing.T) {
	t.Parallel()
	h, tokens := startKeyedHubWith(t, map[string][]string{"a": {"*"}, "b": {"*"}}, options{api: api.Config{MaxStreams: 4, MaxStreamsPerKey: 2}})
	a, b := "Authorization: Service "+tokens["a"], "Authorization: Service "+tokens["b"]
	first := h.follow(t, "channel=user:1", a)
	h.follow(t, "channel=user:2", a)
	refused := func(auth, whose string) {
		t.Helper()
		answer := h.get(t, "/v1/stream?channel=user:3", auth)
		if p := answer.problem(t, 429, "too_many_streams"); !strings.HasPrefix(p.Detail, whose) || answer.header.Get("Retry-After") != "5" {
			t.Errorf("%+v", p)
		}
	}
	refused(a, "The key has")
	h.follow(t, "channel=user:1", b)
	first.close()
	redistest.Eventually(t, soon, "the key may have another", func() bool {
		again, err := h.tryStream(t, "channel=user:1", a)
		if err != nil {
			t.Fatal(err)
		}
		return again == http.StatusOK
	})
	h.follow(t, "channel=user:2", b)
	refused(b, "The hub has")
}

// tryStream opens a stream, which ends with the test, and returns the status.
func (h *hub) tryStream(tb testing.TB, query string, headers ...string) (int, error) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, h.url+"/v1/stream?"+query, http.NoBody)
	if err != nil {
		return 0, err
	}
	setHeaders(req, headers)
	resp, err := h.http.Do(req)
	if err != nil {
		return 0, err
	}
	tb.Cleanup(func() { _ = resp.Body.Close() })
	return resp.StatusCode, nil
}

// TestHeaderBombs sends headers of which there is too much.
func TestHeaderBombs(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for name, headers := range map[string]string{
		"one huge":  "X-Bomb: " + strings.Repeat("x", 64<<10) + "\r\n",
		"many":      strings.Repeat("X-Bomb: x\r\n", 6<<10),
		"names":     strings.Repeat("X-"+strings.Repeat("y", 1000)+": x\r\n", 64),
		"huge name": strings.Repeat("y", 64<<10) + ": x\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := h.dial(t)
			// The hub may answer and close before it has read all: what it says is read at the same time.
			go func() { _, _ = io.WriteString(conn, "GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n"+headers+"\r\n") }()
			status, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil || !strings.HasPrefix(status, "HTTP/1.1 431 ") {
				t.Errorf("the hub says %q, %v", status, err)
			}
		})
	}
	conn := h.dial(t)
	send(t, conn, "GET /"+strings.Repeat("x", 64<<10)+" HTTP/1.1\r\n")
	if rest := closedBy(t, conn); !strings.HasPrefix(rest, "HTTP/1.1 431 ") {
		t.Errorf("a huge path: the hub says %q", rest)
	}
}

// TestSlowClientsHoldNothing lets many clients send headers and bodies that never end: all are cut off in time, others are
// answered meanwhile, and afterwards the hub has as many goroutines and about as much memory as before. It is alone with
// these numbers, as tests that are parallel wait for it.
func TestSlowClientsHoldNothing(t *testing.T) {
	h := startHub(t, options{prepare: func(s *api.Server) { s.SetTimeouts(2*time.Second, 4*time.Second) }})
	h.get(t, "/health/live").is(t, 200, "application/health+json")
	h.base.CloseIdleConnections()
	h.connected(t, 0)
	memory := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	goroutines, heap := runtime.NumGoroutine(), memory()

	const clients = 300
	var headers, bodies []net.Conn
	for range clients {
		headers = append(headers, h.dial(t))
		send(t, headers[len(headers)-1], "POST /v1/events/global HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
		bodies = append(bodies, h.dial(t))
		send(t, bodies[len(bodies)-1], "POST /v1/events/global HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{")
	}
	h.get(t, "/health/live").is(t, 200, "application/health+json")
	h.publish(t, "global", `{"type":"tick"}`)
	for _, conn := range headers {
		closedBy(t, conn)
	}
	for _, conn := range bodies {
		answer := closedBy(t, conn)
		if !strings.HasPrefix(answer, "HTTP/1.1 400 ") || !strings.Contains(answer, "The body could not be read in time.") {
			t.Errorf("a slow body gets %q", answer)
		}
	}
	h.base.CloseIdleConnections()
	h.connected(t, 0)
	redistest.Eventually(t, soon, "the goroutines are gone", func() bool { return runtime.NumGoroutine() <= goroutines+3 })
	redistest.Eventually(t, soon, "the memory is free again", func() bool { return memory() <= heap+8<<20 })
}

// TestHandshakesThatFailAreNoNews speaks no TLS to a hub that does.
func TestHandshakesThatFailAreNoNews(t *testing.T) {
	t.Parallel()
	front := httptest.NewTLSServer(http.NotFoundHandler()) // It has a certificate.
	front.Close()
	h := startHub(t, options{api: api.Config{TLS: &tls.Config{Certificates: front.TLS.Certificates, MinVersion: tls.VersionTLS12}}})
	conn := h.dial(t)
	send(t, conn, askLiveness)
	closedBy(t, conn)
	h.connected(t, 0)
	told := h.logs.FilterMessage("package http reports").All()
	if len(told) != 1 || told[0].Level.String() != "debug" {
		t.Errorf("the log says %+v", told)
	}
}

// TestServeOverTLS follows streams over HTTP/1.1 and HTTP/2 with TLS, and finds idle connections bounded there too.
func TestServeOverTLS(t *testing.T) {
	t.Parallel()
	front := httptest.NewTLSServer(http.NotFoundHandler()) // It has a certificate, and a client that trusts it.
	front.Close()
	trusting := front.Client().Transport.(*http.Transport).TLSClientConfig
	for _, proto := range []int{1, 2} {
		t.Run("HTTP/"+strconv.Itoa(proto), func(t *testing.T) {
			t.Parallel()
			h := startHub(t, options{api: api.Config{
				MaxConnections: 10, TLS: &tls.Config{Certificates: front.TLS.Certificates, MinVersion: tls.VersionTLS12},
			}})
			h.url = strings.Replace(h.url, "http:", "https:", 1)
			h.base.TLSClientConfig, h.base.ForceAttemptHTTP2 = trusting.Clone(), proto == 2
			s := h.follow(t, "channel=user:1")
			if s.proto != proto {
				t.Fatalf("the stream came over HTTP/%d", s.proto)
			}
			for range 50 {
				_, addr, _ := strings.Cut(h.url, "//")
				conn, err := (&tls.Dialer{Config: trusting}).DialContext(t.Context(), "tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conn.Close() })
			}
			h.connected(t, 10)
			h.publish(t, "user:1", `{"type":"tick","data":7}`)
			s.expect(t, "7")
			h.server.Drain()
			s.goodbye(t)
		})
	}
}
