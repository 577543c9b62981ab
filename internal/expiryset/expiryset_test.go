package expiryset_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/expiryset"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

// servers runs a test with each kind of server.
func servers(t *testing.T, test func(*testing.T, *redis.Client)) {
	t.Helper()
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		test(t, redistest.Shared(t).Client())
	})
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
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
		test(t, rdb)
	})
}

// fill adds members with one score.
func fill(tb testing.TB, rdb redis.Cmdable, key string, at time.Time, names ...string) {
	tb.Helper()
	for some := range slices.Chunk(names, 1000) {
		members := make([]redis.Z, len(some))
		for i, name := range some {
			members[i] = redis.Z{Score: float64(at.UnixMilli()), Member: name}
		}
		if err := rdb.ZAdd(context.Background(), key, members...).Err(); err != nil {
			tb.Error(err)
		}
	}
}

// numbered returns n names, in the order of their bytes.
func numbered(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s%06d", prefix, i)
	}
	return names
}

// all pages through a set.
func all(tb testing.TB, rdb redis.Cmdable, key string, limit int) []string {
	tb.Helper()
	var names []string
	for cursor := ""; ; {
		members, next, err := expiryset.Page(context.Background(), rdb, key, cursor, limit)
		if err != nil || len(members) > limit || len(members) < limit && next != "" {
			tb.Fatal(len(members), next, err)
		}
		for _, m := range members {
			if m.ExpiresIn <= 0 || m.ExpiresIn%time.Millisecond != 0 {
				tb.Errorf("%+v", m)
			}
			names = append(names, m.Name)
		}
		if cursor = next; cursor == "" {
			return names
		}
	}
}

func TestPagesAreInOrder(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, rdb *redis.Client) {
		t.Helper()
		key := redistest.Prefix(t)
		if names := all(t, rdb, key, 3); len(names) != 0 {
			t.Error(names)
		}
		now := time.Now()
		// Names of any bytes: a page may end at each.
		odd := []string{"", "\x00", " ", " x", "-1 x", "A", "a", "a\x00", "a ", "aa", "b", "Б", "\xff", "\xff\xff"}
		slices.Sort(odd)
		fill(t, rdb, key, now.Add(2*time.Minute), odd...)
		fill(t, rdb, key, now.Add(time.Minute), "soon")
		fill(t, rdb, key, now.Add(3*time.Minute), "later")
		fill(t, rdb, key, now.Add(-time.Minute), "gone")
		fill(t, rdb, key, now, "just gone")
		want := slices.Concat([]string{"soon"}, odd, []string{"later"})
		for limit := 1; limit <= len(want)+1; limit++ {
			if names := all(t, rdb, key, limit); !slices.Equal(names, want) {
				t.Errorf("by %d: %q", limit, names)
			}
		}
		members, _, err := expiryset.Page(t.Context(), rdb, key, "", 1)
		if err != nil || members[0].ExpiresIn > time.Minute || members[0].ExpiresIn < 30*time.Second {
			t.Error(members, err)
		}
		for limit, want := range map[int]int{-1: 1, 0: 1, math.MaxInt: len(want)} {
			if members, _, err := expiryset.Page(t.Context(), rdb, key, "", limit); err != nil || len(members) != want {
				t.Errorf("by %d: %v, %v", limit, members, err)
			}
		}
	})
}

// Each place is found also when the member that was last on a page has gone, and whatever the bytes of its name.
func TestPagesGoOnWhereAMemberWas(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, rdb *redis.Client) {
		t.Helper()
		key, at := redistest.Prefix(t), time.Now().Add(time.Hour)
		names := []string{"A", "B", "_", "a", "a\x00", "a\x01", "aa", "b", "z", "\x7f", "\x80", "é", "Б", "\xff"}
		slices.Sort(names)
		fill(t, rdb, key, at.Add(-time.Minute), "before")
		fill(t, rdb, key, at.Add(time.Minute), "behind")
		score := strconv.FormatInt(at.UnixMilli(), 10)
		for i, name := range names {
			for where, others := range map[string][]string{
				"all":      names,
				"gone":     slices.Delete(slices.Clone(names), i, i+1),
				"half":     names[i/2 : i],
				"next":     names[i:min(i+2, len(names))],
				"only one": names[i : i+1],
				"none":     nil,
			} {
				if err := rdb.ZRemRangeByScore(t.Context(), key, score, score).Err(); err != nil {
					t.Fatal(err)
				}
				fill(t, rdb, key, at, others...)
				want := []string{"behind"}
				for _, other := range slices.Backward(others) {
					if other > name {
						want = slices.Insert(want, 0, other)
					}
				}
				members, next, err := expiryset.Page(t.Context(), rdb, key, score+" "+name, 100)
				var got []string
				for _, m := range members {
					got = append(got, m.Name)
				}
				if err != nil || next != "" || !slices.Equal(got, want) {
					t.Errorf("after %q, %s: %q, want %q: %v", name, where, got, want, err)
				}
			}
		}
	})
}

// All keys of a batch may expire in one millisecond. What comes and goes at the same time leaves out no other.
func TestNothingIsLeftOutOfOneMillisecond(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, rdb *redis.Client) {
		t.Helper()
		key, at := redistest.Prefix(t), time.Now().Add(time.Hour)
		n, limit := 20_000, 700
		if strings.Contains(t.Name(), "embedded") {
			n, limit = 2000, 100 // It sorts a set each time that it is asked.
		}
		fixed := numbered("fixed", n)
		fill(t, rdb, key, at, fixed...)
		if names := all(t, rdb, key, limit); !slices.Equal(names, fixed) {
			t.Errorf("%d names", len(names))
		}

		// Others are among them, and one is where a page ends, more likely than not.
		var comers []string
		for i := range n / 10 {
			comers = append(comers, fixed[10*i]+"x")
		}
		stop := make(chan struct{})
		var writers sync.WaitGroup
		for shift := range 2 {
			writers.Go(func() {
				for i := shift; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					some := make([]any, 0, 100)
					for k := range 100 {
						some = append(some, comers[(i*100+k*7)%len(comers)])
					}
					if i%3 == 0 {
						if err := rdb.ZRem(context.Background(), key, some...).Err(); err != nil {
							t.Error(err)
						}
						continue
					}
					for _, name := range some {
						fill(t, rdb, key, at.Add(time.Duration(i%3-1)*time.Millisecond), name.(string))
					}
				}
			})
		}
		for range 3 {
			names := all(t, rdb, key, limit)
			names = slices.DeleteFunc(names, func(name string) bool { return strings.HasSuffix(name, "x") })
			if !slices.Equal(names, fixed) {
				t.Errorf("%d names", len(names))
			}
		}
		close(stop)
		writers.Wait()
	})
}

// hostile are cursors that Page did not return.
var hostile = []string{ //nolint:gochecknoglobals // Go has no constant slices.
	"x", "1", " ", "1.5 a", "1e3 a", "+inf a", "(1 a", "nan a", "0x10 a", "99999999999999999999 a", "\x00 a", "1\n a", " 1 a",
}

func TestWhatIsNoCursor(t *testing.T) {
	t.Parallel()
	rdb, key := redistest.Shared(t).Client(), redistest.Prefix(t)
	fill(t, rdb, key, time.Now().Add(time.Hour), "a", "b")
	for _, cursor := range hostile {
		if _, _, err := expiryset.Page(t.Context(), rdb, key, cursor, 1); !errors.Is(err, expiryset.ErrCursor) {
			t.Errorf("%q: %v", cursor, err)
		}
	}
	for cursor, want := range map[string]int{"-1 z": 2, "0 z": 2, "-9223372036854775808 ": 2, "9223372036854775807 ": 0} {
		if members, _, err := expiryset.Page(t.Context(), rdb, key, cursor, 9); err != nil || len(members) != want {
			t.Errorf("%q: %v, %v", cursor, members, err)
		}
	}
}

func TestErrorsAreThoseOfRedis(t *testing.T) {
	t.Parallel()
	rdb, key := redistest.Shared(t).Client(), redistest.Prefix(t)
	if err := rdb.Set(t.Context(), key, "no set", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := expiryset.Page(t.Context(), rdb, key, "", 1); err == nil || errors.Is(err, expiryset.ErrCursor) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := expiryset.Page(ctx, rdb, key, "", 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A page is one round trip, and no larger than it has to be.
func TestAPageIsOneSmallReply(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb, at := server.Client(), time.Now().Add(time.Hour)
	fill(t, rdb, "set", at, numbered("", 20_000)...)
	cursor := strconv.FormatInt(at.UnixMilli(), 10) + " 010000x"
	page := func() {
		if members, _, err := expiryset.Page(t.Context(), rdb, "set", cursor, 10); err != nil || members[0].Name != "010001" {
			t.Fatal(members, err)
		}
	}
	page() // It loads the script.
	before := info(t, rdb)
	page()
	after := info(t, rdb)
	// What asks for the numbers is counted too.
	if calls := after["total_reads_processed"] - before["total_reads_processed"]; calls != 2 {
		t.Errorf("%d requests", calls-1)
	}
	if calls := after["total_commands_processed"] - before["total_commands_processed"]; calls > 25 {
		t.Errorf("%d commands", calls)
	}
}

// info returns the numbers of INFO stats.
func info(tb testing.TB, rdb *redis.Client) map[string]int64 {
	tb.Helper()
	text, err := rdb.Info(context.Background(), "stats").Result()
	if err != nil {
		tb.Fatal(err)
	}
	numbers := map[string]int64{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			numbers[name] = n
		}
	}
	return numbers
}

// A page after any cursor, or none, is in order and after its place, and the next page after it.
func FuzzPage(f *testing.F) {
	rdb, key := redistest.Shared(f).Client(), redistest.Prefix(f)
	at := time.Now().Add(time.Hour)
	fill(f, rdb, key, at, "", "a", "ab", "b\x00", "b ", "\xff")
	fill(f, rdb, key, at.Add(time.Millisecond), "c", " d")
	score := strconv.FormatInt(at.UnixMilli(), 10)
	for _, cursor := range append(hostile, "", score+" ", score+" a", score+" aa", score+" \xff", "-1 a", "9223372036854775807 a") {
		f.Add(cursor, 2)
	}
	f.Fuzz(func(t *testing.T, cursor string, limit int) {
		members, next, err := expiryset.Page(t.Context(), rdb, key, cursor, limit)
		if errors.Is(err, expiryset.ErrCursor) {
			return
		}
		if err != nil || len(members) > max(limit, 1) {
			t.Fatal(members, err)
		}
		text, name, _ := strings.Cut(cursor, " ")
		if n, _ := strconv.ParseInt(text, 10, 64); n == at.UnixMilli() {
			for _, m := range members {
				if m.Name <= name && m.Name != "c" && m.Name != " d" {
					t.Errorf("%q comes after %q", m.Name, cursor)
				}
			}
		}
		if next == "" {
			return
		}
		rest, _, err := expiryset.Page(t.Context(), rdb, key, next, 100)
		if err != nil || len(rest) == 0 {
			t.Fatal(rest, err)
		}
		for _, m := range rest {
			if slices.ContainsFunc(members, func(earlier expiryset.Member) bool { return earlier.Name == m.Name }) {
				t.Errorf("%q comes twice", m.Name)
			}
		}
	})
}
