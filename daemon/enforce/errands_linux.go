// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// errands are what runs beside the caller, by name: a stop that takes too long says what it waits for.
type errands struct {
	all sync.WaitGroup

	mu   sync.Mutex
	runs map[string]int
}

// Go runs f beside the caller.
func (e *errands) Go(name string, f func()) {
	e.count(name, 1)
	e.all.Go(func() {
		defer e.count(name, -1)
		f()
	})
}

func (e *errands) count(name string, n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.runs == nil {
		e.runs = map[string]int{}
	}
	if e.runs[name] += n; e.runs[name] == 0 {
		delete(e.runs, name)
	}
}

// Wait returns when none runs.
func (e *errands) Wait() { e.all.Wait() }

// String names those that run.
func (e *errands) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(e.runs)), ", ")
}
