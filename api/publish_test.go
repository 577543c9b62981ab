package api_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPublish publishes on each kind of channel and checks the receipt, and what a plain Redis subscriber gets.
func TestPublish(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ channel, path, userID string }{
		{"user:123", "/v1/events/users/123", "123"},
		{"user:9223372036854775807", "/v1/events/users/9223372036854775807", "9223372036854775807"},
		{"global", "/v1/events/global", "null"},
		{"service:matching", "/v1/events/services/matching", "null"},
		{"service:Email.v2_worker-7", "/v1/events/services/Email.v2_worker-7", "null"},
	} {
		t.Run(tt.channel, func(t *testing.T) {
			t.Parallel()
			h := startHub(t, options{})
			messages := h.subscribe(t, tt.channel)
			before := time.Now()
			got := h.post(t, tt.path, `{"type": "activity.created", "data": {"activity_id": 42}}`).receipt(t)
			after := time.Now()

			if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(got.ID) {
				t.Errorf("the id %q is no UUIDv7", got.ID)
			}
			if got.Type != "activity.created" || got.Channel != h.full(tt.channel) || got.Status != "published" || got.Duplicate {
				t.Errorf("receipt %+v", got)
			}
			if !regexp.MustCompile(`^[0-9]{13}-[0-9]+$`).MatchString(got.Offset) {
				t.Errorf("offset %q", got.Offset)
			}
			if !regexp.MustCompile(`^[0-9-]{10}T[0-9:]{8}\.[0-9]{6}Z$`).MatchString(got.Timestamp) {
				t.Errorf("timestamp %q", got.Timestamp)
			}
			at, err := time.Parse(time.RFC3339, got.Timestamp)
			if err != nil || at.Before(before.Truncate(time.Microsecond)) || at.After(after) {
				t.Errorf("timestamp %v, want the time of the request: %v", got.Timestamp, err)
			}
			if got.Subscribers != 1 {
				t.Errorf("%d subscribers, want the one", got.Subscribers)
			}

			msg := nextMessage(t, messages)
			if msg.channel != h.full(tt.channel) {
				t.Errorf("came on %s", msg.channel)
			}
			members := decode[map[string]json.RawMessage](t, []byte(msg.payload))
			want := map[string]string{
				"id": quoted(got.ID), "type": `"activity.created"`, "data": `{"activity_id":42}`, "timestamp": quoted(got.Timestamp),
				"channel": quoted(h.full(tt.channel)), "user_id": tt.userID, "source": `"connecthub"`, "offset": quoted(got.Offset),
			}
			if !slices.Equal(slices.Sorted(maps.Keys(members)), slices.Sorted(maps.Keys(want))) {
				t.Errorf("the envelope has other members: %s", msg.payload)
			}
			for name, value := range want {
				if string(members[name]) != value {
					t.Errorf("%s is %s, want %s", name, members[name], value)
				}
			}
		})
	}
}

func quoted(s string) string { return `"` + s + `"` }

// TestPublishKeepsData checks that data reaches a Redis subscriber, the log and a stream byte for byte, but for white space.
func TestPublishKeepsData(t *testing.T) {
	h := startHub(t, options{})
	messages := h.subscribe(t, "user:123")
	stream := h.follow(t, "channel=user:123")
	for name, tt := range map[string]struct{ sent, want string }{
		"large integer":     {`9007199254740993`, ""},
		"64 bits":           {`[9223372036854775807,-9223372036854775808,18446744073709551616]`, ""},
		"forms of a number": {`[1.0,1e2,-0,0.10,1E+400,123456789.123456789123456789]`, ""},
		"order of keys":     {`{"z":1,"a":2,"m":{"y":1,"b":2},"":3}`, ""},
		"cyrillic":          {`"Тайный кофе"`, ""},
		"emoji":             {`{"☕️":"👨‍👩‍👧‍👦 \ud83d\ude00"}`, ""},
		"escapes":           {`"\u0418\u0432\/\\\"\b\f\n\r\t\u0000\u2028 <b>&amp;"`, ""},
		"raw separators":    {"\"\u2028\u2029\u0085\ufeff\u007f\"", ""},
		"null":              {`null`, ""},
		"false":             {`false`, ""},
		"empty text":        {`""`, ""},
		"empty array":       {`[ ]`, `[]`},
		"white space":       {" {\r\n\t\"a b\" : [ 1 , 2 ] ,\n\"c\":\" d \\\" e \" } ", `{"a b":[1,2],"c":" d \" e "}`},
		"deepest":           {strings.Repeat("[", 64) + strings.Repeat("]", 64), ""},
		"left out":          {"", `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			want := tt.want
			if want == "" {
				want = tt.sent
			}
			body := `{"type":"note","data":` + tt.sent + `}`
			if tt.sent == "" {
				body = `{"type":"note"}`
			}
			receipt := h.publish(t, "user:123", body)
			payload := nextMessage(t, messages).payload
			if !strings.Contains(payload, `"type":"note","data":`+want+`,"timestamp":`) {
				t.Errorf("the Redis subscriber got %s, want %s", payload, want)
			}
			frame := stream.next(t)
			if frame.data != payload || frame.event != "note" {
				t.Errorf("the stream got %+v, want %s", frame, payload)
			}
			raw := h.get(t, "/v1/events?channel=user:123&limit=1&reverse=true").body
			if !strings.HasPrefix(string(raw), `{"events":[`+payload+`]`) {
				t.Errorf("the log has %s, want %s", raw, payload)
			}
			if got := decode[envelope](t, []byte(payload)); got.Offset != receipt.Offset {
				t.Errorf("offset %s, and the receipt says %s", got.Offset, receipt.Offset)
			}
		})
	}
}

// TestPublishKeepsWhatIsGiven checks that the publisher's own words go into the envelope.
func TestPublishKeepsWhatIsGiven(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	messages := h.subscribe(t, "user:123")
	const id = `!a.B_c-7/#[]~`
	receipt := h.publish(t, "user:123", `{"type":"user.login","id":"`+id+`","source":"Бот \"№ 1\"","correlation_id":"дело\\7",`+
		`"timestamp":"2026-11-21T12:15:00.1253109+03:00"}`)
	got := decode[envelope](t, []byte(nextMessage(t, messages).payload))
	if got.ID != id || receipt.ID != id {
		t.Errorf("id %q, and in the receipt %q", got.ID, receipt.ID)
	}
	if got.Source != `Бот "№ 1"` || got.CorrelationID != `дело\7` {
		t.Errorf("source %q, correlation_id %q", got.Source, got.CorrelationID)
	}
	if got.Timestamp != "2026-11-21T09:15:00.125310Z" || receipt.Timestamp != got.Timestamp {
		t.Errorf("timestamp %q, and in the receipt %q", got.Timestamp, receipt.Timestamp)
	}
}

func TestPublishTimestamps(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	naive, err := time.ParseInLocation("2006-01-02T15:04:05.999999", "2026-11-21T19:11:26.325925", time.Local)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ given, want string }{
		{"2026-11-21T19:11:26Z", "2026-11-21T19:11:26.000000Z"},
		{"2026-11-21T19:11:26.5Z", "2026-11-21T19:11:26.500000Z"},
		{"2026-11-21T19:11:26.999999999Z", "2026-11-21T19:11:26.999999Z"},
		{"2026-11-22T00:41:26.325925+05:30", "2026-11-21T19:11:26.325925Z"},
		{"2026-11-21T14:11:26-05:00", "2026-11-21T19:11:26.000000Z"},
		{"0001-01-01T00:00:00.000001Z", "0001-01-01T00:00:00.000001Z"},
		{"9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"},
		// As the bot writes it: in the local time of the hub.
		{"2026-11-21T19:11:26.325925", naive.UTC().Format("2006-01-02T15:04:05.000000Z")},
	} {
		receipt := h.publish(t, "global", `{"type":"tick","timestamp":"`+tt.given+`"}`)
		logged := h.list(t, "channel=global&limit=1&reverse=true").Events[0]
		if receipt.Timestamp != tt.want || logged.Timestamp != tt.want {
			t.Errorf("%s became %s, in the log %s, want %s", tt.given, receipt.Timestamp, logged.Timestamp, tt.want)
		}
	}
}

// TestSubscribersCount checks that a receipt counts Redis connections that got the event: services that subscribed, and the
// hub once however many streams it has, but not its bridge.
func TestSubscribersCount(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	expect := func(want int64) {
		t.Helper()
		if got := h.publish(t, "user:7", `{"type":"tick"}`).Subscribers; got != want {
			t.Errorf("%d subscribers, want %d", got, want)
		}
	}
	expect(0)
	h.subscribe(t, "user:7")
	expect(1)
	h.subscribe(t, "user:7", "global")
	expect(2)
	for range 3 {
		h.follow(t, "channel=user:7")
	}
	expect(3)
	h.subscribe(t, "user:8")
	expect(3)
}

// TestPublishLargest finds the limit of 64 KiB to the byte: the envelope without its offset has that size.
func TestPublishLargest(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	messages := h.subscribe(t, "user:1")
	stream := h.follow(t, "channel=user:1")
	body := func(n int) string {
		return `{"type":"large","timestamp":"2026-11-21T19:11:26Z","data":"` + strings.Repeat("x", n) + `"}`
	}
	h.publish(t, "user:1", body(0))
	small := nextMessage(t, messages).payload
	envelope, _, _ := strings.Cut(small, `,"offset"`)
	room := 64<<10 - len(envelope)

	h.post(t, "/v1/events/users/1", body(room+1)).problem(t, 413, "payload_too_large")
	h.publish(t, "user:1", body(room))
	large := nextMessage(t, messages).payload
	if len(large) != len(small)+room {
		t.Errorf("a payload of %d bytes, want %d", len(large), len(small)+room)
	}
	for _, want := range []string{small, large} {
		if got := stream.next(t).data; got != want {
			t.Errorf("the stream got %d bytes, want %d", len(got), len(want))
		}
	}
}

// TestPublishOddRequests sends well-formed requests that few clients send.
func TestPublishOddRequests(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	for _, contentType := range []string{
		"application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON",
		`application/json; charset="utf-8"`,
	} {
		h.publish(t, "user:1", `{"type":"tick"}`, "Content-Type: "+contentType)
	}
	h.publish(t, "user:1", `{"type":"tick"}`, "Content-Encoding: identity")
	h.publish(t, "user:1", " \n{\"type\":\"tick\"}\r\n\t ")
	h.publish(t, "user:1", `{"\u0074ype":"ti\u0063k"}`)
	h.publish(t, "user:1", `{"type":"tick"}`+strings.Repeat(" ", 1<<20-len(`{"type":"tick"}`)))
	h.post(t, "/v1/events/users/%31", `{"type":"tick"}`).receipt(t)
	a, err := h.try(t, "POST", "/v1/events/users/1", unsized{strings.NewReader(`{"type":"tick"}`)})
	if err != nil {
		t.Fatal(err)
	}
	a.receipt(t)
	for _, event := range h.list(t, "channel=user:1").Events {
		if event.Type != "tick" || string(event.Data) != "{}" {
			t.Errorf("got %+v", event)
		}
	}
	if n := h.logLength(t, "user:1"); n != 11 {
		t.Errorf("the log has %d events, want 11", n)
	}
}

// TestHalfClosed sends a whole request and closes its side of the connection, as some old clients do: the receipt comes.
func TestHalfClosed(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	body := `{"type":"a"}`
	_, err = fmt.Fprintf(conn, "POST /v1/events/global HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	status, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(status, "201") {
		t.Errorf("the answer is %q, %v", status, err)
	}
}
