package tempdata

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/connectbot-hub/connecthub/internal/djangocache"
)

// django is the layout of the Django bot: its keys, and pickles in them.
//
// The bot keeps temporary data as a JSON text about the value, and employees, interests, participants and bot sessions as
// the value itself. Neither has room for what makes two writes differ, so what the hub writes ends in a mark. Python's
// pickle and zlib both ignore what follows their end.
//
// Limit: numbers that are values of their own are kept as Python's ints and floats, so that 1e2 is read as 100.0 and a
// float has the precision of one; so are all numbers in employees, interests, participants and bot sessions. What the bot
// could not read at all is refused with an InvalidError for data.
type django struct{ prefix string }

// newDjango returns the layout of keys that begin with prefix and a colon.
func newDjango(prefix string) (django, error) {
	if prefix == "" || strings.HasSuffix(prefix, ":") {
		return django{}, errors.New("tempdata: Config.DjangoPrefix must not be empty or end in a colon")
	}
	return django{prefix}, nil
}

// What is between the prefix and a name, and after it.
const (
	djangoTemp               = ":temp:"
	djangoParticipantsSuffix = ":participants"
)

// bare returns what keys of a namespace have before and after the name, and true, where the bot keeps values themselves.
func (d django) bare(namespace string) (before, after string, ok bool) {
	switch namespace {
	case "employees":
		return ":emp:", "", true
	case "interests":
		return ":int:", "", true
	case "participants":
		return ":act:", djangoParticipantsSuffix, true
	case "bot_sessions":
		return ":sess:", "", true
	}
	return "", "", false
}

func (d django) redisKey(key Key) string {
	if before, after, ok := d.bare(key.Namespace); ok {
		return d.prefix + before + key.Name + after
	}
	return d.prefix + djangoTemp + key.Namespace + ":" + key.Name
}

func (d django) parse(redisKey string) (Key, bool) {
	rest, ok := strings.CutPrefix(redisKey, d.prefix)
	if !ok {
		return Key{}, false
	}
	for _, namespace := range [...]string{"employees", "interests", "participants", "bot_sessions"} {
		before, after, _ := d.bare(namespace)
		if name, found := strings.CutPrefix(rest, before); found {
			name, found = strings.CutSuffix(name, after)
			return Key{namespace, name}, found && isName(name)
		}
	}
	rest, ok = strings.CutPrefix(rest, djangoTemp)
	namespace, name, found := strings.Cut(rest, ":")
	if _, _, isBare := d.bare(namespace); !ok || !found || isBare || !isName(namespace) {
		return Key{}, false
	}
	key := Key{namespace, name}
	if step, isStep := strings.CutPrefix(name, stepPrefix); isStep && isUserNamespace(namespace) {
		name = step // Which may be as long as a name.
	}
	return key, isName(name)
}

// compressFrom is how large a pickle must be, in bytes, to be deflated, which takes longer than all the rest.
const compressFrom = 1 << 10

func (d django) encode(key Key, data []byte, at time.Time) ([]byte, error) {
	if len(data) > MaxValueSize {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxValueSize)
	}
	v, pickle, err := d.pickle(key, data, at)
	if err != nil {
		return nil, err
	}
	if len(pickle) > compressFrom {
		// An int, which is not deflated but written in digits, becomes larger.
		if deflated, err := djangocache.Encode(v); err == nil && len(deflated) < len(pickle) {
			pickle = deflated
		}
	}
	return appendMark(pickle, at)
}

// pickle returns what the bot keeps under a key, as a value and pickled.
func (d django) pickle(key Key, data []byte, at time.Time) (v any, pickle []byte, err error) {
	if _, _, ok := d.bare(key.Namespace); ok {
		if v, err = parsePython(data); err != nil {
			return nil, nil, err
		}
		pickle, err = djangocache.Pickle(v)
	} else {
		var text []byte
		if text, err = appendDjangoText(make([]byte, 0, len(data)+256), key, data, at); err != nil {
			return nil, nil, err
		}
		v = string(text)
		pickle, err = djangocache.AppendString(make([]byte, 0, len(text)+64), text)
	}
	if err != nil {
		return nil, nil, unfit(err)
	}
	return v, pickle, nil
}

func errLongNumber() error {
	return invalid("data", "must be what the bot can read: numbers of at most "+strconv.Itoa(djangocache.MaxDigits)+" digits")
}

// unfit says that a value is JSON, but none that the bot could read.
func unfit(err error) error {
	return invalid("data", "must be what the bot can read: "+strings.TrimPrefix(err.Error(), "djangocache: "))
}

// djangoTime is how the bot writes times: in local time, of which it does not say so. The hub does likewise, for what
// compares them; the mark says when it really was.
const djangoTime = "2006-01-02T15:04:05.000000"

// appendDjangoText writes what the bot keeps as the text of temporary data: containers as JSON, and anything else as a
// pickle in hexadecimal digits.
func appendDjangoText(dst []byte, key Key, data []byte, at time.Time) ([]byte, error) {
	dst = append(dst, `{"data":`...)
	typ := typeOf(data)
	serialized := typ == "dict" || typ == "list"
	if serialized {
		if longNumber(data) {
			return nil, errLongNumber()
		}
		dst = append(dst, data...)
	} else {
		v, err := parsePython(data)
		if err != nil {
			return nil, err
		}
		pickle, err := djangocache.Pickle(v)
		if err != nil {
			return nil, unfit(err)
		}
		dst = append(hex.AppendEncode(append(dst, '"'), pickle), '"')
	}
	dst = append(append(dst, `,"type":"`...), typ...)
	dst = at.Local().AppendFormat(append(dst, `","created_at":"`...), djangoTime)
	dst = append(append(dst, `","namespace":"`...), key.Namespace...)
	return append(strconv.AppendBool(append(dst, `","serialized":`...), serialized), '}'), nil
}

// longNumber tells whether JSON has a number of more digits than the bot reads.
func longNumber(data []byte) bool {
	if len(data) <= djangocache.MaxDigits {
		return false
	}
	digits, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			digits, quoted = 0, !quoted
		case quoted || c < '0' || c > '9':
			digits = 0
		default:
			if digits++; digits > djangocache.MaxDigits {
				return true
			}
		}
	}
	return false
}

// parsePython returns the Python value that JSON stands for.
func parsePython(data []byte, opts ...jsontext.Options) (any, error) {
	v, err := readPython(jsontext.NewDecoder(bytes.NewReader(data), opts...))
	if errors.As(err, new(*jsontext.SyntacticError)) {
		return nil, malformed(err) // Without what it may quote.
	}
	return v, err
}

func readPython(dec *jsontext.Decoder) (any, error) {
	token, err := dec.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case 't', 'f':
		return token.Bool(), nil
	case '"':
		return token.String(), nil
	case '0':
		return pythonNumber(token.String())
	case '[':
		return readList(dec)
	case '{':
		return readDict(dec)
	}
	return nil, nil
}

func readList(dec *jsontext.Decoder) (any, error) {
	list := djangocache.List{}
	for dec.PeekKind() != ']' {
		item, err := readPython(dec)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	_, err := dec.ReadToken()
	return list, err
}

// readDict takes the last of members with the same name, as Python does.
func readDict(dec *jsontext.Decoder) (any, error) {
	dict, at := djangocache.Dict{}, map[string]int{}
	for dec.PeekKind() != '}' {
		token, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		name := token.String()
		value, err := readPython(dec)
		if err != nil {
			return nil, err
		}
		i, again := at[name]
		if !again {
			i, at[name] = len(dict), len(dict)
			dict = append(dict, djangocache.Pair{Key: name})
		}
		dict[i].Value = value
	}
	_, err := dec.ReadToken()
	return dict, err
}

func pythonNumber(text string) (any, error) {
	if strings.ContainsAny(text, ".eE") {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, invalid("data", "must be what the bot can read: a float as large as Python's")
		}
		return f, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	if longNumber([]byte(text)) {
		return nil, errLongNumber()
	}
	n, _ := new(big.Int).SetString(text, 10)
	return n, nil
}

func pythonType(v any) string {
	switch v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case djangocache.Tuple:
		return "tuple"
	case djangocache.List:
		return "list"
	}
	return "dict"
}

// A mark is markLead, when the value was written, in microseconds since 1970, and what other marks of that time have not.
const (
	markLead  = "\nhub:"
	markNonce = 13
	markSize  = len(markLead) + timeSize + markNonce
)

// appendMark ends a value of the hub.
func appendMark(dst []byte, at time.Time) ([]byte, error) {
	micros := at.UnixMicro()
	if micros < 0 || micros >= 1e16 {
		return nil, errors.New("tempdata: the clock is wrong") // It is before 1970 or after 2286.
	}
	mark := [markSize]byte{}
	copy(mark[:], markLead)
	putDigits(mark[len(markLead):markSize-markNonce], uint64(micros), 10)
	putDigits(mark[markSize-markNonce:], rand.Uint64(), 36) //nolint:gosec // Nobody gains by guessing it.
	return append(dst, mark[:]...), nil
}

// cutMark returns a value without its mark, and when it was written; the zero Time if there is no mark.
func cutMark(raw []byte) ([]byte, time.Time) {
	start := len(raw) - markSize
	if start < 0 || string(raw[start:start+len(markLead)]) != markLead {
		return raw, time.Time{}
	}
	micros, err := strconv.ParseUint(string(raw[start+len(markLead):len(raw)-markNonce]), 10, 63)
	if err != nil || micros == 0 {
		return raw[:start], time.Time{}
	}
	return raw[:start], time.UnixMicro(int64(micros)).UTC()
}

func (d django) decode(key Key, raw string) (content, error) {
	value, at := cutMark([]byte(raw))
	var c content
	var err error
	if _, _, ok := d.bare(key.Namespace); ok {
		c, err = decodeBare(value)
	} else {
		c, err = decodeDjangoText(value)
	}
	if err == nil && len(c.data) > MaxValueSize {
		err = fmt.Errorf("more than %d bytes of JSON", MaxValueSize)
	}
	if err != nil {
		return content{}, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if !at.IsZero() {
		c.at = at
	}
	return c, nil
}

// decodeBare reads a value that is kept as it is.
func decodeBare(raw []byte) (content, error) {
	v, err := djangocache.Decode(raw)
	if err != nil {
		return content{}, err
	}
	return contentOf(v)
}

func contentOf(v any) (content, error) {
	data, err := djangocache.AppendJSON(nil, v)
	return content{data: data, typ: pythonType(v)}, err
}

// djangoText is the text of temporary data.
type djangoText struct {
	Data       jsontext.Value `json:"data"`
	Type       jsontext.Value `json:"type"`
	CreatedAt  jsontext.Value `json:"created_at"`
	Serialized bool           `json:"serialized"`
}

var errNoText = errors.New("not the JSON that temporary data is")

// decodeDjangoText reads temporary data. What is no str was not put there by the bot's managers, and is taken as it is.
func decodeDjangoText(raw []byte) (content, error) {
	text, err := djangocache.DecodeString(raw)
	if errors.Is(err, djangocache.ErrNotString) {
		return decodeBare(raw)
	}
	if err != nil {
		return content{}, err
	}
	// Python writes a member twice for the keys 1 and "1", and half an emoji; both are put right below.
	lenient := []json.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
	var t djangoText
	if err := json.Unmarshal(text, &t, lenient...); err != nil {
		return content{}, errNoText // The error may quote it.
	}
	c, err := t.content()
	if err != nil {
		return content{}, err
	}
	c.at = parseDjangoTime(t.CreatedAt)
	return c, nil
}

func (t *djangoText) content() (content, error) {
	switch kind := t.Data.Kind(); {
	case !t.Serialized && kind == '"':
		var digits string
		if err := json.Unmarshal(t.Data, &digits); err != nil {
			return content{}, errNoText
		}
		pickle, err := hex.DecodeString(digits)
		if err != nil {
			return content{}, errors.New("a scalar that is not in hexadecimal digits")
		}
		v, err := djangocache.Unpickle(pickle)
		if err != nil {
			return content{}, err
		}
		return contentOf(v)
	case t.Serialized && (kind == '{' || kind == '['):
	default:
		return content{}, errNoText
	}
	c := content{typ: typeOf(t.Data)}
	if c.typ == "list" && string(t.Type) == `"tuple"` {
		c.typ = "tuple"
	}
	var err error
	if c.data, err = compact(t.Data, MaxValueSize); err == nil {
		return c, nil
	}
	// What Python reads nevertheless, or what takes less room without escapes.
	v, err := parsePython(t.Data, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return content{}, errNoText
	}
	c.data, err = djangocache.AppendJSON(nil, v)
	return c, err
}

// parseDjangoTime reads a time of the bot, which is in the local time of this process if it does not say otherwise. It
// returns the zero Time for anything else.
func parseDjangoTime(quoted jsontext.Value) time.Time {
	text := strings.Trim(string(quoted), `"`)
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		at, err = time.ParseInLocation("2006-01-02T15:04:05.999999999", text, time.Local)
	}
	if err != nil || at.UnixMicro() <= 0 {
		return time.Time{}
	}
	return at.UTC().Truncate(time.Microsecond)
}
