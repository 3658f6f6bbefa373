// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"net"
	"os"
)

// Peer is the process at the other end of a connection, as the kernel recorded
// it when the connection was made. The process may have ended since, and its
// number may name another: Alive tells.
type Peer struct {
	PID int // 0: outside our pid namespace
	UID uint32
	GID uint32

	// PIDFD refers to the process itself. nil where the system has none; valid
	// while the request is answered.
	PIDFD *os.File
}

// peerOf asks the kernel who connected.
func peerOf(conn *net.UnixConn) (Peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("identifying a peer: %w", err)
	}
	var peer Peer
	var inner error
	if err := raw.Control(func(fd uintptr) { peer, inner = peerCredentials(int(fd)) }); err != nil {
		return Peer{}, fmt.Errorf("identifying a peer: %w", err)
	}
	if inner != nil {
		return Peer{}, fmt.Errorf("identifying a peer: %w", inner)
	}
	return peer, nil
}

func (p *Peer) close() {
	if p.PIDFD != nil {
		p.PIDFD.Close()
	}
}
