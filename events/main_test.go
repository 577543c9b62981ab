package events_test

import (
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func TestMain(m *testing.M) {
	os.Exit(redistest.Main(m))
}

// soon bounds what should come about at once, on a machine that is busy with other tests.
const soon = 20 * time.Second

// config gives a test names of its own in Redis, and calls to Redis time enough on a busy machine.
func config(tb testing.TB) events.Config {
	tb.Helper()
	return events.Config{Prefix: redistest.Prefix(tb), Timeout: soon}
}

func newPublisher(tb testing.TB, rdb redis.UniversalClient, cfg events.Config) *events.Publisher {
	tb.Helper()
	p, err := events.NewPublisher(rdb, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	if err := p.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return p
}

func newFanout(tb testing.TB, rdb redis.UniversalClient, cfg events.Config) *events.Fanout {
	tb.Helper()
	f, err := events.NewFanout(rdb, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	if err := f.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(f.Close)
	redistest.Eventually(tb, soon, "the fanout is connected", f.Connected)
	return f
}

func newBridge(tb testing.TB, rdb redis.UniversalClient, cfg events.Config) *events.Bridge {
	tb.Helper()
	b, err := events.NewBridge(rdb, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	if err := b.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(b.Close)
	redistest.Eventually(tb, soon, "the bridge is connected", b.Connected)
	return b
}

func newLog(tb testing.TB, rdb redis.UniversalClient, cfg events.Config) *events.Log {
	tb.Helper()
	l, err := events.NewLog(rdb, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func channel(tb testing.TB, name string) events.Channel {
	tb.Helper()
	ch, err := events.ParseChannel(name)
	if err != nil {
		tb.Fatal(err)
	}
	return ch
}

func publish(tb testing.TB, p *events.Publisher, m events.Message) events.Receipt {
	tb.Helper()
	receipt, err := p.Publish(tb.Context(), m)
	if err != nil {
		tb.Fatal(err)
	}
	return receipt
}

func next(tb testing.TB, s *events.Stream) events.Delivery {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), soon)
	defer cancel()
	d, err := s.Next(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func nextEvent(tb testing.TB, s *events.Stream) events.Event {
	tb.Helper()
	d := next(tb, s)
	if d.Gap != nil {
		tb.Fatalf("a gap in %v after %v instead of an event", d.Gap.Channel, d.Gap.After)
	}
	ev, err := d.Record.Event()
	if err != nil {
		tb.Fatal(err)
	}
	return ev
}

func readAll(tb testing.TB, l *events.Log, ch events.Channel) []*events.Record {
	tb.Helper()
	page, err := l.Read(tb.Context(), events.Query{Channel: ch, Limit: events.MaxPage})
	if err != nil {
		tb.Fatal(err)
	}
	return page.Records
}

// botEvent is one recorded publication of the bot.
type botEvent struct{ Call, Channel, Payload string }

func botEvents(tb testing.TB) []botEvent {
	tb.Helper()
	raw, err := os.ReadFile("testdata/bot-events.json")
	if err != nil {
		tb.Fatal(err)
	}
	var recorded []botEvent
	if err := json.Unmarshal(raw, &recorded); err != nil {
		tb.Fatal(err)
	}
	if len(recorded) == 0 {
		tb.Fatal("no recorded events")
	}
	return recorded
}
