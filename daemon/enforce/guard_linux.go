// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/seed-649e9bbc/paddock/ebpf"
)

// When the daemon dies, what it held would stay stopped for ever. The guard is a
// small process that does nothing but outlive it and kill what is held. The
// kernel holds nothing new from the daemon's death on: it kills at once. What a person
// is asked about it leaves to the next daemon, if one comes soon.

// guard is the daemon's end.
type guard struct {
	mu   sync.Mutex
	life *os.File // closes when the daemon ends, however it ends
	cmd  *exec.Cmd
	stop bool
}

// roles of Paddock's helper process.
const (
	roleGuard  = "guard"
	roleCanary = "canary"
)

// orderly is the byte the daemon leaves when it stops by itself.
const orderly = 'q'

func (e *Enforcer) startGuard() error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("starting the guard: %w", err)
	}
	defer r.Close()
	cmd := e.helper(roleGuard, e.PinDir, e.HoldsFile, e.HoldGrace.String())
	cmd.Stdin = r
	// Of its own process group: what is sent to the daemon's is not for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		w.Close()
		return fmt.Errorf("starting the guard: %w", err)
	}
	e.guard.mu.Lock()
	e.guard.life, e.guard.cmd = w, cmd
	e.guard.mu.Unlock()
	if err := e.Kernel.SetGuard(cmd.Process.Pid); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	e.work.Go("the guard", func() {
		var err error
		select {
		case err = <-ended:
		case <-e.ctx.Done(): // it may outlive us, for what waits for people
			return
		}
		e.guard.mu.Lock()
		stopped := e.guard.stop
		e.guard.mu.Unlock()
		w.Close()
		if stopped || e.ctx.Err() != nil {
			return
		}
		e.Log.Error("the guard ended; starting another", "error", err)
		select {
		case <-e.ctx.Done():
		case <-time.After(time.Second):
			if err := e.startGuard(); err != nil {
				e.Log.Error("starting the guard again", "error", err)
			}
		}
	})
	return nil
}

func (e *Enforcer) stopGuard() {
	e.guard.mu.Lock()
	defer e.guard.mu.Unlock()
	e.guard.stop = true
	if e.guard.life != nil {
		_, _ = e.guard.life.Write([]byte{orderly})
		e.guard.life.Close()
	}
}

func (e *Enforcer) helper(role string, args ...string) *exec.Cmd {
	line := append(append([]string{}, e.Helper...), role)
	line = append(line, args...)
	return exec.Command(line[0], line[1:]...)
}

// guardMain is the guard: it waits for the daemon's end on standard input.
func guardMain(pinDir, holdsFile, grace string) error {
	wait, err := time.ParseDuration(grace)
	if err != nil {
		return fmt.Errorf("how long to wait for the next daemon: %w", err)
	}
	// A service manager that stops the daemon tells its whole group; the guard
	// goes by the daemon's end alone.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("-999"), 0) // best effort: the daemon may not be allowed to
	g, err := ebpf.OpenGuard(pinDir)
	if err != nil {
		return err
	}
	GiveBackMemory()
	n, err := os.Stdin.Read(make([]byte, 1))
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("waiting for the daemon's end: %w", err)
	}
	asked, err := readHolds(holdsFile)
	errs := []error{err}
	spare := holdsOf(asked)
	if n == 1 && len(spare) == 0 {
		return nil // an orderly stop
	}
	// An exec that saw the daemon alive may still be on its way into a hold.
	for range 40 {
		if _, err := g.KillHeld(spare); err != nil {
			errs = append(errs, err)
		}
		time.Sleep(25 * time.Millisecond)
		if g.DaemonAlive() { // its successor kills what was left itself
			return errors.Join(errs...)
		}
	}
	// What a person is asked about waits for the next daemon, who asks on; not for ever.
	for end := time.Now().Add(wait); len(spare) > 0 && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
		if g.DaemonAlive() {
			return errors.Join(errs...)
		}
	}
	_, err = g.KillHeld(nil)
	return errors.Join(append(errs, err)...)
}

// HelperMain runs a helper process: the guard or the canary. args are what
// follows Config.Helper on its command line.
func HelperMain(args []string) error {
	switch {
	case len(args) == 4 && args[0] == roleGuard:
		return guardMain(args[1], args[2], args[3])
	case len(args) > 0 && args[0] == roleCanary:
		return canaryMain(args[1:])
	}
	return fmt.Errorf("unknown helper %q", args)
}
