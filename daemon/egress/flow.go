// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// Flow says who made a connection, and where it wanted to go.
type Flow struct {
	// Session is the id of the session. Empty is nobody's, and refused.
	Session string
	// Agent is the profile's name, a label.
	Agent string
	// PID and Start (nanoseconds since boot) are the process that connected; 0 where
	// that is not known.
	PID   int
	Start uint64
	UID   uint32
	// Exe is the path of its executable; empty where that is not known.
	Exe string
	// Why is the tool call it serves.
	Why session.Why
	// Dest is where it wanted to go. An IPv4 address in IPv6 form is as good as the
	// IPv4 one.
	Dest netip.AddrPort
	// Cookie is the kernel's number of the client's socket, to join records; 0 where
	// that is not known.
	Cookie uint64

	open   string // see lasting
	untold int64  // see told
}

var (
	// ErrUnknown says that a connection is of no session that is known. It is refused.
	ErrUnknown = errors.New("the connection is of no known session")
	// ErrCanary says that a connection only proves that it arrives. It is closed, and
	// nothing is told.
	ErrCanary = errors.New("the connection is the canary's")
)

// Origin tells whose a redirected connection is.
type Origin interface {
	// Flow is called once for each connection, before anything is read from it, and
	// may wait a moment for what the kernel has to say. Any error refuses the
	// connection.
	Flow(*net.TCPConn) (Flow, error)
}

// Names is what the resolver knows. Names are in the canonical form of policy.Host:
// lower case, ASCII, no dot at the end.
type Names interface {
	// NamesOf returns the names that a session was given an address for, the most
	// recent first, and of aliases (CNAME) the name that was asked for. What has
	// expired is not among them.
	NamesOf(session string, addr netip.Addr) []string
	// Resolve returns the addresses of a name, which is absolute: no search domain is
	// tried. It asks as if the session had asked, so it remembers the answer as
	// given to the session. A name without an address is an error.
	Resolve(ctx context.Context, session, name string) ([]netip.Addr, error)
}

// ErrRefused is why Resolve does not resolve what policy does not let anybody ask for.
// Nobody else may be asked for it either.
var ErrRefused = errors.New("the name is refused")

// Recorder takes events; *telemetry.Store is one.
type Recorder interface {
	Record(ctx context.Context, events ...telemetry.Event) error
}
