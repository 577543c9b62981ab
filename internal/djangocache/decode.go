package djangocache

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// Decode reads a value as django-redis does: what Python's int() takes is a number; anything else is inflated, or taken
// as it is where that fails, and unpickled. As in Python, bytes after the end of a stream or of a pickle are ignored.
// The package comment lists the types of the result. The errors are ErrDamaged, ErrUnsafe and ErrUnsupported.
func Decode(raw []byte) (any, error) {
	if n, ok := parseInt(raw); ok {
		return n, nil
	}
	if isPickle(raw) {
		return Unpickle(raw)
	}
	z := inflaters.Get().(*inflater)
	defer z.release()
	pickle, err := z.inflate(raw)
	if err == nil {
		return Unpickle(pickle)
	}
	if errors.Is(err, ErrUnsupported) {
		return nil, err
	}
	v, pickleErr := Unpickle(raw)
	if pickleErr != nil {
		return nil, fmt.Errorf("%w; inflating it: %w", pickleErr, err)
	}
	return v, nil
}

// DecodeString reads a value that is a str, as the menus and temporary data of the bot are, and returns its UTF-8 text.
// Where the value is not deflated the text usually is a part of raw, and changes with it; nothing is allocated then.
// Any other value gives ErrNotString; otherwise the errors are those of Decode.
func DecodeString(raw []byte) ([]byte, error) {
	if isPickle(raw) {
		if text, ok := scanString(raw); ok {
			return text, nil
		}
	} else if text, ok := inflateString(raw); ok {
		return text, nil
	}
	v, err := Decode(raw)
	if err != nil {
		return nil, err
	}
	s, ok := v.(string)
	if !ok {
		return nil, ErrNotString
	}
	return []byte(s), nil
}

func inflateString(raw []byte) ([]byte, bool) {
	if _, ok := parseInt(raw); ok {
		return nil, false
	}
	z := inflaters.Get().(*inflater)
	defer z.release()
	pickle, err := z.inflate(raw)
	if err != nil {
		return nil, false
	}
	text, ok := scanString(pickle)
	return slices.Clone(text), ok
}

// isPickle reports whether raw begins as pickles do from protocol 2 on. Such bytes are no number, and no zlib stream,
// whose first byte ends in the bits 1000.
func isPickle(raw []byte) bool { return len(raw) > 0 && raw[0] == opProto }

// scanString finds the text of a pickle that is one str, in the ways that Python and this package write it.
func scanString(pickle []byte) ([]byte, bool) {
	if len(pickle) > MaxSize {
		return nil, false
	}
	r := reader{rest: pickle}
	op, protocol := r.uint(1), r.uint(1)
	if op != opProto || protocol < minProtocol || protocol > maxProtocol {
		return nil, false
	}
	if op = r.uint(1); op == opFrame {
		r.frame()
		op = r.uint(1)
	}
	var text []byte
	switch op {
	case opShortBinUnicode:
		text = r.next(r.uint(1))
	case opBinUnicode:
		text = r.next(r.uint(4))
	case opBinUnicode8:
		text = r.next(r.uint(8))
	default:
		return nil, false
	}
	switch op = r.uint(1); op {
	case opMemoize:
		op = r.uint(1)
	case opBinPut:
		r.next(1)
		op = r.uint(1)
	}
	return text, op == opStop && !r.short && utf8.Valid(text)
}
