package events_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// tally notes which of the numbered events were handled, in that order.
type tally struct {
	mu   sync.Mutex
	seen []int
}

func (t *tally) add(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = append(t.seen, n)
}

func (t *tally) all() []int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.seen)
}

// has reports whether all of some numbers were handled.
func (t *tally) has(numbers ...int) bool {
	seen := map[int]bool{}
	for _, n := range t.all() {
		seen[n] = true
	}
	return !slices.ContainsFunc(numbers, func(n int) bool { return !seen[n] })
}

// handler notes each event after what do returns nil for.
func (t *tally) handler(tb testing.TB, do func(n int) error) func(context.Context, *events.Record) error {
	tb.Helper()
	return func(_ context.Context, r *events.Record) error {
		n := numbers(tb, []*events.Record{r})[0]
		if err := do(n); err != nil {
			return err
		}
		t.add(n)
		return nil
	}
}

func succeed(int) error { return nil }

// newConsumer starts a consumer of the group "g".
func newConsumer(tb testing.TB, rdb *redis.Client, cfg events.Config, c events.Consumption) *events.Consumer {
	tb.Helper()
	c.Group = "g"
	consumer, err := events.NewConsumer(rdb, cfg, c)
	if err != nil {
		tb.Fatal(err)
	}
	if err := consumer.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(consumer.Close)
	redistest.Eventually(tb, soon, "the consumer is connected", func() bool { return consumer.Check(tb.Context()) == nil })
	return consumer
}

// pending are the entries that were taken and not acknowledged.
func pending(tb testing.TB, rdb *redis.Client, cfg events.Config, ch events.Channel) int64 {
	tb.Helper()
	p, err := rdb.XPending(tb.Context(), logKey(cfg, ch), "g").Result()
	if err != nil {
		tb.Fatal(err)
	}
	return p.Count
}

// consumers are the names that Redis knows.
func consumers(tb testing.TB, rdb *redis.Client, cfg events.Config, ch events.Channel) []string {
	tb.Helper()
	infos, err := rdb.XInfoConsumers(tb.Context(), logKey(cfg, ch), "g").Result()
	if err != nil {
		tb.Fatal(err)
	}
	var names []string
	for _, info := range infos {
		names = append(names, info.Name)
	}
	return names
}

func watch(cfg *events.Config) *observer.ObservedLogs {
	core, logs := observer.New(zap.InfoLevel)
	cfg.Logger = zap.New(core)
	return logs
}

func TestNewConsumerRefuses(t *testing.T) {
	t.Parallel()
	good := events.Consumption{Channel: events.Global(), Group: "g", Handle: func(context.Context, *events.Record) error { return nil }}
	rdb := redis.NewClient(&redis.Options{})
	t.Cleanup(func() { _ = rdb.Close() })
	if _, err := events.NewConsumer(rdb, events.Config{}, good); err != nil {
		t.Error(err)
	}
	for what, spoil := range map[string]func(*events.Consumption){
		"no channel":       func(c *events.Consumption) { c.Channel = events.Channel{} },
		"no handler":       func(c *events.Consumption) { c.Handle = nil },
		"no group":         func(c *events.Consumption) { c.Group = "" },
		"a group's name":   func(c *events.Consumption) { c.Group = "a b" },
		"a short claim":    func(c *events.Consumption) { c.Claim = time.Millisecond },
		"a negative since": func(c *events.Consumption) { c.Since = -time.Hour },
	} {
		c := good
		spoil(&c)
		if _, err := events.NewConsumer(rdb, events.Config{}, c); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
	if _, err := events.NewConsumer(rdb, events.Config{Prefix: "a b"}, good); err == nil {
		t.Error("a bad prefix is taken")
	}
}

// TestConsumersShare lets three consumers of a group, and one of another, handle what four publishers say: exactly once
// for each group, and in order for each consumer.
func TestConsumersShare(t *testing.T) {
	t.Parallel()
	cfg, ch, total := config(t), channel(t, "service:a"), upTo(1, 500)
	var group tally
	own := make([]tally, 3)
	var running []*events.Consumer
	for i := range own {
		running = append(running, newConsumer(t, redistest.Shared(t).Client(), cfg, events.Consumption{
			Channel: ch, Handle: own[i].handler(t, func(n int) error { group.add(n); return nil }),
		}))
	}
	var other tally
	second, err := events.NewConsumer(redistest.Shared(t).Client(), cfg, events.Consumption{
		Channel: ch, Group: "other", Handle: other.handler(t, succeed),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Close)
	var publishing sync.WaitGroup
	publisher := newPublisher(t, redistest.Shared(t).Client(), cfg)
	for p := range 4 {
		publishing.Go(func() { fill(t, publisher, ch, p*125+1, p*125+125) })
	}
	publishing.Wait()
	if err := second.Start(t.Context()); err != nil { // It begins with what was logged before.
		t.Fatal(err)
	}
	redistest.Eventually(t, soon, "all is handled", func() bool { return group.has(total...) && other.has(total...) })
	rdb := redistest.Shared(t).Client()
	redistest.Eventually(t, soon, "all is acknowledged", func() bool { return pending(t, rdb, cfg, ch) == 0 })
	for what, got := range map[string][]int{"the group": group.all(), "the other group": other.all()} {
		slices.Sort(got)
		if !slices.Equal(got, total) {
			t.Errorf("%s handled %d times %d events", what, len(got), len(total))
		}
	}
	logged := numbers(t, readAll(t, newLog(t, rdb, cfg), ch))
	var sum int64
	for i, consumer := range running {
		at := -1
		for _, n := range own[i].all() {
			before := at
			if at = slices.Index(logged, n); at < before {
				t.Errorf("consumer %d handled %d out of order", i, n)
			}
		}
		s := consumer.Stats()
		if s.Handled != int64(len(own[i].all())) || s.Failed+s.Claimed+s.Lost != 0 {
			t.Errorf("stats: %+v, handled %d", s, len(own[i].all()))
		}
		sum += s.Handled
		consumer.Close()
		consumer.Close()
		if err := consumer.Start(t.Context()); !errors.Is(err, events.ErrClosed) {
			t.Errorf("Start after Close: %v", err)
		}
		if consumer.Check(t.Context()) == nil {
			t.Error("a closed consumer is well")
		}
	}
	if sum != int64(len(total)) {
		t.Errorf("the consumers count %d", sum)
	}
	if names := consumers(t, rdb, cfg, ch); len(names) != 0 {
		t.Errorf("Redis still knows %v", names)
	}
}

// TestConsumerTypes acknowledges what is of another type, or no event at all.
func TestConsumerTypes(t *testing.T) {
	t.Parallel()
	cfg, rdb, ch := config(t), redistest.Shared(t).Client(), channel(t, "service:a")
	types, err := events.ParsePattern("matching.*")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *events.Record, 10)
	consumer := newConsumer(t, rdb, cfg, events.Consumption{
		Channel: ch, Types: types, Handle: func(_ context.Context, r *events.Record) error { got <- r; return nil },
	})
	publisher := newPublisher(t, rdb, cfg)
	fill(t, publisher, ch, 1, 20)
	addForeign(t, rdb, logKey(cfg, ch), 20)
	receipt := publish(t, publisher, events.Message{Channel: ch, Type: "matching.request", Data: []byte(`{"users":[1,2]}`)})
	r := receive(t, got)
	ev, err := r.Event()
	if err != nil || ev.ID != receipt.ID || r.Offset != receipt.Offset || r.Channel != ch || string(ev.Data) != `{"users":[1,2]}` {
		t.Errorf("%+v, %v", ev, err)
	}
	redistest.Eventually(t, soon, "all is acknowledged", func() bool { return pending(t, rdb, cfg, ch) == 0 })
	if s := consumer.Stats(); s.Handled != 1 || s.Failed != 0 || len(got) > 0 {
		t.Errorf("stats: %+v", s)
	}
}

// TestConsumerFailures lets an event fail until those behind it are handled, by error and by panic.
func TestConsumerFailures(t *testing.T) {
	t.Parallel()
	cfg, rdb, ch := config(t), redistest.Shared(t).Client(), channel(t, "service:a")
	logs := watch(&cfg)
	var done tally
	consumer := newConsumer(t, rdb, cfg, events.Consumption{Channel: ch, Claim: 300 * time.Millisecond, Handle: done.handler(t, func(n int) error {
		if n <= 2 && !done.has(upTo(3, 40)...) {
			if n == 1 {
				panic("s3cret")
			}
			return errors.New("not yet")
		}
		return nil
	})})
	publisher := newPublisher(t, rdb, cfg)
	fill(t, publisher, ch, 1, 40)
	redistest.Eventually(t, soon, "all is handled", func() bool { return done.has(upTo(1, 40)...) })
	redistest.Eventually(t, soon, "all is acknowledged", func() bool { return pending(t, rdb, cfg, ch) == 0 })
	if s := consumer.Stats(); s.Failed < 2 || s.Claimed < 2 || s.Handled != int64(len(done.all())) || s.Lost != 0 {
		t.Errorf("stats: %+v", s)
	}
	stack := false
	for _, entry := range logs.All() {
		text := fmt.Sprint(entry.Message, entry.ContextMap())
		stack = stack || entry.Level == zap.ErrorLevel && strings.Contains(text, "TestConsumerFailures")
		if strings.Contains(text, "s3cret") {
			t.Errorf("logged: %s", text)
		}
	}
	if !stack {
		t.Errorf("no stack of the panic in %v", logs.All())
	}
}

// TestConsumerClose lets the call under way end, and leaves what was taken with it to the next consumer at once.
func TestConsumerClose(t *testing.T) {
	t.Parallel()
	cfg, rdb, ch := config(t), redistest.Shared(t).Client(), channel(t, "service:a")
	publisher := newPublisher(t, rdb, cfg)
	fill(t, publisher, ch, 1, 10)
	begun, release := make(chan struct{}), make(chan struct{})
	var first, next tally
	leaving := newConsumer(t, rdb, cfg, events.Consumption{Channel: ch, Claim: time.Hour, Name: "leaving", Handle: first.handler(t, func(int) error {
		close(begun)
		<-release
		return nil
	})})
	receive(t, begun)
	closed := make(chan struct{})
	go func() {
		leaving.Close()
		close(closed)
	}()
	redistest.Eventually(t, soon, "Close has begun", leaving.Closing)
	select {
	case <-closed:
		t.Fatal("Close did not wait for the handler")
	default:
	}
	close(release)
	receive(t, closed)
	if got := first.all(); !slices.Equal(got, []int{1}) {
		t.Errorf("handled %v", got)
	}
	if n := pending(t, rdb, cfg, ch); n != 9 {
		t.Errorf("%d are pending", n)
	}
	consumer := newConsumer(t, rdb, cfg, events.Consumption{Channel: ch, Claim: time.Hour, Name: "next", Handle: next.handler(t, succeed)})
	redistest.Eventually(t, soon, "the rest is handled", func() bool { return next.has(upTo(2, 10)...) })
	redistest.Eventually(t, soon, "the rest is acknowledged", func() bool { return pending(t, rdb, cfg, ch) == 0 })
	if s := consumer.Stats(); s.Handled != 9 || s.Claimed != 9 {
		t.Errorf("stats: %+v", s)
	}
	// What held something when it left is forgotten later, when it is long silent.
	if names := consumers(t, rdb, cfg, ch); !slices.Equal(names, []string{"leaving", "next"}) {
		t.Errorf("Redis knows %v", names)
	}
}

// TestConsumerContext gives a handler the values of Start's context, and time until another may take the event over.
func TestConsumerContext(t *testing.T) {
	t.Parallel()
	cfg, rdb, ch := config(t), redistest.Shared(t).Client(), channel(t, "service:a")
	type key struct{}
	ended := make(chan any, 10)
	consumer, err := events.NewConsumer(rdb, cfg, events.Consumption{
		Channel: ch, Group: "g", Claim: 200 * time.Millisecond,
		Handle: func(ctx context.Context, _ *events.Record) error {
			<-ctx.Done()
			ended <- ctx.Value(key{})
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	if err := consumer.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(consumer.Close)
	cancel()
	fill(t, newPublisher(t, rdb, cfg), ch, 1, 1)
	if v := receive(t, ended); v != "value" {
		t.Errorf("the handler's context has %v", v)
	}
}

// TestConsumerHearsTheBot handles what the bot published past the hub, once a bridge took it up.
func TestConsumerHearsTheBot(t *testing.T) {
	t.Parallel()
	cfg, rdb, ch := config(t), redistest.Shared(t).Client(), channel(t, "service:matching")
	newBridge(t, rdb, cfg)
	got := make(chan *events.Record, 10)
	newConsumer(t, rdb, cfg, events.Consumption{
		Channel: ch, Handle: func(_ context.Context, r *events.Record) error { got <- r; return nil },
	})
	say(t, rdb, cfg.Prefix+":service:matching", botSays(cfg, ch, "from-the-bot", `{"users": [1, 2]}`))
	ev, err := receive(t, got).Event()
	if err != nil || ev.ID != "from-the-bot" || string(ev.Data) != `{"users":[1,2]}` {
		t.Errorf("%+v, %v", ev, err)
	}
}
