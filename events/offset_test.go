package events_test

import (
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/events"
)

func offset(tb testing.TB, text string) events.Offset {
	tb.Helper()
	o, err := events.ParseOffset(text)
	if err != nil {
		tb.Fatal(err)
	}
	return o
}

func TestParseOffset(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"0-0", "0-1", "1795252500125-0", "1795252500125-17", "1795252500125", "0", "18446744073709551615", "18446744073709551615-18446744073709551614"} {
		o, err := events.ParseOffset(in)
		if err != nil || o.String() != in {
			t.Errorf("%s: %v, %v", in, o, err)
		}
	}
	if o := offset(t, "7-18446744073709551615"); o != offset(t, "7") || o.String() != "7" {
		t.Errorf("the end of a millisecond has two forms: %v", o)
	}
	for _, in := range []string{
		"", "-", "-1", "1-", "1-2-3", "+1-0", "1-+0", "01-0", "1-00", " 1-0", "1-0 ", "1.5-0", "0x1-0", "1_0-0", "a", "$", "+", "*", "1-*",
		"18446744073709551616-0", "0-18446744073709551616", "١-0", "1-0\x00",
	} {
		if o, err := events.ParseOffset(in); !errors.Is(err, events.ErrBadOffset) || !o.IsZero() {
			t.Errorf("%q: %v, %v", in, o, err)
		}
	}
}

func TestOffsetOrder(t *testing.T) {
	t.Parallel()
	ordered := []string{"0-0", "0-1", "0-2", "0-10", "0", "1-0", "9-5", "10-0", "10-3", "10", "18446744073709551615-0", "18446744073709551615"}
	for i, a := range ordered {
		for j, b := range ordered {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := offset(t, a).Compare(offset(t, b)); got != want {
				t.Errorf("%s and %s compare as %d, want %d", a, b, got, want)
			}
		}
	}
}

func TestOffsetTime(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 19, 11, 26, 325_925_000, time.FixedZone("MSK", 3*3600))
	o := events.OffsetAt(at)
	if !o.Time().Equal(at.Truncate(time.Millisecond)) || o.Time().Location() != time.UTC {
		t.Errorf("the time of %v is %v", o, o.Time())
	}
	if o.Compare(offset(t, o.String()+"-5")) != 1 {
		t.Error("OffsetAt does not lie behind its millisecond")
	}
	if o := events.OffsetAt(time.Unix(-5, 0)); o.String() != "0" {
		t.Errorf("before 1970 gives %v", o)
	}
	var zero events.Offset
	if !zero.IsZero() || zero != offset(t, "0-0") || zero.Time().UnixMilli() != 0 {
		t.Errorf("the zero Offset: %v", zero)
	}
	if far := offset(t, "18446744073709551615-0").Time(); far.UnixMilli() != math.MaxInt64 {
		t.Errorf("the time of the greatest offset is %v", far)
	}
}

// FuzzParseOffset compares with arithmetic that knows no limits.
func FuzzParseOffset(f *testing.F) {
	for _, s := range []string{"", "0-0", "1795252500125-3", "5", "18446744073709551615-18446744073709551615", "18446744073709551616", "-1-1", "1-", "00-1", "+1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		o, err := events.ParseOffset(in)
		want := true
		for part := range strings.SplitSeq(in, "-") {
			n, ok := new(big.Int).SetString(part, 10)
			want = want && ok && n.IsUint64() && n.String() == part
		}
		if strings.Count(in, "-") > 1 {
			want = false
		}
		if (err == nil) != want || err != nil && (!errors.Is(err, events.ErrBadOffset) || !o.IsZero()) {
			t.Fatalf("%q: %v, %v", in, o, err)
		}
		if err != nil {
			return
		}
		if o.String() != strings.TrimSuffix(in, "-18446744073709551615") {
			t.Fatalf("%q became %v", in, o)
		}
		if offset(t, o.String()) != o || o.Compare(o) != 0 || o.IsZero() != (in == "0-0") {
			t.Fatalf("%q is not itself", in)
		}
	})
}
