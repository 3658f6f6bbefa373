// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// ended reports whether the other side will send nothing more than what is there.
func ended(fd int, _ bool) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}

// ahead connects a socket before net.Dialer does. To an address of this machine it is
// connected by the time the kernel returns, although it says that it goes on: net.Dialer,
// which asks again, then finds it so, and would otherwise have waited for the poller.
// What fails fails there too.
func ahead(c syscall.RawConn, to netip.AddrPort) error {
	var at unix.Sockaddr
	switch addr := to.Addr(); {
	case addr.Is4():
		at = &unix.SockaddrInet4{Addr: addr.As4(), Port: int(to.Port())}
	case addr.Is6() && addr.Zone() == "":
		at = &unix.SockaddrInet6{Addr: addr.As16(), Port: int(to.Port())}
	default:
		return nil
	}
	return c.Control(func(fd uintptr) { _ = unix.Connect(int(fd), at) })
}
