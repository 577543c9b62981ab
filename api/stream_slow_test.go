package api_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// largeTick is an event of about 60 KB.
func largeTick(n int) string {
	return fmt.Sprintf(`{"type":"tick","data":{"n":%d,"filler":"%s"}}`, n, strings.Repeat("x", 60_000))
}

// number reads which event of largeTick a frame carries.
func number(tb testing.TB, f frame) int {
	tb.Helper()
	var n int
	data := decode[envelope](tb, []byte(f.data)).Data
	if _, err := fmt.Sscanf(string(data), `{"n":%d,`, &n); err != nil {
		tb.Fatalf("%v in %.80q", err, data)
	}
	return n
}

// smallBuffers is a listener whose connections hold little of what nobody reads.
type smallBuffers struct{ net.Listener }

func (l smallBuffers) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		err = tcp.SetWriteBuffer(16 << 10)
	}
	return conn, err
}

func withSmallBuffers(l net.Listener) net.Listener { return smallBuffers{l} }

// TestSlowReader publishes 6 MB to a reader that takes nothing from its socket, and to one that takes everything. The quick
// one has each event before the next is published. The slow one is told, cut off, and loses nothing when it resumes.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	o := options{api: api.Config{StreamWriteTimeout: 2 * soon}, listen: withSmallBuffers}
	o.events.QueueLength = 8
	h := startHub(t, o)
	slow := h.open(t, "channel=user:1&last_event_id=earliest")
	quick := h.follow(t, "channel=user:1")
	const events = 100
	for n := range events {
		h.publish(t, "user:1", largeTick(n))
		if got := number(t, quick.next(t)); got != n {
			t.Fatalf("the quick reader got %d, want %d", got, n)
		}
	}
	redistest.Eventually(t, soon, "the slow reader is cut off", func() bool { return h.stats(t).Streams["cut_slow"] == 1 })

	read, last := 0, frame{}
	for {
		f := slow.any(t)
		if f.event == "slow" {
			if f.id != last.id || !strings.HasPrefix(f.data, `{"detail":"`) {
				t.Errorf("the last frame is %q, after the id %s", f.raw, last.id)
			}
			break
		}
		if last = f; f.event == "" {
			continue
		}
		if got := number(t, f); got != read {
			t.Fatalf("the slow reader got %d, want %d", got, read)
		}
		read++
	}
	if err := slow.end(t); err != nil {
		t.Errorf("the slow stream ended with %v", err)
	}
	if read >= events-8 {
		t.Errorf("the slow reader got %d of %d events before it was cut off", read, events)
	}
	t.Logf("the slow reader got %d events before it was cut off", read)

	again := h.follow(t, "channel=user:1", "Last-Event-ID: "+last.id)
	for ; read < events; read++ {
		if got := number(t, again.next(t)); got != read {
			t.Fatalf("after the resumption came %d, want %d", got, read)
		}
	}
	if open := h.stats(t).Streams["open"]; open != 2 {
		t.Errorf("%d streams are open, want 2", open)
	}
}

// TestStalledReader checks that a reader that takes nothing for StreamWriteTimeout is cut off in the middle, although its
// queue has room, and that it can go on from the last event that came whole.
func TestStalledReader(t *testing.T) {
	t.Parallel()
	o := options{api: api.Config{StreamWriteTimeout: 300 * time.Millisecond}, listen: withSmallBuffers}
	o.events.QueueLength, o.events.QueueBytes = 10_000, 1<<30
	h := startHub(t, o)
	stalled := h.open(t, "channel=user:1&last_event_id=earliest")
	sent := 0
	redistest.Eventually(t, soon, "the stalled reader is cut off", func() bool {
		if sent < 100 {
			h.publish(t, "user:1", largeTick(sent))
			sent++
		}
		return h.stats(t).Streams["open"] == 0
	})
	if slow := h.stats(t).Streams["cut_slow"]; slow != 0 {
		t.Errorf("%d streams were cut off for their queue", slow)
	}

	// What came whole is in order. The last frame may have been cut in the middle, which readers of such streams ignore.
	last := stalled.any(t)
	read := 0
	for f := range stalled.rest(t) {
		if got := number(t, f); got != read {
			t.Fatalf("came %d, want %d", got, read)
		}
		last = f
		read++
	}
	if read >= sent {
		t.Errorf("the stalled reader got all of the %d events", sent)
	}
	t.Logf("the stalled reader got %d of %d events", read, sent)
	again := h.follow(t, "channel=user:1", "Last-Event-ID: "+last.id)
	for ; read < sent; read++ {
		if got := number(t, again.next(t)); got != read {
			t.Fatalf("after the resumption came %d, want %d", got, read)
		}
	}
}
