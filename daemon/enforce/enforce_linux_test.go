// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"crypto/rand"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

const lsForbidden = `
[rules]
prefix_rules = [
  { pattern = [{ token = "ls" }], decision = "forbidden", justification = "use the file tool" },
  { pattern = [{ token = "git" }, { any_of = ["push", "fetch"] }], decision = "prompt" },
]
[paddock]
mode = "enforce"
`

func TestAgentBecomesSession(t *testing.T) {
	m := newMachine(t, lsForbidden)
	out, err := m.run("/bin/echo hello; setsid /bin/echo away", "PDK_TOOL_CALL=call_7")
	if err != nil || out != "hello\naway\n" {
		t.Fatalf("the agent: %q, %v", out, err)
	}
	start := m.wait("session start", func(e telemetry.Event) bool { return e.Name == telemetry.NameSessionStart })
	if start.Attrs[telemetry.AttrAgent] != "test-agent" || start.Session == "" {
		t.Errorf("session start: %+v", start)
	}
	echo := m.execOf("echo")
	if echo.Session != start.Session || echo.Attrs[telemetry.AttrToolCallID] != "call_7" {
		t.Errorf("exec: session %q, tool call %v", echo.Session, echo.Attrs[telemetry.AttrToolCallID])
	}
	end := m.wait("session end", func(e telemetry.Event) bool { return e.Name == telemetry.NameSessionEnd })
	if end.Session != start.Session {
		t.Errorf("session %s ended, %s started", end.Session, start.Session)
	}
}

// The whole of the list: however it is called, ls does not run.
func TestForbiddenInEveryDisguise(t *testing.T) {
	m := newMachine(t, lsForbidden)
	must(t, m.Prove(t.Context())) // with every mechanism the kernel has
	m.box()
	self, err := os.Executable()
	must(t, err)
	must(t, os.Symlink("/bin/ls", filepath.Join(m.dir, "link")))
	copyFile(t, "/bin/ls", filepath.Join(m.dir, "copy"))
	must(t, os.WriteFile(filepath.Join(m.dir, "script"), []byte("#!/bin/ls\n"), 0o755))
	if err := os.Link("/bin/ls", filepath.Join(m.dir, "hard")); err != nil {
		t.Logf("no hard link across file systems here: %v", err)
		copyFile(t, "/bin/ls", filepath.Join(m.dir, "hard"))
	}
	loaders, _ := filepath.Glob("/lib64/ld-linux*")
	if len(loaders) == 0 {
		loaders, _ = filepath.Glob("/lib/ld-linux*")
	}
	for _, script := range []string{
		"ls box", "echo $(ls box)", "FOO=1 ls box", "ls box > f; cat f", "(ls box)", "for i in 1; do ls box; done",
		`"ls" box`, `l\s box`, "env ls box", "bash -c 'ls box'", "/bin/ls box", "echo a && ls box", "true; ls box & wait",
		"echo box | xargs ls", "../" + filepath.Base(m.dir) + "/copy box", "./link box", "./hard box", "exec ls box",
		"bash -c 'exec -a cat ls box'", "busybox ls box", "cp /bin/ls fresh && ./fresh box", "find box -maxdepth 0 -exec ls {} +",
		loaders[0] + " /bin/ls box", loaders[0] + " --argv0 x ./copy box", "setsid -w ls box", "nohup ls box 2>/dev/null",
		"perl -e 'exec {\"/bin/ls\"} \"harmless\", \"box\"'", "python3 -c 'import os; os.execv(\"/bin/ls\", [\"\", \"box\"])'",
		"./script; cd box && ../script", "cd box && " + self + " attack-noargs /bin/ls",
	} {
		t.Run(script, func(t *testing.T) {
			out, _ := m.run(script + "; true")
			if strings.Contains(out, "marker-file") {
				t.Errorf("ls ran: %q", out)
			}
		})
	}
	ev := m.execOf("ls")
	if ev.Attrs[telemetry.AttrDecision] != "forbidden" ||
		!strings.Contains(ev.Attrs[telemetry.AttrDecisionReason].(string), "use the file tool") {
		t.Errorf("event: %v", ev.Attrs)
	}
}

func TestBlockedProgramSaysWhy(t *testing.T) {
	m := newMachine(t, lsForbidden)
	out, err := m.run("git push origin")
	if err == nil || !strings.Contains(out, "paddock: blocked `git push origin`") || !strings.Contains(out, "nobody to ask") {
		t.Errorf("output %q, %v", out, err)
	}
	if out, err := m.run("git --version"); err != nil {
		t.Errorf("another git command: %q, %v", out, err)
	}
}

func TestObserveLetsThroughAndTells(t *testing.T) {
	m := newMachine(t, strings.Replace(lsForbidden, `"enforce"`, `"observe"`, 1))
	if out, err := m.run("ls / >/dev/null && echo ran"); err != nil || out != "ran\n" {
		t.Errorf("observe mode got in the way: %q, %v", out, err)
	}
	ev := m.execOf("ls")
	if ev.Attrs[telemetry.AttrDecision] != "forbidden" || ev.Attrs[telemetry.AttrDecisionEnforced] != false {
		t.Errorf("event: %v", ev.Attrs)
	}
}

func TestRepeatedCommandIsAllowedInTheKernel(t *testing.T) {
	m := newMachine(t, lsForbidden)
	_, err := m.run("i=0; while [ $i -lt 20 ]; do sh -c 'exec /bin/true'; i=$((i+1)); done")
	must(t, err)
	m.wait("a cached decision", func(e telemetry.Event) bool {
		return e.Attrs[telemetry.AttrProcessExecutableName] == "true" &&
			e.Attrs[telemetry.AttrDecisionReason] == "allowed before, unchanged since"
	})
}

// What was allowed stays allowed only as long as it is the same file.
func TestChangedProgramIsJudgedAnew(t *testing.T) {
	m := newMachine(t, lsForbidden)
	copyFile(t, "/bin/true", filepath.Join(m.dir, "tool"))
	must(t, os.WriteFile(filepath.Join(m.dir, "marker-file"), nil, 0o644))
	out, _ := m.run("for i in 1 2 3; do sh -c './tool'; done; cat /bin/ls > tool; sh -c './tool'; true")
	if strings.Contains(out, "marker-file") {
		t.Errorf("ls ran as the program it replaced: %q", out)
	}
}

func TestNewPolicyHoldsAtOnce(t *testing.T) {
	m := newMachine(t, lsForbidden)
	if out, err := m.run("for i in 1 2 3; do sh -c '/bin/true'; done"); err != nil {
		t.Fatalf("%q, %v", out, err)
	}
	m.apply(strings.Replace(lsForbidden, `"ls"`, `"true"`, 1))
	if out, err := m.run("/bin/true"); err == nil {
		t.Errorf("true ran under a policy that forbids it: %q", out)
	}
	if out, err := m.run("ls / >/dev/null"); err != nil {
		t.Errorf("ls is no longer forbidden, but: %q, %v", out, err)
	}
}

// Whoever puts another policy into force, root or a daemon that went astray: it does not last.
func TestPolicyOfSomebodyElse(t *testing.T) {
	m := newMachine(t, lsForbidden)
	m.box()
	before := m.now.Load().number
	for what, number := range map[string]uint32{"a newer one": before + 7, "an older one, as after a restart": before - 1} {
		must(t, m.Kernel.SetPolicy(ebpf.Generation{Number: number, Enforce: false}))
		damages := m.Inspect()
		if len(damages) != 1 || !damages[0].Policy || !damages[0].Mended {
			t.Errorf("%s: %+v", what, damages)
		}
		now := m.now.Load().number
		if is, err := m.Kernel.Generation(); err != nil || is != now || now <= number || now <= before {
			t.Errorf("%s: generation %d is in force (%v), the daemon's is %d", what, is, err, now)
		}
		if told := <-m.refreshed; told != now {
			t.Errorf("%s: generation %d was told, %d is in force", what, told, now)
		}
		if out, _ := m.run("ls box; true"); strings.Contains(out, "marker-file") {
			t.Errorf("%s: ls ran: %q", what, out)
		}
		if damages := m.Inspect(); len(damages) > 0 {
			t.Errorf("%s, afterwards: %+v", what, damages)
		}
	}
}

func TestNetworkRules(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	rules := `
[paddock]
mode = "enforce"
[paddock.network]
default = "deny"
[[paddock.network.rules]]
cidr = "127.0.0.1/32"
ports = ["` + strconv.Itoa(port) + `"]
decision = "DECISION"
justification = "the build cache"
`
	m := newMachine(t, strings.Replace(rules, "DECISION", "allow", 1))
	connect := "bash -c 'exec 3<>/dev/tcp/127.0.0.1/" + strconv.Itoa(port) + " && echo connected'"
	if out, _ := m.run(connect); out != "connected\n" {
		t.Errorf("an allowed connection: %q", out)
	}
	m.apply(strings.Replace(rules, "DECISION", "deny", 1))
	if out, _ := m.run(connect); strings.Contains(out, "connected") {
		t.Errorf("a denied connection: %q", out)
	}
	ev := m.wait("denied connection", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameNetworkDecision && e.Attrs[telemetry.AttrDecision] == "deny"
	})
	if ev.Attrs[telemetry.AttrDestinationPort] != int64(port) || ev.Attrs[telemetry.AttrDecisionReason] != "the build cache" {
		t.Errorf("event: %v", ev.Attrs)
	}
}

// bestMechanism is what the kernel of a test machine must offer; empty where
// that is not known.
func bestMechanism() ebpf.Mechanism {
	switch kernel := os.Getenv("PADDOCK_VM"); {
	case kernel == "":
		return ""
	case strings.HasSuffix(kernel, "-nolsm"):
		return ebpf.ModReturn
	default:
		return ebpf.LSM
	}
}

func TestGatesAreProven(t *testing.T) {
	m := newMachine(t, lsForbidden)
	for _, mode := range []string{"enforce", "observe"} { // the canary is under enforcement in both
		m.apply(strings.Replace(lsForbidden, `"enforce"`, strconv.Quote(mode), 1))
		must(t, m.Prove(t.Context()))
		best := bestMechanism()
		if got := m.canary.mechanism(); best != "" && got != best {
			t.Errorf("mode %s: the mechanism is %q, this kernel has %q", mode, got, best)
		}
		for _, g := range m.Gates() {
			t.Logf("%s: %s %v %s", g.Gate, g.Tier, g.Proven, g.Detail)
			required := best != "" || g.Gate == "exec.hold" || g.Gate == "connect" || g.Gate == "socket.raw"
			if required && !g.Proven {
				t.Errorf("mode %s: gate %s is not proven: %s", mode, g.Gate, g.Detail)
			}
		}
	}
}

// The canary proves what holds where connections are judged, and not where the daemon is. Where processes are shared out
// there may be none beside the cgroups.
func TestGatesAreProvenInAnotherCgroup(t *testing.T) {
	below := filepath.Join(ebpf.FindCgroup(), "pdk-"+strings.ToLower(rand.Text()[:10]))
	must(t, os.Mkdir(below, 0o755))
	t.Cleanup(func() { must(t, os.Remove(below)) }) // nothing is left in it
	for _, dir := range []string{filepath.Dir(below), below} {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+pids"), 0); err != nil {
			t.Logf("%s shares out nothing: %v", dir, err)
		}
	}
	m := newMachineBelow(t, below, lsForbidden)
	for range 2 {
		must(t, m.Prove(t.Context()))
		if left, err := filepath.Glob(filepath.Join(below, "paddock-*")); err != nil || len(left) > 0 {
			t.Errorf("left: %q, %v", left, err)
		}
	}
	threads := filepath.Join(below, "threads")
	must(t, os.Mkdir(threads, 0o755))
	t.Cleanup(func() { must(t, os.Remove(threads)) })
	must(t, os.WriteFile(filepath.Join(threads, "cgroup.type"), []byte("threaded"), 0))
	m.Cgroup = threads
	if err := m.Prove(t.Context()); err == nil || !strings.Contains(err.Error(), threads) || !strings.Contains(err.Error(), "--cgroup") {
		t.Errorf("in a cgroup of threads: %v", err)
	}
}

// What is forbidden whatever its arguments is refused before it begins, where
// the kernel can: the caller gets EPERM, and nothing is killed.
func TestForbiddenProgramIsRefused(t *testing.T) {
	m := newMachine(t, lsForbidden)
	must(t, m.Prove(t.Context()))
	out, err := m.run("ls /; echo code $?")
	must(t, err)
	if m.canary.mechanism() == ebpf.None {
		if !strings.Contains(out, "code 137") {
			t.Errorf("held and killed, the shell says %q", out)
		}
		return
	}
	if !strings.Contains(out, "code 126") || !strings.Contains(out, "not permitted") {
		t.Errorf("refused, the shell says %q", out)
	}
	ev := m.execOf("ls")
	if ev.Attrs[telemetry.AttrGate] != "exec.refuse" || !strings.Contains(ev.Attrs[telemetry.AttrDecisionReason].(string), "use the file tool") {
		t.Errorf("event: %v", ev.Attrs)
	}
	// The loader maps a program without executing it.
	if loaders, _ := filepath.Glob("/lib64/ld-linux*"); len(loaders) > 0 {
		if out, _ := m.run(loaders[0] + " /bin/ls /; true"); strings.Contains(out, "etc") {
			t.Errorf("ls ran by the loader: %q", out)
		}
	}
}
