package tempdata_test

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// line is a connection to Redis that can be cut, for a process that does not reach a server which others do.
type line struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	isCut bool
	open  map[net.Conn]struct{}
	work  sync.WaitGroup
}

func newLine(tb testing.TB, server *redistest.Server) *line {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	l := &line{listener: listener, to: server.Addr(), open: map[net.Conn]struct{}{}}
	l.work.Go(l.accept)
	tb.Cleanup(func() {
		_ = listener.Close()
		l.cut(true)
		l.work.Wait()
	})
	return l
}

func (l *line) url() string { return "redis://" + l.listener.Addr().String() }

func (l *line) accept() {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", l.to)
		l.mu.Lock()
		if err != nil || l.isCut {
			_ = conn.Close()
			if err == nil {
				_ = server.Close()
			}
			l.mu.Unlock()
			continue
		}
		l.open[conn], l.open[server] = struct{}{}, struct{}{}
		l.mu.Unlock()
		l.work.Go(func() { l.pass(conn, server) })
		l.work.Go(func() { l.pass(server, conn) })
	}
}

func (l *line) pass(to, from net.Conn) {
	_, _ = io.Copy(to, from) // It ends when one of them is closed.
	_ = to.Close()
	_ = from.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, to)
	delete(l.open, from)
}

// cut cuts the line, or mends it.
func (l *line) cut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isCut = cut; cut {
		for conn := range l.open {
			_ = conn.Close()
		}
	}
}
