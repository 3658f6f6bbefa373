// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// stopLimit is what the issue allows.
const stopLimit = 5 * time.Second

// Busy and watched, the daemon still stops in time, and without it the
// kernel goes on.
func TestStop(t *testing.T) {
	denied := newTarget(t)
	m := newMachine(t, toolRules+networkRules(newTarget(t), denied))
	m.detach = false
	m.tool()
	m.start()
	m.follow("--name", "nothing.of.that.name")
	s := m.terminal()
	s.assault(denied)
	s.rounds(5)
	id := m.events.named(telemetry.NameSessionStart, "").Session
	guard := hold(t, m.guards()[0].pid)
	if took := m.stop(); took > stopLimit && !emulated() {
		t.Errorf("it took %v to stop", took)
	} else {
		t.Logf("stopped in %v", took)
	}
	guard.gone("the guard")
	s.rounds(5)
	if out, err := m.run("/bin/echo ran"); err == nil || strings.Contains(out, "ran") {
		t.Errorf("an agent started without a daemon: %q, %v", out, err)
	}
	m.start()
	s.rounds(5)
	if now := m.sessions()[id]; !now.Live() || now.Root.PID != s.pid() {
		t.Errorf("session %s of process %d: %+v", id, s.pid(), now)
	}
	m.events.named(telemetry.NameDaemonStop, "")
	if m.leaked() || denied.reached.Load() != 0 {
		t.Errorf("a gap: the forbidden command ran: %v; denied connections: %d", m.leaked(), denied.reached.Load())
	}
	s.end() // or something is always on its way
	m.balanced(m.status())
}

// What is held when the daemon stops will not be answered any more.
func TestStopWhileHolding(t *testing.T) {
	m := newMachine(t, toolRules)
	m.detach = false
	m.start()
	all := m.held(4)
	must(t, m.daemon.cmd.Process.Signal(unix.SIGTERM))
	began := time.Now()
	must(t, m.daemon.cmd.Process.Signal(unix.SIGCONT))
	m.daemon.wait(t)
	if took := time.Since(began); took > stopLimit && !emulated() {
		t.Errorf("it took %v to stop", took)
	}
	for _, p := range all { // answered on the way out, or killed: either, but not left
		p.wait(t)
		if out := p.out.String(); (out == "ran\n") != (p.err == nil) || out != "" && out != "ran\n" {
			t.Errorf("%v, %q", p.err, out)
		}
	}
	if p := m.stopped(); len(p) > 0 {
		t.Errorf("left stopped: %v", p)
	}
}

// Told to stop before it is up, it stops, and leaves nothing.
func TestStopWhileStarting(t *testing.T) {
	m := newMachine(t, toolRules)
	for _, line := range []string{"requirements loaded", "policy in force"} {
		p, _ := m.launch()
		p.says(t, line)
		must(t, p.cmd.Process.Signal(unix.SIGTERM))
		began := time.Now()
		p.wait(t)
		if took := time.Since(began); took > stopLimit && !emulated() {
			t.Errorf("after %q it took %v to stop", line, took)
		}
		m.nothingLeft(nil)
	}
}

// With --detach-on-stop nothing is left: no pin, no program, no process, and who
// was governed is free.
func TestDetachOnStop(t *testing.T) {
	m := started(t, toolRules)
	m.tool()
	s := m.terminal()
	if _, code := s.do("./pdk-tool leak 2>/dev/null"); code != killed {
		t.Errorf("the forbidden command: %d", code)
	}
	programs := m.programs()
	if len(programs) < 5 {
		t.Fatalf("%d programs pinned", len(programs))
	}
	guard := hold(t, m.guards()[0].pid)
	m.stop()
	guard.gone("the guard")
	m.nothingLeft(programs)
	if out, code := s.do("./pdk-tool leak && uname"); code != 0 || out != "Linux\n" {
		t.Errorf("a program that nobody governs any more: %q, %d", out, code)
	}
	if out, err := m.run("/bin/echo ran"); err != nil || out != "ran\n" {
		t.Errorf("a new agent: %q, %v", out, err)
	}
	if entries, err := os.ReadDir(m.path("run")); err != nil {
		t.Error(err)
	} else {
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".lock") {
				t.Errorf("left in the run directory: %s", e.Name())
			}
		}
	}
	// The next one finds no one of those left.
	m.start()
	for id, one := range m.sessions() {
		if one.Root.PID != s.pid() || one.Live() && one.How != "scan" {
			t.Errorf("session %s: %+v", id, one)
		}
	}
	if _, code := s.do("./pdk-tool leak 2>/dev/null"); code != killed {
		t.Errorf("the agent that ran meanwhile is not governed: %d", code)
	}
}

// programs are the kernel programs in force for the instance.
func (m *machine) programs() []ebpf.ProgramID {
	m.t.Helper()
	pins, err := filepath.Glob(filepath.Join(m.pins(), "*", "links", "*"))
	must(m.t, err)
	var ids []ebpf.ProgramID
	for _, pin := range pins {
		l, err := link.LoadPinnedLink(pin, nil)
		must(m.t, err)
		info, err := l.Info()
		must(m.t, err)
		must(m.t, l.Close())
		ids = append(ids, info.Program)
	}
	return ids
}

// nothingLeft fails when anything of the instance is left. Programs go a grace
// period after the last hold on them.
func (m *machine) nothingLeft(programs []ebpf.ProgramID) {
	m.t.Helper()
	if _, err := os.Lstat(m.pins()); !errors.Is(err, fs.ErrNotExist) {
		m.t.Errorf("pins are left in %s: %v", m.pins(), err)
	}
	if p := processes(m.t, func(p procInfo) bool {
		return len(p.args) > 1 && (p.args[1] == "helper" || p.args[1] == "daemon") && strings.Contains(strings.Join(p.args, " "), filepath.Dir(m.dir)) ||
			len(p.args) == 4 && p.args[3] == m.pins()
	}); len(p) > 0 {
		m.t.Errorf("processes are left: %v", p)
	}
	const membarrierGlobal = 1 // waits for a grace period
	deadline := time.Now().Add(time.Minute)
	for _, id := range programs {
		for {
			p, err := ebpf.NewProgramFromID(id)
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			must(m.t, err)
			must(m.t, p.Close())
			// What is called in processes that may sleep is let go by longer ones.
			if time.Now().After(deadline) {
				m.t.Errorf("program %d is left in the kernel: %v", id, p)
				break
			}
			_, _, _ = unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0)
		}
	}
}
