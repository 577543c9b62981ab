package once_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/connectbot-hub/connecthub/internal/once"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

func TestMain(m *testing.M) {
	logging.Disable() // Failures to connect are what some tests are about.
	os.Exit(redistest.Main(m))
}

// soon bounds what should come about at once, on a machine that is busy with other tests.
const soon = 20 * time.Second

// newOnce makes a Once as another process would, with a client of its own.
func newOnce(tb testing.TB, server *redistest.Server, cfg once.Config) *once.Once {
	tb.Helper()
	cfg.Redis = server.Client()
	return with(tb, cfg)
}

func with(tb testing.TB, cfg once.Config) *once.Once {
	tb.Helper()
	o, err := once.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(o.Close)
	return o
}

// config gives a test keys of its own, and time enough on a busy machine.
func config(tb testing.TB) once.Config {
	tb.Helper()
	return once.Config{Prefix: redistest.Prefix(tb), Timeout: soon, Lease: 2 * soon}
}

// answer is what Do returned.
type answer struct {
	value    string
	repeated bool
	err      error
}

func do(ctx context.Context, o *once.Once, key string, f func(context.Context) ([]byte, error)) answer {
	value, repeated, err := o.Do(ctx, key, "fingerprint", time.Hour, f)
	return answer{string(value), repeated, err}
}

// begin calls Do on a goroutine of its own.
func begin(ctx context.Context, o *once.Once, key string, f func(context.Context) ([]byte, error)) <-chan answer {
	answers := make(chan answer, 1)
	go func() { answers <- do(ctx, o, key, f) }()
	return answers
}

func returns(value string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return []byte(value), nil }
}

// never is a do that must not run.
func never(tb testing.TB) func(context.Context) ([]byte, error) {
	tb.Helper()
	return func(context.Context) ([]byte, error) {
		tb.Error("it is done again")
		return nil, nil
	}
}

// held is a do that says when it has begun, and returns when it is let.
type held struct {
	begun   chan struct{}
	release chan func() ([]byte, error)
}

func hold() *held { return &held{make(chan struct{}), make(chan func() ([]byte, error), 1)} }

func (h *held) do(context.Context) ([]byte, error) {
	close(h.begun)
	return (<-h.release)()
}

func (h *held) succeed(value string) {
	h.release <- func() ([]byte, error) { return []byte(value), nil }
}

func (h *held) fail(err error) {
	h.release <- func() ([]byte, error) { return nil, err }
}

func receive[T any](tb testing.TB, from <-chan T) T {
	tb.Helper()
	timer := time.NewTimer(soon)
	defer timer.Stop()
	select {
	case v := <-from:
		return v
	case <-timer.C:
		tb.Fatal("nothing came")
		panic("unreachable")
	}
}

func want(tb testing.TB, got answer, value string, repeated bool) {
	tb.Helper()
	if got != (answer{value, repeated, nil}) {
		tb.Errorf("got %.50q, repeated %v, %v, want %.50q, %v", got.value, got.repeated, got.err, value, repeated)
	}
}

// keysOf are the keys under a prefix.
func keysOf(tb testing.TB, rdb *redis.Client, prefix string) []string {
	tb.Helper()
	keys, err := rdb.Keys(tb.Context(), prefix+"*").Result()
	if err != nil {
		tb.Fatal(err)
	}
	return keys
}
