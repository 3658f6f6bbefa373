// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// watching starts a watch and returns what it reports.
func watching(t *testing.T, l *Loader) <-chan Result {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	results, done := make(chan Result, 100), make(chan error, 1)
	go func() { done <- l.Watch(ctx, func(r Result) { results <- r }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	return results
}

func next(t *testing.T, results <-chan Result, why string) Result {
	t.Helper()
	select {
	case r := <-results:
		return r
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: nothing was reported", why)
		return Result{}
	}
}

func TestWatch(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	tr := newTree(t)
	l := NewLoader(tr.root, t.TempDir(), nil)
	l.Load()
	results := watching(t, l)
	steps := []struct {
		name      string
		do        func()
		holds     string
		incidents int
	}{
		{"the directories are made, and the file", func() { tr.write(codexFile, forbidLs) }, holdsLs, 0},
		{"a new file replaces it", func() { tr.write(codexFile, forbidGit) }, holdsGit, 0},
		{"it is written in place", func() { tr.must(os.WriteFile(tr.path(codexFile), []byte(forbidLs), 0o644)) }, holdsLs, 0},
		{"a second file", func() { tr.write(paddockFile, forbidGit) }, holdsBoth, 0},
		{"the mode of the file", func() { tr.mode(codexFile, 0o666) }, holdsBoth, 1},
		{"and back", func() { tr.mode(codexFile, 0o644) }, holdsBoth, 0},
		{"the owner of the directory", func() { tr.owner(etc+"/codex", nobody) }, holdsBoth, 1},
		{"and back", func() { tr.owner(etc+"/codex", 0) }, holdsBoth, 0},
		{"the mode of the root", func() { tr.mode("/", 0o1777) }, holdsBoth, 2},
		{"and back", func() { tr.mode("/", 0o755) }, holdsBoth, 0},
		{"the directory goes", func() { tr.must(os.RemoveAll(tr.path(etc + "/codex"))) }, holdsGit, 0},
		{"and comes back", func() { tr.write(codexFile, forbidLs) }, holdsBoth, 0},
		{"another directory takes its place", func() {
			tr.write("/new/codex/requirements.toml", forbidGit)
			tr.must(errors.Join(
				os.Rename(tr.path(etc+"/codex"), tr.path("/old")), os.Rename(tr.path("/new/codex"), tr.path(etc+"/codex"))))
		}, holdsGit, 0},
		{"which is watched in turn", func() { tr.write(codexFile, forbidLs) }, holdsBoth, 0},
		{"a link takes its place", func() {
			tr.must(errors.Join(
				os.Rename(tr.path(etc+"/codex"), tr.path("/linked")), os.Symlink(tr.path("/linked"), tr.path(etc+"/codex"))))
		}, holdsBoth, 1},
		{"all is removed", func() { tr.must(os.RemoveAll(tr.path(etc))) }, holdsNothing, 0},
		{"and written again", func() { tr.write(paddockFile, forbidGit) }, holdsGit, 0},
	}
	generation := uint64(0)
	var took []time.Duration
	for _, step := range steps {
		step.do()
		done := time.Now()
		r := next(t, results, step.name)
		took = append(took, time.Since(done))
		if got := decide(r); got != step.holds || len(r.Incidents) != step.incidents {
			t.Fatalf("%s: holds %s with %d incidents %v\nwant  %s with %d", step.name, got, len(r.Incidents), r.Incidents, step.holds, step.incidents)
		}
		if r.Generation < generation {
			t.Errorf("%s: generation %d after %d", step.name, r.Generation, generation)
		}
		generation = r.Generation
	}
	// A single one may wait for a busy machine.
	slices.Sort(took)
	if median := took[len(took)/2]; median > time.Second {
		t.Errorf("noticed after %v at the median, %v at most", median, took[len(took)-1])
	}
}

// What makes no difference is not reported.
func TestWatchOnlyChanges(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	tr := newTree(t)
	tr.write(codexFile, forbidLs)
	l := NewLoader(tr.root, t.TempDir(), nil)
	l.Load()
	results := watching(t, l)
	tr.write(codexFile, forbidGit) // the watch is there once this is reported
	next(t, results, "a change")

	tr.write(codexFile, forbidGit)
	tr.write(etc+"/codex/config.toml", "x")
	tr.write(etc+"/hosts", "x")
	tr.mode(codexFile, 0o600)
	tr.write(codexFile, forbidLs)
	// Had one of the former been reported, then before this.
	if r := next(t, results, "a real change"); decide(r) != holdsLs || r.Generation != 3 {
		t.Errorf("holds %s, generation %d", decide(r), r.Generation)
	}
	if len(results) != 0 {
		t.Errorf("%d more reports", len(results))
	}
}

// Several steps of one writer are one change.
func TestWatchDebounces(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	tr := newTree(t)
	l := NewLoader(tr.root, t.TempDir(), nil)
	l.Load()
	results := watching(t, l)
	tr.write(codexFile, forbidLs)
	if r := next(t, results, "a file"); decide(r) != holdsLs {
		t.Fatalf("holds %s", decide(r))
	}
	for range 20 {
		tr.must(os.Remove(tr.path(codexFile)))
		tr.write(codexFile, broken)
		tr.write(codexFile, forbidGit)
	}
	// A busy machine may pause in the midst of it for longer than the wait.
	reports := 1
	for r := next(t, results, "the last of many"); decide(r) != holdsGit || len(r.Incidents) != 0; reports++ {
		r = next(t, results, "the last of many")
	}
	if reports > 10 {
		t.Errorf("%d reports of 60 steps", reports)
	}
}

// What changed between Load and Watch is not lost; nor is it when there was no Load.
func TestWatchBegins(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	tr := newTree(t)
	l := NewLoader(tr.root, t.TempDir(), nil)
	l.Load()
	tr.write(codexFile, forbidLs)
	if r := next(t, watching(t, l), "a change before Watch"); decide(r) != holdsLs {
		t.Errorf("holds %s", decide(r))
	}
	fresh := NewLoader(tr.root, t.TempDir(), nil)
	if r := next(t, watching(t, fresh), "no Load at all"); decide(r) != holdsLs || r.Generation != 1 {
		t.Errorf("holds %s, generation %d", decide(r), r.Generation)
	}
}
