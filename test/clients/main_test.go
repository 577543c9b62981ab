//go:build clients

package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// soon bounds what should come about at once, on a machine that is busy with other tests.
const soon = 30 * time.Second

// binary is the program under test.
var binary string //nolint:gochecknoglobals // TestMain builds it once for all tests.

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "connecthub")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "connecthub")
	code := 1
	// With the race detector: a hub that finds a race ends with a status of its own.
	build := exec.CommandContext(context.Background(), "go", "build", "-race", "-o", binary, "../../cmd/connecthub")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building connecthub: %v\n%s", err, out)
	} else {
		code = redistest.Main(m)
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// output is what a program has written so far.
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

// lines returns the complete lines written so far.
func (o *output) lines() []string {
	all := strings.Split(o.String(), "\n")
	return all[:len(all)-1]
}

// process is a program that goes on until it is stopped.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr *output
	ended          chan struct{}
}

// start starts a program with these variables added to its environment. It and what it starts are killed with the test.
func start(tb testing.TB, env []string, name string, args ...string) *process {
	tb.Helper()
	p := &process{
		cmd:    exec.CommandContext(context.WithoutCancel(tb.Context()), name, args...),
		stdout: &output{}, stderr: &output{}, ended: make(chan struct{}),
	}
	p.cmd.Env = append(os.Environ(), env...) //nolint:forbidigo // Programs need PATH and HOME.
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = 5 * time.Second // For a grandchild that keeps the pipes open.
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("%v: make test-clients says what is needed", err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // Its status is in ProcessState.
	}()
	tb.Cleanup(p.kill)
	return p
}

// kill ends the program and what it started, as a crash would.
func (p *process) kill() {
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		panic(err)
	}
	<-p.ended
}

// stop ends the program with a signal and checks that it ends with status 0.
func (p *process) stop(tb testing.TB) {
	tb.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		tb.Fatal(err)
	}
	p.succeeds(tb)
}

// succeeds waits until the program ends and checks its status.
func (p *process) succeeds(tb testing.TB) {
	tb.Helper()
	select {
	case <-p.ended:
	case <-time.After(soon):
		tb.Fatalf("%s has not ended\n%s%s", p.cmd.Path, p.stdout, p.stderr)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		tb.Fatalf("%s ended with status %d\n%s%s", p.cmd.Path, code, p.stdout, p.stderr)
	}
}

// await waits until cond holds, and ends the test at once when the program ends before.
func (p *process) await(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	deadline := time.Now().Add(soon)
	redistest.Eventually(tb, 2*soon, what, func() bool {
		if cond() {
			return true
		}
		select {
		case <-p.ended:
			if cond() {
				return true
			}
			tb.Fatalf("%s ended before this: %s\n%s%s", p.cmd.Path, what, p.stdout, p.stderr)
		default:
		}
		if time.Now().After(deadline) {
			tb.Fatalf("not within %v: %s\n%s%s", soon, what, p.stdout, p.stderr)
		}
		return false
	})
}

// says waits until the program has written a text to its standard output.
func (p *process) says(tb testing.TB, text string) {
	tb.Helper()
	p.await(tb, "output of "+strconv.Quote(text), func() bool { return strings.Contains(p.stdout.String(), text) })
}

// run runs a program to its end and returns what it wrote.
func run(tb testing.TB, env []string, name string, args ...string) string {
	tb.Helper()
	p := start(tb, env, name, args...)
	p.succeeds(tb)
	return p.stdout.String()
}

// hub is a running hub.
type hub struct {
	*process
	// url is where it is reached, addr its host and port.
	url, addr string
}

var listening = regexp.MustCompile(`is listening on (http://(\S+?))\. Try it`)

// serve starts a hub with these variables, on a free port unless they say otherwise.
func serve(tb testing.TB, env ...string) *hub {
	tb.Helper()
	env = append([]string{"HTTP_ADDR=127.0.0.1:0", "METRICS_ADDR=off", "EMBEDDED_REDIS_ADDR=127.0.0.1:0"}, env...)
	h := &hub{process: start(tb, env, binary, "serve")}
	h.await(tb, "the hub listens", func() bool {
		found := listening.FindStringSubmatch(h.stdout.String())
		if found != nil {
			h.url, h.addr = found[1], found[2]
		}
		return found != nil
	})
	h.await(tb, "the hub is healthy", func() bool {
		status, _ := get(tb, h.url+"/health")
		return status == http.StatusOK
	})
	return h
}

func get(tb testing.TB, url string) (status int, body string) {
	tb.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}
	res, err := client.Get(url)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// followed waits until a stream is open.
func (h *hub) followed(tb testing.TB) {
	tb.Helper()
	h.await(tb, "a stream is open", func() bool { return h.streams(tb, "open") > 0 })
}

// streams returns one of the counters of streams in /stats.
func (h *hub) streams(tb testing.TB, counter string) int {
	tb.Helper()
	var stats struct{ Streams map[string]int }
	if _, body := get(tb, h.url+"/stats"); json.Unmarshal([]byte(body), &stats) != nil {
		tb.Fatalf("/stats says %s", body)
	}
	return stats.Streams[counter]
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

// event is an event as a client received it.
type event struct {
	Type string `json:"type"`
	// ID is what came with the event as its id: the place to resume from.
	ID   string `json:"id"`
	Data string `json:"data"`
}

// number returns the number that a publisher gave an event, and its channel.
func (e event) number(tb testing.TB) (n int, channel string) {
	tb.Helper()
	var envelope struct {
		Type, Channel string
		Data          struct{ N *int }
	}
	if err := json.Unmarshal([]byte(e.Data), &envelope); err != nil || envelope.Data.N == nil || envelope.Type != e.Type || e.ID == "" {
		tb.Fatalf("no event of the publisher: %+v, %v", e, err)
	}
	return *envelope.Data.N, envelope.Channel
}

// publisher publishes numbered events until it is stopped: even ones to user 123, odd ones to everybody.
type publisher struct {
	client *http.Client
	url    string
	stopIt context.CancelFunc
	ended  chan struct{}
	sent   int
	err    error
}

// startPublisher publishes through a hub, an event every few milliseconds.
func startPublisher(tb testing.TB, h *hub) *publisher {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	p := &publisher{client: &http.Client{Transport: &http.Transport{}, Timeout: soon}, url: h.url, stopIt: cancel, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		defer p.client.CloseIdleConnections()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for p.err == nil {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				p.err = p.publish(p.sent)
				p.sent++
			}
		}
	}()
	tb.Cleanup(func() { p.stop(tb) })
	return p
}

func (p *publisher) publish(n int) error {
	path, name := "/v1/events/users/123", "user.login"
	if n%2 == 1 {
		path, name = "/v1/events/global", "activity.created"
	}
	body := fmt.Sprintf(`{"type":%q,"data":{"n":%d}}`, name, n)
	res, err := p.client.Post(p.url+path, "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, res.Body) // So that the connection is used again.
	if err := res.Body.Close(); err != nil {
		return err
	}
	if res.StatusCode != http.StatusCreated {
		return fmt.Errorf("publishing event %d: %s", n, res.Status)
	}
	return nil
}

// stop stops publishing and returns how many events there were.
func (p *publisher) stop(tb testing.TB) int {
	tb.Helper()
	p.stopIt()
	<-p.ended
	if p.err != nil {
		tb.Fatal(p.err)
	}
	return p.sent
}

// allOnce checks that a client received every event of a publisher once, and those of each channel in order.
func allOnce(tb testing.TB, received []event, sent int) {
	tb.Helper()
	seen := make(map[int]bool)
	last := map[string]int{}
	for _, ev := range received {
		n, channel := ev.number(tb)
		if seen[n] {
			tb.Errorf("event %d came twice", n)
		}
		seen[n] = true
		if before, ok := last[channel]; ok && n < before {
			tb.Errorf("on %s event %d came after event %d", channel, n, before)
		}
		last[channel] = n
	}
	for n := range sent {
		if !seen[n] {
			tb.Errorf("event %d of %d never came", n, sent)
		}
	}
}

// breakIt breaks everything between a client and the events, one after the other, and waits each time until events come
// again: the hub's subscriptions, the hub by a signal, and the hub by a crash. It returns the hub that runs in the end.
func breakIt(tb testing.TB, rds *redistest.Server, h *hub, env []string, received func() int) *hub {
	tb.Helper()
	flows := func(after string) {
		tb.Helper()
		have := received()
		h.await(tb, "events come "+after, func() bool { return received() >= have+20 })
	}
	flows("at first")

	if n, err := rds.Client().Do(tb.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Int(); err != nil || n == 0 {
		tb.Fatalf("%d subscriptions were cut, %v", n, err)
	}
	h.await(tb, "the hub subscribes again", func() bool { return h.streams(tb, "resubscribed") > 0 })
	flows("after the subscriptions were cut")

	h.stop(tb)
	h = serve(tb, append(env, "HTTP_ADDR="+h.addr)...)
	h.followed(tb)
	flows("after a restart of the hub")

	h.kill()
	h = serve(tb, append(env, "HTTP_ADDR="+h.addr)...)
	h.followed(tb)
	flows("after a crash of the hub")
	return h
}
