// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/tests/pty"
)

// nobody is a user who is neither root nor anybody else.
const nobody = 65534

// person is somebody at a terminal of their own.
type person struct {
	*process
	master *os.File
}

// person runs a client command of the instance in a terminal of its own.
func (m *machine) person(uid int, args ...string) *person {
	m.t.Helper()
	return m.onTerminal(uid, append([]string{shared.paddock, "--socket", m.socket()}, args...)...)
}

// shell runs a script that nobody governs in a terminal of its own.
func (m *machine) shell(uid int, script string) *person {
	m.t.Helper()
	return m.onTerminal(uid, "/bin/sh", "-c", script)
}

func (m *machine) onTerminal(uid int, line ...string) *person {
	m.t.Helper()
	master, slave, err := pty.Open()
	must(m.t, err)
	p := newProcess(line...)
	p.read = make(chan struct{})
	p.cmd.Dir = m.dir
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = slave, slave, slave
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true, Setctty: true, Ctty: 0, Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)},
	}
	p.start(m.t)
	slave.Close()
	go func() {
		defer close(p.read)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			_, _ = p.out.Write(buf[:n])
			if err != nil { // EIO: nobody has the other end any more
				return
			}
		}
	}()
	m.t.Cleanup(func() {
		master.Close()
		<-p.read
	})
	return &person{p, master}
}

// answers runs a client command as a person and returns what it says.
func (m *machine) answers(uid int, args ...string) (out string, code int) {
	m.t.Helper()
	p := m.person(uid, args...)
	p.wait(m.t)
	<-p.read
	return p.out.String(), p.cmd.ProcessState.ExitCode()
}

// pending lists what waits, as root sees it.
func (m *machine) pending() []approval.Approval {
	m.t.Helper()
	out, errs, code := m.cli("approvals", "--json")
	if code != 0 {
		m.t.Fatalf("paddock approvals: %d, %s", code, errs)
	}
	var all []approval.Approval
	for line := range strings.Lines(out) {
		var a approval.Approval
		must(m.t, json.Unmarshal([]byte(line), &a))
		all = append(all, a)
	}
	return all
}

// question waits until the tool with this argument is asked about, and returns the ID
// of a question that is none of the others.
func (m *machine) question(argument string, other ...string) string {
	m.t.Helper()
	e := m.events.wait("a question about "+argument, func(e telemetry.Event) bool {
		args, _ := e.Attrs[telemetry.AttrProcessCommandArgs].([]string)
		return e.Name == telemetry.NameApprovalRequested && len(args) > 1 && args[1] == argument &&
			!slices.Contains(other, text(e, telemetry.AttrApprovalID))
	})
	return text(e, telemetry.AttrApprovalID)
}

// exists reports whether a file is in the agents' directory.
func (m *machine) exists(name string) bool {
	_, err := os.Lstat(m.dir + "/" + name)
	return err == nil
}

func testsQuestion(t *testing.T, a approval.Approval, argument string) {
	t.Helper()
	if len(a.Argv) != 2 || a.Argv[1] != argument || a.Agent != agentName || a.State != approval.Pending ||
		!strings.Contains(a.Reason, "it leaves files") || !strings.Contains(a.Source, "requirements.toml:") || a.Rule == "" {
		t.Errorf("the question: %+v", a)
	}
}
