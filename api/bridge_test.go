package api_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// botEvent is one publication that was recorded from the running bot.
type botEvent struct{ Call, Channel, Payload string }

func botEvents(tb testing.TB) []botEvent {
	tb.Helper()
	raw, err := os.ReadFile("testdata/bot-events.json")
	if err != nil {
		tb.Fatal(err)
	}
	recorded := decode[[]botEvent](tb, raw)
	if len(recorded) == 0 {
		tb.Fatal("no recorded events")
	}
	return recorded
}

// publishRaw publishes on a Redis channel without the hub.
func (h *hub) publishRaw(tb testing.TB, channel, payload string) {
	tb.Helper()
	if err := h.redis.Client().Publish(tb.Context(), channel, payload).Err(); err != nil {
		tb.Fatal(err)
	}
}

// TestBotEvents publishes what the bot published, on a Redis with two hubs: the streams of both get each event once, and so
// does the log, with an offset.
func TestBotEvents(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t) // The events name channels under the prefix connectbot.
	o := options{redis: redis}
	o.events.Prefix = "connectbot"
	hubs := []*hub{startHub(t, o), startHub(t, o)}
	const all = "channel=user:123&channel=global&channel=service:matching"
	streams := []*stream{hubs[0].follow(t, all), hubs[1].follow(t, all)}
	plain := hubs[0].subscribe(t, "user:123", "global", "service:matching")
	recorded := botEvents(t)
	for _, event := range recorded {
		hubs[0].publishRaw(t, event.Channel, event.Payload)
		if got := nextMessage(t, plain); got.payload != event.Payload {
			t.Errorf("%s: a plain subscriber got %s", event.Call, got.payload)
		}
		want := decode[envelope](t, []byte(event.Payload))
		var data bytes.Buffer
		if err := json.Compact(&data, want.Data); err != nil {
			t.Fatal(err)
		}
		at, err := time.ParseInLocation("2006-01-02T15:04:05.000000", want.Timestamp, time.Local)
		if err != nil {
			t.Fatal(err)
		}
		check := func(got envelope) {
			t.Helper()
			if got.ID != want.ID || got.Type != want.Type || got.Channel != event.Channel || got.Source != "django-connectbot" || got.Offset == "" {
				t.Errorf("%s: got %+v", event.Call, got)
			}
			if (got.UserID == nil) != (want.UserID == nil) || got.UserID != nil && *got.UserID != *want.UserID {
				t.Errorf("%s: the user is %v", event.Call, got.UserID)
			}
			if string(got.Data) != data.String() {
				t.Errorf("%s: the data is %s, want %s", event.Call, got.Data, data.String())
			}
			if got.Timestamp != at.UTC().Format("2006-01-02T15:04:05.000000Z") {
				t.Errorf("%s: the timestamp is %s, want %s in UTC", event.Call, got.Timestamp, want.Timestamp)
			}
		}
		for _, s := range streams {
			check(s.event(t))
		}
		logged := hubs[0].list(t, "channel="+strings.TrimPrefix(event.Channel, "connectbot:")).Events
		if len(logged) != 1 {
			t.Fatalf("%s: the log holds %d events, want 1", event.Call, len(logged))
		}
		check(logged[0])
	}
	// One hub took each event up, the other saw that it was done.
	n := int64(len(recorded))
	redistest.Eventually(t, soon, "both bridges have judged all events", func() bool {
		a, b := hubs[0].stats(t).Events, hubs[1].stats(t).Events
		return a["bridged"]+b["bridged"] == n && a["bridged_before"]+b["bridged_before"] == n
	})
	// The bot tries again: nothing comes of it. And a client of the hub cannot publish the event a second time either.
	for _, event := range recorded {
		hubs[0].publishRaw(t, event.Channel, event.Payload)
		nextMessage(t, plain)
		sent := decode[envelope](t, []byte(event.Payload))
		again := `{"type":"` + sent.Type + `","id":"` + sent.ID + `"}`
		if receipt := hubs[1].publish(t, strings.TrimPrefix(event.Channel, "connectbot:"), again); !receipt.Duplicate {
			t.Errorf("%s was published again: %+v", event.Call, receipt)
		}
	}
	redistest.Eventually(t, soon, "both bridges have judged all repetitions", func() bool {
		return hubs[0].stats(t).Events["bridged_before"]+hubs[1].stats(t).Events["bridged_before"] == 3*n
	})
	last := hubs[1].publish(t, "user:123", `{"type":"last"}`)
	for _, s := range streams {
		if got := s.event(t); got.ID != last.ID {
			t.Errorf("%s came once more", got.ID)
		}
	}
	if got := decode[envelope](t, []byte(nextMessage(t, plain).payload)); got.ID != last.ID {
		t.Errorf("the hub published %s once more", got.ID)
	}
}

// TestNoEvents publishes on the channels what is no event: it is counted and goes nowhere.
func TestNoEvents(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	channel := h.full("user:123")
	good := `{"id":"good","type":"tick","data":null,"timestamp":"2026-11-21T19:11:26.325925","channel":"` + channel + `","user_id":123,"source":"x"}`
	s := h.follow(t, "channel=user:123")
	ignored := int64(0)
	for _, payload := range []string{
		"", "hello", "{", "{}", "null", "[]", `"text"`, "7", strings.TrimSuffix(good, "}"), good + good, "\x80\x04\x95", "\xff" + good,
		strings.Replace(good, `"id":"good"`, `"id":""`, 1), strings.Replace(good, `"id":"good"`, `"id":7`, 1),
		strings.Replace(good, `"id":"good"`, `"id":"a b"`, 1), strings.Replace(good, `"id":"good",`, "", 1),
		strings.Replace(good, `"tick"`, `"Tick Tock"`, 1), strings.Replace(good, `"tick"`, `"gap"`, 1), strings.Replace(good, `"type":"tick",`, "", 1),
		strings.Replace(good, "2026-11-21T19:11:26.325925", "yesterday", 1), strings.Replace(good, `"user_id":123`, `"user_id":"123"`, 1),
		strings.Replace(good, `"data":null`, `"data":{"a":1,"a":2}`, 1),
		strings.Replace(good, `"data":null`, `"data":"`+strings.Repeat("x", 1<<20)+`"`, 1),
	} {
		h.publishRaw(t, channel, payload)
		ignored++
	}
	for _, name := range []string{"user:0", "user:abc", "user:01", "service:", "service:a b"} {
		h.publishRaw(t, h.full(name), good)
		ignored++
	}
	h.publishRaw(t, h.full("something:else"), good) // Nobody listens there.
	h.publishRaw(t, channel, good)
	if got := s.event(t); got.ID != "good" {
		t.Errorf("%+v came", got)
	}
	redistest.Eventually(t, soon, "all of it was counted", func() bool { return h.stats(t).Events["ignored"] >= ignored })
	if events := h.stats(t).Events; events["ignored"] != ignored || events["bridged"] != 1 {
		t.Errorf("stats %v, want %d ignored", events, ignored)
	}
	if n := h.logLength(t, "user:123"); n != 1 {
		t.Errorf("the log holds %d events", n)
	}
}

// TestBotAndHubInTurn checks that a stream sees what the bot and the hub publish in turn, in the order of the log.
func TestBotAndHubInTurn(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	s := h.follow(t, "channel=user:1")
	channel := h.full("user:1")
	for _, id := range []string{"a", "b", "c"} {
		h.publishRaw(t, channel, `{"id":"bot-`+id+`","type":"tick","data":{},"timestamp":"2026-11-21T19:11:26","channel":"`+channel+`","user_id":1,"source":"django-connectbot"}`)
		if got := s.event(t); got.ID != "bot-"+id {
			t.Errorf("%s came", got.ID)
		}
		h.publish(t, "user:1", `{"type":"tick","id":"hub-`+id+`"}`)
		if got := s.event(t); got.ID != "hub-"+id {
			t.Errorf("%s came", got.ID)
		}
	}
	var ids []string
	for _, event := range h.list(t, "channel=user:1").Events {
		ids = append(ids, event.ID)
	}
	if got := strings.Join(ids, " "); got != "bot-a hub-a bot-b hub-b bot-c hub-c" {
		t.Errorf("the log holds %s", got)
	}
}
