//go:build prometheus

package prometheus

import (
	"os/exec"
	"syscall"
)

// tieToParent has the kernel kill cmd when the thread that starts it ends, however that comes about.
func tieToParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
