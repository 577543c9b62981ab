package events

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ErrBadOffset is returned, wrapped with the reason, for a text that is no offset.
var ErrBadOffset = errors.New("events: bad offset")

// Offset is the position of an event in the log of its channel: the id of a Redis stream entry, milliseconds of the
// Redis server's clock and a sequence number. Later events of one channel have greater offsets; offsets of different
// channels say nothing about each other. The zero Offset lies before every event.
type Offset struct {
	ms  uint64
	seq uint64
}

// wholeMillisecond as a sequence number makes an offset that no entry has: the end of a millisecond.
const wholeMillisecond = math.MaxUint64

// OffsetAt returns the position after everything logged up to the millisecond of t, by the Redis server's clock.
func OffsetAt(t time.Time) Offset {
	return Offset{ms: uint64(max(t.UnixMilli(), 0)), seq: wholeMillisecond}
}

// ParseOffset reads "{milliseconds}-{sequence}", or "{milliseconds}" alone for the position after that whole
// millisecond. Both numbers are decimal without sign and fit 64 bits.
func ParseOffset(s string) (Offset, error) {
	msText, seqText, hasSeq := strings.Cut(s, "-")
	o := Offset{seq: wholeMillisecond}
	var err error
	if o.ms, err = parseDecimal(msText); err == nil && hasSeq {
		o.seq, err = parseDecimal(seqText)
	}
	if err != nil {
		return Offset{}, fmt.Errorf("%w: want {milliseconds}-{sequence}", ErrBadOffset)
	}
	return o, nil
}

func parseDecimal(s string) (uint64, error) {
	if s == "" || s[0] == '+' || s[0] == '0' && s != "0" {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseUint(s, 10, 64)
}

// IsZero reports whether o lies before every event.
func (o Offset) IsZero() bool { return o == Offset{} }

// Time returns the millisecond in which the event was logged, by the Redis server's clock.
func (o Offset) Time() time.Time {
	return time.UnixMilli(int64(min(o.ms, math.MaxInt64))).UTC()
}

// Compare returns -1, 0 or 1 when o lies before, at or after p in the same log.
func (o Offset) Compare(p Offset) int {
	return cmp.Or(cmp.Compare(o.ms, p.ms), cmp.Compare(o.seq, p.seq))
}

// isMoment reports whether o is a point in time and not the place of an entry.
func (o Offset) isMoment() bool { return o.seq == wholeMillisecond }

// String returns the form that ParseOffset reads.
func (o Offset) String() string { return string(o.append(nil)) }

func (o Offset) append(dst []byte) []byte {
	dst = strconv.AppendUint(dst, o.ms, 10)
	if o.isMoment() {
		return dst
	}
	return strconv.AppendUint(append(dst, '-'), o.seq, 10)
}

// entryID is o as Redis writes it, for commands that name an entry.
func (o Offset) entryID() string {
	return strconv.FormatUint(o.ms, 10) + "-" + strconv.FormatUint(o.seq, 10)
}
