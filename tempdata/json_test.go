package tempdata

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

func nestedLists(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func TestCompact(t *testing.T) {
	t.Parallel()
	wide := "[" + strings.Repeat(`{"a":["]"]},`, 1000) + "{}]"
	for in, want := range map[string]string{
		"1":                                   "1",
		" \t\r\n-0.10E+2 ":                    "-0.10E+2",
		"12345678901234567890123":             "12345678901234567890123",
		" null\n":                             "null",
		`{ "b" : [ 1.0 , true ] , "a" : {} }`: `{"b":[1.0,true],"a":{}}`,
		`"a b\u0020\/\\\" <&>"`:               `"a b\u0020\/\\\" <&>"`,
		`"\u0418 И ☕️ \ud83d\ude00"`:          `"\u0418 И ☕️ \ud83d\ude00"`,
		`{"a":{"a":{"a":1}},"\u0061a":1}`:     `{"a":{"a":{"a":1}},"\u0061a":1}`,
		`""`:                                  `""`,
		nestedLists(64):                       nestedLists(64),
		strings.Repeat(`{"a": `, 64) + "0" + strings.Repeat("} ", 64): strings.Repeat(`{"a":`, 64) + "0" + strings.Repeat("}", 64),
		wide:                                   wide,
		`"` + strings.Repeat(`[\"`, 100) + `"`: `"` + strings.Repeat(`[\"`, 100) + `"`,
	} {
		data := []byte(in)
		got, err := compact(data, MaxValueSize)
		if err != nil || string(got) != want {
			t.Errorf("%.80s became %.80s, %v; want %.80s", in, got, err, want)
		}
		for i := range data {
			data[i] = '#'
		}
		if string(got) != want {
			t.Errorf("%.80s is the caller's own", in)
		}
	}
}

func TestCompactRefuses(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                            "it ends too early",
		" \n":                         "it ends too early",
		"{":                           "it ends too early",
		`{"a"`:                        "it ends too early",
		`{"a":`:                       "it ends too early",
		`[1,`:                         "it ends too early",
		`"abc`:                        "it ends too early",
		"tru":                         "it ends too early",
		"[1 2]":                       "at byte 3",
		"[1,]":                        "at byte 3",
		`{"a":1,}`:                    "at byte 7",
		"1 2":                         "at byte 2",
		"{}}":                         "at byte 2",
		`   {a:1}`:                    "at byte 4",
		"{'a':1}":                     "at byte 1",
		"{1:2}":                       "at byte 1",
		"NaN":                         "at byte 0",
		"-":                           "it ends too early",
		"01":                          "at byte 1",
		"1.":                          "it ends too early",
		"+1":                          "at byte 0",
		"\ufeff1":                     "at byte 0",
		"1 // one":                    "at byte 2",
		"\"a\nb\"":                    "at byte 2",
		`"\x41"`:                      "at byte 1",
		`["ab","` + "\xff" + `"]`:     "at byte 7",
		"\"\xed\xa0\x80\"":            "at byte 1",
		`"\ud83d"`:                    "at byte 1",
		`{"a":1,"a":1}`:               "a member is named twice",
		`[{"b":{"a":1,"\u0061":2}}]`:  "a member is named twice",
		nestedLists(65):               "it is nested deeper than 64 levels",
		strings.Repeat("[", 1<<20):    "it is nested deeper than 64 levels",
		strings.Repeat(`{"":`, 10001): "it is nested deeper than 64 levels",
		// Where it is nested matters, not what is in strings or beside each other.
		`["]]",` + nestedLists(64) + "]": "it is nested deeper than 64 levels",
	} {
		got, err := compact([]byte(in), MaxValueSize)
		if !errors.Is(err, ErrMalformed) || errors.Is(err, ErrTooLarge) || err.Error() != ErrMalformed.Error()+": "+want {
			t.Errorf("%.80q: %.80s, %v; want %s", in, got, err, want)
		}
	}
}

func TestCompactIsOfLimitedSize(t *testing.T) {
	t.Parallel()
	if got, err := compact([]byte(` [ 1 , "ж" ] `), 8); err != nil || len(got) != 8 {
		t.Errorf("a value of 8 bytes: %s, %v", got, err)
	}
	if got, err := compact([]byte(`[1,"ж"]`), 7); !errors.Is(err, ErrTooLarge) || errors.Is(err, ErrMalformed) {
		t.Errorf("a value of 8 bytes where 7 are allowed: %s, %v", got, err)
	}
}

func TestTypeOf(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		"{}": "dict", `{"a":1.5}`: "dict", "[]": "list", "[1e5]": "list", `""`: "str", `"1.5"`: "str", "true": "bool",
		"false": "bool", "null": "NoneType", "0": "int", "-0": "int", "-12": "int", "9007199254740993": "int",
		"1.0": "float", "1e5": "float", "1E5": "float", "-0.5": "float", "": "",
	} {
		if got := typeOf([]byte(data)); got != want {
			t.Errorf("%s is %q, want %q", data, got, want)
		}
	}
}

func FuzzCompact(f *testing.F) {
	for _, seed := range []string{
		"", " 1 ", "null", `{ "a" : [ 1 , -2.5e7 , "\u0418 \\\" [" ] , "b" : {} }`, `{"a":1,"\u0061":2}`, nestedLists(65),
		`"\ud83d"`, "\"\xff\"", "[1,]", "{}{}", strings.Repeat(`{"a":[`, 40),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		got, err := compact(data, MaxValueSize)
		if !bytes.Equal(data, before) {
			t.Fatal("it was changed")
		}
		valid := jsontext.Value(data).IsValid() && !tooDeep(data) // As another program of the library sees it.
		if (err == nil) != valid && !errors.Is(err, ErrTooLarge) {
			t.Fatalf("%v for what is valid: %v", err, valid)
		}
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("another error: %v", err)
			}
			return
		}
		var want bytes.Buffer
		if err := json.Compact(&want, data); err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("became %q, want %q, %v", got, want.Bytes(), err)
		}
		if again, err := compact(got, len(got)); err != nil || !bytes.Equal(again, got) {
			t.Fatalf("the second time it became %q, %v", again, err)
		}
		types := []string{"dict", "list", "str", "int", "float", "bool", "NoneType"}
		if typ := typeOf(got); !slices.Contains(types, typ) || (typ == "dict") != (got[0] == '{') {
			t.Fatalf("%q is %q", got, typ)
		}
	})
}
