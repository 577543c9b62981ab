package events_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// say publishes on a Redis channel as the bot does, past the hub.
func say(tb testing.TB, rdb *redis.Client, name, payload string) {
	tb.Helper()
	if err := rdb.Publish(tb.Context(), name, payload).Err(); err != nil {
		tb.Fatal(err)
	}
}

// botSays makes an envelope as Python writes it.
func botSays(cfg events.Config, ch events.Channel, id, data string) string {
	return fmt.Sprintf(`{"id": "%s", "type": "user.login", "data": %s, "timestamp": "2026-11-21T19:11:26.325925", "channel": "%s:%v", `+
		`"user_id": null, "source": "django-connectbot"}`, id, data, cfg.Prefix, ch)
}

// TestThreeBridges lets three bridges hear what the bot said: each event is logged once, in the order in which it was
// said, is not published again, and reaches the streams.
func TestThreeBridges(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	var bridges []*events.Bridge
	for range 3 {
		bridges = append(bridges, newBridge(t, redistest.Shared(t).Client(), cfg))
	}
	fanout, log := newFanout(t, rdb, cfg), newLog(t, rdb, cfg)
	recorded := botEvents(t)
	var names []string
	streams := map[string]*events.Stream{}
	for _, r := range recorded {
		names = append(names, strings.Replace(r.Channel, "connectbot", cfg.Prefix, 1))
		ch := channel(t, strings.TrimPrefix(r.Channel, "connectbot:"))
		streams[r.Channel] = follow(t, fanout, events.Cursor{}, ch)
	}
	heard := listen(t, rdb, names...)
	for i, r := range recorded {
		payload := strings.ReplaceAll(r.Payload, "connectbot:", cfg.Prefix+":")
		say(t, rdb, names[i], payload)
		if m := receive(t, heard); m.Payload != payload {
			t.Errorf("the reader on Redis got %s", m.Payload)
		}
		bot, err := events.DecodeEvent("connectbot", []byte(r.Payload))
		if err != nil {
			t.Fatal(err)
		}
		live := nextEvent(t, streams[r.Channel])
		records := readAll(t, log, bot.Channel)
		if len(records) != 1 {
			t.Fatalf("%s: the log holds %d events", r.Call, len(records))
		}
		logged, err := records[0].Event()
		if err != nil {
			t.Fatal(err)
		}
		bot.Data, bot.Offset = compact(t, bot.Data), logged.Offset
		if got, want := fmt.Sprintf("%+v", logged), fmt.Sprintf("%+v", bot); got != want || fmt.Sprintf("%+v", live) != want {
			t.Errorf("%s:\n log %s\nlive %+v\nwant %s", r.Call, got, live, want)
		}
	}
	const more = 200
	for n := range more {
		say(t, rdb, names[0], botSays(cfg, channel(t, "user:123"), fmt.Sprint("more-", n), strconv.Itoa(n)))
	}
	for n := range more {
		if ev := nextEvent(t, streams[recorded[0].Channel]); string(ev.Data) != strconv.Itoa(n) {
			t.Fatalf("live came %s, want %d", ev.Data, n)
		}
		receive(t, heard)
	}
	total := int64(len(recorded) + more)
	redistest.Eventually(t, soon, "every bridge has dealt with every event", func() bool {
		var sum events.BridgeStats
		for _, b := range bridges {
			s := b.Stats()
			sum = events.BridgeStats{TakenUp: sum.TakenUp + s.TakenUp, Seen: sum.Seen + s.Seen, Ignored: sum.Ignored + s.Ignored}
		}
		return sum == events.BridgeStats{TakenUp: total, Seen: 2 * total}
	})
	if got := numbers(t, readAll(t, log, channel(t, "user:123"))[1:]); !slices.Equal(got, upTo(0, more-1)) {
		t.Errorf("the log holds %v", got)
	}
	select {
	case m := <-heard:
		t.Errorf("published again: %s", m.Payload)
	default:
	}
}

func compact(tb testing.TB, raw []byte) []byte {
	tb.Helper()
	m, err := events.DecodeMessage([]byte(`{"type":"x","data":` + string(raw) + `}`))
	if err != nil {
		tb.Fatal(err)
	}
	return m.Data
}

// TestBridgeTakesUp looks at what becomes of unusual envelopes.
func TestBridgeTakesUp(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	newBridge(t, rdb, cfg)
	fanout, log, ch := newFanout(t, rdb, cfg), newLog(t, rdb, cfg), channel(t, "user:5")
	s := follow(t, fanout, events.Cursor{}, ch)
	for _, garbage := range []string{"", "garbage", `{"channel":"elsewhere"}`, `{"channel":"` + cfg.Prefix + `:user:5"}`} {
		say(t, rdb, "hub:takenup:"+cfg.Prefix, garbage) // Where hubs tell each other what was taken up.
	}
	name := cfg.Prefix + ":user:5"
	large := strings.Repeat("a", 10*events.MaxEventSize)
	for i, test := range []struct{ name, said, want string }{
		{
			"members nobody knows", `"more": {"x": [1, "a b"]}, "data": {}, "Other": 5, "tracestate": "a=1", "": null, "Type": "y"`,
			`"data":{},TS,CH,"user_id":5,"source":"","more":{"x":[1,"a b"]},"Other":5,"tracestate":"a=1","":null,"Type":"y"`,
		},
		{
			"half an emoji", `"data": {"text": "\ud83d half"}, "note": "\ude00"`,
			`"data":{"text":"\ud83d half"},TS,CH,"user_id":5,"source":"","note":"\ude00"`,
		},
		{"no data", `"source": "a\u0000b"`, `"data":null,TS,CH,"user_id":5,"source":"a\u0000b"`},
		{"numbers as they are", `"data": [1.0, 1e5, 12345678901234567890]`, `"data":[1.0,1e5,12345678901234567890],TS,CH,"user_id":5,"source":""`},
		{"another user", `"data": 1, "user_id": 6`, `"data":1,TS,CH,"user_id":5,"source":""`},
		{"a correlation", `"data": 1, "correlation_id": "c"`, `"data":1,TS,CH,"user_id":5,"source":"","correlation_id":"c"`},
		{
			"a trace", `"data": 1, "more": 2, "traceparent": "` + parent + `", "correlation_id": "c"`,
			`"data":1,TS,CH,"user_id":5,"source":"","correlation_id":"c","traceparent":"` + parent + `","more":2`,
		},
		{"a trace that is none", `"data": 1, "traceparent": "00-1"`, `"data":1,TS,CH,"user_id":5,"source":""`},
		{"a trace that is no text", `"data": 1, "traceparent": {"a": [1]}`, `"data":1,TS,CH,"user_id":5,"source":""`},
		{"deep data", `"data": ` + nested(1000), `"data":` + nested(1000) + `,TS,CH,"user_id":5,"source":""`},
		{"large data", `"data": "` + large + `"`, `"data":"` + large + `",TS,CH,"user_id":5,"source":""`},
		{"an empty offset", `"data": 1, "offset": ""`, `"data":1,TS,CH,"user_id":5,"source":""`},
	} {
		id := strconv.Itoa(i)
		said := fmt.Sprintf(`{"id": "%s", "type": "x", "timestamp": "2026-11-21T22:11:26.3+03:00", "channel": "elsewhere", %s}`, id, test.said)
		say(t, rdb, name, said)
		record := next(t, s).Record
		want := strings.NewReplacer("TS", `"timestamp":"2026-11-21T19:11:26.300000Z"`, "CH", `"channel":"`+name+`"`).Replace(test.want)
		want = fmt.Sprintf(`{"id":"%s","type":"x",%s,"offset":"%v"}`, id, want, record.Offset)
		if record.JSON != want {
			t.Errorf("%s:\n got %.300s\nwant %.300s", test.name, record.JSON, want)
		}
		records := readAll(t, log, ch)
		if last := records[len(records)-1]; *last != *record {
			t.Errorf("%s: in the log it is %.300s", test.name, last.JSON)
		}
	}
}

// TestNaiveTimestampsOfBot takes local times without a zone and keeps UTC.
func TestNaiveTimestampsOfBot(t *testing.T) {
	inMoscow(t)
	cfg, rdb := config(t), redistest.Shared(t).Client()
	newBridge(t, rdb, cfg)
	s := follow(t, newFanout(t, rdb, cfg), events.Cursor{}, events.Global())
	say(t, rdb, cfg.Prefix+":global", botSays(cfg, events.Global(), "1", "{}"))
	if r := next(t, s).Record; !strings.Contains(r.JSON, `"timestamp":"2026-11-21T16:11:26.325925Z"`) {
		t.Errorf("the log holds %s", r.JSON)
	}
}

// TestBridgeIgnores says what is no envelope, and what is a hub's own: nothing of it gets into the logs of the channels. Of what
// is no envelope the operator is told, without a word of it.
func TestBridgeIgnores(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	core, logs := observer.New(zap.WarnLevel)
	cfg.Logger = zap.New(core)
	bridge, publisher, log := newBridge(t, rdb, cfg), newPublisher(t, rdb, cfg), newLog(t, rdb, cfg)
	good := botSays(cfg, events.Global(), "1", "{}")
	foreign := []string{
		"", "hello", "[]", "{}", "{", " " + good, good + good, strings.Replace(good, "user.login", "User Secret", 1),
		strings.Replace(good, `"1"`, `""`, 1), strings.Replace(good, `"1"`, `"ж"`, 1), strings.Replace(good, "2026", "secret", 1),
		strings.Replace(good, "{}", `{"a": 1, "a": 2}`, 1), strings.Replace(good, "{}", "\"\xff\"", 1),
		strings.Replace(good, `"user_id"`, `"offset": "1-1", "user_id"`, 1), strings.Replace(good, "{}", `"`+strings.Repeat("a", 1<<20)+`"`, 1),
		strings.Replace(good, "user.login", "slow", 1), `{"id":"1","type":"x","offset":"}`,
	}
	for _, payload := range foreign {
		say(t, rdb, cfg.Prefix+":global", payload)
	}
	for _, name := range []string{":user:secret", ":user:0", ":service:", ":service:a secret", ":user:1:2"} {
		say(t, rdb, cfg.Prefix+name, good)
	}
	for _, name := range []string{":other", ":log", "", "x:global"} { // The bridge does not hear these.
		say(t, rdb, cfg.Prefix+name, good)
	}
	publish(t, publisher, events.Message{Channel: events.Global(), Type: "own"})
	say(t, rdb, cfg.Prefix+":global", good)
	redistest.Eventually(t, soon, "the last event is taken up", func() bool { return bridge.Stats().TakenUp > 0 })
	if s := bridge.Stats(); s != (events.BridgeStats{TakenUp: 1, Ignored: int64(len(foreign)) + 5}) {
		t.Errorf("stats: %+v, want %d ignored", s, len(foreign)+5)
	}
	told := map[any]int{} // How often, by scope.
	for _, entry := range logs.All() {
		told[entry.ContextMap()["scope"]]++
		if entry.Message != "a message published on Redis is no event and is left out" || entry.ContextMap()["error"] == "" ||
			strings.Contains(fmt.Sprint(entry.ContextMap()), "ecret") {
			t.Errorf("logged was %s %v", entry.Message, entry.ContextMap())
		}
	}
	if want := map[any]int{"global": len(foreign), "user": 3, "service": 2}; !maps.Equal(told, want) {
		t.Errorf("logged was, by scope, %v, want %v", told, want)
	}
	if records := readAll(t, log, events.Global()); len(records) != 2 || records[0].Type != "own" {
		t.Errorf("the log holds %d events", len(records))
	}
	if keys := keysOf(t, rdb, cfg.Prefix+":log:*"); len(keys) != 1 {
		t.Errorf("there are logs %v", keys)
	}
}

// TestBridgeAndPublisher gives one event both ways: it is logged once, whoever comes first.
func TestBridgeAndPublisher(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	bridge, publisher, log := newBridge(t, rdb, cfg), newPublisher(t, rdb, cfg), newLog(t, rdb, cfg)
	say(t, rdb, cfg.Prefix+":global", botSays(cfg, events.Global(), "1", "{}"))
	redistest.Eventually(t, soon, "it is taken up", func() bool { return bridge.Stats().TakenUp == 1 })
	if r := publish(t, publisher, events.Message{Channel: events.Global(), Type: "user.login", ID: "1"}); !r.Duplicate || r.ID != "1" {
		t.Errorf("receipt %+v", r)
	}
	publish(t, publisher, events.Message{Channel: events.Global(), Type: "user.login", ID: "2"})
	say(t, rdb, cfg.Prefix+":global", botSays(cfg, events.Global(), "2", "{}"))
	redistest.Eventually(t, soon, "it is seen", func() bool { return bridge.Stats().Seen == 1 })
	if n := len(readAll(t, log, events.Global())); n != 2 {
		t.Errorf("the log holds %d events", n)
	}
}

// awaitHeard returns once a bridge has heard all that was said before: it counts what is no envelope when it hears it.
func awaitHeard(tb testing.TB, rdb *redis.Client, cfg events.Config, b *events.Bridge) {
	tb.Helper()
	before := b.Stats().Ignored
	say(tb, rdb, cfg.Prefix+":global", "no envelope")
	redistest.Eventually(tb, soon, "the bridge has heard all", func() bool { return b.Stats().Ignored > before })
}

// TestBridgeRestart restarts Redis between hearing an event and logging it, and goes on afterwards.
func TestBridgeRestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	cfg, bot := config(t), server.Client()
	held := &batches{waiting: make(chan struct{}, 1000), open: make(chan struct{})}
	rdb := server.Client()
	rdb.AddHook(held)
	bridge, log := newBridge(t, rdb, cfg), newLog(t, bot, cfg)
	for n := range 5 {
		say(t, bot, cfg.Prefix+":global", botSays(cfg, events.Global(), fmt.Sprint(n), strconv.Itoa(n)))
	}
	awaitHeard(t, bot, cfg, bridge)
	server.Kill()
	redistest.Eventually(t, soon, "the bridge notices", func() bool { return !bridge.Connected() && bridge.Check(t.Context()) != nil })
	close(held.open)
	server.Restart()
	redistest.Eventually(t, soon, "the bridge is back", bridge.Connected)
	say(t, bot, cfg.Prefix+":global", botSays(cfg, events.Global(), "5", "5"))
	redistest.Eventually(t, soon, "all is taken up", func() bool { return bridge.Stats().TakenUp == 6 })
	if got := numbers(t, readAll(t, log, events.Global())); !slices.Equal(got, upTo(0, 5)) {
		t.Errorf("the log holds %v", got)
	}
	if bridge.Check(t.Context()) != nil {
		t.Error("the bridge is not well")
	}
}

// TestBridgeClose closes a bridge that has heard more than it has logged.
func TestBridgeClose(t *testing.T) {
	t.Parallel()
	cfg, bot := config(t), redistest.Shared(t).Client()
	held := &batches{waiting: make(chan struct{}, 1000), open: make(chan struct{})}
	rdb := redistest.Shared(t).Client()
	rdb.AddHook(held)
	bridge, log := newBridge(t, rdb, cfg), newLog(t, bot, cfg)
	for n := range 5 {
		say(t, bot, cfg.Prefix+":global", botSays(cfg, events.Global(), fmt.Sprint(n), strconv.Itoa(n)))
	}
	awaitHeard(t, bot, cfg, bridge)
	closed := make(chan struct{})
	go func() {
		bridge.Close()
		close(closed)
	}()
	redistest.Eventually(t, soon, "the bridge listens no more", func() bool { return !bridge.Connected() })
	close(held.open)
	receive(t, closed)
	if got := numbers(t, readAll(t, log, events.Global())); !slices.Equal(got, upTo(0, 4)) {
		t.Errorf("the log holds %v", got)
	}
	bridge.Close()
}

// TestMixedPublishers lets hubs and bots speak on one channel at once, at random, while fanouts on connections of their
// own listen: every stream must give just what the log holds, in the log's order, and nobody's event may be missing.
func TestMixedPublishers(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Service.MaxEntries = 100_000
	ch := channel(t, "service:matching")
	client := func() *redis.Client { return redistest.Shared(t).Client() }
	bridges := []*events.Bridge{newBridge(t, client(), cfg), newBridge(t, client(), cfg)}
	publishers := []*events.Publisher{newPublisher(t, client(), cfg), newPublisher(t, client(), cfg)}
	var streams []*events.Stream
	for range 3 {
		fanout := newFanout(t, client(), cfg)
		streams = append(streams, follow(t, fanout, events.Cursor{}, ch), follow(t, fanout, events.Earliest(), ch))
	}
	const each = 200
	var speakers sync.WaitGroup
	for i := range 6 {
		rdb := client()
		speakers.Go(func() {
			for n := range each {
				id := fmt.Sprintf("%d-%d", i, n)
				var err error
				if i < 3 {
					err = rdb.Publish(t.Context(), cfg.Prefix+":service:matching", botSays(cfg, ch, id, strconv.Itoa(n))).Err()
				} else {
					_, err = publishers[rand.IntN(2)].Publish(t.Context(), events.Message{Channel: ch, Type: "x", ID: id, Data: []byte(strconv.Itoa(n))})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	got := make([][]string, len(streams))
	ctx, cancel := context.WithTimeout(t.Context(), 2*soon)
	defer cancel()
	var readers sync.WaitGroup
	for i, s := range streams {
		readers.Go(func() {
			for len(got[i]) < 6*each {
				d, err := s.Next(ctx)
				if err != nil || d.Gap != nil {
					t.Errorf("stream %d after %d events: %v, gap %v", i, len(got[i]), err, d.Gap)
					return
				}
				got[i] = append(got[i], d.Record.JSON)
			}
		})
	}
	speakers.Wait()
	readers.Wait()
	redistest.Eventually(t, soon, "the bridges are done", func() bool {
		a, b := bridges[0].Stats(), bridges[1].Stats()
		return a.TakenUp+b.TakenUp == 3*each && a.Seen+b.Seen == 3*each
	})
	var logged []string
	last := map[string]int{}
	for _, r := range everything(t, newLog(t, client(), cfg), ch) {
		logged = append(logged, r.JSON)
		var speaker string
		var n int
		if _, err := fmt.Sscanf(strings.ReplaceAll(r.JSON[len(`{"id":"`):][:8], "-", " "), "%s %d", &speaker, &n); err != nil {
			t.Fatal(err)
		}
		if n != last[speaker] {
			t.Fatalf("speaker %s: %d came when %d was due", speaker, n, last[speaker])
		}
		last[speaker]++
	}
	if len(logged) != 6*each {
		t.Errorf("the log holds %d events, want %d", len(logged), 6*each)
	}
	for i := range streams {
		if !slices.Equal(got[i], logged) {
			t.Errorf("stream %d differs from the log", i)
		}
		if d, ok, err := streams[i].TryNext(t.Context()); ok || err != nil {
			t.Errorf("stream %d has more: %+v, %v", i, d, err)
		}
	}
}
