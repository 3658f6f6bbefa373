// SPDX-License-Identifier: Apache-2.0

package vm

import "syscall"

// dieWithParent ends QEMU when the test process dies, also when it is killed: a forgotten guest would use two
// processors until somebody notices.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
