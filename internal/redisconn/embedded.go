package redisconn

import (
	"fmt"

	"github.com/alicebob/miniredis/v2"
)

// Embedded is a Redis server inside this process, for a first run and for trying things. It keeps nothing on disk and
// knows only part of Redis; other Redis clients may use it over its loopback address.
type Embedded struct{ server *miniredis.Miniredis }

// StartEmbedded starts the server on an address such as 127.0.0.1:6390; port 0 takes a free one. The caller closes it.
func StartEmbedded(addr string) (*Embedded, error) {
	server := miniredis.NewMiniRedis()
	server.ClockTTL(true) // Keys expire by the clock.
	if err := server.StartAddr(addr); err != nil {
		return nil, fmt.Errorf("the embedded Redis server cannot listen on %s: %w", addr, err)
	}
	return &Embedded{server}, nil
}

// URL returns the address for Open and for other clients.
func (e *Embedded) URL() string { return "redis://" + e.server.Addr() + "/0" }

// Close ends the server and every connection to it. What it held is gone.
func (e *Embedded) Close() { e.server.Close() }
