// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// suite is what all tests share.
type suite struct {
	paddock string        // the program under test
	self    string        // this test binary, where any user can execute it
	starts  chan<- func() // runs on a thread that lives as long as the tests
}

var shared suite

// The test binary is also every attacker and every client that hangs.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "act-") {
		os.Exit(act(os.Args[1], os.Args[2:]))
	}
	code, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runAll(m *testing.M) (int, error) {
	if os.Getuid() != 0 {
		return 1, fmt.Errorf("these tests start the daemon: run them as root")
	}
	dir, err := newDir()
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if os.Getenv(isolated) == "" {
		return isolate(dir)
	}
	if err := addresses(); err != nil {
		return 1, err
	}
	shared.self = filepath.Join(dir, "e2e.test")
	me, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return 1, err
	}
	if err := os.WriteFile(shared.self, me, 0o755); err != nil {
		return 1, err
	}
	shared.paddock = os.Getenv("PADDOCK_BIN")
	// A daemon dies with the thread that started it, and so with these tests
	// even if they are killed.
	starts := make(chan func())
	shared.starts = starts
	go func() {
		runtime.LockOSThread()
		for f := range starts {
			f()
		}
	}()
	return m.Run(), nil
}

// isolated says that the process is in the tests' own network namespace.
const isolated = "PADDOCK_TEST_ISOLATED"

// isolate builds the program and runs the tests in a network namespace of their own,
// which has nothing but loopback: whatever goes wrong, nothing leaves.
func isolate(dir string) (int, error) {
	paddock := os.Getenv("PADDOCK_BIN")
	if paddock == "" {
		paddock = filepath.Join(dir, "paddock")
		build := exec.Command("go", "build", "-o", paddock, "../..")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("building paddock: %w\n%s", err, out)
		}
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), isolated+"=1", "PADDOCK_BIN="+paddock)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	runtime.LockOSThread() // the tests end with the thread that started them
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 1, err
	}
	return cmd.ProcessState.ExitCode(), nil
}

// addresses has those of the tests' servers lead to loopback.
func addresses() error {
	for _, line := range append([]string{"link set lo up"}, serverAddresses...) {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", line, err, out)
		}
	}
	// A route is enough for an IPv4 server.
	return os.WriteFile("/proc/sys/net/ipv6/ip_nonlocal_bind", []byte("1"), 0o644)
}

// newDir makes a short directory every user can enter: t.TempDir's are neither.
func newDir() (string, error) {
	dir, err := os.MkdirTemp("", "pdk-e2e-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}
