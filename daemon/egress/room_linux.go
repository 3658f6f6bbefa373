// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// memory is how many bytes TCP has when the kernel begins to save them, and how many one buffer may
// have; where the kernel does not say, what is usual.
func memory() (pressure, largest int64) {
	return max(tcpSetting("tcp_mem", 1)*int64(os.Getpagesize()), 64<<20), max(tcpSetting("tcp_rmem", 2), tcpSetting("tcp_wmem", 2), 1<<20)
}

// tcpSetting is one of the three numbers of a setting.
func tcpSetting(name string, which int) int64 {
	text, _ := os.ReadFile("/proc/sys/net/ipv4/" + name)
	fields := strings.Fields(string(text))
	if which >= len(fields) {
		return 0
	}
	n, _ := strconv.ParseInt(fields[which], 10, 64)
	return n
}

// unlock lets buffers that had a size grow as the kernel sees fit. Before Linux 5.15 it does not.
func (s *sock) unlock() bool {
	var err error
	failed := s.raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BUF_LOCK, 0) })
	return failed == nil && err == nil
}

// owes says whether the kernel still has bytes for the other side.
func (s *sock) owes() bool {
	var n int
	var err error
	failed := s.raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return failed == nil && err == nil && n > 0
}
