package api

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// connections are those that are open, with package http or with a stream that has one to itself. There are never more than
// most: for a new one that is closed which has been idle the longest, or the new one if all are in use. In use are those with
// a request that was let in, from then until its answer is sent. All others are idle, whatever they do, so that who has no
// key can keep nobody out: by bodies that do not come, or answers that are not read.
type connections struct {
	most int

	mu   sync.Mutex
	open map[net.Conn]*connection
	// ends joins the ends of the list of those that are idle: its next is the one that did nothing for the longest.
	ends                connection
	closedIdle, refused int64
	// cut is set when the streams' were closed.
	cut bool
}

// connection is one that is open.
type connection struct {
	conn net.Conn
	// stream is whether a stream has it to itself.
	stream bool
	// letIn counts the requests over it that were let in and are not done, and asleep is whether package http knows of none:
	// it may tell that before the handler of an HTTP/2 request that was taken back has even begun.
	letIn  int
	asleep bool
	// Where it is in the list, nil while it is not.
	next, before *connection
}

// ConnectionStats count connections.
type ConnectionStats struct {
	// Open is how many are open, those of streams included.
	Open int64
	// ClosedIdle is how many were closed since the server was made, for others to come, without a request that was let in.
	// Refused is how many were closed when they came, as all others were in use.
	ClosedIdle, Refused int64
}

// Connections returns how many connections there are. It is safe for concurrent use.
func (s *Server) Connections() ConnectionStats {
	c := s.connections
	c.mu.Lock()
	defer c.mu.Unlock()
	return ConnectionStats{Open: int64(len(c.open)), ClosedIdle: c.closedIdle, Refused: c.refused}
}

func newConnections(most int) *connections {
	c := &connections{most: most, open: map[net.Conn]*connection{}}
	c.ends.next, c.ends.before = &c.ends, &c.ends
	return c
}

// connectionOf is where a request's context has its connection.
type connectionOf struct{}

// named puts a connection into the context of its requests.
func (c *connections) named(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connectionOf{}, conn)
}

// changed is told by package http what becomes of connections.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if surplus := c.add(conn); surplus != nil {
			shut(surplus)
		}
	case http.StateActive, http.StateIdle:
		c.rest(conn, state == http.StateIdle) // The header of a request has come, or its answer is sent.
	case http.StateHijacked:
		// It is in use, and remains so.
	case http.StateClosed:
		c.remove(conn)
	}
}

// add adds a new connection, and returns the one that must be closed for it, or itself, if there are too many.
func (c *connections) add(conn net.Conn) (surplus net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= c.most {
		idle := c.ends.next
		if idle == &c.ends {
			c.refused++
			return conn
		}
		c.closedIdle++
		surplus = idle.conn
		idle.unlink()
		delete(c.open, surplus)
	}
	added := &connection{conn: conn}
	c.open[conn] = added
	c.link(added)
	return surplus
}

func (c *connections) rest(conn net.Conn, asleep bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.open[conn]
	if known == nil {
		return
	}
	known.asleep = asleep
	if known.letIn == 0 {
		known.unlink()
		c.link(known)
	}
}

// work takes a connection, over which a request was let in, for one in use. It reports false if the connection was closed for
// another: the request must not be done then, as nobody would learn of it.
func (c *connections) work(ctx context.Context) bool {
	conn, ours := ctx.Value(connectionOf{}).(net.Conn)
	if !ours {
		return true // Another server than ours has our handler.
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.open[conn]
	if known == nil {
		return false
	}
	known.letIn++
	known.unlink()
	return true
}

// done is told that a request, of which work was told, is done.
func (c *connections) done(ctx context.Context) {
	conn, ours := ctx.Value(connectionOf{}).(net.Conn)
	if !ours {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.open[conn]; known != nil {
		if known.letIn--; known.letIn == 0 && known.asleep {
			c.link(known)
		}
	}
}

// keep takes a connection over that a stream has to itself, and was hijacked. It stays until it is removed.
func (c *connections) keep(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.open[conn]
	if known == nil {
		known = &connection{conn: conn} // Another server than ours has our handler, or it was closed just now.
		c.open[conn] = known
	}
	known.stream = true
	if c.cut {
		shut(conn) // Its stream finds out.
	}
}

func (c *connections) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.open[conn]; known != nil {
		known.unlink()
		delete(c.open, conn)
	}
}

// cutOff closes the connections of streams, whatever is being written to them.
func (c *connections) cutOff() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	for conn, known := range c.open {
		if known.stream {
			shut(conn)
		}
	}
}

// link puts a connection at the end of the list.
func (c *connections) link(last *connection) {
	last.next, last.before = &c.ends, c.ends.before
	last.next.before, last.before.next = last, last
}

// unlink takes a connection out of the list, if it is there.
func (c *connection) unlink() {
	if c.next != nil {
		c.next.before, c.before.next = c.before, c.next
		c.next, c.before = nil, nil
	}
}

// shut closes a connection at once: TLS would wait until its last word is sent.
func shut(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	_ = conn.Close() // Whoever uses it finds out.
}
