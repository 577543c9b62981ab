package events_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestSeam publishes without pause on three channels while a reader connects, reads a little, drops and resumes from its
// cursor, a hundred times: it must see every event of each channel once and in order.
func TestSeam(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg := config(t)
	cfg.User.MaxEntries, cfg.Global.MaxEntries, cfg.Service.MaxEntries = 1_000_000, 1_000_000, 1_000_000
	publisher := newPublisher(t, server.Client(), cfg)
	fanout := newFanout(t, server.Client(), cfg)
	channels := []events.Channel{channel(t, "user:123"), channel(t, "global"), channel(t, "service:matching")}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var sent [3]atomic.Int64
	var publishing sync.WaitGroup
	for i, ch := range channels {
		publishing.Go(func() {
			for ctx.Err() == nil {
				n := sent[i].Load() + 1
				_, err := publisher.Publish(ctx, events.Message{Channel: ch, Type: "seam", Data: []byte(strconv.FormatInt(n, 10))})
				if err == nil {
					sent[i].Store(n)
				} else if ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}

	cursor := events.Earliest()
	var got [3]int64
	take := func(s *events.Stream) {
		ev := nextEvent(t, s)
		i := indexOf(channels, ev.Channel)
		got[i]++
		if string(ev.Data) != strconv.FormatInt(got[i], 10) {
			t.Fatalf("on %v came %s, want %d", ev.Channel, ev.Data, got[i])
		}
	}
	for range 100 {
		stream, err := fanout.Follow(ctx, cursor, events.Pattern{}, channels...)
		if err != nil {
			t.Fatal(err)
		}
		for range 1 + rand.IntN(200) {
			take(stream)
		}
		text := stream.Cursor().String()
		stream.Close()
		if cursor, err = events.ParseCursor(text); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	publishing.Wait()
	stream, err := fanout.Follow(t.Context(), cursor, events.Pattern{}, channels...)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	for i := range channels {
		for got[i] < sent[i].Load() {
			take(stream)
		}
	}
	t.Logf("read %v events over 100 resumptions", got)
}

func indexOf(channels []events.Channel, ch events.Channel) int {
	for i := range channels {
		if channels[i] == ch {
			return i
		}
	}
	return -1
}

// TestReconnect breaks the connection in every way while events are published, some of them only during the outage.
func TestReconnect(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]func(*redistest.Server, *redis.Client){
		"connections killed": func(_ *redistest.Server, rdb *redis.Client) {
			rdb.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub")
		},
		"server restarted": func(s *redistest.Server, _ *redis.Client) { s.Stop(); s.Restart() },
		"server killed":    func(s *redistest.Server, _ *redis.Client) { s.Kill(); s.Restart() },
		"server paused":    func(s *redistest.Server, _ *redis.Client) { s.Pause(); s.Resume() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
			cfg := config(t)
			publisher := newPublisher(t, server.Client(), cfg)
			fanout := newFanout(t, server.Client(), cfg)
			ch := channel(t, "user:1")
			const readers = 20
			streams := make([]*events.Stream, readers)
			for i := range streams {
				var err error
				if streams[i], err = fanout.Follow(t.Context(), events.Cursor{}, events.Pattern{}, ch); err != nil {
					t.Fatal(err)
				}
				defer streams[i].Close()
			}
			sent := 0
			send := func() {
				sent++
				m := events.Message{Channel: ch, Type: "tick", ID: fmt.Sprint("tick-", sent), Data: []byte(strconv.Itoa(sent))}
				redistest.Eventually(t, soon, "the event is published", func() bool {
					_, err := publisher.Publish(t.Context(), m)
					return err == nil
				})
			}
			expect := func(n int) {
				t.Helper()
				for i, s := range streams {
					if ev := nextEvent(t, s); string(ev.Data) != strconv.Itoa(n) {
						t.Fatalf("reader %d got %s, want %d", i, ev.Data, n)
					}
				}
			}
			for round := range 3 {
				for range 5 {
					send()
				}
				outage(server, server.Client())
				for range 5 {
					send()
				}
				for n := round*10 + 1; n <= sent; n++ {
					expect(n)
				}
			}
		})
	}
}

// TestOneSubscription counts the Redis subscriptions of a channel while listeners come and go.
func TestOneSubscription(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	cfg := config(t)
	rdb := server.Client()
	fanout := newFanout(t, rdb, cfg)
	name := cfg.Prefix + ":user:7"
	subscriptions := func() int64 { return rdb.PubSubNumSub(t.Context(), name).Val()[name] }

	for range 3 {
		var streams []*events.Stream
		for range 50 {
			s, err := fanout.Follow(t.Context(), events.Cursor{}, events.Pattern{}, channel(t, "user:7"))
			if err != nil {
				t.Fatal(err)
			}
			streams = append(streams, s)
		}
		if n := subscriptions(); n != 1 {
			t.Fatalf("%d subscriptions for 50 listeners", n)
		}
		for _, s := range streams {
			s.Close()
		}
		redistest.Eventually(t, soon, "the subscription goes with the last listener", func() bool { return subscriptions() == 0 })
	}
	if s := fanout.Stats(); s.Open != 0 || s.Opened != 150 {
		t.Errorf("stats: %+v", s)
	}
}

// TestComeAndGo joins and leaves one channel from many goroutines: whoever has joined must get what comes after.
func TestComeAndGo(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	cfg := config(t)
	publisher := newPublisher(t, server.Client(), cfg)
	fanout := newFanout(t, server.Client(), cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 3*soon)
	defer cancel()
	var readers sync.WaitGroup
	for g := range 8 {
		readers.Go(func() {
			for i := range 100 {
				s, err := fanout.Follow(ctx, events.Cursor{}, events.Pattern{}, channel(t, "global"))
				if err != nil {
					t.Error(err)
					return
				}
				id := fmt.Sprintf("%d-%d", g, i)
				if _, err := publisher.Publish(ctx, events.Message{Channel: events.Global(), Type: "hello", ID: id}); err != nil {
					t.Error(err)
					return
				}
				for {
					d, err := s.Next(ctx)
					if err != nil || d.Gap != nil {
						t.Error(err, d.Gap)
						return
					}
					if strings.HasPrefix(d.Record.JSON, `{"id":"`+id+`"`) {
						break
					}
				}
				s.Close()
			}
		})
	}
	readers.Wait()
}

func TestSlowReaderIsCutAndMayResume(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	cfg := config(t)
	cfg.QueueLength = 10
	publisher := newPublisher(t, server.Client(), cfg)
	fanout := newFanout(t, server.Client(), cfg)
	slow, err := fanout.Follow(t.Context(), events.Cursor{}, events.Pattern{}, events.Global())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	quick, err := fanout.Follow(t.Context(), events.Cursor{}, events.Pattern{}, events.Global())
	if err != nil {
		t.Fatal(err)
	}
	defer quick.Close()
	publish(t, publisher, events.Message{Channel: events.Global(), Type: "n", Data: []byte("0")})
	if ev := nextEvent(t, slow); string(ev.Data) != "0" {
		t.Fatalf("got %s", ev.Data)
	}
	nextEvent(t, quick)
	for n := 1; n <= 30; n++ {
		publish(t, publisher, events.Message{Channel: events.Global(), Type: "n", Data: []byte(strconv.Itoa(n))})
		if ev := nextEvent(t, quick); string(ev.Data) != strconv.Itoa(n) {
			t.Fatalf("the quick reader got %s, want %d", ev.Data, n)
		}
	}
	n := 1
	for ; ; n++ {
		d, err := slow.Next(t.Context())
		if errors.Is(err, events.ErrSlow) {
			break
		}
		if err != nil || d.Record == nil {
			t.Fatal(err, d)
		}
	}
	again, err := fanout.Follow(t.Context(), slow.Cursor(), events.Pattern{}, events.Global())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for ; n <= 30; n++ {
		if ev := nextEvent(t, again); string(ev.Data) != strconv.Itoa(n) {
			t.Fatalf("after resuming came %s, want %d", ev.Data, n)
		}
	}
	if s := fanout.Stats(); s.Slow != 1 {
		t.Errorf("stats: %+v", s)
	}
}

func TestGap(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	cfg := config(t)
	cfg.User.MaxEntries = 100
	rdb := server.Client()
	publisher := newPublisher(t, rdb, cfg)
	fanout := newFanout(t, rdb, cfg)
	ch := channel(t, "user:5")
	tick := func(n int) {
		publish(t, publisher, events.Message{Channel: ch, Type: "tick", Data: []byte(strconv.Itoa(n))})
	}
	follow := func(c events.Cursor) *events.Stream {
		s, err := fanout.Follow(t.Context(), c, events.Pattern{}, ch)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s
	}
	empty := follow(events.Cursor{}).Cursor() // The channel has no log yet.
	for n := 1; n <= 50; n++ {
		tick(n)
	}
	if ev := nextEvent(t, follow(empty)); string(ev.Data) != "1" {
		t.Fatalf("from before the first event came %s", ev.Data)
	}
	s := follow(events.Earliest())
	nextEvent(t, s)
	first := s.Cursor()
	for n := 51; n <= 1000; n++ {
		tick(n)
	}
	for name, c := range map[string]events.Cursor{"before the first": empty, "the first": first} {
		s := follow(c)
		if d := next(t, s); d.Gap == nil || d.Gap.Channel != ch {
			t.Fatalf("%s: no gap but %+v", name, d.Record)
		}
		n := 0
		for last := ""; last != "1000"; n++ {
			last = string(nextEvent(t, s).Data)
		}
		if n < 100 || n > 250 {
			t.Errorf("%s: %d events were left after the gap", name, n)
		}
	}
	if ev := nextEvent(t, follow(events.Earliest())); ev.Type != "tick" {
		t.Error("earliest begins with what there is, without a gap")
	}
	here := follow(events.Cursor{}).Cursor()
	rdb.Del(t.Context(), cfg.Prefix+":log:{"+cfg.Prefix+":user:5}")
	if d := next(t, follow(here)); d.Gap == nil {
		t.Error("no gap after the log was deleted")
	}
	tick(1001)
	if d := next(t, follow(here)); d.Gap == nil {
		t.Error("no gap after the log began anew")
	}
}

func TestTypes(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	cfg := config(t)
	publisher := newPublisher(t, server.Client(), cfg)
	fanout := newFanout(t, server.Client(), cfg)
	only, err := events.ParsePattern("user.*", "system.maintenance")
	if err != nil {
		t.Fatal(err)
	}
	s, err := fanout.Follow(t.Context(), events.Earliest(), only, events.Global(), events.Global())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, typ := range []string{"user.login", "users", "activity.created", "system.maintenance", "user.action.open"} {
		publish(t, publisher, events.Message{Channel: events.Global(), Type: typ})
	}
	for _, want := range []string{"user.login", "system.maintenance", "user.action.open"} {
		if ev := nextEvent(t, s); ev.Type != want {
			t.Errorf("got %s, want %s", ev.Type, want)
		}
	}
}

func TestClosedFanout(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	fanout := newFanout(t, server.Client(), config(t))
	s, err := fanout.Follow(t.Context(), events.Cursor{}, events.Pattern{}, events.Global())
	if err != nil {
		t.Fatal(err)
	}
	fanout.Close()
	if _, err := s.Next(t.Context()); !errors.Is(err, events.ErrClosed) {
		t.Errorf("Next after Close: %v", err)
	}
	s.Close()
	s.Close()
	fanout.Close()
	if _, err := fanout.Follow(t.Context(), events.Cursor{}, events.Pattern{}, events.Global()); !errors.Is(err, events.ErrClosed) {
		t.Errorf("Follow after Close: %v", err)
	}
}

// TestMomentToCome follows from a moment that lies ahead, as one by a clock that is ahead of the server's does: that
// means now, with a log and without.
func TestMomentToCome(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	cfg := config(t)
	publisher := newPublisher(t, server.Client(), cfg)
	fanout := newFanout(t, server.Client(), cfg)
	for _, want := range []string{"1", "2"} {
		s, err := fanout.Follow(t.Context(), events.Since(time.Now().Add(time.Hour)), events.Pattern{}, events.Global())
		if err != nil {
			t.Fatal(err)
		}
		publish(t, publisher, events.Message{Channel: events.Global(), Type: "n", Data: []byte(want)})
		if ev := nextEvent(t, s); string(ev.Data) != want {
			t.Errorf("got %s, want %s", ev.Data, want)
		}
		s.Close()
	}
}
