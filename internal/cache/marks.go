package cache

// maxMarks bounds how many changed keys are remembered; any of them gives way to a new one.
const maxMarks = 10_000

// sync takes the epoch as it is known to be on the feed: everything that Redis tells of next is newer.
func (c *Cache[K, V]) sync(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.synced = text
}

// mark remembers that Redis told of a change of a key, and under which epoch: nothing was invalidated since. So a value that
// another program writes after an invalidation is known to be newer, whatever its TTL.
func (c *Cache[K, V]) mark(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.synced == "" {
		return
	}
	if len(c.marks) >= maxMarks {
		for some := range c.marks {
			delete(c.marks, some)
			break
		}
	}
	c.marks[key] = c.synced
}

// marked reports whether a key was changed under an epoch.
func (c *Cache[K, V]) marked(key K, e epoch) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	text, ok := c.marks[key]
	return ok && text == e.text
}
