// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon"
	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// waitLimit bounds every wait for what must happen. Under an emulated processor
// everything takes many times as long.
func waitLimit() time.Duration {
	if emulated() {
		return 120 * time.Second
	}
	return 60 * time.Second
}

func after() <-chan time.Time { return time.After(waitLimit()) }

// emulated: times measured here say nothing.
func emulated() bool { return os.Getenv("PADDOCK_VM") != "" }

// machine is a private instance: its directories, its agent, its daemon.
type machine struct {
	t      *testing.T
	dir    string // where agents work
	agent  string // path of the only program that is an agent here
	detach bool   // the daemon takes the kernel side down when it stops

	more       []string            // options of the daemon
	credential *syscall.Credential // of agents; nil: root
	names      []string            // of events to follow; none: all

	daemon *process // nil before start
	events *follower
}

const agentName = "test-agent"

// listed is in the directory "box": who prints it has run ls.
const listed = "marker-file"

// newMachine makes everything but a running daemon. Requirements "" are no file.
func newMachine(t *testing.T, requirements string) *machine {
	t.Helper()
	dir, err := newDir()
	must(t, err)
	m := &machine{t: t, dir: filepath.Join(dir, "w"), detach: true}
	t.Cleanup(func() {
		must(t, os.RemoveAll(dir))
	})
	t.Cleanup(m.clear)
	t.Cleanup(func() {
		if m.events != nil {
			documented(t, m.events.list())
		}
	})
	must(t, os.Mkdir(m.dir, 0o777))
	must(t, os.Chmod(m.dir, 0o777))
	must(t, os.Mkdir(filepath.Join(m.dir, "box"), 0o755))
	must(t, os.WriteFile(filepath.Join(m.dir, "box", listed), nil, 0o644))
	name := "pdk-" + strings.ToLower(rand.Text()[:12])
	m.agent = filepath.Join(m.dir, name)
	copyFile(t, "/bin/dash", m.agent)
	must(t, os.WriteFile(m.path("agents.toml"), fmt.Appendf(nil, `
[[agents]]
name = %q
[[agents.match]]
program = [%q]
[agents.environment]
tool_call = "PDK_TOOL_CALL"
`, agentName, name), 0o644))
	for _, d := range []string{"root", "root/etc", "root/etc/paddock"} {
		must(t, os.Mkdir(m.path(d), 0o755))
	}
	if requirements != "" {
		m.require(requirements)
	}
	return m
}

// started makes a machine with a running daemon.
func started(t *testing.T, requirements string) *machine {
	t.Helper()
	m := newMachine(t, requirements)
	m.start()
	return m
}

// path is a path of the instance.
func (m *machine) path(name string) string { return filepath.Join(filepath.Dir(m.dir), name) }

func (m *machine) socket() string       { return m.path("run/paddock.sock") }
func (m *machine) pins() string         { return daemon.PinDir(m.path("run")) }
func (m *machine) requirements() string { return m.path("root/etc/paddock/requirements.toml") }

// require replaces the requirements as a package manager does.
func (m *machine) require(text string) {
	m.t.Helper()
	tmp := m.requirements() + ".new"
	must(m.t, os.WriteFile(tmp, []byte(text), 0o644))
	must(m.t, os.Rename(tmp, m.requirements()))
}

// process is a program of the test's own that runs.
type process struct {
	cmd   *exec.Cmd
	out   *lockedBuffer // stdout and stderr
	ended chan struct{} // closed when it has been waited for
	read  chan struct{} // closed when all it wrote was read; its own on a terminal, else ended
	err   error         // what Wait returned
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// daemonCommand is the only place where a daemon's command line is made: it
// always has profiles of its own.
func (m *machine) daemonCommand(more ...string) []string {
	line := []string{
		shared.paddock, "daemon", "--root", m.path("root"), "--state-dir", m.path("state"), "--run-dir", m.path("run"),
		"--agents", m.path("agents.toml"),
	}
	if m.detach {
		line = append(line, "--detach-on-stop")
	}
	return append(line, more...)
}

// launch starts a daemon and returns the channel that closes when it is ready.
func (m *machine) launch() (*process, <-chan struct{}) {
	t := m.t
	t.Helper()
	notify := m.path("notify")
	_ = os.Remove(notify)
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	must(t, err)
	ready := make(chan struct{})
	p := newProcess(m.daemonCommand(m.more...)...)
	p.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+notify)
	p.cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	go func() {
		buf := make([]byte, 256)
		for {
			n, err := l.Read(buf)
			if err != nil {
				return
			}
			if strings.Contains(string(buf[:n]), "READY=1") {
				close(ready)
				return
			}
		}
	}()
	p.start(t)
	go func() { <-p.ended; l.Close() }()
	return p, ready
}

// start starts the daemon, waits until it is ready, and follows its events.
func (m *machine) start() {
	m.t.Helper()
	p, ready := m.launch()
	m.daemon = p
	select {
	case <-ready:
	case <-p.ended:
		m.t.Fatalf("the daemon did not start: %v\n%s", p.err, p.out)
	case <-after():
		m.t.Fatalf("the daemon did not become ready\n%s", p.out)
	}
	var names []string
	for _, name := range m.names {
		names = append(names, "--name", name)
	}
	m.events = m.follow(names...)
}

// stop stops the daemon in order and returns how long that took.
func (m *machine) stop() time.Duration {
	m.t.Helper()
	began := time.Now()
	must(m.t, m.daemon.cmd.Process.Signal(syscall.SIGTERM))
	m.daemon.wait(m.t)
	took := time.Since(began)
	if m.daemon.err != nil {
		m.t.Errorf("the daemon, told to stop, ended with %v\n%s", m.daemon.err, m.daemon.out)
	}
	return took
}

// kill is what the kernel does when memory runs out.
func (m *machine) kill() {
	m.t.Helper()
	must(m.t, m.daemon.cmd.Process.Kill())
	m.daemon.wait(m.t)
}

// clear leaves nothing behind, whatever the test did.
func (m *machine) clear() {
	if m.daemon != nil {
		select {
		case <-m.daemon.ended:
		default:
			_ = m.daemon.cmd.Process.Signal(syscall.SIGCONT)
			m.stop()
		}
		if m.t.Failed() {
			m.t.Logf("the daemon said:\n%s", m.daemon.out)
		}
	}
	if err := ebpf.Remove(m.pins()); err != nil {
		m.t.Error(err)
	}
}

func newProcess(line ...string) *process {
	p := &process{cmd: exec.Command(line[0], line[1:]...), out: &lockedBuffer{}, ended: make(chan struct{})}
	p.read = p.ended // Wait waits for what it reads
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return p
}

// start starts it; it and its group are killed when the test ends.
func (p *process) start(t *testing.T) {
	t.Helper()
	done := make(chan error)
	shared.starts <- func() { done <- p.cmd.Start() }
	must(t, <-done)
	t.Cleanup(func() { // before that of the machine, which came earlier
		if p.cmd.Path != shared.paddock || p.cmd.Args[1] != "daemon" {
			_ = unix.Kill(-p.pid(), unix.SIGKILL)
			<-p.ended
		}
	})
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
}

func (p *process) wait(t *testing.T) {
	t.Helper()
	select {
	case <-p.ended:
	case <-after():
		t.Fatalf("%q does not end\n%s", p.cmd.Args, p.out)
	}
}

// says waits until it has written the text.
func (p *process) says(t *testing.T, text string) {
	t.Helper()
	timer := time.NewTimer(waitLimit())
	defer timer.Stop()
	for {
		said, more := p.out.next()
		if strings.Contains(said, text) {
			return
		}
		select {
		case <-more:
		case <-p.read:
			if !strings.Contains(p.out.String(), text) {
				t.Fatalf("%q ended and did not say %q\n%s", p.cmd.Args, text, p.out)
			}
		case <-timer.C:
			t.Fatalf("%q does not say %q\n%s", p.cmd.Args, text, p.out)
		}
	}
}

// signal is what ended it, 0 if none did.
func (p *process) signal() syscall.Signal {
	if ws := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		return ws.Signal()
	}
	return 0
}

// cli runs a client command of the instance.
func (m *machine) cli(args ...string) (stdout, stderr string, code int) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), waitLimit())
	defer cancel()
	cmd := exec.CommandContext(ctx, shared.paddock, append([]string{"--socket", m.socket()}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &errs, m.dir
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.t.Fatal(err)
	}
	if ctx.Err() != nil {
		m.t.Fatalf("paddock %q does not answer", args)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// status asks for the status; where a kernel lacks a mechanism it ends with 3.
func (m *machine) status() api.Status {
	m.t.Helper()
	out, errs, code := m.cli("status", "--json")
	if code != 0 && code != 3 {
		m.t.Fatalf("paddock status: %d, %s", code, errs)
	}
	var s api.Status
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		m.t.Fatalf("paddock status --json: %v in %s", err, out)
	}
	return s
}

// sessions lists the sessions, also those that ended.
func (m *machine) sessions() map[string]session.Session {
	m.t.Helper()
	out, errs, code := m.cli("sessions", "--all", "--json")
	if code != 0 {
		m.t.Fatalf("paddock sessions: %d, %s", code, errs)
	}
	var list []session.Session
	must(m.t, json.Unmarshal([]byte(out), &list))
	all := map[string]session.Session{}
	for i := range list {
		all[list[i].ID] = list[i]
	}
	return all
}

// balanced fails when the books of the daemon do not balance.
func (m *machine) balanced(s api.Status) {
	m.t.Helper()
	for _, i := range s.Identities {
		if !i.Holds {
			m.t.Errorf("%s does not hold: %d, %d", i.Name, i.Left, i.Right)
		}
	}
}

// lockedBuffer is what a process wrote so far.
type lockedBuffer struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{} // closed when more came; nil when nobody waits
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
	return l.b.Write(p)
}

// next returns what there is and a channel that closes when there is more.
func (l *lockedBuffer) next() (string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.more == nil {
		l.more = make(chan struct{})
	}
	return l.b.String(), l.more
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, data, 0o755))
}
