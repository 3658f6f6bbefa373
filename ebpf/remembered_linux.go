// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
)

// The kernel side remembers what it found on the way up from a directory: see
// bpf/walk.h. It is found again only in the epoch in which it was looked up.

// changeBounds changes what the boundary finds; k.filter is held. Meanwhile nothing is
// remembered, and afterwards nothing is known of what was: also if this daemon ends in
// between, since its successor begins with such a change.
func (k *Kernel) changeBounds(change func() error) error {
	m := k.maps[kernelMapBoundMemory]
	var v kernelMemory
	if err := m.Lookup(uint32(0), &v); err != nil {
		return fmt.Errorf("reading the boundary's memory: %w", err)
	}
	put := func() error {
		if err := m.Put(uint32(0), v); err != nil {
			return fmt.Errorf("beginning an epoch of the boundary's memory: %w", err)
		}
		return nil
	}
	if v.Key == [2]uint64{} {
		var b [16]byte
		_, _ = rand.Read(b[:]) // never fails
		v.Key = [2]uint64{binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:])}
	}
	v.Epoch |= 1
	if err := put(); err != nil {
		return err
	}
	err := change()
	v.Epoch++
	return errors.Join(err, put())
}
