// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sock is a TCP connection that can be looked into: what is peeked at stays in the
// kernel, so that an idle connection has no buffer here, and what was looked at is
// passed on like the rest.
type sock struct {
	*net.TCPConn
	raw syscall.RawConn
}

func newSock(c *net.TCPConn) (*sock, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &sock{TCPConn: c, raw: raw}, nil
}

// peek waits until more than have bytes can be read, and returns how many of them
// are in buf now. io.EOF: no more than have will ever come.
func (s *sock) peek(buf []byte, have int) (int, error) {
	var n int
	var failed error
	woken, before := false, -1
	err := s.raw.Read(func(fd uintptr) bool {
		n, _, failed = unix.Recvfrom(int(fd), buf, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch {
		case errors.Is(failed, unix.EAGAIN):
			failed, n = nil, 0
		case errors.Is(failed, unix.EINTR):
			failed, n = nil, 0
			return false
		case failed != nil:
			return true
		case n == 0:
			failed = io.EOF
			return true
		}
		if n > have || n == len(buf) {
			return true
		}
		if ended(int(fd), woken && n == before) {
			failed = io.EOF
			return true
		}
		woken, before = true, n
		return false
	})
	if err != nil {
		return n, err
	}
	if failed != nil && failed != io.EOF {
		failed = os.NewSyscallError("recv", failed)
	}
	return n, failed
}

// peekUntil peeks until enough says so or the deadline is over. It returns what is
// there, and os.ErrDeadlineExceeded or io.EOF if enough never said so.
func (s *sock) peekUntil(buf []byte, deadline time.Time, enough func([]byte) bool) ([]byte, error) {
	if err := s.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	defer s.SetReadDeadline(time.Time{}) //nolint:errcheck // it cannot fail after it did not a moment ago
	have := 0
	for {
		n, err := s.peek(buf, have)
		if n >= have {
			have = n
		}
		if err != nil || enough(buf[:have]) {
			return buf[:have], err
		}
		if have == len(buf) {
			return buf, errTooLong
		}
	}
}

var errTooLong = errors.New("too many bytes to look at")

// gone waits until the other side has closed or the deadline passes. It reads
// nothing. A client that has only closed its own direction counts as gone: what it
// would still read cannot be known.
func (s *sock) gone() error {
	var failed error
	err := s.raw.Read(func(fd uintptr) bool {
		var one [1]byte
		n, _, err := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		case err != nil:
			failed = err
			return true
		case n == 0, ended(int(fd), false):
			failed = io.EOF
			return true
		}
		return false
	})
	if err != nil {
		return err
	}
	return failed
}

// abort closes the connection so that the other side learns that something failed.
func (s *sock) abort() {
	_ = s.SetLinger(0)
	_ = s.Close()
}

// take reads exactly len(b) bytes, which were peeked at.
func (s *sock) take(b []byte) error {
	_, err := io.ReadFull(s.TCPConn, b)
	return err
}
