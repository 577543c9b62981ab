//go:build java

package java

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// proxy stands between a client and the service, and spoils the connections between them. Its methods are for the test's
// own goroutine.
type proxy struct {
	tb    testing.TB
	inner *toxiproxy.Proxy
	url   string
}

// between returns a proxy to the service that spoils nothing yet. It ends with the test, and its connections with it.
func between(tb testing.TB, s *service) *proxy {
	tb.Helper()
	addr, err := freeAddr()
	if err != nil {
		tb.Fatal(err)
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := &proxy{tb: tb, inner: toxiproxy.NewProxy(server, tb.Name(), addr, s.jvm.addr), url: "http://" + addr}
	p.up()
	tb.Cleanup(func() {
		p.heal() // What is held up would outlive the proxy.
		p.down()
	})
	return p
}

// up lets clients connect.
func (p *proxy) up() {
	p.tb.Helper()
	if err := p.inner.Start(); err != nil {
		p.tb.Fatal(err)
	}
}

// down closes all connections and refuses new ones.
func (p *proxy) down() { p.inner.Stop() }

// The directions of what a toxic spoils.
const (
	requests = "upstream"
	answers  = "downstream"
)

// reset breaks connections off, with a RST, when the first byte goes in a direction, and lets none of it through.
func (p *proxy) reset(direction string) {
	p.tb.Helper()
	p.spoil(direction, "reset_peer", nil)
}

// hang lets nothing through in a direction, and leaves connections open until either side closes its own.
func (p *proxy) hang(direction string) {
	p.tb.Helper()
	p.spoil(direction, "timeout", map[string]int64{"timeout": 0})
}

// late holds everything up that goes in a direction.
func (p *proxy) late(direction string, by time.Duration) {
	p.tb.Helper()
	p.spoil(direction, "latency", map[string]int64{"latency": by.Milliseconds()})
}

// cut closes connections after this many bytes in a direction.
func (p *proxy) cut(direction string, after int64) {
	p.tb.Helper()
	p.spoil(direction, "limit_data", map[string]int64{"bytes": after})
}

// heal ends what spoils connections. Those that hang or were broken are closed.
func (p *proxy) heal() {
	p.tb.Helper()
	p.inner.Toxics.ResetToxics(p.tb.Context())
}

func (p *proxy) spoil(direction, kind string, attributes map[string]int64) {
	p.tb.Helper()
	text, err := json.Marshal(map[string]any{"type": kind, "stream": direction, "attributes": attributes})
	if err != nil {
		p.tb.Fatal(err)
	}
	if _, err := p.inner.Toxics.AddToxicJson(strings.NewReader(string(text))); err != nil {
		p.tb.Fatal(err)
	}
}
