package events_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// logKey is where a channel's events lie in Redis.
func logKey(cfg events.Config, ch events.Channel) string {
	return fmt.Sprintf("%s:log:{%s:%v}", cfg.Prefix, cfg.Prefix, ch)
}

// fill publishes numbered events, from the first to the last number.
func fill(tb testing.TB, p *events.Publisher, ch events.Channel, first, last int) {
	tb.Helper()
	for n := first; n <= last; n++ {
		publish(tb, p, events.Message{Channel: ch, Type: "n", Data: []byte(strconv.Itoa(n))})
	}
}

// numbers are what fill put into the events.
func numbers(tb testing.TB, records []*events.Record) []int {
	tb.Helper()
	out := make([]int, len(records))
	for i, r := range records {
		ev, err := r.Event()
		if err != nil {
			tb.Fatal(err)
		}
		if out[i], err = strconv.Atoi(string(ev.Data)); err != nil {
			tb.Fatal(err)
		}
	}
	return out
}

func upTo(first, last int) []int {
	var out []int
	for n := first; n <= last; n++ {
		out = append(out, n)
	}
	return out
}

func backwards(in []int) []int {
	out := slices.Clone(in)
	slices.Reverse(out)
	return out
}

// pages reads a log page by page to its end.
func pages(tb testing.TB, l *events.Log, q events.Query) (all []int, sizes []int) {
	tb.Helper()
	for {
		page, err := l.Read(tb.Context(), q)
		if err != nil {
			tb.Fatal(err)
		}
		all, sizes = append(all, numbers(tb, page.Records)...), append(sizes, len(page.Records))
		if page.Next.IsZero() {
			return all, sizes
		}
		if len(sizes) > 5000 {
			tb.Fatal("the pages have no end")
		}
		q.After = page.Next
	}
}

func TestPaging(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	rdb := redistest.Shared(t).Client()
	l, ch := newLog(t, rdb, cfg), channel(t, "user:9")
	fill(t, newPublisher(t, rdb, cfg), ch, 1, 25)
	all := upTo(1, 25)
	for _, test := range []struct {
		limit   int
		reverse bool
		sizes   []int
	}{
		{limit: 10, sizes: []int{10, 10, 5}},
		{limit: 10, reverse: true, sizes: []int{10, 10, 5}},
		{limit: 5, sizes: []int{5, 5, 5, 5, 5}},
		{limit: 24, sizes: []int{24, 1}},
		{limit: 25, sizes: []int{25}},
		{limit: 25, reverse: true, sizes: []int{25}},
		{limit: events.MaxPage, sizes: []int{25}},
		{limit: 20, reverse: true, sizes: []int{20, 5}},
	} {
		t.Run(fmt.Sprintf("%d, reverse %v", test.limit, test.reverse), func(t *testing.T) {
			t.Parallel()
			got, sizes := pages(t, l, events.Query{Channel: ch, Limit: test.limit, Reverse: test.reverse})
			want := all
			if test.reverse {
				want = backwards(all)
			}
			if !slices.Equal(got, want) || !slices.Equal(sizes, test.sizes) {
				t.Errorf("got %v in pages of %v", got, sizes)
			}
		})
	}

	records := readAll(t, l, ch)
	for i, r := range records {
		if i > 0 && r.Offset.Compare(records[i-1].Offset) <= 0 {
			t.Errorf("%v does not come after %v", r.Offset, records[i-1].Offset)
		}
	}
	after := func(q events.Query) []int {
		q.Channel, q.Limit = ch, 100
		page, err := l.Read(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		return numbers(t, page.Records)
	}
	if got := after(events.Query{After: records[9].Offset}); !slices.Equal(got, upTo(11, 25)) {
		t.Errorf("after the tenth: %v", got)
	}
	if got := after(events.Query{After: records[9].Offset, Reverse: true}); !slices.Equal(got, backwards(upTo(1, 9))) {
		t.Errorf("before the tenth: %v", got)
	}
	if got := after(events.Query{After: records[24].Offset}); len(got) != 0 {
		t.Errorf("after the last: %v", got)
	}
	if got := after(events.Query{After: records[0].Offset, Reverse: true}); len(got) != 0 {
		t.Errorf("before the first: %v", got)
	}
	if got := after(events.Query{After: events.OffsetAt(time.Now().Add(-time.Hour))}); !slices.Equal(got, all) {
		t.Errorf("since an hour ago: %v", got)
	}
	if got := after(events.Query{After: events.OffsetAt(time.Now().Add(time.Hour))}); len(got) != 0 {
		t.Errorf("since the next hour: %v", got)
	}
	endless, err := events.ParseOffset("18446744073709551615")
	if err != nil {
		t.Fatal(err)
	}
	if got := after(events.Query{After: endless}); len(got) != 0 {
		t.Errorf("after the greatest offset: %v", got)
	}
	if got := after(events.Query{After: endless, Reverse: true}); !slices.Equal(got, backwards(all)) {
		t.Errorf("before the greatest offset: %v", got)
	}
	if got, _ := pages(t, l, events.Query{Channel: channel(t, "user:10"), Limit: 5}); len(got) != 0 {
		t.Errorf("a channel without a log: %v", got)
	}
}

// TestPageLimits asks for more and for less than a page may hold.
func TestPageLimits(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Global.MaxEntries = 5000
	rdb := redistest.Shared(t).Client()
	l := newLog(t, rdb, cfg)
	fill(t, newPublisher(t, rdb, cfg), events.Global(), 1, events.MaxPage+50)
	for _, test := range []struct{ limit, first int }{{-5, 1}, {0, 1}, {1, 1}, {events.MaxPage, events.MaxPage}, {5 * events.MaxPage, events.MaxPage}} {
		got, sizes := pages(t, l, events.Query{Channel: events.Global(), Limit: test.limit, After: events.Offset{}})
		if sizes[0] != test.first || len(got) != events.MaxPage+50 {
			t.Errorf("limit %d: %d events, the first page has %d", test.limit, len(got), sizes[0])
		}
	}
}

// addForeign adds to a log what no hub wrote.
func addForeign(tb testing.TB, rdb redis.Cmdable, key string, n int) {
	tb.Helper()
	pipe := rdb.Pipeline()
	for i := range n {
		values := [][]string{{"x", "1"}, {"e", "no envelope"}, {"e", `{"id":"1"}`}, {"e", `{"id":"1","type":`}, {"e", ""}}
		pipe.XAdd(tb.Context(), &redis.XAddArgs{Stream: key, Values: values[i%len(values)]})
	}
	if _, err := pipe.Exec(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// TestForeignEntries puts entries that are no hub's between events, whole pages of them: readers pass over them.
func TestForeignEntries(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	rdb := redistest.Shared(t).Client()
	l, ch := newLog(t, rdb, cfg), channel(t, "service:matching")
	publisher, fanout := newPublisher(t, rdb, cfg), newFanout(t, rdb, cfg)
	key := logKey(cfg, ch)
	addForeign(t, rdb, key, 3)
	fill(t, publisher, ch, 1, 10)
	addForeign(t, rdb, key, 600)
	fill(t, publisher, ch, 11, 20)
	addForeign(t, rdb, key, 3)

	for _, limit := range []int{1, 7, 10, 100} {
		if got, sizes := pages(t, l, events.Query{Channel: ch, Limit: limit}); !slices.Equal(got, upTo(1, 20)) {
			t.Errorf("pages of %d: %v in %v", limit, got, sizes)
		}
		if got, _ := pages(t, l, events.Query{Channel: ch, Limit: limit, Reverse: true}); !slices.Equal(got, backwards(upTo(1, 20))) {
			t.Errorf("pages of %d, backwards: %v", limit, got)
		}
	}
	s := follow(t, fanout, events.Earliest(), ch)
	for n := 1; n <= 20; n++ {
		if ev := nextEvent(t, s); string(ev.Data) != strconv.Itoa(n) {
			t.Fatalf("the stream gave %s, want %d", ev.Data, n)
		}
	}
	fill(t, publisher, ch, 21, 21)
	if ev := nextEvent(t, s); string(ev.Data) != "21" {
		t.Fatalf("the stream gave %s, want 21", ev.Data)
	}
}

// TestCaps publishes far more than each scope keeps.
func TestCaps(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.User.MaxEntries, cfg.Global.MaxEntries, cfg.Service.MaxEntries = 300, 1000, 500
	rdb := redistest.Shared(t).Client()
	publisher := newPublisher(t, rdb, cfg)
	for _, test := range []struct {
		channel string
		keep    int64
	}{{"user:1", 300}, {"global", 1000}, {"service:matching", 500}} {
		t.Run(test.channel, func(t *testing.T) {
			t.Parallel()
			ch := channel(t, test.channel)
			const writers = 20
			all := 10_000
			if test.keep != 1000 {
				all = 2000
			}
			errs := make(chan error, writers)
			for range writers {
				go func() {
					for range all / writers {
						if _, err := publisher.Publish(t.Context(), events.Message{Channel: ch, Type: "n"}); err != nil {
							errs <- err
							return
						}
					}
					errs <- nil
				}()
			}
			for range writers {
				if err := <-errs; err != nil {
					t.Fatal(err)
				}
			}
			if n := rdb.XLen(t.Context(), logKey(cfg, ch)).Val(); n < test.keep || n > test.keep+200 {
				t.Errorf("the log holds %d, want %d to %d", n, test.keep, test.keep+200)
			}
		})
	}
}

// TestAges lets events grow older than they are kept.
func TestAges(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.User.MaxAge = time.Second
	rdb := redistest.Shared(t).Client()
	publisher, ch := newPublisher(t, rdb, cfg), channel(t, "user:1")
	key := logKey(cfg, ch)
	fill(t, publisher, ch, 1, 20)
	first := rdb.XRangeN(t.Context(), key, "-", "+", 1).Val()[0].ID
	redistest.Eventually(t, soon, "the first events go with later ones", func() bool {
		publish(t, publisher, events.Message{Channel: ch, Type: "n"})
		oldest := rdb.XRangeN(t.Context(), key, "-", "+", 1).Val()
		return len(oldest) == 1 && oldest[0].ID != first
	})
	if ttl := rdb.PTTL(t.Context(), key).Val(); ttl <= 0 || ttl > 2*time.Second {
		t.Errorf("the log expires in %v", ttl)
	}
	redistest.Eventually(t, soon, "an idle log goes", func() bool { return rdb.Exists(t.Context(), key).Val() == 0 })

	publish(t, publisher, events.Message{Channel: events.Global(), Type: "n"})
	const week, hour = 7 * 24 * time.Hour, time.Hour
	if ttl := rdb.PTTL(t.Context(), logKey(cfg, events.Global())).Val(); ttl < week-hour || ttl > week+hour {
		t.Errorf("by default the log expires in %v", ttl)
	}
}

// TestBusyLog publishes what was published before in front of each new event. A busy log must not expire.
func TestBusyLog(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.User.MaxAge = 2 * time.Second
	rdb := redistest.Shared(t).Client()
	publisher, ch := newPublisher(t, rdb, cfg), channel(t, "user:1")
	old := events.Message{Channel: ch, Type: "n", ID: "old"}
	publish(t, publisher, old)
	tick := time.NewTicker(cfg.User.MaxAge / 8)
	defer tick.Stop()
	for range 14 {
		<-tick.C
		publish(t, publisher, old)
		receipt := publish(t, publisher, events.Message{Channel: ch, Type: "n"})
		if ttl := rdb.PTTL(t.Context(), logKey(cfg, ch)).Val(); ttl < cfg.User.MaxAge*3/4 {
			t.Fatalf("after a new event the log expires in %v", ttl)
		}
		if records := readAll(t, newLog(t, rdb, cfg), ch); records[len(records)-1].Offset != receipt.Offset {
			t.Fatal("the event is not in the log")
		}
	}
}
