// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// protectCompanion tells the kernel side which file the companion's program is, if
// that has changed: packages exchange it while the daemon runs. e.apply is held.
func (e *Enforcer) protectCompanion() error {
	if e.Companion == "" {
		return nil
	}
	f, err := os.Open(e.Companion)
	if errors.Is(err, fs.ErrNotExist) {
		if e.companion == nil {
			return nil
		}
		e.companion.Close()
		e.companion = nil
		return e.Kernel.SetCompanion(nil)
	}
	if err != nil {
		return fmt.Errorf("looking for the companion: %w", err)
	}
	is, err := f.Stat()
	if err == nil && e.companion != nil {
		if was, err := e.companion.Stat(); err == nil && os.SameFile(is, was) {
			f.Close()
			return nil
		}
	}
	if err == nil && !is.Mode().IsRegular() {
		err = errors.New("it is not a file")
	}
	if err == nil {
		err = e.identifyCompanion(f)
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("protecting the companion %s: %w", e.Companion, err)
	}
	if e.companion != nil {
		e.companion.Close()
	}
	e.companion = f // open: an overlay's inode has its number only as long as somebody uses it
	return nil
}

func (e *Enforcer) identifyCompanion(f *os.File) error {
	ids, err := e.Kernel.Identify()
	if err != nil {
		return err
	}
	id, ok := ids[int(f.Fd())]
	if !ok {
		return errors.New("the kernel does not know it, and it is open")
	}
	inode := id.Inode()
	return e.Kernel.SetCompanion(&inode)
}
