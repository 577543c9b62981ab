package events

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ErrBadCursor is returned, wrapped with the reason, for a text that is no cursor.
var ErrBadCursor = errors.New("events: bad cursor")

// MaxChannels bounds the channels one stream may follow.
const MaxChannels = 64

const (
	// earliest is the cursor that stands before everything the logs hold.
	earliest = "earliest"
	// since begins a cursor that stands at one moment in every channel.
	since = "since@"
)

// Cursor says from where a stream goes on: a position in each channel it follows. The zero Cursor means "from now on".
// A Cursor is not changed after it was made and is safe for concurrent use. Its text is opaque to clients and
// may change its form between releases; a cursor of an older release stays readable.
type Cursor struct {
	all       *Offset
	positions []position
}

// position is a place in the log of one channel.
type position struct {
	channel Channel
	offset  Offset
}

// Earliest returns the cursor before everything the logs hold.
func Earliest() Cursor { return Cursor{all: new(Offset)} }

// Since returns the cursor after everything logged up to t on every channel, by the Redis server's clock.
func Since(t time.Time) Cursor {
	at := OffsetAt(t)
	return Cursor{all: &at}
}

// ParseCursor reads what a stream gave as its cursor, or "earliest". The text "" is the zero Cursor.
// It returns ErrBadCursor for anything else, for a channel named twice and for more than MaxChannels of them.
func ParseCursor(s string) (Cursor, error) {
	switch s {
	case "":
		return Cursor{}, nil
	case earliest:
		return Earliest(), nil
	}
	var c Cursor
	if at, ok := strings.CutPrefix(s, since); ok {
		offset, err := ParseOffset(at)
		if err != nil || !offset.isMoment() {
			return Cursor{}, fmt.Errorf("%w: want milliseconds after since@", ErrBadCursor)
		}
		c.all = &offset
		return c, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		name, at, _ := strings.Cut(part, "@")
		channel, err := ParseChannel(name)
		if err != nil {
			return Cursor{}, fmt.Errorf("%w: %w", ErrBadCursor, err)
		}
		offset, err := ParseOffset(at)
		if err != nil {
			return Cursor{}, fmt.Errorf("%w: %w", ErrBadCursor, err)
		}
		if _, twice := c.position(channel); twice || len(c.positions) == MaxChannels {
			return Cursor{}, fmt.Errorf("%w: a channel twice, or more than %d channels", ErrBadCursor, MaxChannels)
		}
		c.positions = append(c.positions, position{channel, offset})
	}
	return c, nil
}

// IsZero reports whether c means "from now on".
func (c Cursor) IsZero() bool { return c.all == nil && len(c.positions) == 0 }

// String returns the text that ParseCursor reads.
func (c Cursor) String() string {
	switch {
	case c.all == nil:
		return string(appendCursor(nil, c.positions))
	case c.all.IsZero():
		return earliest
	default:
		return since + c.all.String()
	}
}

// position returns where to go on in a channel, and false when the cursor does not say: from now on.
func (c Cursor) position(ch Channel) (Offset, bool) {
	if c.all != nil {
		return *c.all, true
	}
	i := slices.IndexFunc(c.positions, func(p position) bool { return p.channel == ch })
	if i < 0 {
		return Offset{}, false
	}
	return c.positions[i].offset, true
}

func appendCursor(dst []byte, positions []position) []byte {
	for i, p := range positions {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, p.channel.scope...)
		if p.channel.name != "" {
			dst = append(append(dst, ':'), p.channel.name...)
		}
		dst = p.offset.append(append(dst, '@'))
	}
	return dst
}
