package events_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

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

// gate holds back transactions, which only reads of a log are, while it is shut.
type gate struct {
	shut    atomic.Bool
	waiting chan struct{} // Gets a value when somebody comes to the shut gate.
	open    chan struct{} // Gives a value to let one through.
}

func newGate() *gate { return &gate{waiting: make(chan struct{}, 100), open: make(chan struct{})} }

func (g *gate) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (g *gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() == "multi" && g.shut.Load() {
			g.waiting <- struct{}{}
			select {
			case <-g.open:
			case <-ctx.Done():
			}
		}
		return next(ctx, cmds)
	}
}

// TestOverflowWhileReading lets live events overflow a stream's queue while it reads the log: it is not slow, and goes on
// from the log.
func TestOverflowWhileReading(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	cfg := config(t)
	cfg.QueueLength, cfg.Timeout = 10, soon
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

// TestSnapshot crashes a server that keeps only a snapshot: it comes back without the last events. A reader who had
// seen them is told of a gap, and gets nothing twice.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg, rdb := config(t), server.Client()
	publisher, fanout, ch := newPublisher(t, rdb, cfg), newFanout(t, rdb, cfg), channel(t, "user:1")
	fill(t, publisher, ch, 1, 10)
	if err := rdb.Save(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	live := follow(t, fanout, events.Earliest(), ch)
	fill(t, publisher, ch, 11, 20)
	var away events.Cursor
	for n := 1; n <= 20; n++ {
		if ev := nextEvent(t, live); string(ev.Data) != strconv.Itoa(n) {
			t.Fatalf("got %s, want %d", ev.Data, n)
		}
		if n == 15 {
			away = live.Cursor()
		}
	}
	server.Kill()
	server.Restart()
	if d := next(t, live); d.Gap == nil {
		t.Fatalf("the reader is given %s and not told that events are gone", d.Record.JSON)
	}
	redistest.Eventually(t, soon, "Redis takes events again", func() bool {
		_, err := publisher.Publish(t.Context(), events.Message{Channel: ch, Type: "n", ID: "again", Data: []byte("21")})
		return err == nil
	})
	fill(t, publisher, ch, 22, 25)
	for n := 21; n <= 25; n++ {
		if ev := nextEvent(t, live); string(ev.Data) != strconv.Itoa(n) {
			t.Fatalf("after the gap came %s, want %d", ev.Data, n)
		}
	}

	// The log has grown beyond where this reader stood, but what it stood on is gone.
	s := follow(t, fanout, away, ch)
	if d := next(t, s); d.Gap == nil {
		t.Fatalf("a reader who comes back is given %s and not told that events are gone", d.Record.JSON)
	}
	for n := 21; n <= 25; n++ {
		if ev := nextEvent(t, s); string(ev.Data) != strconv.Itoa(n) {
			t.Fatalf("after the gap came %s, want %d", ev.Data, n)
		}
	}
}

// TestCursorOfTheFuture resumes from where no event can be, or none yet.
func TestCursorOfTheFuture(t *testing.T) {
	t.Parallel()
	cfg, rdb := config(t), redistest.Shared(t).Client()
	publisher, fanout, ch := newPublisher(t, rdb, cfg), newFanout(t, rdb, cfg), channel(t, "user:1")
	fill(t, publisher, ch, 1, 3)
	for _, at := range []string{"18446744073709551615", "99999999999999"} {
		s := follow(t, fanout, cursor(t, "user:1@"+at), ch)
		reads := commands(t, rdb, "xrange")
		if d, ok, err := s.TryNext(t.Context()); ok || err != nil {
			t.Errorf("%s: %+v, %v", at, d, err)
		}
		if n := commands(t, rdb, "xrange"); n == reads {
			t.Errorf("%s: the log was not read", at)
		}
		if d, ok, err := s.TryNext(t.Context()); ok || err != nil {
			t.Errorf("%s: %+v, %v", at, d, err)
		}
		if again := s.Cursor().String(); again != "user:1@"+at {
			t.Errorf("%s: the cursor is now %s", at, again)
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

// commands counts how often the server was asked for something.
func commands(tb testing.TB, rdb *redis.Client, name string) int {
	tb.Helper()
	return len(rdb.InfoMap(tb.Context(), "commandstats").Val())
}

var _ = time.Second
