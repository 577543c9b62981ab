package events_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/events"
)

// problems are the fields an InvalidError names, "" for another error.
func problems(err error) string {
	var invalid *events.InvalidError
	if !errors.As(err, &invalid) {
		return ""
	}
	var names []string
	for _, f := range invalid.Fields {
		names = append(names, f.Field)
		if f.Problem == "" {
			names = append(names, "without a problem")
		}
	}
	return strings.Join(names, " ")
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func TestDecodeMessage(t *testing.T) {
	t.Parallel()
	m, err := events.DecodeMessage([]byte(` { "type" : "user.login", "data" : { "b" : [ 1.0, 2E5 , "a b\u0020\\\" " ] } ,
		"id":"7","source":"me","correlation_id":"c","timestamp":"2026-11-21T22:11:26.325925+03:00" } ` + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if m.Type != "user.login" || m.ID != "7" || m.Source != "me" || m.CorrelationID != "c" || !m.Channel.IsZero() ||
		!m.Timestamp.Equal(time.Date(2026, 11, 21, 19, 11, 26, 325_925_000, time.UTC)) {
		t.Errorf("read %+v", m)
	}
	if string(m.Data) != `{"b":[1.0,2E5,"a b\u0020\\\" "]}` {
		t.Errorf("data became %s", m.Data)
	}
	for in, data := range map[string]string{
		`{"type":"x"}`:                                 "",
		`{"type":"x","data":null}`:                     "null",
		`{"type":"x","data":0.10}`:                     "0.10",
		`{"type":"x","data":12345678901234567890123}`:  "12345678901234567890123",
		`{"type":"x","data":"\u0418 И <&>"}`:           `"\u0418 И <&>"`,
		`{"data":{"type":"y","data":{}},"type":"x"}`:   `{"type":"y","data":{}}`,
		`{"type":"x","data":` + nested(64) + `}`:       nested(64),
		`{"\u0074ype":"x","data":{"a":1,"\u0061a":1}}`: `{"a":1,"\u0061a":1}`,
	} {
		if m, err := events.DecodeMessage([]byte(in)); err != nil || string(m.Data) != data || m.Type != "x" {
			t.Errorf("%s: %+v, %v", in, m, err)
		}
	}
}

func TestDecodeMessageRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", " ", "{", `{"type"`, `{"type":`, `{"type":"x"`, `{"type":"x",}`, `{"type":"x"}}`, `{"type":"x"} {}`, `{"type":"x"}x`,
		"[]", `"x"`, "1", "null", "true", "tru", `{type:"x"}`, `{'type':'x'}`, `{"type":"x","data":01}`, `{"type":"x","data":NaN}`,
		"{\"type\":\"x\xff\"}", `{"type":"x","data":"\ud83d"}`, `{"type":"x","data":"` + "\n" + `"}`, "\ufeff{\"type\":\"x\"}",
		`{"type":"x" /* */}`, strings.Repeat("[", 20_000), `{"type":"x","data":"` + strings.Repeat("a", 100),
	} {
		if m, err := events.DecodeMessage([]byte(in)); !errors.Is(err, events.ErrMalformed) {
			t.Errorf("%.60q: %+v, %v", in, m, err)
		}
	}
	long := strings.Repeat("ж", 100)
	for in, fields := range map[string]string{
		`{}`:                                                "type",
		`{"data":{}}`:                                       "type",
		`{"type":""}`:                                       "type",
		`{"type":1}`:                                        "type",
		`{"type":null}`:                                     "type",
		`{"type":"x","id":7}`:                               "id",
		`{"type":"x","id":""}`:                              "id",
		`{"type":"x","source":[]}`:                          "source",
		`{"type":"x","correlation_id":{}}`:                  "correlation_id",
		`{"type":"x","timestamp":"yesterday"}`:              "timestamp",
		`{"type":"x","timestamp":1795252500}`:               "timestamp",
		`{"type":"x","offset":"1-0"}`:                       "offset",
		`{"type":"x","channel":"global"}`:                   "channel",
		`{"Type":"x"}`:                                      "Type type",
		`{"type":"x","":1}`:                                 "(empty)",
		`{"type":"x","a\nb":1}`:                             "a?b",
		`{"type":"x","` + long + `":1}`:                     strings.Repeat("ж", 64) + "…",
		`{"type":"x","type":"y"}`:                           "type",
		`{"type":"x","\u0074ype":"y"}`:                      "type",
		`{"":1,"":1}`:                                       "(empty)",
		`{"type":"x","data":{"a":[0,{"b":1,"b":2}]}}`:       "data/a/1/b",
		`{"type":"x","data":{"a":1,"\u0061":2}}`:            "data/a",
		`{"type":"x","data":` + nested(65) + `}`:            "data",
		`{"type":"x","data":` + nested(20_000) + `}`:        "data",
		`{"type":1,"id":2,"data":` + nested(65) + `,"a":1}`: "type id data a",
	} {
		m, err := events.DecodeMessage([]byte(in))
		var invalid *events.InvalidError
		if !errors.As(err, &invalid) || problems(err) != fields {
			t.Errorf("%.60q: %+v, %v, fields %q", in, m, err, problems(err))
		} else if want := "events: invalid " + invalid.Fields[0].Field + ": " + invalid.Fields[0].Problem; err.Error() != want {
			t.Errorf("the error says %q, want %q", err, want)
		}
	}
	// What is wrong is said without the publisher's words.
	for _, in := range []string{`{"type":"x","data":secret}`, `{"type":"x","data":"secret\q"}`, `{"type":"secret`, `{"type":["secret"]}`} {
		if _, err := events.DecodeMessage([]byte(in)); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", in, err)
		}
	}
}

// FuzzDecodeMessage compares with encoding/json. Whatever is taken must be JSON there too, with the data unchanged but
// for white space outside of strings, no name twice in one object, and nothing nested too deep.
func FuzzDecodeMessage(f *testing.F) {
	for _, s := range []string{
		`{"type":"user.login","data":{"a":[1,2.50,"x y\"\\ \u0020"]},"id":"7","source":"me","correlation_id":"c","timestamp":"2026-11-21T19:11:26Z"}`,
		` { "data" : { "a" : 1 , "a" : 2 } , "type" : "x" } `, `{"type":"x","data":` + nested(64) + `}`, `{"type":"x","data":` + nested(65) + `}`,
		`{"type":"x","data":"\ud83d\ude00"}`, `{"type":"x","data":"\ud83d"}`, "{\"type\":\"\xff\"}", `{"type":"x"}{}`, `[]`, `{"type":"x","data":1e999}`,
		`{"type":"x","data":-0,"id":""}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		given := bytes.Clone(body)
		m, err := events.DecodeMessage(body)
		if !bytes.Equal(given, body) {
			t.Fatal("the body was changed")
		}
		if err != nil {
			var invalid *events.InvalidError
			if errors.Is(err, events.ErrMalformed) == errors.As(err, &invalid) || invalid != nil && len(invalid.Fields) == 0 {
				t.Fatalf("neither malformed nor invalid: %v", err)
			}
			return
		}
		var plain map[string]json.RawMessage
		if err := json.Unmarshal(body, &plain); err != nil {
			t.Fatalf("encoding/json refuses it: %v", err)
		}
		for name, got := range map[string]string{"type": m.Type, "id": m.ID, "source": m.Source, "correlation_id": m.CorrelationID} {
			var want string
			if raw, ok := plain[name]; ok {
				if err := json.Unmarshal(raw, &want); err != nil {
					t.Fatal(err)
				}
			}
			if got != want {
				t.Fatalf("%s is %q, want %q", name, got, want)
			}
			delete(plain, name)
		}
		var compact bytes.Buffer
		if raw, ok := plain["data"]; ok {
			if err := json.Compact(&compact, raw); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(m.Data, compact.Bytes()) {
			t.Fatalf("data is %s, want %s", m.Data, compact.Bytes())
		}
		delete(plain, "data")
		delete(plain, "timestamp")
		if len(plain) > 0 {
			t.Fatalf("it took the unknown %v", plain)
		}
		if err := checkTree(body, events.MaxDepth+1); err != nil {
			t.Fatal(err)
		}
	})
}

// checkTree walks JSON with encoding/json and returns an error for a name that stands twice in one object and for arrays
// and objects that lie deeper in each other than depth.
func checkTree(raw []byte, depth int) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var open []map[string]bool // The names of each open object; nil for an array.
	var isName []bool
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if delim, ok := token.(json.Delim); ok && (delim == '}' || delim == ']') {
			open, isName = open[:len(open)-1], isName[:len(isName)-1]
			continue
		}
		if n := len(open) - 1; n >= 0 && open[n] != nil {
			if isName[n] {
				name, _ := token.(string)
				if open[n][name] {
					return fmt.Errorf("%q is named twice", name)
				}
				open[n][name] = true
			}
			isName[n] = !isName[n]
		}
		switch token {
		case json.Delim('{'):
			open, isName = append(open, map[string]bool{}), append(isName, true)
		case json.Delim('['):
			open, isName = append(open, nil), append(isName, false)
		}
		if len(open) > depth {
			return fmt.Errorf("deeper than %d", depth)
		}
	}
}
