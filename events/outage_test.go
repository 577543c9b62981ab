package events_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestUnavailable publishes, reads and follows while Redis is stopped or hangs: all must fail in time, and work again later.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]struct{ begin, end func(*redistest.Server) }{
		"stopped": {(*redistest.Server).Stop, (*redistest.Server).Restart},
		"paused":  {(*redistest.Server).Pause, (*redistest.Server).Resume},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			cfg, rdb := config(t), server.Client()
			cfg.Timeout = 300 * time.Millisecond
			publisher, log, fanout := newPublisher(t, rdb, cfg), newLog(t, rdb, cfg), newFanout(t, rdb, cfg)
			m := events.Message{Channel: events.Global(), Type: "x", ID: "1"}
			publish(t, publisher, m)
			outage.begin(server)

			const enough = 4 * time.Second // Far less than the client's own 5 s, far more than 300 ms.
			var wait sync.WaitGroup
			for what, do := range map[string]func(context.Context) error{
				"Publish": func(ctx context.Context) error { _, err := publisher.Publish(ctx, m); return err },
				"Read": func(ctx context.Context) error {
					_, err := log.Read(ctx, events.Query{Channel: events.Global(), Limit: 1})
					return err
				},
				"Follow": func(ctx context.Context) error {
					_, err := fanout.Follow(ctx, events.Cursor{}, events.Pattern{}, channel(t, "user:1"))
					return err
				},
			} {
				for range 3 {
					wait.Go(func() {
						began := time.Now()
						if err := do(t.Context()); !errors.Is(err, events.ErrUnavailable) {
							t.Errorf("%s: %v", what, err)
						}
						if took := time.Since(began); took > enough {
							t.Errorf("%s took %v", what, took)
						}
					})
				}
			}
			wait.Wait()
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := publisher.Publish(ctx, m); !errors.Is(err, events.ErrUnavailable) || !errors.Is(err, context.Canceled) {
				t.Errorf("a caller who had left: %v", err)
			}
			if s := publisher.Stats(); s.Failed != 4 {
				t.Errorf("stats: %+v", s)
			}

			outage.end(server)
			redistest.Eventually(t, soon, "events are published again", func() bool {
				_, err := publisher.Publish(t.Context(), m)
				return err == nil
			})
			redistest.Eventually(t, soon, "streams are opened again", func() bool {
				s, err := fanout.Follow(t.Context(), events.Cursor{}, events.Pattern{}, channel(t, "user:1"))
				if err == nil {
					s.Close()
				}
				return err == nil
			})
			if n := len(readAll(t, log, events.Global())); n != 1 {
				t.Errorf("the log holds %d events", n)
			}
			if fanout.Check(t.Context()) != nil {
				t.Error("the fanout is not well")
			}
		})
	}
}

// TestScriptFlush has the server forget the script while callers publish: nobody notices.
func TestScriptFlush(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg, rdb := config(t), server.Client()
	cfg.Global.MaxEntries = 100_000
	publisher := newPublisher(t, server.Client(), cfg)
	for range 20 {
		rdb.ScriptFlush(t.Context())
		publish(t, publisher, events.Message{Channel: events.Global(), Type: "x"})
	}
	const callers, each = 8, 50
	var wait sync.WaitGroup
	for caller := range callers {
		wait.Go(func() {
			for n := range each {
				if n%10 == caller {
					rdb.ScriptFlush(t.Context())
				}
				m := events.Message{Channel: events.Global(), Type: "x", ID: fmt.Sprintf("%d-%d", caller, n)}
				// Forgotten twice within one call, the script is missing still; then it is the caller's turn.
				if err := retry(t, t.Context(), publisher, m); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	if n := len(readAll(t, newLog(t, rdb, cfg), events.Global())); n != 20+callers*each {
		t.Errorf("the log holds %d events, want %d", n, 20+callers*each)
	}
}

// retry publishes until it is done, as a caller does who gave the event an id.
func retry(tb testing.TB, ctx context.Context, p *events.Publisher, m events.Message) error {
	tb.Helper()
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	for {
		_, err := p.Publish(ctx, m)
		if err == nil || !errors.Is(err, events.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestRestartWhilePublishing restarts a server that keeps everything, under callers who try again: each event is in the
// log once, in the order of its caller.
func TestRestartWhilePublishing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	cfg := config(t)
	cfg.Global.MaxEntries = 100_000
	publisher := newPublisher(t, server.Client(), cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	const callers = 4
	var sent [callers]int
	for caller := range callers {
		wait.Go(func() {
			for ; ctx.Err() == nil; sent[caller]++ {
				m := events.Message{
					Channel: events.Global(), Type: "x", ID: fmt.Sprintf("%d-%d", caller, sent[caller]),
					Source: strconv.Itoa(caller), Data: []byte(strconv.Itoa(sent[caller])),
				}
				if err := retry(t, context.WithoutCancel(ctx), publisher, m); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 4 {
		more := publisher.Stats().Published + 50
		redistest.Eventually(t, soon, "more is published", func() bool { return publisher.Stats().Published > more })
		if i%2 == 0 {
			server.Restart()
		} else {
			server.Kill()
			server.Restart()
		}
	}
	more := publisher.Stats().Published + 50
	redistest.Eventually(t, soon, "more is published", func() bool { return publisher.Stats().Published > more })
	cancel()
	wait.Wait()
	var got [callers]int
	for _, r := range everything(t, newLog(t, server.Client(), cfg), events.Global()) {
		ev, err := r.Event()
		if err != nil {
			t.Fatal(err)
		}
		caller, err := strconv.Atoi(ev.Source)
		if err != nil || string(ev.Data) != strconv.Itoa(got[caller]) {
			t.Fatalf("caller %s: %s came when %d was due", ev.Source, ev.Data, got[caller])
		}
		got[caller]++
	}
	if got != sent {
		t.Errorf("the log holds %v, sent were %v", got, sent)
	}
}

// everything reads a log of any length.
func everything(tb testing.TB, l *events.Log, ch events.Channel) []*events.Record {
	tb.Helper()
	var all []*events.Record
	for q := (events.Query{Channel: ch, Limit: events.MaxPage}); ; {
		page, err := l.Read(tb.Context(), q)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, page.Records...)
		if q.After = page.Next; q.After.IsZero() {
			return all
		}
	}
}
