// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"errors"
	"net/netip"

	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// Client is the governed process at the other end of what arrived at a listener of
// Paddock's own.
type Client struct {
	ebpf.Flow
	SessionID string
	Agent     string
	// Exe is the path of the program it runs; empty when it has ended.
	Exe string
	// Why is the tool call it serves.
	Why session.Why
}

// ErrNoClient is returned for a client that belongs to no session, and ErrCanary for
// the canary, which only wants to arrive.
var (
	ErrNoClient = errors.New("the client belongs to no session")
	ErrCanary   = errors.New("the client is the canary")
)

// Client tells who connected to a listener of Paddock's own: see Kernel.FlowOf. It
// waits until the client's session is recognised.
func (e *Enforcer) Client(protocol uint8, client, server netip.AddrPort) (*Client, error) {
	f, err := e.Kernel.FlowOf(protocol, client, server)
	if errors.Is(err, ebpf.ErrNoFlow) {
		return nil, ErrNoClient
	}
	if err != nil {
		return nil, err
	}
	if f.Session == canarySession {
		e.canary.arrive(f)
		return nil, ErrCanary
	}
	s, ok := e.marks.await(f.Session)
	if !ok {
		return nil, ErrNoClient // it was no agent after all
	}
	c := &Client{Flow: f, SessionID: s.id, Agent: s.agent, Exe: readLink(f.PID, "exe")}
	if f.Cause != 0 {
		c.Why, _ = e.why(&ebpf.Head{PID: f.PID, Cause: f.Cause})
	}
	return c, nil
}
