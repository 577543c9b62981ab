package djangocache_test

import (
	"errors"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/connectbot-hub/connecthub/internal/djangocache"
)

func FuzzDecode(f *testing.F) {
	for _, vector := range vectors(f) {
		f.Add(vector.raw(f))
	}
	for _, pickle := range []string{
		"8004 63 6f730a73797374656d0a 2e", "8004 5d 94 6800 61 2e", "8004 7d 28 88 4b02 4b01 4b03 75 2e", "8004 28 4e 4e 74 94 5d 28 6800 6800 65 2e",
		"8004 8c01 61 70 310a 67 310a 86 2e", "8005 8e 0200000000000000 ff00 2e", "8004 8a 09 000000000000008000 85 2e", "8002 58 02000000 d0af 2e",
		"8004 28 4b01 4b02 6c 28 4e 47 3ff8000000000000 64 86 2e", "2031325f300a",
	} {
		f.Add(unhex(f, pickle))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := djangocache.Decode(raw)
		text, textErr := djangocache.DecodeString(raw)
		if err != nil {
			known := 0
			for _, sentinel := range []error{djangocache.ErrDamaged, djangocache.ErrUnsafe, djangocache.ErrUnsupported} {
				if errors.Is(err, sentinel) {
					known++
				}
			}
			if known != 1 || v != nil || textErr == nil {
				t.Fatalf("%v, %v; DecodeString: %v", v, err, textErr)
			}
			return
		}
		if s, ok := v.(string); ok != (textErr == nil) || ok && s != string(text) {
			t.Fatalf("%v; DecodeString: %q, %v", v, text, textErr)
		}
		pickle := mustPickle(t, v)
		if len(pickle) > djangocache.MaxSize {
			t.Fatalf("%d bytes", len(pickle))
		}
		again, err := djangocache.Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		w, err := djangocache.Decode(again)
		if err != nil || mustPickle(t, w) != pickle {
			t.Fatalf("%#v became %#v, %v", v, w, err)
		}
		switch text, err := djangocache.AppendJSON(nil, v); {
		case err == nil && !jsontext.Value(text).IsValid():
			t.Fatalf("%#v: %s", v, text)
		case err != nil && !errors.Is(err, djangocache.ErrUnsupported):
			t.Fatal(err)
		case len(text) > 6*djangocache.MaxSize+25*djangocache.MaxValues:
			t.Fatalf("%d bytes of JSON", len(text))
		}
	})
}
