package events_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func newSubscriber(tb testing.TB, rdb redis.UniversalClient, cfg events.Config, channels ...events.Channel) *events.Subscriber {
	tb.Helper()
	s, err := events.NewSubscriber(rdb, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	s.Follow(channels...)
	tb.Cleanup(s.Close)
	return s
}

func handle(tb testing.TB, s *events.Subscriber, types string, h events.Handler) {
	tb.Helper()
	if err := s.Handle(types, h); err != nil {
		tb.Fatal(err)
	}
}

func start(tb testing.TB, s *events.Subscriber) {
	tb.Helper()
	if err := s.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// TestHandlers calls handlers by exact type, by prefix and for all, in the order in which they were registered.
func TestHandlers(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	core, logs := observer.New(zap.ErrorLevel)
	cfg.Logger = zap.New(core)
	publisher, s := newPublisher(t, rdb, cfg), newSubscriber(t, rdb, cfg, events.Global(), channel(t, "user:1"))
	calls := make(chan string, 100)
	for _, types := range []string{"user.*", "user.login", "*", "user.login", "system.maintenance"} {
		handle(t, s, types, func(_ context.Context, ev events.Event) error {
			calls <- types + " " + ev.Type
			if types == "*" {
				return errors.New("the handler's own reason")
			}
			return nil
		})
	}
	if err := s.Handle("user*", nil); !errors.Is(err, events.ErrBadType) {
		t.Errorf("a bad pattern: %v", err)
	}
	publish(t, publisher, events.Message{Channel: events.Global(), Type: "before.start"})
	start(t, s)
	for _, typ := range []string{"user.login", "users", "user.action.open", "system.maintenance"} {
		publish(t, publisher, events.Message{Channel: events.Global(), Type: typ, Data: []byte(`"secret"`)})
	}
	publish(t, publisher, events.Message{Channel: channel(t, "user:2"), Type: "user.login"}) // Not followed.
	for _, want := range []string{
		"user.* user.login", "user.login user.login", "* user.login", "user.login user.login", "* users", "user.* user.action.open",
		"* user.action.open", "* system.maintenance", "system.maintenance system.maintenance",
	} {
		if got := receive(t, calls); got != want {
			t.Fatalf("called was %q, want %q", got, want)
		}
	}
	s.Close()
	if len(calls) > 0 {
		t.Errorf("there were more calls: %s", <-calls)
	}
	if logs.Len() != 4 {
		t.Errorf("%d failures were logged", logs.Len())
	}
	for _, entry := range logs.All() {
		if fields := entry.ContextMap(); fields["id"] == "" || fields["error"] != "the handler's own reason" || strings.Contains(fmt.Sprint(entry), "secret") {
			t.Errorf("logged was %+v", entry)
		}
	}
}

// TestSubscriberOrder handles what comes live from several channels.
func TestSubscriberOrder(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	publisher := newPublisher(t, rdb, cfg)
	channels := []events.Channel{events.Global(), channel(t, "user:1"), channel(t, "service:a")}
	s := newSubscriber(t, rdb, cfg, channels...)
	const each = 100
	got := make(map[events.Channel][]int)
	done := make(chan struct{}, 3*each)
	running := false
	handle(t, s, "*", func(_ context.Context, ev events.Event) error {
		if running { // Also a data race, if two ran at once.
			t.Error("two handlers run at once")
		}
		running = true
		n, err := strconv.Atoi(string(ev.Data))
		got[ev.Channel] = append(got[ev.Channel], n)
		running = false
		done <- struct{}{}
		return err
	})
	start(t, s)
	for n := range each {
		for _, ch := range channels {
			fill(t, publisher, ch, n, n)
		}
	}
	for range 3 * each {
		receive(t, done)
	}
	s.Close()
	for _, ch := range channels {
		if !slices.Equal(got[ch], upTo(0, each-1)) {
			t.Errorf("%v: %v", ch, got[ch])
		}
	}
}

// TestUnreadable puts into a log what looks like an event at its beginning only: it is passed over, and logged.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	core, logs := observer.New(zap.ErrorLevel)
	cfg.Logger = zap.New(core)
	for _, envelope := range []string{`{"id":"1","type":"x"`, `{"id":"1","type":"x","secret`} {
		rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: logKey(cfg, events.Global()), Values: []string{"e", envelope}})
	}
	fill(t, newPublisher(t, rdb, cfg), events.Global(), 1, 1)
	s := newSubscriber(t, rdb, cfg, events.Global())
	s.From(events.Earliest())
	handled := make(chan string, 10)
	handle(t, s, "*", func(_ context.Context, ev events.Event) error { handled <- string(ev.Data); return nil })
	start(t, s)
	if got := receive(t, handled); got != "1" {
		t.Errorf("handled was %s", got)
	}
	if logs.Len() != 2 || strings.Contains(fmt.Sprint(logs.All()), "secret") {
		t.Errorf("logged was %v", logs.All())
	}
}

// TestSubscriberResumes hands the cursor of one subscriber to the next, as text, with events in between.
func TestSubscriberResumes(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	publisher, ch := newPublisher(t, rdb, cfg), channel(t, "user:1")
	position := ""
	for round := range 4 {
		s := newSubscriber(t, rdb, cfg, ch, events.Global())
		s.From(cursor(t, position))
		handled := make(chan string, 100)
		handle(t, s, "*", func(_ context.Context, ev events.Event) error {
			if s.Cursor().String() == "" {
				t.Error("there is no cursor while events are handled")
			}
			handled <- string(ev.Data)
			return nil
		})
		first := round*10 + 1
		if round == 0 {
			start(t, s)
			fill(t, publisher, ch, first, first+4)
		} else { // These five come while nobody listens.
			start(t, s)
		}
		fill(t, publisher, ch, first+5, first+9)
		for n := first; n < first+10; n++ {
			if got := receive(t, handled); got != strconv.Itoa(n) {
				t.Fatalf("round %d: handled was %s, want %d", round, got, n)
			}
		}
		s.Close()
		if s.Cursor().String() == position {
			t.Fatalf("round %d: the cursor has not moved from %q", round, position)
		}
		position = s.Cursor().String()
		fill(t, publisher, ch, first+10, first+14)
	}
}

// TestSubscriberSince starts a subscriber at a moment, and keeps that cursor as text before it has started.
func TestSubscriberSince(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	publisher := newPublisher(t, rdb, cfg)
	fill(t, publisher, events.Global(), 1, 1)
	s := newSubscriber(t, rdb, cfg, events.Global())
	s.From(events.Since(time.Now().Add(-time.Hour)))
	s.From(cursor(t, s.Cursor().String()))
	handled := make(chan string, 10)
	handle(t, s, "*", func(_ context.Context, ev events.Event) error { handled <- string(ev.Data); return nil })
	start(t, s)
	if got := receive(t, handled); got != "1" {
		t.Errorf("handled was %s", got)
	}
}

func TestSubscriberGap(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	publisher := newPublisher(t, rdb, cfg)
	fill(t, publisher, events.Global(), 1, 1)
	s := newSubscriber(t, rdb, cfg, events.Global(), channel(t, "user:1"))
	s.From(cursor(t, "global@5-0"))
	told := make(chan string, 10)
	s.HandleGap(func(_ context.Context, gap events.Gap) {
		told <- fmt.Sprintf("gap on %v after %v", gap.Channel, gap.After)
	})
	handle(t, s, "n", func(_ context.Context, ev events.Event) error { told <- string(ev.Data); return nil })
	start(t, s)
	for _, want := range []string{"gap on global after 5-0", "1"} {
		if got := receive(t, told); got != want {
			t.Errorf("told was %q, want %q", got, want)
		}
	}
	s.Close()
	if text := s.Cursor().String(); strings.Contains(text, "@5-0") {
		t.Errorf("the cursor is still %s", text)
	}
}

type contextKey struct{}

// TestSubscriberClose closes while a handler runs: its context ends, it is waited for, and its event counts as handled.
func TestSubscriberClose(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	publisher, s := newPublisher(t, rdb, cfg), newSubscriber(t, rdb, cfg, events.Global())
	began, ended, release := make(chan context.Context), make(chan struct{}), make(chan struct{})
	calls := 0
	handle(t, s, "*", func(ctx context.Context, _ events.Event) error {
		calls++
		began <- ctx
		<-ctx.Done()
		<-release
		close(ended)
		return nil
	})
	startCtx, cancel := context.WithCancel(context.WithValue(t.Context(), contextKey{}, "value"))
	if err := s.Start(startCtx); err != nil {
		t.Fatal(err)
	}
	cancel()
	fill(t, publisher, events.Global(), 1, 2)
	ctx := receive(t, began)
	if ctx.Value(contextKey{}) != "value" || ctx.Err() != nil {
		t.Errorf("the handler's context: value %v, %v", ctx.Value(contextKey{}), ctx.Err())
	}
	before := s.Cursor().String()
	closed := make(chan struct{})
	go func() {
		s.Close()
		close(closed)
	}()
	<-ctx.Done()
	select {
	case <-closed:
		t.Error("Close has not waited for the handler")
	default:
	}
	close(release)
	receive(t, closed)
	receive(t, ended)
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
	records := readAll(t, newLog(t, rdb, cfg), events.Global())
	if after := s.Cursor().String(); after == before || after != fmt.Sprintf("global@%v", records[0].Offset) {
		t.Errorf("the cursor moved from %s to %s, the events are at %v and %v", before, after, records[0].Offset, records[1].Offset)
	}
	s.Close()
	if err := s.Start(t.Context()); !errors.Is(err, events.ErrClosed) {
		t.Errorf("Start after Close: %v", err)
	}
}

func TestSubscriberStart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg, rdb := config(t), server.Client()
	cfg.Timeout = 300 * time.Millisecond
	if err := newSubscriber(t, rdb, cfg).Start(t.Context()); !errors.Is(err, events.ErrBadChannel) {
		t.Errorf("without a channel: %v", err)
	}
	if err := newSubscriber(t, rdb, cfg, events.Channel{}).Start(t.Context()); !errors.Is(err, events.ErrBadChannel) {
		t.Errorf("with the zero Channel: %v", err)
	}
	server.Stop()
	s := newSubscriber(t, rdb, cfg, events.Global())
	handled := make(chan string, 10)
	handle(t, s, "*", func(_ context.Context, ev events.Event) error { handled <- string(ev.Data); return nil })
	for range 2 {
		if err := s.Start(t.Context()); !errors.Is(err, events.ErrUnavailable) {
			t.Errorf("without Redis: %v", err)
		}
	}
	server.Restart()
	redistest.Eventually(t, soon, "the subscriber starts", func() bool { return s.Start(t.Context()) == nil })
	if err := s.Start(t.Context()); !errors.Is(err, events.ErrClosed) {
		t.Errorf("started twice: %v", err)
	}
	publisher := newPublisher(t, rdb, cfg)
	fill(t, publisher, events.Global(), 1, 1)
	if got := receive(t, handled); got != "1" {
		t.Errorf("handled was %s", got)
	}
}

// TestSubscriberStartAndClose closes subscribers that are just being started. Whichever comes first, nothing may be left
// running when both have returned; the race detector and the check for leaks at the end of all tests look on.
func TestSubscriberStartAndClose(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	publisher := newPublisher(t, rdb, cfg)
	for range 100 {
		s := newSubscriber(t, rdb, cfg, events.Global())
		calls := 0
		handle(t, s, "*", func(context.Context, events.Event) error { calls++; return nil })
		started := make(chan error)
		go func() { started <- s.Start(t.Context()) }()
		closed := make(chan struct{})
		go func() {
			s.Close()
			close(closed)
		}()
		if err := receive(t, started); err != nil && !errors.Is(err, events.ErrClosed) {
			t.Errorf("Start: %v", err)
		}
		receive(t, closed)
		if calls > 0 {
			t.Error("a handler was called")
		}
		publish(t, publisher, events.Message{Channel: events.Global(), Type: "x"})
	}
}
