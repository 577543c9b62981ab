package events_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// wire is the connections of a client, which can be cut for good.
type wire struct {
	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

func (w *wire) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return nil, errors.New("the wire is cut")
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err == nil {
		w.conns = append(w.conns, conn)
	}
	return conn, err
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
	for _, conn := range w.conns {
		_ = conn.Close()
	}
}

// TestConsumersDie lets one of three consumers hang and another be cut off in the middle of their work: all is handled
// at least once.
func TestConsumersDie(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	cfg, rdb, ch := config(t), server.Client(), channel(t, "service:a")
	var done tally
	forever, hung, severed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	consume := func(rdb *redis.Client, do func(n int) error) *events.Consumer {
		return newConsumer(t, rdb, cfg, events.Consumption{Channel: ch, Claim: 500 * time.Millisecond, Handle: done.handler(t, do)})
	}
	publisher := newPublisher(t, rdb, cfg)
	fill(t, publisher, ch, 1, 200)

	var hang sync.Once
	consume(rdb, func(int) error {
		hang.Do(func() { close(hung) })
		<-forever
		return errors.New("the test is over")
	})
	t.Cleanup(func() { close(forever) }) // Before Close of the consumer above.
	receive(t, hung)

	w := new(wire)
	opt := *server.Client().Options()
	opt.Dialer = w.dial
	far := redis.NewClient(&opt)
	t.Cleanup(func() { _ = far.Close() })
	var sever sync.Once
	connected := make(chan struct{})
	cutOff := consume(far, func(int) error {
		<-connected
		sever.Do(func() {
			w.cut()
			close(severed)
		})
		return nil
	})
	close(connected)
	receive(t, severed)

	survivor := consume(rdb, succeed)
	fill(t, publisher, ch, 201, 300)
	redistest.Eventually(t, soon, "all is handled", func() bool { return done.has(upTo(1, 300)...) })
	redistest.Eventually(t, soon, "all is acknowledged", func() bool { return pending(t, rdb, cfg, ch) == 0 })
	if s := survivor.Stats(); s.Claimed < 17 { // What hangs took 16, and what was cut off at least one.
		t.Errorf("the survivor's stats: %+v", s)
	}
	if cutOff.Connected() {
		t.Error("what was cut off says that it is connected")
	}
	cutOff.Close() // Without Redis.
}

// TestConsumersOutage takes Redis away in the middle of the work: all is handled at least once, and nothing twice that was
// handled and acknowledged before.
func TestConsumersOutage(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]struct{ begin, end func(*redistest.Server) }{
		"killed": {(*redistest.Server).Kill, (*redistest.Server).Restart},
		"paused": {(*redistest.Server).Pause, (*redistest.Server).Resume},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
			cfg, rdb, ch := config(t), server.Client(), channel(t, "service:a")
			publisher := newPublisher(t, rdb, cfg)
			cfg.Timeout = 500 * time.Millisecond
			logs := watch(&cfg)
			var done tally
			half, goOn := make(chan struct{}), make(chan struct{})
			var pause sync.Once
			var running []*events.Consumer
			for range 3 {
				running = append(running, newConsumer(t, rdb, cfg, events.Consumption{Channel: ch, Claim: 2 * time.Second, Handle: done.handler(t, func(n int) error {
					if n == 150 {
						pause.Do(func() {
							close(half)
							<-goOn
						})
					}
					return nil
				})}))
			}
			fill(t, publisher, ch, 1, 300)
			receive(t, half)
			outage.begin(server)
			close(goOn)
			redistest.Eventually(t, soon, "the consumers notice", func() bool {
				return !slices.ContainsFunc(running, (*events.Consumer).Connected)
			})
			outage.end(server)
			redistest.Eventually(t, soon, "the consumers are back", func() bool {
				return !slices.ContainsFunc(running, func(c *events.Consumer) bool { return !c.Connected() })
			})
			for n := 301; n <= 320; n++ {
				m := events.Message{Channel: ch, Type: "n", ID: strconv.Itoa(n), Data: []byte(strconv.Itoa(n))}
				if err := retry(t, t.Context(), publisher, m); err != nil {
					t.Fatal(err)
				}
			}
			redistest.Eventually(t, soon, "all is handled", func() bool { return done.has(upTo(1, 320)...) })
			redistest.Eventually(t, soon, "all is acknowledged", func() bool { return pending(t, rdb, cfg, ch) == 0 })
			if n := len(done.all()); n > 320+3 { // Each of three may have been at one.
				t.Errorf("320 events were handled %d times", n)
			}
			for _, message := range []string{"Redis consumer lost, trying again", "Redis consumer is back"} {
				if n := logs.FilterMessage(message).Len(); n < 3 || n > 6 { // Once more if Redis said why.
					t.Errorf("%q was logged %d times by 3 consumers", message, n)
				}
			}
		})
	}
}

// TestConsumerWithoutRedis starts and ends consumers while there is no Redis.
func TestConsumerWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg, rdb, ch := config(t), server.Client(), channel(t, "service:a")
	cfg.Timeout = 200 * time.Millisecond
	var done tally
	start := func() *events.Consumer {
		c, err := events.NewConsumer(rdb, cfg, events.Consumption{Channel: ch, Group: "g", Handle: done.handler(t, succeed)})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c
	}
	server.Pause()
	start().Close()
	server.Resume()
	server.Kill()
	start().Close()
	late := start()
	t.Cleanup(late.Close)
	server.Restart() // It is empty.
	redistest.Eventually(t, soon, "the consumer is connected", late.Connected)
	publisher := newPublisher(t, rdb, cfg)
	if err := retry(t, t.Context(), publisher, events.Message{Channel: ch, Type: "n", ID: "1", Data: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, soon, "the event is handled", func() bool { return done.has(1) })
	server.Kill()
	server.Restart() // It is empty again.
	if err := retry(t, t.Context(), publisher, events.Message{Channel: ch, Type: "n", ID: "2", Data: []byte("2")}); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, soon, "the event in the new log is handled", func() bool { return done.has(2) })
	if ttl := rdb.PTTL(t.Context(), logKey(cfg, ch)).Val(); ttl < 6*24*time.Hour {
		t.Errorf("the log expires in %v", ttl)
	}
}

// TestConsumerMakesNoLog waits for a log instead of making one, which would lack its expiry, and begins a group anew that
// was lost with its log or was deleted.
func TestConsumerMakesNoLog(t *testing.T) {
	t.Parallel()
	cfg, rdb, ch := config(t), redistest.Shared(t).Client(), channel(t, "service:a")
	key, publisher := logKey(cfg, ch), newPublisher(t, rdb, cfg)
	fill(t, publisher, ch, 0, 0) // Now the publisher believes that the log was tended.
	rdb.Del(t.Context(), key)
	var done tally
	newConsumer(t, rdb, cfg, events.Consumption{Channel: ch, Handle: done.handler(t, succeed)})
	for round := 1; round <= 2; round++ {
		if n := rdb.Exists(t.Context(), key).Val(); n != 0 {
			t.Error("the consumer made a log")
		}
		fill(t, publisher, ch, round, round)
		redistest.Eventually(t, soon, "the event is handled", func() bool { return done.has(round) })
		if ttl := rdb.PTTL(t.Context(), key).Val(); ttl < 6*24*time.Hour {
			t.Errorf("the log expires in %v", ttl)
		}
		redistest.Eventually(t, soon, "the event is acknowledged", func() bool { return pending(t, rdb, cfg, ch) == 0 })
		if round == 1 {
			rdb.Del(t.Context(), key)
		}
	}
	if err := rdb.XGroupDestroy(t.Context(), key, "g").Err(); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, soon, "what is still in the log is handled again", func() bool {
		return slices.Equal(done.all(), []int{1, 2, 2})
	})
}

// TestConsumerSince begins a new group with what was logged lately.
func TestConsumerSince(t *testing.T) {
	t.Parallel()
	cfg, rdb, ch := config(t), redistest.Shared(t).Client(), channel(t, "service:a")
	now := rdb.Time(t.Context()).Val()
	for n, age := range []time.Duration{48 * time.Hour, 31 * time.Minute, 29 * time.Minute, time.Second} {
		envelope := fmt.Sprintf(`{"id":"%d","type":"n","data":%d,"timestamp":"2026-11-21T19:11:26Z"`, n, n)
		id := strconv.FormatInt(now.Add(-age).UnixMilli(), 10) + "-0"
		if err := rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: logKey(cfg, ch), ID: id, Values: []string{"e", envelope}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	var half, day tally
	newConsumer(t, rdb, cfg, events.Consumption{Channel: ch, Handle: half.handler(t, succeed)})
	redistest.Eventually(t, soon, "half an hour is handled", func() bool { return slices.Equal(half.all(), []int{2, 3}) })
	if err := rdb.XGroupDestroy(t.Context(), logKey(cfg, ch), "g").Err(); err != nil {
		t.Fatal(err)
	}
	consumer, err := events.NewConsumer(rdb, cfg, events.Consumption{Channel: ch, Group: "h", Since: 24 * time.Hour, Handle: day.handler(t, succeed)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(consumer.Close)
	if err := consumer.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, soon, "a day is handled", func() bool { return slices.Equal(day.all(), []int{1, 2, 3}) })
}

// TestConsumerLost trims the log while a consumer that hangs has taken some of it: what is gone is counted and told once.
func TestConsumerLost(t *testing.T) {
	t.Parallel()
	cfg, rdb, ch := config(t), redistest.Shared(t).Client(), channel(t, "service:a")
	fill(t, newPublisher(t, rdb, cfg), ch, 1, 5)
	forever, hung := make(chan struct{}), make(chan struct{}, 100)
	var done tally
	newConsumer(t, rdb, cfg, events.Consumption{Channel: ch, Claim: 300 * time.Millisecond, Handle: func(context.Context, *events.Record) error {
		hung <- struct{}{}
		<-forever
		return errors.New("the test is over")
	}})
	t.Cleanup(func() { close(forever) })
	receive(t, hung)
	if err := rdb.XTrimMaxLen(t.Context(), logKey(cfg, ch), 2).Err(); err != nil {
		t.Fatal(err)
	}
	logs := watch(&cfg)
	survivor := newConsumer(t, rdb, cfg, events.Consumption{Channel: ch, Claim: 300 * time.Millisecond, Handle: done.handler(t, succeed)})
	redistest.Eventually(t, soon, "what is left is handled", func() bool { return slices.Equal(done.all(), []int{4, 5}) })
	redistest.Eventually(t, soon, "nothing is pending", func() bool { return pending(t, rdb, cfg, ch) == 0 })
	if s := survivor.Stats(); s.Lost != 3 || s.Claimed != 2 || s.Handled != 2 {
		t.Errorf("stats: %+v", s)
	}
	told := logs.FilterMessage("the log dropped events that were taken and not handled").All()
	if len(told) != 1 || told[0].ContextMap()["events"] != int64(3) {
		t.Errorf("logged: %v", told)
	}
}
