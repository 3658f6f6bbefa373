// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"fmt"
	"os"
)

// Identify returns the kernel's own identity of every file this process has
// open, by descriptor. stat(2) cannot say: on overlayfs and btrfs it reports
// another device than the inode's, and the hooks see the inode.
func (k *Kernel) Identify() (map[int]FileID, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.maps[kernelMapProbePid].Put(uint32(0), uint32(os.Getpid())); err != nil {
		return nil, fmt.Errorf("asking for file identities: %w", err)
	}
	all, err := iterate[kernelProbedFile](k, kernelProgProbeFiles)
	if err != nil {
		return nil, err
	}
	files := map[int]FileID{}
	for _, f := range all {
		files[int(f.Fd)] = fileID(f.Id)
	}
	return files, nil
}
