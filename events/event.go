package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/connectbot-hub/connecthub/internal/tracing/traceparent"
)

// ErrNotEnvelope is returned, wrapped with the reason, for bytes that are no event envelope.
var ErrNotEnvelope = errors.New("events: not an event envelope")

// Event is an event as its readers see it.
type Event struct {
	// ID is unique among the events of a channel; the hub makes UUIDv7.
	ID string
	// Type says what happened, such as "user.login".
	Type string
	// Data is the publisher's JSON, byte for byte but for insignificant white space.
	Data json.RawMessage
	// Timestamp is when the event happened, as the publisher says or else when the hub took it, in UTC.
	Timestamp time.Time
	// Channel is where it was published.
	Channel Channel
	// Source is who published it.
	Source string
	// CorrelationID ties events of one affair together; "" when the publisher gave none.
	CorrelationID string
	// Traceparent is the trace it belongs to, as version 00 of W3C Trace Context has it; "" for none.
	Traceparent string
	// Offset is its position in the channel's log; zero in what the bot published directly and no hub took up yet.
	Offset Offset
}

// envelope is the JSON on the wire: wire.md, section 1.
type envelope struct {
	ID            string         `json:"id"`
	Type          string         `json:"type"`
	Data          jsontext.Value `json:"data"`
	Timestamp     string         `json:"timestamp"`
	Channel       string         `json:"channel"`
	UserID        *int64         `json:"user_id"`
	Source        string         `json:"source"`
	CorrelationID string         `json:"correlation_id,omitzero"`
	Traceparent   jsontext.Value `json:"traceparent,omitzero"` // What is no text is left out, and harms nothing else.
	Offset        string         `json:"offset,omitzero"`
	// Other holds the members this release does not know, which are passed on.
	Other jsontext.Value `json:",embed"`
}

// DecodeEvent reads one envelope, from the hub or directly from the bot, as it came on a Redis channel or from a
// stream. prefix is the channel prefix, "connectbot" by default. It returns ErrNotEnvelope for anything else.
// Members it does not know are ignored.
func DecodeEvent(prefix string, raw []byte) (Event, error) {
	env, err := decodeEnvelope(raw)
	if err != nil {
		return Event{}, err
	}
	channel, err := keyspace{prefix}.parse(env.Channel)
	if err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrNotEnvelope, err)
	}
	return env.event(channel)
}

func decodeEnvelope(raw []byte) (*envelope, error) {
	if !utf8.Valid(raw) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrNotEnvelope)
	}
	env := new(envelope)
	// Lone surrogates (half an emoji, as Python writes it) are the publisher's and pass; raw bytes were checked above.
	if err := jsonv2.Unmarshal(raw, env, jsontext.AllowInvalidUTF8(true)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotEnvelope, withoutContent(err))
	}
	return env, nil
}

// event checks the members and returns the event, which came on the given channel whatever the envelope says.
func (e *envelope) event(channel Channel) (Event, error) {
	if err := CheckType(e.Type); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrNotEnvelope, err)
	}
	if !validID(e.ID) {
		return Event{}, fmt.Errorf("%w: bad id", ErrNotEnvelope)
	}
	at, err := ParseTimestamp(e.Timestamp)
	if err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrNotEnvelope, err)
	}
	ev := Event{
		ID: e.ID, Type: e.Type, Data: json.RawMessage(e.Data), Timestamp: at,
		Channel: channel, Source: e.Source, CorrelationID: e.CorrelationID,
	}
	if e.Traceparent.Kind() == '"' {
		unquoted, _ := jsontext.AppendUnquote(nil, e.Traceparent) // The decoder has checked it.
		ev.Traceparent = traceparent.Current(string(unquoted))
	}
	if e.Offset != "" {
		if ev.Offset, err = ParseOffset(e.Offset); err != nil {
			return Event{}, fmt.Errorf("%w: %w", ErrNotEnvelope, err)
		}
	}
	if ev.Data == nil {
		ev.Data = json.RawMessage("null")
	}
	return ev, nil
}

// others returns the members this release does not know, as the inside of a compact JSON object.
func (e *envelope) others() []byte {
	if len(e.Other) == 0 {
		return nil
	}
	other := compact(e.Other)
	return other[1 : len(other)-1]
}

// appendEnvelope writes ev as the hub keeps it in the log: the envelope without its offset and without the closing
// brace, which withOffset adds. ev.Data must be compact JSON; other is the inside of an object, or empty.
func appendEnvelope(dst []byte, keys keyspace, ev *Event, other []byte) []byte {
	dst = append(append(append(dst, `{"id":"`...), ev.ID...), `","type":"`...)
	dst = append(append(append(dst, ev.Type...), `","data":`...), ev.Data...)
	dst = appendTimestamp(append(dst, `,"timestamp":"`...), ev.Timestamp)
	dst = append(append(append(dst, `","channel":"`...), keys.prefix...), ev.Channel.sep()...)
	dst = append(append(dst, ev.Channel.name...), `","user_id":`...)
	if ev.Channel.scope == ScopeUser {
		dst = append(dst, ev.Channel.name...)
	} else {
		dst = append(dst, "null"...)
	}
	dst = appendQuoted(append(dst, `,"source":`...), ev.Source)
	if ev.CorrelationID != "" {
		dst = appendQuoted(append(dst, `,"correlation_id":`...), ev.CorrelationID)
	}
	if ev.Traceparent != "" {
		dst = append(append(append(dst, `,"traceparent":"`...), ev.Traceparent...), '"')
	}
	if len(other) > 0 {
		dst = append(append(dst, ','), other...)
	}
	return dst
}

func appendQuoted(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s) // Its error is invalid UTF-8, which it replaces.
	return dst
}

const offsetMember = `,"offset":"`

// withOffset completes what appendEnvelope wrote. The publishing script does the same in Lua.
func withOffset(envelope, entryID string) string { return envelope + offsetMember + entryID + `"}` }

// Record is an event as it lies in the log. It is immutable and shared by all who read it.
type Record struct {
	// Channel is the channel in whose log it lies.
	Channel Channel
	// Offset is its position there.
	Offset Offset
	// Type is the event's type.
	Type string
	// JSON is the envelope with its offset, on one line.
	JSON string
}

// Event decodes the record's envelope.
func (r *Record) Event() (Event, error) {
	env, err := decodeEnvelope([]byte(r.JSON))
	if err != nil {
		return Event{}, err
	}
	return env.event(r.Channel)
}

// parseRecord reads a message that a hub published. It looks only at the ends, which the hub wrote itself, and is
// false for everything else, such as what the bot publishes directly.
func parseRecord(channel Channel, payload string) (*Record, bool) {
	offset, ok := trailingOffset(payload)
	if !ok {
		return nil, false
	}
	typ, ok := envelopeType(payload)
	return &Record{Channel: channel, Offset: offset, Type: typ, JSON: payload}, ok
}

// trailingOffset returns the offset that withOffset wrote.
func trailingOffset(payload string) (Offset, bool) {
	text, closed := strings.CutSuffix(payload, `"}`)
	text = text[max(0, len(text)-len(offsetMember)-41):] // 41: two 20 digit numbers and '-'.
	i := strings.LastIndex(text, offsetMember)
	if i < 0 || !closed {
		return Offset{}, false
	}
	offset, err := ParseOffset(text[i+len(offsetMember):])
	return offset, err == nil && !offset.isMoment()
}

// envelopeType returns the type from the beginning of what appendEnvelope wrote.
func envelopeType(envelope string) (string, bool) {
	rest, ok := strings.CutPrefix(envelope, `{"id":"`)
	if !ok {
		return "", false
	}
	i := strings.IndexByte(rest, '"')
	if i < 0 {
		return "", false
	}
	rest, ok = strings.CutPrefix(rest[i:], `","type":"`)
	if !ok {
		return "", false
	}
	typ, _, ok := strings.Cut(rest, `"`)
	return typ, ok
}

// MaxIDLength bounds an event's id, in bytes.
const MaxIDLength = 128

// validID reports whether id is 1 to MaxIDLength visible ASCII characters other than '"' and '\', so that it stands in
// JSON and in a key as it is.
func validID(id string) bool {
	if id == "" || len(id) > MaxIDLength {
		return false
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// ErrBadTimestamp is returned for a text that is no timestamp.
var ErrBadTimestamp = errors.New("events: bad timestamp: want RFC 3339, such as 2026-11-21T19:11:26.325925Z")

// ParseTimestamp reads RFC 3339, and the ISO 8601 without a zone that the bot writes, which it takes to be in the
// local time of this process. The result is in UTC, truncated to microseconds, in the years 1 to 9999.
func ParseTimestamp(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t, err = time.ParseInLocation("2006-01-02T15:04:05.999999999", s, time.Local)
	}
	t = t.UTC().Truncate(time.Microsecond)
	if err != nil || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, ErrBadTimestamp
	}
	return t, nil
}

// appendTimestamp writes what AppendFormat would for "2006-01-02T15:04:05.000000Z", in a third of the time.
func appendTimestamp(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	micro := t.Nanosecond() / 1000
	digits := func(n int) (byte, byte) { return byte('0' + n/10%10), byte('0' + n%10) }
	y1, y2 := digits(year / 100)
	y3, y4 := digits(year)
	o1, o2 := digits(int(month))
	d1, d2 := digits(day)
	h1, h2 := digits(hour)
	m1, m2 := digits(minute)
	s1, s2 := digits(second)
	u1, u2 := digits(micro / 10000)
	u3, u4 := digits(micro / 100)
	u5, u6 := digits(micro)
	return append(dst, y1, y2, y3, y4, '-', o1, o2, '-', d1, d2, 'T', h1, h2, ':', m1, m2, ':', s1, s2,
		'.', u1, u2, u3, u4, u5, u6, 'Z')
}

// FormatTimestamp writes t as the envelope does: RFC 3339 in UTC with microseconds.
func FormatTimestamp(t time.Time) string { return string(appendTimestamp(nil, t)) }
