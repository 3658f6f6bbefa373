// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

func TestWithin(t *testing.T) {
	paths := []string{"/a", "/a-b", "/a.d/x", "/a/b", "/a/b/c", "/a/z", "/a0", "/b"}
	slices.Sort(paths)
	for dir, want := range map[string][]string{
		"/a": {"/a", "/a/b", "/a/b/c", "/a/z"}, "/a/b": {"/a/b", "/a/b/c"}, "/c": nil, "/a/z": {"/a/z"}, "/a.d": {"/a.d/x"}, "/": paths,
	} {
		if got := within(paths, dir); !slices.Equal(got, want) {
			t.Errorf("within %s are %v, want %v", dir, got, want)
		}
	}
}

// What is to be watched is asked and listed once for a look.
func TestPlacesAreListedOnce(t *testing.T) {
	r := newRig(t)
	asked, places := 0, r.Places
	r.Places = func() []Place {
		asked++
		return places()
	}
	r.seen()
	for want := 2; want < 5; want++ {
		r.write("etc/codex/requirements.toml", fmt.Sprint("mode = ", want))
		r.directories()
		if got := r.seen(); len(got) != 1 || asked != want {
			t.Errorf("look %d: told %v, asked %d times", want, got, asked)
		}
	}
}

// A directory that is new is watched as well, soon, though it is the look that finds it.
func TestNewDirectoryIsWatched(t *testing.T) {
	r := newRig(t)
	r.Begin()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		r.must(<-done)
	})
	next := func(want string) {
		t.Helper()
		for {
			select {
			case c := <-r.told:
				if r.say(c) == want {
					return
				}
			case <-time.After(20 * time.Second): // long before the next look that comes by itself
				t.Fatalf("%s is not told", want)
			}
		}
	}
	// The watch may begin only now: what was there before it is found by its first look.
	r.must(os.MkdirAll(r.path("etc/codex/new/deep"), 0o755))
	next("create etc/codex/new/deep")
	for n := range 3 {
		name := fmt.Sprint("etc/codex/new/deep/", n)
		r.write(name, "x")
		next("create " + name)
	}
}
