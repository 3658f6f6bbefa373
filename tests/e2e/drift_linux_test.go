// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// changedFile waits for the event of a change.
func (m *machine) changedFile(path, operation, by string) telemetry.Event {
	m.t.Helper()
	return m.events.wait(operation+" of "+path+" by "+by, func(e telemetry.Event) bool {
		return e.Name == telemetry.NameFileChanged && text(e, telemetry.AttrFilePath) == path && text(e, telemetry.AttrFileOperation) == operation &&
			text(e, telemetry.AttrFileBy) == by
	})
}

// lives runs a script that goes on to live, so that it can be seen who it is.
func (m *machine) lives(program, script string) *process {
	m.t.Helper()
	p := newProcess(program, "-c", script+"; read x")
	p.cmd.Dir = m.dir
	in, err := p.cmd.StdinPipe()
	must(m.t, err)
	m.t.Cleanup(func() { in.Close() })
	p.start(m.t)
	return p
}

// Changes of what manages agents and Paddock are told, with who made them: somebody
// outside, a session, or nobody who can be named any more.
func TestProtectedFilesAreWatched(t *testing.T) {
	m := newMachine(t, base)
	codex, claude := m.path("root/etc/codex/managed_config.toml"), m.path("root/etc/claude-code/managed-settings.json")
	must(t, os.MkdirAll(filepath.Dir(codex), 0o755))
	must(t, os.MkdirAll(filepath.Dir(claude), 0o755))
	must(t, os.WriteFile(codex, []byte("x = 1\n"), 0o644))
	m.start()

	p := m.lives("/bin/sh", "echo 'x = 2' > "+codex)
	e := m.changedFile(codex, "write", "outside")
	if number(e, telemetry.AttrProcessPID) != int64(p.pid()) || e.Session != "" || text(e, telemetry.AttrFileRole) != "requirements" ||
		!strings.HasSuffix(text(e, telemetry.AttrProcessExecutablePath), "sh") || text(e, telemetry.AttrFileSum) == text(e, telemetry.AttrFileSumBefore) {
		t.Errorf("by somebody outside: %q %v", e.Session, e.Attrs)
	}
	agent := m.lives(m.agent, "echo '{}' > "+claude)
	e = m.changedFile(claude, "create", "session")
	if number(e, telemetry.AttrProcessPID) != int64(agent.pid()) || len(e.Session) != 26 || text(e, telemetry.AttrFileRole) != "agents" || text(e, telemetry.AttrAgent) != agentName {
		t.Errorf("by a session: %q %v", e.Session, e.Attrs)
	}
	out, _, code := m.cli("sessions", "show", e.Session)
	if code != 0 || !strings.Contains(out, "changed a protected file: create "+claude) {
		t.Errorf("paddock sessions show: %d, %s", code, out)
	}
	// What a session's process did that has ended is still the session's.
	_, err := m.run("rm " + claude)
	must(t, err)
	if e = m.changedFile(claude, "remove", "session"); len(e.Session) != 26 {
		t.Errorf("by a session that is over: %v", e.Attrs)
	}
	if out, _, _ := m.cli("events", "--name", telemetry.NameFileChanged); !strings.Contains(out, "write of "+codex+", by outside") {
		t.Errorf("paddock events: %s", out)
	}
	// And what changes while nobody looks.
	m.stop()
	must(t, os.Remove(codex))
	m.start()
	if e = m.changedFile(codex, "remove", "unknown"); e.Attrs[telemetry.AttrFileWhileDown] != true {
		t.Errorf("while Paddock did not run: %v", e.Attrs)
	}
}

// Root outside of any session can take the kernel side apart. It does not go unnoticed,
// and does not last.
func TestKernelSideIsWatched(t *testing.T) {
	m := started(t, base)
	links, err := filepath.Glob(filepath.Join(m.pins(), "*", "links", "on_*"))
	if err != nil || len(links) == 0 {
		t.Fatalf("no links below %s: %v", m.pins(), err)
	}
	must(t, os.Remove(links[0]))
	e := m.events.wait("a pin is gone", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameTamper && text(e, telemetry.AttrTamperObject) == filepath.Base(links[0])
	})
	if text(e, telemetry.AttrTamperOperation) != "unpin" || e.Attrs[telemetry.AttrTamperMended] != true || e.Session != "" {
		t.Errorf("%q %v", e.Session, e.Attrs)
	}
	if _, err := os.Stat(links[0]); err != nil {
		t.Errorf("it is not pinned again: %v", err)
	}
	if out, _ := m.run("ls box; true"); strings.Contains(out, listed) {
		t.Errorf("ls ran: %q", out)
	}
}

// A machine says now and then that it lives.
func TestHeartbeat(t *testing.T) {
	m := started(t, base+"[paddock.telemetry]\nheartbeat = 1\n")
	e := m.events.named(telemetry.NameDaemonHeartbeat, "")
	if number(e, telemetry.AttrHeartbeat) != 1 || text(e, telemetry.AttrMode) != "enforce" || number(e, telemetry.AttrPolicyGeneration) < 1 {
		t.Errorf("%v", e.Attrs)
	}
	m.events.wait("the next one", func(n telemetry.Event) bool { return n.Name == telemetry.NameDaemonHeartbeat && n.Seq > e.Seq })
}
