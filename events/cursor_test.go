package events_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/events"
)

func TestParseCursor(t *testing.T) {
	t.Parallel()
	var most []string
	for n := range events.MaxChannels {
		most = append(most, fmt.Sprintf("user:%d@%d-0", n+1, n))
	}
	for _, in := range []string{
		"", "earliest", "since@1795252500125", "global@1795252500125-0", "global@0-0", "user:123@1795252500125-3,global@5-0",
		"service:a.b-c_d@1795252500125,user:9223372036854775807@18446744073709551615-1", strings.Join(most, ","),
	} {
		c, err := events.ParseCursor(in)
		if err != nil || c.String() != in || c.IsZero() != (in == "") {
			t.Errorf("%q: %q, zero %v, %v", in, c, c.IsZero(), err)
		}
	}
	for _, in := range []string{
		",", "@", "global", "global@", "global@x", "@1-0", "global@1-0,", ",global@1-0", "global@1-0,,user:1@1-0", "global@1-0, user:1@1-0",
		"global@1-0,global@2-0", "user:0@1-0", "Earliest", "earliest,global@1-0", "since@", "since@1-0", "since@x", "since@1,global@1-0",
		"global@1-0,since@1", "global@1-0@2-0", strings.Join(most, ",") + ",global@1-0",
	} {
		if c, err := events.ParseCursor(in); !errors.Is(err, events.ErrBadCursor) || !c.IsZero() {
			t.Errorf("%q: %q, %v", in, c, err)
		}
	}
}

func TestCursorText(t *testing.T) {
	t.Parallel()
	if s := events.Earliest().String(); s != "earliest" {
		t.Errorf("Earliest is written %q", s)
	}
	for _, at := range []time.Time{time.UnixMilli(1795252500125), time.Unix(-1, 0), time.Unix(0, 0)} {
		c := events.Since(at)
		again, err := events.ParseCursor(c.String())
		if err != nil || c.IsZero() || again.IsZero() || again.String() != c.String() {
			t.Errorf("since %v: %q, %v", at, c, err)
		}
	}
	var zero events.Cursor
	if zero.String() != "" || !zero.IsZero() {
		t.Errorf("the zero Cursor is written %q", zero)
	}
}

// FuzzParseCursor checks that a cursor comes through its text and back unchanged.
func FuzzParseCursor(f *testing.F) {
	for _, s := range []string{
		"", "earliest", "since@5", "since@5-1", "global@1-0", "user:1@1-0,global@7", "global@1-18446744073709551615", "global@1-0,global@2-0", "@", ",",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		c, err := events.ParseCursor(in)
		if err != nil {
			if !errors.Is(err, events.ErrBadCursor) || !c.IsZero() {
				t.Fatalf("%q: %q, %v", in, c, err)
			}
			return
		}
		text := c.String()
		// The end of a millisecond has a short form; nothing else is written in two ways.
		parts := strings.Split(in, ",")
		for i := range parts {
			parts[i] = strings.TrimSuffix(parts[i], "-18446744073709551615")
		}
		if text != strings.Join(parts, ",") {
			t.Fatalf("%q became %q", in, text)
		}
		again, err := events.ParseCursor(text)
		if err != nil || again.String() != text || again.IsZero() != (in == "") {
			t.Fatalf("%q became %q and %q: %v", in, text, again, err)
		}
	})
}
