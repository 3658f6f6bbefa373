// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mayBeMarked has the programs look for the mark of a process.
func (k *Kernel) mayBeMarked(pid int) error {
	size := os.Getpagesize()
	if pid < 0 || pid >= k.numbers() {
		return nil // they look
	}
	return k.eachMarked(pid/size*size, size, func(page []byte) { page[pid%size] = byte(kernelMarkMARKED_MAYBE) })
}

// allMayBeMarked has them look for every mark: the version of which marks were taken over did not say whose there are.
// It becomes exact with time, for what ends without a mark is not looked for any more.
func (k *Kernel) allMayBeMarked() error {
	return k.eachMarked(0, k.numbers(), func(all []byte) {
		for i := range all {
			all[i] = byte(kernelMarkMARKED_MAYBE)
		}
	})
}

// numbers is how many numbers of processes there is a byte for.
func (k *Kernel) numbers() int { return 8 * int(k.maps[kernelMapMarked].MaxEntries()) }

// eachMarked maps n of the bytes. They are written where they lie: a system call that updates an entry would undo what
// the kernel writes meanwhile about the seven other numbers in it.
func (k *Kernel) eachMarked(from, n int, write func([]byte)) error {
	bytes, err := unix.Mmap(k.maps[kernelMapMarked].FD(), int64(from), n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mapping which processes may be marked: %w", err)
	}
	write(bytes)
	if err := unix.Munmap(bytes); err != nil {
		return fmt.Errorf("unmapping which processes may be marked: %w", err)
	}
	return nil
}
