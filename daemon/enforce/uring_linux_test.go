// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Layout of io_uring_setup(2): include/uapi/linux/io_uring.h.
type uringOffsets struct {
	head, tail, mask, entries, flags, dropped, array, resv1 uint32
	userAddr                                                uint64
}

type uringCompletions struct {
	head, tail, mask, entries, overflow, cqes, flags, resv1 uint32
	userAddr                                                uint64
}

type uringParams struct {
	sqEntries, cqEntries, flags, cpu, idle, features, wq uint32
	resv                                                 [3]uint32
	sq                                                   uringOffsets
	cq                                                   uringCompletions
}

// uringConnect connects without connect(2), with the entry's flags.
func uringConnect(fd int, addr [4]byte, port int, flags byte) error {
	to := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: addr}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&to.Port))[:], uint16(port))
	err := uring(func(entry []byte) {
		entry[0] = 16 // IORING_OP_CONNECT
		entry[1] = flags
		binary.NativeEndian.PutUint32(entry[4:], uint32(fd))
		binary.NativeEndian.PutUint64(entry[8:], uint64(unix.SizeofSockaddrInet4)) // off: length of the address
		binary.NativeEndian.PutUint64(entry[16:], uint64(uintptr(unsafe.Pointer(&to))))
	})
	runtime.KeepAlive(&to)
	return err
}

// uringFile opens a file for writing, without open(2), or renames it to another path.
// The flags are IOSQE_ASYNC: in a thread of the kernel's own.
func uringFile(path, to string) error {
	from, into := bytePtr(path), bytePtr(to)
	here := int32(unix.AT_FDCWD)
	err := uring(func(entry []byte) {
		entry[0], entry[1] = 18, 1<<4 // IORING_OP_OPENAT
		binary.NativeEndian.PutUint32(entry[4:], uint32(here))
		binary.NativeEndian.PutUint64(entry[16:], uint64(uintptr(unsafe.Pointer(from))))
		binary.NativeEndian.PutUint32(entry[28:], unix.O_WRONLY)
		if to != "" {
			entry[0] = 35 // IORING_OP_RENAMEAT
			binary.NativeEndian.PutUint64(entry[8:], uint64(uintptr(unsafe.Pointer(into))))
			binary.NativeEndian.PutUint32(entry[24:], uint32(here))
			binary.NativeEndian.PutUint32(entry[28:], 0)
		}
	})
	runtime.KeepAlive(from)
	runtime.KeepAlive(into)
	return err
}

// uring hands one entry to the kernel, and returns what came of it.
func uring(fill func(entry []byte)) error {
	r, err := openRing()
	if err != nil {
		return err
	}
	r.put(0, fill)
	if err := r.enter(1, 1); err != nil {
		return err
	}
	return r.result(0)
}

// ring is an io_uring for four entries.
type ring struct {
	fd              int
	p               uringParams
	sq, cq, entries []byte
}

func openRing() (*ring, error) {
	r := &ring{}
	fd, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&r.p)), 0)
	if e != 0 {
		return nil, fmt.Errorf("io_uring_setup: %w", e)
	}
	r.fd = int(fd)
	for _, m := range []struct {
		to   *[]byte
		at   int64
		size uint32
	}{{&r.sq, 0, r.p.sq.array + r.p.sqEntries*4}, {&r.cq, 0x8000000, r.p.cq.cqes + r.p.cqEntries*16}, {&r.entries, 0x10000000, r.p.sqEntries * 64}} {
		var err error
		if *m.to, err = unix.Mmap(r.fd, m.at, int(m.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// put puts an entry where the kernel takes it from.
func (r *ring) put(i uint32, fill func(entry []byte)) {
	fill(r.entries[i*64 : i*64+64])
	binary.NativeEndian.PutUint64(r.entries[i*64+32:], uint64(i))
	binary.NativeEndian.PutUint32(r.sq[r.p.sq.array+4*i:], i)
	binary.NativeEndian.PutUint32(r.sq[r.p.sq.tail:], i+1)
}

func (r *ring) enter(submit, wait int) error {
	if _, _, e := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(submit), uintptr(wait), 1, 0, 0); e != 0 { // IORING_ENTER_GETEVENTS
		return fmt.Errorf("io_uring_enter: %w", e)
	}
	return nil
}

// result is what came of an entry that is done.
func (r *ring) result(of uint64) error {
	done := binary.NativeEndian.Uint32(r.cq[r.p.cq.tail:])
	for i := range done {
		c := r.cq[r.p.cq.cqes+16*i:]
		if binary.NativeEndian.Uint64(c) != of {
			continue
		}
		if result := int32(binary.NativeEndian.Uint32(c[8:])); result < 0 {
			return unix.Errno(-result)
		}
		return nil
	}
	return fmt.Errorf("entry %d is not done", of)
}

// uringLent opens a file for writing by io_uring, under credentials that are not those
// of the thread by then: "personality", lent by their number; "drain", those it had when
// it asked, for something that had to wait. They lack the capability that an overlay's lack.
func uringLent(how, path string) error {
	runtime.LockOSThread()
	name, here := bytePtr(path), int32(unix.AT_FDCWD)
	if fd, err := unix.Open(path, unix.O_RDONLY, 0); err == nil { // then the kernel need not wait for the way there
		unix.Close(fd)
	}
	r, err := openRing()
	if err != nil {
		return err
	}
	full, err := lowerResource()
	if err != nil {
		return err
	}
	open := func(entry []byte) {
		entry[0] = 18 // IORING_OP_OPENAT
		binary.NativeEndian.PutUint32(entry[4:], uint32(here))
		binary.NativeEndian.PutUint64(entry[16:], uint64(uintptr(unsafe.Pointer(name))))
		binary.NativeEndian.PutUint32(entry[28:], unix.O_WRONLY)
	}
	defer runtime.KeepAlive(name)
	if how == "personality" {
		id, _, e := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), 9, 0, 0, 0, 0) // IORING_REGISTER_PERSONALITY
		if e != 0 {
			return fmt.Errorf("io_uring_register: %w", e)
		}
		if err := full(); err != nil {
			return err
		}
		r.put(0, func(entry []byte) {
			open(entry)
			binary.NativeEndian.PutUint16(entry[42:], uint16(id))
		})
		if err := r.enter(1, 1); err != nil {
			return err
		}
		return r.result(0)
	}
	var pipe [2]int
	if err := unix.Pipe(pipe[:]); err != nil {
		return err
	}
	r.put(0, func(entry []byte) {
		entry[0] = 6 // IORING_OP_POLL_ADD
		binary.NativeEndian.PutUint32(entry[4:], uint32(pipe[0]))
		binary.NativeEndian.PutUint32(entry[28:], unix.POLLIN)
	})
	r.put(1, func(entry []byte) {
		open(entry)
		entry[1] = 1 << 1 // IOSQE_IO_DRAIN
	})
	if err := r.enter(2, 0); err != nil {
		return err
	}
	if err := full(); err != nil {
		return err
	}
	if _, err := unix.Write(pipe[1], []byte("x")); err != nil {
		return err
	}
	if err := r.enter(0, 2); err != nil {
		return err
	}
	return r.result(1)
}

// lowerResource takes CAP_SYS_RESOURCE from the thread; what it returns gives it back.
func lowerResource() (back func() error, err error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var before, now [2]unix.CapUserData
	if err := unix.Capget(&header, &before[0]); err != nil {
		return nil, err
	}
	now = before
	now[0].Effective &^= 1 << unix.CAP_SYS_RESOURCE
	return func() error { return unix.Capset(&header, &before[0]) }, unix.Capset(&header, &now[0])
}
