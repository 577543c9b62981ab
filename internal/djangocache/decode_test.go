package djangocache_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/djangocache"
)

type (
	list  = djangocache.List
	tuple = djangocache.Tuple
	dict  = djangocache.Dict
)

func TestDecodeVectors(t *testing.T) {
	t.Parallel()
	for _, vector := range vectors(t) {
		raw := vector.raw(t)
		v, err := djangocache.Decode(raw)
		if err != nil {
			t.Errorf("%s: %v", vector.Key, err)
			continue
		}
		if got := pythonType(v); got != vector.PythonType {
			t.Errorf("%s: a %s, want a %s", vector.Key, got, vector.PythonType)
		}
		text, err := djangocache.AppendJSON(nil, v)
		if err != nil {
			t.Errorf("%s: %v", vector.Key, err)
			continue
		}
		var got, want any
		if err := errors.Join(json.Unmarshal(text, &got), json.Unmarshal(vector.Decoded, &want)); err != nil {
			t.Errorf("%s: %v", vector.Key, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %s, want %s", vector.Key, text, vector.Decoded)
		}

		s, err := djangocache.DecodeString(raw)
		if want, ok := v.(string); ok && (err != nil || string(s) != want) {
			t.Errorf("%s: DecodeString: %q, %v", vector.Key, s, err)
		} else if !ok && !errors.Is(err, djangocache.ErrNotString) {
			t.Errorf("%s: DecodeString: %q, %v, want ErrNotString", vector.Key, s, err)
		}
	}
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
	case []byte:
		return "bytes"
	case djangocache.List:
		return "list"
	case djangocache.Tuple:
		return "tuple"
	case djangocache.Dict:
		return "dict"
	}
	return reflect.TypeOf(v).String()
}

func TestDecodeTruncated(t *testing.T) {
	t.Parallel()
	for _, vector := range vectors(t) {
		raw := vector.raw(t)
		for n := range raw {
			if v, err := djangocache.Decode(raw[:n]); !errors.Is(err, djangocache.ErrDamaged) {
				t.Errorf("%s: %d bytes of %d: %v, %v, want ErrDamaged", vector.Key, n, len(raw), v, err)
			}
			if s, err := djangocache.DecodeString(raw[:n]); err == nil {
				t.Errorf("%s: %d bytes of %d: DecodeString gives %q", vector.Key, n, len(raw), s)
			}
		}
	}
}

// The values are what Python 3.11 gives.
func TestDecodeIntegers(t *testing.T) {
	t.Parallel()
	ones := strings.Repeat("1", djangocache.MaxDigits)
	for text, want := range map[string]string{
		"5": "5", "+5": "5", "-7": "-7", " 12 ": "12", "\t\n\v\f\r3\r\n": "3", "05": "5", "00": "0", "-0": "0",
		"1_000": "1000", "1_0_0": "100", "0_0": "0", "+1_0": "10",
		"9223372036854775807": "9223372036854775807", "-9223372036854775808": "-9223372036854775808",
		"9223372036854775808": "9223372036854775808", "-9223372036854775809": "-9223372036854775809",
		"000000000000000000000000000000001": "1", "1_0000000000000000000": "10000000000000000000",
		ones: ones, "-" + ones: "-" + ones, strings.Repeat("1_", djangocache.MaxDigits-1) + "1": ones,

		"": "", " ": "", "+": "", "-": "", "+-5": "", "- 5": "", "1 2": "", "_1": "", "1_": "", "1__0": "", "+_1": "",
		"0x5": "", "5.0": "", "1e3": "", "5\x00": "", "\x005": "", "\x1c5": "", "\x855": "", "\xa05": "", "٥": "", "１": "",
		ones + "1": "", strings.Repeat("0", djangocache.MaxDigits+1): "",
	} {
		v, err := djangocache.Decode([]byte(text))
		if want == "" {
			if !errors.Is(err, djangocache.ErrDamaged) && !errors.Is(err, djangocache.ErrUnsupported) {
				t.Errorf("%.40q: %v, %v, want an error", text, v, err)
			}
			continue
		}
		got := ""
		switch n := v.(type) {
		case int64:
			got = big.NewInt(n).String()
		case *big.Int:
			got = n.String()
			if n.IsInt64() {
				t.Errorf("%.40q: a *big.Int that fits an int64", text)
			}
		}
		if got != want || err != nil {
			t.Errorf("%.40q: %v, %v, want %.40s", text, v, err, want)
		}
		if _, err := djangocache.DecodeString([]byte(text)); !errors.Is(err, djangocache.ErrNotString) {
			t.Errorf("%.40q: DecodeString: %v, want ErrNotString", text, err)
		}
	}
}

func bigInt(text string) *big.Int {
	n, _ := new(big.Int).SetString(text, 0)
	return n
}

// The values are what Python 3.11 gives.
func TestUnpickle(t *testing.T) {
	t.Parallel()
	for pickle, want := range map[string]any{
		"8004 4e 2e": nil, "8004 88 2e": true, "8004 89 2e": false,
		"8004 4b ff 2e": int64(255), "8004 4d ffff 2e": int64(65535), "8004 4a ffffffff 2e": int64(-1),
		"8004 8a 00 2e": int64(0), "8004 8a 01 ff 2e": int64(-1), "8004 8a 02 ff00 2e": int64(255), "8004 8b 01000000 80 2e": int64(-128),
		"8004 8a 08 ffffffffffffff7f 2e":                  int64(math.MaxInt64),
		"8004 8a 08 0000000000000080 2e":                  int64(math.MinInt64),
		"8004 8a 09 000000000000008000 2e":                bigInt("0x8000000000000000"),
		"8004 8a 09 ffffffffffffff7fff 2e":                bigInt("-0x8000000000000001"),
		"8004 8a 0a ffffffffffffffffffff 2e":              int64(-1),
		"8004 47 3ff8000000000000 2e":                     1.5,
		"8004 47 fff0000000000000 2e":                     math.Inf(-1),
		"8004 8c 02 d0af 2e":                              "Я",
		"8004 58 02000000 d0af 2e":                        "Я",
		"8004 8d 0200000000000000 d0af 2e":                "Я",
		"8004 8c 00 2e":                                   "",
		"8004 43 02 ff00 2e":                              []byte{0xff, 0},
		"8004 42 02000000 ff00 2e":                        []byte{0xff, 0},
		"8004 8e 0200000000000000 ff00 2e":                []byte{0xff, 0},
		"8004 43 00 2e":                                   []byte{},
		"8004 5d 2e":                                      list{},
		"8004 29 2e":                                      tuple{},
		"8004 7d 2e":                                      dict{},
		"8004 5d 4e 61 2e":                                list{nil},
		"8004 5d 28 4b01 4b02 65 28 4b03 65 2e":           list{int64(1), int64(2), int64(3)},
		"8004 28 4b01 4b02 6c 2e":                         list{int64(1), int64(2)},
		"8004 28 4b01 4b02 64 2e":                         dict{{int64(1), int64(2)}},
		"8004 4b01 85 2e":                                 tuple{int64(1)},
		"8004 4b01 4b02 86 2e":                            tuple{int64(1), int64(2)},
		"8004 4b01 4b02 4b03 87 2e":                       tuple{int64(1), int64(2), int64(3)},
		"8004 28 4b01 4b02 4b03 4b04 74 2e":               tuple{int64(1), int64(2), int64(3), int64(4)},
		"8004 7d 8c0161 4e 73 2e":                         dict{{"a", nil}},
		"8004 7d 28 8c0162 4b01 8c0161 4b02 75 2e":        dict{{"b", int64(1)}, {"a", int64(2)}},
		"8004 7d 28 4b01 4b02 4b01 4b03 75 2e":            dict{{int64(1), int64(3)}},
		"8004 7d 28 88 4b02 4b01 4b03 75 2e":              dict{{true, int64(3)}},
		"8004 7d 28 47 0000000000000000 4e 89 88 75 2e":   dict{{0.0, true}},
		"8004 7d 28 47 3fe0000000000000 4e 4b00 88 75 2e": dict{{0.5, nil}, {int64(0), true}},
		"8004 7d 28 8c0161 4e 430161 88 75 2e":            dict{{"a", nil}, {[]byte("a"), true}},
		"8004 7d 28 4e 4e 4b01 85 4b01 88 85 4b02 75 2e":  dict{{nil, nil}, {tuple{int64(1)}, int64(2)}},
		// 2**63 as an int and as a float.
		"8004 7d 28 8a 09 000000000000008000 4b01 47 43e0000000000000 4b02 75 2e": dict{{bigInt("0x8000000000000000"), int64(2)}},
		// The memo.
		"8004 8c0161 94 5d 94 28 6800 6800 65 2e":          list{"a", "a"},
		"8004 8c0161 7105 6805 86 2e":                      tuple{"a", "a"},
		"8004 8c0161 7200000001 6a00000001 86 2e":          tuple{"a", "a"},
		"8004 8c0161 70 31320a 67 31320a 86 2e":            tuple{"a", "a"},
		"8004 5d 94 28 5d 94 28 4b01 65 6801 6801 65 2e":   list{list{int64(1)}, list{int64(1)}, list{int64(1)}},
		"8004 95 0400000000000000 8c0161 2e":               "a",
		"8004 4e 95 0000000000000000 2e":                   nil,
		"8002 4e 2e":                                       nil,
		"8005 4e 2e ffff":                                  nil, // Python ignores what follows.
		"4e 2e":                                            nil,
		"8004 28 4e 2e":                                    nil,
		"8004 4b01 4e 2e":                                  nil,
		"8004 4e 8004 2e":                                  nil,
		"8004 8a 20 " + strings.Repeat("00", 31) + "01 2e": bigInt("0x1" + strings.Repeat("00", 31)),
	} {
		raw := unhex(t, pickle)
		for how, value := range map[string]func() (any, error){
			"unpickled": func() (any, error) { return djangocache.Unpickle(raw) },
			"as it is":  func() (any, error) { return djangocache.Decode(raw) },
			"deflated":  func() (any, error) { return djangocache.Decode(deflated(t, raw)) },
			"with more": func() (any, error) { return djangocache.Decode(append(deflated(t, raw), "garbage"...)) },
		} {
			if got, err := value(); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s %s: %#v, %v, want %#v", pickle, how, got, err, want)
			}
		}
	}
}

func deflated(tb testing.TB, pickle []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	if _, err := w.Write(pickle); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestRefused(t *testing.T) {
	t.Parallel()
	damaged, unsafe, unsupported := djangocache.ErrDamaged, djangocache.ErrUnsafe, djangocache.ErrUnsupported
	const secret = "7365637265746c79" // "secretly"
	for pickle, want := range map[string]error{
		// os.system("id"), as protocols 0, 2 and 4 write it.
		"63 6f730a73797374656d0a 28 5327696427 0a 74 52 2e":               unsafe,
		"8002 63 706f7369780a73797374656d0a 7100 58020000006964 85 52 2e": unsafe,
		"8004 8c02 6f73 8c06 73797374656d 93 8c026964 85 52 2e":           unsafe,
		"8004 4e 52 2e": unsafe, "8004 4e 62 2e": unsafe, "8004 28 69 6f730a6964 0a 2e": unsafe, "8004 28 4e 6f 2e": unsafe,
		"8004 4e 4e 81 2e": unsafe, "8004 4e 4e 4e 92 2e": unsafe, "8004 82 01 2e": unsafe, "8004 83 0100 2e": unsafe, "8004 84 01000000 2e": unsafe,
		"8004 50 310a 2e": unsafe, "8004 4e 51 2e": unsafe, "8005 97 2e": unsafe, "8005 4e 98 2e": unsafe,
		"8004 8c08" + secret + "63 2e": unsafe,

		"8004 8f 2e": unsupported, "8004 8f 28 90 2e": unsupported, "8004 28 91 2e": unsupported, "8005 96 0000000000000000 2e": unsupported,
		"8004 49 310a 2e": unsupported, "8004 4c 310a 2e": unsupported, "8004 46 310a 2e": unsupported, "8004 53 2727 0a 2e": unsupported,
		"8004 56 0a 2e": unsupported, "8004 54 00000000 2e": unsupported, "8004 55 00 2e": unsupported,
		"8004 4e 30 2e": unsupported, "8004 28 31 4e 2e": unsupported, "8004 4e 32 86 2e": unsupported,
		"8000 4e 2e": unsupported, "8001 4e 2e": unsupported, "8006 4e 2e": unsupported, "80ff 4e 2e": unsupported,
		"8004 8c03 eda080 2e":                                  unsupported, // Half a surrogate pair.
		"8004 8c04 61edbfbf 2e":                                unsupported,
		"8004 7d 47 7ff8000000000000 4e 73 2e":                 unsupported, // A NaN equals no key.
		"8004 8b 00080000" + strings.Repeat("00", 2048):        unsupported,
		"8004 8b fa060000" + strings.Repeat("00", 1785) + "7f": unsupported,
		// What contains itself, and what is changed while in use.
		"8004 5d 94 6800 61 2e":                 unsupported,
		"8004 5d 94 28 6800 65 2e":              unsupported,
		"8004 7d 94 4e 6800 73 2e":              unsupported,
		"8004 5d 94 6800 85 61 2e":              unsupported,
		"8004 5d 94 28 6800 74 94 30 6801 2e":   unsupported,
		"8004 5d 94 7d 94 8c0161 6800 73 61 2e": unsupported,
		"8004 5d 94 85 6800 4e 61 2e":           unsupported,
		"8004 7d 94 8c0161 5d 94 6800 61 73 2e": unsupported,

		"": damaged, "2e": damaged, "8004": damaged, "8004 2e": damaged, "80": damaged, "8004 4e": damaged, "8004 28 2e": damaged, "8004 4e 28 2e": damaged,
		"8004 ff 2e": damaged, "8004 00 2e": damaged, "00": damaged, "7b 7d": damaged, "5b 5d": damaged,
		"8004 8c08" + secret + "ff": damaged, "8004 8c08" + secret: damaged,
		"8004 8c ff 61 2e": damaged, "8004 58 ffffffff 61 2e": damaged, "8004 8d ffffffffffffffff 61 2e": damaged, "8004 8d 0000000000000080 61 2e": damaged,
		"8004 43 ff 61 2e": damaged, "8004 42 ffffffff 61 2e": damaged, "8004 8e ffffffffffffffff 61 2e": damaged,
		"8004 8a ff 61 2e": damaged, "8004 8b ffffff7f 61 2e": damaged, "8004 8b ffffffff 2e": damaged,
		"8004 95 0300000000000000 4e 2e": damaged, "8004 95 ffffffffffffffff 4e 2e": damaged, "8004 95 00": damaged,
		"8004 8c01 ff 2e": damaged, "8004 8c02 eda0 2e": damaged, "8004 8c04 eda080ff 2e": damaged, "8004 8c02 c080 2e": damaged,
		"8004 68 00 2e": damaged, "8004 6a 00000000 2e": damaged, "8004 67 300a 2e": damaged, "8004 67 780a 2e": damaged, "8004 4e 70 30": damaged,
		"8004 4e 70 2d310a 2e": damaged, "8004 94 2e": damaged, "8004 71 00 2e": damaged, "8004 4e 28 94 2e": damaged,
		"8004 85 2e": damaged, "8004 4e 86 2e": damaged, "8004 4e 28 85 2e": damaged, "8004 4e 74 2e": damaged, "8004 4e 6c 2e": damaged, "8004 28 4e 64 2e": damaged,
		"8004 4e 61 2e": damaged, "8004 5d 61 2e": damaged, "8004 4e 4e 61 2e": damaged, "8004 29 4e 61 2e": damaged, "8004 7d 4e 61 2e": damaged,
		"8004 5d 4e 65 2e": damaged, "8004 28 4e 65 2e": damaged, "8004 4e 28 4e 65 2e": damaged, "8004 5d 4e 4e 73 2e": damaged,
		"8004 7d 4e 73 2e": damaged, "8004 7d 28 4e 75 2e": damaged, "8004 5d 28 4e 4e 75 2e": damaged, "8004 7d 5d 4e 73 2e": damaged,
		"8004 7d 7d 4e 73 2e": damaged, "8004 7d 5d 85 4e 73 2e": damaged,
		"789c": damaged, "78 9c 00": damaged, "7801 0000": damaged,
	} {
		raw := unhex(t, pickle)
		for how, value := range map[string]func() (any, error){
			"unpickled":    func() (any, error) { return djangocache.Unpickle(raw) },
			"as it is":     func() (any, error) { return djangocache.Decode(raw) },
			"deflated":     func() (any, error) { return djangocache.Decode(deflated(t, raw)) },
			"DecodeString": func() (any, error) { return djangocache.DecodeString(raw) },
			"both":         func() (any, error) { return djangocache.DecodeString(deflated(t, raw)) },
		} {
			v, err := value()
			if !errors.Is(err, want) {
				t.Errorf("%s %s: %v, %v, want %v", pickle, how, v, err, want)
				continue
			}
			for _, other := range []error{damaged, unsafe, unsupported, djangocache.ErrNotString} {
				if !errors.Is(want, other) && errors.Is(err, other) {
					t.Errorf("%s %s: %v is %v too", pickle, how, err, other)
				}
			}
			if strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "byte ") {
				t.Errorf("%s %s: %v", pickle, how, err)
			}
		}
	}
}

// Bytes that are damaged after deflating are no zlib stream, and then no pickle either.
func TestDamagedStream(t *testing.T) {
	t.Parallel()
	whole := deflated(t, unhex(t, "8004 8c08 7365637265746c79 94 2e"))
	for i := range whole {
		raw := bytes.Clone(whole)
		raw[i] ^= 0x55
		if v, err := djangocache.Decode(raw); err == nil {
			t.Errorf("byte %d: %v", i, v)
		}
		if v, err := djangocache.DecodeString(raw); err == nil {
			t.Errorf("byte %d: DecodeString gives %q", i, v)
		}
	}
	if v, err := djangocache.Decode(whole); err != nil || v != "secretly" {
		t.Errorf("whole: %v, %v", v, err)
	}
}

// pickled makes a pickle of opcodes.
func pickled(ops ...string) []byte { return []byte("\x80\x04" + strings.Join(ops, "") + ".") }

func TestLimits(t *testing.T) {
	t.Parallel()
	repeat := strings.Repeat
	text := func(n uint32) string {
		return "X" + string(binary.LittleEndian.AppendUint32(nil, n)) + repeat("a", int(n))
	}
	// Each list holds the one before it twice: 2 to the power of n values.
	laughs := func(n int) string {
		s := "]\x94"
		for i := range n {
			get := string([]byte{'h', byte(i)})
			s += "]\x94(" + get + get + "e"
		}
		return s
	}
	for name, test := range map[string]struct {
		pickle []byte
		fits   bool
	}{
		"lists in lists":                {pickled(repeat("]", 64), repeat("a", 63)), true},
		"too many lists in lists":       {pickled(repeat("]", 65), repeat("a", 64)), false},
		"very many lists in lists":      {pickled(repeat("]", 500_000), repeat("a", 499_999)), false},
		"tuples in tuples":              {pickled(")", repeat("\x85", 63)), true},
		"too many tuples in tuples":     {pickled(")", repeat("\x85", 64)), false},
		"dicts in dicts":                {pickled("}", repeat("N}", 63), repeat("s", 63)), true},
		"too many dicts in dicts":       {pickled("}", repeat("N}", 64), repeat("s", 64)), false},
		"many values":                   {pickled("](", repeat("N", djangocache.MaxValues-1), "e"), true},
		"too many values":               {pickled("](", repeat("N", djangocache.MaxValues), "e"), false},
		"too many containers":           {pickled("](", repeat("]", djangocache.MaxSize-8), "e"), false},
		"too many values on the stack":  {pickled(repeat("N", djangocache.MaxSize-8)), false},
		"too many memo slots":           {pickled("N", repeat("\x94", djangocache.MaxSize-8)), false},
		"many marks":                    {pickled(repeat("(", djangocache.MaxSize-8), "N"), true},
		"shared lists":                  {pickled(laughs(15)), true},
		"shared lists, too many values": {pickled(laughs(60)), false},
		"shared text":                   {pickled(text(1000), "\x94](", repeat("h\x00", 1000), "e"), true},
		"shared text, too large":        {pickled(text(1000), "\x94](", repeat("h\x00", 1100), "e"), false},
		"a shared key":                  {pickled(text(1000), "\x94}(", repeat("h\x00N", 1000), "u"), true},
		"a shared key, too large":       {pickled(text(1000), "\x94}(", repeat("h\x00N", 1100), "u"), false},
		"many dicts of a shared key":    {pickled(text(300_000), "\x94", repeat("}h\x00Ns", 100)), false},
		"a large text":                  {pickled(text(djangocache.MaxSize - 8)), true},
		"a text too large":              {pickled(text(djangocache.MaxSize - 7)), false},
	} {
		for how, value := range map[string]func() (any, error){
			"as it is": func() (any, error) { return djangocache.Decode(test.pickle) },
			"deflated": func() (any, error) { return djangocache.Decode(deflated(t, test.pickle)) },
		} {
			v, err := value()
			if test.fits && err != nil || !test.fits && !errors.Is(err, djangocache.ErrUnsupported) {
				t.Errorf("%s, %s: %T, %v", name, how, v, err)
			}
			if err != nil {
				continue
			}
			again, err := djangocache.Unpickle([]byte(mustPickle(t, v)))
			if err != nil || !reflect.DeepEqual(again, v) {
				t.Errorf("%s, %s: another value when written and read: %v", name, how, err)
			}
		}
	}
}

// A stream that inflates to very much ends early.
func TestBomb(t *testing.T) {
	t.Parallel()
	bomb := deflated(t, bytes.Repeat([]byte{0}, 8*djangocache.MaxSize))
	for name, decode := range map[string]func() error{
		"Decode":       func() error { _, err := djangocache.Decode(bomb); return err },
		"DecodeString": func() error { _, err := djangocache.DecodeString(bomb); return err },
	} {
		if err := decode(); !errors.Is(err, djangocache.ErrUnsupported) {
			t.Errorf("%s: %v, want ErrUnsupported", name, err)
		}
	}
}

func TestDecodeString(t *testing.T) {
	t.Parallel()
	for _, pickle := range []string{
		"8002 58 06000000 d0afd0af6161 2e", "8002 58 06000000 d0afd0af6161 7100 2e", "8003 58 06000000 d0afd0af6161 7100 2e",
		"8004 95 0a00000000000000 8c06 d0afd0af6161 94 2e", "8005 8c06 d0afd0af6161 94 2e", "8004 8d 0600000000000000 d0afd0af6161 94 2e",
		"8004 58 06000000 d0afd0af6161 94 2e ff", "58 06000000 d0afd0af6161 2e", "8002 58 06000000 d0afd0af6161 7200000000 2e",
	} {
		raw := unhex(t, pickle)
		for how, raw := range map[string][]byte{"as it is": raw, "deflated": deflated(t, raw)} {
			if s, err := djangocache.DecodeString(raw); err != nil || string(s) != "ЯЯaa" {
				t.Errorf("%s, %s: %q, %v", pickle, how, s, err)
			}
		}
	}
	for _, empty := range []string{"8002 58 00000000 2e", "789c6b608860600000021c00db"} {
		s, err := djangocache.DecodeString(unhex(t, empty))
		if err == nil && (s == nil || len(s) != 0) {
			t.Errorf("%s: %q", empty, s)
		}
	}
}

func TestDecodeStringDoesNotAllocate(t *testing.T) {
	raw, err := djangocache.AppendString(nil, `{"data": {"type": "main"}}`)
	if err != nil {
		t.Fatal(err)
	}
	framed := unhex(t, "8004 95 0600000000000000 8c02 7b7d 94 2e")
	if n := testing.AllocsPerRun(100, func() {
		for _, raw := range [][]byte{raw, framed} {
			if _, err := djangocache.DecodeString(raw); err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
