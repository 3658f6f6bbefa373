// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// doFile does something to a file; what To is to be renamed to is With.
func doFile(r request, _ *answer) error {
	opened := func(flags int) error {
		fd, err := unix.Open(r.To, flags|unix.O_CLOEXEC, 0o644)
		if err == nil {
			err = unix.Close(fd)
		}
		return err
	}
	switch r.Do {
	case "read":
		return opened(unix.O_RDONLY)
	case "write":
		return opened(unix.O_WRONLY)
	case "create":
		return opened(unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL)
	case "remove":
		return unix.Unlink(r.To)
	case "mkdir":
		return unix.Mkdir(r.To, 0o755)
	case "rmdir":
		return unix.Rmdir(r.To)
	case "chmod":
		return unix.Chmod(r.To, 0o640)
	case "link":
		return unix.Link(r.To, r.With[0])
	case "symlink":
		return unix.Symlink("x", r.To)
	default:
		return unix.Rename(r.To, r.With[0])
	}
}

// remembering is a kernel side with a boundary, and an actor of session 7, which may
// write below in.
type remembering struct {
	t      *testing.T
	k      *Kernel
	dir    string
	policy Generation
	own    Bounds
	actor  *actor
}

func (r *remembering) at(path string) string { return filepath.Join(r.dir, path) }

func (r *remembering) id(path string) InodeID { return inode(r.t, r.k, r.at(path)) }

// lay makes files, with their directories; what ends in / is one.
func (r *remembering) lay(paths ...string) {
	r.t.Helper()
	for _, p := range paths {
		if strings.HasSuffix(p, "/") {
			must(r.t, os.MkdirAll(r.at(p), 0o755))
			continue
		}
		must(r.t, os.MkdirAll(filepath.Dir(r.at(p)), 0o755))
		must(r.t, os.WriteFile(r.at(p), []byte("x\n"), 0o644))
	}
}

// may has an actor do something, twice: the second time it may be remembered.
func (r *remembering) may(a *actor, what, path string, with ...string) bool {
	r.t.Helper()
	first := a.do(what, r.at(path), with...).Error
	if second := a.do(what, r.at(path), with...).Error; second != first {
		r.t.Errorf("%s %s: %q, and then %q", what, path, first, second)
	}
	if first != "" && first != "EROFS" && first != "EACCES" {
		r.t.Fatalf("%s %s: %s", what, path, first)
	}
	return first == ""
}

// want says whether an actor may read and write a file: "rw", "r", "w" or "".
func (r *remembering) want(a *actor, path, want string) {
	r.t.Helper()
	got := ""
	for _, c := range []struct{ what, is string }{{"read", "r"}, {"write", "w"}} {
		if r.may(a, c.what, path) {
			got += c.is
		}
	}
	if got != want {
		r.t.Errorf("%s: %q, want %q", path, got, want)
	}
}

func (r *remembering) put() {
	r.t.Helper()
	r.policy.Number++
	must(r.t, r.k.SetPolicy(r.policy))
	must(r.t, r.k.SetBoundary(7, BoundaryFull, 5, &r.own))
}

// behind changes a session's own places and tells nobody.
func (r *remembering) behind(id InodeID, b Bound) {
	r.t.Helper()
	must(r.t, r.k.setFilter(filterOf(map[kernelBoundKey]kernelBound{boundKey(7, id): {Flags: uint32(b.Flags)}}, nil)))
	must(r.t, r.k.maps[kernelMapSessionBounds].Put(boundKey(7, id), kernelBound{Flags: uint32(b.Flags)}))
}

// Nothing that is remembered of a directory outlives what it was found from, and what
// was not changed is not looked up again.
func TestRemembered(t *testing.T) {
	if os.Getenv("PADDOCK_VM") == "" {
		return // not a skip: only the guests have hooks for files
	}
	for _, m := range mechanisms() {
		k := enforcing(t)
		r := &remembering{t: t, k: k, dir: t.TempDir()}
		r.lay("in/a/b/file", "in/git/hooks/", "in/git/free/sub/file", "in/dir/x/file", "out/dir/x/file", "out/free/sub/file", "elsewhere/file", "mine/file")
		r.own.Add(r.id("in"), Bound{Flags: BoundWrite})
		r.own.AddName(BoundName{r.id("in/git"), "hooks"}, Bound{Flags: BoundProtected})
		r.own.AddName(BoundName{r.id("in/git"), "taken"}, Bound{Flags: BoundProtected})
		r.own.AddName(BoundName{r.id("in"), "kept"}, Bound{Flags: BoundProtected})
		r.policy = Generation{Number: 1, Enforce: true, Net: openNet, Boundary: BoundaryWorkspace}
		r.policy.Bounds.Add(r.id("mine"), Bound{Flags: BoundUnreadable | BoundAgent})
		r.put()
		must(t, k.AttachBoundary(m, Whole))
		r.actor = newActor(t).govern(k, Proc{Session: 7})
		r.want(r.actor, "elsewhere/file", "r")
		for _, c := range []struct {
			name string
			test func(*remembering)
		}{
			{"looked up once", (*remembering).once},
			{"renamed", (*remembering).renamed},
			{"exchanged", (*remembering).exchanged},
			{"a name that is bound", (*remembering).named},
			{"a number used again", (*remembering).again},
			{"requirements", (*remembering).required},
			{"a session's own places", (*remembering).changed},
			{"another session", (*remembering).others},
			{"the agent's own program", (*remembering).agents},
			{"the next daemon", (*remembering).next},
		} {
			t.Run(c.name, func(t *testing.T) {
				r.t = t
				c.test(r)
			})
		}
		r.t = t
		r.k.DetachBoundary()
	}
}

// once: what is known holds until the boundary is changed in the way that it is told of.
func (r *remembering) once() {
	r.want(r.actor, "in/a/b/file", "rw")
	r.want(r.actor, "in/git/hooks/../free/sub/file", "rw")
	r.lay("in/git/one", "in/a/one")
	do := func(what, path string, with ...string) string {
		r.t.Helper()
		return r.actor.do(what, r.at(path), with...).Error
	}
	all := func(want string) {
		r.t.Helper()
		for _, dir := range []string{"in/a/b/", "in/git/"} {
			deeds := []struct {
				what, path string
				with       string
			}{
				{"create", "new", ""},
				{"write", "new", ""},
				{"chmod", "new", ""},
				{"link", "new", "hard"},
				{"rename", "hard", "soft"},
				{"remove", "soft", ""},
				{"remove", "new", ""},
				{"symlink", "s", ""},
				{"remove", "s", ""},
				{"mkdir", "d", ""},
				{"rmdir", "d", ""},
			}
			if want != "" { // what they would need is not there
				deeds = deeds[:1]
			}
			for _, d := range deeds {
				if got := do(d.what, dir+d.path, r.at(dir+d.with)); got != want {
					r.t.Errorf("%s %s%s: %q, want %q", d.what, dir, d.path, got, want)
				}
			}
		}
	}
	all("")
	r.behind(r.id("in"), Bound{Flags: BoundProtected | BoundNames})
	all("")
	if got := do("create", "in/git/taken"); got != "EROFS" {
		r.t.Errorf("creating a protected name where others are remembered: %q", got)
	}
	r.k.filter.Lock()
	must(r.t, r.k.changeBounds(func() error { return nil }))
	r.k.filter.Unlock()
	all("EROFS")
	r.put()
	all("")
}

// renamed: a directory, and one above it, by somebody nobody governs.
func (r *remembering) renamed() {
	r.want(r.actor, "in/a/b/file", "rw")
	for _, c := range []struct{ from, to, file string }{{"in/a/b", "out/b", "out/b/file"}, {"in/a", "out/a", "out/a/b/file"}} {
		must(r.t, os.Rename(r.at(c.from), r.at(c.to)))
		r.want(r.actor, c.file, "r")
		must(r.t, os.Rename(r.at(c.to), r.at(c.from)))
		r.want(r.actor, "in/a/b/file", "rw")
	}
	r.want(r.actor, "out/dir/x/file", "r")
	must(r.t, os.Rename(r.at("out/dir"), r.at("in/moved")))
	r.want(r.actor, "in/moved/x/file", "rw")
	must(r.t, os.Rename(r.at("in/moved"), r.at("out/dir")))
	r.want(r.actor, "out/dir/x/file", "r")
	// A file that was opened before, by its descriptor: it is where it has been moved to.
	r.want(r.actor, "in/a/b/file", "rw")
	must(r.t, os.Rename(r.at("in/a/b/file"), r.at("out/file")))
	r.want(r.actor, "out/file", "r")
	must(r.t, os.Rename(r.at("out/file"), r.at("in/a/b/file")))
}

func (r *remembering) exchanged() {
	r.want(r.actor, "in/dir/x/file", "rw")
	r.want(r.actor, "out/dir/x/file", "r")
	in := r.id("in/dir/x")
	for range 2 {
		must(r.t, unix.Renameat2(unix.AT_FDCWD, r.at("in/dir"), unix.AT_FDCWD, r.at("out/dir"), unix.RENAME_EXCHANGE))
		r.want(r.actor, "in/dir/x/file", "rw")
		r.want(r.actor, "out/dir/x/file", "r")
	}
	if r.id("in/dir/x") != in {
		r.t.Error("they are not where they were: nothing was tried")
	}
}

// named: a directory gets a name that is bound, and the way back; also one that is
// far above the file.
func (r *remembering) named() {
	deep := strings.Repeat("d/", 20) + "file"
	r.lay("in/git/free/"+deep, "in/free/"+deep)
	for range 2 {
		for _, c := range []struct{ dir, bound string }{{"in/git/free", "in/git/taken"}, {"in/git", "in/kept"}, {"in/free", "in/kept"}} {
			for _, below := range []string{"/" + deep, "/sub/file", "/free/sub/file"} {
				if _, err := os.Stat(r.at(c.dir + below)); err != nil {
					continue
				}
				r.want(r.actor, c.dir+below, "rw")
				must(r.t, os.Rename(r.at(c.dir), r.at(c.bound)))
				r.want(r.actor, c.bound+below, "r")
				must(r.t, os.Rename(r.at(c.bound), r.at(c.dir)))
				r.want(r.actor, c.dir+below, "rw")
			}
		}
	}
}

// again: a removed directory's number is given to another one, as ext4 does at once.
func (r *remembering) again() {
	image, top := filepath.Join(r.t.TempDir(), "image"), r.at("top")
	must(r.t, os.Mkdir(top, 0o755))
	out, err := exec.Command("sh", "-ec", "modprobe loop; modprobe ext4; truncate -s 16M "+image+"; mkfs.ext4 -q "+image+"; mount -o loop "+image+" "+top).CombinedOutput()
	if err != nil {
		r.t.Fatalf("mounting ext4: %v: %s", err, out)
	}
	defer func() { must(r.t, unix.Unmount(top, unix.MNT_DETACH)) }()
	r.lay("top/in/", "top/out/")
	r.own.Add(r.id("top/in"), Bound{Flags: BoundWrite})
	r.put()
	numbers, same := map[InodeID]bool{}, 0
	for range 10 {
		for where, want := range map[string]string{"top/in": "rw", "top/out": "r"} {
			r.lay(where + "/dir/file")
			id := r.id(where + "/dir")
			if numbers[id] {
				same++
			}
			numbers[id] = true
			r.want(r.actor, where+"/dir/file", want)
			must(r.t, os.RemoveAll(r.at(where+"/dir")))
		}
	}
	if same == 0 {
		r.t.Error("no number was used again: nothing was tried")
	}
	delete(r.own.Files, r.id("top/in"))
	r.put()
	r.lay("top/in/dir/file")
	r.want(r.actor, "top/in/dir/file", "r")
}

func (r *remembering) required() {
	r.want(r.actor, "in/a/b/file", "rw")
	was := r.policy.Bounds
	r.policy.Bounds = Bounds{}
	for id, b := range was.Files {
		r.policy.Bounds.Add(id, b)
	}
	r.policy.Bounds.Add(r.id("in/a/b"), Bound{Flags: BoundUnreadable})
	r.policy.Number++
	must(r.t, r.k.SetPolicy(r.policy))
	r.want(r.actor, "in/a/b/file", "")
	r.policy.Bounds = was
	r.policy.Boundary = BoundaryReadOnly
	r.policy.Number++
	must(r.t, r.k.SetPolicy(r.policy))
	r.want(r.actor, "in/a/b/file", "r")
	r.policy.Boundary = BoundaryFull
	r.policy.Number++
	must(r.t, r.k.SetPolicy(r.policy))
	r.want(r.actor, "elsewhere/file", "rw")
	r.policy.Boundary = BoundaryWorkspace
	r.policy.Number++
	must(r.t, r.k.SetPolicy(r.policy))
	r.want(r.actor, "elsewhere/file", "r")
	r.want(r.actor, "in/a/b/file", "rw")
}

func (r *remembering) changed() {
	r.want(r.actor, "in/a/b/file", "rw")
	more := Bounds{}
	for id, b := range r.own.Files {
		more.Add(id, b)
	}
	more.Add(r.id("in/a"), Bound{Flags: BoundProtected})
	must(r.t, r.k.SetBoundary(7, BoundaryFull, 5, &more))
	r.want(r.actor, "in/a/b/file", "r")
	r.put()
	r.want(r.actor, "in/a/b/file", "rw")
	// The name of a directory that is there already, as of a repository's that is made.
	more = Bounds{}
	for id, b := range r.own.Files {
		more.Add(id, b)
	}
	more.AddName(BoundName{r.id("in/a"), "b"}, Bound{Flags: BoundProtected})
	must(r.t, r.k.SetBoundary(7, BoundaryFull, 5, &more))
	r.want(r.actor, "in/a/b/file", "r")
	must(r.t, r.k.SetBoundary(7, BoundaryReadOnly, 5, &r.own))
	r.want(r.actor, "in/a/b/file", "r")
	r.put()
	r.want(r.actor, "in/a/b/file", "rw")
}

func (r *remembering) others() {
	other := newActor(r.t).govern(r.k, Proc{Session: 8})
	var bounds Bounds
	bounds.Add(r.id("out"), Bound{Flags: BoundWrite})
	must(r.t, r.k.SetBoundary(8, BoundaryFull, 6, &bounds))
	for range 2 {
		r.want(r.actor, "in/a/b/file", "rw")
		r.want(other, "in/a/b/file", "r")
		r.want(other, "out/dir/x/file", "rw")
		r.want(r.actor, "out/dir/x/file", "r")
	}
	// The number of a session that is over is another one's.
	must(r.t, r.k.EndBoundary(8))
	must(r.t, r.k.SetBoundary(8, BoundaryFull, 6, &Bounds{}))
	r.want(other, "out/dir/x/file", "r")
	// A process that goes to another session.
	must(r.t, r.k.Remark(other.pid, Proc{Session: 7}))
	r.want(other, "in/a/b/file", "rw")
	r.want(other, "out/dir/x/file", "r")
}

// agents: what the agent's own program may, what it starts may not.
func (r *remembering) agents() {
	agent := newActor(r.t).govern(r.k, Proc{Session: 7, Flags: Agent})
	for range 2 {
		r.want(agent, "mine/file", "rw")
		r.want(r.actor, "mine/file", "")
	}
	must(r.t, r.k.Remark(agent.pid, Proc{Session: 7}))
	r.want(agent, "mine/file", "")
}

// next: a daemon that was cut short while it changed something leaves nothing
// remembered, and the next one's boundary holds as it is.
func (r *remembering) next() {
	r.want(r.actor, "in/a/b/file", "rw")
	r.k.filter.Lock()
	err := r.k.changeBounds(func() error {
		var v kernelMemory
		must(r.t, r.k.maps[kernelMapBoundMemory].Lookup(uint32(0), &v))
		r.want(r.actor, "in/a/b/file", "rw")
		r.behind(r.id("in"), Bound{Flags: BoundProtected})
		r.want(r.actor, "in/a/b/file", "r")
		if v.Epoch&1 == 0 {
			return fmt.Errorf("epoch %d is one in which things are remembered", v.Epoch)
		}
		return nil
	})
	r.k.filter.Unlock()
	must(r.t, err)
	r.put()
	r.want(r.actor, "in/a/b/file", "rw")
	must(r.t, r.k.Close())
	r.k = open(r.t, r.k.options.PinDir)
	if !r.k.TookOver() {
		r.t.Fatal("it took over nothing")
	}
	r.want(r.actor, "in/a/b/file", "rw")
	delete(r.own.Files, r.id("in"))
	r.put()
	r.want(r.actor, "in/a/b/file", "r")
}
