// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package egress

import (
	"errors"
	"io"
	"sync/atomic"
)

// pipes are buffers where the kernel has no splice.
type pipes chan []byte

const pipeSize = 64 << 10

func newPipes() pipes { return make(pipes, 64) }

func (p pipes) close() {}

// burst moves one buffer full.
func (p pipes) burst(dst, src *sock, limit int64, count *atomic.Int64) (int64, error) {
	var buf []byte
	select {
	case buf = <-p:
	default:
		buf = make([]byte, pipeSize)
	}
	defer func() {
		select {
		case p <- buf:
		default:
		}
	}()
	part := buf
	if limit > 0 {
		part = buf[:min(int64(len(buf)), limit)]
	}
	n, err := src.Read(part)
	if n == 0 {
		if errors.Is(err, io.EOF) {
			err = nil // the next look tells
		}
		return 0, err
	}
	n, err = dst.Write(part[:n])
	count.Add(int64(n))
	return int64(n), err
}
