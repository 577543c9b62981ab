package djangocache

import (
	"math"
	"math/big"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// AppendJSON appends a value as compact JSON, with non-ASCII characters as they are. Like Python's json.dumps it writes a
// tuple as an array, a float as Python prints it, and the keys None, True, 1 and 1.5 as "null", "true", "1" and "1.5".
//
// JSON has no NaN, no infinities and no bytes: these give ErrUnsupported and a nil slice, and so do other keys, two keys
// that would be written alike, invalid UTF-8, and more than MaxDepth levels or MaxValues values. What is written of a
// value that was read takes less than 6 bytes for each byte of a pickle of MaxSize, and another 25 for each value.
func AppendJSON(dst []byte, v any) ([]byte, error) {
	w := jsonWriter{dst: dst, values: MaxValues}
	if err := w.value(v, MaxDepth); err != nil {
		return nil, err
	}
	return w.dst, nil
}

type jsonWriter struct {
	dst    []byte
	values int // How many more may be written.
}

// value writes v, in which at most depth containers may lie within each other.
func (w *jsonWriter) value(v any, depth int) error {
	if w.values--; w.values < 0 {
		return unsupported("more than " + strconv.Itoa(MaxValues) + " values")
	}
	switch v := v.(type) {
	case string:
		return w.string(v)
	case List:
		return w.array(v, depth-1)
	case Tuple:
		return w.array(v, depth-1)
	case Dict:
		return w.object(v, depth-1)
	}
	return w.scalar(v)
}

// scalar writes what JSON writes without quotation marks.
func (w *jsonWriter) scalar(v any) error {
	switch v := v.(type) {
	case nil:
		w.dst = append(w.dst, "null"...)
	case bool:
		w.dst = strconv.AppendBool(w.dst, v)
	case int:
		w.dst = strconv.AppendInt(w.dst, int64(v), 10)
	case int64:
		w.dst = strconv.AppendInt(w.dst, v, 10)
	case *big.Int:
		if v == nil || tooLong(v) {
			return unsupported("an int of more than " + strconv.Itoa(MaxDigits) + " digits")
		}
		w.dst = v.Append(w.dst, 10)
	case float64:
		return w.float(v)
	case []byte:
		return unsupported("bytes in JSON")
	default:
		return unsupported("a Go type that stands for no Python value")
	}
	return nil
}

// float writes v as Python does: 1.0 and not 1, so that a float stays one.
func (w *jsonWriter) float(v float64) error {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return unsupported("NaN or an infinity in JSON")
	}
	if size := math.Abs(v); size != 0 && (size < 1e-4 || size >= 1e16) {
		w.dst = strconv.AppendFloat(w.dst, v, 'e', -1, 64)
		return nil
	}
	w.dst = strconv.AppendFloat(w.dst, v, 'f', -1, 64)
	if v == math.Trunc(v) {
		w.dst = append(w.dst, ".0"...)
	}
	return nil
}

func (w *jsonWriter) string(s string) error {
	dst, err := jsontext.AppendQuote(w.dst, s)
	if err != nil {
		return errNotUTF8()
	}
	w.dst = dst
	return nil
}

func (w *jsonWriter) array(items []any, depth int) error {
	if depth < 0 {
		return unsupported("more than " + strconv.Itoa(MaxDepth) + " levels")
	}
	w.dst = append(w.dst, '[')
	for i, item := range items {
		if i > 0 {
			w.dst = append(w.dst, ',')
		}
		if err := w.value(item, depth); err != nil {
			return err
		}
	}
	w.dst = append(w.dst, ']')
	return nil
}

func (w *jsonWriter) object(d Dict, depth int) error {
	if depth < 0 {
		return unsupported("more than " + strconv.Itoa(MaxDepth) + " levels")
	}
	names := make(map[string]struct{}, len(d))
	w.dst = append(w.dst, '{')
	for i, pair := range d {
		if i > 0 {
			w.dst = append(w.dst, ',')
		}
		start := len(w.dst)
		if err := w.name(pair.Key); err != nil {
			return err
		}
		name := string(w.dst[start:])
		if _, ok := names[name]; ok {
			return unsupported("two keys that are the same in JSON")
		}
		names[name] = struct{}{}
		w.dst = append(w.dst, ':')
		if err := w.value(pair.Value, depth); err != nil {
			return err
		}
	}
	w.dst = append(w.dst, '}')
	return nil
}

func (w *jsonWriter) name(key any) error {
	switch key := key.(type) {
	case string:
		return w.string(key)
	case Tuple:
		return unsupported("a tuple as a key in JSON")
	}
	w.dst = append(w.dst, '"')
	if err := w.scalar(key); err != nil {
		return err
	}
	w.dst = append(w.dst, '"')
	return nil
}
