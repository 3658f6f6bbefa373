// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
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
	said, _ := m.refusal(what, cmd)
	return said
}

// refusal returns what was logged before as well.
func (m *machine) refusal(what string, cmd *exec.Cmd) (said, log string) {
	m.t.Helper()
	began := time.Now()
	out, err := cmd.CombinedOutput()
	said = strings.TrimSuffix(string(out), "\n")
	if i := strings.LastIndexByte(said, '\n'); i >= 0 {
		log, said = said[:i+1], said[i+1:]
	}
	if err == nil || cmd.ProcessState.ExitCode() <= 0 || strings.Contains(said, "\n") || !strings.HasPrefix(said, "paddock: ") {
		m.t.Errorf("%s: %v\n%s", what, err, out)
	}
	m.t.Logf("%s (%v): %s", what, time.Since(began).Round(time.Millisecond), said)
	return said, log
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
	// Nor on its kernel side.
	said = m.refuses("one with the same kernel side", m.command(nil, "--run-dir", m.path("other"), "--state-dir", m.path("otherstate"), "--pin-dir", m.pins()))
	for _, part := range []string{"another paddock daemon is running", "pid " + strconv.Itoa(m.daemon.pid()), m.pins(), "stop it", "--pin-dir"} {
		if !strings.Contains(said, part) {
			t.Errorf("it does not say %q: %s", part, said)
		}
	}
	if s := m.status(); s.PID != m.daemon.pid() {
		t.Errorf("process %d answers", s.PID)
	}
	if out, _ := m.run("ls box; /bin/echo ran"); !strings.HasSuffix(out, "ran\n") || strings.Contains(out, listed) {
		t.Errorf("after all of them: %q", out)
	}
}

// A machine on which no daemon ever ran is as it was after a start that failed; one on which agents
// were governed keeps them governed, and it is said how that ends.
func TestFailedStart(t *testing.T) {
	m := newMachine(t, base)
	m.detach = false
	must(t, os.MkdirAll(m.path("run/paddock.sock/in the way"), 0o755)) // what comes last fails
	first := m.refuses("a first one", m.command(nil))
	m.nothingLeft(nil)
	m.ungoverned("where no daemon ever ran")
	must(t, os.RemoveAll(m.path("run/paddock.sock")))
	m.start()
	m.stop()
	must(t, os.RemoveAll(m.path("run/paddock.sock")))
	must(t, os.MkdirAll(m.path("run/paddock.sock/in the way"), 0o755))
	said := m.refuses("one after another", m.command(nil))
	for _, part := range []string{first, "agents stay governed", "rm -r " + m.pins()} {
		if !strings.Contains(said, part) {
			t.Errorf("it does not say %q: %s", part, said)
		}
	}
	if out, err := m.run("ls box"); err == nil || strings.Contains(out, listed) {
		t.Errorf("an agent after a daemon that did not start again: %q, %v", out, err)
	}
	must(t, os.RemoveAll(m.pins())) // as it says
	m.ungoverned("when enforcement was ended")
}

// ungoverned waits until an agent may do what is forbidden: programs end some time after their pins.
func (m *machine) ungoverned(when string) {
	m.t.Helper()
	for deadline := time.Now().Add(waitLimit()); ; {
		out, err := m.run("ls box")
		if err == nil && strings.Contains(out, listed) {
			return
		}
		if time.Now().After(deadline) {
			m.t.Errorf("an agent %s: %q, %v", when, out, err)
			return
		}
	}
}

// What the machine lacks is said in one sentence, with what to do.
func TestMachineIsNotFit(t *testing.T) {
	m := newMachine(t, base)
	root := m.command(nil)
	root.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	noCgroup, procsFile := filepath.Join(ebpf.FindCgroup(), "pdk-none"), filepath.Join(ebpf.FindCgroup(), "cgroup.procs")
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
		{"the pin directory of all", m.command(nil, "--pin-dir", "/sys/fs/bpf"), []string{"/sys/fs/bpf is the root", "--pin-dir"}},
		{"no cgroup v2", m.command(nil, "--cgroup", "/tmp"), []string{"cgroup v2", "--cgroup", "/tmp"}},
		{"no such cgroup", m.command(nil, "--cgroup", noCgroup), []string{"there is no " + noCgroup, "--cgroup", "mkdir"}},
		{"a file of a cgroup", m.command(nil, "--cgroup", procsFile), []string{procsFile + " is a file", "--cgroup"}},
		{"no agents file", m.command(nil, "--agents", m.path("none.toml")), []string{"agent profiles", m.path("none.toml")}},
	} {
		said, log := m.refusal(c.what, c.cmd)
		if log != "" {
			t.Errorf("%s: it says more than a sentence:\n%s", c.what, log)
		}
		for _, part := range c.want {
			if !strings.Contains(said, part) {
				t.Errorf("%s: it does not say %q: %s", c.what, part, said)
			}
		}
	}
	m.nothingLeft(nil)
}

// newCgroup makes a cgroup that shares out processes, where the kernel can: there is none in it then, but in those below.
func newCgroup(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(ebpf.FindCgroup(), name)
	must(t, os.Mkdir(dir, 0o755))
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.WriteFile(filepath.Join(d, "cgroup.subtree_control"), []byte("+pids"), 0); err != nil {
			t.Logf("%s shares out nothing: %v", d, err)
		}
	}
	return dir
}

// The daemon need not live where it judges connections: the canary does.
func TestCgroupOfOthers(t *testing.T) {
	denied := newTarget(t)
	m := newMachine(t, base+networkRules(newTarget(t), denied))
	below := newCgroup(t, filepath.Base(m.agent))
	agents := filepath.Join(below, "agents")
	must(t, os.Mkdir(agents, 0o755))
	t.Cleanup(func() { must(t, os.Remove(agents)) })
	m.more = []string{"--cgroup", below}
	m.start()
	for _, g := range m.status().Gates {
		if g.Gate == "connect" && !g.Proven {
			t.Errorf("the connect gate is not proven: %s", g.Detail)
		}
	}
	dir, err := os.Open(agents)
	must(t, err)
	defer dir.Close()
	p := newProcess(m.agent, "-c", denied.connect())
	p.cmd.SysProcAttr.UseCgroupFD, p.cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	p.start(t)
	p.wait(t)
	if denied.reached.Load() != 0 || strings.Contains(p.out.String(), "connected") {
		t.Errorf("a denied connection in %s: %s", agents, p.out)
	}
	if left, err := filepath.Glob(filepath.Join(below, "paddock-*")); err != nil || len(left) > 0 {
		t.Errorf("the canary left %q, %v", left, err)
	}
}

// Where no process can begin, it is said, and with which option that can be changed.
func TestThreadedCgroup(t *testing.T) {
	m := newMachine(t, base)
	below := newCgroup(t, filepath.Base(m.agent))
	threads := filepath.Join(below, "threads")
	must(t, os.Mkdir(threads, 0o755))
	t.Cleanup(func() { must(t, os.Remove(threads)) })
	must(t, os.WriteFile(filepath.Join(threads, "cgroup.type"), []byte("threaded"), 0))
	said := m.refuses("a threaded cgroup", m.command(nil, "--cgroup", threads))
	for _, part := range []string{threads, "--cgroup", "threaded"} {
		if !strings.Contains(said, part) {
			t.Errorf("it does not say %q: %s", part, said)
		}
	}
}

// A file where a directory should be, one of others, one that others can read or write: it
// is refused, and stays as it is.
func TestBadDirectories(t *testing.T) {
	m := newMachine(t, base)
	must(t, os.WriteFile(m.path("state"), []byte("a file"), 0o600))
	if said := m.refuses("a file for a state directory", m.command(nil)); !strings.Contains(said, m.path("state")) {
		t.Errorf("it does not name the path: %s", said)
	}
	must(t, os.Remove(m.path("state")))
	for _, c := range []struct {
		what, flag string
		mode       os.FileMode
		owner      int
		want       string
	}{
		{"everybody's", "--run-dir", 0o777 | os.ModeSticky, 0, "(mode 1777) is open to others; name one that is not there yet or, if it is Paddock's alone, chmod it to 0755"},
		{"a group's", "--run-dir", 0o775, 0, "(mode 0775) is open to others; name one that is not there yet or, if it is Paddock's alone, chmod it to 0755"},
		{"a user's", "--run-dir", 0o755, 65534, "belongs to user 65534; name one that is not there yet or, if it is Paddock's alone, chown it to root"},
		{"everybody's", "--state-dir", 0o777 | os.ModeSticky, 0, "(mode 1777) is open to others; name one that is not there yet or, if it is Paddock's alone, chmod it to 0700"},
		{"what others can read", "--state-dir", 0o750, 0, "(mode 0750) is open to others; name one that is not there yet or, if it is Paddock's alone, chmod it to 0700"},
		{"a user's", "--state-dir", 0o700, 65534, "belongs to user 65534; name one that is not there yet or, if it is Paddock's alone, chown it to root"},
	} {
		dir := m.path("taken")
		must(t, os.Mkdir(dir, 0o700))
		must(t, os.Chown(dir, c.owner, c.owner))
		must(t, os.Chmod(dir, c.mode))
		said := m.refuses(c.what+" for "+c.flag, m.command(nil, c.flag, dir))
		if want := c.flag + " " + dir + " " + c.want; !strings.Contains(said, want) {
			t.Errorf("it does not say %q: %s", want, said)
		}
		if st, err := os.Stat(dir); err != nil || st.Mode()&^os.ModeDir != c.mode {
			t.Errorf("%s for %s: its mode is now %v, %v", c.what, c.flag, st.Mode(), err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("%s for %s: %v is in it now, %v", c.what, c.flag, entries, err)
		}
		must(t, os.Remove(dir))
	}
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
