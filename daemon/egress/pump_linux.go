// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"errors"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// pipeSize is how much a pipe holds, in bytes; and so how much is on its way in one
// direction between the buffers of the two sockets.
const pipeSize = 1 << 20

// pipes are free ones. A connection has one only while bytes move, so that an idle
// one costs two sockets and nothing else.
type pipes struct{ large, small chan pipe }

// pipe is one, or a buffer where no more files may be open: then a connection is slower,
// and lives. What a small one holds is the kernel's choice: 64 KiB.
type pipe struct {
	r, w   int
	large  bool
	buffer []byte
}

const bufferSize = 16 << 10

func newPipes() pipes { return pipes{make(chan pipe, 64), make(chan pipe, 64)} }

// of returns the free ones of a size.
func (p pipes) of(large bool) chan pipe {
	if large {
		return p.large
	}
	return p.small
}

func (p pipes) get(large bool) (pipe, error) {
	select {
	case free := <-p.of(large):
		return free, nil
	default:
	}
	var fds [2]int
	err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK)
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
		return pipe{buffer: make([]byte, bufferSize)}, nil
	}
	if err != nil {
		return pipe{}, os.NewSyscallError("pipe2", err)
	}
	if large {
		_, _ = unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, pipeSize) // it works with less
	}
	return pipe{r: fds[0], w: fds[1], large: large}, nil
}

// put takes back an empty pipe.
func (p pipes) put(free pipe) {
	if free.buffer != nil {
		return
	}
	select {
	case p.of(free.large) <- free:
	default:
		free.close()
	}
}

func (p pipe) close() {
	if p.buffer == nil {
		_ = unix.Close(p.r)
		_ = unix.Close(p.w)
	}
}

// in moves up to most bytes into it, out from it; of a socket that would wait it is
// EAGAIN.
func (p pipe) in(from int, most int64) (int64, error) {
	if p.buffer != nil {
		return again(func() (int, error) { return unix.Read(from, p.buffer[:min(most, bufferSize)]) })
	}
	return splice(from, p.w, most)
}

func (p *pipe) out(to int, most int64) (int64, error) {
	if p.buffer != nil {
		n, err := again(func() (int, error) { return unix.Write(to, p.buffer[:most]) })
		p.buffer = p.buffer[n:]
		return n, err
	}
	return splice(p.r, to, most)
}

func (p pipes) close() {
	for {
		select {
		case free := <-p.large:
			free.close()
		case free := <-p.small:
			free.close()
		default:
			return
		}
	}
}

// fill waits until src has bytes, and moves up to want of them into a pipe; io.EOF: there
// never will be any. While it waits there is no pipe.
func (p pipes) fill(src *sock, want int64) (through pipe, n int64, err error) {
	return p.take(src, want, true)
}

// push moves what src has now and what one packet has room for, without waiting. dst
// must have that room.
func (p pipes) push(dst, src *sock, count *atomic.Int64) error {
	through, n, err := p.take(src, onePush, false)
	if errors.Is(err, io.EOF) || errors.Is(err, unix.EAGAIN) {
		return nil // fill will say so again
	}
	if err != nil {
		return err
	}
	return p.drain(dst, through, n, count)
}

// onePush is what every socket takes on which nothing waits to be sent, in bytes.
const onePush = 4 << 10

func (p pipes) take(src *sock, want int64, wait bool) (through pipe, n int64, err error) {
	var bad error
	failed := src.raw.Read(func(fd uintptr) bool {
		most, large := src.lane.room()
		if through, bad = p.get(large); bad != nil {
			return true
		}
		n, err = through.in(int(fd), min(want, most))
		if err != nil || n == 0 {
			p.put(through)
		}
		return !wait || !errors.Is(err, unix.EAGAIN)
	})
	switch {
	case failed != nil:
		return pipe{}, 0, failed
	case bad != nil:
		return pipe{}, 0, bad
	case err != nil:
		return pipe{}, 0, os.NewSyscallError("splice", err)
	case n == 0:
		return pipe{}, 0, io.EOF
	}
	src.lane.took(n)
	return through, n, nil
}

// drain moves the n bytes that are in a pipe to dst, and takes the pipe back. They are
// counted before whoever gets them can act on them.
func (p pipes) drain(dst *sock, through pipe, n int64, count *atomic.Int64) error {
	defer dst.lane.gave()
	count.Add(n)
	for n > 0 {
		var m int64
		var err error
		failed := dst.raw.Write(func(fd uintptr) bool {
			m, err = through.out(int(fd), n)
			return !errors.Is(err, unix.EAGAIN)
		})
		if failed != nil || err != nil {
			through.close()
			count.Add(-n)
			if failed != nil {
				return failed
			}
			return os.NewSyscallError("splice", err)
		}
		n -= m
	}
	p.put(through)
	return nil
}

func splice(from, to int, most int64) (int64, error) {
	return again(func() (int, error) {
		n, err := unix.Splice(from, nil, to, nil, int(most), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		return int(n), err
	})
}

// again moves bytes until no signal comes in between.
func again(move func() (int, error)) (int64, error) {
	for {
		n, err := move()
		if !errors.Is(err, unix.EINTR) {
			return int64(max(n, 0)), err
		}
	}
}
