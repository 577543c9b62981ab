package api_test

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// ticks publishes events with data from..to-1.
func (h *hub) ticks(tb testing.TB, channel string, from, to int) []api.Receipt {
	tb.Helper()
	var receipts []api.Receipt
	for n := from; n < to; n++ {
		receipts = append(receipts, h.publish(tb, channel, fmt.Sprintf(`{"type":"tick","data":%d}`, n)))
	}
	return receipts
}

// expect reads events with these data, which must come one after the other, and returns the last frame.
func (s *stream) expect(tb testing.TB, data ...string) frame {
	tb.Helper()
	var last frame
	for _, want := range data {
		last = s.next(tb)
		if last.event == "gap" || last.event == "slow" {
			tb.Fatalf("%s came, want the data %s", last.raw, want)
		}
		if got := decode[envelope](tb, []byte(last.data)); string(got.Data) != want {
			tb.Fatalf("the data %s came, want %s", got.Data, want)
		}
	}
	return last
}

// numbers are from..to-1 as texts.
func numbers(from, to int) []string {
	var out []string
	for n := from; n < to; n++ {
		out = append(out, fmt.Sprint(n))
	}
	return out
}

func TestStreamBegins(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	h.publish(t, "user:123", `{"type":"tick","data":"before"}`)
	s := h.open(t, "channel=user:123")
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no", "Content-Encoding": "",
	} {
		if got := s.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	first := s.any(t)
	if !regexp.MustCompile(`^retry: 3000\nid: user:123@[0-9]+(-[0-9]+)?$`).MatchString(first.raw) {
		t.Errorf("the first frame is %q", first.raw)
	}
	receipt := h.publish(t, "user:123", `{"type":"tick","data":"after"}`)
	got := s.expect(t, `"after"`)
	if !strings.HasPrefix(got.raw, "id: user:123@"+receipt.Offset+"\nevent: tick\ndata: {") {
		t.Errorf("the event came as %q", got.raw)
	}
}

// TestStreamOrder mixes channels: each channel's events come in order, and all of them.
func TestStreamOrder(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	channels := []string{"user:123", "global", "service:matching"}
	s := h.follow(t, "channel=user:123&channel=global&channel=service:matching&channel=global")
	other := h.follow(t, "channel=user:9")
	const each = 20
	for n := range each {
		for _, ch := range channels {
			h.publish(t, ch, fmt.Sprintf(`{"type":"tick","data":%d}`, n))
		}
	}
	next := make(map[string]int)
	var last frame
	for range each * len(channels) {
		last = s.next(t)
		event := decode[envelope](t, []byte(last.data))
		if string(event.Data) != fmt.Sprint(next[event.Channel]) {
			t.Fatalf("on %s came %s, want %d", event.Channel, event.Data, next[event.Channel])
		}
		next[event.Channel]++
		if !strings.Contains(last.id, strings.TrimPrefix(event.Channel, h.prefix+":")+"@"+event.Offset) {
			t.Errorf("the id %s is not behind %s of %s", last.id, event.Offset, event.Channel)
		}
	}
	for _, ch := range channels {
		if next[h.full(ch)] != each {
			t.Errorf("%d events came on %s, want %d", next[h.full(ch)], ch, each)
		}
	}
	h.publish(t, "user:9", `{"type":"tick","data":"mine"}`)
	other.expect(t, `"mine"`)

	// The id stands for all the channels: one event on each is missed and comes with the resumption.
	s.close()
	for _, ch := range channels {
		h.publish(t, ch, fmt.Sprintf(`{"type":"tick","data":%d}`, each))
	}
	again := h.follow(t, "channel=service:matching&channel=global&channel=user:123", "Last-Event-ID: "+last.id)
	came := make(map[string]string)
	for range channels {
		event := again.event(t)
		came[event.Channel] = string(event.Data)
	}
	for _, ch := range channels {
		if came[h.full(ch)] != fmt.Sprint(each) {
			t.Errorf("after the resumption %q came on %s, want %d", came[h.full(ch)], ch, each)
		}
	}
}

// TestStreamStartsWhereItIsTold opens streams with each way to say where to begin, alone and together.
func TestStreamStartsWhereItIsTold(t *testing.T) {
	h := startHub(t, options{})
	var receipts []api.Receipt
	for n := range 6 {
		receipts = append(receipts, h.ticks(t, "user:1", n, n+1)...)
		// No two in the same millisecond, so that a time tells them apart.
		redistest.Eventually(t, soon, "the next millisecond", func() bool {
			now, err := h.redis.Client().Time(t.Context()).Result()
			return err == nil && now.UnixMilli() > millis(t, receipts[n].Offset)
		})
	}
	at := func(n int) string { return "user:1@" + receipts[n].Offset }
	const now = -1
	sent := len(receipts)
	since := func(n int) string {
		return url.QueryEscape(time.UnixMilli(millis(t, receipts[n].Offset)).In(time.FixedZone("", 3*3600)).Format(time.RFC3339Nano))
	}
	for _, tt := range []struct {
		name, query, header string
		from                int // now for what is published after the beginning.
	}{
		{"now", "", "", now},
		{"header", "", "Last-Event-ID: " + at(1), 2},
		{"query", "&last_event_id=" + at(2), "", 3},
		{"header before query", "&last_event_id=" + at(4), "Last-Event-ID: " + at(2), 3},
		{"header before query and since", "&since=" + since(0) + "&last_event_id=" + at(4), "Last-Event-ID: " + at(3), 4},
		{"query before since", "&since=" + since(0) + "&last_event_id=" + at(4), "", 5},
		{"earliest", "&last_event_id=earliest", "", 0},
		{"earliest in the header", "&last_event_id=" + at(4), "Last-Event-ID: earliest", 0},
		{"since", "&since=" + since(2), "", 3},
		{"since an hour ago", "&since=" + url.QueryEscape(time.Now().Add(-time.Hour).Format(time.RFC3339)), "", 0},
		{"newest", "&last_event_id=" + at(5), "", 6},
		{"empty", "&last_event_id=&since=", `Last-Event-ID: ""`, now},
		{"empty header", "&last_event_id=" + at(2), `Last-Event-ID: ""`, 3},
		{"cursor of another channel", "&last_event_id=user:2@1-0", "", now},
		{"cursor with another channel", "&last_event_id=global@1-0," + at(3), "", 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := h.follow(t, "channel=user:1"+tt.query, tt.header)
			from := tt.from
			if from == now {
				from = sent
			}
			h.ticks(t, "user:1", sent, sent+1)
			sent++
			s.expect(t, numbers(from, sent)...)
			s.close()
		})
	}
	// From a channel without a log, too, each is the beginning.
	for i, query := range []string{"&last_event_id=earliest", "&since=" + url.QueryEscape(time.Now().Add(-time.Hour).Format(time.RFC3339)), ""} {
		s := h.follow(t, fmt.Sprintf("channel=user:7%d%s", i, query))
		h.publish(t, fmt.Sprintf("user:7%d", i), `{"type":"tick","data":"first"}`)
		s.expect(t, `"first"`)
		s.close()
	}
	// Longer ago than the log keeps anything: something may be missing, and the stream says so.
	s := h.follow(t, "channel=user:1&since="+url.QueryEscape(time.Now().AddDate(0, 0, -8).Format(time.RFC3339)))
	if gap := s.next(t); gap.event != "gap" {
		t.Errorf("%q came, want a gap", gap.raw)
	}
	s.expect(t, numbers(0, sent)...)
}

// millis is the time of an offset.
func millis(tb testing.TB, offset string) int64 {
	tb.Helper()
	var ms, seq int64
	if _, err := fmt.Sscanf(offset, "%d-%d", &ms, &seq); err != nil {
		tb.Fatal(err)
	}
	return ms
}

// TestStreamOfMostChannels follows as many channels as there may be, with the longest names, and resumes with the cursor.
func TestStreamOfMostChannels(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	var channels []string
	for n := range 64 {
		channels = append(channels, fmt.Sprintf("service:%064d", n))
	}
	query := "channel=" + strings.Join(channels, "&channel=")
	s := h.follow(t, query)
	for n, channel := range channels {
		h.publish(t, channel, fmt.Sprintf(`{"type":"tick","data":%d}`, n))
	}
	came := make(map[string]bool)
	var last frame
	for range channels {
		last = s.next(t)
		came[decode[envelope](t, []byte(last.data)).Channel] = true
	}
	if len(came) != len(channels) {
		t.Errorf("events came on %d channels, want %d", len(came), len(channels))
	}
	s.close()
	h.publish(t, channels[63], `{"type":"tick","data":"last"}`)
	h.follow(t, query, "Last-Event-ID: "+last.id).expect(t, `"last"`)
	h.follow(t, query+"&last_event_id="+url.QueryEscape(last.id)).expect(t, `"last"`)
	t.Logf("the cursor has %d bytes", len(last.id))
}

func TestStreamTypes(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	all := []string{"user", "user.login", "user.action.menu", "users.login", "activity.created", "last"}
	for _, typ := range all {
		h.publish(t, "user:1", `{"type":"`+typ+`"}`)
	}
	for query, want := range map[string][]string{
		"":                                   all,
		"&type=*":                            all,
		"&type=user.*":                       {"user.login", "user.action.menu", "last"},
		"&type=user.login":                   {"user.login", "last"},
		"&type=user":                         {"user", "last"},
		"&type=user.action.*":                {"user.action.menu", "last"},
		"&type=user.login&type=activity.*":   {"user.login", "activity.created", "last"},
		"&type=user.login&type=user.*":       {"user.login", "user.action.menu", "last"},
		"&type=nothing.like.this":            {"last"},
		"&type=user.*&type=users.*&type=*":   all,
		"&type=activity.created&type=user.x": {"activity.created", "last"},
	} {
		if strings.Contains(query, "type=") && !strings.Contains(query, "type=*") {
			query += "&type=last"
		}
		s := h.follow(t, "channel=user:1&last_event_id=earliest"+query)
		for _, typ := range want {
			if got := s.next(t).event; got != typ {
				t.Fatalf("%s: got %s, want %s", query, got, typ)
			}
		}
		s.close()
	}
	// The same live.
	s := h.follow(t, "channel=user:1&type=user.*&type=last")
	for _, typ := range all {
		h.publish(t, "user:1", `{"type":"`+typ+`"}`)
	}
	for _, typ := range []string{"user.login", "user.action.menu", "last"} {
		if got := s.next(t).event; got != typ {
			t.Fatalf("live: got %s, want %s", got, typ)
		}
	}
}

// TestStreamGap resumes from a place that the log no longer reaches.
func TestStreamGap(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	h.ticks(t, "user:1", 0, 3)
	s := h.follow(t, "channel=user:1&channel=global&last_event_id=earliest")
	last := s.expect(t, "0", "1", "2")
	s.close()
	receipts := h.ticks(t, "user:1", 3, 10)
	h.ticks(t, "global", 0, 1)
	h.trim(t, "user:1", 2)

	s = h.follow(t, "channel=user:1&type=tick", "Last-Event-ID: "+last.id)
	gap := s.next(t)
	if gap.event != "gap" || gap.id == "" {
		t.Fatalf("got %q, want a gap with an id", gap.raw)
	}
	after, _, _ := strings.Cut(strings.TrimPrefix(last.id, "user:1@"), ",")
	if want := `{"channel":"user:1","after":"` + after + `"}`; gap.data != want {
		t.Errorf("the gap says %s, want %s", gap.data, want)
	}
	s.expect(t, "8", "9")
	s.close()
	// Who has been told of the gap goes on behind it, with what the log holds.
	s = h.follow(t, "channel=user:1", "Last-Event-ID: user:1@"+receipts[5].Offset)
	s.expect(t, "9")
	s.close()
	// Whoever asks for all that there is gets it, and no gap.
	s = h.follow(t, "channel=user:1&last_event_id=earliest")
	s.expect(t, "8", "9")
	if gaps := h.stats(t).Streams["gaps"]; gaps != 1 {
		t.Errorf("%d gaps in the stats, want 1", gaps)
	}
}

// TestStreamHeartbeat checks that a quiet stream says that it is alive, and that the id it sends has passed the events that
// were kept back.
func TestStreamHeartbeat(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{api: api.Config{Heartbeat: 20 * time.Millisecond}})
	s := h.follow(t, "channel=user:1&type=user.*")
	beat := s.any(t)
	if !beat.comment || beat.event != "" || beat.data != "" || beat.retry != "" || !regexp.MustCompile(`^id: \S+\n:$`).MatchString(beat.raw) {
		t.Errorf("the heartbeat is %q", beat.raw)
	}
	receipt := h.ticks(t, "user:1", 0, 3)[2]
	redistest.Eventually(t, soon, "a heartbeat has passed what was kept back", func() bool {
		beat = s.any(t)
		if beat.event != "" {
			t.Fatalf("%q came, which was not asked for", beat.raw)
		}
		return beat.id == "user:1@"+receipt.Offset
	})
	h.publish(t, "user:1", `{"type":"user.login","data":"seen"}`)
	s.expect(t, `"seen"`)
	s.close()
	again := h.follow(t, "channel=user:1", "Last-Event-ID: "+beat.id)
	again.expect(t, `"seen"`)
}

func TestStreamBadParameters(t *testing.T) {
	t.Parallel()
	h := startHub(t, options{})
	repeat := func(name, value string, n int) string { return strings.Repeat("&"+name+"="+value, n) }
	for _, tt := range []struct {
		query, header string
		fields        []string
	}{
		{"", "", []string{"channel"}},
		{"channel=", "", []string{"channel"}},
		{"channel=user:0", "", []string{"channel"}},
		{"channel=user:1&channel=nobody", "", []string{"channel"}},
		{"channel=user:1,global", "", []string{"channel"}},
		{repeat("channel", "global", 65), "", []string{"channel"}},
		{"channel=global&type=User.Login", "", []string{"type"}},
		{"channel=global&type=user*", "", []string{"type"}},
		{"channel=global&type=*.login", "", []string{"type"}},
		{"channel=global&type=gap", "", []string{"type"}},
		{"channel=global&type=", "", []string{"type"}},
		{"channel=global" + repeat("type", "user.login", 65), "", []string{"type"}},
		{"channel=global&last_event_id=latest", "", []string{"last_event_id"}},
		{"channel=global&last_event_id=global", "", []string{"last_event_id"}},
		{"channel=global&last_event_id=global@x", "", []string{"last_event_id"}},
		{"channel=global&last_event_id=global@1-0,global@2-0", "", []string{"last_event_id"}},
		{"channel=global&last_event_id=global@1-0&last_event_id=global@2-0", "", []string{"last_event_id"}},
		{"channel=global&last_event_id=earliest", "Last-Event-ID: 7", []string{"Last-Event-ID"}},
		{"channel=global", "Last-Event-ID: global@1-0 ,user:1@1-0", []string{"Last-Event-ID"}},
		{"channel=global&since=yesterday", "", []string{"since"}},
		{"channel=global&since=2026-11-21T09:00:00", "", []string{"since"}},
		{"channel=x&type=X&last_event_id=x", "", []string{"channel", "type", "last_event_id"}},
		{"channel=x&type=X&since=x", "", []string{"channel", "type", "since"}},
	} {
		h.get(t, "/v1/stream?"+tt.query, tt.header).problem(t, 422, "invalid_fields", tt.fields...)
	}
	if open := h.stats(t).Streams["opened"]; open != 0 {
		t.Errorf("%d streams were opened", open)
	}
}
