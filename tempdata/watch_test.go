package tempdata

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// told is what a watcher told of.
type told struct {
	mu    sync.Mutex
	keys  map[string]int
	most  int   // the largest page
	fails error // what changed returns
	// gate is closed by the test to let changed go on; began says that it waits for that.
	gate, began chan struct{}
}

func (s *told) changed(ctx context.Context, keys []string) error {
	s.mu.Lock()
	gate := s.gate
	s.mu.Unlock()
	if gate != nil {
		select {
		case s.began <- struct{}{}:
		default:
		}
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return s.fails
	}
	s.most = max(s.most, len(keys))
	for _, key := range keys {
		s.keys[key]++
	}
	return nil
}

// take returns what was told of since it was called last.
func (s *told) take() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := s.keys
	s.keys = map[string]int{}
	return keys
}

func (s *told) has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[key] > 0
}

func (s *told) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = err
}

// hold makes changed wait until release is called, perhaps twice.
func (s *told) hold() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gate := make(chan struct{})
	s.gate, s.began = gate, make(chan struct{}, 1)
	return sync.OnceFunc(func() {
		s.mu.Lock()
		s.gate = nil
		s.mu.Unlock()
		close(gate)
	})
}

// prefixesOf are those under which the bot keeps what the hub lists.
func prefixesOf(prefix string) []string {
	return []string{prefix + ":temp:", prefix + ":emp:", prefix + ":int:", prefix + ":act:", prefix + ":sess:"}
}

// newTold makes a watcher that is not started, and closes it with the test.
func newTold(tb testing.TB, url, prefix string) (*watcher, *told) {
	tb.Helper()
	rdb, err := redisconn.Open(url)
	if err != nil {
		tb.Fatal(err)
	}
	s := &told{keys: map[string]int{}}
	w := newWatcher(rdb, url, prefixesOf(prefix), watcherConfig{changed: s.changed})
	tb.Cleanup(func() {
		w.close()
		_ = rdb.Close()
	})
	return w, s
}

func startTold(tb testing.TB, url, prefix string) (*watcher, *told) {
	tb.Helper()
	w, s := newTold(tb, url, prefix)
	w.start(tb.Context())
	return w, s
}

// mustSync waits until sync succeeds: on a busy machine Redis may not answer in time.
func mustSync(tb testing.TB, w *watcher) {
	tb.Helper()
	redistest.Eventually(tb, 30*time.Second, "sync succeeds", func() bool {
		err := w.sync(tb.Context())
		if err != nil && !errors.Is(err, ErrUnavailable) {
			tb.Fatal(err)
		}
		return err == nil
	})
}

// mustDo runs a command.
func mustDo(tb testing.TB, rdb redis.Cmdable, args ...any) {
	tb.Helper()
	pipe := rdb.Pipeline()
	pipe.Do(context.Background(), args...)
	if _, err := pipe.Exec(context.Background()); err != nil {
		tb.Error(args[0], err)
	}
}

// fill writes keys.
func fill(tb testing.TB, rdb redis.Cmdable, prefix string, n int) {
	tb.Helper()
	names := make([]any, n)
	for i := range names {
		names[i] = prefix + strconv.Itoa(i+1)
	}
	for some := range slices.Chunk(names, 1000) {
		args := []any{"mset"}
		for _, name := range some {
			args = append(args, name, "")
		}
		mustDo(tb, rdb, args...)
	}
}

// wantAll checks that all keys that fill wrote have been told of.
func wantAll(tb testing.TB, s *told, prefix string, n int) {
	tb.Helper()
	keys := s.take()
	for i := range n {
		if keys[prefix+strconv.Itoa(i+1)] == 0 {
			tb.Fatalf("%s%d of %d is missing, %d were told of", prefix, i+1, n, len(keys))
		}
	}
}

func TestAWatcherTellsOfWhatTheBotDoes(t *testing.T) {
	t.Parallel()
	server, prefix := redistest.Shared(t), redistest.Prefix(t)
	rdb := server.Client()
	a, toldA := startTold(t, server.URL(), prefix)
	b, toldB := startTold(t, server.URL(), prefix)
	both := func(keys ...string) {
		t.Helper()
		want := map[string]bool{}
		for _, key := range keys {
			want[key] = true
		}
		for _, each := range []struct {
			*watcher
			*told
		}{{a, toldA}, {b, toldB}} {
			mustSync(t, each.watcher)
			got := map[string]bool{}
			for key := range each.take() {
				got[key] = true
			}
			if !maps.Equal(got, want) {
				t.Errorf("told of %v, want %v", got, want)
			}
		}
	}
	both()
	for _, p := range prefixesOf(prefix) {
		mustDo(t, rdb, "set", p+"written", "")
		both(p + "written")
		mustDo(t, rdb, "mset", p+"written", "again", p, "", prefix+":menu:1", "", "x"+p, "")
		both(p+"written", p)
		mustDo(t, rdb, "pexpire", p+"written", 100000)
		both(p + "written")
		mustDo(t, rdb, "unlink", p+"written", p+"never there")
		both(p + "written")
		mustDo(t, rdb, "set", p+"short", "", "px", 1)
		redistest.Eventually(t, 10*time.Second, "it expires", func() bool { return rdb.Exists(t.Context(), p+"short").Val() == 0 })
		both(p + "short")
		mustDo(t, rdb, "del", p)
		both(p)
	}
}

func TestAWatcherTellsWithoutSync(t *testing.T) {
	t.Parallel()
	server, prefix := redistest.Shared(t), redistest.Prefix(t)
	w, s := startTold(t, server.URL(), prefix)
	mustSync(t, w)
	mustDo(t, server.Client(), "set", prefix+":emp:1", "")
	redistest.Eventually(t, 5*time.Second, "it is told of", func() bool { return s.has(prefix + ":emp:1") })
}

func TestAWatcherTellsOfWhatWasThereBefore(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	rdb := server.Client()
	// The characters mean something to SCAN.
	prefix := redistest.Prefix(t) + `[a-z]*?\`
	fill(t, rdb, prefix+":temp:", 3000)
	fill(t, rdb, prefix+":sess:", 10)
	fill(t, rdb, prefix+":menu:", 10)
	w, s := startTold(t, server.URL(), prefix)
	mustSync(t, w)
	keys := s.take()
	if len(keys) != 3010 || keys[prefix+":temp:3000"] == 0 || keys[prefix+":sess:10"] == 0 {
		t.Errorf("told of %d keys", len(keys))
	}
}

// What was there before is told of in full before sync returns, however long that takes.
func TestSyncWaitsForTheWalk(t *testing.T) {
	t.Parallel()
	server, prefix := redistest.Shared(t), redistest.Prefix(t)
	fill(t, server.Client(), prefix+":int:", 2000)
	w, s := newTold(t, server.URL(), prefix)
	release := s.hold()
	defer release()
	w.start(t.Context())
	<-s.began
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := w.sync(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
	release()
	mustSync(t, w)
	wantAll(t, s, prefix+":int:", 2000)
	if s.most > watchPage {
		t.Errorf("a page of %d", s.most)
	}
}

func TestManySyncsAreOne(t *testing.T) {
	t.Parallel()
	server, prefix := redistest.Shared(t), redistest.Prefix(t)
	rdb := server.Client()
	w, s := startTold(t, server.URL(), prefix)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			for k := range 20 {
				key := fmt.Sprintf("%s:act:%d:%d", prefix, i, k)
				mustDo(t, rdb, "set", key, "")
				if err := w.sync(t.Context()); err != nil || !s.has(key) {
					t.Errorf("%s: %v", key, err)
				}
			}
		})
	}
	all.Wait()
}

// noticed is when a watcher has to know that Redis is away: a second, and what a busy machine needs.
const noticed = 1500 * time.Millisecond

func TestAnOutageOfAWatcher(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fail, recover func(*redistest.Server)
	}{
		"killed":  {(*redistest.Server).Kill, (*redistest.Server).Restart},
		"stopped": {(*redistest.Server).Stop, (*redistest.Server).Restart},
		"paused":  {(*redistest.Server).Pause, (*redistest.Server).Resume},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			rdb := server.Client()
			w, s := startTold(t, server.URL(), "x")
			mustSync(t, w)
			for round := range 3 {
				test.fail(server)
				began := time.Now()
				if err := w.sync(t.Context()); !errors.Is(err, ErrUnavailable) || time.Since(began) > noticed {
					t.Errorf("%v after %v", err, time.Since(began))
				}
				began = time.Now()
				if err := w.sync(t.Context()); !errors.Is(err, ErrUnavailable) || time.Since(began) > 50*time.Millisecond {
					t.Errorf("%v after %v, as it is known", err, time.Since(began))
				}
				test.recover(server)
				prefix := fmt.Sprintf("x:temp:%d:", round)
				fill(t, rdb, prefix, 2000) // Probably before the watcher is back.
				mustSync(t, w)
				wantAll(t, s, prefix, 2000)
				mustDo(t, rdb, "del", prefix+"1")
				mustSync(t, w)
				if keys := s.take(); len(keys) != 1 || keys[prefix+"1"] == 0 {
					t.Errorf("told of %d keys", len(keys))
				}
			}
		})
	}
}

// What nobody asks for is noticed as well, and soon.
func TestAWatcherNoticesSilence(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w, _ := startTold(t, server.URL(), "x")
	mustSync(t, w)
	server.Pause()
	began := time.Now()
	redistest.Eventually(t, 5*time.Second, "it is noticed", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.down != nil
	})
	if took := time.Since(began); took > noticed {
		t.Errorf("it took %v", took)
	}
	server.Resume()
}

func TestAWatcherStartsWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Kill()
	w, s := startTold(t, server.URL(), "x")
	if err := w.sync(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
	server.Restart()
	fill(t, server.Client(), "x:temp:", 10)
	mustSync(t, w)
	wantAll(t, s, "x:temp:", 10)
}

// breakTracking breaks the connections on which Redis says what is changed, and returns how many there were.
func breakTracking(tb testing.TB, rdb *redis.Client) int {
	tb.Helper()
	list, err := rdb.ClientList(context.Background()).Result()
	if err != nil {
		tb.Error(err)
	}
	n := 0
	for line := range strings.Lines(list) {
		fields := map[string]string{}
		for field := range strings.FieldsSeq(line) {
			name, value, _ := strings.Cut(field, "=")
			fields[name] = value
		}
		if strings.Contains(fields["flags"], "B") {
			n += int(rdb.ClientKillByFilter(context.Background(), "id", fields["id"]).Val())
		}
	}
	return n
}

// A connection that breaks loses what Redis would have said; sync does not return until that is known.
func TestNothingIsMissedWhenTheConnectionBreaks(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	fill(t, rdb, "x:int:", 3000) // So that a walk takes some steps, in which the connection may break too.
	w, s := startTold(t, server.URL(), "x")
	mustSync(t, w)
	var broken atomic.Int64
	stop := make(chan struct{})
	var breaker sync.WaitGroup
	breaker.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				broken.Add(int64(breakTracking(t, rdb)))
			}
		}
	})
	synced := 0
	for i := 0; broken.Load() < 15; i++ {
		key := "x:temp:" + strconv.Itoa(i)
		mustDo(t, rdb, "set", key, "")
		if err := w.sync(t.Context()); err == nil {
			synced++
			if !s.has(key) {
				t.Errorf("%s is missing", key)
			}
		} else if !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
	}
	close(stop)
	breaker.Wait()
	t.Logf("%d syncs, %d breaks", synced, broken.Load())
	mustSync(t, w)
	s.take()
	mustDo(t, rdb, "set", "x:temp:last", "")
	mustSync(t, w)
	if !s.has("x:temp:last") {
		t.Error("the last is missing")
	}
}

// A walk that a break interrupts begins anew: its cursor is of no use, and it has not seen what was written meanwhile.
func TestAWalkBeginsAnewAfterABreak(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	fill(t, rdb, "x:sess:", 5000)
	w, s := newTold(t, server.URL(), "x")
	release := s.hold()
	defer release()
	w.start(t.Context())
	<-s.began
	if n := breakTracking(t, rdb); n != 1 {
		t.Errorf("%d connections", n)
	}
	fill(t, rdb, "x:temp:", 2000) // Nobody hears it, and the walk may have passed some already.
	release()
	mustSync(t, w)
	keys := s.take()
	if len(keys) != 7000 {
		t.Errorf("told of %d keys", len(keys))
	}
}

func scans(tb testing.TB, rdb *redis.Client) string {
	tb.Helper()
	for line := range strings.Lines(rdb.Info(tb.Context(), "commandstats").Val()) {
		if calls, found := strings.CutPrefix(line, "cmdstat_scan:"); found {
			return calls
		}
	}
	return ""
}

// After a flush nobody says which keys were there.
func TestAWatcherWalksAfterAFlush(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	w, s := startTold(t, server.URL(), "x")
	fill(t, rdb, "x:temp:", 10)
	mustSync(t, w)
	before := scans(t, rdb)
	mustSync(t, w)
	if after := scans(t, rdb); after != before {
		t.Errorf("a walk without need: %s, %s", before, after)
	}
	s.take()
	mustDo(t, rdb, "flushall")
	fill(t, rdb, "x:temp:", 20)
	mustSync(t, w)
	wantAll(t, s, "x:temp:", 20)
	if after := scans(t, rdb); after == before {
		t.Error("there was no walk")
	}
}

// More may change at once than is remembered. This is too much work to do beside other tests.
func TestAWatcherOverflows(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client()
	w, s := startTold(t, server.URL(), "x")
	mustSync(t, w)
	before := scans(t, rdb)
	release := s.hold()
	defer release()
	mustDo(t, rdb, "set", "x:temp:0", "")
	<-s.began
	const n = watchMost + watchMost/5
	fill(t, rdb, "x:temp:", n)
	release()
	mustSync(t, w)
	wantAll(t, s, "x:temp:", n)
	if s.most > watchPage {
		t.Errorf("a page of %d", s.most)
	}
	if scans(t, rdb) == before {
		t.Error("it did not overflow")
	}
}

func TestWhatCouldNotBeToldIsToldLater(t *testing.T) {
	t.Parallel()
	server, prefix := redistest.Shared(t), redistest.Prefix(t)
	rdb := server.Client()
	w, s := startTold(t, server.URL(), prefix)
	mustSync(t, w)
	failure := errors.New("the index is away")
	s.fail(failure)
	fill(t, rdb, prefix+":temp:", 2000)
	if err := w.sync(t.Context()); !errors.Is(err, ErrUnavailable) || !errors.Is(err, failure) {
		t.Error(err)
	}
	fill(t, rdb, prefix+":emp:", 10)
	s.fail(nil)
	mustSync(t, w)
	keys := s.take()
	if len(keys) != 2010 {
		t.Errorf("told of %d keys", len(keys))
	}
}

// The embedded server says nothing, and neither does another to a user who may not ask.
func TestAWatcherThatIsToldNothingWalks(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) (string, *redis.Client){
		"embedded": func(t *testing.T) (string, *redis.Client) {
			t.Helper()
			server, err := redisconn.StartEmbedded("127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(server.Close)
			rdb, err := redisconn.Open(server.URL())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = rdb.Close() })
			return server.URL(), rdb
		},
		"ACL": func(t *testing.T) (string, *redis.Client) {
			t.Helper()
			server := redistest.Start(t)
			rdb := server.Client()
			mustDo(t, rdb, "acl", "setuser", "hub", "on", ">secret", "~*", "+@all", "-client|tracking")
			return strings.Replace(server.URL(), "redis://", "redis://hub:secret@", 1), rdb
		},
		"no HELLO": func(t *testing.T) (string, *redis.Client) {
			t.Helper()
			server := redistest.Start(t, "--rename-command", "HELLO", "")
			return server.URL(), server.Client()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, rdb := open(t)
			fill(t, rdb, "x:temp:", 1500)
			fill(t, rdb, "x:menu:", 10)
			w, s := startTold(t, url, "x")
			mustSync(t, w)
			wantAll(t, s, "x:temp:", 1500)
			var all sync.WaitGroup
			for i := range 10 {
				all.Go(func() {
					for k := range 3 {
						key := fmt.Sprintf("x:sess:%d:%d", i, k)
						mustDo(t, rdb, "set", key, "")
						if err := w.sync(t.Context()); err != nil || !s.has(key) {
							t.Errorf("%s: %v", key, err)
						}
					}
				})
			}
			all.Wait()
			if keys := s.take(); keys["x:menu:1"] > 0 {
				t.Error("told of a key with another prefix")
			}
			if name != "embedded" {
				return // It takes 10 s, and is the same for all.
			}
			mustDo(t, rdb, "set", "x:int:1", "")
			redistest.Eventually(t, walkEvery+5*time.Second, "it is told of without a sync", func() bool { return s.has("x:int:1") })
		})
	}
}

// Redis may say more, or less, to a new connection.
func TestAWatcherTriesAgainWhetherItIsTold(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	mustDo(t, rdb, "acl", "setuser", "hub", "on", ">secret", "~*", "+@all", "-client|tracking")
	w, s := startTold(t, strings.Replace(server.URL(), "redis://", "redis://hub:secret@", 1), "x")
	for i, rule := range []string{"-client|tracking", "+@all", "-client|tracking", "+@all"} {
		mustDo(t, rdb, "acl", "setuser", "hub", rule)
		breakTracking(t, rdb)
		mustSync(t, w)
		for k := range 3 {
			key := fmt.Sprintf("x:temp:%d:%d", i, k)
			mustDo(t, rdb, "set", key, "")
			mustSync(t, w)
			if !s.has(key) {
				t.Errorf("%s is missing", key)
			}
		}
		if n := breakTracking(t, rdb); n != i%2 {
			t.Errorf("%s: %d connections", rule, n)
		}
	}
}

func TestCloseOfAWatcher(t *testing.T) {
	t.Parallel()
	server, prefix := redistest.Shared(t), redistest.Prefix(t)
	fill(t, server.Client(), prefix+":temp:", 10)
	w, _ := newTold(t, server.URL(), prefix)
	if err := w.sync(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("before start: %v", err)
	}
	w.close() // Never started.

	w, s := newTold(t, server.URL(), prefix)
	release := s.hold()
	defer release()
	w.start(t.Context())
	<-s.began
	failed := make(chan error, 3)
	for range cap(failed) {
		go func() { failed <- w.sync(context.Background()) }()
	}
	redistest.Eventually(t, 5*time.Second, "they are asked", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.asked) == cap(failed)
	})
	w.close() // It ends what changed is doing.
	w.close()
	for range cap(failed) {
		if err := <-failed; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
	if err := w.sync(t.Context()); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}
