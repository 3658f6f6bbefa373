// SPDX-License-Identifier: Apache-2.0

// Package watch notices that files change. It watches the directories they are in, so
// that what is new, replaced or gone is noticed too; waits until whoever writes is done;
// and looks again once in a while all the same, for what causes no notification (a mount
// over a directory), and when notifications were lost.
package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Watch says what to watch and what to do. All fields are required but
// Matters and Wake; zero times are none.
type Watch struct {
	// What is watched, for messages: "the sources of requirements".
	What string
	// Directories returns those to watch, before each look: a watch follows a directory
	// and not its name, so all are taken anew. One that is not there is left out.
	Directories func() []string
	// Matters says whether something that happened to a name is a reason to look; nil:
	// always. It is called from the goroutine Look is called from.
	Matters func(name string) bool
	// Look is called once at the start, and whenever something may have changed. Calls
	// do not overlap.
	Look func()
	// Quiet is how long nothing may happen before it is looked at: who writes a file in
	// several steps is then done. Longest bounds that wait when it never becomes quiet.
	Quiet, Longest time.Duration
	// Between is the least time between two looks, whatever happens.
	Between time.Duration
	// Wake, if set, is another reason to look.
	Wake <-chan struct{}
	// Rescan is how often it is looked at though nothing was noticed.
	Rescan time.Duration
	Log    *slog.Logger
}

// Run watches until ctx ends, and then returns nil. Where nothing can be watched, it
// says so in an error before the first look, or goes on with looking once in a while
// if blind is set.
func (w *Watch) Run(ctx context.Context, blind bool) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		err = fmt.Errorf("watching %s: %w", w.What, err)
		if !blind {
			return err
		}
		w.Log.Error("looked at once in a while only", "error", err)
		watcher = &fsnotify.Watcher{} // whose channels never deliver
	} else {
		defer watcher.Close()
	}
	sees := err == nil
	var last time.Time
	look := func() {
		if sees {
			w.take(watcher) // first watch, then look: what happens in between is seen or noticed
		}
		w.Look()
		last = time.Now()
	}
	look()

	tick := time.NewTicker(w.Rescan)
	defer tick.Stop()
	settled := time.NewTimer(w.Rescan)
	settled.Stop()
	defer settled.Stop()
	var since time.Time // of the first thing that was not yet looked at
	soon := func(quiet time.Duration) {
		if since.IsZero() {
			since = time.Now()
		}
		if w.Longest > 0 {
			quiet = min(quiet, time.Until(since.Add(w.Longest)))
		}
		settled.Reset(max(quiet, time.Until(last.Add(w.Between))))
	}
	ended := func() error { return fmt.Errorf("watching %s: the watch ended", w.What) }
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, ok := <-watcher.Events:
			if !ok {
				return ended()
			}
			if w.Matters == nil || w.Matters(path.Clean(event.Name)) {
				soon(w.Quiet)
			}
		case err, ok := <-watcher.Errors:
			if !ok {
				return ended()
			}
			// Mostly an overflow: something was missed, so everything is looked at.
			w.Log.Warn("watching files", "what", w.What, "error", err)
			soon(w.Quiet)
		case <-w.Wake:
			soon(0)
		case <-settled.C:
			since = time.Time{}
			look()
		case <-tick.C:
			look()
		}
	}
}

// take watches the directories there are now.
func (w *Watch) take(watcher *fsnotify.Watcher) {
	wanted := map[string]bool{}
	for _, dir := range w.Directories() {
		if wanted[dir] {
			continue
		}
		wanted[dir] = true
		_ = watcher.Remove(dir) // fails when it was not watched
		if err := watcher.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.Log.Warn("watching files", "what", w.What, "directory", dir, "error", err)
		}
	}
	for _, dir := range watcher.WatchList() {
		if !wanted[dir] {
			_ = watcher.Remove(dir) // gone by itself, if the directory is
		}
	}
}
