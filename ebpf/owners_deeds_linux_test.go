// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// served are what the actor listens on, by its address.
var served sync.Map

type serving struct {
	fds   []int
	ended *sync.WaitGroup
}

// doListen listens for connections, and for datagrams at the same port, until
// doUnlisten, and answers each with "served by" and its number. Options: "six-only",
// "shared" (SO_REUSEPORT), "inside=PATH" (of a network namespace), "fast-open" (and the
// answer has what came with the first packets).
func doListen(r request, a *answer) error {
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: it may be in another namespace
		for _, w := range r.With {
			if path, inside := strings.CutPrefix(w, "inside="); inside {
				if err := enter(path); err != nil {
					ready <- err
					return
				}
			}
		}
		stream, err := listenAt(r.To, unix.SOCK_STREAM, r.With)
		if err != nil {
			ready <- err
			return
		}
		at, _ := unix.Getsockname(stream)
		a.Local = name(at)
		datagrams, err := listenAt(a.Local, unix.SOCK_DGRAM, r.With)
		if err != nil {
			ready <- err
			return
		}
		ended := &sync.WaitGroup{}
		served.Store(a.Local, serving{[]int{stream, datagrams}, ended})
		ended.Go(func() { echo(datagrams) })
		ended.Add(1)
		defer ended.Done()
		ready <- nil
		for {
			fd, _, err := unix.Accept4(stream, unix.SOCK_CLOEXEC)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return
			}
			said := fmt.Appendf(nil, "served by %d", os.Getpid())
			if slices.Contains(r.With, "fast-open") {
				b := make([]byte, 64)
				n, _ := unix.Read(fd, b)
				said = append(append(said, " who heard "...), b[:max(n, 0)]...)
			}
			_, _ = unix.Write(fd, said)
			_ = unix.Shutdown(fd, unix.SHUT_WR)
			go func() {
				b := make([]byte, 64)
				for n, err := unix.Read(fd, b); n > 0 || errors.Is(err, unix.EINTR); n, err = unix.Read(fd, b) {
					continue
				}
				unix.Close(fd)
			}()
		}
	}()
	return <-ready
}

func listenAt(address string, kind int, options []string) (int, error) {
	fd, at, err := socketTo(address, false, kind)
	if err != nil {
		return -1, err
	}
	if slices.Contains(options, "shared") {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if err := unix.Bind(fd, at); err != nil {
		return -1, fmt.Errorf("bind: %w", err)
	}
	if kind != unix.SOCK_STREAM {
		return fd, nil
	}
	if slices.Contains(options, "fast-open") {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 64)
	}
	return fd, errors.Join(err, unix.Listen(fd, 64))
}

func echo(fd int) {
	b := make([]byte, 64)
	for {
		_, from, err := unix.Recvfrom(fd, b, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || from == nil {
			return
		}
		_ = unix.Sendto(fd, fmt.Appendf(nil, "served by %d", os.Getpid()), 0, from)
	}
}

// doUnlisten ends what listens at r.To.
func doUnlisten(r request, _ *answer) error {
	s, ok := served.LoadAndDelete(r.To)
	if !ok {
		return errors.New("nothing listens there")
	}
	for _, fd := range s.(serving).fds {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR) // wakes who waits
	}
	s.(serving).ended.Wait()
	for _, fd := range s.(serving).fds {
		unix.Close(fd)
	}
	return nil
}

func enter(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Setns(fd, unix.CLONE_NEWNET)
}

// begun is the socket of doBegin.
var begun = -1

// doBegin connects so that something is left to send: "deferred", everything, and
// "late", the last packet of the handshake. "udp": it is a socket for datagrams.
func doBegin(r request, a *answer) error {
	kind := unix.SOCK_STREAM
	if slices.Contains(r.With, "udp") {
		kind = unix.SOCK_DGRAM
	}
	fd, to, err := socketTo(r.To, false, kind)
	if err != nil {
		return err
	}
	timeouts(fd)
	switch {
	case slices.Contains(r.With, "deferred"):
		const noCookie = 34 // TCP_FASTOPEN_NO_COOKIE
		err = errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1), unix.SetsockoptInt(fd, unix.IPPROTO_TCP, noCookie, 1))
	case slices.Contains(r.With, "late"):
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 1)
	}
	begun = fd
	err = errors.Join(err, connect(fd, to))
	if local, bad := unix.Getsockname(fd); bad == nil {
		a.Local = name(local)
	}
	return err
}

// doAsk sends a datagram and waits for a moment. Options: "unconnected", and "left": the
// socket was connected there, and is no more; "bind=ADDRESS".
func doAsk(r request, a *answer) error {
	fd, to, err := socketTo(r.To, slices.Contains(r.With, "six"), unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, w := range r.With {
		if at, is := strings.CutPrefix(w, "bind="); is {
			local, _, err := sockaddr(at, false)
			if err != nil {
				return err
			}
			if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, local)); err != nil {
				return fmt.Errorf("bind: %w", err)
			}
		}
	}
	if slices.Contains(r.With, "left") {
		if err := errors.Join(connect(fd, to), disconnect(fd)); err != nil {
			return err
		}
	}
	if slices.Contains(r.With, "unconnected") || slices.Contains(r.With, "left") {
		err = unix.Sendto(fd, []byte("question"), 0, to)
	} else if err = connect(fd, to); err == nil {
		_, err = unix.Write(fd, []byte("question"))
	}
	if err != nil {
		return err
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	a.Local = name(local)
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 300_000})
	return receive(fd, a)
}

// doKeep keeps a socket for datagrams that others may have the address of, and doSay sends with it.
func doKeep(r request, a *answer) error {
	fd, local, err := socketTo(r.To, false, unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	begun = fd
	if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, local)); err != nil {
		return err
	}
	local, err = unix.Getsockname(fd)
	a.Local = name(local)
	return err
}

func doSay(r request, _ *answer) error {
	to, _, err := sockaddr(r.To, false)
	if err != nil {
		return err
	}
	return unix.Sendto(begun, []byte("answer"), 0, to)
}

// doBecome makes the actor another user's.
func doBecome(r request, _ *answer) error {
	uid, err := strconv.Atoi(r.To)
	if err != nil {
		return err
	}
	return syscall.Setuid(uid)
}

// doEnd sends what was left, and looks whether anything comes for a moment.
func doEnd(_ request, a *answer) error {
	defer unix.Close(begun)
	_ = unix.SetsockoptTimeval(begun, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 300_000})
	_ = unix.SetNonblock(begun, true)
	if _, err := unix.Write(begun, []byte("data")); err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	_ = unix.SetNonblock(begun, false)
	b := make([]byte, 64)
	n, err := unix.Read(begun, b)
	a.Said = string(b[:max(n, 0)])
	return err
}

// doManyPackets sends With[0] packets with a byte each, on one connection or as datagrams.
func doManyPackets(kind int) func(request, *answer) error {
	return func(r request, _ *answer) error {
		n, err := strconv.Atoi(r.With[0])
		if err != nil {
			return err
		}
		fd, to, err := socketTo(r.To, false, kind)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		timeouts(fd)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		if err := connect(fd, to); err != nil {
			return err
		}
		for range n {
			if _, err := unix.Write(fd, []byte{1}); err != nil {
				return err
			}
		}
		return nil
	}
}

// doOwnAndDNS uses one socket for a DNS server, for the session itself, and for the server again.
func doOwnAndDNS(r request, a *answer) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	timeouts(fd)
	var said []string
	for _, at := range []string{r.With[0], r.To, r.With[0]} {
		to, _, err := sockaddr(at, false)
		if err != nil {
			return err
		}
		if err := unix.Sendto(fd, []byte("question"), 0, to); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		if err := receive(fd, a); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		said = append(said, a.Said)
	}
	a.Said = strings.Join(said, "; ")
	return nil
}

// doBroadcast has a socket at a broadcast address, which is preferred to what is bound to
// every one, and sends there.
func doBroadcast(r request, _ *answer) error {
	own, to, err := socketTo(r.To, false, unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	defer unix.Close(own)
	if err := errors.Join(unix.SetsockoptInt(own, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(own, to)); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	fd, to, err := socketTo(r.To, false, unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1), unix.Sendto(fd, []byte("data"), 0, to))
}

// doRebind takes a listener out of a unix socket and does to it what would make it ours.
func doRebind(r request, _ *answer) error {
	fd, err := takeDescriptor(r.With[0])
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	at, _ := unix.Getsockname(fd)
	_ = unix.Bind(fd, at)
	return unix.Listen(fd, 5)
}
