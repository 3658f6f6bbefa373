// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/tests/pty"
)

// hygiene is what the test's agent may be started with so as to slip its management.
const hygiene = `
override_options = ["-c", "--config"]
settings_files = [".pdk/config.toml"]
directory_options = ["--cd"]
version_files = ["version.json"]
[[agents.launch]]
why = "it asks nobody"
flags = ["--yolo", "--mode=full"]
settings = ["mode=full"]
[[agents.launch]]
why = "its settings are elsewhere"
environment = ["PDK_HOME"]
except = ["~/.pdk"]
[[agents.launch]]
why = "requirements are about that"
overrides = ["server"]
`

const refuseAll = "[paddock.launch]\nenvironment = 'refuse'\nflags = 'refuse'\noverrides = 'refuse'\nversions = 'refuse'\n"

// newLauncher makes a machine whose agent has rules about its start.
func newLauncher(t *testing.T, requirements string) *machine {
	t.Helper()
	m := newMachine(t, requirements)
	profile, err := os.ReadFile(m.path("agents.toml"))
	must(t, err)
	must(t, os.WriteFile(m.path("agents.toml"), []byte(strings.Replace(string(profile), "[[agents.match]]", hygiene+"[[agents.match]]", 1)), 0o644))
	return m
}

func launcher(t *testing.T, requirements string) *machine {
	t.Helper()
	m := newLauncher(t, requirements)
	m.start()
	return m
}

// starts starts a program with these words and variables, and waits for its end.
func (m *machine) starts(env []string, line ...string) *process {
	m.t.Helper()
	p := newProcess(line...)
	p.cmd.Dir = m.dir
	p.cmd.Env = append(os.Environ(), env...)
	p.start(m.t)
	p.wait(m.t)
	return p
}

// told waits for the event of a start whose findings are just these.
func (m *machine) told(action string, findings ...string) telemetry.Event {
	m.t.Helper()
	return m.events.wait("start: "+strings.Join(findings, ", "), func(e telemetry.Event) bool {
		got, _ := e.Attrs[telemetry.AttrLaunchFindings].([]string)
		return e.Name == telemetry.NameLaunch && text(e, telemetry.AttrLaunchAction) == action && slices.Equal(got, findings)
	})
}

// An agent that a person starts in a way that requirements refuse is ended with all it
// has begun, and says why and what to run instead; one without is not hindered.
func TestLaunchIsRefused(t *testing.T) {
	m := launcher(t, base+refuseAll)
	if out, err := m.run("/bin/echo fine", "PDK_HOME=/root/.pdk"); err != nil || out != "fine\n" {
		t.Errorf("a start with nothing wrong: %q, %v", out, err)
	}
	p := m.starts([]string{"PDK_HOME=/elsewhere"}, m.agent, "-c", "setsid sh -c 'echo $$ > child; exec sleep 1000' & while :; do :; done", "it's me", "--yolo")
	if p.signal() != syscall.SIGKILL {
		t.Errorf("it was not killed: %v, %q", p.err, p.out)
	}
	for _, want := range []string{"paddock: test-agent was started with", "--yolo (it asks nobody)", "PDK_HOME (its settings are elsewhere)", "run instead: env -u PDK_HOME " + filepath.Base(m.agent), `'it'\''s me'`} {
		if !strings.Contains(p.out.String(), want) {
			t.Errorf("it was not told %q: %q", want, p.out)
		}
	}
	e := m.told("refuse", "flags: --yolo", "environment: PDK_HOME")
	if e.Attrs[telemetry.AttrDecisionEnforced] != true || text(e, telemetry.AttrDecision) != "forbidden" || strings.Contains(fmt.Sprint(e.Attrs), "/elsewhere") || e.Attrs[telemetry.AttrLaunchTold] != true {
		t.Errorf("event: %v", e.Attrs)
	}
	m.events.named(telemetry.NameSessionEnd, e.Session) // with the last of its processes
	if _, err := os.Stat(filepath.Join(m.dir, "child")); err == nil {
		t.Error("what it started ran")
	}
	out, _, code := m.cli("sessions", "show", e.Session)
	if code != 0 || !strings.Contains(out, "Attention") || !strings.Contains(out, "PDK_HOME (its settings are elsewhere)") || !strings.Contains(out, "refused") {
		t.Errorf("paddock sessions show: %d, %s", code, out)
	}
	m.balanced(m.status())
}

// Every way to write or hide it that a shell, a script or a link offers.
func TestLaunchInDisguise(t *testing.T) {
	m := newLauncher(t, base+refuseAll)
	name := filepath.Base(m.agent)
	link, wrapper, script := filepath.Join(m.dir, "link"), filepath.Join(m.dir, "wrapper"), m.path("x/"+name)
	must(t, os.Symlink(m.agent, link))
	must(t, os.WriteFile(wrapper, []byte("#!/bin/sh\nexport PDK_HOME=/x\nexec "+m.agent+" \"$@\"\n"), 0o755))
	must(t, os.Mkdir(m.path("x"), 0o755))
	must(t, os.WriteFile(script, []byte("#!/bin/sh\nwhile :; do :; done\n"), 0o755))
	must(t, os.MkdirAll(filepath.Join(m.dir, "settings/.pdk"), 0o755))
	must(t, os.MkdirAll(filepath.Join(m.dir, "settings/a/b"), 0o755))
	must(t, os.WriteFile(filepath.Join(m.dir, "settings/.pdk/config.toml"), []byte("mode = 'full'\n"), 0o644))
	m.start()
	const spin = "'while :; do :; done'"
	a := m.agent + " -c " + spin
	for _, c := range []struct{ name, line, want string }{
		{"plain", a + " x --yolo", "flags: --yolo"},
		{"quotes", a + ` x --yo''"lo"`, "flags: --yolo"},
		{"expansion", `Y=yolo; ` + a + ` x --$Y`, "flags: --yolo"},
		{"another argv[0]", "bash -c \"exec -a x " + a + " x --yolo\"", "flags: --yolo"},
		{"env -i", "env -i " + a + " x --yolo", "flags: --yolo"},
		{"env", "env PDK_HOME=/x " + a, "environment: PDK_HOME"},
		{"a wrapper sets it", wrapper + " -c " + spin, "environment: PDK_HOME"},
		{"a symbolic link", link + " -c " + spin + " x --yolo", "flags: --yolo"},
		{"a script of its name", script + " --yolo", "flags: --yolo"},
		{"nohup setsid", "nohup setsid -w " + a + " x --yolo", "flags: --yolo"},
		{"xargs", "echo --yolo | xargs " + a + " x", "flags: --yolo"},
		{"with its value", a + " x --mode=full", "flags: --mode full"},
		{"its value apart", a + " x --mode full", "flags: --mode full"},
		{"repeated", a + " x --mode=safe --mode=full", "flags: --mode full"},
		{"an override", a + " x --config server=http://h", "overrides: --config server"},
		{"an override that is the option", a + " x --config=mode=full", "overrides: --config mode=full"},
		{"behind much", shared.self + " act-exec long-before " + m.agent + " -c " + spin + " x --yolo", "flags: --yolo"},
		{"in a large environment", "J=$(printf %0100000d 0); env A=$J B=$J C=$J PDK_HOME=/x D=$J " + a, "environment: PDK_HOME"},
		{"a file of another directory", a + " x --cd settings/a", "overrides: mode=full in " + filepath.Join(m.dir, "settings/.pdk/config.toml")},
		{"a file of the project", "cd settings/a/b && " + a, "overrides: mode=full in " + filepath.Join(m.dir, "settings/.pdk/config.toml")},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := m.starts(nil, "/bin/sh", "-c", c.line)
			if !strings.Contains(p.out.String(), "your organisation does not allow") {
				t.Errorf("it was not refused: %v, %q", p.err, p.out)
			}
			m.told("refuse", c.want)
		})
	}
	if n := m.status().SessionsLive; n != 0 {
		t.Errorf("%d agents still run", n)
	}
}

// Settings that the agent can read, and the daemon cannot, or not as the agent does.
func TestLaunchWithSettingsNobodyElseReads(t *testing.T) {
	m := launcher(t, base+refuseAll)
	must(t, os.MkdirAll(filepath.Join(m.dir, "p/.pdk"), 0o755))
	const lease = `python3 -c 'import fcntl, os, signal
signal.signal(signal.SIGIO, signal.SIG_IGN)
f = os.open("p/.pdk/config.toml", os.O_RDWR | os.O_CREAT)
fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("ready", flush=True)
signal.pause()' `
	for _, c := range []struct{ name, before string }{
		{"a pipe", "mkfifo p/.pdk/config.toml"},
		{"standard input", "ln -s /dev/stdin p/.pdk/config.toml"},
		{"its own environment", "ln -s /proc/self/environ p/.pdk/config.toml"},
		{"a file on lease", lease},
	} {
		t.Run(c.name, func(t *testing.T) {
			must(t, os.RemoveAll(filepath.Join(m.dir, "p/.pdk/config.toml")))
			before := newProcess("/bin/sh", "-c", c.before)
			before.cmd.Dir = m.dir
			before.start(t)
			if c.before == lease {
				before.says(t, "ready")
			} else {
				before.wait(t)
			}
			p := m.starts(nil, "/bin/sh", "-c", "cd p && exec "+m.agent+" -c 'while :; do :; done'")
			if !strings.Contains(p.out.String(), "mode=full in "+filepath.Join(m.dir, "p/.pdk/config.toml")) || p.signal() != syscall.SIGKILL {
				t.Errorf("it was not refused: %v, %q", p.err, p.out)
			}
		})
	}
}

// What a governed process starts is held: not one instruction of it runs, whatever was
// remembered of the same command before.
func TestLaunchOfNestedAgents(t *testing.T) {
	m := launcher(t, base+refuseAll)
	s := m.terminal()
	inner := m.agent + " -c 'echo ran >> nested' x"
	for range 3 {
		if out, code := s.do(inner); code != 0 {
			t.Fatalf("a start with nothing wrong: %d, %q", code, out)
		}
	}
	must(t, os.Remove(filepath.Join(m.dir, "nested")))
	for _, c := range []struct{ line, want string }{
		{"PDK_HOME=/x " + inner, "environment: PDK_HOME"},
		{inner + " --yolo", "flags: --yolo"},
		{inner + " --yolo", "flags: --yolo"},
	} {
		if out, code := s.do(c.line); code != killed || !strings.Contains(out, "does not allow") {
			t.Errorf("%s: %d, %q", c.line, code, out)
		}
		if e := m.told("refuse", c.want); e.Attrs[telemetry.AttrDecisionEnforced] != true {
			t.Errorf("event: %v", e.Attrs)
		}
	}
	if _, err := os.Stat(filepath.Join(m.dir, "nested")); err == nil {
		t.Error("a refused agent ran")
	}
	if out, errs, code := m.cli("run", "--", m.agent, "-c", "echo ran >> nested", "x", "--yolo"); code == 0 || !strings.Contains(errs, "does not allow") {
		t.Errorf("paddock run: %d, %q, %q", code, out, errs)
	}
	if _, err := os.Stat(filepath.Join(m.dir, "nested")); err == nil {
		t.Error("a refused agent ran under paddock run")
	}
}

// A warning is shown once, where the agent's own errors are; the agent runs.
func TestLaunchWarns(t *testing.T) {
	m := launcher(t, base)
	master, slave, err := pty.Open()
	must(t, err)
	defer master.Close()
	p := newProcess(m.agent, "-c", "read x; "+m.agent+" -c 'exit 0' x --yolo; exit 7", "x", "--yolo")
	p.cmd.Dir, p.cmd.Stderr = m.dir, slave
	in, err := p.cmd.StdinPipe()
	must(t, err)
	p.start(t)
	slave.Close()
	e := m.told("warn", "flags: --yolo")
	if e.Attrs[telemetry.AttrLaunchTold] != true || text(e, telemetry.AttrDecision) != "allow" {
		t.Errorf("event: %v", e.Attrs)
	}
	_, err = io.WriteString(in, "\n")
	must(t, err)
	p.wait(t)
	if code := p.cmd.ProcessState.ExitCode(); code != 7 {
		t.Errorf("it did not run: %d", code)
	}
	said, _ := io.ReadAll(master) // until the other end is closed
	if n := strings.Count(string(said), "was started with --yolo (it asks nobody)"); n != 1 {
		t.Errorf("told %d times: %q", n, said)
	}
	m.events.named(telemetry.NameSessionEnd, e.Session)
	n := 0
	for _, e := range m.events.list() {
		if e.Name == telemetry.NameLaunch {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d events of one session", n)
	}
}

// Observing, nothing is refused and nobody is told.
func TestLaunchIsObserved(t *testing.T) {
	m := launcher(t, strings.Replace(base, "enforce", "observe", 1)+refuseAll)
	p := m.starts(nil, m.agent, "-c", m.agent+" -c 'exit 0' x --mode=full; exit 7", "x", "--yolo")
	if p.cmd.ProcessState.ExitCode() != 7 || p.out.String() != "" {
		t.Errorf("%v, %q", p.err, p.out)
	}
	for _, want := range []string{"flags: --yolo", "flags: --mode full"} {
		if e := m.told("refuse", want); e.Attrs[telemetry.AttrDecisionEnforced] != false || text(e, telemetry.AttrDecision) != "forbidden" {
			t.Errorf("event: %v", e.Attrs)
		}
	}
}

// An agent that was started before the daemon was is met now, and judged now.
func TestLaunchBeforeTheDaemon(t *testing.T) {
	m := newLauncher(t, base+refuseAll)
	p := newProcess(m.agent, "-c", "echo up; read x", "x", "--yolo")
	p.cmd.Dir = m.dir
	in, err := p.cmd.StdinPipe()
	must(t, err)
	defer in.Close()
	p.start(t)
	p.says(t, "up")
	m.start()
	p.wait(t)
	if p.signal() != syscall.SIGKILL || !strings.Contains(p.out.String(), "does not allow") {
		t.Errorf("%v, %q", p.err, p.out)
	}
	m.told("refuse", "flags: --yolo")
}

// The program itself: its version, its content, where it lies. A place is a place of
// this machine, and not one that a user has made in a namespace of their own.
func TestLaunchOfOtherPrograms(t *testing.T) {
	m := newLauncher(t, base)
	sum := func(name string) string {
		out, err := m.free("sha256sum " + name)
		must(t, err)
		return strings.Fields(out)[0]
	}
	place := m.path("place")
	must(t, os.Mkdir(place, 0o755))
	good := filepath.Join(place, filepath.Base(m.agent))
	copyFile(t, "/bin/dash", good)
	rules := func(more string) string {
		return base + refuseAll + "minimum = {" + agentName + " = '2.1'}\nplaces = ['" + place + "']\nprograms = {" + agentName + " = ['" + more + "']}\n"
	}
	must(t, os.WriteFile(filepath.Join(place, "version.json"), []byte(`{"version": "2.1.0-linux"}`), 0o644))
	must(t, os.WriteFile(filepath.Join(m.dir, "version.json"), []byte(`{"version": "2.0.9"}`), 0o644))
	m.require(rules(sum(good)))
	m.start()
	if p := m.starts(nil, good, "-c", "exit 7"); p.cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("the right program: %v, %q", p.err, p.out)
	}
	must(t, os.WriteFile(filepath.Join(place, "other"), []byte("x"), 0o755))
	for _, c := range []struct{ name, line, want string }{
		{"too old, and elsewhere", m.agent + " -c 'while :; do :; done'", "versions: version 2.0.9"},
		{"mounted there", "unshare -m sh -c 'mount --bind " + m.dir + " " + place + " && exec " + good + " -c \"while :; do :; done\"'", "versions: version 2.0.9"},
	} {
		p := m.starts(nil, "/bin/sh", "-c", c.line)
		if !strings.Contains(p.out.String(), "elsewhere (paddock.launch.places)") || !strings.Contains(p.out.String(), "at least 2.1 is required") {
			t.Errorf("%s: %v, %q", c.name, p.err, p.out)
		}
	}
	last := m.events.named(telemetry.NamePolicyApplied, "").Seq
	m.require(rules(strings.Repeat("0", 64)))
	m.events.applied(last)
	if p := m.starts(nil, good, "-c", "while :; do :; done"); p.signal() != unix.SIGKILL || !strings.Contains(p.out.String(), "none of those that are known") {
		t.Errorf("a program that is not known: %v, %q", p.err, p.out)
	}
}
