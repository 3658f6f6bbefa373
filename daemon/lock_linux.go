// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/ebpf"
)

// ErrRunning is returned when another daemon has the same directories.
var ErrRunning = errors.New("another paddock daemon is running")

// takeLock makes sure there is one daemon for these directories. The lock ends
// with the process, however it ends.
func (d *Daemon) takeLock() error {
	path := filepath.Join(d.config.RunDir, "paddock.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("taking the lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("taking the lock %s: %w", path, err)
		}
		pid, _ := io.ReadAll(io.LimitReader(f, 32))
		return fmt.Errorf("%w (pid %s) with %s; stop it, or give this one its own --run-dir and --state-dir",
			ErrRunning, strings.TrimSpace(string(pid)), d.config.RunDir)
	}
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintln(f, os.Getpid()) // for the message above only
	}
	d.lock = f
	return nil
}

func defaultCgroup() string { return ebpf.FindCgroup() }
