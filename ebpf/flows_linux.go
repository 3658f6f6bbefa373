// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// egressPrograms are attached only where something of Paddock's own listens: the
// rest of the machine's sockets pass them too.
var egressPrograms = []string{
	kernelProgOnSockops,
	kernelProgOnGetpeername4, kernelProgOnGetpeername6,
	kernelProgOnRecvmsg4, kernelProgOnRecvmsg6,
	kernelProgOnEgress,
}

// Listeners are the ports on loopback (127.0.0.1 and ::1) where what the kernel
// redirects arrives. Under 0 nobody listens, and what would go there is refused.
// Nobody else may be able to listen on them while the daemon lives: no
// SO_REUSEPORT, and no SO_REUSEADDR for datagrams.
type Listeners struct {
	Proxy4, Proxy6   uint16 // TCP
	DNS4, DNS6       uint16 // TCP to port 53
	DNSUDP4, DNSUDP6 uint16 // UDP to port 53
}

// SetListeners says where redirected connections go; zero: nobody listens any more.
// The calling process listens there; connections of other network namespaces than its
// own are refused. Call it before SetDaemon says that this daemon is alive: until then
// everything that would be redirected is refused.
func (k *Kernel) SetListeners(l Listeners) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l != (Listeners{}) {
		if err := k.findHome(); err != nil {
			return err
		}
	}
	e := kernelEgress{Netns: k.home}
	e.Ports[kernelListenerLISTEN_PROXY4] = l.Proxy4
	e.Ports[kernelListenerLISTEN_PROXY6] = l.Proxy6
	e.Ports[kernelListenerLISTEN_DNS_TCP4] = l.DNS4
	e.Ports[kernelListenerLISTEN_DNS_TCP6] = l.DNS6
	e.Ports[kernelListenerLISTEN_DNS_UDP4] = l.DNSUDP4
	e.Ports[kernelListenerLISTEN_DNS_UDP6] = l.DNSUDP6
	if err := k.maps[kernelMapHomes].Put(uint32(0), e); err != nil {
		return fmt.Errorf("setting the listeners of the managed network: %w", err)
	}
	return nil
}

// findHome learns in which network namespace we are, and attaches what knows clients
// by their addresses: once, where something listens.
func (k *Kernel) findHome() error {
	if k.home != 0 {
		return nil
	}
	// It tells the namespace.
	if err := k.attach(kernelProgOnSockCreate); err != nil {
		return err
	}
	home, err := k.learnNamespace()
	if err != nil {
		return err
	}
	if err := k.load(append([]string{kernelProgFindDatagram}, egressPrograms...)); err != nil {
		return fmt.Errorf("loading the programs of the managed network: %w", err)
	}
	if err := k.maps[kernelMapEgressWatched].Put(uint32(0), uint32(1)); err != nil { // before what it is kept for
		return fmt.Errorf("having connections to loopback remembered: %w", err)
	}
	for _, name := range egressPrograms {
		if err := k.attach(name); err != nil {
			return err
		}
	}
	k.home = home
	return nil
}

// learnNamespace returns the cookie of the network namespace we are in. The kernel
// side tells it of the next socket of this thread; asking for it (SO_NETNS_COOKIE)
// came with 5.14.
func (k *Kernel) learnNamespace() (uint64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	homes := k.maps[kernelMapHomes]
	// Nothing is redirected meanwhile: ports are 0.
	if err := homes.Put(uint32(0), kernelEgress{Learn: uint32(unix.Gettid())}); err != nil {
		return 0, fmt.Errorf("asking for the network namespace: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("asking for the network namespace: %w", err)
	}
	defer unix.Close(fd)
	var e kernelEgress
	if err := homes.Lookup(uint32(0), &e); err != nil {
		return 0, fmt.Errorf("asking for the network namespace: %w", err)
	}
	if e.Netns == 0 {
		return 0, fmt.Errorf("this process is not below the cgroup %s: its network namespace is not known to the kernel side", k.options.Cgroup)
	}
	return e.Netns, nil
}

// SetOwnPorts names the TCP ports on loopback, of the calling process's network
// namespace, where Paddock's other services listen. Governed processes may connect
// there whatever the policy says, are never redirected, and FlowOf tells who they
// are. It replaces those named before.
func (k *Kernel) SetOwnPorts(ports ...uint16) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(ports) > 0 && k.home == 0 {
		if err := k.findHome(); err != nil {
			return err
		}
		if err := k.maps[kernelMapHomes].Put(uint32(0), kernelEgress{Netns: k.home}); err != nil {
			return fmt.Errorf("setting the own network namespace: %w", err)
		}
	}
	m := k.maps[kernelMapOwnPorts]
	want := map[uint32]bool{}
	for _, p := range ports {
		want[uint32(p)] = true
		if err := m.Put(uint32(p), uint32(1)); err != nil {
			return fmt.Errorf("naming the own port %d: %w", p, err)
		}
	}
	var stale []uint32
	var port, v uint32
	it := m.Iterate()
	for it.Next(&port, &v) {
		if !want[port] {
			stale = append(stale, port)
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("reading the own ports: %w", err)
	}
	for _, port := range stale {
		if err := m.Delete(port); err != nil {
			return fmt.Errorf("forgetting the own port %d: %w", port, err)
		}
	}
	return nil
}

// Serve lets a session, by its key, connect to a TCP listener on loopback of whatever
// network namespace, whatever the policy says, for as long as the daemon lives that
// SetDaemon named: the caller serves it. stop ends that. The listener must not be
// another session's.
func (k *Kernel) Serve(l *net.TCPListener, session uint64) (stop func() error, err error) {
	conn, err := l.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("looking at the listener: %w", err)
	}
	owners := k.maps[kernelMapOwners]
	var daemon kernelState
	if err := k.maps[kernelMapStates].Lookup(uint32(0), &daemon); err != nil {
		return nil, fmt.Errorf("looking for the daemon: %w", err)
	}
	var before kernelOwner
	mark := func(fd uintptr) error {
		if kind, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || kind != unix.IPPROTO_TCP {
			return errors.New("the listener is not of TCP alone")
		}
		err := owners.Lookup(uint32(fd), &before)
		switch {
		case err != nil && !errors.Is(err, ebpf.ErrKeyNotExist):
			return fmt.Errorf("asking whose the listener is: %w", err)
		case before.Session != 0 && before.Session != session:
			return errors.New("the listener is another session's")
		case before.Served != 0 && before.Served == daemon.Daemon:
			return errors.New("the listener is served already")
		}
		if err := owners.Put(uint32(fd), kernelOwner{Session: session, Served: daemon.Daemon}); err != nil {
			return fmt.Errorf("marking the listener: %w", err)
		}
		return nil
	}
	var errMark error
	if err := errors.Join(conn.Control(func(fd uintptr) { errMark = mark(fd) }), errMark); err != nil {
		return nil, err
	}
	return func() error {
		var errPut error
		err := conn.Control(func(fd uintptr) { errPut = owners.Put(uint32(fd), kernelOwner{Session: before.Session}) })
		return errors.Join(err, errPut)
	}, nil
}

// FlowKind says what a connection of a governed process was to reach.
type FlowKind uint8

// What a connection may be.
const (
	ToProxy   = FlowKind(kernelFlowKindFLOW_PROXY)   // somewhere else, and was redirected
	ToDNS     = FlowKind(kernelFlowKindFLOW_DNS)     // some server's port 53, and was redirected
	ToService = FlowKind(kernelFlowKindFLOW_SERVICE) // a service of Paddock's own: see SetOwnPorts
)

// Flow is who made a connection, and what for. It is of the process that called
// connect(2) or its like; who uses the socket later is not known.
type Flow struct {
	Kind        FlowKind
	Session     uint64 // key of the session
	Cause       uint64 // the daemon's number for the tool call it serves; 0: none
	PID         int
	Start       uint64         // when the process started, ns since boot: with PID, its identity
	UID         uint32         // real
	Destination netip.AddrPort // what was asked for; an IPv4 address in IPv6 form is shown as IPv4
	Protocol    uint8          // TCP or UDP
	Cookie      uint64         // the kernel's number of the socket
	Rule        int            // of the connect gate: an index in the policy, or -1 where its default let it through
	Allowed     bool           // by the connect gate; false with its default, which leaves it to whom it was sent to
	Enforced    bool           // false: in observe mode
	Generation  uint32         // of the policy
}

// ErrNoFlow is returned for a connection that is of no governed process, or of one
// that went another way.
var ErrNoFlow = errors.New("no governed process made this connection")

// FlowOf returns who is at the other end of what arrived at a listener on loopback:
// client is the remote address of an accepted connection or of a datagram, server is
// the local one. Ask once, when it was accepted: later the addresses may be those of
// another connection. Any error means that nothing may be done for the client.
func (k *Kernel) FlowOf(protocol uint8, client, server netip.AddrPort) (Flow, error) {
	if !client.IsValid() || !server.IsValid() {
		return Flow{}, ErrNoFlow
	}
	key := kernelFlowKey{
		Client: client.Addr().As16(), ClientPort: client.Port(),
		Server: server.Addr().As16(), ServerPort: server.Port(),
	}
	var v kernelFlow
	var err error
	if protocol == UDP {
		v, err = k.findDatagram(key)
	} else {
		err = k.maps[kernelMapFlows].Lookup(key, &v)
	}
	if errors.Is(err, ebpf.ErrKeyNotExist) || err == nil && v.Kind == 0 {
		return Flow{}, ErrNoFlow
	}
	if err != nil {
		return Flow{}, fmt.Errorf("looking for the client %s of %s: %w", client, server, err)
	}
	return Flow{
		Kind: FlowKind(v.Kind), Session: v.Session, Cause: v.Cause, PID: int(v.Pid), Start: v.Start, UID: v.Uid,
		Destination: netip.AddrPortFrom(netip.AddrFrom16(v.Addr).Unmap(), v.Port), Protocol: v.Protocol, Cookie: v.Cookie,
		Rule: int(v.Rule), Allowed: v.Decision == uint8(kernelNetDecisionNET_ALLOW), Enforced: v.Enforced != 0,
		Generation: v.Generation,
	}, nil
}

// findDatagram runs the program that finds a socket by its addresses.
func (k *Kernel) findDatagram(key kernelFlowKey) (kernelFlow, error) {
	k.mu.Lock()
	p := k.programs[kernelProgFindDatagram]
	k.mu.Unlock()
	if p == nil {
		return kernelFlow{}, ErrNoFlow
	}
	q := kernelFlowQuestion{Key: key}
	size := int(unsafe.Sizeof(q))
	in := unsafe.Slice((*byte)(unsafe.Pointer(&q)), size)
	out := make([]byte, size+256) // the kernel wants room to spare
	opts := ebpf.RunOptions{Data: in, DataOut: out}
	found, err := p.Run(&opts)
	if err != nil {
		return kernelFlow{}, err
	}
	if found == 0 || len(opts.DataOut) < size {
		return kernelFlow{}, ErrNoFlow
	}
	a, err := view[kernelFlowQuestion](opts.DataOut)
	return a.Flow, err
}
