// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// peerCredentials reads LOCAL_PEERCRED and LOCAL_PEERPID.
func peerCredentials(fd int) (Peer, error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return Peer{}, fmt.Errorf("LOCAL_PEERCRED: %w", err)
	}
	pid, err := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	if err != nil {
		return Peer{}, fmt.Errorf("LOCAL_PEERPID: %w", err)
	}
	peer := Peer{PID: pid, UID: cred.Uid}
	if cred.Ngroups > 0 {
		peer.GID = cred.Groups[0]
	}
	return peer, nil
}

// Alive reports whether a process with the number of the one that connected
// exists. Darwin has no handle on a process, so it may be another.
func (p *Peer) Alive() bool {
	if p.PID <= 0 {
		return false
	}
	err := unix.Kill(p.PID, 0)
	return err == nil || errors.Is(err, unix.EPERM)
}
