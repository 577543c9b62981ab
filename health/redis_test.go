package health_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/health"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// soon bounds what should come about at once, on a machine that is busy with other tests.
const soon = 20 * time.Second

// open returns a client such as the hub's.
func open(tb testing.TB, url string) *redis.Client {
	tb.Helper()
	rdb, err := redisconn.Open(url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// must ends the test on an error.
func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// want runs a probe until it says what it should: nothing if that is "".
func want(tb testing.TB, probe health.Probe, status health.Status, text string) {
	tb.Helper()
	checker := health.New(health.Config{FreshFor: -1})
	checker.Add("redis", "datastore", probe)
	var got health.Result
	for deadline := time.Now().Add(soon); ; {
		got = checker.Report(tb.Context()).Results[0]
		if got.Took > 3*time.Second { // A second, on a machine with nothing else to do.
			tb.Errorf("it took %v", got.Took)
		}
		if got.Status == status && strings.Contains(got.Output, text) && (text == "") == (got.Output == "") {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%+v, want %s %q", got, status, text)
		}
	}
}

// TestRedis takes Redis away in each way there is. All the while it may answer PING.
func TestRedis(t *testing.T) {
	t.Parallel()
	set := func(name, value string) func(testing.TB, *redistest.Server) {
		return func(tb testing.TB, s *redistest.Server) {
			tb.Helper()
			must(tb, s.Client().ConfigSet(tb.Context(), name, value).Err())
		}
	}
	for name, test := range map[string]struct {
		begin, end func(testing.TB, *redistest.Server)
		says       string
	}{
		"stopped": {
			func(_ testing.TB, s *redistest.Server) { s.Stop() }, func(_ testing.TB, s *redistest.Server) { s.Restart() },
			"Redis does not answer: the connection is refused.",
		},
		"paused": {
			func(_ testing.TB, s *redistest.Server) { s.Pause() }, func(_ testing.TB, s *redistest.Server) { s.Resume() },
			" answer ",
		},
		"out of memory": {set("maxmemory", "1"), set("maxmemory", "0"), "Redis is out of memory"},
		"a replica":     {set("min-replicas-to-write", "1"), set("min-replicas-to-write", "0"), "fewer replicas"},
		"read-only": {
			func(tb testing.TB, s *redistest.Server) {
				tb.Helper()
				must(tb, s.Client().Do(tb.Context(), "replicaof", "127.0.0.1", "1").Err())
			},
			func(tb testing.TB, s *redistest.Server) {
				tb.Helper()
				must(tb, s.Client().Do(tb.Context(), "replicaof", "no", "one").Err())
			},
			"Redis is read-only",
		},
		"without a right": {
			func(tb testing.TB, s *redistest.Server) {
				tb.Helper()
				must(tb, s.Client().Do(tb.Context(), "acl", "setuser", "default", "-set").Err())
			},
			func(tb testing.TB, s *redistest.Server) {
				tb.Helper()
				must(tb, s.Client().Do(tb.Context(), "acl", "setuser", "default", "+set").Err())
			},
			"the hub's user may not",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			rdb := open(t, server.URL())
			probe := health.Redis(rdb, "prefix:health")
			want(t, probe, health.Pass, "")
			test.begin(t, server)
			want(t, probe, health.Fail, test.says)
			test.end(t, server)
			want(t, probe, health.Pass, "")
			if n := server.Client().DBSize(t.Context()).Val(); n != 0 {
				t.Errorf("%d keys are left behind", n)
			}
		})
	}
}

// TestRedisWithoutRoom has Redis refuse connections.
func TestRedisWithoutRoom(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := server.Client()
	must(t, admin.ConfigSet(t.Context(), "maxclients", "1").Err())
	rdb := open(t, server.URL())
	want(t, health.Redis(rdb, "prefix:health"), health.Fail, "(maxclients)")
	must(t, admin.ConfigSet(t.Context(), "maxclients", "100").Err())
	want(t, health.Redis(rdb, "prefix:health"), health.Pass, "")
}

// TestRedisOfAnotherPassword also checks that nothing of the password is told.
func TestRedisOfAnotherPassword(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--requirepass", "right")
	want(t, health.Redis(open(t, "redis://"+server.Addr()), "health"), health.Fail, "Redis wants a password.")
	want(t, health.Redis(open(t, "redis://:s3cret@"+server.Addr()), "health"), health.Fail, "Redis refuses the user or the password.")
}

// TestRedisEmbedded asks the embedded Redis.
func TestRedisEmbedded(t *testing.T) {
	t.Parallel()
	server, err := redisconn.StartEmbedded("127.0.0.1:0")
	must(t, err)
	probe := health.Redis(open(t, server.URL()), "health")
	want(t, probe, health.Pass, "")
	server.Close()
	want(t, probe, health.Fail, "Redis does not answer")
}

// TestPersistence changes how Redis keeps what it holds.
func TestPersistence(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb, probe := server.Client(), health.Persistence(open(t, server.URL()))
	want(t, probe, health.Warn, "Redis keeps nothing over a restart")
	set := func(name, value string) {
		t.Helper()
		must(t, rdb.ConfigSet(t.Context(), name, value).Err())
	}
	set("save", "3600 1")
	want(t, probe, health.Pass, "")
	set("save", "")
	set("appendonly", "yes")
	want(t, probe, health.Pass, "")

	set("maxmemory-policy", "volatile-lru") // Without maxmemory nothing is dropped.
	want(t, probe, health.Pass, "")
	set("maxmemory", strconv.Itoa(1<<30))
	want(t, probe, health.Warn, "Redis drops keys when its memory is full (maxmemory-policy volatile-lru), events among them: set noeviction.")
	set("maxmemory-policy", "noeviction")
	want(t, probe, health.Pass, "")
	used, err := strconv.Atoi(rdb.InfoMap(t.Context(), "memory").Val()["Memory"]["used_memory"])
	must(t, err)
	set("maxmemory", strconv.Itoa(used))
	want(t, probe, health.Warn, "% of its memory (maxmemory)")
	server.Kill()
	want(t, probe, health.Warn, "nobody knows")
}

// TestPersistenceThatFails makes the folder of Redis one that it cannot write to.
func TestPersistenceThatFails(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--save", "3600 1000000", "--enable-protected-configs", "yes")
	rdb, probe := server.Client(), health.Persistence(open(t, server.URL()))
	want(t, probe, health.Pass, "")
	must(t, rdb.ConfigSet(t.Context(), "dir", "/proc").Err())
	must(t, rdb.BgSave(t.Context()).Err())
	want(t, probe, health.Warn, "Redis could not save a snapshot the last time.")
}

// TestPersistenceUntold asks as a user who may not know.
func TestPersistenceUntold(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	must(t, server.Client().Do(t.Context(), "acl", "setuser", "hub", "on", ">pass", "~*", "+@all", "-@admin", "-@dangerous").Err())
	want(t, health.Persistence(open(t, strings.Replace(server.URL(), "redis://", "redis://hub:pass@", 1))), health.Pass, "")
	// One who may not know of snapshots is not told that there are none.
	must(t, server.Client().Do(t.Context(), "acl", "setuser", "hub", "+info").Err())
	want(t, health.Persistence(open(t, strings.Replace(server.URL(), "redis://", "redis://hub:pass@", 1))), health.Pass, "")
}

// TestDisk looks at a disk that has room for nothing that is asked of it, and for everything.
func TestDisk(t *testing.T) {
	t.Parallel()
	here := health.Folder{Name: "the working folder", Path: "."}
	for _, test := range []struct {
		least  uint64
		folder health.Folder
		status health.Status
		text   string
	}{
		{0, here, health.Pass, ""},
		{1 << 62, here, health.Warn, "The disk of the working folder has little room left: "},
		{0, health.Folder{Name: "the log", Path: "no-such-folder/s3cret"}, health.Warn, "The disk of the log cannot be looked at."},
	} {
		want(t, health.Disk(test.least, test.folder), test.status, test.text)
	}
	if err := health.Disk(0, here, here)(t.Context()); err != nil {
		t.Error(err)
	}
}
