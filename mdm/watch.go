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

// Watch calls changed with each result that differs from the one before, the
// first of which is that of the last Load; without a Load, at once. Calls do not
// overlap. It returns nil when ctx ends, or an error when the file system cannot be
// watched.
func (l *Loader) Watch(ctx context.Context, changed func(Result)) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching the sources of requirements: %w", err)
	}
	defer watcher.Close()

	l.mu.Lock()
	seen := l.state
	l.mu.Unlock()
	look := func() {
		// First watch, then read: what happens in between is read or notified.
		l.watchParents(watcher)
		l.mu.Lock()
		result, state := l.load()
		l.mu.Unlock()
		if state != seen {
			seen = state
			changed(result)
		}
	}
	look()

	names := map[string]bool{}
	for _, name := range l.watched() {
		names[name] = true
	}
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
			if !names[path.Clean(event.Name)] {
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
	for _, s := range sources() {
		for p := path.Join(root, s.path); p != root; p = path.Dir(p) {
			names = append(names, p)
		}
	}
	return names
}

// watchParents watches the directories there are now. A watch follows a directory
// and not its name, hence all are taken anew.
func (l *Loader) watchParents(watcher *fsnotify.Watcher) {
	files := map[string]bool{}
	for _, s := range sources() {
		files[under(l.root, s.path)] = true
	}
	done := map[string]bool{}
	for _, name := range l.watched() {
		if files[name] || done[name] {
			continue
		}
		done[name] = true
		_ = watcher.Remove(name) // fails when it was not watched
		if err := watcher.Add(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.log.Warn("watching the sources of requirements", "directory", name, "error", err)
		}
	}
}
