// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// keeper holds what each source last said that could be used. It is requirements
// itself, hence as locked as the sources are.
type keeper struct{ dir string }

const keptDir = "last-known-good"

func (k keeper) path(s source) string { return filepath.Join(k.dir, keptDir, s.keep) }

// recall returns what the source last said; fs.ErrNotExist if that is not known.
func (k keeper) recall(s source) ([]byte, error) {
	return ReadLocked(k.dir, "/"+keptDir+"/"+s.keep)
}

// keep remembers data, whole or not at all even if the power fails.
func (k keeper) keep(s source, data []byte) error {
	if old, err := k.recall(s); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := k.write(s, data); err != nil {
		return fmt.Errorf("keeping requirements as last-known-good: %w", err)
	}
	return nil
}

func (k keeper) write(s source, data []byte) error {
	dir := filepath.Join(k.dir, keptDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// One name for all attempts: a crash leaves one file behind, and not one each.
	temporary := k.path(s) + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, k.path(s)); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	_, err = k.recall(s) // would it be believed?
	return err
}

func (k keeper) forget(s source) error {
	err := os.Remove(k.path(s))
	if err == nil {
		err = syncDir(filepath.Dir(k.path(s)))
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("forgetting the last-known-good of requirements that were withdrawn: %w", err)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
