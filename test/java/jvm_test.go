//go:build java

package java

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

const jar = "../matching-service/target/matching-service.jar"

var (
	errPortTaken = errors.New("another process took its port")
	errEnded     = errors.New("it ended before it answered")
)

// jvm is one matching service over all its restarts, always at the same address. Its methods are for one goroutine at a
// time.
type jvm struct {
	addr, log string
	// control asks the service for what is not the test's subject, on connections of its own.
	control *http.Client

	cmd  *exec.Cmd
	gone chan struct{} // closed once cmd has been waited for
}

// startJVM starts a service whose log is in dir, and returns once it answers.
func startJVM(dir string) (*jvm, error) {
	if _, err := os.Stat(jar); err != nil {
		return nil, fmt.Errorf("%w: scripts/test-java.sh builds it", err)
	}
	j := &jvm{
		log:     filepath.Join(dir, "matching-service.log"),
		control: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon},
	}
	var err error
	for range 5 {
		if j.addr, err = freeAddr(); err != nil {
			return nil, err
		}
		if err = j.start(); !errors.Is(err, errPortTaken) {
			break
		}
	}
	return j, err
}

// start starts the process and returns once it answers; if it returns an error, nothing is left running.
func (j *jvm) start() error {
	host, port, err := net.SplitHostPort(j.addr)
	if err != nil {
		return err
	}
	log, err := os.Create(j.log)
	if err != nil {
		return err
	}
	// The heap is small, and the code runs for seconds only.
	j.cmd = exec.CommandContext(context.Background(), "java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m",
		"-jar", jar, "--server.address="+host, "--server.port="+port)
	j.cmd.Stdout, j.cmd.Stderr = log, log
	tieToParent(j.cmd)
	j.gone = make(chan struct{})
	started := make(chan error, 1)
	go j.run(started)
	err = <-started
	_ = log.Close() // The process has its own handle.
	if err != nil {
		<-j.gone
		return err
	}
	if err := j.ready(); err != nil {
		j.kill()
		text, _ := os.ReadFile(j.log)
		if bytes.Contains(text, []byte("was already in use")) {
			err = errPortTaken
		}
		return fmt.Errorf("starting the matching service: %w\n%s", err, text)
	}
	return nil
}

// run runs the process to its end, on a thread that waits for it: Linux ends the process when the thread that started it
// ends.
func (j *jvm) run(started chan<- error) {
	cmd, gone := j.cmd, j.gone
	defer close(gone)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	started <- err
	if err == nil {
		_ = cmd.Wait() // How it ended is of no interest, and why is in its log.
	}
}

// ready returns once this very process answers.
func (j *jvm) ready() error {
	timer := time.NewTimer(2 * soon)
	defer timer.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var process struct{ Pid int }
		err := j.ask(http.MethodGet, "/test/process", nil, &process)
		if err == nil && process.Pid == j.cmd.Process.Pid {
			return nil
		}
		select {
		case <-j.gone:
			return errEnded
		case <-timer.C:
			return fmt.Errorf("it does not answer: %w", err)
		case <-tick.C:
		}
	}
}

// kill ends the process, if there is one.
func (j *jvm) kill() {
	_ = j.cmd.Process.Kill() // It fails if the process has ended.
	<-j.gone
}

func (j *jvm) ended() bool {
	select {
	case <-j.gone:
		return true
	default:
		return false
	}
}

// ask calls one of the service's calls for tests, whose answer is JSON or nothing.
func (j *jvm) ask(method, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, "http://"+j.addr+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := j.control.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, res.Status)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(answer)
}

// freeAddr returns a loopback address that is free and stays so as far as a test can see to it: its port lies below
// those that systems give to outgoing connections.
func freeAddr() (string, error) {
	var last error
	for range 50 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+rand.IntN(12000)))
		listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
		if err == nil {
			return addr, listener.Close()
		}
		last = err
	}
	return "", fmt.Errorf("no free port: %w", last)
}
