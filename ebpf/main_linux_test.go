// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// isolated says that the process is in the tests' own network namespace.
const isolated = "PADDOCK_TEST_ISOLATED"

// The tests run in a network namespace of their own, which has nothing but loopback
// and a few addresses on it: whatever goes wrong, nothing leaves. The test binary is
// also every governed process.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "act" {
		os.Exit(act(os.Args[2], os.Args[3:]))
	}
	runtime.LockOSThread() // so no test has the first thread, whose namespaces /proc says the process has
	if os.Getenv(isolated) == "" {
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Env = append(os.Environ(), isolated+"=1")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(cmd.ProcessState.ExitCode())
	}
	for _, line := range []string{
		"link set lo up", "addr add " + hereFour + "/24 dev lo", "addr add " + hereSix + "/64 dev lo nodad",
	} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "ip %s: %v: %s\n", line, err, out)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// Addresses of the namespace, as good as those of another machine.
const (
	hereFour = "192.0.2.1"
	hereSix  = "2001:db8::1"
)

// actor is a governed process that does what it is told, one thing after the other.
type actor struct {
	t   testing.TB
	pid int
	in  io.Writer
	out *bufio.Reader
	cmd *exec.Cmd
}

// request is one thing to do, and answer what came of it.
type request struct {
	Do   string // a name in deeds or attacks
	To   string
	With []string
}

type answer struct {
	Error string // errno or text; empty: it worked
	Peer  string // what getpeername(2) says
	Local string
	Said  string // what the other side wrote
	Again int    // packets of TCP that were sent more than once
}

// newActor starts an actor, not governed yet.
func newActor(t testing.TB) *actor {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "act", "deeds")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	a := &actor{t: t, pid: cmd.Process.Pid, in: in, out: bufio.NewReader(out), cmd: cmd}
	_, err = a.out.ReadString('\n') // past its own exec
	must(t, err)
	return a
}

// govern marks it.
func (a *actor) govern(k *Kernel, p Proc) *actor {
	a.t.Helper()
	must(a.t, k.NewSession(p.Session))
	must(a.t, k.Mark(a.pid, p))
	return a
}

func (a *actor) do(what, to string, with ...string) answer {
	a.t.Helper()
	a.begin(what, to, with...)
	return a.end()
}

func (a *actor) begin(what, to string, with ...string) {
	a.t.Helper()
	line, err := json.Marshal(request{Do: what, To: to, With: with})
	must(a.t, err)
	_, err = a.in.Write(append(line, '\n'))
	must(a.t, err)
}

func (a *actor) end() answer {
	a.t.Helper()
	line, err := a.out.ReadBytes('\n')
	if err != nil {
		a.t.Fatalf("the actor has ended (%v): %v", a.cmd.Wait(), err)
	}
	var got answer
	must(a.t, json.Unmarshal(line, &got))
	return got
}

// act is the process of an actor.
func act(string, []string) int {
	fmt.Println("ready")
	scan := bufio.NewScanner(os.Stdin)
	for scan.Scan() {
		var r request
		if err := json.Unmarshal(scan.Bytes(), &r); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		got := answer{}
		do := deeds[r.Do]
		if do == nil {
			do = attacks[r.Do]
		}
		if do == nil {
			got.Error = "unknown deed " + r.Do
		} else if err := do(r, &got); err != nil {
			got.Error = err.Error()
			var errno unix.Errno
			if errors.As(err, &errno) {
				got.Error = unix.ErrnoName(errno)
			}
		}
		line, _ := json.Marshal(got)
		fmt.Println(string(line))
	}
	return 0
}
