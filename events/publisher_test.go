package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// listen subscribes to Redis channels as a service does that knows no hub, and returns what comes.
func listen(tb testing.TB, rdb *redis.Client, channels ...string) <-chan *redis.Message {
	tb.Helper()
	ps := rdb.Subscribe(tb.Context(), channels...)
	tb.Cleanup(func() { _ = ps.Close() })
	for range channels {
		if _, err := ps.Receive(tb.Context()); err != nil {
			tb.Fatal(err)
		}
	}
	return ps.Channel(redis.WithChannelSize(10_000))
}

func receive[T any](tb testing.TB, from <-chan T) T {
	tb.Helper()
	timer := time.NewTimer(soon)
	defer timer.Stop()
	select {
	case v := <-from:
		return v
	case <-timer.C:
		tb.Fatal("nothing came")
		panic("unreachable")
	}
}

// TestVectors publishes what the bot published and compares the bytes that a reader on Redis gets.
func TestVectors(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	cfg.Source = "django-connectbot"
	publisher := newPublisher(t, rdb, cfg)
	for _, recorded := range botEvents(t) {
		name := strings.Replace(recorded.Channel, "connectbot", cfg.Prefix, 1)
		heard := listen(t, rdb, name)
		bot, err := events.DecodeEvent("connectbot", []byte(recorded.Payload))
		if err != nil {
			t.Fatal(err)
		}
		receipt := publish(t, publisher, events.Message{Channel: bot.Channel, Type: bot.Type, Data: bot.Data, ID: bot.ID, Timestamp: bot.Timestamp})
		payload := receive(t, heard).Payload

		got, want := map[string]any{}, map[string]any{}
		if err := errors.Join(json.Unmarshal([]byte(payload), &got), json.Unmarshal([]byte(recorded.Payload), &want)); err != nil {
			t.Fatal(err)
		}
		if got["offset"] != receipt.Offset.String() || got["timestamp"] != events.FormatTimestamp(bot.Timestamp) {
			t.Errorf("%s: offset %v, timestamp %v", recorded.Call, got["offset"], got["timestamp"])
		}
		delete(got, "offset")
		got["timestamp"], want["channel"] = want["timestamp"], name
		if fmt.Sprint(got) != fmt.Sprint(want) || !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
			t.Errorf("%s:\n got %v\nwant %v", recorded.Call, got, want)
		}
		if ev, err := events.DecodeEvent(cfg.Prefix, []byte(payload)); err != nil || ev.Offset != receipt.Offset {
			t.Errorf("%s: what the hub publishes is read as %+v, %v", recorded.Call, ev, err)
		}
		if records := readAll(t, newLog(t, rdb, cfg), bot.Channel); len(records) != 1 || records[0].JSON != payload {
			t.Errorf("%s: the log holds %v, published was %s", recorded.Call, records, payload)
		}
	}
}

func TestReceipt(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	publisher, fanout, ch := newPublisher(t, rdb, cfg), newFanout(t, rdb, cfg), channel(t, "user:123")
	before := time.Now().Truncate(time.Microsecond)
	r := publish(t, publisher, events.Message{Channel: ch, Type: "user.login"})
	if id, err := uuid.Parse(r.ID); err != nil || id.Version() != 7 {
		t.Errorf("id %s: %v", r.ID, err)
	}
	if r.Type != "user.login" || r.Channel != cfg.Prefix+":user:123" || r.Subscribers != 0 || r.Duplicate || r.Offset.IsZero() ||
		r.Timestamp.Before(before) || r.Timestamp.After(time.Now()) || r.Timestamp.Location() != time.UTC {
		t.Errorf("receipt %+v", r)
	}
	ev, err := readAll(t, newLog(t, rdb, cfg), ch)[0].Event()
	if err != nil || ev.ID != r.ID || ev.Source != "connecthub" || string(ev.Data) != "{}" || !ev.Timestamp.Equal(r.Timestamp) || ev.CorrelationID != "" {
		t.Errorf("event %+v, %v", ev, err)
	}

	listen(t, rdb, r.Channel)
	listen(t, rdb, r.Channel)
	for range 3 {
		follow(t, fanout, events.Cursor{}, ch)
	}
	newBridge(t, rdb, cfg)
	newBridge(t, rdb, cfg)
	if r := publish(t, publisher, events.Message{Channel: ch, Type: "user.logout"}); r.Subscribers != 3 {
		t.Errorf("%d subscribers are counted, want two services and one hub", r.Subscribers)
	}
	at := time.Date(2020, 2, 29, 12, 0, 0, 123_456_789, time.FixedZone("", 3600))
	r = publish(t, publisher, events.Message{
		Channel: ch, Type: "x", ID: "mine", Timestamp: at, Source: `quo"te`, CorrelationID: "Ж\\1", Data: []byte(" [ 1 , {} ] "),
	})
	records := readAll(t, newLog(t, rdb, cfg), ch)
	last := records[len(records)-1].JSON
	want := fmt.Sprintf(`{"id":"mine","type":"x","data":[1,{}],"timestamp":"2020-02-29T11:00:00.123456Z","channel":"%s:user:123",`+
		`"user_id":123,"source":"quo\"te","correlation_id":"Ж\\1","offset":"%v"}`, cfg.Prefix, r.Offset)
	if last != want || !r.Timestamp.Equal(at.Truncate(time.Microsecond)) || r.ID != "mine" {
		t.Errorf("receipt %+v\n got %s\nwant %s", r, last, want)
	}
	if s := publisher.Stats(); s.Outcomes != (events.Outcomes{Published: 3}) || s.User != s.Outcomes {
		t.Errorf("stats: %+v", s)
	}
}

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	publisher := newPublisher(t, rdb, cfg)
	long := strings.Repeat("a", 129)
	for fields, m := range map[string]events.Message{
		"channel":        {Type: "x"},
		"channel type":   {},
		"type":           {Channel: events.Global(), Type: "X"},
		"id":             {Channel: events.Global(), Type: "x", ID: "a b"},
		"source":         {Channel: events.Global(), Type: "x", Source: long},
		"correlation_id": {Channel: events.Global(), Type: "x", CorrelationID: "a\nb"},
		"timestamp":      {Channel: events.Global(), Type: "x", Timestamp: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"data":           {Channel: events.Global(), Type: "x", Data: []byte(nested(65))},
		"type id source": {Channel: events.Global(), Type: "slow", ID: long, Source: "\xff"},
	} {
		if _, err := publisher.Publish(t.Context(), m); problems(err) != fields {
			t.Errorf("%v: fields %q", err, problems(err))
		}
	}
	for _, data := range []string{"x", " ", "{", `{"a":1,"a":2}`, "[1,]", "\"\xff\"", `"\ud83d"`, "1 2", `"\`, `{"a":"\"}`} {
		if _, err := publisher.Publish(t.Context(), events.Message{Channel: events.Global(), Type: "x", Data: []byte(data)}); problems(err) != "data" {
			t.Errorf("%q: %v", data, err)
		}
	}
	decoded, err := events.DecodeMessage([]byte(`{"type":"x","data":{"a":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	decoded.Channel, decoded.Data = events.Global(), []byte(`{"a":1,`)
	if _, err := publisher.Publish(t.Context(), decoded); problems(err) != "data" {
		t.Errorf("data that was put in place of what was decoded: %v", err)
	}

	// An envelope of exactly the allowed size, and one byte more.
	m := events.Message{Channel: events.Global(), Type: "x", ID: "1", Source: "s", Timestamp: time.Now(), Data: []byte(`""`)}
	publish(t, publisher, m)
	r := readAll(t, newLog(t, rdb, cfg), events.Global())[0]
	room := events.MaxEventSize - len(strings.TrimSuffix(r.JSON, fmt.Sprintf(`,"offset":"%v"}`, r.Offset)))
	m.ID, m.Data = "2", []byte(`"`+strings.Repeat("a", room)+`"`)
	publish(t, publisher, m)
	m.ID, m.Data = "3", []byte(`"`+strings.Repeat("a", room+1)+`"`)
	if _, err := publisher.Publish(t.Context(), m); !errors.Is(err, events.ErrTooLarge) {
		t.Errorf("one byte too many: %v", err)
	}
	if n := len(readAll(t, newLog(t, rdb, cfg), events.Global())); n != 2 {
		t.Errorf("the log holds %d events, want 2", n)
	}
	if s := publisher.Stats(); s.Outcomes != (events.Outcomes{Published: 2, Refused: 9 + 10 + 1 + 1}) {
		t.Errorf("stats: %+v", s)
	}
}

func TestPublishOrder(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	cfg.Global.MaxEntries = 100_000
	publisher := newPublisher(t, rdb, cfg)
	const callers, each = 8, 100
	var wait sync.WaitGroup
	for caller := range callers {
		wait.Go(func() {
			for n := range each {
				m := events.Message{Channel: events.Global(), Type: "n", ID: fmt.Sprintf("%d-%d", caller, n)}
				if _, err := publisher.Publish(t.Context(), m); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	var next [callers]int
	records := readAll(t, newLog(t, rdb, cfg), events.Global())
	for _, r := range records {
		var caller, n int
		if _, err := fmt.Sscanf(r.JSON, `{"id":"%d-%d"`, &caller, &n); err != nil {
			t.Fatal(err)
		}
		if next[caller] != n {
			t.Fatalf("caller %d: %d came when %d was due", caller, n, next[caller])
		}
		next[caller]++
	}
	if len(records) != callers*each {
		t.Errorf("the log holds %d events", len(records))
	}
}

// batches holds back the publisher's round trips while it is shut.
type batches struct {
	waiting chan struct{}
	open    chan struct{} // Closed to let all through.
}

func (b *batches) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (b *batches) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (b *batches) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() == "evalsha" {
			b.waiting <- struct{}{}
			<-b.open
		}
		return next(ctx, cmds)
	}
}

// TestCallerWhoLeft cancels a call that waits for its turn.
func TestCallerWhoLeft(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	held := &batches{waiting: make(chan struct{}, 100), open: make(chan struct{})}
	rdb.AddHook(held)
	publisher := newPublisher(t, rdb, cfg)
	errs := make(chan error, 2)
	for _, id := range []string{"a", "b"} { // Two round trips may be under way.
		go func() {
			_, err := publisher.Publish(t.Context(), events.Message{Channel: events.Global(), Type: "x", ID: id})
			errs <- err
		}()
		receive(t, held.waiting)
	}
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := publisher.Publish(ctx, events.Message{Channel: events.Global(), Type: "x", ID: "c"})
		left <- err
	}()
	cancel()
	if err := receive(t, left); !errors.Is(err, events.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("the caller who left got %v", err)
	}
	close(held.open)
	for range 2 {
		if err := receive(t, errs); err != nil {
			t.Error(err)
		}
	}
	publish(t, publisher, events.Message{Channel: events.Global(), Type: "x", ID: "d"})
	var ids []string
	for _, r := range readAll(t, newLog(t, rdb, cfg), events.Global()) {
		ids = append(ids, r.JSON[len(`{"id":"`):][:1])
	}
	slices.Sort(ids)
	if !slices.Equal(ids, []string{"a", "b", "d"}) {
		t.Errorf("the log holds %v", ids)
	}
	if s := publisher.Stats(); s.Outcomes != (events.Outcomes{Published: 3, Failed: 1}) || s.Global != s.Outcomes {
		t.Errorf("stats: %+v", s)
	}
}

// TestCloseDrains closes a publisher while calls wait: they are still done.
func TestCloseDrains(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	held := &batches{waiting: make(chan struct{}, 100), open: make(chan struct{})}
	rdb.AddHook(held)
	publisher := newPublisher(t, rdb, cfg)
	const calls = 20
	errs := make(chan error, calls)
	for i := range calls {
		go func() {
			_, err := publisher.Publish(t.Context(), events.Message{Channel: events.Global(), Type: "x"})
			errs <- err
		}()
		if i < 2 {
			receive(t, held.waiting) // Two round trips are under way; the rest is queued.
		}
	}
	closed := make(chan struct{})
	go func() {
		publisher.Close()
		close(closed)
	}()
	close(held.open)
	done := 0
	for range calls {
		switch err := receive(t, errs); {
		case err == nil:
			done++
		case !errors.Is(err, events.ErrClosed):
			t.Error(err)
		}
	}
	receive(t, closed)
	if n := len(readAll(t, newLog(t, rdb, cfg), events.Global())); n != done || n < 2 {
		t.Errorf("%d calls were done, the log holds %d", done, n)
	}
	publisher.Close()
	if _, err := publisher.Publish(t.Context(), events.Message{Channel: events.Global(), Type: "x"}); !errors.Is(err, events.ErrClosed) {
		t.Errorf("Publish after Close: %v", err)
	}
	if err := publisher.Start(t.Context()); !errors.Is(err, events.ErrClosed) {
		t.Errorf("Start after Close: %v", err)
	}
}

// TestCloseWhilePublishing closes publishers under callers whose context never ends: nobody may wait for ever.
func TestCloseWhilePublishing(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	for range 50 {
		publisher := newPublisher(t, rdb, cfg)
		errs := make(chan error, 8)
		for range cap(errs) {
			go func() {
				for {
					if _, err := publisher.Publish(context.WithoutCancel(t.Context()), events.Message{Channel: events.Global(), Type: "x"}); err != nil {
						errs <- err
						return
					}
				}
			}()
		}
		redistest.Eventually(t, soon, "something is published", func() bool { return publisher.Stats().Published > 0 })
		publisher.Close()
		for range cap(errs) {
			if err := receive(t, errs); !errors.Is(err, events.ErrClosed) {
				t.Fatal(err)
			}
		}
	}
}

func TestNeverStarted(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	publisher, err := events.NewPublisher(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if _, err := publisher.Publish(ctx, events.Message{Channel: events.Global(), Type: "x"}); !errors.Is(err, events.ErrClosed) {
		t.Errorf("Publish: %v", err)
	}
	publisher.Close()
	fanout, err := events.NewFanout(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fanout.Follow(ctx, events.Cursor{}, events.Pattern{}, events.Global()); !errors.Is(err, events.ErrClosed) {
		t.Errorf("Follow: %v", err)
	}
	fanout.Close()
	if err := fanout.Start(ctx); !errors.Is(err, events.ErrClosed) {
		t.Errorf("the fanout starts after Close: %v", err)
	}
	bridge, err := events.NewBridge(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	bridge.Close()
	if err := bridge.Start(ctx); !errors.Is(err, events.ErrClosed) {
		t.Errorf("the bridge starts after Close: %v", err)
	}
}

// TestUnpublishable gives the hub's user no right to publish on one channel: nothing may be logged then, by the publisher
// or by a bridge, which tries again and again.
func TestUnpublishable(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := server.Client()
	cfg := config(t)
	if err := admin.Do(t.Context(), "ACL", "SETUSER", "hub", "on", ">secret", "~*", "+@all", "resetchannels",
		"&"+cfg.Prefix+":global").Err(); err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "hub", Password: "secret", MaxRetries: -1, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = rdb.Close() })
	publisher := newPublisher(t, rdb, cfg)
	if _, err := publisher.Publish(t.Context(), events.Message{Channel: channel(t, "user:1"), Type: "a"}); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("publishing without the right to gives %v", err)
	}
	if n := admin.XLen(t.Context(), cfg.Prefix+":log:{"+cfg.Prefix+":user:1}").Val(); n != 0 {
		t.Errorf("%d events were logged that were not published", n)
	}
	publish(t, publisher, events.Message{Channel: events.Global(), Type: "a"})
	if err := admin.Set(t.Context(), cfg.Prefix+":log:{"+cfg.Prefix+":user:2}", "not a stream", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := publisher.Publish(t.Context(), events.Message{Channel: channel(t, "user:2"), Type: "a"}); err == nil || errors.Is(err, events.ErrUnavailable) {
		t.Errorf("a log that is no stream gives %v", err)
	}
}
