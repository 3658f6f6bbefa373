// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/tests/pty"
)

// An agent's process, of the same user as the person who is asked, tries each way to
// say yes to itself, with the help of that user's other programs where there is one.
func TestAgentCannotApproveItself(t *testing.T) {
	m := asking(t, askRules)
	must(t, os.Chmod(m.path("state"), 0o755)) // as if somebody had opened it: the files still are root's
	victim, attacker := m.terminalAs(nobody), m.terminalAs(nobody)
	victim.ask("loot")
	id := m.question("loot")
	m.settled(id)
	paddock := shared.paddock + " --socket " + m.socket()
	approve := paddock + " approve " + id
	tty := m.person(nobody, "approvals") // the person, who looks on
	tty.says(t, "[1] "+id)
	pts := m.slaveOf(tty.master)

	for name, attack := range map[string]struct{ command, says string }{
		"the-command":              {approve, "is governed"},
		"away-from-its-parent":     {"setsid -w sh -c '" + approve + " & wait'", "is governed"},
		"a-terminal-of-its-own":    {shared.self + " act-relay - " + approve, "is governed"},
		"a-copy-of-paddock":        {"cp " + shared.paddock + " pd; ./pd --socket " + m.socket() + " approve " + id, "is governed"},
		"in-a-user-namespace":      {"unshare -Ur " + approve, ""},
		"in-a-pid-namespace":       {"unshare -Urpf --mount-proc " + approve, ""},
		"its-own-client":           {shared.self + " act-answer " + m.socket() + " " + id, "is governed"},
		"denying-to-be-asked-on":   {paddock + " deny " + id, "is governed"},
		"reading-what-is-asked":    {paddock + " approvals --json", "is governed"},
		"the-list-on-a-terminal":   {shared.self + " act-relay - " + paddock + " approvals", "is governed"},
		"revoking":                 {paddock + " approvals revoke", "is governed"},
		"a-session-of-its-own":     {paddock + " run -- " + approve, "is governed"},
		"the-remembered-answers":   {"echo '{}' >" + m.path("state/approvals.json") + "; echo >" + m.path("state/holds") + "; mv " + m.path("state/approvals.json") + " x", "denied"},
		"reading-them":             {"cat " + m.path("state/approvals.json"), "denied"},
		"tracing-who-answers":      {shared.self + " act-trace " + strconv.Itoa(tty.pid()), "not permitted"},
		"writing-into-who-answers": {"sh -c 'echo x >/proc/" + strconv.Itoa(tty.pid()) + "/mem'", "denied"},
		"waking-the-process":       {"pkill -CONT -u " + strconv.Itoa(nobody) + " pdk-tool", ""},
	} {
		t.Run(name, func(t *testing.T) {
			out, _ := attacker.do("{ " + attack.command + "; } 2>&1")
			if strings.Contains(out, "allowed") || strings.Contains(out, id+"\"") || !strings.Contains(out, attack.says) {
				t.Errorf("%q", out)
			}
			if m.exists("loot") {
				t.Fatal("it ran")
			}
		})
	}
	if m.exists("loot") {
		t.Fatal("it ran")
	}
	number := "1"
	select {
	case line := <-victim.lines: // natively, waking it ends it at its first system call
		if line != "code-137" && line != "Killed" {
			t.Errorf("what waited says %q", line)
		}
		victim.ask("loot2")
		id, number = m.question("loot2"), "2"
	default:
	}

	tried := m.events.wait("a try that did not count", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameApprovalRefused && strings.Contains(text(e, telemetry.AttrDecisionReason), "is governed")
	})
	if tried.Session == "" {
		t.Errorf("the try is of no session: %v", tried.Attrs)
	}

	// On a terminal an agent has open, no answer counts: it could be the agent's.
	attacker.do("exec 9<>" + pts)
	tty.says(t, "["+number+"] "+id)
	_, err := io.WriteString(tty.master, "a "+number+"\n")
	must(t, err)
	tty.says(t, "is on the same terminal")
	attacker.do("exec 9>&-")
	_, err = io.WriteString(tty.master, "a "+number+"\n") // now it is the person's alone
	must(t, err)
	tty.says(t, "["+number+"] "+id+": allowed (once) by terminal")
	victim.wants("code-0")
}

// Programs of the user that nobody governs are of no use to an agent either.
func TestOtherProgramsCannotApprove(t *testing.T) {
	m := newMachine(t, askRules)
	companion := m.path("companion")
	copyFile(t, shared.self, companion)
	must(t, os.Chown(companion, 0, 4242))
	must(t, os.Chmod(companion, os.ModeSetgid|0o755))
	m.more = []string{"--companion", companion}
	m.tool()
	copyFile(t, "/usr/bin/touch", filepath.Join(m.dir, "sudo"))
	m.start()
	s := m.terminalAs(nobody)
	s.ask("loot")
	id := m.question("loot")
	line := []string{shared.paddock, "--socket", m.socket(), "approve", id}
	self := []string{shared.self, "act-answer", m.socket(), id}

	refused := func(name, out, says string) {
		t.Helper()
		if strings.Contains(out, "allowed") || !strings.Contains(out, says) || m.exists("loot") {
			t.Errorf("%s: %q", name, out)
		}
	}
	without := func(uid int, line ...string) string {
		cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	on := func(uid int, line ...string) string {
		p := m.onTerminal(uid, line...)
		p.wait(t)
		<-p.read
		return p.out.String()
	}
	refused("a script", without(nobody, line...), "without a terminal")
	refused("another program", on(nobody, self...), "neither the companion nor the command paddock")
	refused("another user", on(nobody-1, line...), "waits for you")
	refused("another user who knows the ID", on(nobody-1, shared.self, "act-answer", m.socket(), id), "no such question")
	refused("root", on(0, line...), "root_may_answer")
	refused("a guess", on(nobody, append(append([]string{}, line[:4]...), "01ARZ3NDEKTSV4RRFFQ69G5FAV")...), "waits for you")
	refused("in the background", on(nobody, "/bin/sh", "-mc", strings.Join(line, " ")+" & wait"), "foreground")

	// ssh to this very machine: the other end of the terminal was reached from here.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	refused("ssh localhost", without(nobody, append([]string{shared.self, "act-relay", l.Addr().String()}, line...)...), "from this machine itself")

	// The companion is known by its file and its group.
	fake := m.path("fake")
	copyFile(t, companion, fake)
	refused("a copy of the companion", without(nobody, fake, "act-answer", m.socket(), id), "neither the companion")
	must(t, os.Chmod(companion, 0o755))
	refused("the companion without its group", without(nobody, companion, "act-answer", m.socket(), id), "must be setgid")
	must(t, os.Chmod(companion, os.ModeSetgid|0o755))

	s2 := m.terminalAs(nobody)
	s2.send("./sudo loot2; echo code-$?")
	risky := m.question("loot2")
	refused("high risk without proof", without(nobody, companion, "act-answer", m.socket(), risky), "needs proof")

	if out := without(nobody, companion, "act-answer", m.socket(), id); !strings.Contains(out, "allowed") {
		t.Errorf("the companion: %q", out)
	}
	s.wants("code-0")
	if out, code := m.answers(nobody, "approve", risky); code != 0 || !strings.Contains(out, "allowed") {
		t.Errorf("high risk on a terminal: %q", out)
	}
	s2.wants("code-0")
	e := m.events.wait("the answer", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameApprovalAnswered && text(e, telemetry.AttrApprovalID) == risky
	})
	if text(e, telemetry.AttrApprovalRisk) != "privilege" || !strings.HasPrefix(text(e, telemetry.AttrApprovalProof), "terminal pts/") {
		t.Errorf("the answer: %v", e.Attrs)
	}
	tried := 0
	for _, e := range m.events.list() {
		if e.Name == telemetry.NameApprovalRefused {
			tried++
		}
	}
	if tried < 8 {
		t.Errorf("%d tries were recorded", tried)
	}
}

// actAnswer allows a question, by a client of its own.
func actAnswer(socket, id string) error {
	a, err := api.NewClient(socket).AnswerApproval(context.Background(), id, approval.Reply{Allow: true})
	if err == nil {
		fmt.Println(a.State)
	}
	return err
}

// actTrace attaches to a process.
func actTrace(pid string) error {
	n, err := strconv.Atoi(pid)
	if err != nil {
		return err
	}
	return syscall.PtraceAttach(n)
}

// actRelay runs a command on a terminal whose other end it holds, as sshd does for
// somebody who connects from address; "-" is nobody.
func actRelay(address string, line []string) error {
	if address != "-" {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
	}
	master, slave, err := pty.Open()
	if err != nil {
		return err
	}
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	slave.Close()
	_, _ = io.Copy(os.Stdout, master) // EIO at its end
	return cmd.Wait()
}

func (m *machine) slaveOf(master *os.File) string {
	m.t.Helper()
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", master.Fd()))
	must(m.t, err)
	_, rest, ok := strings.Cut(string(info), "tty-index:")
	if !ok {
		m.t.Fatalf("no terminal: %s", info)
	}
	path := "/dev/pts/" + strings.Fields(rest)[0]
	must(m.t, os.Chown(path, nobody, nobody)) // whose terminal it is
	return path
}

// terminalAs is terminal, for another user.
func (m *machine) terminalAs(uid int) *terminal {
	m.t.Helper()
	m.credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	defer func() { m.credential = nil }()
	return m.terminal()
}
