package djangocache_test

import (
	"encoding/hex"
	"errors"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/connectbot-hub/connecthub/internal/djangocache"
)

func TestEncode(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]any{
		"5": 5, "-7": int64(-7), "18446744073709551616": bigInt("0x10000000000000000"),
		"\x80\x04N.": nil, "\x80\x04\x88.": true, "\x80\x04\x89.": false,
		"\x80\x04G\x3f\xf8\x00\x00\x00\x00\x00\x00.": 1.5,
		"\x80\x04\x8c\x02ok.":                        "ok", "\x80\x04C\x02\xff\x00.": []byte{0xff, 0},
		"\x80\x04].": list{}, "\x80\x04).": tuple(nil), "\x80\x04}.": dict{},
		"\x80\x04](K\x05N\x88e.": list{5, nil, true}, "\x80\x04K\x01K\x02\x86.": tuple{1, 2}, "\x80\x04(K\x01K\x02K\x03K\x04t.": tuple{1, 2, 3, 4},
		"\x80\x04}(\x8c\x01aK\x05u.": dict{{"a", 5}},
	} {
		if got, err := djangocache.Encode(v); err != nil || string(got) != want {
			t.Errorf("%#v: %q, %v, want %q", v, got, err, want)
		}
	}
	if got, err := djangocache.Pickle(5); err != nil || string(got) != "\x80\x04K\x05." {
		t.Errorf("pickled 5: %q, %v", got, err)
	}
	// 15 bytes stay as they are, 16 do not.
	for n, want := range map[int]string{10: "80048c0a", 11: "78"} {
		got, err := djangocache.Encode(strings.Repeat("a", n))
		if text := hex.EncodeToString(got); err != nil || !strings.HasPrefix(text, want) {
			t.Errorf("%d bytes of text: %s, %v, want %s…", n, text, err, want)
		}
	}
}

func TestEncodeString(t *testing.T) {
	t.Parallel()
	appended, err := djangocache.AppendString([]byte("before "), "я")
	if want := "before \x80\x02X\x02\x00\x00\x00я."; err != nil || string(appended) != want {
		t.Errorf("appended: %q, %v, want %q", appended, err, want)
	}
	for _, text := range []string{"", "я", strings.Repeat("я", 500)} {
		encoded, err := djangocache.EncodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		fromBytes, err := djangocache.AppendString(nil, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := encoded[0] == 0x78; got != (len(fromBytes) > 15) {
			t.Errorf("%d bytes deflated: %t", len(fromBytes), got)
		}
		for _, raw := range [][]byte{encoded, fromBytes} {
			if s, err := djangocache.DecodeString(raw); err != nil || string(s) != text {
				t.Errorf("%.9q: %.9q, %v", text, s, err)
			}
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	deep := any(list{})
	for range djangocache.MaxDepth {
		deep = tuple{deep}
	}
	loop := list{nil}
	loop[0] = loop
	wide := any(list{})
	for range 40 {
		wide = list{wide, wide}
	}
	large := strings.Repeat("a", djangocache.MaxSize)
	huge := new(big.Int).Exp(big.NewInt(10), big.NewInt(djangocache.MaxDigits), nil)
	for name, v := range map[string]any{
		"no UTF-8": "\xff", "a surrogate": "\xed\xa0\x80", "no UTF-8 in a list": list{"\xff"}, "no UTF-8 as a key": dict{{"\xff", 1}},
		"another type": struct{}{}, "another slice": []any{}, "another map": map[string]any{}, "another float": float32(1), "a pointer": new(int),
		"a nil number": (*big.Int)(nil), "a nil number in a list": list{(*big.Int)(nil)}, "too many digits": huge,
		"too many digits in a list": list{new(big.Int).Neg(huge)}, "a list as a key": dict{{list{}, 1}}, "a dict in a key": dict{{tuple{dict{}}, 1}},
		"a key twice": dict{{"a", 1}, {"b", 1}, {"a", 2}}, "an equal key": dict{{1, 1}, {true, 2}}, "an equal tuple": dict{{tuple{0.0}, 1}, {tuple{false}, 2}},
		"NaN as a key": dict{{math.NaN(), 1}}, "too deep": deep, "itself": loop, "too many": wide, "too large": large, "bytes too large": []byte(large),
		"too large in all": list{large[:len(large)/2], large[:len(large)/2]}, "too many to key": dict{{wide, 1}},
		"too many values": make(list, djangocache.MaxValues),
	} {
		if got, err := djangocache.Encode(v); !errors.Is(err, djangocache.ErrUnsupported) || got != nil {
			t.Errorf("%s: %d bytes, %v, want ErrUnsupported", name, len(got), err)
		}
		if got, err := djangocache.Pickle(v); !errors.Is(err, djangocache.ErrUnsupported) || got != nil {
			t.Errorf("%s: %d bytes pickled, %v, want ErrUnsupported", name, len(got), err)
		}
		s, ok := v.(string)
		if !ok {
			continue
		}
		if got, err := djangocache.EncodeString(s); !errors.Is(err, djangocache.ErrUnsupported) || got != nil {
			t.Errorf("%s: EncodeString: %d bytes, %v", name, len(got), err)
		}
		if got, err := djangocache.AppendString([]byte("before"), []byte(s)); !errors.Is(err, djangocache.ErrUnsupported) || got != nil {
			t.Errorf("%s: AppendString: %d bytes, %v", name, len(got), err)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := genValue(3).Draw(t, "v")
		raw, err := djangocache.Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := djangocache.Decode(raw)
		if err != nil || !reflect.DeepEqual(got, v) {
			t.Fatalf("%#v, %v", got, err)
		}
		pickle, err := djangocache.Pickle(v)
		if err != nil {
			t.Fatal(err)
		}
		for what, decode := range map[string]func([]byte) (any, error){"Decode": djangocache.Decode, "Unpickle": djangocache.Unpickle} {
			if got, err := decode(pickle); err != nil || !reflect.DeepEqual(got, v) {
				t.Fatalf("%s: %#v, %v", what, got, err)
			}
		}
	})
}

func TestStringRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		deflated, err := djangocache.EncodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := djangocache.AppendString(nil, s)
		if err != nil {
			t.Fatal(err)
		}
		general, err := djangocache.Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range [][]byte{deflated, plain, general} {
			if got, err := djangocache.DecodeString(raw); err != nil || string(got) != s {
				t.Fatalf("DecodeString(%x): %q, %v", raw, got, err)
			}
			if got, err := djangocache.Decode(raw); err != nil || got != s {
				t.Fatalf("Decode(%x): %q, %v", raw, got, err)
			}
		}
	})
}

// genScalar makes values that can be a key. NaN is not among them: it equals nothing.
func genScalar() *rapid.Generator[any] {
	return rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Bool().AsAny(),
		rapid.Int64().AsAny(),
		rapid.Int64Range(-300, 70000).AsAny(),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 300), func(b []byte) any {
			n := new(big.Int).SetBytes(b)
			if len(b)%2 == 1 {
				n.Neg(n)
			}
			if n.IsInt64() {
				return n.Int64()
			}
			return n
		}),
		rapid.Float64().AsAny(),
		rapid.String().AsAny(),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) any { return append([]byte{}, b...) }),
	)
}

func genValue(depth int) *rapid.Generator[any] {
	if depth == 0 {
		return genScalar()
	}
	inner := rapid.Deferred(func() *rapid.Generator[any] { return genValue(depth - 1) })
	key := rapid.OneOf(genScalar(), rapid.Map(rapid.SliceOfN(genScalar(), 0, 4), func(items []any) any { return append(tuple{}, items...) }))
	// Of keys that Python takes for the same only one can be in a dict.
	unique := func(key any) string {
		switch k := key.(type) {
		case string:
			return "s" + k
		case []byte:
			return "b" + string(k)
		case int64:
			if k < 0 || k > 1 {
				return "i" + big.NewInt(k).String()
			}
		case tuple:
			if len(k) == 0 {
				return "()"
			}
		case nil:
			return "None"
		}
		return "one of these"
	}
	return rapid.OneOf(
		genScalar(),
		rapid.Map(rapid.SliceOfN(inner, 0, 9), func(items []any) any { return append(list{}, items...) }),
		rapid.Map(rapid.SliceOfN(inner, 0, 5), func(items []any) any { return append(tuple{}, items...) }),
		rapid.Custom(func(t *rapid.T) any {
			d := dict{}
			for _, k := range rapid.SliceOfNDistinct(key, 0, 6, unique).Draw(t, "keys") {
				d = append(d, djangocache.Pair{Key: k, Value: inner.Draw(t, "value")})
			}
			return d
		}),
	)
}
