package djangocache_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/djangocache"
)

// vector is a value as the bot stored it.
type vector struct {
	Key         string          `json:"key"`
	ValueHex    string          `json:"value_hex"`
	Compression string          `json:"compression"`
	PythonType  string          `json:"python_type"`
	Decoded     json.RawMessage `json:"decoded"`
}

func (v *vector) raw(tb testing.TB) []byte {
	tb.Helper()
	return unhex(tb, v.ValueHex)
}

func vectors(tb testing.TB) []vector {
	tb.Helper()
	data, err := os.ReadFile("testdata/django-cache.json")
	if err != nil {
		tb.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(data, &all); err != nil {
		tb.Fatal(err)
	}
	if len(all) == 0 {
		tb.Fatal("no vectors")
	}
	return all
}

// unhex reads hexadecimal that spaces may divide.
func unhex(tb testing.TB, text string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// mustPickle writes v pickled and not deflated. Such bytes are the same only for values that are, NaN included.
func mustPickle(tb testing.TB, v any) string {
	tb.Helper()
	b, err := djangocache.Pickle(v)
	if err != nil {
		tb.Fatalf("%T: %v", v, err)
	}
	return string(b)
}
