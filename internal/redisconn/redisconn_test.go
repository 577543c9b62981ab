package redisconn_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func TestMain(m *testing.M) {
	logging.Disable() // Failures to connect are what some tests are about.
	os.Exit(redistest.Main(m))
}

// soon is when a client has to have failed.
const soon = 1500 * time.Millisecond

func open(tb testing.TB, url string) *redis.Client {
	tb.Helper()
	client, err := redisconn.Open(url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

func TestOpenUnderstandsURLs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		url                           string
		network, addr, user, password string
		db                            int
		tls                           string // the server name, if TLS is used
	}{
		{url: "redis://localhost", network: "tcp", addr: "localhost:6379"},
		{url: "redis://", network: "tcp", addr: "localhost:6379"},
		{url: "redis://10.0.0.1:6380/7", network: "tcp", addr: "10.0.0.1:6380", db: 7},
		{url: "redis://[::1]:6380", network: "tcp", addr: "[::1]:6380"},
		{url: "redis://host/?db=3&pool_size=5", network: "tcp", addr: "host:6379", db: 3},
		{url: "redis://:pass@host", network: "tcp", addr: "host:6379", password: "pass"},
		{url: "redis://user:p%40ss%2F%3A%23%25@host/1", network: "tcp", addr: "host:6379", user: "user", password: "p@ss/:#%", db: 1},
		{url: "rediss://host:6380/2", network: "tcp", addr: "host:6380", db: 2, tls: "host"},
		{url: "unix:///run/redis.sock", network: "unix", addr: "/run/redis.sock"},
		{url: "unix://user:pass@/run/redis.sock?db=2", network: "unix", addr: "/run/redis.sock", user: "user", password: "pass", db: 2},
	} {
		opt := open(t, test.url).Options()
		if opt.Network != test.network || opt.Addr != test.addr || opt.Username != test.user || opt.Password != test.password || opt.DB != test.db {
			t.Errorf("%s: %s %s %q %q %d", test.url, opt.Network, opt.Addr, opt.Username, opt.Password, opt.DB)
		}
		if test.tls == "" != (opt.TLSConfig == nil) || opt.TLSConfig != nil && opt.TLSConfig.ServerName != test.tls {
			t.Errorf("%s: TLS is %+v", test.url, opt.TLSConfig)
		}
	}
}

func TestOpenRefusesWithoutRepeatingThePassword(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"":                                   "must begin with redis://",
		"s3cret":                             "must begin with redis://",
		"http://:s3cret@host":                "must begin with redis://",
		"localhost:6379":                     "must begin with redis://",
		"127.0.0.1:6379":                     "must be a URL",
		"redis:host":                         "must be a URL",
		"redis://:s3cret/s3cret@host/0":      "percent-encoded",
		"redis://:s3cret%s3cret@host/0":      "percent-encoded",
		"redis://:12#s3cret@host":            "%23",
		"redis://:12/s3cret@host":            "database number",
		"redis://:12?s3cret@host":            "options that go-redis knows",
		"redis://host/s3cret":                "database number",
		"redis://host/0/s3cret":              "database number",
		"redis://host/0?s3cret=1":            "options that go-redis knows",
		"redis://host/0?read_timeout=s3cret": "options that go-redis knows",
		"unix://s3cret":                      "the path of a socket",
	} {
		client, err := redisconn.Open(url)
		if client != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", url, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: the error repeats it: %v", url, err)
		}
		if check := redisconn.CheckURL(url); check == nil || check.Error() != err.Error() {
			t.Errorf("%q: CheckURL says %v, Open %v", url, check, err)
		}
	}
	if err := redisconn.CheckURL("redis://host"); err != nil {
		t.Error(err)
	}
}

// failsSoon checks that a call fails, and in time.
func failsSoon(tb testing.TB, what string, do func() error) {
	tb.Helper()
	start := time.Now()
	err := do()
	if took := time.Since(start); err == nil || took > soon {
		tb.Errorf("%s: %v after %v", what, err, took)
	} else {
		tb.Logf("%s failed after %v: %v", what, took, err)
		if strings.Contains(err.Error(), "s3cret") {
			tb.Errorf("%s: the error tells the password", what)
		}
	}
}

func TestClosedPortFailsFast(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Stop()
	client := open(t, "redis://user:s3cret@"+server.Addr())
	for range 3 {
		failsSoon(t, "PING", func() error { return client.Ping(t.Context()).Err() })
	}
	ps := client.Subscribe(t.Context())
	t.Cleanup(func() { _ = ps.Close() })
	failsSoon(t, "SUBSCRIBE", func() error { return ps.Subscribe(t.Context(), "channel") })

	server.Restart()
	if err := open(t, server.URL()).Ping(t.Context()).Err(); err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

func TestServerThatNeverAnswersFailsFast(t *testing.T) {
	t.Parallel()
	client := open(t, "redis://:s3cret@"+blackHole(t))
	failsSoon(t, "PING", func() error { return client.Ping(t.Context()).Err() })
	failsSoon(t, "the next PING", func() error { return client.Ping(t.Context()).Err() })
	failsSoon(t, "a pipeline", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Get(ctx, "a")
			pipe.Get(ctx, "b")
			return nil
		})
		return err
	})
	failsSoon(t, "a deadline", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err := client.Ping(ctx).Err()
		if !errors.Is(err, context.DeadlineExceeded) && !os.IsTimeout(err) {
			t.Errorf("a deadline gives %v", err)
		}
		return err
	})
}

// blackHole returns the address of a listener that accepts connections and says nothing.
func blackHole(tb testing.TB) string {
	tb.Helper()
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			readers.Go(func() {
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			})
		}
	})
	tb.Cleanup(func() {
		_ = listener.Close()
		readers.Wait()
	})
	return listener.Addr().String()
}

func TestPausedServerFailsFastAndRecovers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := open(t, server.URL())
	if err := client.Incr(t.Context(), "n").Err(); err != nil {
		t.Fatal(err)
	}
	server.Pause()
	failsSoon(t, "INCR", func() error { return client.Incr(t.Context(), "n").Err() })
	server.Resume()
	redistest.Eventually(t, 10*time.Second, "the client recovers", func() bool { return client.Ping(t.Context()).Err() == nil })
	// The paused server carried it out when it went on, once.
	if n, err := client.Get(t.Context(), "n").Int(); err != nil || n != 2 {
		t.Errorf("n is %d, %v, want 2: the command was sent again", n, err)
	}
}

func TestWrongPasswordIsNotRepeated(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--requirepass", "right")
	failsSoon(t, "a wrong password", func() error { return open(t, "redis://:s3cret@"+server.Addr()).Ping(t.Context()).Err() })
	if err := open(t, server.URL()).Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

func TestClientSendsNothingOfItsOwn(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := open(t, server.URL())
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"client|setinfo", "client|setname", "client|tracking", "client|maint_notifications"} {
		if stats := client.Info(t.Context(), "commandstats").Val(); strings.Contains(stats, "cmdstat_"+command+":") {
			t.Errorf("the client sent %s:\n%s", command, stats)
		}
	}
}

func TestEmbedded(t *testing.T) {
	t.Parallel()
	server, err := redisconn.StartEmbedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client := open(t, server.URL())
	if err := client.Set(t.Context(), "key", "value", 20*time.Millisecond).Err(); err != nil {
		t.Error(err)
	}
	redistest.Eventually(t, 10*time.Second, "the key expires", func() bool {
		return errors.Is(client.Get(t.Context(), "key").Err(), redis.Nil)
	})
	addr := strings.TrimSuffix(strings.TrimPrefix(server.URL(), "redis://"), "/0")
	if second, err := redisconn.StartEmbedded(addr); err == nil {
		second.Close()
		t.Error("two servers listen on one address")
	} else if !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("a taken port gives %v", err)
	}

	blocked := make(chan error, 1)
	go func() { blocked <- client.BLPop(t.Context(), time.Minute, "list").Err() }()
	subscription := client.Subscribe(t.Context(), "channel")
	if _, err := subscription.Receive(t.Context()); err != nil {
		t.Error(err)
	}
	server.Close()
	if err := <-blocked; err == nil {
		t.Error("a blocked command was answered by a closed server")
	}
	_ = subscription.Close()
	failsSoon(t, "after Close", func() error { return client.Ping(t.Context()).Err() })

	again, err := redisconn.StartEmbedded(addr)
	if err != nil {
		t.Fatalf("the port is not free after Close: %v", err)
	}
	t.Cleanup(again.Close)
	if n := open(t, again.URL()).DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("a new server holds %d keys", n)
	}
}

func TestEmbeddedRefusesABadAddress(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"nonsense", "127.0.0.1:x", "127.0.0.1:99999"} {
		server, err := redisconn.StartEmbedded(addr)
		if err == nil {
			server.Close()
			t.Errorf("%s is taken for an address", addr)
		}
	}
}
