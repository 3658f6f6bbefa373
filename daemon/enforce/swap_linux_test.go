// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// swaps is how often the policy is replaced under load; fewer where every
// processor is emulated.
func swaps() int {
	if os.Getenv("PADDOCK_VM") != "" {
		return 4
	}
	return 1000
}

// Two policies agree about four things and differ in all that is around them.
// While one takes the other's place, again and again, what they agree about is
// never decided otherwise: there is no moment without policy, and no mixture.
func TestSwappingPoliciesUnderLoad(t *testing.T) {
	listen := func() (port string) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		}()
		return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	}
	open, shut := listen(), listen()
	requirements := func(around string) string {
		return fmt.Sprintf(`
[rules]
prefix_rules = [
  { pattern = [{ token = "ls" }], decision = "forbidden" },
  { pattern = [{ token = "printenv" }, { token = "SECRET" }], decision = "forbidden" },
  { pattern = [{ token = "%s" }], decision = "forbidden" },
]
[paddock]
mode = "enforce"
[paddock.network]
default = "allow"
[[paddock.network.rules]]
cidr = "127.0.0.1/32"
ports = ["%s"]
decision = "deny"
[[paddock.network.rules]]
cidr = "%s"
decision = "deny"
`, around, shut, map[string]string{"who": "192.0.2.0/24", "users": "198.51.100.0/24"}[around])
	}
	m := newMachine(t, requirements("who"))
	must(t, os.WriteFile(filepath.Join(m.dir, "marker-file"), nil, 0o644))
	self, err := os.Executable()
	must(t, err)

	// Each says so when a verdict was wrong, and counts its rounds.
	load := map[string]string{
		"exec by name":    `if ls . >/dev/null 2>&1; then echo "ls ran"; fi; /bin/true || echo "true did not run: $?"`,
		"exec by command": `if printenv SECRET >/dev/null 2>&1; then echo "printenv SECRET ran"; fi; printenv PATH >/dev/null || echo "printenv PATH did not run: $?"`,
		"connect": self + " attack-net connect " + shut + " >/dev/null 2>&1 && echo 'the denied connection came about'; " +
			self + " attack-net connect " + open + " >/dev/null 2>&1 || echo 'the allowed connection failed'",
	}
	stop := filepath.Join(m.dir, "stop")
	type end struct{ name, out string }
	ends := make(chan end, len(load))
	began := make(chan struct{}, len(load))
	for name, round := range load {
		fifo := filepath.Join(m.dir, strings.ReplaceAll(name, " ", "-"))
		must(t, unix.Mkfifo(fifo, 0o600))
		script := round + "; : >" + fifo + "; n=1; while ! [ -e " + stop + " ]; do " + round + "; n=$((n+1)); done; echo rounds $n"
		cmd := exec.Command(m.agent, "-c", script)
		cmd.Dir = m.dir
		cmd.Env = append(os.Environ(), "SECRET=x")
		go func() {
			out, err := cmd.CombinedOutput()
			if err != nil {
				out = append(out, err.Error()...)
			}
			ends <- end{name, string(out)}
		}()
		go func() { // the script opens it when its first round is over
			f, err := os.Open(fifo)
			if err == nil {
				f.Close()
			}
			began <- struct{}{}
		}()
	}
	for range load {
		<-began
	}
	for i := range swaps() {
		m.apply(requirements([]string{"users", "who"}[i%2]))
	}
	must(t, os.WriteFile(stop, nil, 0o644))
	for range load {
		e := <-ends
		wrong := 0
		for line := range strings.Lines(e.out) {
			switch {
			case strings.HasPrefix(line, "rounds "):
				t.Logf("%s: %s", e.name, strings.TrimSpace(line))
			case strings.Contains(line, "paddock: blocked"), strings.TrimSpace(line) == "Killed":
			default:
				wrong++
				t.Errorf("%s: %s", e.name, line)
			}
		}
		if wrong == 0 && !strings.Contains(e.out, "rounds ") {
			t.Errorf("%s ended early", e.name)
		}
	}
}
