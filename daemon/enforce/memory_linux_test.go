// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"os"
	"strconv"
	"strings"
	"testing"
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
	GiveBackMemory()
	if after := resident(); after > before/2 {
		t.Errorf("%d kB of files are resident, and %d were before", after, before)
	}
}
