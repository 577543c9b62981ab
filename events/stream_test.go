package events_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func follow(tb testing.TB, f *events.Fanout, from events.Cursor, channels ...events.Channel) *events.Stream {
	tb.Helper()
	s, err := f.Follow(tb.Context(), from, events.Pattern{}, channels...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

func cursor(tb testing.TB, text string) events.Cursor {
	tb.Helper()
	c, err := events.ParseCursor(text)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// gate counts transactions, which only a stream's readings of a log are, and holds them back while it is shut.
type gate struct {
	passed  atomic.Int64
	shut    atomic.Bool
	waiting chan struct{} // Gets a value when somebody comes to the shut gate.
	open    chan struct{} // Gives a value to let one through.
}

func newGate() *gate { return &gate{waiting: make(chan struct{}, 100), open: make(chan struct{})} }

func (g *gate) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (g *gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() != "multi" {
			return next(ctx, cmds)
		}
		if g.shut.Load() {
			g.waiting <- struct{}{}
			select {
			case <-g.open:
			case <-ctx.Done():
			}
		}
		g.passed.Add(1)
		return next(ctx, cmds)
	}
}

// TestOverflowWhileReading lets live events overflow a stream's queue while it reads the log: it is not slow, and goes on
// from the log.
func TestOverflowWhileReading(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	cfg := config(t)
	cfg.QueueLength = 10
	g, rdb := newGate(), server.Client()
	rdb.AddHook(g)
	publisher, fanout, ch := newPublisher(t, server.Client(), cfg), newFanout(t, rdb, cfg), channel(t, "user:1")
	fill(t, publisher, ch, 1, 5)
	quick := follow(t, fanout, events.Cursor{}, ch)
	if _, ok, err := quick.TryNext(t.Context()); ok || err != nil {
		t.Fatal(ok, err) // Its first reading of the log is done now.
	}
	behind := follow(t, fanout, events.Earliest(), ch)
	g.shut.Store(true)
	type result struct {
		data string
		err  error
	}
	results := make(chan result, 100)
	go func() {
		for range 50 {
			d, err := behind.Next(t.Context())
			if err != nil || d.Gap != nil {
				results <- result{err: errors.Join(err, fmt.Errorf("gap: %v", d.Gap))}
				return
			}
			ev, err := d.Record.Event()
			results <- result{string(ev.Data), err}
		}
	}()
	<-g.waiting
	for n := 6; n <= 50; n++ {
		fill(t, publisher, ch, n, n)
		if ev := nextEvent(t, quick); string(ev.Data) != strconv.Itoa(n) {
			t.Fatalf("the quick reader got %s, want %d", ev.Data, n)
		}
	}
	g.shut.Store(false)
	g.open <- struct{}{}
	for n := 1; n <= 50; n++ {
		if r := <-results; r.err != nil || r.data != strconv.Itoa(n) {
			t.Fatalf("got %v, want %d", r, n)
		}
	}
	if s := fanout.Stats(); s.Slow != 0 {
		t.Errorf("stats: %+v", s)
	}
}

// snapshot is a server that keeps only a snapshot, taken after the events 1 to 10 of a channel.
type snapshot struct {
	server    *redistest.Server
	publisher *events.Publisher
	fanout    *events.Fanout
	channel   events.Channel
}

func newSnapshot(tb testing.TB) *snapshot {
	tb.Helper()
	server := redistest.Start(tb)
	cfg, rdb := config(tb), server.Client()
	s := &snapshot{server, newPublisher(tb, rdb, cfg), newFanout(tb, rdb, cfg), channel(tb, "user:1")}
	fill(tb, s.publisher, s.channel, 1, 10)
	if err := rdb.Save(tb.Context()).Err(); err != nil {
		tb.Fatal(err)
	}
	return s
}

// crash brings the server back as the snapshot has it, and publishes event 21 on it.
func (s *snapshot) crash(tb testing.TB) {
	tb.Helper()
	s.server.Kill()
	s.server.Restart()
	m := events.Message{Channel: s.channel, Type: "n", ID: "21", Data: []byte("21")}
	if err := retry(tb, tb.Context(), s.publisher, m); err != nil {
		tb.Fatal(err)
	}
}

// expect takes events from a stream and compares their numbers.
func expect(tb testing.TB, s *events.Stream, first, last int) {
	tb.Helper()
	for n := first; n <= last; n++ {
		if ev := nextEvent(tb, s); string(ev.Data) != strconv.Itoa(n) {
			tb.Fatalf("came %s, want %d", ev.Data, n)
		}
	}
}

// TestSnapshotLive has a reader listen while the server falls back to its snapshot: it is told of a gap, and gets nothing
// twice.
func TestSnapshotLive(t *testing.T) {
	t.Parallel()
	snap := newSnapshot(t)
	s := follow(t, snap.fanout, events.Earliest(), snap.channel)
	fill(t, snap.publisher, snap.channel, 11, 20)
	expect(t, s, 1, 20)
	snap.crash(t)
	if d := next(t, s); d.Gap == nil {
		t.Fatalf("the reader is given %s and not told that events are gone", d.Record.JSON)
	}
	fill(t, snap.publisher, snap.channel, 22, 25)
	expect(t, s, 21, 25)
}

// TestSnapshotAway has a reader come back with the cursor of an event that the server has lost, when the log has grown
// beyond that cursor again.
func TestSnapshotAway(t *testing.T) {
	t.Parallel()
	snap := newSnapshot(t)
	s := follow(t, snap.fanout, events.Earliest(), snap.channel)
	fill(t, snap.publisher, snap.channel, 11, 20)
	expect(t, s, 1, 15)
	from := s.Cursor()
	s.Close()
	snap.crash(t)
	fill(t, snap.publisher, snap.channel, 22, 25)
	s = follow(t, snap.fanout, from, snap.channel)
	if d := next(t, s); d.Gap == nil {
		t.Fatalf("the reader is given %s and not told that events are gone", d.Record.JSON)
	}
	expect(t, s, 21, 25)
}

// TestCursorOfTheFuture resumes from where no event can be, or none yet.
func TestCursorOfTheFuture(t *testing.T) {
	t.Parallel()
	cfg, g, rdb := config(t), newGate(), redistest.Shared(t).Client()
	rdb.AddHook(g)
	publisher, fanout, ch := newPublisher(t, rdb, cfg), newFanout(t, rdb, cfg), channel(t, "user:1")
	fill(t, publisher, ch, 1, 3)
	follow(t, fanout, events.Cursor{}, ch) // The channel is subscribed from now on.
	for _, at := range []string{"18446744073709551615", "99999999999999"} {
		s := follow(t, fanout, cursor(t, "user:1@"+at), ch)
		before := g.passed.Load()
		for range 3 {
			if d, ok, err := s.TryNext(t.Context()); ok || err != nil {
				t.Errorf("%s: %+v, %v", at, d, err)
			}
		}
		if n := g.passed.Load() - before; n != 1 {
			t.Errorf("%s: the log was read %d times", at, n)
		}
		if again := s.Cursor().String(); again == "user:1@"+at {
			t.Errorf("%s: the cursor still lies ahead, and so would hide what comes", at)
		}
	}
	s := follow(t, fanout, cursor(t, "user:1@99999999999999-0"), ch)
	if d := next(t, s); d.Gap == nil {
		t.Error("a position that the log never had gives no gap")
	}
	fill(t, publisher, ch, 4, 4)
	if ev := nextEvent(t, s); string(ev.Data) != "4" {
		t.Errorf("after the gap came %s", ev.Data)
	}
}

// TestWake follows the promise of Wake: TryNext is only called when it says so.
func TestWake(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	publisher, fanout := newPublisher(t, rdb, cfg), newFanout(t, rdb, cfg)
	fill(t, publisher, events.Global(), 1, 1)
	follow(t, fanout, events.Cursor{}, events.Global()) // The channel is subscribed from now on.
	s := follow(t, fanout, events.Earliest(), events.Global())
	for n := 1; n <= 3; n++ {
		if n > 1 {
			fill(t, publisher, events.Global(), n, n)
		}
		for {
			receive(t, s.Wake())
			d, ok, err := s.TryNext(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				continue
			}
			if ev, err := d.Record.Event(); err != nil || string(ev.Data) != strconv.Itoa(n) {
				t.Fatalf("came %s, want %d: %v", ev.Data, n, err)
			}
			break
		}
	}
	s.Close()
	receive(t, s.Wake())
	if _, ok, err := s.TryNext(t.Context()); ok || !errors.Is(err, events.ErrClosed) {
		t.Errorf("after Close: %v, %v", ok, err)
	}
}

// TestQueueBytes cuts a reader by the size of what waits for it, but never for one event alone.
func TestQueueBytes(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	cfg.QueueBytes = 1000
	publisher, fanout := newPublisher(t, rdb, cfg), newFanout(t, rdb, cfg)
	s, quick := follow(t, fanout, events.Cursor{}, events.Global()), follow(t, fanout, events.Cursor{}, events.Global())
	for _, stream := range []*events.Stream{s, quick} {
		if _, ok, err := stream.TryNext(t.Context()); ok || err != nil {
			t.Fatal(ok, err) // Its first reading of the log is done now.
		}
	}
	large := []byte(`"` + strings.Repeat("a", 5000) + `"`)
	publish(t, publisher, events.Message{Channel: events.Global(), Type: "large", Data: large})
	nextEvent(t, quick)
	if ev := nextEvent(t, s); len(ev.Data) != len(large) {
		t.Fatalf("came %s", ev.Data)
	}
	for range 3 {
		publish(t, publisher, events.Message{Channel: events.Global(), Type: "large", Data: large})
		nextEvent(t, quick)
	}
	for {
		if _, err := s.Next(t.Context()); errors.Is(err, events.ErrSlow) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	again := follow(t, fanout, s.Cursor(), events.Global())
	for range 2 {
		nextEvent(t, again)
	}
}

func TestFollowRefuses(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	fanout := newFanout(t, rdb, cfg)
	var most []events.Channel
	for n := range events.MaxChannels {
		most = append(most, channel(t, fmt.Sprint("user:", n+1)))
	}
	for _, channels := range [][]events.Channel{nil, {{}}, {events.Global(), {}}, append(most, events.Global())} {
		if _, err := fanout.Follow(t.Context(), events.Cursor{}, events.Pattern{}, channels...); !errors.Is(err, events.ErrBadChannel) {
			t.Errorf("%d channels: %v", len(channels), err)
		}
	}
	s := follow(t, fanout, events.Cursor{}, most...)
	text := s.Cursor().String()
	if n := strings.Count(text, ","); n != events.MaxChannels-1 || string(s.AppendCursor([]byte("id: "))) != "id: "+text {
		t.Errorf("the cursor has %d commas, appended it is %s", n, s.AppendCursor(nil))
	}
	if stats := fanout.Stats(); stats.Open != 1 || stats.Opened != 1 || stats.Channels != events.MaxChannels {
		t.Errorf("stats: %+v", stats)
	}
	s.Close()
	redistest.Eventually(t, soon, "no channel is followed", func() bool { return fanout.Stats().Channels == 0 })
}

// TestCloseWhileFollowing closes a fanout under callers who wait for Redis: they do not wait for their time to pass.
func TestCloseWhileFollowing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg, rdb := config(t), server.Client()
	cfg.Timeout = 10 * soon
	fanout := newFanout(t, rdb, cfg)
	server.Pause()
	errs := make(chan error)
	for range 5 {
		go func() {
			_, err := fanout.Follow(t.Context(), events.Cursor{}, events.Pattern{}, events.Global())
			errs <- err
		}()
	}
	redistest.Eventually(t, soon, "all wait", func() bool { return fanout.Stats().Open == 5 })
	fanout.Close()
	for range 5 {
		if err := receive(t, errs); !errors.Is(err, events.ErrClosed) {
			t.Error(err)
		}
	}
	if s := fanout.Stats(); s.Open != 0 {
		t.Errorf("stats: %+v", s)
	}
}
