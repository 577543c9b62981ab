package djangocache

import (
	"encoding/binary"
	"math"
	"math/big"
	"strconv"
	"unicode/utf8"
)

// pickleFrame is what a pickle has besides the opcodes of its value: PROTO with its number, and STOP.
const pickleFrame = 3

// Encode writes a value as django-redis does: an int as digits, anything else pickled, and deflated when longer than 15
// bytes. It takes the types that the package comment lists, and int. Any other type, invalid UTF-8, a dict key twice or
// unhashable, and what exceeds the limits of this package give ErrUnsupported.
func Encode(v any) ([]byte, error) {
	switch n := v.(type) {
	case int:
		return strconv.AppendInt(nil, int64(n), 10), nil
	case int64:
		return strconv.AppendInt(nil, n, 10), nil
	case *big.Int:
		if n == nil || tooLong(n) {
			return nil, unsupported("an int of more than " + strconv.Itoa(MaxDigits) + " digits")
		}
		return n.Append(nil, 10), nil
	}
	pickle, err := Pickle(v)
	if err != nil {
		return nil, err
	}
	return deflate(pickle)
}

// EncodeString writes a str as Encode does. Text that is not UTF-8 or too large gives ErrUnsupported.
func EncodeString(s string) ([]byte, error) {
	pickle, err := AppendString(nil, s)
	if err != nil {
		return nil, err
	}
	return deflate(pickle)
}

// AppendString appends a str as the bot reads it too, pickled but not deflated. It is much quicker than EncodeString, and
// DecodeString reads it without allocating. Text that is not UTF-8 or too large gives ErrUnsupported and a nil slice.
func AppendString[T string | []byte](dst []byte, text T) ([]byte, error) {
	valid := false
	switch text := any(text).(type) {
	case string:
		valid = utf8.ValidString(text)
	case []byte:
		valid = utf8.Valid(text)
	}
	switch {
	case !valid:
		return nil, errNotUTF8()
	case len(text) > MaxSize-pickleFrame-5:
		return nil, errTooLarge()
	}
	dst = append(dst, opProto, minProtocol, opBinUnicode)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(text))) //nolint:gosec // It is less than MaxSize.
	return append(append(dst, text...), opStop), nil
}

// Pickle writes a value as Unpickle reads it: as Encode, but not deflated, and pickled even if it is an int. The bot reads
// that too.
func Pickle(v any) ([]byte, error) {
	p := pickler{dst: []byte{opProto, 4}, values: MaxValues}
	if err := p.value(v, MaxDepth); err != nil {
		return nil, err
	}
	if len(p.dst) >= MaxSize {
		return nil, errTooLarge()
	}
	return append(p.dst, opStop), nil
}

func errNotUTF8() error { return unsupported("a str that is not UTF-8") }

func errTooLarge() error {
	return unsupported("a pickle of more than " + strconv.Itoa(MaxSize) + " bytes")
}

// pickler writes values without sharing any, so that the memo is not needed.
type pickler struct {
	dst    []byte
	values int // How many more may be written.
}

// value writes v, in which at most depth containers may lie within each other.
func (p *pickler) value(v any, depth int) error {
	if p.values--; p.values < 0 {
		return unsupported("more than " + strconv.Itoa(MaxValues) + " values")
	}
	switch v := v.(type) {
	case nil:
		p.dst = append(p.dst, opNone)
	case bool:
		if v {
			p.dst = append(p.dst, opNewTrue)
		} else {
			p.dst = append(p.dst, opNewFalse)
		}
	case int:
		p.int(int64(v))
	case int64:
		p.int(v)
	case *big.Int:
		return p.big(v)
	case float64:
		p.dst = binary.BigEndian.AppendUint64(append(p.dst, opBinFloat), math.Float64bits(v))
	case string:
		if !utf8.ValidString(v) {
			return errNotUTF8()
		}
		return appendText(p, opShortBinUnicode, opBinUnicode, v)
	case []byte:
		return appendText(p, opShortBinBytes, opBinBytes, v)
	case List, Tuple, Dict:
		if depth == 0 {
			return unsupported("more than " + strconv.Itoa(MaxDepth) + " levels")
		}
		return p.container(v, depth-1)
	default:
		return unsupported("a Go type that stands for no Python value")
	}
	return nil
}

func (p *pickler) container(v any, depth int) error {
	switch v := v.(type) {
	case List:
		p.dst = append(p.dst, opEmptyList)
		if len(v) == 0 {
			return nil
		}
		p.dst = append(p.dst, opMark)
		if err := p.items(v, depth); err != nil {
			return err
		}
		p.dst = append(p.dst, opAppends)
	case Tuple:
		if len(v) > 3 {
			p.dst = append(p.dst, opMark)
		}
		if err := p.items(v, depth); err != nil {
			return err
		}
		switch len(v) {
		case 0:
			p.dst = append(p.dst, opEmptyTuple)
		case 1:
			p.dst = append(p.dst, opTuple1)
		case 2:
			p.dst = append(p.dst, opTuple2)
		case 3:
			p.dst = append(p.dst, opTuple3)
		default:
			p.dst = append(p.dst, opTuple)
		}
	case Dict:
		return p.dict(v, depth)
	}
	return nil
}

func (p *pickler) items(items []any, depth int) error {
	for _, item := range items {
		if err := p.value(item, depth); err != nil {
			return err
		}
	}
	return nil
}

func (p *pickler) dict(d Dict, depth int) error {
	p.dst = append(p.dst, opEmptyDict)
	if len(d) == 0 {
		return nil
	}
	p.dst = append(p.dst, opMark)
	keys := make(map[string]struct{}, len(d))
	var id []byte
	for _, pair := range d {
		// The key is written first: that bounds what it amounts to.
		if err := p.value(pair.Key, depth); err != nil {
			return err
		}
		var err error
		if id, err = appendKey(id[:0], pair.Key); err != nil {
			return unsupported(err.Error())
		}
		if _, ok := keys[string(id)]; ok {
			return unsupported("a dict with a key twice")
		}
		keys[string(id)] = struct{}{}
		if err := p.value(pair.Value, depth); err != nil {
			return err
		}
	}
	p.dst = append(p.dst, opSetItems)
	return nil
}

func (p *pickler) int(n int64) {
	switch {
	case n >= 0 && n <= math.MaxUint8:
		p.dst = append(p.dst, opBinInt1, byte(n))
	case n >= 0 && n <= math.MaxUint16:
		p.dst = binary.LittleEndian.AppendUint16(append(p.dst, opBinInt2), uint16(n))
	case n >= math.MinInt32 && n <= math.MaxInt32:
		p.dst = binary.LittleEndian.AppendUint32(append(p.dst, opBinInt), uint32(n)) //nolint:gosec // The bits are meant.
	default:
		p.dst = binary.LittleEndian.AppendUint64(append(p.dst, opLong1, 8), uint64(n)) //nolint:gosec // The bits are meant.
	}
}

func (p *pickler) big(n *big.Int) error {
	switch {
	case n == nil:
		return unsupported("a nil *big.Int")
	case n.IsInt64():
		p.int(n.Int64())
		return nil
	case tooLong(n):
		return unsupported("an int of more than " + strconv.Itoa(MaxDigits) + " digits")
	}
	long := appendLong(nil, n)
	return appendText(p, opLong1, opLong4, long)
}

// appendText writes bytes behind their length.
func appendText[T string | []byte](p *pickler, short, long byte, text T) error {
	if len(text) > MaxSize-len(p.dst) {
		return errTooLarge()
	}
	if len(text) <= math.MaxUint8 {
		p.dst = append(p.dst, short, byte(len(text))) //nolint:gosec // It is at most 255.
	} else {
		p.dst = binary.LittleEndian.AppendUint32(append(p.dst, long), uint32(len(text))) //nolint:gosec // It is less than MaxSize.
	}
	p.dst = append(p.dst, text...)
	return nil
}
