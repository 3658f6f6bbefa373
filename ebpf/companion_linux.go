// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// SetCompanion says which file the companion's program is: no session signals or
// traces who runs it, unless the session started it. nil: there is none.
func (k *Kernel) SetCompanion(id *InodeID) error {
	m := k.maps[kernelMapCompanions]
	var key, keep kernelInodeId
	if id != nil {
		keep = kernelInodeId{Ino: id.Ino, Dev: id.Dev}
		if err := m.Put(keep, uint32(1)); err != nil {
			return fmt.Errorf("protecting the companion: %w", err)
		}
	}
	var stale []kernelInodeId
	var v uint32
	it := m.Iterate()
	for it.Next(&key, &v) {
		if id == nil || key != keep {
			stale = append(stale, key)
		}
	}
	err := it.Err()
	for _, key := range stale {
		err = errors.Join(err, m.Delete(key))
	}
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("forgetting an earlier companion: %w", err)
	}
	return nil
}
