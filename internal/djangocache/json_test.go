package djangocache_test

import (
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/djangocache"
)

// The floats and keys are as Python's json.dumps writes them.
func TestAppendJSON(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]any{
		"null": nil, "true": true, "false": false, "5": 5, "-7": int64(-7), "18446744073709551616": bigInt("0x10000000000000000"),
		"1.0": 1.0, "-0.0": math.Copysign(0, -1), "1.5": 1.5, "1e+16": 1e16, "1e+100": 1e100, "1000000000000000.0": 1e15, "1e-07": 1e-7, "1e-05": 1e-5,
		"0.0001": 1e-4, "5e-324": 5e-324, "123456789.123": 123456789.123,
		`"Анна \"x\"\n<&>"`:      "Анна \"x\"\n<&>",
		"[]":                     list{},
		"[1,[2,3],[]]":           list{1, tuple{2, 3}, tuple{}},
		"{}":                     dict{},
		`{"b":1,"a":{"я":null}}`: dict{{"b", 1}, {"a", dict{{"я", nil}}}},
		`{"null":1,"true":2,"false":3,"7":4,"1.5":5,"1e+16":6,"18446744073709551616":7}`: dict{
			{nil, 1}, {true, 2}, {false, 3}, {7, 4}, {1.5, 5}, {1e16, 6}, {bigInt("0x10000000000000000"), 7},
		},
	} {
		if got, err := djangocache.AppendJSON([]byte("before "), v); err != nil || string(got) != "before "+want {
			t.Errorf("%#v: %s, %v, want %s", v, got, err, want)
		}
	}
}

func TestAppendJSONRefuses(t *testing.T) {
	t.Parallel()
	deep := any(list{})
	for range djangocache.MaxDepth {
		deep = dict{{"a", deep}}
	}
	loop := dict{{"a", nil}}
	loop[0].Value = loop
	wide := any(list{})
	for range 40 {
		wide = tuple{wide, wide}
	}
	for name, v := range map[string]any{
		"NaN": math.NaN(), "an infinity": math.Inf(-1), "bytes": []byte("a"), "bytes in a tuple": tuple{[]byte{}}, "no UTF-8": "\xff",
		"no UTF-8 as a key": dict{{"\xff", 1}}, "NaN as a key": dict{{math.NaN(), 1}}, "bytes as a key": dict{{[]byte("a"), 1}},
		"a tuple as a key": dict{{tuple{}, 1}}, "a list as a key": dict{{list{}, 1}}, "two keys alike": dict{{1, 1}, {"1", 2}},
		"another type": struct{}{}, "a nil number": (*big.Int)(nil), "too many digits": new(big.Int).Lsh(big.NewInt(1), 1<<20),
		"too deep": deep, "itself": loop, "too many": wide,
	} {
		if got, err := djangocache.AppendJSON(nil, v); !errors.Is(err, djangocache.ErrUnsupported) || got != nil {
			t.Errorf("%s: %.20s, %v, want ErrUnsupported", name, got, err)
		}
	}
	if _, err := djangocache.AppendJSON(nil, list{strings.Repeat("secretly", 3), math.NaN()}); strings.Contains(err.Error(), "secret") {
		t.Errorf("the error quotes the value: %v", err)
	}
}
