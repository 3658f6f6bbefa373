// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/watch"
)

// Role says whose a file is.
type Role string

// Roles.
const (
	Requirements Role = "requirements" // says what agents may do
	Agents       Role = "agents"       // an agent's managed configuration
	Paddock      Role = "paddock"      // Paddock's own
	Users        Role = "users"        // a user's, which no session may change
)

// Place is a file or a directory, with all in it, that is watched; it need not be there.
type Place struct {
	Path string
	Role Role
	// Ours says that Paddock wrote it: a change is put back.
	Ours bool
	// Sessions says that only what sessions do there is told of.
	Sessions bool
}

// What happened to a file.
const (
	Create = "create"
	Remove = "remove"
	Write  = "write"
	Rename = "rename" // another file is in its place
	Alter  = "change" // owner, mode, times; or it was changed and changed back
)

// Change is what happened to one file.
type Change struct {
	Place
	Operation     string
	Before, After *Print // nil: there was, is, nothing
	// Act is who did it, if that is known.
	Act   watch.Act
	Known bool
	// Down says that it happened while Paddock did not run.
	Down bool
	// Folded counts earlier changes of the file that were not told of one by one.
	Folded int
	// Restored says that it was put back; Failed, why not.
	Restored bool
	Failed   error
}

// Guard watches places.
type Guard struct {
	// Places returns what is to be watched, and is asked before each look.
	Places func() []Place
	// Program tells the program that runs from any other. What another one left as ours
	// is that one's: files of ours are then taken as they are.
	Program string
	// Dir is where is kept what is known, and the content of what is ours.
	Dir string
	// Tell takes changes. It must not wait for the guard.
	Tell func(Change)
	// Last says who changed a path after a time; nil: nobody knows.
	Last func(path string, after time.Time) (watch.Act, bool)
	// Watched is told of the directories that are watched, and of which names in them it
	// matters what happens; may be nil. matters may be called at any time.
	Watched func(dirs []string, matters func(name string) bool)
	// Upgrading says that another version of Paddock is being installed: what is ours is
	// left alone.
	Upgrading func() bool
	Log       *slog.Logger
	// Patience is how long a change of what is ours stays before it is put back: an
	// installation that brings another version of it is then over, and Upgrading says so.
	Patience time.Duration
	Now      func() time.Time

	known  known
	matter func(name string) bool // whether it matters what happens to it
	dirs   []string               // to be watched, as of the last look
	looked time.Time
	first  bool
	tells  int // in this look
	told   map[string]*telling
	wars   map[string]*war
	wake   chan struct{}
	timer  *time.Timer
	due    time.Time // of it
	once   sync.Once

	watched []string // which of dirs are; nil: nobody watches
}

const (
	quiet   = 300 * time.Millisecond
	longest = 2 * time.Second
	between = time.Second
	rescan  = time.Minute
)

// Begin looks for the first time, at what changed since the last daemon did. Run does it
// if nobody has.
func (g *Guard) Begin() {
	g.look()
}

// Run watches until ctx ends.
func (g *Guard) Run(ctx context.Context) error {
	g.prepare()
	w := watch.Watch{
		What: "protected files", Quiet: quiet, Longest: longest, Between: between, Rescan: rescan, Log: g.Log, Wake: g.wake,
		Directories: g.directories, Look: g.look,
		Matters: func(name string) bool { return g.matter(name) },
	}
	defer func() {
		if g.timer != nil {
			g.timer.Stop()
		}
	}()
	return w.Run(ctx, true)
}

func (g *Guard) prepare() {
	g.once.Do(func() {
		if g.Now == nil {
			g.Now = time.Now
		}
		g.told, g.wars, g.wake, g.first = map[string]*telling{}, map[string]*war{}, make(chan struct{}, 1), true
		var err error
		if g.known, err = readKnown(g.Dir); err != nil {
			g.Log.Error("what protected files were is lost: what changed meanwhile is not told", "error", err)
		}
	})
}

// listing is a place with what is there.
type listing struct {
	Place
	paths []string
}

// list looks what there is, and says which directories are to be watched: those that places are in, and on the way to them.
func (g *Guard) list() []listing {
	var out []listing
	names, dirs, all := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, p := range g.Places() {
		for path := p.Path; ; path = filepath.Dir(path) {
			names[path] = true
			if dir := filepath.Dir(path); dir == path {
				break
			}
			if path != p.Path {
				all[path] = true
			}
		}
		paths, below := below(p)
		for _, path := range below {
			all[path], dirs[path] = true, true
		}
		out = append(out, listing{p, paths})
	}
	g.matter = func(name string) bool { return names[name] || dirs[filepath.Dir(name)] }
	g.dirs = slices.Sorted(maps.Keys(all))
	if g.Watched != nil {
		g.Watched(g.dirs, g.matter)
	}
	return out
}

// directories are those of the last look: what is new since then is found by the next one, which has it looked at again.
func (g *Guard) directories() []string {
	if g.dirs == nil {
		g.list()
	}
	g.watched = g.dirs
	return g.watched
}

// look compares what there is with what was known.
func (g *Guard) look() {
	g.prepare()
	began := g.Now()
	g.tells = 0
	places := g.list()
	if g.watched != nil && !slices.Equal(g.watched, g.dirs) {
		g.lookIn(0) // what happens there before they are watched is nobody's news
	}
	covered := map[string]bool{}
	before := slices.Sorted(maps.Keys(g.known.prints))
	dirty := g.first
	for _, place := range places {
		fresh := !g.known.places[place.Path]                        // the first time it is looked at
		paths := append(place.paths, within(before, place.Path)...) // what is there, and what was
		slices.Sort(paths)
		for _, path := range slices.Compact(paths) {
			if covered[path] {
				continue
			}
			covered[path] = true
			was := g.known.prints[path]
			now, err := printOf(path, was, !place.Sessions)
			if err != nil {
				g.Log.Warn("a protected file cannot be looked at", "error", err)
				continue
			}
			if g.compare(place.Place, path, was, now, fresh) {
				dirty = true
			}
		}
		if fresh {
			g.known.places[place.Path] = true
			dirty = true
		}
	}
	g.first, g.looked, g.known.program = false, began, g.Program
	dirty = g.late() || dirty
	if n := g.tells - maxTells; n > 0 && len(places) > 0 {
		g.Tell(Change{Place: Place{Path: filepath.Dir(places[0].Path), Role: places[0].Role}, Operation: Alter, Folded: n})
	}
	if dirty {
		if err := g.known.save(g.Dir); err != nil {
			g.Log.Error("noting what protected files are", "error", err)
		}
	}
}

// compare deals with one path, and says whether anything about it is new.
func (g *Guard) compare(place Place, path string, before, now *Print, fresh bool) bool {
	op := operation(before, now)
	if now == nil {
		delete(g.known.prints, path)
	} else {
		g.known.prints[path] = now
	}
	ours := place.Ours && place.Path == path
	if ours && (fresh || g.first && g.known.program != g.Program) {
		g.adopt(path, now)
	}
	if op != "" && !fresh {
		c := Change{Place: place, Operation: op, Before: before, After: now, Down: g.first}
		c.Path = path
		if g.Last != nil {
			c.Act, c.Known = g.Last(path, g.looked.Add(-longest))
			if !c.Known { // what happened to its directory happened to it
				c.Act, c.Known = g.Last(filepath.Dir(path), g.looked.Add(-longest))
			}
		}
		g.tell(c)
	}
	if ours && !g.first {
		g.defend(place, path, now)
	}
	return op != ""
}

// operation says what must have happened; empty: nothing.
func operation(before, now *Print) string {
	switch {
	case before == nil && now == nil:
		return ""
	case before == nil:
		return Create
	case now == nil:
		return Remove
	case before.Dev != now.Dev || before.Ino != now.Ino || before.Mode&unix.S_IFMT != now.Mode&unix.S_IFMT:
		return Rename
	case before.Sum != now.Sum || before.Size != now.Size:
		return Write
	case !before.same(now):
		return Alter
	}
	return ""
}

// telling bounds what is told of one file.
type telling struct {
	since  time.Time // when it was last told
	count  int       // in a row, closer together than a minute
	folded int
	last   Change // of those
}

const (
	maxTold  = 10
	foldTime = time.Minute
	// maxTells bounds what is told of one look; of the rest, how many there are.
	maxTells = 200
)

// tell passes a change on: ten in a row, and then one a minute.
func (g *Guard) tell(c Change) {
	t := g.told[c.Path]
	if t == nil {
		if len(g.told) > maxBelow {
			clear(g.told)
		}
		t = &telling{}
		g.told[c.Path] = t
	}
	now := g.Now()
	if now.Sub(t.since) > foldTime {
		t.count = 0
	}
	if t.count++; t.count > maxTold {
		t.folded++
		t.last = c
		return
	}
	if g.tells++; g.tells > maxTells {
		return
	}
	c.Folded, t.folded, t.since = t.folded, 0, now
	g.Tell(c)
}

// late tells of the last change of a file that was folded, once it is time. It says
// whether there was one.
func (g *Guard) late() bool {
	told, now := false, g.Now()
	for _, t := range g.told {
		switch wait := foldTime - now.Sub(t.since); {
		case t.folded == 0:
		case wait >= 0:
			g.lookIn(wait + time.Millisecond)
		default:
			c := t.last
			c.Folded, t.folded, t.since, t.count = t.folded-1, 0, now, maxTold
			g.Tell(c)
			told = true
		}
	}
	return told
}

// within returns those of sorted paths that are dir, or below it.
func within(sorted []string, dir string) []string {
	var out []string
	if _, found := slices.BinarySearch(sorted, dir); found {
		out = append(out, dir)
	}
	begin, end := strings.TrimRight(dir, "/")+"/", strings.TrimRight(dir, "/")+"0" // which comes next after "/"
	from, _ := slices.BinarySearch(sorted, begin)
	to, _ := slices.BinarySearch(sorted, end)
	return append(out, sorted[from:to]...)
}
