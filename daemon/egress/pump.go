// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"errors"
	"io"
	"sync/atomic"
)

// farError is what happened on the side that bytes go to.
type farError struct{ error }

// Unwrap implements errors.Unwrap.
func (e farError) Unwrap() error { return e.error }

// pump moves bytes from src to dst, on Linux inside the kernel: limit of them, or with -1 all
// until src ends. It adds what was moved to count. io.ErrUnexpectedEOF: src ended
// before limit.
func (p pipes) pump(dst, src *sock, limit int64, count *atomic.Int64) error {
	for limit != 0 {
		want := int64(pipeSize)
		if limit > 0 {
			want = min(want, limit)
		}
		through, n, err := p.fill(src, want)
		switch {
		case errors.Is(err, io.EOF) && limit > 0:
			return io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := p.drain(dst, through, n, count); err != nil {
			return farError{err}
		}
		if limit > 0 {
			limit -= n
		}
	}
	return nil
}
