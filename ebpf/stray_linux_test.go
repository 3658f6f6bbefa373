// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// The table of marks is full, and the parent's end does not make room in time: the child that cannot have a mark does nothing.
func TestNobodyIsBornWithoutAMark(t *testing.T) {
	eachWatch(t, func(t *testing.T, k *Kernel) {
		born := filepath.Join(t.TempDir(), "born")
		cmd, out, tell := waitingShell(t, "(: >"+born+"); (: >"+born+")")
		mark(t, k, cmd)
		fill(t, k)
		tell()
		_, err := io.ReadAll(out) // the child has it as well: it ends when both have
		must(t, err)
		_ = cmd.Wait() // its status says it all
		if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != syscall.SIGKILL {
			t.Errorf("who forked ended with %v, want SIGKILL", ws)
		}
		if _, err := os.Lstat(born); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a process without a mark made a file (%v)", err)
		}
	})
}

// fill takes all the room for marks that is left.
func fill(t *testing.T, k *Kernel) {
	t.Helper()
	m := k.maps[kernelMapProcs]
	left := int(m.MaxEntries()) - 1
	pids, marks := make([]uint32, left), make([]kernelProc, left)
	for i := range pids {
		pids[i] = uint32(k.numbers() - 1 - i) // no machine here has had so many processes
	}
	_, err := m.BatchUpdate(pids, marks, nil)
	must(t, err)
}
