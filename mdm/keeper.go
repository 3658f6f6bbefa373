// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/whole"
)

// keeper holds what each source last said that could be used. It is requirements
// itself, hence as locked as the sources are.
type keeper struct{ dir string }

const keptDir = "last-known-good"

// provenances are those that what is kept may have had, from most to least.
var provenances = []policy.Provenance{policy.MDMVerified, policy.Manual, policy.FileOnly}

// kept are the file names of what a source said: of managed preferences one for each
// provenance, since what was good enough once may not be any more.
func (s source) kept() map[policy.Provenance]string {
	if s.domain == "" {
		return map[policy.Provenance]string{policy.Absent: s.keep}
	}
	out := map[policy.Provenance]string{}
	for _, p := range provenances {
		out[p] = s.keep + "." + p.String() + ".toml"
	}
	return out
}

// recall returns what the source last said, and its provenance, if that is at least
// the given one; fs.ErrNotExist if that is not known.
func (k keeper) recall(s source, least policy.Provenance) ([]byte, policy.Provenance, error) {
	names := s.kept()
	for _, p := range append(slices.Clone(provenances), policy.Absent) {
		if name, ok := names[p]; ok && p >= least {
			data, err := k.read(name)
			if !errors.Is(err, fs.ErrNotExist) {
				return data, p, err
			}
		}
	}
	return nil, policy.Absent, fs.ErrNotExist
}

func (k keeper) read(name string) ([]byte, error) { return ReadLocked(k.dir, "/"+keptDir+"/"+name) }

// keep remembers data, whole or not at all even if the power fails.
func (k keeper) keep(s source, data []byte, p policy.Provenance) error {
	name := s.kept()[p]
	if old, err := k.read(name); err != nil || !bytes.Equal(old, data) {
		err := writeWhole(filepath.Join(k.dir, keptDir, name), data)
		if err == nil {
			_, err = k.read(name) // would it be believed?
		}
		if err != nil {
			return fmt.Errorf("keeping requirements as last-known-good: %w", err)
		}
	}
	return k.remove(s, name)
}

// writeWhole replaces a file of root's, and makes the directory that it is in.
func writeWhole(file string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return whole.Write(file, data, whole.Power)
}

func (k keeper) forget(s source) error {
	if err := k.remove(s, ""); err != nil {
		return fmt.Errorf("forgetting the last-known-good of requirements that were withdrawn: %w", err)
	}
	return nil
}

// remove removes all that is kept of a source but one file.
func (k keeper) remove(s source, but string) error {
	removed := false
	for _, name := range s.kept() {
		if name == but {
			continue
		}
		switch err := os.Remove(filepath.Join(k.dir, keptDir, name)); {
		case err == nil:
			removed = true
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	if !removed {
		return nil
	}
	return whole.Sync(filepath.Join(k.dir, keptDir))
}
