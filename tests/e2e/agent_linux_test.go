// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// run starts the agent with a script and returns what it wrote.
func (m *machine) run(script string, env ...string) (string, error) {
	m.t.Helper()
	p := m.begin(script, env...)
	p.wait(m.t)
	return p.out.String(), p.err
}

// begin starts the agent with a script.
func (m *machine) begin(script string, env ...string) *process {
	m.t.Helper()
	p := newProcess(m.agent, "-c", script)
	p.cmd.Dir = m.dir
	p.cmd.Env = append(os.Environ(), env...)
	p.start(m.t)
	return p
}

// free runs a script in a shell that nobody governs.
func (m *machine) free(script string) (string, error) {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), "/bin/sh", "-c", script)
	cmd.Dir = m.dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// terminal is a shell under an agent that does one thing after the other.
type terminal struct {
	t *testing.T
	*process
	in    io.Writer
	lines chan string
	said  int
}

// terminal starts the agent and below it a shell: what that starts is no process
// of the agent's own, so answers about it are remembered.
func (m *machine) terminal() *terminal { return m.terminalOf("/bin/sh") }

func (m *machine) terminalOf(shell string) *terminal {
	m.t.Helper()
	p := newProcess(m.agent, "-c", shell+"; true")
	p.cmd.SysProcAttr.Credential = m.credential
	p.cmd.Dir = m.dir
	in, err := p.cmd.StdinPipe()
	must(m.t, err)
	r, w, err := os.Pipe()
	must(m.t, err)
	p.cmd.Stdout, p.cmd.Stderr = w, w
	p.start(m.t)
	w.Close()
	s := &terminal{t: m.t, process: p, in: in, lines: make(chan string, 1<<16)}
	go func() {
		scan := bufio.NewScanner(r)
		for scan.Scan() {
			s.lines <- scan.Text()
		}
		close(s.lines)
		r.Close()
	}()
	m.t.Cleanup(func() {
		_ = in.Close()
	})
	return s
}

// send types a line.
func (s *terminal) send(line string) {
	s.t.Helper()
	_, err := io.WriteString(s.in, line+"\n")
	must(s.t, err)
}

// line waits for the next line of output.
func (s *terminal) line() string {
	s.t.Helper()
	select {
	case l, ok := <-s.lines:
		if !ok {
			s.t.Fatal("the governed shell is gone")
		}
		return l
	case <-after():
		s.t.Fatal("the governed shell says nothing")
	}
	return ""
}

// do runs a command and returns its output and exit status: 137 when it was
// killed.
func (s *terminal) do(command string) (string, int) {
	s.t.Helper()
	s.said++
	mark := fmt.Sprintf("done-%d:", s.said)
	s.send("{ " + command + "\n} </dev/null; echo " + mark + "$?")
	var out strings.Builder
	for {
		l := s.line()
		before, after, found := strings.Cut(l, mark)
		if !found {
			out.WriteString(l + "\n")
			continue
		}
		out.WriteString(before)
		code, err := strconv.Atoi(after)
		must(s.t, err)
		return out.String(), code
	}
}

const killed = 128 + 9

// target counts who reaches it.
type target struct {
	port    int
	reached atomic.Int64
}

// newTarget listens on loopback.
func newTarget(t *testing.T) *target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	g := &target{port: l.Addr().(*net.TCPAddr).Port}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			g.reached.Add(1)
			c.Close()
		}
	}()
	return g
}

// connect is a command that reaches for the target.
func (g *target) connect() string {
	return fmt.Sprintf("bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d && echo connected'", g.port)
}

// networkRules allow one target and deny the other.
func networkRules(allowed, denied *target) string {
	rule := func(g *target, decision, why string) string {
		return fmt.Sprintf("[[paddock.network.rules]]\ncidr = \"127.0.0.1/32\"\nports = [\"%d\"]\ndecision = %q\njustification = %q\n",
			g.port, decision, why)
	}
	return "[paddock.network]\ndefault = \"allow\"\n" + rule(allowed, "allow", "the build cache") + rule(denied, "deny", "the metadata service")
}
