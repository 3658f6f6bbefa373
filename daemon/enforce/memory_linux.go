// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

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
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return
	}
	var from, to uintptr // of a part of the program that cannot be written to
	lines := bufio.NewScanner(bytes.NewReader(maps))
	for lines.Scan() {
		var start, end uintptr
		var may, offset, device, inode, path string
		n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s %s %s %s %s", &start, &end, &may, &offset, &device, &inode, &path)
		if n >= 6 {
			from, to = 0, 0
			if path == own && (may == "r-xp" || may == "r--p") {
				from, to = start, end
			}
		}
		// A page that was written to before (relocations, a debugger) is nowhere else.
		if amount, ok := strings.CutPrefix(lines.Text(), "Anonymous:"); ok && to != 0 && strings.TrimSpace(amount) == "0 kB" {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
		}
	}
}
