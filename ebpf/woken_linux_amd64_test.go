// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/tests/program"
)

// turns is a program that makes no system call, ever: once it runs, only what comes before its first instruction
// could have kept it.
func turns(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "turns")
	must(t, os.WriteFile(path, program.Static([]byte{0xeb, 0xfe}), 0o755)) // jmp to itself
	return path
}

// A sibling sends SIGCONT all the time, before the stop, during it and after: not one instruction runs.
func TestWokenProcessRunsNoInstruction(t *testing.T) {
	k := enforcing(t)
	if !watches(t, k.WatchWoken()) {
		return
	}
	program := turns(t)
	for range 8 {
		cmd := governedShell(t, k, "exec "+program)
		done := make(chan struct{})
		go func() {
			_ = cmd.Wait() // its status says it all
			close(done)
		}()
		for woken := false; !woken; {
			select {
			case <-done: // or never: the test's time is over then
				woken = true
			default:
				_ = unix.Kill(cmd.Process.Pid, unix.SIGCONT)
			}
		}
		if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != syscall.SIGKILL {
			t.Fatalf("it ended with %v, want SIGKILL", ws)
		}
	}
}
