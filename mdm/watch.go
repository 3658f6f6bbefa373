// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/fsnotify/fsnotify"
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
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching the sources of requirements: %w", err)
	}
	defer watcher.Close()

	var names map[string]bool // those that matter
	look := func() {
		// First watch, then read: what happens in between is read or notified.
		names = l.watchParents(watcher)
		if result, differs := l.Reload(); differs {
			changed(result)
		}
	}
	look()

	tick := time.NewTicker(rescan)
	defer tick.Stop()
	settled := time.NewTimer(quiet)
	settled.Stop()
	defer settled.Stop()
	var since time.Time // of the first event not yet looked at
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, ok := <-watcher.Events:
			if !ok {
				return errors.New("watching the sources of requirements: the watch ended")
			}
			name := path.Clean(event.Name)
			dir := path.Dir(name) // in these two, a user or a file of rules may be new
			if !names[name] && dir != under(l.root, managed) && dir != under(l.root, ruleFiles) {
				continue
			}
			if since.IsZero() {
				since = time.Now()
			}
			settled.Reset(min(quiet, time.Until(since.Add(longest))))
		case err, ok := <-watcher.Errors:
			if !ok {
				return errors.New("watching the sources of requirements: the watch ended")
			}
			// Mostly an overflow: something was missed, so look at everything.
			l.log.Warn("watching the sources of requirements", "error", err)
			settled.Reset(quiet)
		case <-settled.C:
			since = time.Time{}
			look()
		case <-tick.C:
			look()
		}
	}
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

// watchParents watches the directories there are now. A watch follows a directory
// and not its name, hence all are taken anew. It returns all names of which an event
// matters.
func (l *Loader) watchParents(watcher *fsnotify.Watcher) map[string]bool {
	names := map[string]bool{}
	files := map[string]bool{}
	for _, s := range l.sources() {
		files[s.file(l.root)] = true
	}
	files[under(l.root, path.Join(ruleFiles, "any"+ruleSuffix))] = true
	for _, name := range l.watched() {
		if names[name] {
			continue
		}
		names[name] = true
		if files[name] {
			continue
		}
		_ = watcher.Remove(name) // fails when it was not watched
		if err := watcher.Add(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.log.Warn("watching the sources of requirements", "directory", name, "error", err)
		}
	}
	return names
}
