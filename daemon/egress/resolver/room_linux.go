// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"net"
	"syscall"
)

// room is how much the kernel keeps of what was not read yet: who floods must not have filled
// it before the reader has its turn again.
const room = 8 << 20

// makeRoom asks for that, beyond what the machine has for everybody where we may.
func makeRoom(c *net.UDPConn) {
	_ = c.SetReadBuffer(room)
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, room) })
	}
}
