// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"fmt"
	"io"
	"os"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
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
	if k.probe == nil {
		coll, err := k.collection([]string{kernelProgProbeFiles})
		if err != nil {
			return nil, fmt.Errorf("loading the file iterator: %w", err)
		}
		k.probe = coll.DetachProgram(kernelProgProbeFiles)
		coll.Close()
	}
	return readFiles(k.probe)
}

func readFiles(probe *ebpf.Program) (map[int]FileID, error) {
	it, err := link.AttachIter(link.IterOptions{Program: probe})
	if err != nil {
		return nil, fmt.Errorf("attaching the file iterator: %w", err)
	}
	defer it.Close()
	rd, err := it.Open()
	if err != nil {
		return nil, fmt.Errorf("opening the file iterator: %w", err)
	}
	defer rd.Close()
	raw, err := io.ReadAll(rd)
	if err != nil {
		return nil, fmt.Errorf("reading file identities: %w", err)
	}
	const size = int(unsafe.Sizeof(kernelProbedFile{}))
	files := map[int]FileID{}
	for ; len(raw) >= size; raw = raw[size:] {
		f, err := view[kernelProbedFile](raw)
		if err != nil {
			return nil, err
		}
		files[int(f.Fd)] = fileID(f.Id)
	}
	return files, nil
}
