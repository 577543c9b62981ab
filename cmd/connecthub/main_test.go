package main

import (
	"bytes"
	"context"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// asProgram makes the test binary be the program, for what only a process of its own shows.
const asProgram = "CONNECTHUB_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	logging.Disable() // As main does.
	os.Exit(redistest.Main(m))
}

// soon bounds what should come about at once, on a machine that is busy with other tests.
const soon = 20 * time.Second

// environment is what a command finds in its environment.
type environment map[string]string

func (e environment) lookup(name string) (string, bool) {
	value, ok := e[name]
	return value, ok
}

// with returns a copy with more variables: names and values in turn.
func (e environment) with(pairs ...string) environment {
	all := maps.Clone(e)
	if all == nil {
		all = environment{}
	}
	for pair := range slices.Chunk(pairs, 2) {
		all[pair[0]] = pair[len(pair)-1]
	}
	return all
}

// and returns a copy with more variables.
func (e environment) and(more environment) environment {
	all := e.with()
	maps.Copy(all, more)
	return all
}

// outcome is what became of a command.
type outcome struct {
	status         int
	stdout, stderr string
}

// call runs a command that ends by itself.
func call(tb testing.TB, env environment, args ...string) outcome {
	tb.Helper()
	return callWithInput(tb, env, "", args...)
}

func callWithInput(tb testing.TB, env environment, stdin string, args ...string) outcome {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), soon)
	defer cancel()
	var stdout, stderr bytes.Buffer
	status := run(ctx, args, env.lookup, strings.NewReader(stdin), &stdout, &stderr)
	if ctx.Err() != nil {
		tb.Fatalf("connecthub %q did not end by itself:\n%s%s", args, &stdout, &stderr)
	}
	return outcome{status, stdout.String(), stderr.String()}
}

// want ends the test unless the command ended with this status and wrote these texts.
func (o outcome) want(tb testing.TB, status int, texts ...string) {
	tb.Helper()
	if o.status != status {
		tb.Fatalf("status %d, want %d\nstdout: %s\nstderr: %s", o.status, status, o.stdout, o.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(o.stdout+o.stderr, text) {
			tb.Fatalf("no %q\nstdout: %s\nstderr: %s", text, o.stdout, o.stderr)
		}
	}
}

// output is what a running command has written so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// running is a command that goes on until it is stopped.
type running struct {
	stdout, stderr *output
	// interrupt ends the command's context, as Ctrl+C does.
	interrupt context.CancelFunc
	ended     chan struct{}
	status    int
}

// start starts a command. It is stopped with the test, which fails when its status then is not 0.
func start(tb testing.TB, env environment, args ...string) *running {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	r := &running{stdout: &output{}, stderr: &output{}, interrupt: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.status = run(ctx, args, env.lookup, strings.NewReader(""), r.stdout, r.stderr)
	}()
	r.stopWith(tb)
	return r
}

// stopWith stops the command with its test, if it has not ended before.
func (r *running) stopWith(tb testing.TB) {
	tb.Helper()
	tb.Cleanup(func() {
		if !r.hasEnded() {
			r.stop(tb)
		}
	})
}

func (r *running) hasEnded() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// stop interrupts the command and waits for its end. It may be called twice.
func (r *running) stop(tb testing.TB) {
	tb.Helper()
	r.interrupt()
	r.wait(tb, 0)
}

// wait waits until the command ends with a status.
func (r *running) wait(tb testing.TB, status int) {
	tb.Helper()
	select {
	case <-r.ended:
	case <-time.After(soon):
		tb.Fatalf("the command has not ended\nstdout: %s\nstderr: %s", r.stdout, r.stderr)
	}
	if r.status != status {
		tb.Errorf("the command ended with status %d, want %d\nstdout: %s\nstderr: %s", r.status, status, r.stdout, r.stderr)
	}
}

// has waits until a text was written.
func (o *output) has(tb testing.TB, text string) {
	tb.Helper()
	within := time.Now().Add(soon)
	redistest.Eventually(tb, soon+time.Second, "output "+strconv.Quote(text), func() bool {
		if strings.Contains(o.String(), text) {
			return true
		}
		if time.Now().After(within) {
			tb.Fatalf("no %q in the output:\n%s", text, o)
		}
		return false
	})
}

// server is a running hub.
type server struct {
	*running
	// url is where it is reached, addr its host and port.
	url, addr string
}

var listening = regexp.MustCompile(`is listening on (https?://(\S+?))\. Try it`)

// noJava is where no Java service is.
const noJava = "http://127.0.0.1:1"

// serve starts a hub on a free port, with the embedded Redis on another unless the environment names one, and no Java service.
func serve(tb testing.TB, env environment, args ...string) *server {
	tb.Helper()
	env = environment{
		"HTTP_ADDR": "127.0.0.1:0", "METRICS_ADDR": noAddr, "EMBEDDED_REDIS_ADDR": "127.0.0.1:0", "JAVA_SERVICE_URL": noJava, "DISK_LOW_MIB": "0",
	}.and(env)
	s := &server{running: start(tb, env, append([]string{"serve"}, args...)...)}
	s.awaitListening(tb)
	return s
}

// awaitListening waits until the hub says where it is reached.
func (s *server) awaitListening(tb testing.TB) {
	tb.Helper()
	redistest.Eventually(tb, soon, "the hub listens", func() bool {
		if s.hasEnded() {
			tb.Fatalf("the hub ended with status %d:\n%s", s.status, s.stderr)
		}
		found := listening.FindStringSubmatch(s.stdout.String())
		if found == nil {
			return false
		}
		s.url, s.addr = found[1], found[2]
		return true
	})
}

// client is the environment of commands that call this hub.
func (s *server) client() environment { return environment{"HUB_URL": s.url} }

// onSharedRedis returns the environment of a hub on the tests' shared Redis, apart from the other tests.
func onSharedRedis(tb testing.TB) environment {
	tb.Helper()
	prefix := redistest.Prefix(tb)
	return environment{"REDIS_URL": redistest.Shared(tb).URL(), "CHANNEL_PREFIX": prefix, "KEY_PREFIX": prefix}
}

// on returns the environment of a hub on a Redis of the test's own.
func on(redis *redistest.Server) environment { return environment{"REDIS_URL": redis.URL()} }

// get asks the hub and returns status and body.
func (s *server) get(tb testing.TB, path string) (status int, body string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return send(tb, req)
}

func send(tb testing.TB, req *http.Request) (status int, body string) {
	tb.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var text bytes.Buffer
	if _, err := text.ReadFrom(res.Body); err != nil {
		tb.Fatal(err)
	}
	return res.StatusCode, text.String()
}

// healthy waits until every check of the hub passes or warns.
func (s *server) healthy(tb testing.TB) {
	tb.Helper()
	redistest.Eventually(tb, soon, "the hub is healthy", func() bool {
		status, _ := s.get(tb, "/health")
		return status == http.StatusOK
	})
}

// freeAddr returns a loopback address that is free and stays so as far as a test can see to it: its port lies below
// those that systems give to outgoing connections.
func freeAddr(tb testing.TB) string {
	tb.Helper()
	for range 50 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+rand.IntN(12000)))
		listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", addr)
		if err != nil {
			continue
		}
		if err := listener.Close(); err != nil {
			tb.Fatal(err)
		}
		return addr
	}
	tb.Fatal("no free port")
	return ""
}

// program returns the program as a process of its own, with only these variables in its environment.
func program(tb testing.TB, env environment, args ...string) *exec.Cmd {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), self, args...)
	cmd.Dir = tb.TempDir()
	cmd.Env = []string{asProgram + "=1"}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

func TestWithoutArgumentsHelpIsShown(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"--help"}, {"-h"}, {"help"}} {
		call(t, nil, args...).want(t, 0, "Usage: connecthub <command>", "serve", "check", "publish", "tail", "menu get", "keys new", ".env")
	}
}

func TestHelpOfACommandNamesItsSettings(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"help", "serve"}, {"serve", "--help"}} {
		call(t, nil, args...).want(t, 0, "Usage: connecthub serve", "($HTTP_ADDR)", "($REDIS_URL)", `"127.0.0.1:8090"`)
	}
	call(t, nil, "help", "tail").want(t, 0, "Usage: connecthub tail", "--since", "($HUB_URL)")
}

func TestVersionIsShown(t *testing.T) {
	t.Parallel()
	call(t, nil, "version").want(t, 0, "connecthub "+versionText())
}

func TestWrongCallsAreMisuse(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"no-such-command"}, "unexpected argument no-such-command"},
		{[]string{"serve", "--no-such-flag"}, "unknown flag --no-such-flag"},
		{[]string{"serve", "--max-streams", "many"}, "--max-streams"},
		{[]string{"serve", "--log-level", "loud"}, "--log-level"},
		{[]string{"tail"}, "--channel"},
		{[]string{"publish", "--global"}, "<type>"},
	} {
		call(t, nil, test.args...).want(t, 2, "connecthub: ", test.want, `"connecthub help"`)
	}
}
