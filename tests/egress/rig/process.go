// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
)

// Role is the first argument of a test binary that is to be an engine: see Main.
const Role = "egress-engine"

// Process is an engine in a process of its own, whose memory and files are its own.
type Process struct {
	PID int
	// Redirect and Proxy are where it listens: for connections as if the kernel had
	// led them there, and as a proxy.
	Redirect, Proxy string

	in  io.WriteCloser
	out *bufio.Scanner
}

// Main is the program of such a process; dest is where redirected connections wanted
// to go. It returns the exit code.
func Main(dest string) int {
	if err := serve(dest); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serve(dest string) error {
	to, err := netip.ParseAddrPort(dest)
	if err != nil {
		return err
	}
	r, err := Start(Options{Nobody: true})
	if err != nil {
		return err
	}
	r.Names.Bind("allowed.test", to.Addr())
	r.Events.Forget()
	for i := range 2 {
		l, err := egress.Listen(context.Background(), loopback())
		if err != nil {
			return err
		}
		fmt.Println(l.Addr())
		if i == 0 {
			go r.Serve(l, r.To(to)) //nolint:errcheck // it ends with the process
		} else {
			go r.ServeProxy(l, r.To(netip.AddrPort{}), egress.Credentials{}) //nolint:errcheck // likewise
		}
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		debug.FreeOSMemory()
		fmt.Println(r.Counters().Open)
	}
	return nil
}

// StartProcess starts the test binary, whose TestMain calls Main for Role, anew.
func StartProcess(t testing.TB, dest netip.AddrPort) *Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(self); err != nil {
		self = "/proc/self/exe" // in a mount namespace that does not have it
	}
	cmd := exec.Command(self, Role, dest.String())
	cmd.Stderr = os.Stderr
	p := &Process{}
	if p.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.in.Close()
		_ = cmd.Wait()
	})
	p.PID, p.out = cmd.Process.Pid, bufio.NewScanner(out)
	p.Redirect, p.Proxy = p.line(t), p.line(t)
	return p
}

// Open gives memory that is free back to the system, and returns how many connections
// there are.
func (p *Process) Open(t testing.TB) int {
	t.Helper()
	fmt.Fprintln(p.in)
	n, err := strconv.Atoi(p.line(t))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (p *Process) line(t testing.TB) string {
	t.Helper()
	if !p.out.Scan() {
		t.Fatal("the engine has ended")
	}
	return p.out.Text()
}
