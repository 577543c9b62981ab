package api

import (
	"bytes"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// takeConnection takes the connection of an HTTP/1 request out of package http's hands and sends the head of the answer.
// The buffers and the stack that package http keeps for a request would be most of what an idle stream costs. The
// answer ends with the connection. It fails, with nothing sent, for HTTP/2.
func takeConnection(c echo.Context) (net.Conn, error) {
	conn, _, err := http.NewResponseController(c.Response().Writer).Hijack()
	if err != nil {
		return nil, err
	}
	c.Response().Status, c.Response().Committed = http.StatusOK, true
	header := c.Response().Header()
	header.Set("Connection", "close")
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	head := bytes.NewBufferString("HTTP/1.1 200 OK\r\n")
	_ = header.Write(head) // A buffer does not fail.
	head.WriteString("\r\n")
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write(head.Bytes()); err != nil {
		_ = conn.Close() // The first frame will find out; nothing may follow a cut head.
	}
	return conn, nil
}

// watch returns when the reader has gone. What it sends is ignored.
func watch(conn net.Conn) {
	var ignored [64]byte
	for {
		if _, err := conn.Read(ignored[:]); err != nil {
			return
		}
	}
}

// sender sees frames off to the network, within a time limit.
type sender func(frames []byte) error

func writeTo(conn net.Conn, timeout time.Duration) sender {
	return func(frames []byte) error {
		if err := conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
			return err
		}
		_, err := conn.Write(frames)
		return err
	}
}

func respondWith(w http.ResponseWriter, timeout time.Duration) sender {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // The request was read; the server's bound is not for what follows.
	return func(frames []byte) error {
		if err := control.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
			return err
		}
		if _, err := w.Write(frames); err != nil {
			return err
		}
		return control.Flush()
	}
}
