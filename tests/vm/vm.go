// SPDX-License-Identifier: Apache-2.0

// Package vm boots Debian kernels under QEMU, so that a normal `go test` can try what the kernel it runs on refuses or
// what must not happen on the machine of whoever runs it: LSM programs, real agents, root-wide hooks, a dying daemon.
//
// The guest sees the whole file system of the host, read-only and with a writable layer in memory on top: everything
// that is installed here is installed there, under the same path. It has no network card, so nothing can leave it.
// `make setup` downloads the kernels.
//
// The processor is emulated (TCG): what a test measures there in seconds says nothing.
package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	// OutputPath is where the guest sees Result.OutputDir, the only place where what it writes stays. The environment
	// variable PADDOCK_VM_OUTPUT holds it as well.
	OutputPath = "/vm"

	// EnvKernel is set in the guest, to Config.Name: a test can tell by it that it runs in one.
	EnvKernel = "PADDOCK_VM"

	// CountsInstructions is on the kernel's command line with Config.Instructions.
	CountsInstructions = "paddock.instructions"

	defaultTimeout = 5 * time.Minute

	// Measured on two cores that did other work as well: 4 to 12 s, with systemd 17 s (6.1) to 40 s (5.10). A boot may
	// also lock up for ever, and so may an emulated processor later. Both are tried once more: what is really wrong
	// fails twice.
	bootDeadline    = 90 * time.Second
	systemdDeadline = 240 * time.Second
)

// ErrNoBoot means that the guest never came as far as running the command, twice.
var ErrNoBoot = errors.New("the virtual machine did not boot")

// ErrNoExit means that the guest ended without telling how the command ended: it panicked, or was powered off.
var ErrNoExit = errors.New("the virtual machine ended before its command did")

// ErrLockedUp means that the guest's kernel found a processor of its own stuck, twice.
var ErrLockedUp = errors.New("the virtual machine locked up")

// Config says what to boot and what to run in it. The zero value of every field but Kernel and Command is usable.
type Config struct {
	Kernel string // Debian's series: "5.10", "6.1" or "6.12"
	BPFLSM bool   // whether `bpf` is in the kernel's list of LSMs; without it lsm/ programs attach and never run

	Command []string // runs as root; Command[0] is a path, or a name in the PATH of the guest
	Dir     string   // working directory, a path of the host; default: the root of this repository
	Env     []string // "NAME=value", on top of a minimal environment: nothing comes from the host's

	// Preempt is what the kernel is told with preempt=; empty: what it was built for, "voluntary" for Debian's.
	Preempt string

	// Systemd boots systemd as PID 1, with D-Bus and logind, and runs the command as a unit. Otherwise the command's
	// parent is an init that reaps and does nothing else.
	Systemd bool

	// Instructions has the machine's clock go forward by one nanosecond for each instruction of its one processor: what
	// something that does not wait takes by CLOCK_MONOTONIC_RAW is then how many it executed.
	Instructions bool

	// Timeout is for one boot and the command together; 0 is five minutes.
	Timeout time.Duration

	// Share lists directories of the host under /tmp or /run that stay visible. The rest of these two is empty in the
	// guest; everything outside of them is visible anyway.
	Share []string

	// OutputDir becomes OutputPath in the guest; default: a new directory, which whoever called Run removes.
	OutputDir string

	// Compiled is for RunTests: the program of the package's tests, on the file system of temporary files. Empty: it is
	// compiled.
	Compiled string

	// Skip is for RunTests: a regular expression of the guest tests that are left out. Empty: none.
	Skip string

	// AllowSkip is for RunTests: names of guest tests that may be skipped, each with the reason why that is right on
	// this kernel. Every other skip is a failure.
	AllowSkip map[string]string
}

// Name is the kernel as KERNELS= spells it: "6.1", or "6.1-nolsm".
func (c Config) Name() string {
	if c.BPFLSM {
		return c.Kernel
	}
	return c.Kernel + noLSM
}

// Result is what the guest left.
type Result struct {
	ExitCode  int           // of the command; 128 + N when signal N ended it
	Output    string        // of the command, stdout and stderr as they came
	Console   string        // of the kernel and of init
	OutputDir string        // what the guest wrote to OutputPath
	LockedUp  string        // Console of the first machine, when there was a second one
	Boot      time.Duration // from starting QEMU to starting the command
	Boots     int           // 2 when the first machine locked up, on the way or later
}

// Run boots the kernel, runs the command and powers the guest off. A command that fails is no error: see
// Result.ExitCode. When the error wraps ErrNoBoot, ErrLockedUp, ErrNoExit or the context's, the result holds what there is to see.
func Run(ctx context.Context, cfg Config) (Result, error) {
	m, err := newMachine(&cfg)
	if err != nil {
		return Result{}, fmt.Errorf("preparing a virtual machine with kernel %s: %w", cfg.Name(), err)
	}
	defer m.remove()
	if err := m.build(ctx); err != nil {
		return Result{}, fmt.Errorf("preparing a virtual machine with kernel %s: %w", cfg.Name(), err)
	}
	return m.run(ctx)
}

// validate fills in defaults, and refuses what would only show up as a puzzle in the guest.
func (c *Config) validate(root string) error {
	if len(c.Command) == 0 {
		return errors.New("no command")
	}
	if os.Getuid() != 0 {
		return errors.New("not root: the guest's root would not see the files that only root may read; run as root")
	}
	if c.Dir == "" {
		c.Dir = root
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	// The repository may itself have been cloned to /tmp.
	c.Share = append(c.Share, root)
	for _, path := range append([]string{c.Dir}, c.Command[0]) {
		if hidden(path) && !c.shares(path) {
			return fmt.Errorf("%s is not visible in the guest: put it into OutputDir, or name its directory in Share", path)
		}
	}
	return nil
}

// hidden tells whether the guest has a file system of its own there.
func hidden(path string) bool {
	return strings.HasPrefix(path, "/tmp/") || strings.HasPrefix(path, "/run/") || strings.HasPrefix(path, "/dev/shm/")
}

func (c *Config) shares(path string) bool {
	for _, dir := range c.Share {
		if path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/") {
			return true
		}
	}
	return false
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\r\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
