// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package egress

import "sync/atomic"

// pipes are buffers where the kernel has no splice.
type pipes chan []byte

const pipeSize = 64 << 10

func newPipes() pipes { return make(pipes, 64) }

func (p pipes) close() {}

// readable waits until there are bytes to read; io.EOF: there never will be any.
func (s *sock) readable() error { return s.wait(func(n int, _ uintptr) bool { return n > 0 }) }

// push does nothing here: fill and drain will.
func (p pipes) push(_, _ *sock, _ *atomic.Int64) error { return nil }

// fill waits until src has bytes, and reads up to want of them; io.EOF: there never
// will be any. While it waits there is no buffer.
func (p pipes) fill(src *sock, want int64) (through []byte, n int64, err error) {
	if err := src.readable(); err != nil {
		return nil, 0, err
	}
	select {
	case through = <-p:
	default:
		through = make([]byte, pipeSize)
	}
	most, _ := src.lane.room()
	m, err := src.Read(through[:min(int64(len(through)), want, most)])
	if err != nil {
		p.put(through)
	} else {
		src.lane.took(int64(m))
	}
	return through, int64(m), err
}

// drain writes the n bytes of a buffer to dst, and takes the buffer back.
func (p pipes) drain(dst *sock, through []byte, n int64, count *atomic.Int64) error {
	defer p.put(through)
	defer dst.lane.gave()
	m, err := dst.Write(through[:n])
	count.Add(int64(m))
	return err
}

func (p pipes) put(free []byte) {
	select {
	case p <- free:
	default:
	}
}
