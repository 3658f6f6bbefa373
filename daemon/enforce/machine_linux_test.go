// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// The test binary is also the guard, the canary and whatever attacker a test needs.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "helper" {
		if err := HelperMain(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "attack-") {
		os.Exit(attack(os.Args[1], os.Args[2:]))
	}
	os.Exit(m.Run())
}

// log is a Recorder that a test can wait on.
type eventLog struct {
	mu     sync.Mutex
	events []telemetry.Event
	more   chan struct{}
}

func (l *eventLog) Room(context.Context) error { return nil }
func (l *eventLog) Owe(int)                    {}

func (l *eventLog) Record(_ context.Context, events ...telemetry.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		e.Attrs = maps.Clone(e.Attrs) // Record keeps nothing of an event
		l.events = append(l.events, e)
	}
	close(l.more)
	l.more = make(chan struct{})
	return nil
}

// machine is an enforcer on the running kernel that governs the test's own
// agent only: a copy of a shell under a name nobody else has.
type machine struct {
	*Enforcer
	t     *testing.T
	log   *eventLog
	dir   string
	agent string
	pins  string
	// cgroup is that below which connections are judged.
	cgroup string
	// refreshed gets the generations that programs which changed made.
	refreshed chan uint32
}

const waitLimit = 30 * time.Second

func newMachine(t *testing.T, requirements string) *machine {
	t.Helper()
	return newMachineBelow(t, ebpf.FindCgroup(), requirements)
}

// newMachineBelow judges connections below a cgroup alone.
func newMachineBelow(t *testing.T, cgroup, requirements string) *machine {
	t.Helper()
	m := &machine{t: t, cgroup: cgroup, log: &eventLog{more: make(chan struct{})}, dir: t.TempDir(), refreshed: make(chan uint32, 1000)}
	must(t, os.Chmod(m.dir, 0o755))
	must(t, os.Mkdir(filepath.Join(m.dir, "bin"), 0o755))
	name := "pdk-" + strings.ToLower(rand.Text()[:10])
	m.agent = filepath.Join(m.dir, name)
	copyFile(t, "/bin/dash", m.agent)
	m.pins = filepath.Join("/sys/fs/bpf", "paddock-test-"+name)
	t.Cleanup(func() { ebpf.Remove(m.pins) })
	m.start(requirements, session.NewTable(time.Now, rand.Reader))
	return m
}

func (m *machine) start(requirements string, table *session.Table) {
	t := m.t
	t.Helper()
	profiles, err := session.ParseProfiles("test", fmt.Appendf(nil, `
[[agents]]
name = "test-agent"
[[agents.match]]
program = [%q]
[agents.environment]
tool_call = "PDK_TOOL_CALL"
[[interpreters]]
names = [%q]
`, filepath.Base(m.agent), filepath.Base(m.agent)+"-i"))
	must(t, err)
	k, err := ebpf.Open(ebpf.Options{PinDir: m.pins, Cgroup: m.cgroup})
	must(t, err)
	self, err := os.Executable()
	must(t, err)
	out := io.Discard
	if testing.Verbose() {
		out = os.Stderr
	}
	m.Enforcer, err = New(Config{
		Kernel: k, Profiles: profiles, Sessions: table, Events: m.log,
		Directories: func() []string { return append(Directories("/"), filepath.Join(m.dir, "bin")) }, Helper: []string{self, "helper"}, PinDir: m.pins, Cgroup: m.cgroup, Own: []string{filepath.Join(m.dir, "own")}, Companion: filepath.Join(m.dir, "companion"),
		Log: slog.New(slog.NewTextHandler(out, nil)), Refreshed: func(n uint32) { m.refreshed <- n },
	})
	must(t, err)
	m.apply(requirements)
	must(t, m.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitLimit) // emulated, all takes its time
		defer cancel()
		if err := m.Shutdown(ctx, true); err != nil {
			t.Error(err)
		}
		k.Detach()
		k.Close()
	})
}

func (m *machine) apply(requirements string) {
	m.t.Helper()
	r, err := policy.Parse("test.toml", []byte(requirements))
	must(m.t, err)
	_, err = m.Apply(r)
	must(m.t, err)
}

// run starts the agent with a shell script and returns what it wrote.
func (m *machine) run(script string, env ...string) (string, error) {
	cmd := exec.Command(m.agent, "-c", script)
	cmd.Dir = m.dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// wait returns the first event that fits.
func (m *machine) wait(what string, fits func(telemetry.Event) bool) telemetry.Event {
	m.t.Helper()
	timer := time.NewTimer(waitLimit)
	defer timer.Stop()
	for seen := 0; ; {
		m.log.mu.Lock()
		events, more := m.log.events[seen:], m.log.more
		m.log.mu.Unlock()
		for _, ev := range events {
			if fits(ev) {
				return ev
			}
			seen++
		}
		select {
		case <-more:
		case <-timer.C:
			m.log.mu.Lock()
			for _, ev := range m.log.events[max(0, len(m.log.events)-5):] {
				m.t.Logf("%s %v", ev.Name, ev.Attrs)
			}
			m.log.mu.Unlock()
			m.t.Fatalf("no event: %s", what)
		}
	}
}

// exec waits for the exec event of a program.
func (m *machine) execOf(name string) telemetry.Event {
	m.t.Helper()
	return m.wait("exec of "+name, func(e telemetry.Event) bool {
		return e.Name == telemetry.NameProcessExec && e.Attrs[telemetry.AttrProcessExecutableName] == name
	})
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
