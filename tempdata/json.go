package tempdata

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth bounds how deep arrays and objects may lie in each other.
const maxDepth = 64

// compact copies one JSON value without its insignificant white space, and with nothing else changed. It fails with
// ErrTooLarge, wrapped, if that is more than limit bytes, and with ErrMalformed and where for what is not one JSON value in
// UTF-8, names a member twice, has half a surrogate pair, which no UTF-8 can hold, or is deeper than maxDepth.
func compact(data []byte, limit int) ([]byte, error) {
	if tooDeep(data) {
		return nil, errTooDeep()
	}
	value, err := jsontext.AppendFormat(nil, data, jsontext.PreserveRawStrings(true))
	if err != nil {
		return nil, malformed(err)
	}
	if len(value) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	return value, nil
}

// malformed tells where JSON is wrong, and nothing of what it holds.
func malformed(err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case !errors.As(err, &syntax) || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: it ends too early", ErrMalformed)
	case errors.Is(err, jsontext.ErrDuplicateName):
		return fmt.Errorf("%w: a member is named twice", ErrMalformed)
	}
	return fmt.Errorf("%w: at byte %d", ErrMalformed, syntax.ByteOffset)
}

func errTooDeep() error {
	return fmt.Errorf("%w: it is nested deeper than %d levels", ErrMalformed, maxDepth)
}

// tooDeep tells whether JSON is deeper than maxDepth. What it tells of anything else means nothing.
func tooDeep(data []byte) bool {
	if bytes.Count(data, []byte("{"))+bytes.Count(data, []byte("[")) <= maxDepth {
		return false // Most values, and counting takes a hundredth of the time.
	}
	level, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case quoted:
		case c == '{' || c == '[':
			if level++; level > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			level--
		}
	}
	return false
}

// typeOf returns what Python calls a compact JSON value.
func typeOf(data []byte) string {
	if len(data) == 0 {
		return ""
	}
	switch data[0] {
	case '{':
		return "dict"
	case '[':
		return "list"
	case '"':
		return "str"
	case 't', 'f':
		return "bool"
	case 'n':
		return "NoneType"
	}
	if bytes.ContainsAny(data, ".eE") {
		return "float"
	}
	return "int"
}
