// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"testing"

	"golang.org/x/sys/unix"
)

// files returns how many files a process may have open, having raised that as far as
// it goes; processes it starts inherit it.
func files(t *testing.T) int {
	t.Helper()
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	l.Cur = l.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	return int(min(l.Cur, 1<<20))
}
