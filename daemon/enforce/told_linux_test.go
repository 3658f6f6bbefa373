// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// events are those recorded by now.
func (m *machine) events() []telemetry.Event {
	m.log.mu.Lock()
	defer m.log.mu.Unlock()
	return m.log.events[:len(m.log.events):len(m.log.events)]
}

// Whatever is told of a process that ran before it was governed, by the daemon or by the kernel, is told of one and the same.
func TestGovernedLaterHasOneStart(t *testing.T) {
	for name, govern := range map[string]func(m *machine, pid int) error{
		"adopted": func(m *machine, pid int) error {
			_, err := m.Adopt(pid, "run", nil)
			return err
		},
		"found running": func(m *machine, pid int) error {
			if err := m.Kernel.Unmark(pid); err != nil { // as if it had started before the daemon
				return err
			}
			return m.scan()
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, "")
			program := "/bin/dash"
			if name != "adopted" {
				program = m.agent
			}
			cmd := exec.Command(program, "-c", "read line; exec /bin/sh -c 'exit 3'")
			stdin, err := cmd.StdinPipe()
			must(t, err)
			must(t, cmd.Start())
			pid := cmd.Process.Pid
			if name != "adopted" {
				m.wait("its session", func(e telemetry.Event) bool { return e.Name == telemetry.NameSessionStart })
			}
			must(t, govern(m, pid))
			must(t, stdin.Close())
			if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 3 {
				t.Fatalf("it ended with %v", cmd.ProcessState)
			}
			exit := m.wait("its exit", func(e telemetry.Event) bool {
				return e.Name == telemetry.NameProcessExit && e.Attrs[telemetry.AttrProcessPID] == int64(pid)
			})
			said := map[string]bool{}
			for _, e := range m.events() {
				if e.Session != exit.Session || e.Attrs[telemetry.AttrProcessPID] != int64(pid) {
					continue
				}
				said[e.Name] = true
				if e.Attrs[telemetry.AttrProcessStart] != exit.Attrs[telemetry.AttrProcessStart] {
					t.Errorf("%s says that it began at %v, its exit %v", e.Name, e.Attrs[telemetry.AttrProcessStart], exit.Attrs[telemetry.AttrProcessStart])
				}
			}
			if !said[telemetry.NameSessionStart] || !said[telemetry.NameProcessExec] {
				t.Errorf("nothing was compared: %v", said)
			}
		})
	}
}

// The end of a session comes after all that it sums up.
func TestEndTellsAllThatWasRefused(t *testing.T) {
	m := newMachine(t, lsForbidden)
	const rounds = 30
	for range rounds {
		_, _ = m.run("exec ls") // the last thing it does is refused
	}
	ends := 0
	m.wait("the ends of all", func(e telemetry.Event) bool {
		if e.Name == telemetry.NameSessionEnd {
			ends++
		}
		return ends == rounds
	})
	told := map[string]int64{}
	for _, e := range m.events() {
		switch {
		case e.Name == telemetry.NameProcessExec && strings.HasPrefix(e.Attrs[telemetry.AttrDecision].(string), "forbidden"):
			told[e.Session]++
		case e.Name == telemetry.NameSessionEnd:
			if n := told[e.Session]; n != 1 || e.Attrs[telemetry.AttrSessionDenied] != n {
				t.Errorf("a session ended with %v refused, and before that %d were told", e.Attrs[telemetry.AttrSessionDenied], n)
			}
		}
	}
	if len(told) != rounds {
		t.Errorf("%d sessions were refused something, want %d", len(told), rounds)
	}
}

// What a process runs next is not taken for what it ran, neither in what is told nor in what is known of the file from then on.
func TestWhatRunsNextIsNotTakenForIt(t *testing.T) {
	const dashForbidden = "[rules]\nprefix_rules = [{ pattern = [{ token = \"dash\" }], decision = \"forbidden\", justification = \"no shells\" }]\n[paddock]\nmode = %q\n"
	m := newMachine(t, fmt.Sprintf(dashForbidden, "observe"))
	other := filepath.Join(m.dir, "other") // by its content it is dash
	copyFile(t, "/bin/dash", other)
	untilSettled(t, other)
	for range 20 {
		if out, err := m.run(other + " -c 'exec /bin/true'"); err != nil {
			t.Fatal(out, err)
		}
	}
	seen := 0
	m.wait("what ran first", func(e telemetry.Event) bool {
		if e.Name == telemetry.NameProcessExec && e.Attrs[telemetry.AttrProcessExecutableName] == "other" {
			seen++
			if path := e.Attrs[telemetry.AttrProcessExecutablePath]; path != other {
				t.Errorf("%s is told to be %v", other, path)
			}
		}
		return seen == 20
	})
	m.apply(fmt.Sprintf(dashForbidden, "enforce"))
	out, _ := m.run("./other -c '>ran'")
	if _, err := os.Stat(filepath.Join(m.dir, "ran")); err == nil {
		t.Errorf("a copy of what is forbidden ran: %q", out)
	}
}

// untilSettled waits until what is read of a file is remembered.
func untilSettled(t *testing.T, path string) {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	<-time.After(time.Until(time.Unix(st.Ctim.Unix()).Add(settled)))
}

// Whoever looks for sessions that are over, and at whatever moment, does not end one that has just begun: it would have no boundary.
func TestBegunSessionIsNotOver(t *testing.T) {
	m := newMachine(t, "[paddock]\nmode = \"enforce\"\n")
	ctx, stop := context.WithCancel(t.Context())
	var looking sync.WaitGroup
	defer looking.Wait()
	defer stop()
	looking.Go(func() {
		for ctx.Err() == nil {
			for _, s := range m.Sessions.List() {
				if s.Live() {
					m.marks.look(s.Key)
				}
			}
		}
	})
	for range 50 {
		cmd := exec.Command("/bin/sleep", "1000")
		must(t, cmd.Start())
		s, err := m.Adopt(cmd.Process.Pid, "run", nil)
		must(t, err)
		if now, ok := m.Sessions.ByID(s.ID); !ok || !now.Live() {
			t.Errorf("the session of process %d is over before it has done anything", cmd.Process.Pid)
		}
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
	}
}
