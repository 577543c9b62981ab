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

func (c *Client) DecodeResult(body []byte) (Result, error)       { return c.result(body) }
func (c *Client) DecodeBracket(body []byte) (Bracket, error)     { return c.bracket(body) }
func (c *Client) DecodeTeams(body []byte) ([]Team, error)        { return c.teams(body) }
func (c *Client) DecodeAlgorithms(body []byte) ([]string, error) { return c.algorithms(body) }
