package events

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/connectbot-hub/connecthub/internal/tracing/traceparent"
)

// Limits of what may be published.
const (
	// MaxEventSize bounds an event's envelope, in bytes.
	MaxEventSize = 64 << 10
	// MaxDepth bounds how deep arrays and objects of data may lie in each other.
	MaxDepth = 64
	// MaxLabelLength bounds source and correlation_id, in bytes.
	MaxLabelLength = 128
)

var (
	// ErrMalformed is returned, wrapped with the place, for a body that is not one JSON object.
	ErrMalformed = errors.New("malformed JSON")
	// ErrTooLarge is returned for an event over MaxEventSize.
	ErrTooLarge = fmt.Errorf("events: an event has at most %d bytes", MaxEventSize)
)

// FieldError says what is wrong with one field of a message.
type FieldError struct {
	// Field is the member's name; for a place inside data, a path such as "data/users/0".
	Field string
	// Problem says what is wrong, in words for the publisher, without the value.
	Problem string
}

// InvalidError is returned for a message whose content cannot be published. It names every field at fault.
type InvalidError struct{ Fields []FieldError }

// Error names the first field at fault.
func (e *InvalidError) Error() string {
	return fmt.Sprintf("events: invalid %s: %s", e.Fields[0].Field, e.Fields[0].Problem)
}

func invalid(field, problem string) *InvalidError {
	return &InvalidError{Fields: []FieldError{{field, problem}}}
}

// Message is what a publisher hands over to become an Event.
type Message struct {
	// Channel is where it goes. Required.
	Channel Channel
	// Type says what happened. Required; see CheckType.
	Type string
	// Data is any JSON value without duplicate names, at most MaxDepth deep; empty means {}.
	Data json.RawMessage
	// ID is the publisher's own id: 1 to 128 visible ASCII characters without '"' and '\'. The same id on the same
	// channel is published once. Empty: a UUIDv7 is made.
	ID string
	// Source is who publishes, at most 128 bytes. Empty: the publisher's Config.Source.
	Source string
	// Timestamp is when it happened. Zero: now.
	Timestamp time.Time
	// CorrelationID ties events of one affair together, at most 128 bytes; may be empty.
	CorrelationID string
	// Traceparent is the trace it belongs to, as version 00 of W3C Trace Context has it. Anything else counts as none.
	// A repeated message may have another one; the first stays.
	Traceparent string
	// IdempotencyKey makes a repeated Publish of the same message on the same channel return the first receipt.
	// Any text; it is kept only as a hash. Empty: no such promise.
	IdempotencyKey string

	// checked is the Data that is known to be valid and compact.
	checked json.RawMessage
}

const (
	// decoderDepth is where the JSON decoder itself gives up.
	decoderDepth = 10_000
	tooDeep      = "is nested deeper than 64 levels"
)

// decoders are kept for the tables they grow.
//
//nolint:gochecknoglobals // A pool must be shared to be one.
var decoders = sync.Pool{New: func() any { return new(jsontext.Decoder) }}

// DecodeMessage reads a publisher's JSON object {"type", "data"?, "id"?, "source"?, "timestamp"?, "correlation_id"?}.
// It returns ErrMalformed for what is no JSON object and an InvalidError for a member that is unknown, named twice or
// of the wrong type, and for data that Message.Data does not take. The message has no channel yet, and what
// needs no JSON to judge (is the type well formed?) is judged by Publish.
func DecodeMessage(body []byte) (Message, error) {
	dec := decoders.Get().(*jsontext.Decoder)
	defer decoders.Put(dec)
	dec.Reset(bytes.NewBuffer(body))
	if dec.PeekKind() != '{' {
		if err := dec.SkipValue(); err != nil {
			return Message{}, malformed(err)
		}
		return Message{}, fmt.Errorf("%w: want an object", ErrMalformed)
	}
	fail := func(err error) error {
		if depth(body) > decoderDepth {
			return invalid("data", tooDeep)
		}
		return malformed(err)
	}
	var m Message
	var fields []FieldError
	_, _ = dec.ReadToken() // The brace that PeekKind saw.
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return Message{}, fail(err)
		}
		field := name.String()
		value, err := dec.ReadValue()
		if err != nil {
			return Message{}, fail(err)
		}
		if problem := m.set(field, value); problem != "" {
			fields = append(fields, FieldError{cmp.Or(printable(field), "(empty)"), problem})
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return Message{}, fail(err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return Message{}, fmt.Errorf("%w: something follows the object", ErrMalformed)
	}
	if m.Type == "" && !slices.ContainsFunc(fields, func(f FieldError) bool { return f.Field == "type" }) {
		fields = append(fields, FieldError{"type", "is required"})
	}
	if len(fields) > 0 {
		return Message{}, &InvalidError{Fields: fields}
	}
	return m, nil
}

// set takes one member of a publisher's object and returns what is wrong with it.
func (m *Message) set(field string, value jsontext.Value) (problem string) {
	var text *string
	switch field {
	case "data":
		if depth(value) > MaxDepth {
			return tooDeep
		}
		m.Data = compact(value)
		m.checked = m.Data
		return ""
	case "type":
		text = &m.Type
	case "id":
		text = &m.ID
	case "source":
		text = &m.Source
	case "correlation_id":
		text = &m.CorrelationID
	case "timestamp":
		text = new(string)
	default:
		return "is not known"
	}
	if value.Kind() != '"' {
		return "must be a string"
	}
	unquoted, _ := jsontext.AppendUnquote(nil, value) // The decoder has checked it.
	*text = string(unquoted)
	if *text == "" {
		return "must not be empty"
	}
	if field == "timestamp" {
		at, err := ParseTimestamp(*text)
		if err != nil || at.IsZero() { // The zero time is what some languages have for none.
			return "must be RFC 3339, such as 2026-11-21T19:11:26.325925Z"
		}
		m.Timestamp = at
	}
	return ""
}

// malformed turns the decoder's error into one of ours, with the place but without the content.
func malformed(err error) error {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return fmt.Errorf("%w: it ends too early", ErrMalformed)
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return invalid(cmp.Or(printable(strings.TrimPrefix(string(syntax.JSONPointer), "/")), "(empty)"), "is named twice")
	}
	return fmt.Errorf("%w: %w", ErrMalformed, withoutContent(err))
}

// withoutContent keeps the place of a JSON error and drops the bytes it would quote, which are the publisher's.
func withoutContent(err error) error {
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("it ends too early")
		}
		return fmt.Errorf("at byte %d", syntax.ByteOffset)
	}
	return errors.New("a member has the wrong type")
}

// printable makes a member's name fit to be repeated in an answer.
func printable(name string) string {
	const longest = 128
	if len(name) > longest {
		name = strings.ToValidUTF8(name[:longest], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, name)
}

// depth returns how deep arrays and objects lie in each other in valid JSON; a scalar has depth 0.
func depth(value []byte) int {
	deepest, level, quoted := 0, 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case quoted:
		case c == '{' || c == '[':
			level++
			deepest = max(deepest, level)
		case c == '}' || c == ']':
			level--
		}
	}
	return deepest
}

// compact copies valid JSON without its insignificant white space, and nothing else changed.
func compact(value []byte) []byte {
	out := make([]byte, 0, len(value))
	quoted := false
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			out = append(out, c)
			i++
			c = value[i]
		case !quoted && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			continue
		}
		out = append(out, c)
	}
	return out
}

// event checks a message and makes the event it will be, but for what the publisher fills in.
func (m *Message) event() (Event, error) {
	var fields []FieldError
	if m.Channel.IsZero() {
		fields = append(fields, FieldError{"channel", "is required"})
	}
	if err := CheckType(m.Type); m.Type == "" {
		fields = append(fields, FieldError{"type", "is required"})
	} else if err != nil {
		fields = append(fields, FieldError{"type", strings.TrimPrefix(err.Error(), ErrBadType.Error()+": ")})
	}
	if m.ID != "" && !validID(m.ID) {
		fields = append(fields, FieldError{"id", `must be 1 to 128 visible ASCII characters without '"' and '\'`})
	}
	if problem := checkLabel(m.Source); problem != "" {
		fields = append(fields, FieldError{"source", problem})
	}
	if problem := checkLabel(m.CorrelationID); problem != "" {
		fields = append(fields, FieldError{"correlation_id", problem})
	}
	if y := m.Timestamp.UTC().Year(); y < 1 || y > 9999 {
		fields = append(fields, FieldError{"timestamp", "must lie in the years 1 to 9999"})
	}
	data := m.Data
	if len(data) == 0 {
		data = json.RawMessage("{}")
	} else if len(data) != len(m.checked) || &data[0] != &m.checked[0] {
		switch value := jsontext.Value(data); {
		case depth(data) > MaxDepth:
			fields = append(fields, FieldError{"data", tooDeep})
		case !value.IsValid():
			fields = append(fields, FieldError{"data", "is no JSON value in UTF-8 without duplicate names"})
		default:
			data = compact(data)
		}
	}
	if len(fields) > 0 {
		return Event{}, &InvalidError{Fields: fields}
	}
	return Event{
		ID: m.ID, Type: m.Type, Data: data, Timestamp: m.Timestamp, Channel: m.Channel,
		Source: m.Source, CorrelationID: m.CorrelationID, Traceparent: traceparent.Current(m.Traceparent),
	}, nil
}

func checkLabel(s string) (problem string) {
	switch {
	case len(s) > MaxLabelLength:
		return fmt.Sprintf("has at most %d bytes", MaxLabelLength)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return "must be UTF-8 without control characters"
	}
	return ""
}

// fingerprint tells two messages apart that carry the same idempotency key. It covers what the publisher gave, not what
// the hub adds.
func fingerprint(ev *Event) string {
	var at int64
	if !ev.Timestamp.IsZero() {
		at = ev.Timestamp.UnixMicro()
	}
	buf := binary.AppendVarint(nil, at)
	for _, part := range [][]byte{
		[]byte(ev.Type), []byte(ev.ID), []byte(ev.Source), []byte(ev.CorrelationID), ev.Data,
	} {
		buf = append(binary.AppendUvarint(buf, uint64(len(part))), part...)
	}
	return hashText(buf)
}

// hashText returns a hash as text that is fit for a key.
func hashText(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
