// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// GiveBackMemory gives the kernel what only the start of this process needed: garbage, and what was read of its own program.
// What is needed of that later is mapped again from the page cache. It is an economy, so nothing depends on it.
func GiveBackMemory() {
	debug.FreeOSMemory()
	own, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	lines := bufio.NewScanner(bytes.NewReader(maps))
	for lines.Scan() {
		var from, to uintptr
		var may, offset, device, inode, path string
		_, err := fmt.Sscanf(lines.Text(), "%x-%x %s %s %s %s %s", &from, &to, &may, &offset, &device, &inode, &path)
		if err != nil || path != own || may != "r-xp" && may != "r--p" {
			continue // above all what can be written to: its pages are nowhere else
		}
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
	}
}
