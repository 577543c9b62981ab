package events_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// torture is what the goroutines of TestTorture share.
type torture struct {
	cfg      events.Config
	channels []events.Channel
	progress atomic.Int64 // Acknowledged events.

	mu    sync.Mutex
	acked map[string]events.Receipt // By channel and id.
}

// TestTorture publishes, follows, drops and resumes at random while connections are killed and the server, which keeps
// everything, is killed, restarted and paused. What was acknowledged must be in the log, nothing may be there twice, and
// every reader must have seen just what the log holds, in its order.
func TestTorture(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	tor := &torture{
		cfg: config(t), channels: []events.Channel{events.Global(), channel(t, "user:1"), channel(t, "service:a")},
		acked: map[string]events.Receipt{},
	}
	tor.cfg.User.MaxEntries, tor.cfg.Global.MaxEntries, tor.cfg.Service.MaxEntries = 1_000_000, 1_000_000, 1_000_000
	tor.cfg.QueueLength = 100 // So that readers are cut now and then.
	tor.cfg.Timeout = time.Second
	bridges := []*events.Bridge{newBridge(t, server.Client(), tor.cfg), newBridge(t, server.Client(), tor.cfg)}
	fanouts := []*events.Fanout{newFanout(t, server.Client(), tor.cfg), newFanout(t, server.Client(), tor.cfg)}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var publishing, reading sync.WaitGroup
	for p := range 3 {
		publisher := newPublisher(t, server.Client(), tor.cfg)
		publishing.Go(func() { tor.publish(t, ctx, publisher, p) })
	}
	bot := server.Client()
	publishing.Go(func() { tor.speakPastTheHub(ctx, bot) })
	readers := make([]*reader, 6)
	for i := range readers {
		readers[i] = &reader{seen: map[events.Channel][]string{}}
		reading.Go(func() { tor.read(t, ctx, fanouts[i%len(fanouts)], readers[i]) })
	}

	rdb := server.Client()
	for range 30 {
		more := tor.progress.Load() + rand.Int64N(60)
		redistest.Eventually(t, soon, "more is acknowledged", func() bool { return tor.progress.Load() > more })
		switch rand.IntN(8) {
		case 0, 1:
			rdb.Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub")
		case 2, 3:
			rdb.Do(ctx, "CLIENT", "KILL", "TYPE", "normal")
		case 4:
			server.Restart()
		case 5:
			server.Kill()
			server.Restart()
		case 6:
			server.Pause()
			server.Resume()
		case 7:
			rdb.ScriptFlush(ctx)
		}
	}
	stop()
	publishing.Wait()
	reading.Wait()
	for _, b := range bridges {
		b.Close() // Nothing is logged from now on.
	}
	tor.judge(t, newLog(t, rdb, tor.cfg), fanouts[0], readers)
}

// publish publishes events with ids of its own. Of those that Redis did not acknowledge it tries half again until it does.
func (tor *torture) publish(tb testing.TB, ctx context.Context, publisher *events.Publisher, p int) {
	tb.Helper()
	for n := 0; ctx.Err() == nil; n++ {
		m := events.Message{Channel: tor.channels[rand.IntN(len(tor.channels))], Type: "x", ID: fmt.Sprintf("%d-%d", p, n), Data: []byte(strconv.Itoa(n))}
		insist := rand.IntN(2) == 0
		for {
			receipt, err := publisher.Publish(context.WithoutCancel(ctx), m)
			if err == nil {
				tor.mu.Lock()
				tor.acked[m.Channel.String()+" "+m.ID] = receipt
				tor.mu.Unlock()
				tor.progress.Add(1)
				break
			}
			if !errors.Is(err, events.ErrUnavailable) {
				tb.Error(err)
				return
			}
			if !insist || ctx.Err() != nil {
				break
			}
		}
	}
}

// speakPastTheHub publishes as the bot does. Some of it may be lost, as nobody may be listening.
func (tor *torture) speakPastTheHub(ctx context.Context, bot *redis.Client) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		ch := tor.channels[n%len(tor.channels)]
		bot.Publish(ctx, tor.cfg.Prefix+":"+ch.String(), botSays(tor.cfg, ch, fmt.Sprint("bot-", n), "{}"))
	}
}

// reader is what one reader has seen of each channel, and where it stands.
type reader struct {
	seen   map[events.Channel][]string
	cursor string
}

// read follows all channels with one stream after the other.
func (tor *torture) read(tb testing.TB, ctx context.Context, fanout *events.Fanout, r *reader) {
	tb.Helper()
	r.cursor = "earliest"
	for ctx.Err() == nil {
		s, err := fanout.Follow(ctx, cursor(tb, r.cursor), events.Pattern{}, tor.channels...)
		if err != nil {
			if !errors.Is(err, events.ErrUnavailable) {
				tb.Error(err)
				return
			}
			continue
		}
		for range rand.IntN(300) {
			if !r.take(tb, ctx, s) {
				break
			}
		}
		s.Close()
	}
}

// take takes one event, and reports whether there was one.
func (r *reader) take(tb testing.TB, ctx context.Context, s *events.Stream) bool {
	tb.Helper()
	d, err := s.Next(ctx)
	switch {
	case err != nil:
		if !errors.Is(err, events.ErrSlow) && ctx.Err() == nil {
			tb.Error(err)
		}
		return false
	case d.Gap != nil:
		tb.Errorf("a gap on %v after %v", d.Gap.Channel, d.Gap.After)
		return false
	}
	r.seen[d.Record.Channel] = append(r.seen[d.Record.Channel], d.Record.JSON)
	r.cursor = s.Cursor().String()
	return true
}

// judge lets the readers read to the end and compares.
func (tor *torture) judge(tb testing.TB, log *events.Log, fanout *events.Fanout, readers []*reader) {
	tb.Helper()
	logged := map[events.Channel][]string{}
	offsets := map[string]events.Offset{}
	total := 0
	for _, ch := range tor.channels {
		for _, record := range everything(tb, log, ch) {
			ev, err := record.Event()
			if err != nil {
				tb.Fatal(err)
			}
			key := ch.String() + " " + ev.ID
			if at, twice := offsets[key]; twice {
				tb.Errorf("%s is in the log at %v and at %v", key, at, record.Offset)
			}
			offsets[key] = record.Offset
			logged[ch] = append(logged[ch], record.JSON)
			total++
		}
	}
	for key, receipt := range tor.acked {
		if at, ok := offsets[key]; !ok || at != receipt.Offset {
			tb.Errorf("%s was acknowledged at %v, the log has it at %v (%v)", key, receipt.Offset, at, ok)
		}
	}
	for i, r := range readers {
		s, err := fanout.Follow(tb.Context(), cursor(tb, r.cursor), events.Pattern{}, tor.channels...)
		if err != nil {
			tb.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(tb.Context(), soon)
		for len(r.seen[tor.channels[0]])+len(r.seen[tor.channels[1]])+len(r.seen[tor.channels[2]]) < total {
			if !r.take(tb, ctx, s) {
				tb.Errorf("reader %d does not get to the end", i)
				break
			}
		}
		cancel()
		s.Close()
		for _, ch := range tor.channels {
			if !slices.Equal(r.seen[ch], logged[ch]) {
				tb.Errorf("reader %d saw %d events of %v, the log holds %d, and they differ", i, len(r.seen[ch]), ch, len(logged[ch]))
			}
		}
	}
	tb.Logf("%d events, %d of them acknowledged", total, len(tor.acked))
}
