package api

import (
	"net"
	"net/http"
	"testing"
)

// TestARequestThatWasTakenBack tells of a connection in the order in which HTTP/2 has it when a client resets a stream as it opens
// it: package http knows of no request any more before the handler has begun. The connection is in use until that has ended.
func TestARequestThatWasTakenBack(t *testing.T) {
	t.Parallel()
	c := newConnections(1)
	first, second := net.Pipe()
	t.Cleanup(func() { _, _ = first.Close(), second.Close() })
	ctx := c.named(t.Context(), first)
	c.changed(first, http.StateNew)
	c.changed(first, http.StateActive)
	c.changed(first, http.StateIdle)
	if !c.work(ctx) {
		t.Fatal("the request was not let in")
	}
	if c.add(second) != second {
		t.Error("a connection was closed whose request is under way")
	}
	c.done(ctx)
	if c.add(second) != first {
		t.Error("the connection counts as in use, and no request is under way")
	}
	if c.work(ctx) {
		t.Error("a request was let in whose connection was closed")
	}
}
