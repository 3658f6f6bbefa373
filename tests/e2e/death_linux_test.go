// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// toolRules forbid ./pdk-tool to leave a file called leak.
const toolRules = `
[rules]
prefix_rules = [
  { pattern = [{ token = "pdk-tool" }, { token = "leak" }], decision = "forbidden" },
  { pattern = [{ token = "sort" }, { token = "-x" }], decision = "forbidden" },
]
[paddock]
mode = "enforce"
`

// tool puts the program of toolRules in place.
func (m *machine) tool() {
	copyFile(m.t, "/usr/bin/touch", filepath.Join(m.dir, "pdk-tool"))
}

// leaked tells whether the forbidden command ran once.
func (m *machine) leaked() bool {
	_, err := os.Lstat(filepath.Join(m.dir, "leak"))
	return err == nil
}

// assault tries what is denied for as long as the terminal lives, and says so
// after each round.
func (s *terminal) assault(denied *target) {
	s.t.Helper()
	s.send("exec 2>/dev/null; while :; do ./pdk-tool leak; " + denied.connect() + "; echo round; done")
}

// rounds waits for so many more attempts.
func (s *terminal) rounds(n int) {
	s.t.Helper()
	for len(s.lines) > 0 { // those that were before
		s.line()
	}
	for range n {
		if l := s.line(); l != "round" {
			s.t.Fatalf("the assault says %q", l)
		}
	}
}

// end ends the terminal and all that runs in it: who looks for what is left
// stopped must not meet one that is just being judged.
func (s *terminal) end() {
	s.t.Helper()
	must(s.t, unix.Kill(-s.pid(), unix.SIGKILL))
	s.wait(s.t)
}

// Killed, the daemon leaves a kernel side that goes on; its successor takes over.
func TestDaemonIsKilled(t *testing.T) {
	allowed, denied := newTarget(t), newTarget(t)
	m := newMachine(t, toolRules+networkRules(allowed, denied))
	m.detach = false
	m.tool()
	m.start()
	s, attacker := m.terminal(), m.terminal()
	for range 3 { // remembered from the second time on
		s.do("/bin/true; " + allowed.connect() + "; " + denied.connect() + "; sort --version")
	}
	attacker.assault(denied)
	attacker.rounds(3)
	before := m.sessions()
	stored := m.events.list()
	guards := m.guards()
	if len(guards) != 1 || len(before) != 2 {
		t.Fatalf("%d guards, sessions %v", len(guards), before)
	}
	guard := hold(t, guards[0].pid)
	reached := allowed.reached.Load()

	m.kill()
	guard.gone("the guard")
	attacker.rounds(10)
	for _, one := range []struct {
		what, command string
		out           string
		code          int
	}{
		{"remembered as allowed", "/bin/true", "", 0},
		{"remembered as allowed, with these arguments", "sort --version >/dev/null", "", 0},
		{"never seen", "/bin/uname", "", killed},
		{"with arguments never seen", "sort /dev/null -u", "", killed},
		{"forbidden", "./pdk-tool leak", "", killed},
		{"allowed connection", allowed.connect(), "connected\n", 0},
		{"denied connection", denied.connect() + " 2>/dev/null", "", 1},
	} {
		out, code := s.do("{ " + one.command + "; } 2>/dev/null")
		if code != one.code || !strings.HasPrefix(out, one.out) || one.out == "" && strings.Contains(out, "Linux") {
			t.Errorf("without a daemon, %s: %q, %d; want %q, %d", one.what, out, code, one.out, one.code)
		}
	}
	if out, err := m.run("/bin/echo ran"); err == nil || strings.Contains(out, "ran") {
		t.Errorf("an agent started without a daemon: %q, %v", out, err)
	}
	if out, err := m.free("uname && ./pdk-tool leak-not && sort /dev/null -u"); err != nil {
		t.Errorf("what nobody governs noticed: %q, %v", out, err)
	}
	if c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(allowed.port)); err != nil {
		t.Errorf("what nobody governs noticed: %v", err)
	} else {
		c.Close()
	}

	m.start()
	attacker.rounds(10)
	if out, code := s.do("/bin/uname"); out != "Linux\n" || code != 0 {
		t.Errorf("after the restart: %q, %d", out, code)
	}
	ran := m.events.wait("uname after the restart", func(e telemetry.Event) bool {
		return text(e, telemetry.AttrProcessExecutableName) == "uname" && text(e, telemetry.AttrDecision) == "allow"
	})
	// What the kernel killed meanwhile was waiting in its ring.
	dead := m.events.wait("the record of a kill", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameHoldKilled && text(e, telemetry.AttrProcessExecutableName) == "uname"
	})
	if !strings.Contains(text(dead, telemetry.AttrDecisionReason), "killed before it was judged") {
		t.Errorf("record of a kill: %v", dead.Attrs)
	}
	for _, e := range []telemetry.Event{ran, dead} {
		if before[e.Session].Root.PID != s.pid() {
			t.Errorf("after the restart, an event of process %d's session names session %q, which was not", s.pid(), e.Session)
		}
	}
	after := m.sessions()
	for id, s := range before {
		if now := after[id]; !now.Live() || now.Root.PID != s.Root.PID || now.Key != s.Key {
			t.Errorf("session %s of process %d became %+v", id, s.Root.PID, now)
		}
	}
	known := map[string]bool{}
	for _, e := range m.events.list() {
		known[e.ID] = true
	}
	for _, e := range stored {
		if !known[e.ID] {
			t.Errorf("the restart lost event %d: %s %v", e.Seq, e.Name, e.Attrs)
		}
	}
	if m.leaked() || denied.reached.Load() != 0 {
		t.Errorf("a gap: the forbidden command ran: %v; denied connections: %d", m.leaked(), denied.reached.Load())
	}
	if n := allowed.reached.Load() - reached; n != 2 {
		t.Errorf("%d allowed connections, want 2", n)
	}
	attacker.end()
	if p := m.stopped(); len(p) > 0 {
		t.Errorf("left stopped: %v", p)
	}
	m.balanced(m.status())
}

// A session is not forgotten because it is young.
func TestYoungSessionSurvives(t *testing.T) {
	m := newMachine(t, toolRules)
	m.detach = false
	m.start()
	s := m.terminal()
	s.do("/bin/true")
	id := m.events.named(telemetry.NameSessionStart, "").Session
	m.kill()
	m.start()
	s.do("/bin/uname")
	e := m.events.wait("uname", func(e telemetry.Event) bool { return text(e, telemetry.AttrProcessExecutableName) == "uname" })
	if e.Session != id {
		t.Errorf("session %s became %s when the daemon was killed and restarted", id, e.Session)
	}
	if all := m.sessions(); len(all) != 1 {
		t.Errorf("one agent, sessions %v", all)
	}
}

// However far a start has come when it dies, there is no gap.
func TestKilledWhileStarting(t *testing.T) {
	denied := newTarget(t)
	m := newMachine(t, toolRules+networkRules(newTarget(t), denied))
	m.detach = false
	m.tool()
	m.start()
	s := m.terminal()
	s.assault(denied)
	s.rounds(5)
	m.kill()
	for _, line := range []string{"", "requirements loaded", "policy in force"} {
		p, _ := m.launch()
		p.says(t, line)
		must(t, p.cmd.Process.Kill())
		p.wait(t)
		s.rounds(3)
	}
	m.start()
	s.rounds(3)
	if m.leaked() || denied.reached.Load() != 0 {
		t.Errorf("a gap: the forbidden command ran: %v; denied connections: %d", m.leaked(), denied.reached.Load())
	}
	s.end()
	if p := m.stopped(); len(p) > 0 {
		t.Errorf("left stopped: %v", p)
	}
	if out, code := m.terminal().do("/bin/uname"); out != "Linux\n" || code != 0 {
		t.Errorf("a new agent: %q, %d", out, code)
	}
}

// held starts agents that are in a hold when the daemon can no longer answer.
func (m *machine) held(n int) []*process {
	m.t.Helper()
	var all []*process
	var in []io.Writer
	for range n {
		p := newProcess(m.agent, "-c", "read go; exec /bin/echo ran")
		p.cmd.Dir = m.dir
		w, err := p.cmd.StdinPipe()
		must(m.t, err)
		p.start(m.t)
		all, in = append(all, p), append(in, w)
	}
	for _, p := range all {
		m.events.wait("the session of an agent", func(e telemetry.Event) bool {
			return e.Name == telemetry.NameSessionStart && number(e, telemetry.AttrProcessPID) == int64(p.pid())
		})
	}
	must(m.t, m.daemon.cmd.Process.Signal(unix.SIGSTOP))
	stops(m.t, m.daemon.pid())
	for i, p := range all {
		_, err := in[i].Write([]byte("go\n"))
		must(m.t, err)
		stops(m.t, p.pid())
	}
	return all
}

func (m *machine) neverRan(all []*process) {
	m.t.Helper()
	for _, p := range all {
		p.wait(m.t)
		if p.signal() != unix.SIGKILL || p.out.String() != "" {
			m.t.Errorf("a held process ended with %v and wrote %q", p.err, p.out)
		}
	}
	if p := m.stopped(); len(p) > 0 {
		m.t.Errorf("left stopped: %v", p)
	}
}

// What waits for an answer when the daemon dies never runs and does not stay.
func TestHeldDieWithTheDaemon(t *testing.T) {
	m := newMachine(t, toolRules)
	m.detach = false
	m.start()
	all := m.held(8)
	m.kill()
	m.neverRan(all)
	m.start()
	for id, s := range m.sessions() {
		if s.Live() {
			t.Errorf("session %s lives on without a process", id)
		}
	}
	for range all {
		m.events.named(telemetry.NameSessionEnd, "")
	}
}

// With the guard gone too, its successor's first act is to kill what is held.
func TestHeldDieAtTheRestart(t *testing.T) {
	m := newMachine(t, toolRules)
	m.detach = false
	m.start()
	guard := m.guards()[0].pid
	all := m.held(4)
	h := hold(t, guard)
	must(t, unix.Kill(guard, unix.SIGKILL))
	h.gone("the guard")
	m.kill()
	if n := len(m.stopped()); n != len(all) {
		t.Errorf("%d of %d are still held", n, len(all))
	}
	m.start()
	m.neverRan(all)
}

// The daemon starts another guard when it loses its own.
func TestGuardIsReplaced(t *testing.T) {
	m := newMachine(t, toolRules)
	m.detach = false
	m.start()
	guard := m.guards()[0].pid
	must(t, unix.Kill(guard, unix.SIGKILL))
	m.daemon.says(t, "the guard ended; starting another")
	for wait := after(); ; {
		if g := m.guards(); len(g) == 1 && g[0].pid != guard {
			break
		}
		select {
		case <-wait:
			t.Fatal("no other guard")
		default:
			_, _ = m.free("true") // nobody is told of it
		}
	}
	all := m.held(1)
	m.kill()
	m.neverRan(all)
}

// In observe mode nothing is stopped, least of all by a daemon that is not there.
func TestObserveNeedsNoDaemon(t *testing.T) {
	m := newMachine(t, strings.Replace(toolRules, "enforce", "observe", 1))
	m.detach = false
	m.tool()
	m.start()
	s := m.terminal()
	s.do("/bin/true")
	id := m.events.named(telemetry.NameSessionStart, "").Session
	m.kill()
	if out, code := s.do("./pdk-tool leak && /bin/uname"); code != 0 || out != "Linux\n" {
		t.Errorf("a governed command: %q, %d", out, code)
	}
	late := newProcess(m.agent, "-c", "/bin/echo ran; read end")
	late.cmd.Dir = m.dir
	in, err := late.cmd.StdinPipe()
	must(t, err)
	late.start(t)
	late.says(t, "ran")
	m.start()
	if e := m.events.exec(id, "uname"); e.Attrs[telemetry.AttrDecisionEnforced] != false {
		t.Errorf("recorded meanwhile: %v", e.Attrs)
	}
	start := m.events.wait("the session of the agent that started meanwhile", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameSessionStart && number(e, telemetry.AttrProcessPID) == int64(late.pid())
	})
	if text(start, telemetry.AttrSessionHow) != "scan" {
		t.Errorf("session start: %v", start.Attrs)
	}
	_, err = in.Write([]byte("end\n"))
	must(t, err)
	m.events.named(telemetry.NameSessionEnd, start.Session)
}
