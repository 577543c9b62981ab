package redistest_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// TestMain also plays the test binaries that TestInAnotherBinary runs.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Arg(0) == "without-main" {
		os.Exit(m.Run())
	}
	os.Exit(redistest.Main(m))
}

func TestStartRunsARealServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()

	info := client.InfoMap(t.Context(), "server").Val()["Server"]
	if info["redis_mode"] != "standalone" || "127.0.0.1:"+info["tcp_port"] != server.Addr() {
		t.Errorf("INFO of the server at %s: %v", server.Addr(), info)
	}
	for name, want := range map[string]string{"save": "", "appendonly": "no", "bind": "127.0.0.1"} {
		if got := client.ConfigGet(t.Context(), name).Val()[name]; got != want {
			t.Errorf("CONFIG GET %s is %q, not %q", name, got, want)
		}
	}
	options, err := redis.ParseURL(server.URL())
	if err != nil || options.Addr != server.Addr() || options.DB != 0 {
		t.Errorf("URL %q: %+v, %v", server.URL(), options, err)
	}
}

func TestStartGivesEachCallItsOwnServer(t *testing.T) {
	t.Parallel()
	one, two := redistest.Start(t), redistest.Start(t)
	set(t, one.Client(), "key")
	if has(t, two.Client(), "key") {
		t.Error("the second server has what was written to the first")
	}
}

func TestStartTakesAPassword(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--requirepass", `p@ss "word"`)
	set(t, server.Client(), "key")
	options, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	if options.Password != `p@ss "word"` {
		t.Errorf("the URL's password is %q", options.Password)
	}
	options.Password = ""
	options.MaxRetries = -1
	stranger := redis.NewClient(options)
	t.Cleanup(func() { _ = stranger.Close() })
	if err := stranger.Get(t.Context(), "key").Err(); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("without the password: %v", err)
	}
}

func TestServerEndsWithItsTest(t *testing.T) {
	var addr string
	t.Run("test", func(t *testing.T) {
		server := redistest.Start(t)
		addr = server.Addr()
		server.Pause()
	})
	refused(t, addr)
}

func TestStartWithoutRedisSaysHowToGetIt(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	message := failure(t, func(tb *endedTest) { redistest.Start(tb) })
	if !strings.Contains(message, "scripts/install-redis.sh") {
		t.Errorf("the failure says %q", message)
	}
}

func TestStartWithABadArgumentShowsTheServersWords(t *testing.T) {
	t.Parallel()
	message := failure(t, func(tb *endedTest) { redistest.Start(tb, "--no-such-setting", "1") })
	if !strings.Contains(message, "Bad directive") {
		t.Errorf("the failure says %q", message)
	}
}

func TestWhatSurvives(t *testing.T) {
	t.Parallel()
	aof := []string{"--appendonly", "yes", "--appendfsync", "always"}
	snapshot := []string{"--save", "3600 1"}
	for _, test := range []struct {
		name string
		args []string
		end  func(*redistest.Server)
		want bool
	}{
		{"nothing a stop", nil, (*redistest.Server).Stop, false},
		{"nothing a kill", nil, (*redistest.Server).Kill, false},
		{"a snapshot a stop", snapshot, (*redistest.Server).Stop, true},
		{"a snapshot a stop while paused", snapshot, func(s *redistest.Server) { s.Pause(); s.Stop() }, true},
		{"a snapshot a restart", snapshot, func(*redistest.Server) {}, true},
		{"no snapshot a kill", snapshot, (*redistest.Server).Kill, false},
		{"a log a kill", aof, (*redistest.Server).Kill, true},
		{"a log a kill while paused", aof, func(s *redistest.Server) { s.Pause(); s.Kill() }, true},
		{"a log two kills", aof, func(s *redistest.Server) { s.Kill(); s.Kill() }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, test.args...)
			addr := server.Addr()
			set(t, server.Client(), "key")
			test.end(server)
			server.Restart()
			if server.Addr() != addr {
				t.Errorf("restarted at %s, not %s", server.Addr(), addr)
			}
			if got := has(t, server.Client(), "key"); got != test.want {
				t.Errorf("the key is there: %t, want %t", got, test.want)
			}
		})
	}
}

func TestKillCutsConnectionsAndRefusesNewOnes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	blocked := make(chan error, 1)
	go func() { blocked <- client.BLPop(t.Context(), time.Minute, "list").Err() }()
	other := server.Client()
	redistest.Eventually(t, 10*time.Second, "BLPOP waits", func() bool {
		return other.InfoMap(t.Context(), "clients").Val()["Clients"]["blocked_clients"] == "1"
	})
	server.Kill()
	if err := <-blocked; err == nil || errors.Is(err, redis.Nil) {
		t.Errorf("BLPOP ended with %v", err)
	}
	refused(t, server.Addr())

	server.Restart()
	set(t, server.Client(), "key")
	redistest.Eventually(t, 10*time.Second, "the old client recovers", func() bool {
		return client.Ping(t.Context()).Err() == nil
	})
}

func TestPauseHoldsCommandsUntilResume(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	client := server.Client()
	set(t, client, "key")

	server.Pause()
	if _, err := io.WriteString(conn, "INCR counter\r\n"); err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var late net.Error
	if err := client.Get(soon, "key").Err(); !errors.As(err, &late) || !late.Timeout() {
		t.Errorf("a command to the paused server: %v", err)
	}

	server.Resume()
	reply := make([]byte, 4)
	if _, err := io.ReadFull(conn, reply); err != nil || string(reply) != ":1\r\n" {
		t.Errorf("the command sent meanwhile: %q, %v", reply, err)
	}
	if !has(t, client, "key") {
		t.Error("the paused server lost its data")
	}
}

func TestPausingWhatHasEndedFails(t *testing.T) {
	t.Parallel()
	message := failure(t, func(tb *endedTest) {
		server := redistest.Start(tb)
		server.Kill()
		server.Pause()
	})
	if !strings.Contains(message, os.ErrProcessDone.Error()) {
		t.Errorf("the failure says %q", message)
	}
}

func TestSharedIsOneServerThatNoTestMayBreak(t *testing.T) {
	t.Parallel()
	prefix := redistest.Prefix(t)
	set(t, redistest.Shared(t).Client(), prefix)
	if !has(t, redistest.Shared(t).Client(), prefix) {
		t.Error("the second call gave another server")
	}
	for _, breaks := range []func(*redistest.Server){
		(*redistest.Server).Stop,
		(*redistest.Server).Kill,
		(*redistest.Server).Restart,
		(*redistest.Server).Pause,
		(*redistest.Server).Resume,
	} {
		message := failure(t, func(tb *endedTest) { breaks(redistest.Shared(tb)) })
		if !strings.Contains(message, "call Start") {
			t.Errorf("the failure says %q", message)
		}
	}
	if !has(t, redistest.Shared(t).Client(), prefix) {
		t.Error("the shared server is not what it was")
	}
}

func TestPrefixesBeginNoOther(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^t[0-9]+x[0-9]+z$`)
	var all []string
	for range 120 {
		prefix := redistest.Prefix(t)
		if !form.MatchString(prefix) {
			t.Errorf("prefix %q", prefix)
		}
		for _, other := range all {
			if strings.HasPrefix(prefix, other) || strings.HasPrefix(other, prefix) {
				t.Errorf("one of %q and %q begins the other", prefix, other)
			}
		}
		all = append(all, prefix)
	}
}

func TestEventually(t *testing.T) {
	t.Parallel()
	calls := 0
	redistest.Eventually(t, time.Minute, "the third call", func() bool { calls++; return calls == 3 })
	if calls != 3 {
		t.Errorf("%d calls", calls)
	}

	message := failure(t, func(tb *endedTest) {
		redistest.Eventually(tb, time.Millisecond, "pigs fly", func() bool { return false })
	})
	if !strings.Contains(message, "not within 1ms: pigs fly") {
		t.Errorf("the failure says %q", message)
	}
}

// TestInAnotherBinary runs this test binary again, with TestAsChild doing what the argument says.
func TestInAnotherBinary(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ role, output string }{
		{"without-main", "Shared needs func TestMain"},
		{"leak", "found unexpected goroutines"},
	} {
		t.Run(test.role, func(t *testing.T) {
			t.Parallel()
			output, err := child(t, test.role).CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(output), test.output) {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}

	t.Run("its shared server ends with it", func(t *testing.T) {
		t.Parallel()
		output, err := child(t, "shared").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		refused(t, addrIn(t, string(output)))
	})

	t.Run("killed", func(t *testing.T) {
		t.Parallel()
		if runtime.GOOS != "linux" {
			return // no guarantee there
		}
		cmd := child(t, "hang")
		output, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(output)
		for lines.Scan() && !strings.Contains(lines.Text(), "addr=") {
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // it was killed
		addr := addrIn(t, lines.Text())
		redistest.Eventually(t, 10*time.Second, "the server follows", func() bool {
			return errors.Is(dial(t, addr), syscall.ECONNREFUSED)
		})
	})
}

func TestAsChild(t *testing.T) {
	switch flag.Arg(0) {
	case "without-main":
		redistest.Shared(t)
	case "leak":
		go func() { select {} }()
	case "shared":
		t.Logf("addr=%s", redistest.Shared(t).Addr())
	case "hang":
		server := redistest.Start(t)
		server.Pause()
		t.Logf("addr=%s", server.Addr())
		<-t.Context().Done()
	}
}

func child(t *testing.T, role string) *exec.Cmd {
	t.Helper()
	return exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAsChild$", "-test.v", "-test.timeout=1m", role)
}

func addrIn(t *testing.T, output string) string {
	t.Helper()
	addr := regexp.MustCompile(`addr=(\S+)`).FindStringSubmatch(output)
	if addr == nil {
		t.Fatalf("no address in %q", output)
	}
	return addr[1]
}

func set(t *testing.T, client *redis.Client, key string) {
	t.Helper()
	if err := client.Set(t.Context(), key, "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
}

func has(t *testing.T, client *redis.Client, key string) bool {
	t.Helper()
	n, err := client.Exists(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	return n == 1
}

func refused(t *testing.T, addr string) {
	t.Helper()
	if err := dial(t, addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialling %s: %v", addr, err)
	}
}

func dial(t *testing.T, addr string) error {
	t.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// failure runs do as a test of its own and returns the words with which it ended that test.
func failure(t *testing.T, do func(*endedTest)) string {
	t.Helper()
	tb := &endedTest{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(tb)
	}()
	<-done
	if tb.words == "" {
		t.Error("the test was not ended")
	}
	return tb.words
}

// endedTest keeps the words of Fatal and ends the goroutine, as a real test does, without failing the real one.
type endedTest struct {
	testing.TB

	words string
}

func (e *endedTest) Fatal(args ...any) {
	e.words = fmt.Sprint(args...)
	runtime.Goexit()
}

func (e *endedTest) Fatalf(format string, args ...any) { e.Fatal(fmt.Sprintf(format, args...)) }
