// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// bridge is the managed network for clients that are told to use a proxy. One listener
// on loopback serves every session: whose a connection is, the kernel says and no
// password. Processes in another network namespace have another loopback: one of
// them listens there, and hands us the listener over a unix socket.
type bridge struct {
	network *network
	proxy   *net.TCPListener
	socket  *net.UnixListener
	work    sync.WaitGroup

	mu     sync.Mutex
	closed bool
	open   map[*net.UnixConn]string // those who handed over a listener, and their sessions
}

const (
	// handTime is how long a process may take to hand its listener over.
	handTime = 5 * time.Second
	// maxBridges of one session there may be.
	maxBridges = 64
)

// openBridge listens at both places; socket is the path of the unix one.
func openBridge(ctx context.Context, n *network, socket string) (*bridge, error) {
	b := &bridge{network: n, open: map[*net.UnixConn]string{}}
	var err error
	if b.proxy, err = egress.Listen(ctx, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)); err != nil {
		return nil, fmt.Errorf("starting the proxy for clients that use one: %w", err)
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		b.proxy.Close()
		return nil, fmt.Errorf("making the socket for other network namespaces: %w", err)
	}
	if b.socket, err = net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"}); err != nil {
		b.proxy.Close()
		return nil, fmt.Errorf("making the socket for other network namespaces: %w", err)
	}
	if err := os.Chmod(socket, 0o666); err != nil { // who may what is judged by process
		b.close()
		return nil, fmt.Errorf("making the socket for other network namespaces: %w", err)
	}
	return b, nil
}

func (b *bridge) close() {
	b.proxy.Close()
	b.socket.Close()
	b.mu.Lock()
	b.closed = true
	for c := range b.open {
		c.Close()
	}
	b.mu.Unlock()
	b.work.Wait()
}

// serve takes who comes until close.
func (b *bridge) serve() {
	b.network.work.Go(func() {
		if err := b.network.engine.ServeProxy(b.proxy, b, egress.Credentials{}); err != nil {
			b.network.d.config.Log.Error("the proxy for clients that use one", "error", err)
		}
	})
	b.network.work.Go(func() {
		for {
			c, err := b.socket.AcceptUnix()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // too many open files: whoever asked asks again
				b.network.d.config.Log.Error("the socket for other network namespaces", "error", err)
				time.Sleep(100 * time.Millisecond)
				continue
			}
			b.work.Go(func() {
				defer c.Close()
				if err := b.extend(c); err != nil {
					_, _ = c.Write([]byte(err.Error()))
				}
			})
		}
	})
}

// ended closes the bridges of a session. Who holds its end of one may be none of its
// processes.
func (b *bridge) ended(session string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c, whose := range b.open {
		if whose == session {
			c.Close()
		}
	}
}

// extend serves the listener that the process at the other end hands over, until it
// closes its end, or its session ends.
func (b *bridge) extend(c *net.UnixConn) error {
	_ = c.SetDeadline(time.Now().Add(handTime))
	peer, err := api.PeerOf(c)
	if err != nil {
		return err
	}
	defer peer.Close()
	key, s, why, known := b.network.d.enforcer.Member(peer.PID)
	// Whatever was found out under its number was about the process that connected.
	if !peer.Alive() {
		return errors.New("the process that asked has ended")
	}
	if !known {
		return errors.New("the process belongs to no session: only what is governed goes through the managed network")
	}
	if err := b.admit(c, s.ID); err != nil { // before anything is waited for
		return err
	}
	defer b.forget(c)
	// From here on its end closes the bridge; it may have come before.
	if _, _, _, known = b.network.d.enforcer.Member(peer.PID); !known || !peer.Alive() {
		return errors.New("the session has ended")
	}
	l, err := takeListener(c, namespaceOf(b.proxy))
	if err != nil {
		return err
	}
	defer l.Close()
	flow := egress.Flow{Session: s.ID, Agent: s.Agent, PID: peer.PID, UID: peer.UID, Why: why, Exe: exeOf(peer.PID)}
	unserve, err := b.network.d.kernel.Serve(l, key)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() {
		served <- b.network.engine.ServeProxy(l, always(flow), egress.Credentials{})
	}()
	_ = c.SetDeadline(time.Time{})
	if _, err := c.Write([]byte(api.BridgeReady)); err == nil {
		_, _ = c.Read(make([]byte, 1)) // until it goes
	}
	err = unserve()
	l.Close()
	return errors.Join(err, <-served)
}

func (b *bridge) admit(c *net.UnixConn, session string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, other := range b.open {
		if other == session {
			n++
		}
	}
	switch {
	case b.closed:
		return errors.New("the daemon stops")
	case n >= maxBridges:
		return fmt.Errorf("the session has %d bridges already: that is all it may have", n)
	}
	b.open[c] = session
	return nil
}

func (b *bridge) forget(c *net.UnixConn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, c)
}

// takeListener receives a listener and looks at what it is. It must be in another
// network namespace than home: in the daemon's own, anybody could connect to it, and
// be taken for the session.
func takeListener(c *net.UnixConn, home uint64) (*net.TCPListener, error) {
	fd, err := takeFile(c)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil || listens == 0 {
		return nil, errors.New("what came does not listen")
	}
	netns, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return nil, errors.New("this kernel does not tell network namespaces apart: the bridge needs Linux 5.14")
	}
	any, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("taking the listener: %w", err)
	}
	l, ok := any.(*net.TCPListener)
	if !ok || !l.Addr().(*net.TCPAddr).IP.IsLoopback() {
		any.Close()
		return nil, errors.New("the listener must be a TCP listener on an address of loopback")
	}
	if netns == home {
		l.Close()
		return nil, errors.New("the listener is in the daemon's own network namespace, where no bridge is needed")
	}
	return l, nil
}

// takeFile receives one file. Whatever else came with it is closed: it is ours as soon
// as it is received, and there is no end of it.
func takeFile(c *net.UnixConn) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4)) // with the padding, two may fit
	_, n, flags, _, err := c.ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return -1, fmt.Errorf("waiting for a listener: %w", err)
	}
	var fds []int
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	for i := range messages {
		some, errRights := unix.ParseUnixRights(&messages[i])
		fds, err = append(fds, some...), errors.Join(err, errRights)
	}
	if err != nil || len(fds) != 1 || flags&unix.MSG_CTRUNC != 0 {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return -1, errors.New("no listener came")
	}
	unix.CloseOnExec(fds[0])
	return fds[0], nil
}

// namespaceOf returns the kernel's number of the network namespace a listener is in; 0
// if it does not tell, and then takes no other listener either.
func namespaceOf(l *net.TCPListener) uint64 {
	conn, err := l.SyscallConn()
	if err != nil {
		return 0
	}
	var cookie uint64
	_ = conn.Control(func(fd uintptr) {
		cookie, _ = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	})
	return cookie
}

func exeOf(pid int) string {
	exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return exe
}

// always says the same of every connection: only the session itself comes there.
type always egress.Flow

// Flow implements egress.Origin.
func (a always) Flow(*net.TCPConn) (egress.Flow, error) { return egress.Flow(a), nil }

var _ egress.Origin = (*bridge)(nil)

// Flow implements egress.Origin: the kernel knows who they are.
func (b *bridge) Flow(c *net.TCPConn) (egress.Flow, error) {
	client, server := c.RemoteAddr().(*net.TCPAddr).AddrPort(), c.LocalAddr().(*net.TCPAddr).AddrPort()
	return b.network.flow(ebpf.TCP, ebpf.ToService, client, server)
}

// bridgeSocket is where other network namespaces ask.
func (c Config) bridgeSocket() string { return filepath.Join(c.RunDir, api.BridgeSocket) }
