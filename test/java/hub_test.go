//go:build java

package java

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// hubBinary returns the program under test. It lies beside the service's log, and is removed with that. With the race
// detector: a hub that finds a race says so in its log.
//
//nolint:gochecknoglobals // It is built once for all tests.
var hubBinary = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(filepath.Dir(theJVM.log), "connecthub")
	build := exec.CommandContext(context.Background(), "go", "build", "-race", "-o", binary, "../../cmd/connecthub")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building connecthub: %w\n%s", err, out)
	}
	return binary, nil
})

// hub is a running hub, reached through HTTP only. Its methods are for the test's own goroutine.
type hub struct {
	tb  testing.TB
	url string

	cmd            *exec.Cmd
	stdout, stderr *output
	gone           chan struct{} // closed once cmd has been waited for
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

var listening = regexp.MustCompile(`is listening on (http://\S+?)\. Try it`)

// startHub starts a hub on a Redis, with settings such as JAVA_TIMEOUT=1s, and returns once it is healthy. It is killed with
// the test.
func startHub(tb testing.TB, rds *redistest.Server, settings ...string) *hub {
	tb.Helper()
	binary, err := hubBinary()
	if err != nil {
		tb.Fatal(err)
	}
	h := &hub{tb: tb, stdout: &output{}, stderr: &output{}, gone: make(chan struct{})}
	h.cmd = exec.CommandContext(context.WithoutCancel(tb.Context()), binary, "serve")
	h.cmd.Dir = tb.TempDir()
	h.cmd.Env = append([]string{"HTTP_ADDR=127.0.0.1:0", "METRICS_ADDR=off", "REDIS_URL=" + rds.URL()}, settings...)
	h.cmd.Stdout, h.cmd.Stderr = h.stdout, h.stderr
	tieToParent(h.cmd)
	started := make(chan error, 1)
	go h.run(started)
	if err := <-started; err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		h.kill()
		h.saidNothingWrong()
	})
	redistest.Eventually(tb, soon, "the hub listens", func() bool {
		select {
		case <-h.gone:
			tb.Fatalf("the hub has ended:\n%s%s", h.stdout, h.stderr)
		default:
		}
		if found := listening.FindStringSubmatch(h.stdout.String()); found != nil {
			h.url = found[1]
		}
		return h.url != ""
	})
	redistest.Eventually(tb, soon, "the hub is healthy", func() bool { return whole(tb, h.url+"/health", "").status == http.StatusOK })
	return h
}

// run runs the hub to its end, on a thread that waits for it: Linux ends it when the thread that started it ends.
func (h *hub) run(started chan<- error) {
	defer close(h.gone)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := h.cmd.Start()
	started <- err
	if err == nil {
		_ = h.cmd.Wait() // It is killed.
	}
}

// kill ends the hub as kill -9 does, and returns when it is gone. It may be called twice.
func (h *hub) kill() {
	_ = h.cmd.Process.Kill() // It fails if the hub has ended.
	<-h.gone
}

// surname is in the names of all people, and must be in no log.
const surname = "Шестиногова"

func (h *hub) saidNothingWrong() {
	h.tb.Helper()
	said := h.stdout.String() + h.stderr.String()
	for _, never := range []string{"DATA RACE", "panic", surname} {
		if strings.Contains(said, never) {
			h.tb.Errorf("the hub's log has %q:\n%s", never, said)
		}
	}
}

// get asks the hub and reads the answer, which must be there, into v.
func (h *hub) get(path string, v any) {
	h.tb.Helper()
	got := whole(h.tb, h.url+path, "")
	if err := json.Unmarshal([]byte(got.body), v); err != nil || got.status != http.StatusOK {
		h.tb.Fatalf("GET %s: %d, %v\n%s", path, got.status, err, got.body)
	}
}

// post sends a body and checks the status of the answer.
func (h *hub) post(path, body string, status int) answer {
	h.tb.Helper()
	got := whole(h.tb, h.url+path, body)
	if got.status != status {
		h.tb.Fatalf("POST %s: %d, want %d\n%s", path, got.status, status, got.body)
	}
	return got
}

// checked is what /health says of one check.
func (h *hub) checked(name string) (status string) {
	h.tb.Helper()
	var health struct {
		Checks map[string][]struct{ Status string }
	}
	got := whole(h.tb, h.url+"/health", "")
	if err := json.Unmarshal([]byte(got.body), &health); err != nil || len(health.Checks[name]) != 1 {
		h.tb.Fatalf("/health says %s", got.body)
	}
	return health.Checks[name][0].Status
}
