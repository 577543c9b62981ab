package javaclient

import (
	"context"
	"net"
)

// Dial has the client's connections made by dial. It is to be called before the first call.
func (c *Client) Dial(dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	c.transport.DialContext = dial
}

// The decoders of answers, for tests that need no service.

func DecodeResult(body []byte) (Result, error)       { return readResult(body) }
func DecodeBracket(body []byte) (Bracket, error)     { return readBracket(body) }
func DecodeTeams(body []byte) ([]Team, error)        { return readTeams(body) }
func DecodeAlgorithms(body []byte) ([]string, error) { return readAlgorithms(body) }
