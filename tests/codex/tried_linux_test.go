// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/tests/bypass"
)

// The last file: what its daemon keeps other tests would find.
//
// The attacks of tests/bypass that are a shell command each, as tool calls of the
// real Codex.

// forbidID are Codex's and Paddock's requirements about programs.
const forbidID = `[rules]
prefix_rules = [{ pattern = [{ token = "id" }], decision = "forbidden" }]
`

// TestAttacksOnCodexAlone measures what Codex's own sandbox stops.
func TestAttacksOnCodexAlone(t *testing.T) {
	Isolated(t, func(t *testing.T) {
		tried(t, newPlace(t), Options{Sandbox: "workspace-write", Requirements: forbidID}, func(a bypass.Tried) bypass.Outcome { return a.Alone })
	})
}

// TestAttacksWithoutAnything sees that each of them works: nothing is measured by
// one that fails everywhere.
func TestAttacksWithoutAnything(t *testing.T) {
	Isolated(t, func(t *testing.T) {
		tried(t, newPlace(t), Options{Sandbox: "danger-full-access"}, func(bypass.Tried) bypass.Outcome { return bypass.Worked })
	})
}

// TestGovernedAttacks is run by TestUnderPaddock in the guest.
func TestGovernedAttacks(t *testing.T) {
	if os.Getenv("PADDOCK_VM") == "" {
		return // not a skip: TestUnderPaddock runs it where it can run
	}
	t.Setenv("TMPDIR", "/tmp") // the guest's root is an overlay
	// Of an overlay every file is two; a home's cache is none.
	if err := os.MkdirAll("/root/.cache", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", "/root/.cache", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	place := newPlace(t)
	startPaddock(t, forbidID+`[paddock]
mode = "enforce"
[paddock.network]
default = "allow"
rules = [{ cidr = "`+Denied+`/32", decision = "deny" }]
[paddock.boundary]
protected = [`+quoted(place.Around)+`]
unreadable = [`+quoted(place.Secret)+`]
sockets = [`+quoted(place.Broker)+`]
`)
	tried(t, place, Options{Sandbox: "danger-full-access"}, func(a bypass.Tried) bypass.Outcome { return a.Paddock })
}

// tried has Codex make the attacks, and compares what came of them.
func tried(t *testing.T, place Place, o Options, want func(bypass.Tried) bypass.Outcome) {
	t.Helper()
	o.Dir = t.TempDir()
	o.Together = true
	if out, err := exec.Command("git", "init", "-q", o.Dir).CombinedOutput(); err != nil {
		t.Fatalf("git init: %v: %s", err, out)
	}
	var all []bypass.Tried
	for _, a := range bypass.InCodex() {
		all = append(all, a)
		command := place.Attack(a.ID, a.Attack)
		if command == "" {
			t.Fatalf("%s %s has no shell text", a.ID, a.Attack)
		}
		o.Commands = append(o.Commands, command)
	}
	result, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if result.ExitCode != 0 {
		t.Fatalf("codex exec ended with %d:\n%s", result.ExitCode, result.Output)
	}
	for i, a := range all {
		call := result.Calls[i]
		if !call.Answered {
			t.Fatalf("%s: Codex never reported on it", a.Attack)
		}
		// Codex may lose what a command printed that ended at once, but not how.
		got := bypass.Outcome(call.ExitCode == 0 || strings.Contains(call.Output, Worked))
		t.Logf("%s %s: %v", a.ID, a.Attack, got)
		if got != want(a) {
			t.Errorf("%s %s: %v, want %v: %+v", a.ID, a.Attack, got, want(a), call)
		}
	}
}

// newPlace makes what is attacked.
func newPlace(t *testing.T) Place {
	t.Helper()
	dir := t.TempDir()
	p := Place{Around: filepath.Join(dir, "around"), Home: "/root", Name: "paddock-test-" + strconv.Itoa(os.Getpid())}
	p.Secret, p.Broker = filepath.Join(p.Around, "secret"), filepath.Join(p.Around, "broker")
	for _, d := range []string{p.Around, filepath.Join(p.Home, ".cache")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{p.Secret, filepath.Join(p.Around, "file")} {
		if err := os.WriteFile(f, []byte("content\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, address := range []string{p.Broker, "@" + p.Name} {
		l, err := net.Listen("unix", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
	}
	l, err := net.Listen("tcp", Denied+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p.Port = l.Addr().(*net.TCPAddr).Port
	stranger := exec.Command("sleep", "infinity")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stranger.Process.Kill(); _ = stranger.Wait() })
	p.PID = stranger.Process.Pid
	p.Memory = sharedMemory(t)
	return p
}

// sharedMemory makes a segment of System V shared memory with "theirs" in it.
func sharedMemory(t *testing.T) int {
	t.Helper()
	id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 4096, unix.IPC_CREAT|0o600)
	if err != nil {
		t.Fatal(fmt.Errorf("shared memory: %w", err))
	}
	t.Cleanup(func() { _, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil) })
	data, err := unix.SysvShmAttach(id, 0, 0)
	if err != nil {
		t.Fatal(fmt.Errorf("shared memory: %w", err))
	}
	copy(data, "theirs")
	if err := unix.SysvShmDetach(data); err != nil {
		t.Fatal(err)
	}
	return id
}
