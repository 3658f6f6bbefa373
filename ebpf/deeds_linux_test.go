// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// deeds are what an actor can do. They use system calls: Go's net package would
// retry, race addresses and hide errors.
var deeds = map[string]func(request, *answer) error{
	"tcp":           doTCP,
	"udp":           doConnectedUDP,
	"udp-to":        doUnconnectedUDP,
	"tcp-elsewhere": doElsewhere,
	"tcp-inside":    doInNamespace,
	"listen":        doListen,
	"unlisten":      doUnlisten,

	"read": doFile, "write": doFile, "create": doFile, "remove": doFile, "mkdir": doFile, "rmdir": doFile,
	"chmod": doFile, "link": doFile, "symlink": doFile, "rename": doFile,
}

// doElsewhere connects from another network namespace.
func doElsewhere(r request, a *answer) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- doTCP(r, a)
	}()
	return <-done
}

// connectRaw connects to an address the unix package has no type for.
func connectRaw(fd int, sa *unix.RawSockaddr) error {
	if _, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(sa)), unsafe.Sizeof(*sa)); e != 0 {
		return e
	}
	return nil
}

func sockaddr(to string, six bool) (unix.Sockaddr, int, error) {
	ap, err := netip.ParseAddrPort(to)
	if err != nil {
		return nil, 0, err
	}
	if ap.Addr().Is4() && !six {
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}, unix.AF_INET, nil
	}
	return &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16()}, unix.AF_INET6, nil
}

func name(sa unix.Sockaddr) string {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)).String()
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)).String()
	}
	return ""
}

// timeouts keep a deed from waiting for ever.
func timeouts(fd int) {
	tv := unix.Timeval{Sec: 20}
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv)
}

// doTCP connects, says what getpeername says, and reads to the end. Options: "six" (an IPv6
// socket for an IPv4 address), "bind=ADDRESS", "device=NAME", "fast-open", "nonblock",
// "again=ADDRESS" (disconnect, then connect there), "close" (at once).
// socketTo makes a socket of a kind for what is at an address. The caller closes it.
func socketTo(address string, six bool, kind int) (fd int, to unix.Sockaddr, err error) {
	to, family, err := sockaddr(address, six)
	if err != nil {
		return -1, nil, err
	}
	fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	return fd, to, err
}

func doTCP(r request, a *answer) error {
	has := func(o string) bool { return slices.Contains(r.With, o) }
	value := func(o string) string {
		for _, w := range r.With {
			if v, ok := strings.CutPrefix(w, o+"="); ok {
				return v
			}
		}
		return ""
	}
	six := has("six")
	fd, to, err := socketTo(r.To, six, unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	timeouts(fd)
	if at := value("bind"); at != "" {
		local, _, err := sockaddr(at, six)
		if err != nil {
			return err
		}
		if err := unix.Bind(fd, local); err != nil {
			return fmt.Errorf("bind: %w", err)
		}
	}
	if device := value("device"); device != "" {
		if err := unix.BindToDevice(fd, device); err != nil {
			return fmt.Errorf("device: %w", err)
		}
	}
	switch {
	case has("fast-open"):
		// Who is interrupted is not told what has been sent; the runtime sends signals of its own.
		runtime.LockOSThread()
		var all, before unix.Sigset_t
		for i := range all.Val {
			all.Val[i] = ^uint64(0)
		}
		if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &before); err != nil {
			return fmt.Errorf("keeping signals away: %w", err)
		}
		err = unix.Sendto(fd, []byte("early"), unix.MSG_FASTOPEN, to)
		if err := unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil); err != nil {
			return fmt.Errorf("letting signals in again: %w", err)
		}
		runtime.UnlockOSThread()
	case has("nonblock"):
		_ = unix.SetNonblock(fd, true)
		err = connect(fd, to)
		_ = unix.SetNonblock(fd, false)
	default:
		err = connect(fd, to)
	}
	if err != nil {
		return err
	}
	if other := value("again"); other != "" {
		if err := disconnect(fd); err != nil {
			return fmt.Errorf("disconnect: %w", err)
		}
		second, _, err := sockaddr(other, six)
		if err != nil {
			return err
		}
		if err := connect(fd, second); err != nil {
			return err
		}
	}
	return talk(fd, a)
}

// connect waits for the end, also when the runtime's own signals interrupt it.
func connect(fd int, to unix.Sockaddr) error {
	err := unix.Connect(fd, to)
	for errors.Is(err, unix.EINPROGRESS) || errors.Is(err, unix.EINTR) {
		if _, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 20000); err == nil {
			n, serr := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
			if serr == nil && n != 0 {
				return unix.Errno(n)
			}
			return serr
		}
	}
	return err
}

// write goes on when the runtime's own signals interrupt it.
func write(fd int, s string) error {
	for {
		if _, err := unix.Write(fd, []byte(s)); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// disconnect is connect(2) with AF_UNSPEC.
func disconnect(fd int) error {
	raw := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	return connectRaw(fd, &raw)
}

func talk(fd int, a *answer) error {
	if peer, err := unix.Getpeername(fd); err == nil {
		a.Peer = name(peer)
	}
	if local, err := unix.Getsockname(fd); err == nil {
		a.Local = name(local)
	}
	defer func() {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			a.Again = int(info.Total_retrans)
		}
	}()
	var b [512]byte
	for {
		n, err := unix.Read(fd, b[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if n == 0 {
			return nil
		}
		a.Said += string(b[:n])
	}
}

func doConnectedUDP(r request, a *answer) error {
	six := slices.Contains(r.With, "six")
	fd, to, err := socketTo(r.To, six, unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	timeouts(fd)
	if err := unix.Connect(fd, to); err != nil {
		return err
	}
	peer, err := unix.Getpeername(fd)
	if err != nil {
		return err
	}
	a.Peer = name(peer)
	if _, err := unix.Write(fd, []byte("question")); err != nil {
		return err
	}
	return receive(fd, a)
}

func doUnconnectedUDP(r request, a *answer) error {
	six := slices.Contains(r.With, "six")
	fd, to, err := socketTo(r.To, six, unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	timeouts(fd)
	if err := unix.Sendto(fd, []byte("question"), 0, to); err != nil {
		return err
	}
	return receive(fd, a)
}

// receive takes one datagram and says who sent it.
func receive(fd int, a *answer) error {
	b := make([]byte, 512)
	n, from, err := unix.Recvfrom(fd, b, 0)
	for errors.Is(err, unix.EINTR) {
		n, from, err = unix.Recvfrom(fd, b, 0)
	}
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	a.Said = string(b[:n])
	if from != nil {
		a.Peer = name(from)
	}
	return nil
}

// doInNamespace connects in the network namespace that With names by a path.
func doInNamespace(r request, a *answer) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		fd, err := unix.Open(r.With[0], unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(fd)
			err = unix.Setns(fd, unix.CLONE_NEWNET)
		}
		if err != nil {
			done <- fmt.Errorf("entering the namespace: %w", err)
			return
		}
		done <- doTCP(request{To: r.To, With: r.With[1:]}, a)
	}()
	return <-done
}
