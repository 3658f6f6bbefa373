// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestGiveBackMemory(t *testing.T) {
	resident := func() int {
		t.Helper()
		status, err := os.ReadFile("/proc/self/status")
		must(t, err)
		_, line, _ := strings.Cut(string(status), "\nRssFile:")
		kb, err := strconv.Atoi(strings.Fields(line)[0])
		must(t, err)
		return kb
	}
	before := resident()
	after := before
	for range 5 { // what runs is there again at once, and other tests may have left much that does
		GiveBackMemory()
		after = min(after, resident())
	}
	if after > before/4*3 {
		t.Errorf("%d kB of files are resident, and %d were before", after, before)
	}
}

// Relocations, and what a debugger writes, are in pages that cannot be written to any more.
func TestGiveBackMemoryKeepsWhatWasWritten(t *testing.T) {
	own, err := os.Open("/proc/self/exe")
	must(t, err)
	defer own.Close()
	page, err := unix.Mmap(int(own.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	must(t, err)
	defer func() { must(t, unix.Munmap(page)) }()
	page[0] = '!'
	must(t, unix.Mprotect(page, unix.PROT_READ))
	GiveBackMemory()
	if page[0] != '!' {
		t.Error("what was written is gone")
	}
}
