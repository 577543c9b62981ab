package redistest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// tieToParent has the kernel kill cmd when the thread that starts it ends, however that comes about.
func tieToParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// waitStopped returns once the process runs no more: SIGSTOP is sent at once and obeyed a little later.
func waitStopped(pid int) error {
	timer := time.NewTimer(readyWithin)
	defer timer.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return fmt.Errorf("redistest: pausing: %w", err)
		}
		// "pid (name) state …", where the name may hold anything.
		if bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" T")) {
			return nil
		}
		select {
		case <-timer.C:
			return errors.New("redistest: pausing: the redis-server goes on running")
		case <-tick.C:
		}
	}
}
