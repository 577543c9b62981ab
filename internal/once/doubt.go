package once

import (
	"context"
	"maps"
	"time"
)

// doubt is a record that a flight of this process may have without knowing, as Redis did not answer, and until when.
type doubt struct {
	record string
	until  time.Time
}

// mostDoubts bounds the doubts that are remembered; what is beyond is free when the lease ends.
const mostDoubts = 1000

// doubt remembers that a flight may have its record, so that it is given back when Redis is there again, and nobody waits for
// the lease.
func (o *Once) doubt(f *flight, until time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || len(o.doubts) >= mostDoubts {
		return
	}
	if len(o.doubts) == 0 {
		o.work.Go(o.resolve)
	}
	o.doubts[f.owner] = doubt{f.record, until}
}

// resolve gives back what is doubted, until there is nothing left.
func (o *Once) resolve() {
	tick := time.NewTicker(longestPause)
	defer tick.Stop()
	for left := 1; left > 0; {
		select {
		case <-o.closing:
			return
		case <-tick.C:
		}
		o.mu.Lock()
		now := maps.Clone(o.doubts)
		o.mu.Unlock()
		for owner, d := range now {
			if time.Now().Before(d.until) && o.free(context.Background(), d.record, owner) != nil {
				break // Redis is still away.
			}
			o.mu.Lock()
			delete(o.doubts, owner)
			o.mu.Unlock()
		}
		o.mu.Lock()
		left = len(o.doubts)
		o.mu.Unlock()
	}
}
