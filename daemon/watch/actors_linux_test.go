// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// met is what a test is told of processes.
type met struct {
	pid   int
	alive bool
	exe   string
}

func listen(t *testing.T) (*Actors, chan met) {
	t.Helper()
	seen := make(chan met, 1<<16)
	a, err := NewActors(slog.New(slog.DiscardHandler), func(pid int, alive bool) any {
		exe, _ := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
		seen <- met{pid, alive, exe}
		return exe
	})
	if err != nil {
		t.Fatal(err) // these tests run as root on 5.10 and newer
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a, seen
}

func everything(string) bool { return true }

// Who writes, removes, renames and changes modes is known while it lives.
func TestActors(t *testing.T) {
	dir := t.TempDir()
	a, seen := listen(t)
	a.Watch([]string{dir, filepath.Join(dir, "not there")}, everything)
	for _, c := range []struct{ name, does, path string }{
		{"writes", "echo > f", "f"},
		{"changes the mode", "chmod 600 f", "f"},
		{"renames", "mv f g", "g"},
		{"removes", "rm g", "g"},
		{"makes a directory", "mkdir d", "d"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := time.Now()
			cmd := exec.Command("/bin/sh", "-c", c.does+"; read x")
			cmd.Dir = dir
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-seen:
			case <-time.After(20 * time.Second):
				t.Error("nobody was seen")
			}
			in.Close()
			if err := cmd.Wait(); err == nil {
				t.Error("read without input does not fail")
			}
			waitFor(t, func() bool { _, ok := a.Last(filepath.Join(dir, c.path), before); return ok })
			if act, _ := a.Last(filepath.Join(dir, c.path), before); c.name == "writes" && act.PID != cmd.Process.Pid {
				t.Errorf("it was %d, and not %d", cmd.Process.Pid, act.PID)
			}
			if _, ok := a.Last(filepath.Join(dir, c.path), time.Now()); ok {
				t.Error("somebody did it later than now")
			}
		})
	}
}

// The daemon's own changes are nobody's, and of what does not matter nobody is met.
func TestActorsLeaveUsOut(t *testing.T) {
	dir := t.TempDir()
	a, _ := listen(t)
	a.Watch([]string{dir}, func(path string) bool { return filepath.Base(path) != "nobody cares" })
	if err := os.WriteFile(filepath.Join(dir, "ours"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("touch", filepath.Join(dir, "nobody cares"), filepath.Join(dir, "theirs")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	waitFor(t, func() bool { _, ok := a.Last(filepath.Join(dir, "theirs"), time.Time{}); return ok })
	for _, name := range []string{"ours", "nobody cares"} {
		if act, ok := a.Last(filepath.Join(dir, name), time.Time{}); ok {
			t.Errorf("%s: %+v", name, act)
		}
	}
}

// waitFor waits until what is noticed elsewhere is true.
func waitFor(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); {
		if time.Now().After(deadline) {
			t.Fatal("it was not noticed")
		}
		time.Sleep(time.Millisecond)
	}
}

func FuzzParseActs(f *testing.F) {
	f.Add(make([]byte, 24))
	f.Add([]byte("\x40\x00\x00\x00\x03\x00\x18\x00abcdefgh\xff\xff\xff\xff\x01\x00\x00\x00\x02\x00\x1c\x00fsidfsid\x04\x00\x00\x00\x01\x00\x00\x00hndlnam\x00\x04\x00\x08\x00\xff\xff\xff\xff\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, n := range parseActs(b) {
			if len(n.name) > len(b) || len(n.dir) > 4*len(b) {
				t.Fatalf("%+v of %d bytes", n, len(b))
			}
		}
	})
}
