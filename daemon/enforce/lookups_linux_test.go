// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const ownMounts = "PADDOCK_TEST_OWN_MOUNTS"

// dead mounts a file system that never answers, and returns what ends it.
func dead(t *testing.T, dir string) (end func()) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755))
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	must(t, err)
	must(t, unix.Mount("dead", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40755,user_id=0,group_id=0", fd)))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	open := true
	end = func() {
		if open {
			open = false
			unix.Close(fd) // whoever waits gets an error
		}
	}
	t.Cleanup(end)
	return end
}

// A file system that never answers keeps neither the policy from being applied nor a
// session from being bound, and is told.
func TestPlaceThatHangs(t *testing.T) {
	if os.Getenv(ownMounts) == "" {
		// Nobody else on the machine may come across it.
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestPlaceThatHangs$", "-test.v")
		cmd.Env = append(os.Environ(), ownMounts+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestPlaceThatHangs") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	m := newMachine(t, "")
	b := &boundedMachine{machine: m}
	b.project, b.around = layOut(t, m.dir)
	gone := filepath.Join(m.dir, "gone")
	end := dead(t, gone)
	m.lookups.limit = 50 * time.Millisecond
	// By a path, through a link, and by a pattern.
	must(t, os.Symlink(gone, filepath.Join(m.dir, "link")))
	place, link, pattern := filepath.Join(gone, "secret"), filepath.Join(m.dir, "link/deep"), filepath.Join(gone, "*/key")
	b.bound(fmt.Sprintf("temporary = false\nunreadable = [%q, %q, \"AROUND/secret\"]\nwritable = [%q]\n", place, pattern, link))
	if got := m.lookups.hanging(); !slices.Equal(got, []string{pattern, place, link}) {
		t.Errorf("hanging: %q", got)
	}
	m.canary.gates = []Gate{{Gate: "boundary"}}
	if g := m.Gates(); !strings.Contains(g[0].Detail, place) {
		t.Errorf("told: %+v", g)
	}
	known := len(m.now.Load().boundary.bounds.Files)
	if known == 0 {
		t.Error("of the other places nothing is known either")
	}
	// A session that begins there has a boundary and no project; others have theirs.
	said := make(chan string, 1)
	go func() { said <- b.all(true, attempts{"work": `echo x >new && echo done`})["work"] }()
	select {
	case text := <-said:
		if !strings.Contains(text, "done") {
			t.Errorf("a session elsewhere: %q", text)
		}
	case <-time.After(waitLimit):
		t.Fatal("a session elsewhere does not get on")
	}
	// Once it answers, it is looked at again.
	end()
	timer := time.NewTimer(waitLimit)
	defer timer.Stop()
	for len(m.lookups.hanging()) > 0 {
		select {
		case <-m.lookups.answered:
		case <-time.After(10 * time.Millisecond): // the sweep may have taken it
		case <-timer.C:
			t.Fatalf("still hanging: %q", m.lookups.hanging())
		}
	}
	must(t, m.refreshBoundary(true))
	if got := len(m.now.Load().boundary.bounds.Files); got < known {
		t.Errorf("%d files are known after it came back, %d while it hung", got, known)
	}
}

// What hung once is not waited for again, and its answer is not used when it comes
// late.
func TestLookIsBounded(t *testing.T) {
	var l lookups
	l.init()
	l.limit = time.Millisecond
	block := make(chan struct{})
	slow := func() (int, error) { <-block; return 1, nil }
	for range 3 {
		if _, err := look(&l, "slow", slow); err == nil || !strings.Contains(err.Error(), "slow: it does not answer") {
			t.Fatalf("%v", err)
		}
	}
	close(block)
	<-l.answered
	l.limit = time.Minute
	if n, err := look(&l, "slow", func() (int, error) { return 2, nil }); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
