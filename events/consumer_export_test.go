package events

// Closing reports whether Close was called.
func (c *Consumer) Closing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}
