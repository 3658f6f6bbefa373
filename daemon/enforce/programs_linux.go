// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/watch"
)

// The catalog is made when a policy is applied. A program that is installed, upgraded
// or removed later is noticed here, and the same policy applied once more with what is
// there now: until then the program is known by its name, and a copy of it is not.

const (
	// quiet is how long nothing may happen in a directory of programs before it is
	// looked at: an installation is then done.
	quiet = 300 * time.Millisecond
	// between is the least time between two looks, whatever happens: anybody can make
	// something happen in a home directory.
	between = 2 * time.Second
	// rescan is for what causes no notification: a directory that is new, a link that
	// leads elsewhere.
	rescan = time.Minute
	// maxWatched bounds the directories that are watched.
	maxWatched = 1024
)

// watchPrograms runs until the enforcer stops.
func (e *Enforcer) watchPrograms() {
	w := watch.Watch{
		What: "the directories of programs", Quiet: quiet, Between: between, Rescan: rescan, Log: e.Log, Directories: e.programDirectories,
		Look: func() {
			if err := e.refresh(); err != nil {
				e.Log.Error("looking at the programs that rules name", "error", err)
			}
		},
	}
	if err := w.Run(e.ctx, true); err != nil {
		e.Log.Error("programs that change are not noticed any more", "error", err)
	}
}

// programDirectories are where the programs are and where links to them lead.
func (e *Enforcer) programDirectories() []string {
	dirs := slices.Clone(e.directories())
	for _, path := range programPaths(e.now.Load().rules, dirs) {
		dirs = append(dirs, filepath.Dir(path))
		if target, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(target))
		}
		if len(dirs) > 4*maxWatched {
			break
		}
	}
	slices.Sort(dirs)
	dirs = slices.Compact(dirs)
	return dirs[:min(len(dirs), maxWatched)]
}

// refresh puts the policy in force into force once more, if a program that it names is
// another one by now.
func (e *Enforcer) refresh() error {
	e.apply.Lock()
	defer e.apply.Unlock()
	g := e.now.Load()
	if fingerprint(programPaths(g.rules, e.directories())) == g.catalog.shown {
		return nil
	}
	err := e.reinstall()
	if e.ctx.Err() != nil {
		return nil // the next daemon looks
	}
	if err != nil {
		return fmt.Errorf("applying the policy with programs that changed: %w", err)
	}
	e.Log.Info("a program that rules name changed", "generation", e.now.Load().number)
	return nil
}

// reinstall puts the policy in force into force once more, as the next generation.
func (e *Enforcer) reinstall() error {
	next := *e.now.Load()
	if err := e.install(&next); err != nil {
		return err
	}
	if e.Refreshed != nil {
		e.Refreshed(next.number)
	}
	return nil
}
