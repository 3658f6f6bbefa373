// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"errors"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// pipeSize is how much a pipe holds, in bytes; and so how much is on its way in one
// direction between the buffers of the two sockets.
const pipeSize = 256 << 10

// pipes are free ones. A connection has one only while bytes move, so that an idle
// one costs two sockets and nothing else.
type pipes chan pipe

type pipe struct{ r, w int }

func newPipes() pipes { return make(pipes, 64) }

func (p pipes) get() (pipe, error) {
	select {
	case free := <-p:
		return free, nil
	default:
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return pipe{}, os.NewSyscallError("pipe2", err)
	}
	_, _ = unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, pipeSize) // it works with less
	return pipe{fds[0], fds[1]}, nil
}

// put takes back an empty pipe.
func (p pipes) put(free pipe) {
	select {
	case p <- free:
	default:
		free.close()
	}
}

func (p pipe) close() {
	_ = unix.Close(p.r)
	_ = unix.Close(p.w)
}

func (p pipes) close() {
	for {
		select {
		case free := <-p:
			free.close()
		default:
			return
		}
	}
}

// burst moves what is there, up to limit (-1: all).
func (p pipes) burst(dst, src *sock, limit int64, count *atomic.Int64) (moved int64, err error) {
	through, err := p.get()
	if err != nil {
		return 0, err
	}
	left := int64(0) // in the pipe
	defer func() {
		if left == 0 {
			p.put(through)
		} else {
			through.close()
		}
	}()
	for limit < 0 || moved < limit {
		want := int64(pipeSize)
		if limit >= 0 {
			want = min(want, limit-moved)
		}
		n, err := src.spliceIn(through, want)
		if err != nil || n == 0 {
			return moved, err // n 0: nothing there now, or the end, which readable tells
		}
		left = n
		for left > 0 {
			m, err := dst.spliceOut(through, left)
			left -= m
			moved += m
			count.Add(m)
			if err != nil {
				return moved, err
			}
		}
	}
	return moved, nil
}

func (s *sock) spliceIn(p pipe, want int64) (n int64, err error) {
	failed := s.raw.Read(func(fd uintptr) bool {
		for {
			n, err = unix.Splice(int(fd), nil, p.w, nil, int(want), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
			if err != unix.EINTR {
				return true
			}
		}
	})
	if failed != nil {
		return 0, failed
	}
	if errors.Is(err, unix.EAGAIN) {
		return 0, nil
	}
	return n, os.NewSyscallError("splice", err)
}

func (s *sock) spliceOut(p pipe, want int64) (n int64, err error) {
	failed := s.raw.Write(func(fd uintptr) bool {
		for {
			n, err = unix.Splice(p.r, nil, int(fd), nil, int(want), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if failed != nil {
		return 0, failed
	}
	return n, os.NewSyscallError("splice", err)
}
