// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Of include/uapi/linux/io_uring.h.
const (
	uringSendmsg   = 9
	uringConnect   = 16
	uringSocket    = 45
	uringSendZC    = 47
	uringSendmsgZC = 48

	uringFixedFile = 1
	uringAsync     = 1 << 4

	uringSetupSqpoll = 1 << 1
	uringSqNeedWake  = 1

	uringEnterGetevents = 1
	uringEnterWakeup    = 2

	uringRegisterFiles = 2

	uringOffSQ, uringOffCQ, uringOffEntries = 0, 0x8000000, 0x10000000
)

// uringEntry is struct io_uring_sqe.
type uringEntry struct {
	opcode, flags uint8
	ioprio        uint16
	fd            int32
	off           uint64
	addr          uint64
	length        uint32
	opFlags       uint32
	user          uint64
	buffer        uint16
	personality   uint16
	addrLen       uint16
	_             uint16
	_             [2]uint64
}

type uringParams struct {
	sqEntries, cqEntries, flags, cpu, idle, features, wq uint32
	_                                                    [3]uint32
	sq, cq                                               struct {
		head, tail, mask, entries, a, b, c, _ uint32 // SQ: flags, dropped, array; CQ: overflow, cqes, flags
		_                                     uint64
	}
}

// uring does one thing by io_uring and returns its result. With says how: "sqpoll" (a
// thread of the kernel's takes it), "async" (a worker does), "fixed" (a registered file).
func uring(e uringEntry, with []string) (int32, error) {
	var p uringParams
	polled := slices.Contains(with, "sqpoll")
	if polled {
		p.flags, p.idle = uringSetupSqpoll, 1000
	}
	r, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("io_uring_setup: %w", errno)
	}
	ring := int(r)
	defer unix.Close(ring)
	var maps [3][]byte
	for i, m := range []struct {
		at   int64
		size uint32
	}{{uringOffSQ, p.sq.c + 4*p.sqEntries}, {uringOffCQ, p.cq.b + 16*p.cqEntries}, {uringOffEntries, 64 * p.sqEntries}} {
		var err error
		if maps[i], err = unix.Mmap(ring, m.at, int(m.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
			return 0, fmt.Errorf("mapping the ring: %w", err)
		}
		defer func() { _ = unix.Munmap(maps[i]) }()
	}
	sq, cq := maps[0], maps[1]
	if slices.Contains(with, "async") {
		e.flags |= uringAsync
	}
	if slices.Contains(with, "fixed") {
		files := []int32{e.fd}
		if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(ring), uringRegisterFiles, uintptr(unsafe.Pointer(&files[0])), 1, 0, 0); errno != 0 {
			return 0, fmt.Errorf("registering the file: %w", errno)
		}
		e.fd, e.flags = 0, e.flags|uringFixedFile
	}
	copy(maps[2], unsafe.Slice((*byte)(unsafe.Pointer(&e)), unsafe.Sizeof(e)))
	binary.NativeEndian.PutUint32(sq[p.sq.c:], 0)
	binary.NativeEndian.PutUint32(sq[p.sq.tail:], 1)
	flags := uintptr(uringEnterGetevents)
	if polled {
		flags |= uringEnterWakeup
	}
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(ring), 1, 1, flags, 0, 0); errno != 0 {
		return 0, fmt.Errorf("io_uring_enter: %w", errno)
	}
	result := int32(binary.NativeEndian.Uint32(cq[p.cq.b+8:]))
	if result < 0 {
		return result, unix.Errno(-result)
	}
	return result, nil
}

func rawFour(to string) (*unix.RawSockaddrInet4, error) {
	ap, err := netip.ParseAddrPort(to)
	if err != nil {
		return nil, err
	}
	return &unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: ap.Addr().As4(), Port: ap.Port()<<8 | ap.Port()>>8}, nil
}

// doUringTCP connects by io_uring, or with "fast-open" sends and connects in one.
func doUringTCP(r request, a *answer) error {
	to, err := rawFour(r.To)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	timeouts(fd)
	e := uringEntry{opcode: uringConnect, fd: int32(fd), addr: uint64(uintptr(unsafe.Pointer(to))), off: unix.SizeofSockaddrInet4}
	if slices.Contains(r.With, "fast-open") {
		m, _ := message(to, "early")
		e = uringEntry{opcode: uringSendmsg, fd: int32(fd), addr: uint64(uintptr(unsafe.Pointer(m))), length: 1, opFlags: unix.MSG_FASTOPEN}
	}
	// A packet with data that begins a connection is not waited for.
	if _, err := uring(e, r.With); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	return talk(fd, a)
}

func message(to *unix.RawSockaddrInet4, text string) (*unix.Msghdr, []byte) {
	data := []byte(text)
	iov := &unix.Iovec{Base: &data[0]}
	iov.SetLen(len(data))
	m := &unix.Msghdr{Name: (*byte)(unsafe.Pointer(to)), Namelen: unix.SizeofSockaddrInet4, Iov: iov}
	m.SetIovlen(1)
	return m, data
}

// doUringUDP sends a datagram by io_uring, with what With names.
func doUringUDP(r request, a *answer) error {
	to, err := rawFour(r.To)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	timeouts(fd)
	m, data := message(to, "question")
	e := uringEntry{opcode: uringSendmsg, fd: int32(fd), addr: uint64(uintptr(unsafe.Pointer(m))), length: 1}
	switch {
	case slices.Contains(r.With, "sendmsg_zc"):
		e.opcode = uringSendmsgZC
	case slices.Contains(r.With, "send_zc"):
		e = uringEntry{
			opcode: uringSendZC, fd: int32(fd), addr: uint64(uintptr(unsafe.Pointer(&data[0]))), length: uint32(len(data)),
			off: uint64(uintptr(unsafe.Pointer(to))), addrLen: unix.SizeofSockaddrInet4,
		}
	}
	if _, err := uring(e, r.With); err != nil {
		return err
	}
	return receive(fd, a)
}

// doUringSocket makes a raw socket by io_uring.
func doUringSocket(r request, a *answer) error {
	fd, err := uring(uringEntry{opcode: uringSocket, fd: unix.AF_INET, off: unix.SOCK_RAW, length: unix.IPPROTO_UDP}, r.With)
	if err == nil {
		unix.Close(int(fd))
		a.Said = "a raw socket"
	}
	return err
}

// What goes by io_uring is judged, redirected, and known whose it is, whoever in the
// kernel does it.
func TestUringIsSentHome(t *testing.T) {
	h := newHome(t, Generation{})
	a := h.actor()
	far, dns := "198.51.100.7:443", "198.51.100.53:53"
	tcp, udp := a.said(ToProxy, far), a.said(ToDNS, dns)
	for _, test := range []struct {
		do, to string
		with   []string
		want   string
	}{
		{"uring-tcp", far, nil, tcp},
		{"uring-tcp", far, []string{"async"}, tcp},
		{"uring-tcp", far, []string{"sqpoll"}, tcp},
		{"uring-tcp", far, []string{"sqpoll", "fixed", "async"}, tcp},
		{"uring-tcp", far, []string{"sqpoll", "fixed", "fast-open"}, tcp},
		{"uring-udp", dns, nil, udp},
		{"uring-udp", dns, []string{"sqpoll", "fixed"}, udp},
		{"uring-udp", dns, []string{"async"}, udp},
		{"uring-udp", dns, []string{"sqpoll", "fixed", "send_zc"}, udp},
		{"uring-udp", dns, []string{"sendmsg_zc"}, udp},
		{"uring-udp", far, nil, "EPERM"},
		{"uring-udp", far, []string{"sqpoll", "fixed"}, "EPERM"},
		{"uring-udp", far, []string{"async"}, "EPERM"},
		{"uring-udp", far, []string{"sqpoll", "send_zc"}, "EPERM"},
		{"uring-udp", far, []string{"sendmsg_zc", "async"}, "EPERM"},
		{"uring-socket", "", []string{"sqpoll"}, "EPERM"},
		{"uring-socket", "", []string{"async"}, "EPERM"},
		{"uring-tcp", "198.51.100.7:853", []string{"sqpoll"}, "EPERM"},
	} {
		t.Run(fmt.Sprint(test.do, " ", test.to, " ", test.with), func(t *testing.T) {
			got := a.do(test.do, test.to, test.with...)
			if got.Error == "EINVAL" && old(t) {
				t.Logf("this kernel has no such operation: %+v", got)
				return
			}
			if got.Said+got.Error != test.want {
				t.Errorf("%+v, want %q", got, test.want)
			}
		})
	}
}

// old says that the kernel is of before 6.1, which lacks some operations.
func old(t *testing.T) bool {
	t.Helper()
	var u unix.Utsname
	must(t, unix.Uname(&u))
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	must(t, err)
	return major < 6 || major == 6 && minor < 1
}
