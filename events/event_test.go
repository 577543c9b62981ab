package events_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/events"
)

// TestDecodeEventOfBot reads the bytes that the bot publishes.
func TestDecodeEventOfBot(t *testing.T) {
	t.Parallel()
	for _, recorded := range botEvents(t) {
		ev, err := events.DecodeEvent("connectbot", []byte(recorded.Payload))
		if err != nil {
			t.Errorf("%s: %v", recorded.Call, err)
			continue
		}
		var want struct {
			ID, Type, Timestamp, Channel, Source string
			Data                                 json.RawMessage
			User                                 *int64 `json:"user_id"`
		}
		if err := json.Unmarshal([]byte(recorded.Payload), &want); err != nil {
			t.Fatal(err)
		}
		at, err := time.ParseInLocation("2006-01-02T15:04:05.000000", want.Timestamp, time.Local)
		if err != nil {
			t.Fatal(err)
		}
		if ev.ID != want.ID || ev.Type != want.Type || ev.Source != want.Source || "connectbot:"+ev.Channel.String() != want.Channel ||
			string(ev.Data) != string(want.Data) || !ev.Timestamp.Equal(at) || !ev.Offset.IsZero() || ev.CorrelationID != "" {
			t.Errorf("%s: %+v", recorded.Call, ev)
		}
		if id, isUser := ev.Channel.UserID(); isUser != (want.User != nil) || isUser && id != *want.User {
			t.Errorf("%s: user %d (%v), want %v", recorded.Call, id, isUser, want.User)
		}
	}
}

const plainEvent = `{"id":"7","type":"user.login","data":{"a":1},"timestamp":"2026-11-21T19:11:26Z","channel":"p:user:5","user_id":5,"source":"me"}`

func TestDecodeEvent(t *testing.T) {
	t.Parallel()
	want := events.Event{
		ID: "7", Type: "user.login", Data: json.RawMessage(`{"a":1}`), Timestamp: time.Date(2026, 11, 21, 19, 11, 26, 0, time.UTC),
		Channel: channel(t, "user:5"), Source: "me",
	}
	with := func(change func(*events.Event)) events.Event {
		ev := want
		change(&ev)
		return ev
	}
	for in, want := range map[string]events.Event{
		plainEvent: want,
		strings.Replace(plainEvent, `"source":"me"`, `"source":"me","correlation_id":"c","offset":"9-1","more":{"x":[]}`, 1): with(func(e *events.Event) {
			e.CorrelationID, e.Offset = "c", offset(t, "9-1")
		}),
		strings.Replace(plainEvent, `"data":{"a":1},`, ``, 1):            with(func(e *events.Event) { e.Data = json.RawMessage("null") }),
		strings.Replace(plainEvent, `,"source":"me"`, ``, 1):             with(func(e *events.Event) { e.Source = "" }),
		strings.Replace(plainEvent, `"source":"me"`, `"source":null`, 1): with(func(e *events.Event) { e.Source = "" }),
		strings.Replace(plainEvent, `"user_id":5`, `"user_id":null`, 1):  want,
		strings.Replace(plainEvent, `{"a":1}`, `"\ud83d"`, 1):            with(func(e *events.Event) { e.Data = json.RawMessage(`"\ud83d"`) }),
		" \n" + strings.ReplaceAll(plainEvent, `,"`, ` , "`) + " ":       want,
	} {
		if ev, err := events.DecodeEvent("p", []byte(in)); err != nil || !reflect.DeepEqual(ev, want) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", in, ev, err, want)
		}
	}
}

func TestDecodeEventRefuses(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"nothing":              "",
		"no JSON":              "hello",
		"no object":            "[" + plainEvent + "]",
		"cut short":            plainEvent[:len(plainEvent)-1],
		"something after":      plainEvent + "x",
		"no UTF-8":             strings.Replace(plainEvent, `"me"`, "\"\xff\"", 1),
		"a name twice":         strings.Replace(plainEvent, `"id":"7"`, `"id":"7","id":"8"`, 1),
		"a name twice in data": strings.Replace(plainEvent, `{"a":1}`, `{"a":1,"a":1}`, 1),
		"no id":                strings.Replace(plainEvent, `"id":"7",`, "", 1),
		"an empty id":          strings.Replace(plainEvent, `"7"`, `""`, 1),
		"a number as id":       strings.Replace(plainEvent, `"7"`, `7`, 1),
		"an id with a space":   strings.Replace(plainEvent, `"7"`, `"7 8"`, 1),
		"an id that is quoted": strings.Replace(plainEvent, `"7"`, `"\"7"`, 1),
		"a long id":            strings.Replace(plainEvent, `"7"`, `"`+strings.Repeat("7", events.MaxIDLength+1)+`"`, 1),
		"no type":              strings.Replace(plainEvent, `"type":"user.login",`, "", 1),
		"a bad type":           strings.Replace(plainEvent, "user.login", "User.Login", 1),
		"a reserved type":      strings.Replace(plainEvent, "user.login", "gap", 1),
		"no timestamp":         strings.Replace(plainEvent, `"timestamp":"2026-11-21T19:11:26Z",`, "", 1),
		"a bad timestamp":      strings.Replace(plainEvent, "2026", "26", 1),
		"no channel":           strings.Replace(plainEvent, `"channel":"p:user:5",`, "", 1),
		"another prefix":       strings.Replace(plainEvent, "p:user:5", "q:user:5", 1),
		"a bad channel":        strings.Replace(plainEvent, "p:user:5", "p:user:x", 1),
		"a bad offset":         strings.Replace(plainEvent, `"source"`, `"offset":"x","source"`, 1),
		"a text as user":       strings.Replace(plainEvent, `"user_id":5`, `"user_id":"5"`, 1),
	} {
		if in == plainEvent {
			t.Fatalf("%s: nothing was changed", name)
		}
		if ev, err := events.DecodeEvent("p", []byte(in)); !errors.Is(err, events.ErrNotEnvelope) {
			t.Errorf("%s: %+v, %v", name, ev, err)
		}
	}
	if _, err := events.DecodeEvent("p", []byte(`{"id":["secret"]}`)); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("the error repeats what was published: %v", err)
	}
}

// decodeJSON reads JSON with the standard library and keeps numbers as they are written.
func decodeJSON(tb testing.TB, raw []byte) any {
	tb.Helper()
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		tb.Fatalf("encoding/json refuses %s: %v", raw, err)
	}
	return v
}

// FuzzDecodeEvent checks that what is taken is JSON for encoding/json too, and its members what they are there.
func FuzzDecodeEvent(f *testing.F) {
	for _, recorded := range botEvents(f) {
		f.Add([]byte(recorded.Payload))
	}
	for _, s := range []string{
		plainEvent, strings.Replace(plainEvent, `"me"`, `"me","correlation_id":"c","offset":"9-1"`, 1), `{}`, `[]`, "",
		strings.Replace(plainEvent, `{"a":1}`, `"\ud83d"`, 1), strings.Replace(plainEvent, `{"a":1}`, nested(65), 1),
	} {
		f.Add([]byte(strings.Replace(s, `"p:`, `"connectbot:`, 1)))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		ev, err := events.DecodeEvent("connectbot", raw)
		if err != nil {
			if !errors.Is(err, events.ErrNotEnvelope) {
				t.Fatal(err)
			}
			return
		}
		plain, _ := decodeJSON(t, raw).(map[string]any)
		if ev.ID != plain["id"] || ev.Type != plain["type"] || "connectbot:"+ev.Channel.String() != plain["channel"] {
			t.Fatalf("%+v is not %v", ev, plain)
		}
		if err := events.CheckType(ev.Type); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(decodeJSON(t, ev.Data), plain["data"]) {
			t.Fatalf("data is %s", ev.Data)
		}
		if at, err := events.ParseTimestamp(events.FormatTimestamp(ev.Timestamp)); err != nil || !at.Equal(ev.Timestamp) {
			t.Fatalf("timestamp %v: %v", ev.Timestamp, err)
		}
		if again, err := events.ParseChannel(ev.Channel.String()); err != nil || again != ev.Channel {
			t.Fatalf("channel %v: %v", ev.Channel, err)
		}
	})
}
