// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attacks are deeds of somebody who wants around the managed network.
var attacks = map[string]func(request, *answer) error{
	"deferred":     doDeferred,
	"foreign":      doForeignSocket,
	"moved":        doMovedSocket,
	"udp-again":    doDatagramAgain,
	"udp-other":    doDatagramOther,
	"udp-corked":   doCorked,
	"udp-many":     doSendmmsg,
	"udp-four":     doFourOnSix,
	"receive-send": doReceiveAndConnect,
	"same-port":    doSamePort,
	"bind":         doBind,
	"udp-device":   doDatagramByDevice,
	"tcp-device":   doStreamByDevice,
	"udp-both":     doBothDatagrams,
	"tcp-begin":    doBegin,
	"tcp-end":      doEnd,
	"udp-ask":      doAsk,
	"udp-keep":     doKeep,
	"udp-say":      doSay,
	"become":       doBecome,
	"udp-own-dns":  doOwnAndDNS,
	"tcp-packets":  doManyPackets(unix.SOCK_STREAM),
	"udp-packets":  doManyPackets(unix.SOCK_DGRAM),
	"rebind":       doRebind,
	"broadcast":    doBroadcast,
	"uring-tcp":    doUringTCP,
	"uring-udp":    doUringUDP,
	"uring-socket": doUringSocket,
}

// doDeferred connects with TCP_FASTOPEN_CONNECT: the first packet goes with the first write.
func doDeferred(r request, a *answer) error {
	fd, to, err := socketTo(r.To, false, unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	timeouts(fd)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1); err != nil {
		return err
	}
	if err := connect(fd, to); err != nil {
		return err
	}
	if err := write(fd, "early"); err != nil {
		return err
	}
	return talk(fd, a)
}

// elsewhere runs f on a thread in another network namespace. The thread never ends: with
// it would end the processes that it started before.
func elsewhere(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
		select {}
	}()
	return <-done
}

// doForeignSocket connects here with a socket made in another namespace.
func doForeignSocket(r request, a *answer) error {
	to, family, err := sockaddr(r.To, false)
	if err != nil {
		return err
	}
	var fd int
	if err := elsewhere(func() (err error) {
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		return err
	}); err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := connect(fd, to); err != nil {
		return err
	}
	return talk(fd, a)
}

// doMovedSocket connects in another namespace with a socket made here, which stays here.
func doMovedSocket(r request, a *answer) error {
	fd, to, err := socketTo(r.To, false, unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	timeouts(fd)
	if err := elsewhere(func() error { return connect(fd, to) }); err != nil {
		return err
	}
	return talk(fd, a)
}

// doDatagramAgain is connected to a DNS server and then connects to somebody else.
func doDatagramAgain(r request, a *answer) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	dns, _, _ := sockaddr("198.51.100.53:53", false)
	if err := unix.Connect(fd, dns); err != nil {
		return fmt.Errorf("to a DNS server: %w", err)
	}
	to, _, err := sockaddr(r.To, false)
	if err != nil {
		return err
	}
	if len(r.With) > 0 {
		if err := disconnect(fd); err != nil {
			return err
		}
	}
	return unix.Connect(fd, to)
}

// doDatagramOther is connected to a DNS server and sends to somebody else.
func doDatagramOther(r request, a *answer) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	dns, _, _ := sockaddr("198.51.100.53:53", false)
	if err := unix.Connect(fd, dns); err != nil {
		return fmt.Errorf("to a DNS server: %w", err)
	}
	to, _, err := sockaddr(r.To, false)
	if err != nil {
		return err
	}
	return unix.Sendto(fd, []byte("question"), 0, to)
}

// doCorked begins a datagram to a DNS server and ends it for somebody else.
func doCorked(r request, a *answer) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	timeouts(fd)
	dns, _, _ := sockaddr("198.51.100.53:53", false)
	if err := unix.Sendto(fd, []byte("ques"), unix.MSG_MORE, dns); err != nil {
		return fmt.Errorf("to a DNS server: %w", err)
	}
	to, _, err := sockaddr(r.To, false)
	if err != nil {
		return err
	}
	if err := unix.Sendto(fd, []byte("tion"), 0, to); err != nil {
		return err
	}
	return receive(fd, a)
}

// mmsghdr is struct mmsghdr.
type mmsghdr struct {
	header unix.Msghdr
	length uint32
	_      uint32
}

// doSendmmsg sends two datagrams with one call: to a DNS server and to somebody else.
func doSendmmsg(r request, a *answer) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var addrs [2]unix.RawSockaddrInet4
	var all [2]mmsghdr
	data := []byte("question")
	iov := unix.Iovec{Base: &data[0]}
	iov.SetLen(len(data))
	for i, to := range []string{"198.51.100.53:53", r.To} {
		ap := netip.MustParseAddrPort(to)
		addrs[i] = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: ap.Addr().As4(), Port: ap.Port()<<8 | ap.Port()>>8}
		all[i].header = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&addrs[i])), Namelen: unix.SizeofSockaddrInet4, Iov: &iov}
		all[i].header.SetIovlen(1)
	}
	n, _, e := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&all[0])), 2, 0, 0, 0)
	if e != 0 {
		return e
	}
	return fmt.Errorf("%d of 2 were sent", n)
}

// doFourOnSix sends to an IPv4 address, in its own form, with an IPv6 socket.
func doFourOnSix(r request, a *answer) error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	timeouts(fd)
	to, _, err := sockaddr(r.To, false)
	if err != nil {
		return err
	}
	if err := unix.Sendto(fd, []byte("question"), 0, to); err != nil {
		return err
	}
	return receive(fd, a)
}

// takeDescriptor takes a descriptor out of a unix socket.
func takeDescriptor(path string) (int, error) {
	via, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return -1, err
	}
	defer via.Close()
	oob := make([]byte, 64)
	_, n, _, _, err := via.ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return -1, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) == 0 {
		return -1, fmt.Errorf("no descriptor came: %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return -1, err
	}
	return fds[0], nil
}

// doReceiveAndConnect takes a socket out of a unix socket and connects it.
func doReceiveAndConnect(r request, a *answer) error {
	fd, err := takeDescriptor(r.With[0])
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	timeouts(fd)
	if r.To != "" {
		to, _, err := sockaddr(r.To, false)
		if err != nil {
			return err
		}
		if err := connect(fd, to); err != nil {
			return err
		}
	}
	return talk(fd, a)
}

// doSamePort connects from one port to one place after the other, without waiting for
// what becomes of it, and last to r.To.
func doSamePort(r request, a *answer) error {
	local, _, err := sockaddr(r.With[0], false)
	if err != nil {
		return err
	}
	for i, at := range append(r.With[1:], r.To) {
		to, _, err := sockaddr(at, false)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		timeouts(fd)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		if err := unix.Bind(fd, local); err != nil {
			unix.Close(fd)
			return fmt.Errorf("bind: %w", err)
		}
		if err := connect(fd, to); err != nil {
			unix.Close(fd)
			return err
		}
		if i == len(r.With)-1 {
			err = talk(fd, a)
		}
		unix.Close(fd) // a reset
		if err != nil {
			return err
		}
	}
	return nil
}

// doBind tries to listen where somebody listens already.
func doBind(r request, a *answer) error {
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
		for _, option := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT, 0} {
			fd, at, err := socketTo(r.To, false, kind)
			if err != nil {
				return err
			}
			if option != 0 {
				_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1)
			}
			for _, device := range []string{"", "lo"} {
				if device != "" {
					_ = unix.BindToDevice(fd, device)
				}
				err = unix.Bind(fd, at)
				if err == nil && kind == unix.SOCK_STREAM {
					err = unix.Listen(fd, 1)
				}
				if err == nil {
					a.Said += fmt.Sprintf("kind %d option %d device %q; ", kind, option, device)
				}
			}
			unix.Close(fd)
		}
	}
	return nil
}

// Nobody goes by himself to a place, or from a place, that was not judged.
func TestWaysAroundTheManagedNetwork(t *testing.T) {
	h := newHome(t, Generation{})
	a := h.actor()
	far, dns := "198.51.100.7:443", "198.51.100.53:53"
	for _, test := range []struct {
		name, do, to string
		with         []string
		want         string // what the daemon says of it, or the error
	}{
		{"a deferred connection", "deferred", far, nil, a.said(ToProxy, far)},
		{"a socket of another namespace", "foreign", far, nil, "EPERM"},
		{"a socket of ours from another namespace", "moved", far, nil, a.said(ToProxy, far)},
		{"connected to DNS, then elsewhere", "udp-again", far, nil, "EPERM"},
		{"connected to DNS, disconnected, then elsewhere", "udp-again", far, []string{"disconnect"}, "EPERM"},
		{"connected to DNS, sends elsewhere", "udp-other", far, nil, "EPERM"},
		{"two datagrams with one call", "udp-many", far, nil, "1 of 2 were sent"},
		{"a corked datagram", "udp-corked", dns, nil, a.said(ToDNS, dns)},
		{"IPv4 on an IPv6 socket", "udp-four", dns, nil, a.said(ToDNS, dns)},
		{"QUIC on an IPv6 socket", "udp-four", far, nil, "EPERM"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := a.do(test.do, test.to, test.with...); got.Said+got.Error != test.want {
				t.Errorf("%+v, want %q", got, test.want)
			}
		})
	}
	t.Run("a corked datagram, ended for somebody else", func(t *testing.T) {
		// The kernel takes the destination of the beginning, or refuses the end.
		got := a.do("udp-corked", far)
		if got.Error != "EPERM" && got.Said != a.said(ToDNS, dns) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("another listener", func(t *testing.T) {
		for _, at := range []string{
			fmt.Sprintf("127.0.0.1:%d", h.ports.Proxy4), fmt.Sprintf("0.0.0.0:%d", h.ports.Proxy4), fmt.Sprintf("[::1]:%d", h.ports.Proxy6),
		} {
			if got := a.do("bind", at); strings.Contains(got.Said, "kind 1") {
				t.Errorf("%s: it listens beside the proxy: %+v", at, got)
			}
		}
		for _, at := range []string{
			fmt.Sprintf("127.0.0.1:%d", h.ports.DNSUDP4), fmt.Sprintf("0.0.0.0:%d", h.ports.DNSUDP4), fmt.Sprintf("[::1]:%d", h.ports.DNSUDP6),
		} {
			if got := a.do("bind", at); strings.Contains(got.Said, "kind 2") {
				t.Errorf("%s: it listens beside the resolver: %+v", at, got)
			}
		}
	})
	t.Run("one port after the other", func(t *testing.T) {
		// Whatever was before, what is accepted is what was asked for last.
		for i := range 50 {
			local := fmt.Sprintf("127.0.0.1:%d", 20000+i)
			got := a.do("same-port", far, local, "198.51.100.8:80", "198.51.100.9:80")
			if got.Error != "" || got.Said != a.said(ToProxy, far) {
				t.Fatalf("%d: %+v", i, got)
			}
		}
	})
	t.Run("passed sockets", func(t *testing.T) { passedSockets(t, h, a) })
}

// A socket that comes from somebody else is judged by who connects it.
func passedSockets(t *testing.T, h *home, a *actor) {
	free := newActor(t)
	pass := func(to *actor, far string, connectFirst string) answer {
		t.Helper()
		name := t.TempDir() + "/s"
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
		must(t, err)
		defer l.Close()
		must(t, os.Chmod(name, 0o777))
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		defer unix.Close(fd)
		if connectFirst != "" {
			sa, _, err := sockaddr(connectFirst, false)
			must(t, err)
			must(t, connect(fd, sa))
		}
		to.begin("receive-send", far, name)
		must(t, l.SetDeadline(time.Now().Add(20*time.Second)))
		c, err := l.AcceptUnix()
		must(t, err)
		defer c.Close()
		_, _, err = c.WriteMsgUnix([]byte("x"), unix.UnixRights(fd), nil)
		must(t, err)
		return to.end()
	}
	if got := pass(a, "198.51.100.7:443", ""); got.Said != a.said(ToProxy, "198.51.100.7:443") {
		t.Errorf("a socket of somebody's, connected by a governed process: %+v", got)
	}
	// To the proxy's own port, connected by nobody who is governed: nobody's.
	if got := pass(a, "", fmt.Sprintf("127.0.0.1:%d", h.ports.Proxy4)); got.Said != "nobody" {
		t.Errorf("a connection that somebody else made: %+v", got)
	}
	if got := free.do("tcp", fmt.Sprintf("127.0.0.1:%d", h.ports.Proxy4)); got.Said != "nobody" {
		t.Errorf("a process nobody governs: %+v", got)
	}
	// A connection to somebody else is not taken for one of ours.
	if _, err := h.FlowOf(TCP, netip.MustParseAddrPort("127.0.0.1:9"), netip.MustParseAddrPort("127.0.0.1:10")); !errors.Is(err, ErrNoFlow) {
		t.Errorf("addresses of no connection: %v", err)
	}
	if _, err := h.FlowOf(UDP, netip.MustParseAddrPort("127.0.0.1:9"), netip.MustParseAddrPort("127.0.0.1:10")); !errors.Is(err, ErrNoFlow) {
		t.Errorf("addresses of no datagram: %v", err)
	}
	if _, err := h.FlowOf(TCP, netip.AddrPort{}, netip.AddrPort{}); !errors.Is(err, ErrNoFlow) {
		t.Errorf("no addresses: %v", err)
	}
}
