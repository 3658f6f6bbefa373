// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
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
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		e.Log.Error("watching the directories of programs; they are looked at once a minute", "error", err)
		watcher = &fsnotify.Watcher{} // whose channels never deliver
	} else {
		defer watcher.Close()
	}
	look := func() {
		if err == nil {
			e.watchDirectories(watcher) // first watch, then look
		}
		if err := e.refresh(); err != nil {
			e.Log.Error("looking at the programs that rules name", "error", err)
		}
	}
	look()
	last := time.Now()
	tick := time.NewTicker(rescan)
	defer tick.Stop()
	settled := time.NewTimer(rescan)
	settled.Stop()
	defer settled.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-watcher.Events:
			settled.Reset(max(quiet, time.Until(last.Add(between))))
		case err := <-watcher.Errors: // mostly an overflow: something was missed
			e.Log.Warn("watching the directories of programs", "error", err)
			settled.Reset(between)
		case <-settled.C:
			look()
			last = time.Now()
		case <-tick.C:
			look()
			last = time.Now()
		}
	}
}

// watchDirectories watches where the programs are and where links to them lead. A watch
// follows a directory and not its name, hence all are taken anew.
func (e *Enforcer) watchDirectories(watcher *fsnotify.Watcher) {
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
	for _, dir := range dirs[:min(len(dirs), maxWatched)] {
		_ = watcher.Remove(dir) // fails when it was not watched
		if err := watcher.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			e.Log.Warn("watching a directory of programs", "directory", dir, "error", err)
		}
	}
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
	next := *g
	if err := e.install(&next); err != nil {
		return fmt.Errorf("applying the policy with programs that changed: %w", err)
	}
	e.Log.Info("a program that rules name changed", "generation", next.number)
	if e.Refreshed != nil {
		e.Refreshed(next.number)
	}
	return nil
}
