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
	var p uringParams
	ring, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&p)), 0)
	if e != 0 {
		return fmt.Errorf("io_uring_setup: %w", e)
	}
	sq, err := unix.Mmap(int(ring), 0, int(p.sq.array+p.sqEntries*4), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	cq, err := unix.Mmap(int(ring), 0x8000000, int(p.cq.cqes+p.cqEntries*16), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	entries, err := unix.Mmap(int(ring), 0x10000000, int(p.sqEntries*64), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	fill(entries[:64])
	binary.NativeEndian.PutUint32(sq[p.sq.array:], 0)
	binary.NativeEndian.PutUint32(sq[p.sq.tail:], 1)
	if _, _, e := unix.Syscall6(unix.SYS_IO_URING_ENTER, ring, 1, 1, 1, 0, 0); e != 0 { // IORING_ENTER_GETEVENTS
		return fmt.Errorf("io_uring_enter: %w", e)
	}
	if result := int32(binary.NativeEndian.Uint32(cq[p.cq.cqes+8:])); result < 0 {
		return unix.Errno(-result)
	}
	return nil
}
