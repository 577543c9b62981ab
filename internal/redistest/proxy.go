package redistest

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy lies between clients and a Server. It can make the server slow, and connections deaf: these go on answering
// commands, PING among them, but what is published does not reach them, as with a fault of the network that nobody notices.
type Proxy struct {
	server string
	addr   net.Addr
	// deaf is the number of the last connection that is. They are numbered from 1.
	deaf, connections atomic.Int64
	// slow is by how many nanoseconds each reply comes later.
	slow atomic.Int64
}

// NewProxy listens on a free port of 127.0.0.1 until the test ends.
func NewProxy(tb testing.TB, server *Server) *Proxy {
	tb.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{server: server.Addr(), addr: listener.Addr()}
	ctx, cancel := context.WithCancel(context.Background())
	var working sync.WaitGroup
	working.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			number := p.connections.Add(1)
			working.Go(func() { p.serve(ctx, conn, number) })
		}
	})
	tb.Cleanup(func() {
		cancel()
		_ = listener.Close()
		working.Wait()
	})
	return p
}

// URL is the redis:// address of the proxy with database 0.
func (p *Proxy) URL() string { return "redis://" + p.addr.String() + "/0" }

// Deafen makes the connections that there are deaf until they end. Later ones hear.
func (p *Proxy) Deafen() { p.deaf.Store(p.connections.Load()) }

// Slow makes every reply come later by so much, one after the other; 0 ends that.
func (p *Proxy) Slow(by time.Duration) { p.slow.Store(int64(by)) }

// serve carries one connection until one side or the test ends.
func (p *Proxy) serve(ctx context.Context, client net.Conn, number int64) {
	defer func() { _ = client.Close() }()
	server, err := new(net.Dialer).DialContext(ctx, "tcp", p.server)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	defer context.AfterFunc(ctx, func() { _ = client.Close(); _ = server.Close() })()
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	})
	defer func() { _ = client.Close() }()
	for from := bufio.NewReader(server); ; {
		reply, err := readReply(from, nil)
		if err != nil {
			return
		}
		if number <= p.deaf.Load() && isMessage(reply) {
			continue
		}
		if by := time.Duration(p.slow.Load()); by > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(by):
			}
		}
		if _, err := client.Write(reply); err != nil {
			return
		}
	}
}

// isMessage reports whether a reply is what was published, in RESP2.
func isMessage(reply []byte) bool {
	return bytes.HasPrefix(reply, []byte("*3\r\n$7\r\nmessage\r\n")) || bytes.HasPrefix(reply, []byte("*4\r\n$8\r\npmessage\r\n"))
}

// readReply appends one whole reply, in RESP2 or RESP3, to what was read.
func readReply(from *bufio.Reader, read []byte) ([]byte, error) {
	line, err := from.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	read = append(read, line...)
	size, err := strconv.Atoi(string(bytes.TrimSpace(line[1:])))
	if err != nil || size < 0 {
		return read, nil //nolint:nilerr // It has no size: it is the line, or nothing.
	}
	switch line[0] {
	case '$', '=', '!':
		rest := make([]byte, size+len("\r\n"))
		_, err := io.ReadFull(from, rest)
		return append(read, rest...), err
	case '%', '|':
		size *= 2
	case '*', '~', '>':
	default:
		return read, nil
	}
	for range size {
		if read, err = readReply(from, read); err != nil {
			return nil, err
		}
	}
	return read, nil
}
