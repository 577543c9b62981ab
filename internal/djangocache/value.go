package djangocache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
)

const (
	// MaxSize bounds a pickle, in bytes, before it is deflated. A value whose parts are shared must also stay within it
	// when each use of a part is written out.
	MaxSize = 1 << 20
	// MaxDepth bounds how many lists, tuples and dicts lie within each other.
	MaxDepth = 64
	// MaxValues bounds how many values, containers included, make up one; a shared part counts once for each use.
	MaxValues = 1 << 17
	// MaxDigits bounds the decimal digits of an int, as Python does.
	MaxDigits = 4300
)

// Errors, wrapped with what was found and, when reading, at which byte of the inflated value. None quotes the value.
var (
	// ErrDamaged: these are not bytes that django-redis wrote, or not all of them.
	ErrDamaged = errors.New("djangocache: damaged value")
	// ErrUnsafe: the pickle asks to import, call or build something. Nothing of it was done.
	ErrUnsafe = errors.New("djangocache: unsafe pickle")
	// ErrUnsupported: a limit is exceeded, or the value is one that this package does not know or that the target, JSON
	// or a pickle, cannot hold.
	ErrUnsupported = errors.New("djangocache: unsupported value")
	// ErrNotString: DecodeString found a value that is no str.
	ErrNotString = errors.New("djangocache: not a str")
)

type (
	// List is a Python list.
	List []any
	// Tuple is a Python tuple.
	Tuple []any
	// Dict is a Python dict in its order of insertion. Its keys differ, as Python compares: 1, 1.0 and True are one key.
	Dict []Pair
	// Pair is an item of a Dict. The key is no List and no Dict, nor a Tuple that holds one.
	Pair struct{ Key, Value any }
)

var (
	errUnhashable = errors.New("a dict key that Python cannot hash")
	errNaNKey     = errors.New("a dict key that equals nothing, NaN")
)

// appendKey writes a dict key so that two keys are written alike when Python takes them for the same.
func appendKey(dst []byte, key any) ([]byte, error) {
	switch k := key.(type) {
	case nil:
		return append(dst, 'N'), nil
	case bool:
		if k {
			return appendIntKey(dst, 1), nil
		}
		return appendIntKey(dst, 0), nil
	case int:
		return appendIntKey(dst, int64(k)), nil
	case int64:
		return appendIntKey(dst, k), nil
	case *big.Int:
		return append(k.Append(append(dst, 'i'), 16), ';'), nil
	case float64:
		switch {
		case math.IsNaN(k):
			return nil, errNaNKey
		case k == math.Trunc(k) && !math.IsInf(k, 0):
			whole, _ := big.NewFloat(k).Int(nil)
			return append(whole.Append(append(dst, 'i'), 16), ';'), nil
		}
		return binary.BigEndian.AppendUint64(append(dst, 'f'), math.Float64bits(k)), nil
	case string:
		return append(appendLen(append(dst, 's'), len(k)), k...), nil
	case []byte:
		return append(appendLen(append(dst, 'b'), len(k)), k...), nil
	case Tuple:
		dst = appendLen(append(dst, 't'), len(k))
		for _, item := range k {
			var err error
			if dst, err = appendKey(dst, item); err != nil {
				return nil, err
			}
		}
		return dst, nil
	}
	return nil, errUnhashable
}

func appendIntKey(dst []byte, n int64) []byte {
	return append(strconv.AppendInt(append(dst, 'i'), n, 16), ';')
}

func appendLen(dst []byte, n int) []byte {
	return append(strconv.AppendInt(dst, int64(n), 10), ':')
}

// sizeOf returns how many bytes Pickle writes for a value that is no container.
func sizeOf(v any) int {
	switch v := v.(type) {
	case int64:
		switch {
		case v >= 0 && v <= math.MaxUint8:
			return 2
		case v >= 0 && v <= math.MaxUint16:
			return 3
		case v >= math.MinInt32 && v <= math.MaxInt32:
			return 5
		}
		return 10
	case *big.Int:
		return 5 + v.BitLen()/8 + 1
	case float64:
		return 9
	case string:
		return sizeOfText(len(v))
	case []byte:
		return sizeOfText(len(v))
	}
	return 1
}

func sizeOfText(n int) int {
	if n <= math.MaxUint8 {
		return 2 + n
	}
	return 5 + n
}

// tooLong reports whether n has more than MaxDigits decimal digits.
func tooLong(n *big.Int) bool {
	const bits = 14284 // A number of MaxDigits digits has at most one bit more.
	if n.BitLen() < bits {
		return false
	}
	if n.BitLen() > bits+1 {
		return true
	}
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(MaxDigits), nil)
	return n.CmpAbs(limit) >= 0
}

func unsupported(what string) error { return fmt.Errorf("%w: %s", ErrUnsupported, what) }
