//go:build prometheus

package prometheus

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// soon bounds what should come about at once, on a machine that is busy with other tests.
const soon = 60 * time.Second

// binary is the hub under test.
var binary string //nolint:gochecknoglobals // TestMain builds it once for all tests.

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "prometheus")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "connecthub")
	code := 1
	// With the race detector: a hub that finds a race says so in its log.
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

// program is one that goes on until its test ends, and is killed then.
type program struct {
	tb   testing.TB
	said *output       // what it wrote, on standard output and standard error
	gone chan struct{} // closed once it has ended
}

// start starts a program in a folder of its own. With an environment it gets that and nothing else.
func start(tb testing.TB, env []string, name string, args ...string) *program {
	tb.Helper()
	p := &program{tb: tb, said: &output{}, gone: make(chan struct{})}
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), name, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = tb.TempDir(), env, p.said, p.said
	tieToParent(cmd)
	started := make(chan error, 1)
	go func() {
		defer close(p.gone)
		// Linux ends the program when the thread that started it ends, so that thread waits for it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // How it ended does not matter: it should not have.
		}
	}()
	if err := <-started; err != nil {
		tb.Fatalf("%v: make test-prometheus says what is needed", err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill() // It fails if the program has ended.
		<-p.gone
		if said := p.said.String(); tb.Failed() || strings.Contains(said, "DATA RACE") || strings.Contains(said, "panic") {
			tb.Errorf("%s said:\n%s", filepath.Base(name), said[max(0, len(said)-10_000):])
		}
	})
	return p
}

// await waits until cond holds, and ends the test when the program ends before.
func (p *program) await(what string, cond func() bool) {
	p.tb.Helper()
	redistest.Eventually(p.tb, soon, what, func() bool {
		select {
		case <-p.gone:
			p.tb.Fatalf("the program ended before this: %s", what)
		default:
		}
		return cond()
	})
}
