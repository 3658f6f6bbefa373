// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/whole"
)

// Where a work tree's files are, git keeps in a file that sessions can write, since
// git itself must (`git worktree move`). So what it said whenever a session began is
// remembered: a session that writes something else there takes nothing back.

// treeID is the git directory of a work tree, wherever it is mounted. A session could
// only make it another one by removing it, and may that only where it is its own.
type treeID struct {
	Name string
	Ino  uint64
	Born int64 // in nanoseconds; 0 where the file system does not tell
}

// knownTree is where a work tree's files have been.
type knownTree struct {
	ID     treeID
	Places []string // "" is outside of any project: there were too many
	Seen   time.Time
}

const (
	maxKnownTrees = 10_000
	maxTreePlaces = 16
	// seenEvery is how exactly is known when a work tree was last seen, and keepTrees
	// how long one that is not seen is remembered when there is no room.
	seenEvery = 30 * 24 * time.Hour
	keepTrees = 400 * 24 * time.Hour
)

// knownTrees are the work trees of which a session could make use.
type knownTrees struct {
	path   string // empty: they are forgotten with the daemon
	failed func(error)

	mu    sync.Mutex
	known map[treeID]*knownTree
	dirty bool
	full  bool
}

// openTrees reads what an earlier daemon has seen. A damaged file is set aside.
func openTrees(path string, failed func(error)) (*knownTrees, error) {
	k := &knownTrees{path: path, failed: failed, known: map[treeID]*knownTree{}}
	if path == "" {
		return k, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading where work trees are: %w", err)
	}
	var all []knownTree
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&all); err != nil {
		failed(fmt.Errorf("%s is damaged, and kept as %[1]s.damaged: where work trees were is forgotten: %w", path, err))
		if err := os.Rename(path, path+".damaged"); err != nil {
			return nil, fmt.Errorf("setting aside where work trees are: %w", err)
		}
		return k, nil
	}
	for _, t := range all {
		k.known[t.ID] = &t
	}
	return k, nil
}

// note returns all places where the files of a work tree have been, with that where
// they are now: empty if there is nothing. It returns false if they cannot be known.
func (k *knownTrees) note(own, now string) (places []string, ok bool) {
	if k == nil {
		return nil, true
	}
	id, err := idOfTree(own)
	if err != nil {
		return nil, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.known[id]
	if t == nil {
		if now == "" {
			return nil, true
		}
		if len(k.known) >= maxKnownTrees && !k.forget() {
			k.full = true
			return nil, false
		}
		t = &knownTree{ID: id}
		k.known[id] = t
	}
	if time.Since(t.Seen) > seenEvery {
		t.Seen, k.dirty = time.Now(), true
	}
	if now != "" && !slices.Contains(t.Places, now) && len(t.Places) <= maxTreePlaces {
		if len(t.Places) == maxTreePlaces {
			now = ""
		}
		t.Places, k.dirty = append(t.Places, now), true
	}
	return slices.Clone(t.Places), true
}

// forget makes room, and returns false if it finds none.
func (k *knownTrees) forget() bool {
	before := len(k.known)
	for id, t := range k.known {
		if time.Since(t.Seen) > keepTrees {
			delete(k.known, id)
		}
	}
	return len(k.known) < before
}

// save writes what is new. It is called before the session can write anything.
func (k *knownTrees) save() {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.full {
		k.full = false
		k.failed(fmt.Errorf("there are more than %d work trees of git: what is new counts as outside of every project", maxKnownTrees))
	}
	if !k.dirty || k.path == "" {
		return
	}
	all := make([]knownTree, 0, len(k.known))
	for _, t := range k.known {
		all = append(all, *t)
	}
	var data bytes.Buffer // not JSON: paths need not be UTF-8
	err := gob.NewEncoder(&data).Encode(all)
	if err == nil {
		err = whole.Write(k.path, data.Bytes(), whole.Power)
	}
	if err != nil {
		k.failed(fmt.Errorf("where work trees are: %w", err))
		return
	}
	k.dirty = false
}

func idOfTree(own string) (treeID, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, own, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		return treeID{}, err
	}
	id := treeID{Name: filepath.Base(own), Ino: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		id.Born = st.Btime.Sec*int64(time.Second) + int64(st.Btime.Nsec)
	}
	return id, nil
}
