package tempdata

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/connectbot-hub/connecthub/internal/djangocache"
)

var bot = django{prefix: "connectbot:1"} //nolint:gochecknoglobals // A constant, but for the language.

// djangoVector is a value as the bot stored it.
type djangoVector struct {
	Key      string          `json:"key"`
	ValueHex string          `json:"value_hex"`
	Decoded  json.RawMessage `json:"decoded"`
}

func djangoVectors(tb testing.TB) []djangoVector {
	tb.Helper()
	raw, err := os.ReadFile("testdata/django-cache.json")
	if err != nil {
		tb.Fatal(err)
	}
	var all []djangoVector
	if err := json.Unmarshal(raw, &all); err != nil || len(all) == 0 {
		tb.Fatal(err, len(all))
	}
	return all
}

func unhexed(tb testing.TB, text string) string {
	tb.Helper()
	raw, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return string(raw)
}

// pickled is a str as the bot keeps it.
func pickled(tb testing.TB, text string) string {
	tb.Helper()
	raw, err := djangocache.EncodeString(text)
	if err != nil {
		tb.Fatal(err)
	}
	return string(raw)
}

// sameJSON compares with numbers as they are written.
func sameJSON(tb testing.TB, a, b []byte) bool {
	tb.Helper()
	for _, v := range []*[]byte{&a, &b} {
		value := jsontext.Value(bytes.Clone(*v))
		if err := value.Format(jsontext.ReorderRawObjects(true)); err != nil {
			tb.Fatalf("%s: %v", *v, err)
		}
		*v = value
	}
	return bytes.Equal(a, b)
}

func TestDjangoKeys(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", MaxNameSize)
	for name, key := range map[string]Key{
		"temp:default:a":                       {"default", "a"},
		"temp:user_123:conversation_state":     {"user_123", ConversationKey},
		"temp:user_123:form_data_step1":        {"user_123", "form_data_step1"},
		"temp:user_123:form_data_" + long:      {"user_123", "form_data_" + long},
		"temp:sessions:a:b":                    {"sessions", "a:b"},
		"temp:matching_requests:7":             {"matching_requests", "7"},
		"temp:activity_drafts:activity_draft_": {"activity_drafts", "activity_draft_"},
		"temp:" + long + ":" + long:            {long, long},
		"emp:9":                                {"employees", "9"},
		"emp:9:x":                              {"employees", "9:x"},
		"int:9":                                {"interests", "9"},
		"act:9:participants":                   {"participants", "9"},
		"act::participants:participants":       {"participants", ":participants"},
		"sess:123":                             {"bot_sessions", "123"},
	} {
		name = "connectbot:1:" + name
		if got := bot.redisKey(key); got != name {
			t.Errorf("%v is kept as %s, want %s", key, got, name)
		}
		if got, ok := bot.parse(name); got != key || !ok {
			t.Errorf("%s is %v, %v; want %v", name, got, ok, key)
		}
	}
	for _, name := range []string{
		"", "connectbot:1", "connectbot:1:", "connectbot:2:emp:9", "connectbot:11:emp:9", "emp:9", "connectbot:1:menu:user:1:main",
		"connectbot:1:plain:int", "connectbot:1:temp:", "connectbot:1:temp:a", "connectbot:1:temp:a:", "connectbot:1:temp::a",
		"connectbot:1:temp:a/b:c", "connectbot:1:temp:a:ключ", "connectbot:1:emp:", "connectbot:1:emp:a b", "connectbot:1:act:9",
		"connectbot:1:act::participants", "connectbot:1:act:participants", "connectbot:1:act:9:organisers", "connectbot:1:sess:",
		"connectbot:1:temp:employees:9", "connectbot:1:temp:bot_sessions:9", "connectbot:1:temp:a:form_data_" + long,
		"connectbot:1:temp:a:x" + long, "connectbot:1:temp:x" + long + ":a", "connectbot:1:temp:user_123:form_data_x" + long,
	} {
		if key, ok := bot.parse(name); ok {
			t.Errorf("%s is %v, want none", name, key)
		}
	}
}

// envelopeOf returns the members of temporary data, as the bot reads them.
func envelopeOf(tb testing.TB, raw string) map[string]json.RawMessage {
	tb.Helper()
	text, err := djangocache.DecodeString([]byte(raw))
	if err != nil {
		tb.Fatal(err)
	}
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &members); err != nil {
		tb.Fatal(err)
	}
	return members
}

// TestDjangoVectors reads all that was recorded from the bot, and writes the same.
func TestDjangoVectors(t *testing.T) {
	t.Parallel()
	scalars := map[string]string{"scalar_int": "42", "scalar_str": `"hello"`}
	read := 0
	for _, vector := range djangoVectors(t) {
		raw := unhexed(t, vector.ValueHex)
		key, ok := bot.parse(vector.Key)
		if temporary := !strings.Contains(vector.Key, ":menu:") && !strings.Contains(vector.Key, ":plain:"); ok != temporary {
			t.Errorf("%s: %v, %v", vector.Key, key, ok)
		}
		if !ok {
			continue
		}
		read++
		got, err := bot.decode(key, raw)
		if err != nil {
			t.Errorf("%s: %v", vector.Key, err)
			continue
		}
		if !jsontext.Value(got.data).IsValid() || bytes.ContainsAny(got.data, " \n") {
			t.Errorf("%s: %s", vector.Key, got.data)
		}
		again, err := bot.encode(key, got.data, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if _, _, bare := bot.bare(key.Namespace); bare {
			if !sameJSON(t, got.data, vector.Decoded) || !got.at.IsZero() {
				t.Errorf("%s: %s at %v, want %s", vector.Key, got.data, got.at, vector.Decoded)
			}
			was, err := djangocache.Decode([]byte(raw))
			is, errIs := djangocache.Decode(again)
			if fmt.Sprintf("%#v", was) != fmt.Sprintf("%#v", is) || err != nil || errIs != nil {
				t.Errorf("%s: %#v becomes %#v", vector.Key, was, is)
			}
			continue
		}
		var text string
		var want struct {
			Data      json.RawMessage `json:"data"`
			Type      string          `json:"type"`
			CreatedAt string          `json:"created_at"`
		}
		if err := errors.Join(json.Unmarshal(vector.Decoded, &text), json.Unmarshal([]byte(text), &want)); err != nil {
			t.Fatal(err)
		}
		if scalar, ok := scalars[key.Name]; ok {
			want.Data = json.RawMessage(scalar)
		}
		at, err := time.ParseInLocation(djangoTime, want.CreatedAt, time.Local)
		if err != nil {
			t.Fatal(err)
		}
		if !sameJSON(t, got.data, want.Data) || got.typ != want.Type || !got.at.Equal(at) {
			t.Errorf("%s: %s, %s at %v, want %s, %s at %v", vector.Key, got.data, got.typ, got.at, want.Data, want.Type, at)
		}
		was, is := envelopeOf(t, raw), envelopeOf(t, string(again))
		for _, member := range []string{"data", "type", "namespace", "serialized"} {
			if key.Name == "scalar_str" && member == "data" {
				continue // Python frames and memorises it, which reads as the same.
			}
			if !sameJSON(t, was[member], is[member]) {
				t.Errorf("%s: %s: %s becomes %s", vector.Key, member, was[member], is[member])
			}
		}
		if len(was) != len(is) || len(was["created_at"]) != len(is["created_at"]) {
			t.Errorf("%s: %s becomes %s", vector.Key, was, is)
		}
	}
	if read != 8 {
		t.Errorf("%d vectors are temporary data", read)
	}
}

func TestDjangoPrefix(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]bool{"connectbot:1": true, ":1": true, "": false, "connectbot:": false} {
		if d, err := newDjango(prefix); (err == nil) != want || want && d.prefix != prefix {
			t.Errorf("%q: %v, %v", prefix, d, err)
		}
	}
}

// TestDjangoTime looks at when values were written, in Moscow, as far as the process is concerned. Others must not run
// meanwhile.
func TestDjangoTime(t *testing.T) {
	here := time.Local
	t.Cleanup(func() { time.Local = here })
	time.Local = time.FixedZone("MSK", 3*60*60)
	key := Key{"sessions", "a"}
	at := time.Date(2026, 11, 21, 16, 11, 26, 634773000, time.UTC)
	raw, err := bot.encode(key, []byte(`{}`), at.Add(999*time.Nanosecond))
	if err != nil {
		t.Fatal(err)
	}
	if created := envelopeOf(t, string(raw))["created_at"]; string(created) != `"2026-11-21T19:11:26.634773"` {
		t.Errorf("the bot sees %s", created)
	}
	marked := string(raw)
	pickle, _ := cutMark(raw)
	for what, raw := range map[string]string{"with its mark": marked, "without": string(pickle)} {
		if got, err := bot.decode(key, raw); err != nil || !got.at.Equal(at) || got.at.Location() != time.UTC {
			t.Errorf("%s: %v, %v", what, got.at, err)
		}
	}
	for created, want := range map[string]string{
		`"2026-11-21T19:11:26"`:              "2026-11-21T16:11:26Z",
		`"2026-11-21T19:11:26.5"`:            "2026-11-21T16:11:26.5Z",
		`"2026-11-21T19:11:26.634773+00:00"`: "2026-11-21T19:11:26.634773Z",
		`"2026-11-21T19:11:26Z"`:             "2026-11-21T19:11:26Z",
		`"1969-01-01T00:00:00"`:              "0001-01-01T00:00:00Z",
		`"yesterday"`:                        "0001-01-01T00:00:00Z",
		`0`:                                  "0001-01-01T00:00:00Z",
		`null`:                               "0001-01-01T00:00:00Z",
		`{"a":[]}`:                           "0001-01-01T00:00:00Z",
	} {
		got, err := bot.decode(key, pickled(t, `{"data":[],"serialized":true,"created_at":`+created+`}`))
		if text := got.at.Format(time.RFC3339Nano); err != nil || text != want {
			t.Errorf("%s is %s, want %s; %v", created, text, want, err)
		}
	}
	for _, at := range []time.Time{{}, time.Unix(-1, 0), time.UnixMicro(1e16)} {
		if _, err := bot.encode(key, []byte(`{}`), at); err == nil {
			t.Errorf("%v is taken", at)
		}
	}
	bare := Key{"employees", "1"}
	raw, err = bot.encode(bare, []byte(`5`), at)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := bot.decode(bare, string(raw)); err != nil || !got.at.Equal(at) || string(got.data) != "5" || got.typ != "int" {
		t.Errorf("%s %s at %v, %v", got.typ, got.data, got.at, err)
	}
}

// TestDjangoNeverRepeats writes the same again and again.
func TestDjangoNeverRepeats(t *testing.T) {
	t.Parallel()
	at := time.Now()
	for _, key := range []Key{{"sessions", "a"}, {"employees", "1"}} {
		for _, data := range []string{`5`, `{"a":1}`, `"` + strings.Repeat("я", 4000) + `"`} {
			seen := map[string]bool{}
			for range 100 {
				raw, err := bot.encode(key, []byte(data), at)
				if err != nil || seen[string(raw)] {
					t.Fatal(err, len(seen))
				}
				seen[string(raw)] = true
			}
		}
	}
}

func TestDjangoDeflatesWhatIsLarge(t *testing.T) {
	t.Parallel()
	data := []byte(`{"text":"` + strings.Repeat("coffee ", 10000) + `"}`)
	for _, key := range []Key{{"sessions", "a"}, {"employees", "1"}} {
		raw, err := bot.encode(key, data, time.Now())
		if err != nil || len(raw) > 1000 {
			t.Errorf("%v: %d bytes, %v", key, len(raw), err)
		}
		if got, err := bot.decode(key, string(raw)); err != nil || !bytes.Equal(got.data, data) || got.at.IsZero() {
			t.Errorf("%v: %d bytes at %v, %v", key, len(got.data), got.at, err)
		}
	}
}

// TestDjangoValues reads back what was written, and what Python calls it.
func TestDjangoValues(t *testing.T) {
	t.Parallel()
	digits := strings.Repeat("7", djangocache.MaxDigits)
	deep := strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth)
	for _, test := range []struct{ data, want, typ string }{
		{`null`, "", "NoneType"},
		{`true`, "", "bool"},
		{`false`, "", "bool"},
		{`0`, "", "int"},
		{`-0`, "0", "int"},
		{`9223372036854775807`, "", "int"},
		{`-9223372036854775808`, "", "int"},
		{`9223372036854775808`, "", "int"},
		{`-18446744073709551617`, "", "int"},
		{digits, "", "int"},
		{"-" + digits, "", "int"},
		{`0.1`, "", "float"},
		{`1.0`, "", "float"},
		{`-0.0`, "", "float"},
		{`1e2`, "100.0", "float"},
		{`1E22`, "1e+22", "float"},
		{`5e-324`, "", "float"},
		{`1.7976931348623157e+308`, "", "float"},
		{`0.1000000000000000055511151231257827`, "0.1", "float"},
		{`""`, "", "str"},
		{`"Привет ☕️ 👤"`, "", "str"},
		{`"\u041f \" \\ \/ \n \u0000"`, `"П \" \\ / \n \u0000"`, "str"},
		{`"42"`, "", "str"},
		{`[]`, "", "list"},
		{`{}`, "", "dict"},
		{`{"a":[1,{"b":null}],"я":"👤","n":[12345678901234567890123,1.0,1e2,-0]}`, "", "dict"},
		{deep, "", "list"},
	} {
		want := test.want
		if want == "" {
			want = test.data
		}
		for _, key := range []Key{{"user_5", "a"}, {"bot_sessions", "5"}} {
			raw, err := bot.encode(key, []byte(test.data), time.Now())
			if err != nil {
				t.Errorf("%.50s: %v", test.data, err)
				continue
			}
			got, err := bot.decode(key, string(raw))
			if key.Namespace == "bot_sessions" && test.typ == "dict" {
				want = strings.NewReplacer("1e2", "100.0", "-0]", "0]").Replace(want) // All of it is Python's there.
			}
			if err != nil || string(got.data) != want || got.typ != test.typ {
				t.Errorf("%v: %.50s becomes %.50s, %s, %v", key, test.data, got.data, got.typ, err)
			}
		}
	}
	// What a container holds is not touched.
	exact := []byte(`{"a":1e400,"b":[1E5,-0,1.10],"c":"\u041f\/"}`)
	raw, err := bot.encode(Key{"user_5", "a"}, exact, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := bot.decode(Key{"user_5", "a"}, string(raw)); err != nil || !bytes.Equal(got.data, exact) {
		t.Errorf("%s, %v", got.data, err)
	}
}

// TestDjangoRefusesWhatTheBotCannotRead writes what Python has no value for.
func TestDjangoRefusesWhatTheBotCannotRead(t *testing.T) {
	t.Parallel()
	digits := strings.Repeat("7", djangocache.MaxDigits+1)
	for _, test := range []struct{ namespace, data string }{
		{"sessions", digits},
		{"sessions", "-" + digits},
		{"sessions", `{"` + digits + `":[` + digits + `]}`},
		{"sessions", "1e400"},
		{"employees", "[-1e400]"},
		{"employees", `[` + digits + `]`},
		{"employees", "[" + strings.Repeat("1,", 1<<17) + "1]"},
	} {
		_, err := bot.encode(Key{test.namespace, "a"}, []byte(test.data), time.Now())
		problem := (*InvalidError)(nil)
		if !errors.As(err, &problem) && !errors.Is(err, ErrTooLarge) || len(err.Error()) > 200 {
			t.Errorf("%s %.20s: %v", test.namespace, test.data, err)
		}
	}
	for _, data := range []string{`{"` + digits + `":"\"` + digits + `"}`, `[123456789,` + strings.Repeat(`12345678,`, 1000) + `1]`} {
		if _, err := bot.encode(Key{"sessions", "a"}, []byte(data), time.Now()); err != nil {
			t.Errorf("%.20s: %v", data, err)
		}
	}
	if _, err := bot.encode(Key{"sessions", "a"}, []byte(`"`+strings.Repeat("x", MaxValueSize)+`"`), time.Now()); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	largest := []byte(`"` + strings.Repeat("x", MaxValueSize-2) + `"`)
	for _, key := range []Key{{"sessions", "a"}, {"employees", "a"}} {
		raw, err := bot.encode(key, largest, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := bot.decode(key, string(raw)); err != nil || !bytes.Equal(got.data, largest) {
			t.Errorf("%v: %d bytes, %v", key, len(got.data), err)
		}
	}
}

// TestDjangoReadsPython reads what the bot might write besides what was recorded.
func TestDjangoReadsPython(t *testing.T) {
	t.Parallel()
	text := func(data, typ string, serialized bool) string {
		return pickled(t, fmt.Sprintf(`{"data": %s, "type": %q, "created_at": "2026-11-21T19:11:26.634773", "namespace": "a", "serialized": %v}`, data, typ, serialized))
	}
	temp, bare := Key{"a", "b"}, Key{"employees", "9"}
	for _, test := range []struct {
		key       Key
		raw       string
		data, typ string
	}{
		{temp, text(`[1, [2]]`, "tuple", true), `[1,[2]]`, "tuple"},
		{temp, text(`{"a" : 1.50 }`, "dict", true), `{"a":1.50}`, "dict"},
		{temp, text(`{"1": "x", "b": 2, "1": "y"}`, "dict", true), `{"1":"y","b":2}`, "dict"},
		{temp, text(`{"a": "\u041f\ud83d"}`, "dict", true), `{"a":"П�"}`, "dict"},
		{temp, text(`"8004882e"`, "bool", false), "true", "bool"},
		{temp, text(`"80044E2e"`, "NoneType", false), "null", "NoneType"},
		{temp, text(`"8004 4e 2e"`, "NoneType", false), "", ""},
		{temp, text(`"8002 8a09 0000000000000000 01 2e"`, "int", false), "", ""},
		{temp, text(`"80028a090000000000000000012e"`, "int", false), "18446744073709551616", "int"},
		{temp, text(`"8003473ff80000000000002e"`, "float", false), "1.5", "float"},
		{temp, text(`"8005954900000000000000"`, "str", false), "", ""},
		{temp, text(`"80045d284b014b02652e"`, "list", false), "[1,2]", "list"},
		{temp, text(`"80044b014b02862e"`, "tuple", false), "[1,2]", "tuple"},
		{temp, "5", "5", "int"},
		{temp, " +1_000\n", "1000", "int"},
		{temp, unhexed(t, "8004 4e 2e"), "null", "NoneType"},
		{temp, unhexed(t, "8004 7d 2e"), "{}", "dict"},
		{bare, "-7", "-7", "int"},
		{bare, unhexed(t, "8002 58 02000000 d09f 2e"), `"П"`, "str"},
		{bare, unhexed(t, "8003 7d 71 00 58 01000000 61 71 01 4b 05 73 2e"), `{"a":5}`, "dict"},
		{bare, unhexed(t, "8004 95 0300000000000000 4b 01 2e"), "1", "int"},
		{bare, unhexed(t, "8005 4b 01 4b 02 86 2e"), "[1,2]", "tuple"},
		{bare, unhexed(t, "8004 7d 4b 01 8c 01 61 73 2e"), `{"1":"a"}`, "dict"},
		{bare, unhexed(t, "8004 7d 2e") + "what follows", "{}", "dict"},
		{bare, text(`[]`, "list", true), "", "str"},
	} {
		got, err := bot.decode(test.key, test.raw)
		switch {
		case test.typ == "":
			if !errors.Is(err, ErrUnreadable) {
				t.Errorf("%q: %s, %v", test.raw, got.data, err)
			}
		case err != nil || got.typ != test.typ || test.data != "" && string(got.data) != test.data:
			t.Errorf("%q: %s %s, %v; want %s %s", test.raw, got.typ, got.data, err, test.typ, test.data)
		}
	}
}

// TestDjangoUnsafe reads pickles that would build something, wherever one may be.
func TestDjangoUnsafe(t *testing.T) {
	t.Parallel()
	for what, pickle := range map[string]string{
		"GLOBAL":          "8004 63 6f730a73797374656d0a 2e",
		"REDUCE":          "8004 63 6f730a73797374656d0a 8c 02 6964 85 52 2e",
		"REDUCE alone":    "8004 4e 29 52 2e",
		"STACK_GLOBAL":    "8004 8c 02 6f73 8c 06 73797374656d 93 2e",
		"BUILD":           "8004 4e 7d 62 2e",
		"INST":            "8002 28 69 6f730a73797374656d0a 2e",
		"OBJ":             "8002 28 4e 6f 2e",
		"NEWOBJ":          "8004 4e 29 81 2e",
		"NEWOBJ_EX":       "8004 4e 29 7d 92 2e",
		"EXT1":            "8004 82 01 2e",
		"EXT2":            "8004 83 0100 2e",
		"EXT4":            "8004 84 01000000 2e",
		"PERSID":          "8004 50 610a 2e",
		"BINPERSID":       "8004 4e 51 2e",
		"inside a list":   "8004 5d 28 4b 01 8c 02 6f73 8c 06 73797374656d 93 65 2e",
		"before an int":   "8004 63 6f730a73797374656d0a 30 4b 01 2e",
		"without PROTO":   "63 6f730a73797374656d0a 28 53 27 6964 27 0a 74 52 2e",
		"at protocol 0":   "28 69 6f730a73797374656d0a 2e",
		"NEXT_BUFFER":     "8005 97 2e",
		"READONLY_BUFFER": "8005 4e 98 2e",
	} {
		raw := unhexed(t, pickle)
		scalar := pickled(t, fmt.Sprintf(`{"data":"%x","type":"int","serialized":false}`, raw))
		for key, raw := range map[Key]string{{"employees", "9"}: raw, {"a", "b"}: raw, {"a", "c"}: scalar} {
			got, err := bot.decode(key, raw)
			if !errors.Is(err, ErrUnreadable) || !errors.Is(err, djangocache.ErrUnsafe) || got.data != nil {
				t.Errorf("%s in %v: %s, %v", what, key, got.data, err)
			}
		}
	}
}

// TestDjangoUnreadable reads what is damaged, or no JSON.
func TestDjangoUnreadable(t *testing.T) {
	t.Parallel()
	secret := "hunter2"
	large := strings.Repeat(secret, MaxValueSize/len(secret)+1)
	temp, bare := Key{"a", "b"}, Key{"employees", "9"}
	for _, test := range []struct {
		key Key
		raw string
	}{
		{temp, ""},
		{bare, ""},
		{temp, secret},
		{bare, secret},
		{temp, `{"data":"` + secret + `","serialized":true}`},
		{temp, pickled(t, secret)},
		{temp, pickled(t, `"`+secret+`"`)},
		{temp, pickled(t, `{}`)},
		{temp, pickled(t, `[]`)},
		{temp, pickled(t, `{"data":{"a":"`+secret+`"}`)},
		{temp, pickled(t, `{"data":{"a":"`+secret+`"},"serialized":true} x`)},
		{temp, pickled(t, `{"data":{"a":"`+secret+`"},"serialized":1}`)},
		{temp, pickled(t, `{"data":{"a":"`+secret+`"},"serialized":false}`)},
		{temp, pickled(t, `{"data":{"a":"`+secret+`"}}`)},
		{temp, pickled(t, `{"data":"`+secret+`","serialized":true}`)},
		{temp, pickled(t, `{"data":"`+secret+`","serialized":false}`)},
		{temp, pickled(t, `{"data":5,"serialized":false}`)},
		{temp, pickled(t, `{"data":null,"serialized":true}`)},
		{temp, pickled(t, `{"data":"","serialized":false}`)},
		{temp, pickled(t, `{"data":{"a":NaN},"serialized":true}`)},
		{temp, pickled(t, `{"data":[Infinity],"serialized":true}`)},
		{temp, pickled(t, `{"data":[-Infinity],"serialized":true}`)},
		{temp, pickled(t, `{"data":"8004477ff80000000000002e","type":"float","serialized":false}`)},
		{temp, pickled(t, `{"data":"8004477ff00000000000002e","type":"float","serialized":false}`)},
		{temp, pickled(t, `{"data":"80044301612e","type":"bytes","serialized":false}`)},
		{temp, pickled(t, `{"data":["`+large+`"],"serialized":true}`)},
		{temp, pickled(t, `{"data":`+strings.Repeat("[", maxDepth+1)+strings.Repeat("]", maxDepth+1)+`,"serialized":true}`)},
		{temp, pickled(t, `{"data":`+strings.Repeat("[", 9000)+strings.Repeat("]", 9000)+`,"serialized":true}`)},
		{bare, pickled(t, large)},
		{bare, unhexed(t, "8004 43 01 61 2e")},
		{bare, unhexed(t, "8004 8f 2e")},
		{bare, unhexed(t, "8004 7d 4b 01 4e 8c 01 31 4e 75 2e")},
		{bare, unhexed(t, "789c 6b60")},
	} {
		got, err := bot.decode(test.key, test.raw)
		if !errors.Is(err, ErrUnreadable) || errors.Is(err, djangocache.ErrUnsafe) || got.data != nil {
			t.Errorf("%.80q: %.80s, %v", test.raw, got.data, err)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("it tells what it holds: %v", err)
		}
	}
}

// anyJSON generates compact JSON as compact returns it.
func anyJSON(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		kinds := 6
		if depth > 0 {
			kinds = 8
		}
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 0:
			return nil
		case 1:
			return rapid.Bool().Draw(t, "bool")
		case 2:
			return rapid.Int64().Draw(t, "int")
		case 3:
			return rapid.Float64().Filter(func(f float64) bool { return f-f == 0 }).Draw(t, "float")
		case 4:
			return jsontext.Value(rapid.StringMatching(`-?[1-9][0-9]{18,60}`).Draw(t, "big"))
		case 6:
			return rapid.SliceOfN(anyJSON(depth-1), 0, 4).Draw(t, "list")
		case 7:
			return rapid.MapOfN(rapid.String(), anyJSON(depth-1), 0, 4).Draw(t, "dict")
		}
		return rapid.String().Draw(t, "str")
	})
}

// TestDjangoRoundTrip writes and reads any JSON. Containers come back byte for byte, and all else as the same value.
func TestDjangoRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		data, err := jsonv2.Marshal(anyJSON(4).Draw(t, "value"), jsonv2.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		key := rapid.SampledFrom([]Key{{"sessions", "a"}, {"user_7", ConversationKey}, {"employees", "1"}, {"participants", "1"}}).Draw(t, "key")
		at := time.UnixMicro(rapid.Int64Range(1, 1e16-1).Draw(t, "at"))
		raw, err := bot.encode(key, data, at)
		if err != nil {
			t.Fatal(err)
		}
		got, err := bot.decode(key, string(raw))
		if err != nil || got.typ != typeOf(got.data) || !got.at.Equal(at) {
			t.Fatalf("%s becomes %s, %s at %v: %v", data, got.data, got.typ, got.at, err)
		}
		_, _, bare := bot.bare(key.Namespace)
		if container := data[0] == '{' || data[0] == '['; container && !bare && !bytes.Equal(got.data, data) {
			t.Fatalf("%s becomes %s", data, got.data)
		}
		was, err := parsePython(data)
		is, errIs := parsePython(got.data)
		if !samePython(was, is) || err != nil || errIs != nil {
			t.Fatalf("%s becomes %s", data, got.data)
		}
	})
}

// samePython compares values as they are in JSON, which tells ints from floats.
func samePython(a, b any) bool {
	x, err := djangocache.AppendJSON(nil, a)
	y, errY := djangocache.AppendJSON(nil, b)
	return err == nil && errY == nil && bytes.Equal(x, y)
}

func FuzzDjangoDecode(f *testing.F) {
	for _, vector := range djangoVectors(f) {
		f.Add(true, []byte(unhexed(f, vector.ValueHex)))
		f.Add(false, []byte(unhexed(f, vector.ValueHex)))
	}
	for _, data := range []string{`{"a":1e2}`, `[1,"я"]`, `"x"`, `-5`, `1.5`, `null`, `true`, `123456789012345678901234567890`} {
		for _, key := range []Key{{"a", "b"}, {"employees", "1"}} {
			raw, err := bot.encode(key, []byte(data), time.UnixMicro(1))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(key.Namespace == "a", raw)
		}
	}
	for _, text := range []string{
		`{"data":{"a":"\ud83d","a":[]},"serialized":true}`, `{"data":"80044b2a2e","serialized":false}`, `{"data":[NaN],"serialized":true}`,
	} {
		raw, err := djangocache.AppendString(nil, text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(true, raw)
	}
	f.Fuzz(func(t *testing.T, temp bool, raw []byte) {
		key := Key{"employees", "1"}
		if temp {
			key = Key{"a", "b"}
		}
		got, err := bot.decode(key, string(raw))
		if err != nil {
			if !errors.Is(err, ErrUnreadable) || got.data != nil {
				t.Fatalf("%s, %v", got.data, err)
			}
			return
		}
		clean, err := compact(got.data, MaxValueSize)
		if err != nil || !bytes.Equal(clean, got.data) {
			t.Fatalf("%q, %v", got.data, err)
		}
		again, err := bot.encode(key, got.data, time.UnixMicro(1))
		if invalid := (*InvalidError)(nil); errors.As(err, &invalid) {
			return // Such as a number of too many digits in a container.
		}
		if err != nil {
			t.Fatal(err)
		}
		same, err := bot.decode(key, string(again))
		if err != nil || !bytes.Equal(same.data, got.data) && got.data[0] != '{' && got.data[0] != '[' {
			t.Fatalf("%q becomes %q: %v", got.data, same.data, err)
		}
	})
}
