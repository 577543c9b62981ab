package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// readyWithin bounds a start, loading of saved data included, on a machine that is busy compiling.
	readyWithin = 30 * time.Second
	// stopWithin is more than the 10 s for which Redis waits for its replicas on SIGTERM.
	stopWithin = 20 * time.Second
	pollEvery  = 5 * time.Millisecond
)

var (
	errMissing = errors.New("redistest: no redis-server on PATH: run scripts/install-redis.sh, " +
		"or install the package redis-server (Debian, Ubuntu) or redis (Fedora, Alpine, Arch, Homebrew)")
	errPortTaken = errors.New("another process took its port")
	errNotOurs   = errors.New("another server answers there")
)

// process is one redis-server over all its restarts. Its methods are for one goroutine at a time.
type process struct {
	binary   string
	args     []string
	dir      string
	addr     string
	password string

	cmd  *exec.Cmd
	gone chan struct{} // closed once cmd has been waited for
}

func startProcess(dir string, args []string) (*process, error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errMissing
	}
	p := &process{binary: binary, args: args, dir: dir, password: passwordIn(args)}
	for range 5 {
		if p.addr, err = freeAddr(); err != nil {
			return nil, err
		}
		if err = p.start(); !errors.Is(err, errPortTaken) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// start runs the server and returns once it answers; if it returns an error, nothing is left running.
func (p *process) start() error {
	_, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		return err
	}
	args := append([]string{"--save", "", "--appendonly", "no"}, p.args...)
	args = append(args, "--bind", "127.0.0.1", "--port", port, "--dir", p.dir, "--daemonize", "no", "--logfile", "")
	log, err := os.Create(p.logName())
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(context.Background(), p.binary, args...) //nolint:gosec // the arguments are the test's own
	cmd.Stdout, cmd.Stderr = log, log
	tieToParent(cmd)

	started, gone := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(gone)
		// Linux ends the server when the thread that started it ends, so that thread waits for it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		_ = log.Close() // the server has its own handle
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
	}()
	p.cmd, p.gone = cmd, gone
	if err := <-started; err != nil {
		<-gone
		return fmt.Errorf("redistest: %w", err)
	}
	if err := p.ready(); err != nil {
		return errors.Join(err, p.kill())
	}
	return nil
}

// ready returns once this very process answers PING, which it refuses while it loads.
func (p *process) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := p.ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.gone:
			return p.failure("ended before it answered")
		case <-ctx.Done():
			return p.failure(fmt.Sprintf("does not answer after %v (%v)", readyWithin, err))
		case <-tick.C:
		}
	}
}

// ping needs no client, whose pool would hide for a second that the server has come back.
func (p *process) ping(ctx context.Context) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	ask := "PING\r\nINFO server\r\nQUIT\r\n"
	if p.password != "" {
		ask = "AUTH " + strconv.Quote(p.password) + "\r\n" + ask
	}
	if _, err := io.WriteString(conn, ask); err != nil {
		return err
	}
	reply, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if !bytes.Contains(reply, []byte("+PONG\r\n")) {
		line, _, _ := bytes.Cut(reply, []byte("\r\n"))
		return fmt.Errorf("it says %q", line)
	}
	if !bytes.Contains(reply, fmt.Appendf(nil, "\r\nprocess_id:%d\r\n", p.cmd.Process.Pid)) {
		return errNotOurs
	}
	return nil
}

func (p *process) stop() error {
	if p.ended() {
		return nil
	}
	for _, signal := range []os.Signal{syscall.SIGCONT, syscall.SIGTERM} {
		if err := p.signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	timer := time.NewTimer(stopWithin)
	defer timer.Stop()
	select {
	case <-p.gone:
		return nil
	case <-timer.C:
		return errors.Join(p.failure(fmt.Sprintf("has not stopped after %v", stopWithin)), p.kill())
	}
}

func (p *process) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.gone
	return nil
}

func (p *process) restart() error {
	if err := p.stop(); err != nil {
		return err
	}
	return p.start()
}

func (p *process) pause() error {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return waitStopped(p.cmd.Process.Pid)
}

func (p *process) resume() error {
	if err := p.signal(syscall.SIGCONT); err != nil {
		return err
	}
	return p.ready()
}

// signal fails with os.ErrProcessDone when there is no process any more.
func (p *process) signal(s os.Signal) error {
	err := os.ErrProcessDone
	if !p.ended() {
		err = p.cmd.Process.Signal(s)
	}
	if err != nil {
		return fmt.Errorf("redistest: sending %v to the redis-server at %s: %w", s, p.addr, err)
	}
	return nil
}

func (p *process) ended() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// failure says what is wrong with the server and adds the end of its log.
func (p *process) failure(what string) error {
	log, err := os.ReadFile(p.logName())
	if err != nil {
		log = []byte(err.Error())
	}
	const tail = 2000
	log = log[max(0, len(log)-tail):]
	if bytes.Contains(log, []byte("Address already in use")) {
		return fmt.Errorf("redistest: the redis-server at %s %s: %w\n%s", p.addr, what, errPortTaken, log)
	}
	return fmt.Errorf("redistest: the redis-server at %s %s\n%s", p.addr, what, log)
}

func (p *process) logName() string { return filepath.Join(p.dir, "redis-server.log") }

// freeAddr finds a free port below those that systems give to outgoing connections (from 32768 on Linux,
// higher elsewhere), so that no client's connection can sit on it while its server is down.
func freeAddr() (string, error) {
	var lastErr error
	for range 50 {
		port := 20000 + rand.IntN(12000) //nolint:gosec // a port need not be unguessable
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		var config net.ListenConfig
		listener, err := config.Listen(context.Background(), "tcp", addr)
		if err == nil {
			return addr, listener.Close()
		}
		lastErr = err
	}
	return "", fmt.Errorf("redistest: no free port: %w", lastErr)
}

func passwordIn(args []string) string {
	for i, arg := range args[:max(0, len(args)-1)] {
		if strings.EqualFold(arg, "--requirepass") {
			return args[i+1]
		}
	}
	return ""
}
