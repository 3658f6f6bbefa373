// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// directories makes those of the instance that are not there. One that is there may be
// anybody's: it is looked at, and left as it is.
func (d *Daemon) directories() error {
	if d.config.StateDir == DefaultStateDir { // Paddock's alone, whoever made it (systemd and mkdir make it readable for all)
		var st unix.Stat_t
		if err := unix.Lstat(DefaultStateDir, &st); err == nil && st.Mode&(unix.S_IFMT|0o022) == unix.S_IFDIR && int(st.Uid) == os.Geteuid() {
			_ = os.Chmod(DefaultStateDir, 0o700) // else the next look says what is wrong
		}
	}
	if err := directory("--state-dir", d.config.StateDir, 0o700, 0o077); err != nil {
		return err
	}
	return directory("--run-dir", d.config.RunDir, 0o755, 0o022)
}

// directory makes dir with this mode, or checks that it is root's and that others have none
// of the permissions to it.
func directory(flag, dir string, mode fs.FileMode, none uint32) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("making the directory %s: %w", dir, err)
	}
	err := os.Mkdir(dir, mode)
	if err == nil {
		err = os.Chmod(dir, mode) // whatever the umask
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making the directory %s: %w", dir, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return fmt.Errorf("looking at the directory %s: %w", dir, err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("%s %s is not a directory; name one that is not there yet", flag, dir)
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s %s belongs to user %d; name one that is not there yet or, if it is Paddock's alone, chown it to root", flag, dir, st.Uid)
	case st.Mode&none != 0:
		return fmt.Errorf("%s %s (mode %04o) is open to others; name one that is not there yet or, if it is Paddock's alone, chmod it to %04o", flag, dir, st.Mode&0o7777, mode)
	}
	return nil
}
