// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"net"

	"golang.org/x/sys/unix"
)

// listener returns the process that made the socket listen; 0: not known.
func listener(conn *net.UnixConn) int {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}
