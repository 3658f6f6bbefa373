// SPDX-License-Identifier: Apache-2.0

// Package whole writes files that are there as a whole or as they were before, whatever ends the process half way. They are
// root's, in directories that only root can write to; for anything else see daemon/drift.
package whole

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// How a file outlives what happens.
type How int

const (
	// Process is what a file needs that is of no use after the machine went down.
	Process How = iota
	// Power has it survive a power failure too: when Write returns, it is on the disk. It waits for that.
	Power
)

// suffix is of the file that is written first. It is one name for all attempts: a crash leaves one file behind, and not one each.
const suffix = ".new"

// Write replaces the file at path, or makes it, with mode 0600. What is at path, or where it is written first, may be anything
// but a directory: links are not followed. Two at a time for one path are the caller's mistake.
func Write(path string, data []byte, how How) error {
	if err := write(path, data, how); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func write(path string, data []byte, how How) error {
	temporary := path + suffix
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && how == Power {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		_ = os.Remove(temporary)
		return err
	}
	if how == Power {
		return Sync(filepath.Dir(path))
	}
	return nil
}

// Sync has a directory survive a power failure: what was put into it, and what was removed.
func Sync(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
