package events

import "context"

// ParseRecord lets the fuzz target of another package reach parseRecord.
func ParseRecord(channel Channel, payload string) (*Record, bool) {
	return parseRecord(channel, payload)
}

// PublishCanary publishes an event of a canary, without a canary.
func (p *Publisher) PublishCanary(ctx context.Context, id string) error {
	return p.publishCanary(ctx, id)
}

// NewConnection tells the canary of a new connection, which is none.
func (c *Canary) NewConnection() { c.connected() }
