// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// turns is a program that makes no system call, ever: once it runs, only what comes before its first instruction
// could have kept it.
func turns(t *testing.T) string {
	t.Helper()
	const base, headers = 0x400000, 64 + 56
	code := []byte{0xeb, 0xfe} // jmp to itself
	size := uint64(headers + len(code))
	b := bytes.NewBuffer([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	for _, field := range []any{
		uint16(2), uint16(62), uint32(1), uint64(base + headers), uint64(64), uint64(0), uint32(0), // ET_EXEC, EM_X86_64
		uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0),
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000), // PT_LOAD, r-x
	} {
		must(t, binary.Write(b, binary.LittleEndian, field))
	}
	b.Write(code)
	path := filepath.Join(t.TempDir(), "turns")
	must(t, os.WriteFile(path, b.Bytes(), 0o755))
	return path
}

// A sibling sends SIGCONT all the time, before the stop, during it and after: not one instruction runs.
func TestWokenProcessRunsNoInstruction(t *testing.T) {
	k := enforcing(t)
	err := k.WatchWoken()
	kernel := os.Getenv("PADDOCK_VM")
	if errors.Is(err, ErrNoReturn) && (kernel == "" || strings.HasPrefix(kernel, "5.10")) {
		t.Log(err) // not a skip: there, at its first system call is all that can be had
		return
	}
	must(t, err)
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
