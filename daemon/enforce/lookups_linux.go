// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// A directory may lie on a file system whose server is gone (NFS, FUSE): then to look
// at it never ends, and no signal ends it. What looks at places that are not the
// system's own does so through lookups: it waits a while, and a place that hangs
// counts as not there until it answers. Nothing may then be written to it, its names
// are bound as far as they are known, and its files as soon as it answers.

// lookupLimit is how long one look may take.
const lookupLimit = 3 * time.Second

// maxHung bounds the threads that wait for places which hang. With so many, none is
// looked at any more.
const maxHung = 128

// errHangs is returned for a place that does not answer.
var errHangs = errors.New("it does not answer")

type lookups struct {
	limit time.Duration
	// answered has a value after a place that hung answered.
	answered chan struct{}

	mu   sync.Mutex
	hung map[string]bool // one thread waits for each, and no more
	dirs []string        // the directories of programs when they were last known
}

func (l *lookups) init() {
	l.limit, l.answered, l.hung = lookupLimit, make(chan struct{}, 1), map[string]bool{}
}

// look runs f, which looks at a place, or returns errHangs. Then f goes on, and what
// it finds is forgotten: it may touch nothing that others use.
func look[T any](l *lookups, place string, f func() (T, error)) (T, error) {
	var none T
	l.mu.Lock()
	hangs := l.hung[place] || len(l.hung) >= maxHung
	l.mu.Unlock()
	if hangs {
		return none, fmt.Errorf("%s: %w", place, errHangs)
	}
	type result struct {
		found T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		found, err := f()
		l.mu.Lock()
		late := l.hung[place]
		delete(l.hung, place)
		done <- result{found, err}
		l.mu.Unlock()
		if late {
			select {
			case l.answered <- struct{}{}:
			default:
			}
		}
	}()
	timer := time.NewTimer(l.limit)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.found, r.err
	case <-timer.C:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case r := <-done:
		return r.found, r.err
	default:
		l.hung[place] = true
		return none, fmt.Errorf("%s: %w", place, errHangs)
	}
}

// hanging lists the places that do not answer.
func (l *lookups) hanging() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for place := range l.hung {
		out = append(out, place)
	}
	slices.Sort(out)
	return out
}

// directories returns those of Config.Directories that answer.
func (e *Enforcer) directories() []string {
	dirs, err := look(&e.lookups, "the directories of programs", func() ([]string, error) { return e.Directories(), nil })
	e.lookups.mu.Lock()
	switch {
	case err == nil:
		e.lookups.dirs = dirs
	case e.lookups.dirs != nil:
		dirs = e.lookups.dirs
	default:
		dirs = systemDirectories("/")
	}
	e.lookups.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(dirs), func(dir string) bool {
		_, err := look(&e.lookups, dir, func() (os.FileInfo, error) { return os.Stat(dir) })
		return errors.Is(err, errHangs)
	})
}
