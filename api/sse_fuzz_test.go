package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tmaxmax/go-sse"

	"github.com/connectbot-hub/connecthub/events"
)

// FuzzFrames writes whatever may be published as a frame, between other frames, and reads it back with a public library.
func FuzzFrames(f *testing.F) {
	for _, data := range []string{
		`{}`, `null`, `" leading blank"`, `"\n\ndata: x\n\n"`, "\"\u2028\u0085\ufeff\u0000\"", `{"a":[1,{"b":"id: 7"}],"ключ":"☕️"}`, "[\t1 ,\n2\r]",
		`"` + strings.Repeat("x", 5000) + `"`,
	} {
		f.Add("user.login", data, "a comment\nid: 7\r\rdata: x\n\n")
	}
	f.Add("retry", `"data"`, "")
	f.Add("a-b_c.d", `1e400`, ": \x00")
	f.Fuzz(func(t *testing.T, eventType, data, comment string) {
		stream := appendRetry(nil, 3*time.Second)
		stream = append(stream, "id: first\n\n"...)
		stream = appendComment(stream, comment)
		want := []sse.Event{{LastEventID: "first"}}
		message, err := events.DecodeMessage(fmt.Appendf(nil, `{"type":"x","data":%s}`, data))
		if err == nil && events.CheckType(eventType) == nil {
			stream = append(stream, "id: second\n"...)
			stream = appendEvent(stream, eventType, string(message.Data))
			want = append(want, sse.Event{LastEventID: "second", Type: eventType, Data: string(message.Data)})
		}
		stream = appendComment(stream, comment)
		stream = appendEvent(stream, "last", "{}")
		want = append(want, sse.Event{LastEventID: want[len(want)-1].LastEventID, Type: "last", Data: "{}"})

		n := 0
		for event, err := range sse.Read(strings.NewReader(string(stream)), &sse.ReadConfig{MaxEventSize: 1 << 20}) {
			if err != nil {
				t.Fatalf("%v in %q", err, stream)
			}
			if n >= len(want) || event != want[n] {
				t.Fatalf("event %d is %+v, of %q", n, event, stream)
			}
			n++
		}
		if n != len(want) {
			t.Fatalf("read %d events, want %d, of %q", n, len(want), stream)
		}
	})
}
