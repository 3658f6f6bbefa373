// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
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
	shared.self = filepath.Join(dir, "e2e.test")
	me, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return 1, err
	}
	if err := os.WriteFile(shared.self, me, 0o755); err != nil {
		return 1, err
	}
	if shared.paddock = os.Getenv("PADDOCK_BIN"); shared.paddock == "" {
		shared.paddock = filepath.Join(dir, "paddock")
		build := exec.Command("go", "build", "-o", shared.paddock, "../..")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("building paddock: %w\n%s", err, out)
		}
	}
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

// newDir makes a short directory every user can enter: t.TempDir's are neither.
func newDir() (string, error) {
	dir, err := os.MkdirTemp("", "pdk-e2e-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}
