// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// project is the directory a session works in.
type project struct {
	dir string // empty: it has none
	// shared is the git directory of the repository whose work tree dir is, if that
	// lies elsewhere.
	shared string
	// view is the container the session is in, if any, and seen what dir is called there.
	view *view
	seen string
}

// named is what the session calls its project.
func (p project) named() string {
	if p.view != nil {
		return p.seen
	}
	return p.dir
}

// findProject says which directory is a session's, by where it began. Nothing the
// agent says counts; a directory counts only if it belongs to the session's user and
// requirements let it be one.
func findProject(b policy.Boundary, v *view, cwd string, uid uint32) project {
	home := v.home(uid)
	at := v.at(cwd)
	real, err := filepath.EvalSymlinks(at)
	if err != nil || real != at || !ownedBy(at, uid) {
		return project{view: v}
	}
	may := func(dir string) bool {
		return b.MayBeProject(dir, home) && (v == nil || v.opens(b, v.at(dir), uid) || b.MayBeProject(v.at(dir), homeOf(uid)))
	}
	found := func(dir string) project {
		p := project{dir: v.at(dir), view: v}
		if v != nil {
			p.seen = dir
		}
		return p
	}
	if b.Project == policy.Repository {
		for dir := cwd; ; dir = filepath.Dir(dir) {
			if !may(dir) || !ownedBy(v.at(dir), uid) || dir == home && cwd != home {
				break
			}
			info, err := os.Lstat(v.at(filepath.Join(dir, ".git")))
			if err != nil {
				continue
			}
			p := found(dir)
			if info.Mode().IsRegular() {
				p.shared = sharedGit(v, dir, uid)
			}
			return p
		}
	}
	if may(cwd) {
		return found(cwd)
	}
	return project{view: v}
}

// HomeOf is a user's home directory as this machine knows it; empty if it does not.
func HomeOf(uid uint32) string { return homeOf(uid) }

// homeOf is a user's home directory as this machine knows it; what the process has
// in its environment proves nothing.
func homeOf(uid uint32) string {
	u, err := user.LookupId(fmt.Sprint(uid))
	if err != nil {
		return ""
	}
	return filepath.Clean(u.HomeDir)
}

func ownedBy(path string, uid uint32) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil && st.Uid == uid
}

// sharedGit returns the git directory a work tree belongs to. A file in the work
// tree names it, which an agent could have written: it counts only if the directory
// names the work tree as well.
func sharedGit(v *view, dir string, uid uint32) string {
	read := func(path string) string { return strings.TrimSpace(readSmall(v.at(path), maxGitFile)) }
	own, ok := strings.CutPrefix(read(filepath.Join(dir, ".git")), "gitdir: ")
	if !ok || !filepath.IsAbs(own) || !ownedBy(v.at(own), uid) || read(filepath.Join(own, "gitdir")) != filepath.Join(dir, ".git") {
		return ""
	}
	common := read(filepath.Join(own, "commondir"))
	if common == "" {
		return ""
	}
	if !filepath.IsAbs(common) {
		common = filepath.Join(own, common)
	}
	real, err := filepath.EvalSymlinks(v.at(common))
	if err != nil || filepath.Dir(filepath.Dir(v.at(own))) != real || !ownedBy(real, uid) {
		return ""
	}
	return real
}

// bind holds a session to the boundary in force. It is called before anything of
// the session that needs an answer runs, and again when requirements change.
func (e *Enforcer) bind(key uint64, s *session.Session) error {
	g := e.now.Load()
	if g == nil || g.boundary.policy.Mode == policy.NoBoundary {
		return nil
	}
	p := e.projectOf(key, g.boundary.policy, s)
	r := e.ofSession(g.boundary.policy, p, s.UID)
	bounds, kept, err := r.resolve()
	if err != nil { // then it has no project, but it has a boundary
		err = fmt.Errorf("looking for the project of session %s: %w", s.ID, err)
		bounds = ebpf.Bounds{}
	}
	e.keepFor(key, kept)
	// Full: it is the policy's mode that limits all.
	if err := errors.Join(err, e.Kernel.SetBoundary(key, ebpf.BoundaryFull, agentNumber(s.Agent), &bounds)); err != nil {
		return err
	}
	e.Log.Info("the session has a boundary", "session", s.ID, "mode", g.boundary.policy.Mode.String(), "project", p.dir)
	return nil
}

// ofSession says what is a session's own in the boundary.
func (e *Enforcer) ofSession(b policy.Boundary, p project, uid uint32) *resolver {
	r := &resolver{kernel: e.Kernel, lookups: &e.lookups, trees: e.trees}
	if p.view != nil {
		r.places(b, p.view, uid)
	}
	if p.dir != "" {
		r.aside(p.dir, func(r *resolver) { r.own(p.dir, b.Rules()) })
	}
	if p.shared != "" {
		r.aside(p.shared, func(r *resolver) {
			r.files = append(r.files, wanted{path: p.shared, bound: ebpf.Bound{Flags: ebpf.BoundWrite}})
			r.git(p.shared, p.dir, b.Rules())
		})
		r.exact(filepath.Join(p.dir, ".git"), ebpf.Bound{Flags: ebpf.BoundProtected})
	}
	return r
}

// own adds a project's directory, and what is protected in each.
func (r *resolver) own(dir string, rules []policy.PathRule) {
	r.files = append(r.files, wanted{path: dir, bound: ebpf.Bound{Flags: ebpf.BoundWrite}})
	git := filepath.Join(dir, ".git")
	info, err := os.Lstat(git)
	repository := err == nil && info.IsDir()
	if repository {
		r.git(git, dir, rules)
	}
	for _, rule := range rules {
		if !rule.Relative() || repository && strings.HasPrefix(rule.Text, ".git/") {
			continue
		}
		path := filepath.Join(dir, rule.Text)
		if _, one := onlyPath(filepath.Dir(rule.Text)); one && rule.Line == 0 {
			// Built in: where the directory it is in is missing, it may be made.
			if _, err := os.Lstat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
				continue
			}
		}
		r.add(filepath.Join(literally(dir), rule.Text), boundOf(rule))
	}
}

// projectOf finds a session's project once: later the agent has had its hands in it.
func (e *Enforcer) projectOf(key uint64, b policy.Boundary, s *session.Session) project {
	e.projects.Lock()
	defer e.projects.Unlock()
	if p, ok := e.projects.of[key]; ok && (p.dir == "" || b.MayBeProject(p.named(), p.view.home(s.UID))) {
		return p
	}
	// Where it began may hang: then it has none, and not for the time until it answers.
	p, err := look(&e.lookups, s.Root.Cwd, func() (project, error) {
		v := viewOf(s.Root.PID)
		if !sameDirectory(s, v) {
			return project{view: v}, nil
		}
		return findProject(b, v, s.Root.Cwd, s.UID), nil
	})
	if err != nil {
		e.Log.Warn("a session has no project, for the directory where it began hangs", "session", s.ID, "error", err)
	}
	e.projects.of[key] = p
	return p
}

// sameDirectory says whether the path at which a session began leads to where its
// first process is: in a mount namespace of its own it may be anywhere. Of a process
// that is gone there is only the path.
func sameDirectory(s *session.Session, v *view) bool {
	var here, there unix.Stat_t
	if err := unix.Stat(v.at(s.Root.Cwd), &here); err != nil {
		return false
	}
	if err := unix.Stat(procPath(s.Root.PID, "cwd"), &there); err != nil {
		return true
	}
	if there.Dev == here.Dev && there.Ino == here.Ino {
		return true
	}
	// It has gone elsewhere since: then its root and ours must be the same.
	return readLink(s.Root.PID, "ns/mnt") == readLink(os.Getpid(), "ns/mnt")
}

func (e *Enforcer) keepFor(key uint64, files []*os.File) {
	e.projects.Lock()
	defer e.projects.Unlock()
	for _, f := range e.projects.kept[key] {
		f.Close()
	}
	delete(e.projects.kept, key)
	if len(files) > 0 {
		e.projects.kept[key] = files
	}
}

// unbind forgets what was an ended session's own.
func (e *Enforcer) unbind(key uint64) {
	e.keepFor(key, nil)
	e.projects.Lock()
	delete(e.projects.of, key)
	e.projects.Unlock()
	if err := e.Kernel.EndBoundary(key); err != nil {
		e.Log.Error("forgetting the boundary of a session", "key", key, "error", err)
	}
}

// bindAll holds every live session to a policy that is new in force.
func (e *Enforcer) bindAll() error {
	var errs []error
	for _, s := range e.Sessions.List() {
		if s.Live() {
			errs = append(errs, e.bind(s.Key, &s))
		}
	}
	return errors.Join(errs...)
}
