package traceparent_test

import (
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/tracing/traceparent"
)

const (
	traceID  = "4bf92f3577b34da6a3ce929d0e0e4736"
	parentID = "00f067aa0ba902b7"
	good     = "00-" + traceID + "-" + parentID + "-01"
)

func TestForms(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct{ valid, current bool }{
		good:                      {true, true},
		good[:53] + "00":          {true, true},
		good[:53] + "ff":          {true, true},
		"01" + good[2:]:           {true, false},
		"01" + good[2:] + "-more": {true, false},
		"01" + good[2:] + "more":  {},
		"01" + good[2:] + "-\n":   {},
		"01" + good[2:] + "-" + strings.Repeat("x", 300): {},
		"ff" + good[2:]:                    {},
		good + "-x":                        {},
		good + " ":                         {},
		good[:54]:                          {},
		"":                                 {},
		strings.ToUpper(good):              {},
		strings.Replace(good, "-", "_", 1): {},
		"00-" + strings.Repeat("0", 32) + good[35:]: {},
		good[:36] + strings.Repeat("0", 16) + "-01": {},
		"00-" + traceID[:31] + "é"[:1] + good[35:]:  {},
	} {
		if got := traceparent.Valid(text); got != want.valid {
			t.Errorf("%q: valid %v", text, got)
		}
		if got := traceparent.Current(text); (got == text && text != "") != want.current || got != "" && got != text {
			t.Errorf("%q: current %q", text, got)
		}
		trace, parent := traceparent.IDs(text)
		if want.valid != (trace == traceID && parent == parentID) || !want.valid && trace+parent != "" {
			t.Errorf("%q: ids %q and %q", text, trace, parent)
		}
	}
}

func TestFormat(t *testing.T) {
	t.Parallel()
	trace := [16]byte{0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36}
	parent := [8]byte{0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7}
	if got := traceparent.Format(trace, parent, 1); got != good {
		t.Errorf("%q", got)
	}
}
