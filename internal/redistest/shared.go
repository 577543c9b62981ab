package redistest

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// suite is what the tests of one binary have in common.
type suite struct {
	mu       sync.Mutex
	running  bool // between the start and the end of Main
	dir      string
	proc     *process
	err      error
	prefixes int
}

//nolint:gochecknoglobals // a test binary's TestMain has no other way to hand something to its tests
var binary suite

// Main runs a package's tests and returns their exit code, for a package whose tests call Shared:
//
//	func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }
//
// Afterwards it ends the shared server, if a test asked for it, and then fails the run if goroutines are left
// that the options do not excuse. One is excused always: a go-redis client that could not connect sleeps up to a second
// longer than it lives.
func Main(m *testing.M, leaks ...goleak.Option) int {
	binary.open()
	code := m.Run()
	err := binary.close()
	if err == nil && code == 0 {
		err = goleak.Find(append(leaks, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))...)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// Shared returns the one server of this test binary, started with the default arguments by the first call and
// ended by Main, without which the call fails. Tests may use it at the same time, each under its own Prefix.
// None may break it: Stop, Kill, Restart, Pause and Resume end the test that calls them, and FLUSHALL or CONFIG
// SET would break the others just as well. While it runs, goleak.VerifyNone sees one goroutine of this package.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	proc, err := binary.server()
	if err != nil {
		tb.Fatal(err)
	}
	return &Server{tb: tb, proc: proc, shared: true}
}

// Prefix returns letters and digits to begin a test's keys or channels with, such as t17x3z: no other call, in
// this or any other running test binary, returns the same, and none returns the beginning of another's. It is
// logged, so that a failed test's data can be recognised.
func Prefix(tb testing.TB) string {
	tb.Helper()
	prefix := fmt.Sprintf("t%dx%dz", os.Getpid(), binary.next())
	tb.Logf("redistest: prefix %s", prefix)
	return prefix
}

func (s *suite) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = true
}

func (s *suite) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false
	if s.proc == nil {
		return nil
	}
	return errors.Join(s.proc.kill(), os.RemoveAll(s.dir))
}

func (s *suite) server() (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.running:
		return nil, errors.New("redistest: Shared needs func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }")
	case s.err != nil:
		return nil, s.err
	case s.proc == nil:
		s.proc, s.err = s.start()
		return s.proc, s.err
	case s.proc.ended():
		return nil, s.proc.failure("has ended while tests use it")
	}
	return s.proc, nil
}

func (s *suite) start() (*process, error) {
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	proc, err := startProcess(dir, nil)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s.dir = dir
	return proc, nil
}

func (s *suite) next() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prefixes++
	return s.prefixes
}
