// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sock is a TCP connection that can be looked into: what is peeked at stays in the
// kernel, so that an idle connection has no buffer here, and what was looked at is
// passed on like the rest.
type sock struct {
	*net.TCPConn
	raw  syscall.RawConn
	lane *lane // nil: as wide as the kernel makes it
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
	woken, before, over := false, -1, false
	err := s.raw.Read(func(fd uintptr) bool {
		for {
			n, _, failed = unix.Recvfrom(int(fd), buf, unix.MSG_PEEK|unix.MSG_DONTWAIT)
			switch {
			case errors.Is(failed, unix.EAGAIN):
				failed, n = nil, 0
			case errors.Is(failed, unix.EINTR):
				continue
			case failed != nil:
				return true
			case n == 0:
				failed = io.EOF
				return true
			}
			switch {
			case n > have || n == len(buf):
				return true
			case over:
				failed = io.EOF
				return true
			case !ended(int(fd), woken && n == before):
				woken, before = true, n
				return false
			}
			over = true // what came last may have come after it was looked for
		}
	})
	if err != nil {
		return n, err
	}
	if failed != nil && !errors.Is(failed, io.EOF) {
		failed = os.NewSyscallError("recv", failed)
	}
	return n, failed
}

// glance is peek for what is there now: 0 where that is nothing, or where the other side has ended.
func (s *sock) glance(buf []byte) (n int, err error) {
	failed := s.raw.Read(func(fd uintptr) bool {
		n, _, err = unix.Recvfrom(int(fd), buf, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return true
	})
	switch {
	case failed != nil:
		return 0, failed
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return 0, nil
	case err != nil:
		return 0, os.NewSyscallError("recv", err)
	}
	return n, nil
}

// peekUntil peeks until enough says so or the deadline is over (zero: there is none).
// It returns os.ErrDeadlineExceeded, io.EOF or errTooLong if enough never said so.
func (s *sock) peekUntil(buf []byte, have int, deadline time.Time, enough func([]byte) bool) (int, error) {
	// What is there already needs no deadline, and to set one may wake another thread.
	if n, err := s.glance(buf); err != nil {
		return have, err
	} else if n > have {
		if have = n; enough(buf[:have]) {
			return have, nil
		}
	}
	if err := s.SetReadDeadline(deadline); err != nil {
		return have, err
	}
	defer s.SetReadDeadline(time.Time{}) //nolint:errcheck // it cannot fail after it did not a moment ago
	for {
		n, err := s.peek(buf, have)
		have = max(have, n)
		if err != nil || enough(buf[:have]) {
			return have, err
		}
		if have == len(buf) {
			return have, errTooLong
		}
	}
}

// scratch are buffers for looking. There are few large ones, and of these a session has a
// share: one that makes many connections and sends a lot on each of them, but not all, waits for
// itself.
type scratch struct {
	small sync.Pool // of *[smallSniff]byte
	large chan *[maxSniff]byte
}

const (
	smallSniff = 4 << 10
	largeLooks = 128 // at a time

	looksPerSession = 16
)

func newScratch() *scratch {
	s := &scratch{large: make(chan *[maxSniff]byte, largeLooks)}
	s.small.New = func() any { return new([smallSniff]byte) }
	for range largeLooks {
		s.large <- nil
	}
	return s
}

// look shows enough what s has to read, as often as more has come, until it says that
// it is enough. Errors are those of peekUntil. What enough was shown is not to be kept.
func (l *scratch) look(s *sock, deadline time.Time, enough func([]byte) bool) error {
	small := l.small.Get().(*[smallSniff]byte)
	have, err := s.peekUntil(small[:], 0, deadline, enough)
	l.small.Put(small)
	if !errors.Is(err, errTooLong) {
		return err
	}
	var expired <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		expired = timer.C
	}
	if s.lane != nil {
		select {
		case s.lane.share.looks <- struct{}{}:
			defer func() { <-s.lane.share.looks }()
		case <-expired:
			return os.ErrDeadlineExceeded
		}
	}
	select {
	case large := <-l.large:
		if large == nil {
			large = new([maxSniff]byte)
		}
		defer func() { l.large <- large }()
		_, err = s.peekUntil(large[:], have-1, deadline, enough)
		return err
	case <-expired:
		return os.ErrDeadlineExceeded
	}
}

var errTooLong = errors.New("too many bytes to look at")

// gone waits until the other side has closed or the deadline passes. It reads
// nothing. A client that has only closed its own direction counts as gone: what it
// would still read cannot be known.
func (s *sock) gone() error {
	return s.wait(func(_ int, fd uintptr) bool { return ended(int(fd), false) })
}

// wait returns, with io.EOF, when the other side has ended and everything is read,
// or when ready says so of the number of bytes there are: 0 or 1.
func (s *sock) wait(ready func(n int, fd uintptr) bool) error {
	var failed error
	err := s.raw.Read(func(fd uintptr) bool {
		var one [1]byte
		n, _, err := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			n = 0
		case err != nil:
			failed = os.NewSyscallError("recv", err)
			return true
		case n == 0:
			failed = io.EOF
			return true
		}
		return ready(n, fd)
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
