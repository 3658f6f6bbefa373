// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// met is what a test is told of processes.
type met struct {
	pid   int
	alive bool
	exe   string
}

// fences are files whose notices come after all that was done before. What was told of
// the others is known then: notices are taken one by one.
type fences struct {
	met chan string
	n   int
}

func newFences() *fences { return &fences{met: make(chan string, 1<<10)} }

const fencePrefix = "fence-"

// and is matters, with the fences.
func (f *fences) and(matters func(path string) bool) func(path string) bool {
	return func(path string) bool {
		if name := filepath.Base(path); strings.HasPrefix(name, fencePrefix) {
			f.met <- name
			return false
		}
		return matters(path)
	}
}

// wait has somebody make one, and waits for it.
func (f *fences) wait(t *testing.T, dir string) {
	t.Helper()
	f.n++
	name := fencePrefix + strconv.Itoa(f.n)
	if out, err := exec.Command("mkdir", filepath.Join(dir, name)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for late := time.After(20 * time.Second); ; {
		select {
		case met := <-f.met:
			if met == name {
				return
			}
		case <-late:
			t.Fatal("it was not noticed")
		}
	}
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
	f := newFences()
	a.Watch([]string{dir, filepath.Join(dir, "not there")}, f.and(everything))
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
			f.wait(t, dir)
			if act, ok := a.Last(filepath.Join(dir, c.path), before); !ok || c.name == "writes" && act.PID != cmd.Process.Pid {
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
	f := newFences()
	a.Watch([]string{dir}, f.and(func(path string) bool { return filepath.Base(path) != "nobody cares" }))
	if err := os.WriteFile(filepath.Join(dir, "ours"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("touch", filepath.Join(dir, "nobody cares"), filepath.Join(dir, "theirs")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f.wait(t, dir)
	if _, ok := a.Last(filepath.Join(dir, "theirs"), time.Time{}); !ok {
		t.Error("theirs was not noticed")
	}
	for _, name := range []string{"ours", "nobody cares"} {
		if act, ok := a.Last(filepath.Join(dir, name), time.Time{}); ok {
			t.Errorf("%s: %+v", name, act)
		}
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
