package events_test

import (
	"strings"
	"testing"

	"github.com/connectbot-hub/connecthub/events"
)

const record = `{"id":"7","type":"user.login","data":{"a":1},"timestamp":"2026-11-21T19:11:26.000000Z",` +
	`"channel":"p:user:5","user_id":5,"source":"me","offset":"1795252500125-3"}`

// TestParseRecord tells what a hub published from what others do.
func TestParseRecord(t *testing.T) {
	t.Parallel()
	ch := channel(t, "user:5")
	r, ok := events.ParseRecord(ch, record)
	if !ok || r.Type != "user.login" || r.Offset != offset(t, "1795252500125-3") || r.Channel != ch || r.JSON != record {
		t.Errorf("%+v, %v", r, ok)
	}
	largest := strings.Replace(record, "1795252500125-3", "18446744073709551615-18446744073709551614", 1)
	if r, ok := events.ParseRecord(ch, largest); !ok || r.Offset.String() != "18446744073709551615-18446744073709551614" {
		t.Errorf("the greatest offset: %+v, %v", r, ok)
	}
	for name, payload := range map[string]string{
		"nothing":             "",
		"only the end":        `","offset":"1-1"}`,
		"the member's end":    `{"id":"7","type":"x","offset":"}`,
		"no offset":           strings.Replace(record, `,"offset":"1795252500125-3"`, "", 1),
		"a moment":            strings.Replace(record, "125-3", "125", 1),
		"no entry's offset":   strings.Replace(record, "125-3", "125-18446744073709551615", 1),
		"an empty offset":     strings.Replace(record, "1795252500125-3", "", 1),
		"a word as offset":    strings.Replace(record, "1795252500125-3", "last", 1),
		"white space":         strings.Replace(record, `,"offset":`, `, "offset": `, 1),
		"something after":     record + " ",
		"not last":            strings.Replace(record, `-3"}`, `-3","x":"y"}`, 1),
		"inside another":      strings.Replace(record, `,"offset":"1795252500125-3"}`, `,"x":{"y":1,"offset":"1-3"}}`, 1),
		"inside a string":     strings.Replace(record, `,"offset":"1795252500125-3"}`, `,"x":",\"offset\":\"1-3"}`, 1),
		"type before id":      strings.Replace(record, `"id":"7","type":"user.login"`, `"type":"user.login","id":"7"`, 1),
		"no type":             strings.Replace(record, `"type":"user.login",`, "", 1),
		"a type without end":  `{"id":"7","type":"user.login,"offset":"1-1"}`[:23],
		"the bot's own bytes": botEvents(t)[0].Payload,
	} {
		if r, ok := events.ParseRecord(ch, payload); ok {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// FuzzParseRecord checks what a record that a hub could have written says of itself. A record is read without JSON, so
// what is no envelope may pass; but then it ends and begins as one.
func FuzzParseRecord(f *testing.F) {
	f.Add(record)
	f.Add(strings.Replace(record, `,"source"`, `, "source"`, 1))
	f.Add(strings.Replace(record, `"7"`, `"\"7"`, 1))
	f.Add(`{"id":"","type":"","offset":"0-0"}`)
	f.Add(`{"id":"7","type":"x","offset":"}`)
	f.Add(`{"id":"7","type":"x","offset":"1-1","offset":"2-2"}`)
	for _, recorded := range botEvents(f) {
		f.Add(recorded.Payload)
	}
	ch := channel(f, "user:5")
	f.Fuzz(func(t *testing.T, payload string) {
		r, ok := events.ParseRecord(ch, payload)
		if !ok {
			return
		}
		if r.JSON != payload || r.Channel != ch || offset(t, r.Offset.String()) != r.Offset || !strings.Contains(r.Offset.String(), "-") {
			t.Fatalf("%+v", r)
		}
		ev, err := r.Event()
		if err != nil || strings.Contains(r.Type, `\`) {
			return // Only a hub writes such ends, and it writes envelopes with plain types.
		}
		if ev.Type != r.Type || ev.Offset != r.Offset || ev.Channel != ch || !strings.HasPrefix(payload, `{"id":"`+ev.ID+`"`) {
			t.Fatalf("the record says %+v, its envelope %+v", r, ev)
		}
	})
}
