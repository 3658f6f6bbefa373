// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/whole"
)

// known is what is known of the watched files, kept across restarts in a directory that
// only root can write to: known.json, and files named after the SHA-256 of their content.
type known struct {
	places map[string]bool   // those that were looked at
	prints map[string]*Print // what was there, by path
	ours   map[string]*Print // what should be there
	// program is the one that knew it.
	program string
}

// knownFile is the format of known.json.
type knownFile struct {
	Program string            `json:"program"`
	Places  []string          `json:"places"`
	Prints  map[string]*Print `json:"prints"`
	Ours    map[string]*Print `json:"ours"`
}

const (
	knownName = "known.json"
	maxKept   = 1 << 20 // bytes of a file of ours
)

func readKnown(dir string) (known, error) {
	k := known{places: map[string]bool{}, prints: map[string]*Print{}, ours: map[string]*Print{}}
	data, err := os.ReadFile(filepath.Join(dir, knownName))
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return k, err
	}
	var f knownFile
	if err := json.Unmarshal(data, &f); err != nil {
		return k, fmt.Errorf("reading %s: %w", knownName, err)
	}
	k.program = f.Program
	for _, p := range f.Places {
		k.places[p] = true
	}
	for path, p := range f.Prints {
		if p != nil {
			k.prints[path] = p
		}
	}
	for path, p := range f.Ours {
		if p != nil {
			k.ours[path] = p
		}
	}
	return k, nil
}

func (k *known) save(dir string) error {
	f := knownFile{Program: k.program, Prints: k.prints, Ours: k.ours}
	for p := range k.places {
		f.Places = append(f.Places, p)
	}
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return whole.Write(filepath.Join(dir, knownName), data, whole.Process)
}

// keep notes what a file should be, with its content.
func (k *known) keep(dir, path string, p *Print) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKept+1))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	switch {
	case len(data) > maxKept:
		return fmt.Errorf("it is larger than %d bytes", maxKept)
	case hex.EncodeToString(sum[:]) != p.Sum:
		return errors.New("it changes while it is read")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// Before what was ours is put back, it is looked whether this is still what it was.
	if err := whole.Write(filepath.Join(dir, p.Sum), data, whole.Process); err != nil {
		return err
	}
	k.ours[path] = p
	return nil
}

// content returns what was kept, if it still is what it was.
func (k *known) content(dir string, p *Print) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(dir, p.Sum))
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != p.Sum {
		return nil, fmt.Errorf("what was kept in %s is damaged", dir)
	}
	return data, nil
}
