// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// MaxRules bounds how many places Around finds: each costs kernel memory for as long
// as a process is in the domain.
const MaxRules = 8192

// ErrTooMany is returned when a ruleset would have more than MaxRules places.
var ErrTooMany = errors.New("too many places")

// Around lists places that together hold everything but what is denied: what lies in
// the directories on the way to it, and not these themselves. denied are absolute,
// clean paths without links; one that is "/" leaves nothing.
//
// What is made later in one of those directories lies in none of the places.
func Around(denied []string) ([]string, error) { return around(denied, MaxRules) }

func around(denied []string, most int) ([]string, error) {
	root := &way{}
	for _, p := range denied {
		root.add(p)
	}
	f := finder{most: most}
	err := f.around(root, "/")
	return f.found, err
}

type finder struct {
	found []string
	most  int
}

// way is a directory on the way to something denied, with those below it that are.
type way struct {
	denied bool
	to     map[string]*way
}

func (w *way) add(path string) {
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if name == "" {
			continue
		}
		if w.to == nil {
			w.to = map[string]*way{}
		}
		if w.to[name] == nil {
			w.to[name] = &way{}
		}
		w = w.to[name]
	}
	w.denied = true
}

func (f *finder) around(w *way, dir string) error {
	if w.denied {
		return nil
	}
	if w.to == nil {
		f.found = append(f.found, dir)
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil && len(entries) == 0 {
		return nil // what cannot be listed has no place that could be told from what is denied
	}
	for _, e := range entries {
		if e.Type()&os.ModeSymlink != 0 {
			continue // counts where it leads to
		}
		below := filepath.Join(dir, e.Name())
		if next := w.to[e.Name()]; next != nil {
			if err := f.around(next, below); err != nil {
				return err
			}
			continue
		}
		if len(f.found) == f.most {
			return fmt.Errorf("%w: more than %d around what may not be read, the last in %s", ErrTooMany, f.most, dir)
		}
		f.found = append(f.found, below)
	}
	return nil
}
