package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/connectbot-hub/connecthub/api"
	"github.com/connectbot-hub/connecthub/events"
	"github.com/connectbot-hub/connecthub/internal/redisconn"
)

// site is the processes that are measured.
type site struct {
	dir      string
	redis    *process
	redisURL string
}

// process is a server that was started here.
type process struct {
	cmd  *exec.Cmd
	addr string
	// unwatch ends what watches the process; nil if nothing does.
	unwatch func()
}

func newSite(ctx context.Context) (*site, error) {
	dir, err := os.MkdirTemp("", "connecthub-bench-")
	if err != nil {
		return nil, err
	}
	s := &site{dir: dir}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", s.hubBinary(), "./cmd/connecthub") //nolint:gosec // G204: our own paths.
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("building the hub, from the top folder of the project: %w", err)
	}
	return s, s.startRedis(ctx)
}

// another returns a site with a Redis of its own, which stop ends.
func (s *site) another(ctx context.Context) (*site, error) {
	other := &site{dir: s.dir}
	return other, other.startRedis(ctx)
}

func (s *site) startRedis(ctx context.Context) error {
	addr, err := freeAddr(ctx)
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(addr)
	s.redisURL = "redis://" + addr + "/0"
	cmd := exec.CommandContext(ctx, "redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "no") //nolint:gosec // G204: our own arguments.
	s.redis, err = start(ctx, addr, cmd)
	return err
}

func (s *site) hubBinary() string { return filepath.Join(s.dir, "connecthub") }

// hub starts the hub as users run it, with more settings if given.
func (s *site) hub(ctx context.Context, more ...string) (*process, error) {
	metrics, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	return s.hubWith(ctx, []string{"METRICS_ADDR=" + metrics}, more...)
}

// hubWith starts the hub with variables in its environment, and with more settings if given.
func (s *site) hubWith(ctx context.Context, env []string, more ...string) (*process, error) {
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	args := append([]string{"serve", "--http-addr", addr, "--redis-url", s.redisURL}, more...)
	cmd := exec.CommandContext(ctx, s.hubBinary(), args...) //nolint:gosec // G204: our own program.
	cmd.Dir = s.dir                                         // No .env is read.
	cmd.Env = append(cmd.Environ(), env...)
	return start(ctx, addr, cmd)
}

// role starts this program as a server for comparison.
func (s *site) role(ctx context.Context, role string) (*process, error) {
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(ctx, addr, exec.CommandContext(ctx, self, "-role", role+"@"+addr, "-redis", s.redisURL)) //nolint:gosec // G204: our own program.
}

func (s *site) stop() {
	if s.redis != nil {
		s.redis.stop()
	}
}

func (s *site) close() {
	s.stop()
	_ = os.RemoveAll(s.dir) // A temporary folder.
}

// start starts a server and waits until it accepts connections.
func start(ctx context.Context, addr string, cmd *exec.Cmd) (*process, error) {
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, addr: addr}
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err == nil {
			return p, conn.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.stop()
	return nil, errors.New(cmd.Path + " did not start")
}

// watch calls look each second, until the process is stopped or ctx ends.
func (p *process) watch(ctx context.Context, look func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		again := time.NewTicker(time.Second)
		defer again.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-again.C:
				look(ctx)
			}
		}
	})
	p.unwatch = func() { cancel(); watching.Wait() }
}

func (p *process) stop() {
	if p.unwatch != nil {
		p.unwatch()
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // It may have ended already.
	_ = p.cmd.Wait()                          // A status after SIGTERM says nothing.
}

// residentKB returns the memory the process occupies.
func (p *process) residentKB() (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		var kb int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kb); err == nil {
			return kb, nil
		}
	}
	return 0, errors.New("no VmRSS")
}

// cpu returns the processor time that the process has used, which the kernel counts in hundredths of a second.
func (p *process) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // What is before is the program's name.
	fields := strings.Fields(rest)
	const user, system, tick = 11, 12, 10 * time.Millisecond
	if len(fields) <= system {
		return 0, errors.New("no CPU time")
	}
	var ticks int64
	for _, field := range fields[user : system+1] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

func freeAddr(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// serveRole serves what the hub is compared with: "parse" reads the same body with the same code and answers, "publish"
// also sends one PUBLISH through go-redis. For menus every role serves /empty, which answers with nothing, /same, which
// answers with the bytes and headers of a menu, and /redis, which gets them with one GET through go-redis; for temporary
// data see serveBareTemp, for matching serveJava.
func serveRole(ctx context.Context, role, redisURL string) error {
	kind, addr, _ := strings.Cut(role, "@")
	rdb, err := redisconn.Open(redisURL)
	if err != nil {
		return err
	}
	defer func() { _ = rdb.Close() }()
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.POST("/v1/events/users/:user_id", func(c echo.Context) error { //nolint:contextcheck // A request has its own.
		body := make([]byte, c.Request().ContentLength)
		if _, err := c.Request().Body.Read(body); err != nil && !strings.Contains(err.Error(), "EOF") {
			return err
		}
		m, err := events.DecodeMessage(body)
		if err != nil {
			return err
		}
		if kind == "publish" {
			if err := rdb.Publish(c.Request().Context(), "bench:user:"+c.Param("user_id"), []byte(m.Data)).Err(); err != nil {
				return err
			}
		}
		return c.JSON(http.StatusCreated, api.Receipt{
			ID: "01a1fd63-369d-7b1e-9c04-5e2f8a6d1c33", Type: m.Type, Channel: "bench:user:" + c.Param("user_id"),
			Offset: "1795252500125-0", Timestamp: "2026-11-21T09:15:00.125310Z", Status: api.ReceiptStatusPublished,
		})
	})
	e.GET("/empty/:user_id/:menu_type", func(c echo.Context) error { return c.NoContent(http.StatusOK) })
	same := func(c echo.Context, body []byte) error {
		header := c.Response().Header()
		for name, value := range menuHeaders {
			header.Set(name, value)
		}
		return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, body)
	}
	e.GET("/same/:user_id/:menu_type", func(c echo.Context) error { return same(c, []byte(menuBody)) })
	e.GET("/redis/:user_id/:menu_type", func(c echo.Context) error { //nolint:contextcheck // A request has its own.
		body, err := rdb.Get(c.Request().Context(), "bench:menu:"+c.Param("user_id")).Bytes()
		if err != nil {
			return err
		}
		return same(c, body)
	})
	serveBareTemp(e, rdb) //nolint:contextcheck // A request has its own.
	serveJava(e)
	serveCollector(e)
	server := &http.Server{Addr: addr, Handler: e, ReadHeaderTimeout: 5 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func machine() string {
	model := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				model = strings.TrimLeft(strings.TrimSpace(name), ": \t")
				break
			}
		}
	}
	return fmt.Sprintf("%s, %d cores, %s", model, runtime.NumCPU(), runtime.Version())
}
