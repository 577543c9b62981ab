package api_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/contracttest"
)

// TestStreamOverHTTP2 follows a stream that shares its connection with other requests.
func TestStreamOverHTTP2(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{api: api.Config{Heartbeat: 20 * time.Millisecond}})
	front := httptest.NewUnstartedServer(h.server.Handler())
	front.EnableHTTP2 = true
	front.StartTLS()
	t.Cleanup(front.Close)
	h.url, h.http = front.URL, front.Client()
	h.http.Transport = contracttest.Transport(t, h.http.Transport)

	first, second := h.follow(t, "channel=user:1"), h.follow(t, "channel=user:1&channel=global")
	for _, s := range []*stream{first, second} {
		if s.proto != 2 {
			t.Fatalf("the stream came over HTTP/%d", s.proto)
		}
	}
	h.ticks(t, "user:1", 0, 20)
	first.expect(t, numbers(0, 20)...)
	last := second.expect(t, numbers(0, 20)...)
	if beat := first.any(t); !beat.comment || beat.id == "" {
		t.Errorf("the heartbeat is %q", beat.raw)
	}
	first.close()
	h.publish(t, "global", `{"type":"tick","data":20}`)
	second.expect(t, "20")
	second.close()
	h.quiet(t, "user:1")
	third := h.follow(t, "channel=user:1&channel=global", "Last-Event-ID: "+last.id)
	third.expect(t, "20")
	h.server.Drain()
	third.goodbye(t)
}
