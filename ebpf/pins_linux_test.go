// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
)

// Two daemons over one kernel side would undo each other's work for ever.
func TestOneDaemonForAPinDirectory(t *testing.T) {
	dir := pinDir(t)
	k := open(t, dir)
	must(t, k.SetPolicy(Generation{Number: 1, Enforce: true, Net: openNet}))
	must(t, k.SetDaemon(os.Getpid(), true))
	must(t, k.Attach())
	second := func(when string) {
		t.Helper()
		other, err := Open(Options{PinDir: dir, Cgroup: FindCgroup()})
		if err == nil {
			other.Close()
		}
		if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "pid "+strconv.Itoa(os.Getpid())) {
			t.Errorf("%s, a second one: %v", when, err)
		}
	}
	second("while one runs")
	if got := k.Inspect(1); got != nil {
		t.Errorf("the second one changed something: %+v", got)
	}
	must(t, os.RemoveAll(dir))
	if got := k.Inspect(1); len(got) == 0 {
		t.Error("that nothing is pinned was not noticed")
	}
	second("after the directory was removed")
	must(t, k.Close())
	if next := open(t, dir); !next.TookOver() {
		t.Error("when the first one has ended, its successor does not find it")
	}
}

// pinMap pins a map of somebody else's.
func pinMap(t *testing.T, path string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	must(t, err)
	defer m.Close()
	must(t, m.Pin(path))
}

// Only what Paddock pinned is removed.
func TestPinsOfOthersStay(t *testing.T) {
	dir := pinDir(t)
	all := []string{
		filepath.Join(dir, "firewall", "maps", "held"), filepath.Join(dir, "0123456789abcdef", "sessions"), filepath.Join(dir, "0123456789abcde", "maps", "held"),
	}
	for _, path := range all {
		pinMap(t, path)
	}
	k := open(t, dir)
	must(t, k.SetPolicy(Generation{Number: 1, Enforce: true, Net: openNet}))
	must(t, k.Attach())
	if !InForce(dir) {
		t.Error("nothing is said to be in force")
	}
	must(t, k.DropOthers())
	must(t, k.Detach())
	for _, path := range all {
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("a map of somebody else's: %v", err)
		}
	}
	if _, err := os.Lstat(k.pinned("")); err == nil || InForce(dir) {
		t.Error("Paddock's own is left")
	}
}

// What could not be opened leaves nothing that the next daemon takes for another's.
func TestFailedOpenLeavesNothing(t *testing.T) {
	dir := pinDir(t)
	pinMap(t, filepath.Join(dir, "0123456789abcdef", "maps", kernelMapProcs))
	k, err := Open(Options{PinDir: dir, Cgroup: FindCgroup()})
	if err == nil {
		k.Close()
		t.Fatal("a map of another layout was taken over")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left: %v, %v", entries, err)
	}
}
