// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"os/exec"
	"syscall"
)

// OwnGroup makes the end of the context, or of this process, the end of the wrapper and of Codex. Commands have sessions
// of their own: those end with the process namespace of Isolated, or with the virtual machine.
func OwnGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
