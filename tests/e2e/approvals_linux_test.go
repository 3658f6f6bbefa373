// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// askRules have a person asked before ./pdk-tool leaves a file.
const askRules = `
[rules]
prefix_rules = [
  { pattern = [{ token = "pdk-tool" }, { any_of = ["never"] }], decision = "forbidden" },
  { pattern = [{ token = "pdk-tool" }], decision = "prompt", justification = "it leaves files" },
  { pattern = [{ token = "sudo" }], decision = "prompt" },
  { pattern = [{ token = "bash" }], decision = "prompt" },
]
[paddock]
mode = "enforce"
[paddock.approvals]
scopes = ["once", "session", "always"]
timeout = 120
`

// asking makes a machine whose agents' tool has to be approved.
func asking(t *testing.T, requirements string) *machine {
	t.Helper()
	m := newMachine(t, requirements)
	m.tool()
	m.start()
	return m
}

// ask has the tool started in a shell of the agent's; the line it ends with has its
// exit code.
func (s *terminal) ask(argument string) {
	s.t.Helper()
	s.send("./pdk-tool " + argument + " 2>/dev/null; echo code-$?")
}

func (s *terminal) wants(line string) {
	s.t.Helper()
	if got := s.line(); got != line {
		s.t.Errorf("the governed shell says %q, want %q", got, line)
	}
}

// A question, and each way it may end.
func TestApproval(t *testing.T) {
	m := asking(t, askRules)
	s := m.terminal()

	s.ask("once")
	id := m.question("once")
	if all := m.pending(); len(all) != 1 || all[0].ID != id {
		t.Errorf("what waits: %+v", all)
	} else {
		testsQuestion(t, all[0], "once")
		if all[0].Always == "" || all[0].Deadline.Sub(all[0].Asked) != 2*time.Minute || all[0].Project != m.dir {
			t.Errorf("the question: %+v", all[0])
		}
	}
	if out, _, _ := m.cli("approvals"); !strings.Contains(out, "./pdk-tool once") || !strings.Contains(out, "it leaves files") {
		t.Errorf("paddock approvals: %s", out)
	}
	if m.exists("once") {
		t.Fatal("it ran before anybody answered")
	}
	if out, code := m.answers(0, "approve", id[20:]); code != 0 || !strings.Contains(out, "allowed (once) by terminal root") {
		t.Errorf("paddock approve: %d, %s", code, out)
	}
	s.wants("code-0")
	if !m.exists("once") {
		t.Error("it was approved and did not run")
	}
	session := m.events.named(telemetry.NameSessionStart, "").Session
	e := m.events.exec(session, "pdk-tool", "once")
	if text(e, telemetry.AttrApprovalID) != id || text(e, telemetry.AttrApprovalState) != "allowed" || text(e, telemetry.AttrApprovalBy) != "terminal" ||
		text(e, telemetry.AttrApprovalUser) != "root" || !strings.HasPrefix(text(e, telemetry.AttrApprovalProof)+"terminal pts/", "terminal pts/") {
		t.Errorf("the exec's event: %v", e.Attrs)
	}

	s.send("./pdk-tool refused; echo code-$?")
	if out, code := m.answers(0, "deny", m.question("refused"), "--reason", "not today"); code != 0 || !strings.Contains(out, "not today") {
		t.Errorf("paddock deny: %d, %s", code, out)
	}
	if line := s.line(); !strings.HasPrefix(line, "paddock: blocked `pdk-tool refused`: refused by root (not today)") {
		t.Errorf("the refused process says %q", line)
	}
	if line := s.line(); line != "Killed" && line != "code-137" {
		t.Errorf("the refused process: %q", line)
	}
	// The same again at once is not asked about again.
	if out, code := s.do("./pdk-tool refused 2>&1"); code != killed || !strings.Contains(out, "refused a moment ago") || m.exists("refused") {
		t.Errorf("once more: %q, %d", out, code)
	}

	s.ask("session")
	inSession := m.question("session")
	m.answers(0, "approve", inSession, "--session")
	s.wants("code-0")
	must(t, os.Remove(filepath.Join(m.dir, "session")))
	if out, code := s.do("./pdk-tool session"); code != 0 || !m.exists("session") {
		t.Errorf("in the session it was allowed for: %q, %d", out, code)
	}

	s.ask("always")
	always := m.question("always")
	m.answers(0, "approve", always, "--always")
	s.wants("code-0")
	s.end()
	m.events.named(telemetry.NameSessionEnd, session)
	must(t, os.Remove(filepath.Join(m.dir, "always")))
	if out, err := m.run("./pdk-tool always"); err != nil || !m.exists("always") {
		t.Errorf("in another session: %q, %v", out, err)
	}
	var grants []approval.Grant
	out, _, _ := m.cli("approvals", "revoke", "--json")
	must(t, json.Unmarshal([]byte(out), &grants))
	if len(grants) != 1 || grants[0].Scope != approval.Always || grants[0].Used != 1 {
		t.Fatalf("what holds on: %+v", grants)
	}
	if out, _, code := m.cli("approvals", "revoke", grants[0].ID); code != 0 {
		t.Errorf("revoke: %s", out)
	}
	a, b := m.terminal(), m.terminal()
	a.ask("always")
	b.ask("session") // the session it was allowed for has ended
	m.question("always", always)
	m.question("session", inSession)
	a.end()
	b.end()
	m.events.named(telemetry.NameApprovalCancelled, "")
	var history []approval.Approval
	out, _, _ = m.cli("approvals", "history", "--json")
	must(t, json.Unmarshal([]byte(out), &history))
	if len(history) < 5 {
		t.Errorf("history: %+v", history)
	}
	m.balanced(m.status())
}

// Nobody answers: it dies, and says why, and was never allowed by accident.
func TestApprovalExpires(t *testing.T) {
	m := asking(t, strings.Replace(askRules, "timeout = 120", "timeout = 5", 1))
	began := time.Now()
	out, err := m.run("./pdk-tool late")
	if err == nil || m.exists("late") || !strings.Contains(out, "nobody answered within 5s") {
		t.Errorf("%q, %v", out, err)
	}
	if took := time.Since(began); took < 5*time.Second {
		t.Errorf("it waited %v", took)
	}
	m.events.named(telemetry.NameApprovalExpired, "")
}

// What the requirements say by now, they say of what waits too.
func TestRequirementsChangeWhileSomebodyIsAsked(t *testing.T) {
	m := asking(t, askRules)
	a, b := m.terminal(), m.terminal()
	a.ask("forbid")
	b.ask("allow")
	m.question("forbid")
	m.question("allow")
	m.require(strings.NewReplacer(`"never"`, `"forbid"`, `{ pattern = [{ token = "pdk-tool" }], decision = "prompt", justification = "it leaves files" },`, "").Replace(askRules))
	a.wants("code-137")
	b.wants("code-0")
	if m.exists("forbid") || !m.exists("allow") {
		t.Errorf("forbidden: %v, allowed: %v", m.exists("forbid"), m.exists("allow"))
	}
	if all := m.pending(); len(all) != 0 {
		t.Errorf("still asked: %+v", all)
	}
}

// Killed or stopped in the middle of a question, the daemon goes on asking it.
func TestApprovalSurvivesRestart(t *testing.T) {
	m := newMachine(t, askRules)
	m.detach = false
	m.tool()
	m.start()
	s := m.terminal()
	s.ask("waits")
	id := m.question("waits")
	m.settled(id)
	for _, end := range []func(){m.kill, func() { m.stop() }} {
		end()
		if n := len(m.stopped()); n != 1 {
			t.Fatalf("%d processes are held without a daemon", n)
		}
		m.start()
		if all := m.pendingAfterRestart(); len(all) != 1 || all[0].ID != id {
			t.Fatalf("after the restart: %+v", all)
		}
	}
	if m.exists("waits") {
		t.Error("it ran without an answer")
	}
	if out, code := m.answers(0, "approve", id); code != 0 {
		t.Errorf("paddock approve: %d, %s", code, out)
	}
	s.wants("code-0")
	if !m.exists("waits") {
		t.Error("it was approved and did not run")
	}
}

// Without a next daemon, what waits dies.
func TestApprovalDiesWithoutADaemon(t *testing.T) {
	m := newMachine(t, askRules)
	m.detach, m.more = false, []string{"--hold-grace", "1s"}
	m.tool()
	m.start()
	s := m.terminal()
	s.ask("orphan")
	m.settled(m.question("orphan"))
	m.kill()
	s.wants("code-137")
	if m.exists("orphan") {
		t.Error("it ran")
	}
	m.start()
	m.events.named(telemetry.NameApprovalCancelled, "")
}

// settled waits until what a restart needs is on the disk.
func (m *machine) settled(id string) {
	m.t.Helper()
	for _, name := range []string{"state/approvals.json", "state/holds"} {
		for wait := after(); ; {
			data, _ := os.ReadFile(m.path(name))
			if strings.Contains(string(data), id) || strings.Contains(string(data), "pdk-tool") {
				break
			}
			select {
			case <-wait:
				m.t.Fatalf("%s has nothing about %s", name, id)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
}

// pendingAfterRestart waits until what is held is asked about again.
func (m *machine) pendingAfterRestart() []approval.Approval {
	m.t.Helper()
	for wait := after(); ; {
		if all := m.pending(); len(all) > 0 {
			return all
		}
		select {
		case <-wait:
			m.t.Fatal("nothing is asked")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// A thousand of the same are one question, and one answer.
func TestAThousandAreOneQuestion(t *testing.T) {
	const n = 1000
	m := asking(t, askRules)
	p := m.begin(fmt.Sprintf("i=0; while [ $i -lt %d ]; do ./pdk-tool many & i=$((i+1)); done; wait; echo all", n))
	id := m.question("many")
	for wait := after(); ; {
		all := m.pending()
		if len(all) != 1 {
			t.Fatalf("%d questions", len(all))
		}
		if all[0].Merged == n {
			break
		}
		select {
		case <-wait:
			t.Fatalf("%d wait for the answer", all[0].Merged)
		case <-time.After(50 * time.Millisecond):
		}
	}
	if m.exists("many") {
		t.Fatal("one ran before the answer")
	}
	began := time.Now()
	m.answers(0, "approve", id)
	p.says(t, "all")
	t.Logf("%d were released and had run after %v", n, time.Since(began).Round(time.Millisecond))
	asked, ran := 0, 0
	m.events.wait("the last of them", func(e telemetry.Event) bool {
		if e.Name == telemetry.NameApprovalRequested {
			asked++
		}
		if text(e, telemetry.AttrApprovalState) == "allowed" && e.Name == telemetry.NameProcessExec {
			ran++
		}
		return ran == n
	})
	if asked != 1 {
		t.Errorf("%d questions", asked)
	}
	m.balanced(m.status())
}

// The agent's terminal shows one line that it waits, and one that it was refused.
func TestAgentsTerminalIsTold(t *testing.T) {
	m := asking(t, askRules)
	// A shell nobody governs, and an agent below it, as people start them.
	p := m.shell(0, fmt.Sprintf("%s -c './pdk-tool told >/dev/null 2>&1; echo over' & read id; %s --socket %s approve $id; echo code-$?; wait",
		m.agent, shared.paddock, m.socket()))
	id := m.question("told")
	p.says(t, "paddock: `pdk-tool told` waits for your approval until ")
	// On the very terminal the agent is on, nobody can answer: it could type.
	_, err := p.master.WriteString(id + "\n")
	must(t, err)
	p.says(t, "is on the same terminal and could have typed the answer")
	p.says(t, "code-1")
	m.answers(0, "deny", id)
	p.says(t, "paddock: blocked `pdk-tool told`: refused by root")
	p.says(t, "over")
	if m.exists("told") {
		t.Error("it ran")
	}
	m.events.named(telemetry.NameApprovalRefused, "")
}
