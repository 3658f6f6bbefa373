// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package bench

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
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// machine is a place for private daemons, and the programs that are measured.
type machine struct {
	t      *testing.T
	dir    string
	binary string // paddock
	pins   string
	free   string // program no rule names: a decision about it is remembered
	judged string // program with a rule about its arguments
	chain  string
	cmd    *exec.Cmd
	ready  time.Duration // from its start to READY=1: every gate proven, the API up
	log    bytes.Buffer
}

func newMachine(t *testing.T, binary string) *machine {
	t.Helper()
	id := strings.ToLower(rand.Text()[:10])
	m := &machine{t: t, dir: t.TempDir(), binary: binary, pins: "/sys/fs/bpf/paddock-bench-" + id}
	must(t, os.Chmod(m.dir, 0o755))
	m.free, m.judged, m.chain = m.path("free-"+id), m.path("judged-"+id), m.path("chain-"+id)
	writeProgram(t, m.free, exits)
	writeProgram(t, m.judged, exits)
	writeProgram(t, m.chain, chain)
	// Only what nobody else can be called is recognised: this may be a machine on which real agents are at work.
	m.write("agents.toml", fmt.Sprintf("[[agents]]\nname = \"bench\"\n[[agents.match]]\nprogram = [\"bench-agent-%s\"]\n", id))
	m.write("root/etc/paddock/requirements.toml", fmt.Sprintf(`[rules]
prefix_rules = [
	{ pattern = [{ token = %q }, { token = "forbidden" }], decision = "forbidden" },
]
[paddock.network]
default = "deny"
[[paddock.network.rules]]
cidr = "127.0.0.0/8"
decision = "allow"
`, filepath.Base(m.judged)))
	t.Cleanup(func() {
		m.stop()
		must(t, ebpf.Remove(m.pins))
	})
	return m
}

// build makes the very binary that ships.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "paddock")
	out, err := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "../..").CombinedOutput()
	if err != nil {
		t.Fatalf("building paddock: %v\n%s", err, out)
	}
	return path
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

func (m *machine) write(name, text string) {
	m.t.Helper()
	must(m.t, os.MkdirAll(filepath.Dir(m.path(name)), 0o755))
	must(m.t, os.WriteFile(m.path(name), []byte(text), 0o644))
}

// startLimit is how long a daemon may take until it is ready.
const startLimit = 30 * time.Second

// start starts a daemon and waits until it says that every gate is proven.
func (m *machine) start() {
	m.t.Helper()
	socket := m.path("notify")
	_ = os.Remove(socket)
	said, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	must(m.t, err)
	defer said.Close()
	binary := m.binary
	if os.Getenv(profileEnv) != "" {
		binary, err = os.Executable()
		must(m.t, err)
	}
	m.log.Reset()
	m.cmd = exec.Command(binary, "daemon", "--root", m.path("root"), "--state-dir", m.path("state"), "--run-dir", m.path("run"),
		"--agents", m.path("agents.toml"), "--pin-dir", m.pins, "--detach-on-stop")
	m.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket)
	m.cmd.Stderr = &m.log
	began := time.Now()
	must(m.t, m.cmd.Start())
	must(m.t, said.SetReadDeadline(began.Add(startLimit)))
	text := make([]byte, 256)
	n, err := said.Read(text)
	if err != nil || !bytes.Contains(text[:n], []byte("READY=1")) {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait()
		m.t.Fatalf("the daemon did not get ready: %v, %q\n%s", err, text[:n], &m.log)
	}
	m.ready = time.Since(began)
	m.quiet()
}

// quiet waits until the daemon has used no CPU time for a while.
func (m *machine) quiet() {
	m.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for last, same := time.Duration(-1), 0; same < 5; {
		<-tick.C
		if now := m.cpu(); now == last {
			same++
		} else {
			last, same = now, 0
		}
	}
}

// cpu is the CPU time the daemon has used, in steps of 10 ms.
func (m *machine) cpu() time.Duration {
	m.t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.cmd.Process.Pid))
	must(m.t, err)
	_, after, _ := strings.Cut(string(raw), ") ")
	var ticks int
	for _, field := range strings.Fields(after)[11:13] { // utime, stime
		n, err := strconv.Atoi(field)
		must(m.t, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// stop ends the daemon; the kernel side goes with it.
func (m *machine) stop() {
	m.t.Helper()
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Signal(syscall.SIGTERM)
	err := m.cmd.Wait()
	m.cmd = nil
	if err != nil {
		m.t.Errorf("the daemon ended with %v\n%s", err, &m.log)
	}
}

// run is what to put before a command to govern it.
func (m *machine) run() []string {
	return []string{m.binary, "--socket", m.path("run/paddock.sock"), "run", "--agent", "bench", "--"}
}

// status asks as an administrator would.
func (m *machine) status() api.Status {
	m.t.Helper()
	out, err := exec.Command(m.binary, "--socket", m.path("run/paddock.sock"), "status", "--json").Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) { // 3: not every gate can be had on every kernel
		m.t.Fatalf("paddock status: %v\n%s", err, &m.log)
	}
	var s api.Status
	must(m.t, json.Unmarshal(out, &s))
	return s
}

// settled asks until the books balance: nothing is on its way any more.
func (m *machine) settled() api.Status {
	m.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		s := m.status()
		open := ""
		for _, i := range s.Identities {
			if !i.Holds {
				open += fmt.Sprintf("\n%s: %d = %d", i.Name, i.Left, i.Right)
			}
		}
		if open == "" && s.Counters["store.queued"] == 0 {
			return s
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("the counters do not add up:%s\n%s", open, &m.log)
		}
	}
}

// known repeats what o executes until the kernel has the answer: about a file that changed a moment ago, none is
// remembered.
func (m *machine) known(w *worker, o order) {
	m.t.Helper()
	for deadline := time.Now().Add(startLimit); ; {
		before := m.settled().Counters["holds.evaluated"]
		w.do(o)
		if m.settled().Counters["holds.evaluated"] == before {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("%s is evaluated again and again", o.Program)
		}
	}
}

// gaps adds up the losses of kernel records that events tell of.
func (m *machine) gaps(ctx context.Context) uint64 {
	m.t.Helper()
	out, err := exec.CommandContext(ctx, m.binary, "--socket", m.path("run/paddock.sock"), "events", "--json", "--name", "paddock.telemetry.gap").Output()
	must(m.t, err)
	var sum uint64
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var e struct {
			Attributes map[string]any
		}
		must(m.t, d.Decode(&e))
		for k, v := range e.Attributes {
			if n, ok := v.(float64); ok && strings.HasSuffix(k, "count") {
				sum += uint64(n)
			}
		}
	}
	return sum
}

// watching says whether the watch on system calls is attached, which costs every process something.
func (m *machine) watching() bool {
	found, _ := filepath.Glob(filepath.Join(m.pins, "*", "links", "on_syscall"))
	return len(found) > 0
}

// bySyscalls says whether it has to be, on this kernel, while a session lives.
func (m *machine) bySyscalls() bool {
	for _, g := range m.status().Gates {
		if g.Gate == api.GateExecWoken {
			return g.Tier == api.TierSysEnter
		}
	}
	m.t.Fatal("nothing is said of the watch on what is held")
	return false
}

// resident returns the resident memory of the daemon and of its helper process, in bytes.
func (m *machine) resident() (daemon, helper int) {
	m.t.Helper()
	pid := m.cmd.Process.Pid
	children, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range children {
		raw, _ := os.ReadFile(path)
		if _, after, ok := strings.Cut(string(raw), ") "); ok && strings.Fields(after)[1] == strconv.Itoa(pid) {
			helper += rss(filepath.Dir(path))
		}
	}
	return rss(fmt.Sprintf("/proc/%d", pid)), helper
}

func rss(dir string) int { return memory(dir, "VmRSS:") }

// memory reads a line of a process's status, in bytes; 0 if it is not there.
func memory(dir, line string) int {
	raw, _ := os.ReadFile(filepath.Join(dir, "status"))
	_, after, _ := strings.Cut(string(raw), line)
	fields := strings.Fields(after)
	if len(fields) == 0 {
		return 0
	}
	kb, _ := strconv.Atoi(fields[0])
	return kb << 10
}
