package events

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrSlow is returned by a stream whose reader fell so far behind that it was cut off. Its Cursor says where a new
// stream may go on.
var ErrSlow = errors.New("events: the reader is too slow")

// Gap says that events of a channel may be missing: the log no longer reaches back to where the stream stood.
type Gap struct {
	// Channel is whose events may be missing.
	Channel Channel
	// After is where the stream stood; what may be missing came after it.
	After Offset
}

// Delivery is what a stream hands its reader: an event, or a gap before the next event of that channel.
type Delivery struct {
	// Record is the event; nil for a gap.
	Record *Record
	// Gap is the gap; nil for an event.
	Gap *Gap
}

// Stream gives the events of some channels to one reader: first what the log holds after a cursor, then live ones. Each
// event of a channel is delivered once and in the order of its log; there is no order between channels. When the
// connection to Redis breaks, the stream goes on from the log as soon as it is back, without its reader
// noticing. TryNext, Next, Cursor and AppendCursor are for one goroutine; Close may be called by any.
type Stream struct {
	fanout  *Fanout
	pattern Pattern
	// positions is where the reader stands in each channel. Only the reader's goroutine uses it and local.
	positions []position
	local     []queued
	next      int
	wake      chan struct{}

	mu      sync.Mutex
	queue   []queued
	bytes   int
	behind  []behind
	reading bool // The log is being read, for a channel whose behind is no longer set.
	err     error
	feeds   []*feed
}

// queued is an event on its way to the reader. index is its channel's place in positions.
type queued struct {
	record *Record
	gap    *Gap
	index  int
}

// behind says that the log must be read before live events of the channel may follow. epoch is Log.after's.
type behind struct {
	is    bool
	epoch uint64
}

// Wake returns a channel that gets a value when TryNext may have something. It is never closed.
func (s *Stream) Wake() <-chan struct{} { return s.wake }

// Next waits for the next delivery. It returns ErrSlow, ErrClosed or the context's error.
func (s *Stream) Next(ctx context.Context) (Delivery, error) {
	for {
		d, ok, err := s.TryNext(ctx)
		if ok || err != nil {
			return d, err
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return Delivery{}, ctx.Err()
		}
	}
}

// TryNext returns the next delivery, and false when there is none yet; Wake then tells when to ask again. It may read the
// log, for which it takes Config.Timeout at most; when Redis is away it returns false and tries again later. It returns
// ErrSlow or ErrClosed when the stream has ended.
func (s *Stream) TryNext(ctx context.Context) (Delivery, bool, error) {
	for {
		for s.next < len(s.local) {
			item := s.local[s.next]
			s.local[s.next] = queued{}
			s.next++
			if item.gap != nil {
				s.fanout.gaps.Add(1)
				return Delivery{Gap: item.gap}, true, nil
			}
			at := &s.positions[item.index].offset
			if item.record.Offset.Compare(*at) <= 0 {
				continue // Read from the log already.
			}
			*at = item.record.Offset
			if s.pattern.Match(item.record.Type) {
				s.fanout.delivered.Add(1)
				return Delivery{Record: item.record}, true, nil
			}
		}
		more, err := s.refill(ctx)
		if !more || err != nil {
			return Delivery{}, false, err
		}
	}
}

// refill gets more into local: from the log for a channel that is behind, else from the live queue.
func (s *Stream) refill(ctx context.Context) (more bool, err error) {
	s.mu.Lock()
	if s.err != nil {
		defer s.mu.Unlock()
		return false, s.err
	}
	for i := range s.behind {
		if b := s.behind[i]; b.is {
			s.behind[i] = behind{} // From here on live events are queued again, or set this again.
			s.reading = true
			s.mu.Unlock()
			return s.catchUp(ctx, i, b.epoch)
		}
	}
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		if cap(s.local) > 64 {
			s.local = nil // An idle stream keeps no large buffer.
		}
		return false, nil
	}
	s.local, s.queue, s.next, s.bytes = s.queue, s.local[:0], 0, 0
	return true, nil
}

// retryCatchUp is when a stream asks Redis again for a log it could not read.
const retryCatchUp = 250 * time.Millisecond

// catchUp reads one page of the log of a channel.
func (s *Stream) catchUp(ctx context.Context, index int, epoch uint64) (more bool, err error) {
	at := &s.positions[index]
	page, err := s.fanout.log.after(ctx, at.channel, at.offset, epoch)
	if err != nil || page.more {
		s.fallBehind(index, epoch)
	}
	s.mu.Lock()
	s.reading = false
	s.mu.Unlock()
	if err != nil {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		time.AfterFunc(retryCatchUp, s.poke)
		return false, nil
	}
	s.local, s.next = s.local[:0], 0
	if page.lost {
		s.local = append(s.local, queued{gap: &Gap{Channel: at.channel, After: at.offset}, index: index})
	}
	at.offset = page.from
	for _, record := range page.records {
		s.local = append(s.local, queued{record: record, index: index})
	}
	return true, nil
}

// fallBehind makes the reader go on from the log of a channel. A later epoch wins, and 0, which shares nothing, over all.
func (s *Stream) fallBehind(index int, epoch uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &s.behind[index]
	if !b.is || b.epoch != 0 && (epoch == 0 || epoch > b.epoch) {
		*b = behind{true, epoch}
	}
}

func (s *Stream) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// push queues a live event and never waits. A reader that is too far behind is cut off, unless it is reading the log
// just now: then it simply reads on there.
func (s *Stream) push(index int, record *Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	cfg := &s.fanout.cfg
	if len(s.queue) >= cfg.QueueLength || s.bytes+len(record.JSON) > cfg.QueueBytes && len(s.queue) > 0 {
		catchingUp := s.reading
		for _, b := range s.behind {
			catchingUp = catchingUp || b.is
		}
		if !catchingUp {
			s.fanout.slow.Add(1)
			s.end(ErrSlow)
			return
		}
		for i := range s.behind {
			s.behind[i] = behind{is: true}
		}
		s.queue, s.bytes = nil, 0
		return
	}
	s.queue = append(s.queue, queued{record: record, index: index})
	s.bytes += len(record.JSON)
	s.poke()
}

// end makes the reader's next call return err. s.mu is held.
func (s *Stream) end(err error) {
	if s.err == nil {
		s.err = err
	}
	s.queue, s.bytes = nil, 0
	s.poke()
}

// Cursor returns where the stream stands after what TryNext or Next returned last.
func (s *Stream) Cursor() Cursor {
	return Cursor{positions: append([]position(nil), s.positions...)}
}

// AppendCursor appends the text of Cursor to dst.
func (s *Stream) AppendCursor(dst []byte) []byte { return appendCursor(dst, s.positions) }

// Close ends the stream and releases its subscriptions. It may be called twice.
func (s *Stream) Close() {
	s.mu.Lock()
	s.end(ErrClosed)
	s.mu.Unlock()
	s.fanout.leave(s)
}
