// SPDX-License-Identifier: Apache-2.0

// Package program makes the smallest programs there are, for tests that must know every instruction of one.
package program

import (
	"bytes"
	"encoding/binary"
)

// Static is code as a static x86-64 executable: one header, one segment, and nothing else runs.
func Static(code []byte) []byte {
	const base, headers = 0x400000, 64 + 56
	size := uint64(headers + len(code))
	var b bytes.Buffer
	b.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	for _, field := range []any{
		uint16(2), uint16(62), uint32(1), uint64(base + headers), uint64(64), uint64(0), uint32(0), // ET_EXEC, EM_X86_64
		uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0),
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000), // PT_LOAD, r-x
	} {
		_ = binary.Write(&b, binary.LittleEndian, field) // a buffer takes everything
	}
	b.Write(code)
	return b.Bytes()
}
