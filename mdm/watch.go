// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"context"
	"path"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/watch"
)

const (
	// quiet is how long nothing may happen before the sources are read: who writes
	// a file in several steps is then done.
	quiet = 200 * time.Millisecond
	// longest bounds the wait when it never becomes quiet.
	longest = 2 * time.Second
	// rescan is for what causes no notification: a mount over a directory.
	rescan = time.Minute
)

// Watch calls changed with each result that differs from the one before, Load and
// Reload included; without either, at once. Calls do not overlap. It returns nil when ctx ends, or an error when the file system cannot be
// watched.
func (l *Loader) Watch(ctx context.Context, changed func(Result)) error {
	var names map[string]bool // those that matter
	w := watch.Watch{
		What: "the sources of requirements", Quiet: quiet, Longest: longest, Rescan: rescan, Log: l.log,
		Directories: func() (dirs []string) {
			names, dirs = l.toWatch()
			return dirs
		},
		Matters: func(name string) bool {
			dir := path.Dir(name) // in these two, a user or a file of rules may be new
			return names[name] || dir == under(l.root, managed) || dir == under(l.root, ruleFiles)
		},
		Look: func() {
			if result, differs := l.Reload(); differs {
				changed(result)
			}
		},
	}
	return w.Run(ctx, false)
}

// watched lists the files of the sources and every directory on the way to them:
// each may be made, replaced, or have its owner or mode changed.
func (l *Loader) watched() []string {
	root := under(l.root, "")
	names := []string{root}
	// In the directory of the rules there is always something to wait for.
	places := append(l.sources(), source{path: path.Join(ruleFiles, "any"+ruleSuffix)})
	for _, s := range places {
		if s.dir != "" { // what is above it is not looked at
			names = append(names, path.Clean(s.dir), s.file(l.root))
			continue
		}
		for p := s.file(l.root); p != root; p = path.Dir(p) {
			names = append(names, p)
		}
	}
	return names
}

// toWatch returns all names of which it matters what happens to them, and the
// directories among them.
func (l *Loader) toWatch() (names map[string]bool, dirs []string) {
	names = map[string]bool{}
	files := map[string]bool{under(l.root, path.Join(ruleFiles, "any"+ruleSuffix)): true}
	for _, s := range l.sources() {
		files[s.file(l.root)] = true
	}
	for _, name := range l.watched() {
		if !names[name] && !files[name] {
			dirs = append(dirs, name)
		}
		names[name] = true
	}
	return names, dirs
}
