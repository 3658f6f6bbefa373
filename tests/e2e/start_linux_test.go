// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// refuses starts a daemon that must not start, and returns the one sentence it
// says.
func (m *machine) refuses(what string, cmd *exec.Cmd) string {
	m.t.Helper()
	began := time.Now()
	out, err := cmd.CombinedOutput()
	said := strings.TrimSuffix(string(out), "\n")
	if i := strings.LastIndexByte(said, '\n'); i >= 0 { // the log comes before
		said = said[i+1:]
	}
	if err == nil || cmd.ProcessState.ExitCode() <= 0 || strings.Contains(said, "\n") || !strings.HasPrefix(said, "paddock: ") {
		m.t.Errorf("%s: %v\n%s", what, err, out)
	}
	m.t.Logf("%s (%v): %s", what, time.Since(began).Round(time.Millisecond), said)
	return said
}

// command is the daemon's command line behind a wrapper.
func (m *machine) command(wrapper []string, more ...string) *exec.Cmd {
	line := append(wrapper, m.daemonCommand(more...)...)
	return exec.CommandContext(m.t.Context(), line[0], line[1:]...)
}

func TestSecondInstance(t *testing.T) {
	m := started(t, base)
	said := m.refuses("a second one", m.command(nil))
	for _, part := range []string{"another paddock daemon is running", "pid " + strconv.Itoa(m.daemon.pid()), m.path("run"), "stop it", "--run-dir"} {
		if !strings.Contains(said, part) {
			t.Errorf("it does not say %q: %s", part, said)
		}
	}
	// The first one did not notice.
	if out, _ := m.run("ls box; /bin/echo ran"); !strings.HasSuffix(out, "ran\n") || strings.Contains(out, listed) {
		t.Errorf("%q", out)
	}
	// Nor may another one work on its state.
	said = m.refuses("one with the same state", m.command(nil, "--run-dir", m.path("other")))
	if !strings.Contains(said, m.path("state")) {
		t.Errorf("it does not name the state directory: %s", said)
	}
	if s := m.status(); s.PID != m.daemon.pid() {
		t.Errorf("process %d answers", s.PID)
	}
}

// What the machine lacks is said in one sentence, with what to do.
func TestMachineIsNotFit(t *testing.T) {
	m := newMachine(t, base)
	root := m.command(nil)
	root.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	private := func(mount string) *exec.Cmd {
		return m.command([]string{"unshare", "-m", "sh", "-c", mount + ` && exec "$@"`, "sh"})
	}
	for _, c := range []struct {
		what string
		cmd  *exec.Cmd
		want []string
	}{
		{"not root", root, []string{"not root", "sudo"}},
		{"no BTF", private("mount -t tmpfs none /sys/kernel/btf"), []string{"BTF", "/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF"}},
		{"an old kernel", m.command([]string{"setarch", "--uname-2.6"}), []string{"too old", "2.6.", "5.10"}},
		{"no BPF file system", private("mount -t tmpfs none /sys/fs/bpf"), []string{"BPF file system", "mount -t bpf"}},
		{"no cgroup v2", m.command(nil, "--cgroup", "/tmp"), []string{"cgroup v2", "--cgroup"}},
		{"no agents file", m.command(nil, "--agents", m.path("none.toml")), []string{"agent profiles", m.path("none.toml")}},
	} {
		said := m.refuses(c.what, c.cmd)
		for _, part := range c.want {
			if !strings.Contains(said, part) {
				t.Errorf("%s: it does not say %q: %s", c.what, part, said)
			}
		}
	}
	m.nothingLeft(nil)
}

// A file where a directory should be, a state that others can write.
func TestBadDirectories(t *testing.T) {
	m := newMachine(t, base)
	must(t, os.WriteFile(m.path("state"), []byte("a file"), 0o600))
	if said := m.refuses("a file for a state directory", m.command(nil)); !strings.Contains(said, m.path("state")) {
		t.Errorf("it does not name the path: %s", said)
	}
	must(t, os.Remove(m.path("state")))
	long := m.path(strings.Repeat("long", 30))
	if said := m.refuses("a run directory with too long a path", m.command(nil, "--run-dir", long)); !strings.Contains(said, "shorter") {
		t.Errorf("%s", said)
	}
	must(t, ebpf.Remove(daemon.PinDir(long)))
}

// Measured, and asserted only so far that a machine may be five times slower.
func TestFootprint(t *testing.T) {
	m := newMachine(t, base)
	began := time.Now()
	m.start()
	ready := time.Since(began)
	if _, err := m.run("/bin/true"); err != nil {
		t.Fatal(err)
	}
	m.status()
	rss, peak := memory(t, m.daemon.pid(), "VmRSS"), memory(t, m.daemon.pid(), "VmHWM")
	t.Logf("start to proven gates %v (goal 1 s), resident when idle %.0f MiB (goal 60), at most %.0f MiB", ready.Round(time.Millisecond), rss, peak)
	if emulated() {
		return
	}
	if ready > 5*time.Second || rss > 300 {
		t.Errorf("ready after %v, %.0f MiB", ready, rss)
	}
}
