package events_test

import (
	"errors"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/events"
)

func TestParseTimestamp(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"2026-11-21T19:11:26.325925Z":         "2026-11-21T19:11:26.325925Z",
		"2026-11-21T19:11:26Z":                "2026-11-21T19:11:26.000000Z",
		"2026-11-21T19:11:26.3Z":              "2026-11-21T19:11:26.300000Z",
		"2026-11-21T19:11:26.325925999Z":      "2026-11-21T19:11:26.325925Z",
		"2026-11-21T22:11:26.325925+03:00":    "2026-11-21T19:11:26.325925Z",
		"2026-11-21T19:11:26-00:30":           "2026-11-21T19:41:26.000000Z",
		"2024-02-29T23:59:59.999999Z":         "2024-02-29T23:59:59.999999Z",
		"0001-01-01T00:00:00.000001Z":         "0001-01-01T00:00:00.000001Z",
		"9999-12-31T23:59:59.999999Z":         "9999-12-31T23:59:59.999999Z",
		"1969-12-31T23:59:59.999999+00:00":    "1969-12-31T23:59:59.999999Z",
		"0987-06-05T04:03:02.010203Z":         "0987-06-05T04:03:02.010203Z",
		"2026-11-21T19:11:26.000001000+14:00": "2026-11-21T05:11:26.000001Z",
	} {
		at, err := events.ParseTimestamp(in)
		if err != nil || at.Location() != time.UTC || events.FormatTimestamp(at) != want {
			t.Errorf("%s: %s, %v", in, events.FormatTimestamp(at), err)
		}
	}
	for _, in := range []string{
		"", "now", "2026-11-21", "2026-11-21 19:11:26", "19:11:26", "1795252500", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z",
		"2026-11-21T25:00:00Z", "2026-11-21T19:11:60Z", "0000-12-31T23:59:59Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00",
		"10000-01-01T00:00:00Z", "2026-11-21T19:11:26Z ", " 2026-11-21T19:11:26Z", "2026-11-21T19:11:26+0300", "2026-W47-6T19:11:26Z",
	} {
		if at, err := events.ParseTimestamp(in); !errors.Is(err, events.ErrBadTimestamp) || !at.IsZero() {
			t.Errorf("%q: %v, %v", in, at, err)
		}
	}
}

// inMoscow makes Moscow the local time of this process until the test ends. The test must not be parallel.
func inMoscow(tb testing.TB) {
	tb.Helper()
	here := time.Local
	tb.Cleanup(func() { time.Local = here })
	time.Local = time.FixedZone("MSK", 3*60*60)
}

// TestNaiveTimestamp reads the bot's timestamps, which carry no zone and mean this process's.
func TestNaiveTimestamp(t *testing.T) {
	inMoscow(t)
	for in, want := range map[string]string{
		"2026-11-21T19:11:26.325925": "2026-11-21T16:11:26.325925Z",
		"2026-11-21T19:11:26":        "2026-11-21T16:11:26.000000Z",
		"2026-11-21T01:00:00.5":      "2026-11-20T22:00:00.500000Z",
	} {
		at, err := events.ParseTimestamp(in)
		if err != nil || events.FormatTimestamp(at) != want {
			t.Errorf("%s: %s, %v", in, events.FormatTimestamp(at), err)
		}
	}
	if _, err := events.ParseTimestamp("0001-01-01T00:00:00"); !errors.Is(err, events.ErrBadTimestamp) {
		t.Errorf("a time that lies before the year 1 in UTC: %v", err)
	}
}

// FuzzTimestamp compares what is written with the standard library, and reads it back.
func FuzzTimestamp(f *testing.F) {
	f.Add(int64(0), int64(0))
	f.Add(int64(1795252500), int64(125_000_999))
	f.Add(int64(-62135596800), int64(1))
	f.Add(int64(253402300799), int64(999_999_999))
	f.Fuzz(func(t *testing.T, sec, nsec int64) {
		at := time.Unix(sec, nsec).UTC()
		if at.Year() < 1 || at.Year() > 9999 {
			return
		}
		text := events.FormatTimestamp(at)
		if want := at.Format("2006-01-02T15:04:05.000000Z"); text != want {
			t.Fatalf("%v is written %s, want %s", at, text, want)
		}
		if again, err := events.ParseTimestamp(text); err != nil || !again.Equal(at.Truncate(time.Microsecond)) {
			t.Fatalf("%s is read as %v: %v", text, again, err)
		}
	})
}

// FuzzParseTimestamp checks that what is taken can be written and read again, to the microsecond.
func FuzzParseTimestamp(f *testing.F) {
	for _, s := range []string{"2026-11-21T19:11:26.325925Z", "2026-11-21T19:11:26", "2026-11-21T19:11:26,5Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		at, err := events.ParseTimestamp(in)
		if err != nil {
			if !errors.Is(err, events.ErrBadTimestamp) || !at.IsZero() {
				t.Fatalf("%q: %v, %v", in, at, err)
			}
			return
		}
		text := events.FormatTimestamp(at)
		if again, err := events.ParseTimestamp(text); err != nil || !again.Equal(at) || len(text) != len("2026-11-21T19:11:26.325925Z") {
			t.Fatalf("%q became %q: %v", in, text, err)
		}
	})
}
