package api_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tmaxmax/go-sse"

	"github.com/connectbot-hub/connecthub/internal/contracttest"
)

// TestClientReads reads a stream with a public client library.
func TestClientReads(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	bodies := []string{
		`{"type":"user.login","data":{"name":"Анна"}}`,
		`{"type":"note","data":": no comment"}`,
		`{"type":"note","data":"id: 7\r\ndata: x\n\nevent: y"}`,
		"{\"type\":\"note\",\"data\":\"\u2028\u2029\u0085\ufeff \"}",
		`{"type":"large","data":"` + fmt.Sprintf("%060000d", 7) + `"}`,
		`{"type":"empty"}`,
	}
	for _, body := range bodies {
		h.publish(t, "user:1", body)
	}
	want := h.list(t, "channel=user:1").Events
	s := h.open(t, "channel=user:1&last_event_id=earliest")
	n := 0
	for event, err := range sse.Read(s.body, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Type == "" {
			continue // The first frame, which has an id and no data, is an event to this library.
		}
		got := decode[envelope](t, []byte(event.Data))
		if event.Type != want[n].Type || event.LastEventID != "user:1@"+want[n].Offset || got.ID != want[n].ID || string(got.Data) != string(want[n].Data) {
			t.Errorf("read %+v, want %+v", event, want[n])
		}
		if n++; n == len(want) {
			break
		}
	}
	if n != len(want) {
		t.Errorf("read %d events, want %d", n, len(want))
	}
}

// TestClientReconnects lets the library follow a hub that shuts down, while events are published on another hub, to which
// it then finds by itself: it sees every event once and in order.
func TestClientReconnects(t *testing.T) {
	t.Parallel()
	first := startHub(t, options{})
	o := options{}
	o.events.Prefix = first.prefix
	second := startHub(t, o)

	var now atomic.Pointer[hub] // Where the name of the service leads.
	now.Store(first)
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, now.Load().url[len("http://"):])
	}}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/v1/stream?channel=user:1&channel=global", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	retried := make(chan time.Duration, 1)
	client := &sse.Client{
		HTTPClient: &http.Client{Transport: contracttest.Transport(t, transport)},
		OnRetry:    func(_ error, wait time.Duration) { retried <- wait },
	}
	connection := client.NewConnection(req)
	got := make(chan sse.Event, 100)
	follows := make(chan struct{}, 100)
	connection.SubscribeMessages(func(sse.Event) { follows <- struct{}{} }) // The first frame of a stream.
	connection.SubscribeEvent("tick", func(event sse.Event) { got <- event })
	var connected sync.WaitGroup
	connected.Go(func() {
		if err := connection.Connect(); !errors.Is(err, context.Canceled) {
			t.Errorf("the client gave up: %v", err)
		}
	})
	defer connected.Wait()
	defer cancel()

	next := 0
	expect := func(until int) {
		t.Helper()
		for ; next < until; next++ {
			select {
			case event := <-got:
				if data := decode[envelope](t, []byte(event.Data)).Data; string(data) != fmt.Sprint(next) {
					t.Fatalf("the client got %s, want %d", data, next)
				}
			case <-time.After(soon):
				t.Fatalf("the client did not get %d", next)
			}
		}
	}
	<-follows
	first.ticks(t, "user:1", 0, 5)
	expect(5)
	now.Store(second)
	first.stop(t)
	second.ticks(t, "user:1", 5, 10)
	select {
	case wait := <-retried:
		// The hub asks for 1 to 3 s, of which this library makes half as much more or less.
		if wait < 500*time.Millisecond || wait > 4500*time.Millisecond {
			t.Errorf("the client waits for %v", wait)
		}
	case <-time.After(soon):
		t.Fatal("the client does not try again")
	}
	second.ticks(t, "user:1", 10, 15)
	expect(15)
	second.ticks(t, "user:1", 15, 20)
	expect(20)
}
