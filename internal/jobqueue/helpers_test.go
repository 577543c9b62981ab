package jobqueue_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/connectbot-hub/connecthub/internal/jobqueue"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
	"github.com/connectbot-hub/connecthub/internal/redistest"
)

// long is more than anything takes, on a busy machine too.
const long = 30 * time.Second

// onServers runs a test against a real server and the embedded one.
func onServers(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		test(t, redistest.Shared(t).URL())
	})
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		server, err := redisconn.StartEmbedded("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Close)
		test(t, server.URL())
	})
}

func connect(tb testing.TB, url string) *redis.Client {
	tb.Helper()
	rdb, err := redisconn.Open(url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// open makes a queue with a client of its own, as another process has.
func open(tb testing.TB, url string, cfg jobqueue.Config) *jobqueue.Queue {
	tb.Helper()
	if cfg.Redis == nil {
		cfg.Redis = connect(tb, url)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	q, err := jobqueue.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(q.Close)
	return q
}

func start(tb testing.TB, q *jobqueue.Queue, workers int, handle jobqueue.Handler) {
	tb.Helper()
	if err := q.Start(tb.Context(), workers, handle); err != nil {
		tb.Fatal(err)
	}
}

func add(tb testing.TB, q *jobqueue.Queue, id string) {
	tb.Helper()
	_, added, err := q.Add(tb.Context(), jobqueue.Add{ID: id, Payload: []byte("payload of " + id)})
	if err != nil || !added {
		tb.Fatal(id, added, err)
	}
}

func get(tb testing.TB, q *jobqueue.Queue, id string) jobqueue.Status {
	tb.Helper()
	status, err := q.Get(tb.Context(), id)
	if err != nil {
		tb.Fatal(id, err)
	}
	return status
}

// becomes waits until a job is in a state, and returns its status.
func becomes(tb testing.TB, q *jobqueue.Queue, id string, state jobqueue.State) (status jobqueue.Status) {
	tb.Helper()
	redistest.Eventually(tb, long, id+" is "+string(state), func() bool {
		var err error
		status, err = q.Get(tb.Context(), id)
		return err == nil && status.State == state
	})
	return status
}

// receive waits for a value.
func receive[T any](tb testing.TB, what string, from <-chan T) T {
	tb.Helper()
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case value := <-from:
		return value
	case <-timer.C:
		tb.Fatal("waited in vain for " + what)
		panic("unreachable")
	}
}

// line is the network between a process and Redis, and can be cut.
type line struct {
	// gate, while it is locked, lets no reply through.
	gate sync.RWMutex

	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

// overLine returns a client whose connections can be cut.
func overLine(tb testing.TB, url string) (*redis.Client, *line) {
	tb.Helper()
	l := new(line)
	opt := *connect(tb, url).Options()
	opt.Dialer = l.dial
	rdb := redis.NewClient(&opt)
	tb.Cleanup(func() { _ = rdb.Close() })
	return rdb, l
}

func (l *line) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, net.ErrClosed
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	l.conns = append(l.conns, conn)
	return &gated{conn, l}, nil
}

type gated struct {
	net.Conn
	line *line
}

func (g *gated) Read(b []byte) (int, error) {
	n, err := g.Conn.Read(b)
	g.line.gate.RLock()
	defer g.line.gate.RUnlock()
	return n, err
}

func (l *line) set(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	if down {
		for _, conn := range l.conns {
			_ = conn.Close()
		}
		l.conns = nil
	}
}

func observed() (*zap.Logger, *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.DebugLevel)
	return zap.New(core), logs
}

// nobody is a handler of jobs that must not be handled.
func nobody(tb testing.TB) jobqueue.Handler {
	tb.Helper()
	return func(_ context.Context, job *jobqueue.Job) jobqueue.Outcome {
		tb.Error(job.ID, "is handled")
		return jobqueue.Done()
	}
}

func done(context.Context, *jobqueue.Job) jobqueue.Outcome { return jobqueue.Done() }
