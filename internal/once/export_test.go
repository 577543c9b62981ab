package once

// Callers returns how many callers of this process wait for a key, -1 when it has no flight.
func (o *Once) Callers(key string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if f := o.flights[o.record(key)]; f != nil {
		return f.callers
	}
	return -1
}

// Idle reports whether this process waits for another that has the key.
func (o *Once) Idle(key string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.flights[o.record(key)]
	return f != nil && f.idle
}
