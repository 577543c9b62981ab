package redistest

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// clientTimeout is long, because a test that expects an answer must not fail on a busy machine, and one that
// expects none gives a context.
const clientTimeout = 5 * time.Second

// Server is one redis-server as one test sees it. Addr, URL and Client may be called from any goroutine;
// Stop, Kill, Restart, Pause and Resume only from the test's own, one at a time, because they end the test
// when they fail.
type Server struct {
	tb     testing.TB
	proc   *process
	shared bool
}

// Start runs a redis-server for tb alone and returns once it answers. It listens on a free port of 127.0.0.1,
// keeps its files in a temporary directory, and saves nothing unless args, which follow the defaults on its
// command line, say so ("--appendonly", "yes"). Port, bind, dir and daemonize cannot be set. If args hold
// "--requirepass", URL and Client use that password. The server ends with the test, before the
// test's temporary directory is removed and after every cleanup registered later than this call.
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	proc, err := startProcess(tb.TempDir(), args)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := proc.kill(); err != nil {
			tb.Error(err)
		}
	})
	return &Server{tb: tb, proc: proc}
}

// Addr is the server's host and port. It stays the same across Stop, Kill and Restart.
func (s *Server) Addr() string { return s.proc.addr }

// URL is the server's redis:// address with database 0 and, if there is one, the password.
func (s *Server) URL() string {
	u := url.URL{Scheme: "redis", Host: s.proc.addr, Path: "/0"}
	if s.proc.password != "" {
		u.User = url.UserPassword("", s.proc.password)
	}
	return u.String()
}

// Client returns a new client that is closed when the test ends. It speaks RESP2, sends nothing of its own
// on connecting but the password, and never retries, so that a test sees every failure; a command to a paused
// server fails after 5 s or when its context ends, whichever is first.
func (s *Server) Client() *redis.Client {
	client := redis.NewClient(&redis.Options{
		Addr:                     s.proc.addr,
		Password:                 s.proc.password,
		Protocol:                 2,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		MaxRetries:               -1,
		DialerRetries:            1,
		DialTimeout:              clientTimeout,
		ReadTimeout:              clientTimeout,
		WriteTimeout:             clientTimeout,
		ContextTimeoutEnabled:    true,
	})
	s.tb.Cleanup(func() {
		if err := client.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
			s.tb.Errorf("redistest: closing a client of %s: %v", s.proc.addr, err)
		}
	})
	return client
}

// Stop ends the server as an operator would, with SIGTERM, and returns when it has gone; a paused one is
// resumed first. The port stays reserved for Restart as far as a test can: another process could take it.
func (s *Server) Stop() {
	s.tb.Helper()
	s.try("stop", s.proc.stop)
}

// Kill ends the server with SIGKILL, as a crash would, and returns when it has gone. It may be called on one
// that is paused or already gone.
func (s *Server) Kill() {
	s.tb.Helper()
	s.try("kill", s.proc.kill)
}

// Restart starts the server again with the same port, arguments and directory, and returns once it answers
// and has loaded what it had saved. One that still runs is stopped first as by Stop.
func (s *Server) Restart() {
	s.tb.Helper()
	s.try("restart", s.proc.restart)
}

// Pause freezes the server with SIGSTOP: connections stay open and are still accepted by the kernel, and
// nothing is answered. On Linux it has stopped when Pause returns; elsewhere a command under way may still finish.
func (s *Server) Pause() {
	s.tb.Helper()
	s.try("pause", s.proc.pause)
}

// Resume lets a paused server go on and returns once it answers. Commands that reached it meanwhile are
// carried out then.
func (s *Server) Resume() {
	s.tb.Helper()
	s.try("resume", s.proc.resume)
}

func (s *Server) try(verb string, do func() error) {
	s.tb.Helper()
	if s.shared {
		s.tb.Fatalf("redistest: other tests use this server: call Start for one to %s", verb)
	}
	if err := do(); err != nil {
		s.tb.Fatal(err)
	}
}
