// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// database is the open file: a connection to write with, others to read.
type database struct {
	path        string
	file        fs.FileInfo // to see when the path means another file
	write, read *sql.DB
}

// openFile opens the database at path and makes it when it is not there.
func openFile(path string) (*database, ledger, error) {
	// Made here and not by SQLite, so that nobody else could ever read it; -wal and -shm get the same mode.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, ledger{}, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().Perm() != 0o600 {
		err = f.Chmod(0o600)
	}
	f.Close()
	if err != nil {
		return nil, ledger{}, err
	}
	if !info.Mode().IsRegular() {
		return nil, ledger{}, fmt.Errorf("not a regular file: %s", info.Mode())
	}
	d := &database{path: path, file: info}
	if d.write, err = openDatabase(path, true); err != nil {
		return nil, ledger{}, err
	}
	if err = prepareSchema(d.write); err != nil {
		d.write.Close()
		return nil, ledger{}, err
	}
	l, err := readLedger(d.write)
	if err != nil {
		d.write.Close()
		if !damaged(err) {
			// A version we know, without the tables that belong to it.
			err = fmt.Errorf("%w: %w", errDamaged, err)
		}
		return nil, ledger{}, err
	}
	if d.read, err = openDatabase(path, false); err != nil {
		d.write.Close()
		return nil, ledger{}, err
	}
	return d, l, nil
}

func (d *database) close() {
	d.read.Close()
	d.write.Close() // the last connection: it checkpoints, and removes the -wal
}

// moved says that the path means another file by now, or none: SQLite would go
// on writing to one that nobody will ever read.
func (d *database) moved() error {
	info, err := os.Stat(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: somebody removed %s", errDamaged, d.path)
	case err == nil && !os.SameFile(info, d.file):
		return fmt.Errorf("%w: somebody replaced %s", errDamaged, d.path)
	}
	return nil
}

// usage returns the bytes that hold data, without what SQLite keeps free.
func (d *database) usage() (int64, error) {
	var pages, free, size int64
	for pragma, to := range map[string]*int64{"page_count": &pages, "freelist_count": &free, "page_size": &size} {
		if err := d.write.QueryRow("PRAGMA " + pragma).Scan(to); err != nil {
			return 0, err
		}
	}
	return (pages - free) * size, nil
}

// lockDirectory makes dir and takes it for this process. The lock ends with
// the process, however that ends.
func lockDirectory(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of the event store: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, fmt.Errorf("looking at the directory of the event store: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("the directory of the event store %s is a symbolic link or a file: remove it", dir)
	}
	if info.Mode().Perm() != 0o700 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return nil, fmt.Errorf("closing the directory of the event store to others: %w", err)
		}
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the event store: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("the event store %s is in use by another process: stop that one, or use another directory", dir)
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return f, nil
}
