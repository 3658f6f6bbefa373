// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// peerCredentials reads SO_PEERCRED and SO_PEERPIDFD (Linux 6.5). Before that,
// pidfd_open is used on the pid: a peer that ended before we accepted it and
// whose pid was given out again in that moment would not be noticed.
func peerCredentials(fd int) (Peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, fmt.Errorf("SO_PEERCRED: %w", err)
	}
	peer := Peer{PID: int(cred.Pid), UID: cred.Uid, GID: cred.Gid}
	if peer.PID <= 0 {
		return peer, nil // in a pid namespace we do not see
	}
	pidfd, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if errors.Is(err, unix.ENOPROTOOPT) {
		pidfd, err = unix.PidfdOpen(peer.PID, 0)
	}
	if err != nil {
		return Peer{}, fmt.Errorf("opening process %d: %w", peer.PID, err)
	}
	peer.PIDFD = os.NewFile(uintptr(pidfd), fmt.Sprintf("pidfd of %d", peer.PID))
	return peer, nil
}

// Alive reports whether the process that connected still exists, so that PID
// still names it.
func (p *Peer) Alive() bool {
	if p.PIDFD == nil || p.PID <= 0 {
		return false
	}
	raw, err := p.PIDFD.SyscallConn()
	if err != nil {
		return false
	}
	alive := false
	err = raw.Control(func(fd uintptr) {
		// A pidfd becomes readable when its process ends, reaped or not.
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		for errors.Is(err, unix.EINTR) {
			n, err = unix.Poll(fds, 0)
		}
		alive = err == nil && n == 0
	})
	return err == nil && alive
}
