// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/seed-649e9bbc/paddock/tests/vm/job"
)

func TestBoot(t *testing.T) {
	t.Parallel()
	kernels := Kernels(t)
	if os.Getenv("KERNELS") == "" {
		kernels = kernels[:1] // the tests on the others need the same
	}
	for _, cfg := range kernels {
		t.Run(cfg.Name(), func(t *testing.T) {
			before, err := os.ReadFile(victim)
			if err != nil {
				t.Fatal(err)
			}
			hidden, shared := inTmp(t), inTmp(t)
			cfg.Share = []string{shared}
			cfg.Env = []string{envHidden + "=" + hidden, envShared + "=" + shared}
			cfg.OutputDir = t.TempDir()
			guest, err := runGuestTests(t.Context(), cfg, "./tests/vm", "^TestGuest$")
			if err != nil {
				t.Fatal(err)
			}
			for _, test := range guest.tests {
				surface(t, cfg, test)
			}
			if n := len(guest.tests[0].subtests); n != 10 {
				t.Errorf("%d tests ran in the guest, want 10", n)
			}

			if got, err := os.ReadFile(filepath.Join(cfg.OutputDir, proof)); err != nil || string(got) != cfg.Name() {
				t.Errorf("the guest left %q (%v), want %q", got, err, cfg.Name())
			}
			if _, err := os.Lstat(intruder); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the guest wrote %s on the host (%v)", intruder, err)
			}
			if after, err := os.ReadFile(victim); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the guest changed %s on the host (%v)", victim, err)
			}
		})
	}
}

// inTmp makes a directory in /tmp, wherever tests have theirs.
func inTmp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "paddock-vm-test-") //nolint:usetesting // t.TempDir follows TMPDIR
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestExitStatus(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		command []string
		code    int
		output  string
	}{
		{"signal", []string{"sh", "-c", "echo out; echo err >&2; kill -9 $$"}, 137, "out\nerr\n"},
		{"missing", []string{"no-such-program"}, 127, "no-such-program"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := Kernels(t)[0]
			cfg.Command, cfg.OutputDir = test.command, t.TempDir()
			result, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if result.ExitCode != test.code || !strings.Contains(result.Output, test.output) {
				t.Errorf("exit status %d, output %q; want %d, %q", result.ExitCode, result.Output, test.code, test.output)
			}
			t.Logf("booted in %v, %d attempt(s)", result.Boot.Round(time.Millisecond), result.Boots)
		})
	}
}

func TestSystemd(t *testing.T) {
	t.Parallel()
	cfg := Kernels(t)[0]
	cfg.OutputDir, cfg.Systemd = t.TempDir(), true
	cfg.Env = []string{"PROBE=from the host"}
	cfg.Command = []string{"sh", "-c", `set -e
		[ "$(cat /proc/1/comm)" = systemd ]
		[ "$PROBE" = "from the host" ]
		systemctl is-system-running --wait || systemctl --failed --no-pager
		systemd-run --quiet --wait --pipe echo a unit ran
		loginctl --no-pager list-sessions >/dev/null && echo logind answers
		exit 7`}
	result, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if result.ExitCode != 7 {
		t.Errorf("exit status %d, want 7", result.ExitCode)
	}
	if want := "running\na unit ran\nlogind answers\n"; result.Output != want {
		t.Errorf("output %q, want %q", result.Output, want)
	}
	t.Logf("booted in %v, %d attempt(s)", result.Boot.Round(time.Millisecond), result.Boots)
}

func TestTimeoutKillsTheGuest(t *testing.T) {
	cfg := Kernels(t)[0]
	cfg.Command, cfg.OutputDir = []string{"sleep", "infinity"}, t.TempDir()
	cfg.Timeout = time.Second
	if _, err := Run(t.Context(), cfg); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want %v", err, context.DeadlineExceeded)
	}
	noQEMU(t, cfg.OutputDir)
}

func TestHangingGuestIsKilled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg := Kernels(t)[0]
	cfg.Command, cfg.OutputDir = []string{"sh", "-c", "echo hanging; touch " + OutputPath + "/started; sleep infinity"}, t.TempDir()
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Close()
	if err := watcher.Add(cfg.OutputDir); err != nil {
		t.Fatal(err)
	}
	go func() {
		for event := range watcher.Events {
			if filepath.Base(event.Name) == "started" {
				cancel()
			}
		}
	}()
	result, err := Run(ctx, cfg)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	if result.Output != "hanging\n" || result.ExitCode != -1 {
		t.Errorf("output %q, exit status %d; want what it printed, and -1", result.Output, result.ExitCode)
	}
	noQEMU(t, cfg.OutputDir)
}

// noQEMU fails when a process still has the directory on its command line.
func noQEMU(t *testing.T, outputDir string) {
	t.Helper()
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(commands) == 0 {
		t.Fatalf("listing processes: %v", err)
	}
	for _, path := range commands {
		command, err := os.ReadFile(path)
		if err == nil && bytes.Contains(command, []byte(outputDir)) {
			t.Errorf("still there: %s: %q", path, command)
		}
	}
}

func TestGuestThatPanics(t *testing.T) {
	t.Parallel()
	cfg := Kernels(t)[0]
	cfg.Command, cfg.OutputDir = []string{"sh", "-c", "echo c >/proc/sysrq-trigger; sleep infinity"}, t.TempDir()
	result, err := Run(t.Context(), cfg)
	if !errors.Is(err, ErrNoExit) {
		t.Errorf("%v, want %v", err, ErrNoExit)
	}
	if !strings.Contains(result.Console, "Kernel panic") {
		t.Errorf("no panic on the console:\n%s", result.Console)
	}
}

func TestGuestThatDoesNotBootIsTriedTwice(t *testing.T) {
	t.Parallel()
	cfg := Kernels(t)[0]
	cfg.Command, cfg.OutputDir = []string{"true"}, t.TempDir()
	m, err := newMachine(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer m.remove()
	if err := m.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.work, "initramfs.cpio"), []byte("no archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	result, err := m.run(t.Context())
	if !errors.Is(err, ErrNoBoot) || result.Boots != 2 {
		t.Errorf("%v after %d attempts, want %v after 2", err, result.Boots, ErrNoBoot)
	}
}

// A machine that gets stuck is not waited for, and the next one begins without what the first one left.
func TestStuckGuestIsTriedTwice(t *testing.T) {
	t.Parallel()
	cfg := Kernels(t)[0]
	cfg.OutputDir = t.TempDir()
	cfg.Command = []string{"sh", "-c", "echo began; echo '<0>" + softLockup + "' >/dev/kmsg; exec sleep infinity"}
	result, err := Run(t.Context(), cfg)
	if !errors.Is(err, ErrLockedUp) || result.Boots != 2 {
		t.Errorf("%v after %d attempts, want %v after 2", err, result.Boots, ErrLockedUp)
	}
	if result.Output != "began\n" {
		t.Errorf("output: %q", result.Output)
	}
	if !strings.Contains(result.LockedUp, softLockup) {
		t.Errorf("the first machine's console: %q", result.LockedUp)
	}
}

func TestRunRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no command", Config{Kernel: "6.1"}, "no command"},
		{"a kernel that is not here", Config{Kernel: "2.6", Command: []string{"true"}}, "tests/setup/kernels.sh 2.6"},
		{"a hidden program", Config{Kernel: "6.1", Command: []string{"/tmp/program"}}, "/tmp/program is not visible"},
		{"a hidden directory", Config{Kernel: "6.1", Command: []string{"true"}, Dir: "/run/user"}, "/run/user is not visible"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.cfg.OutputDir = t.TempDir()
			if _, err := Run(t.Context(), test.cfg); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want an error with %q", err, test.want)
			}
			if _, err := os.Stat(filepath.Join(test.cfg.OutputDir, job.Exit)); err == nil {
				t.Error("it was run")
			}
		})
	}
}
