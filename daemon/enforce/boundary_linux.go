// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"bufio"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// Policy speaks of paths, the kernel side of inodes and of names in directories.
// What is translated here holds for a file however it is reached; a name holds also
// for what is put into its place later.

// boundary is a policy's boundary, translated.
type boundary struct {
	policy policy.Boundary
	bounds ebpf.Bounds
	homes  []string
	// scanned are the paths that patterns with ** matched.
	scanned map[string][]string
	// kept are open files of file systems whose inodes have numbers only as long as
	// somebody uses them (overlays).
	kept []*os.File
	// skipped are paths the daemon could not look at.
	skipped []error
}

func (b *boundary) close() {
	for _, f := range b.kept {
		f.Close()
	}
}

var kernelModes = map[policy.SandboxMode]ebpf.BoundaryMode{
	policy.NoBoundary: ebpf.BoundaryNone, policy.ReadOnly: ebpf.BoundaryReadOnly,
	policy.WorkspaceWrite: ebpf.BoundaryWorkspace, policy.FullAccess: ebpf.BoundaryFull,
}

var kernelKinds = map[policy.PathKind]ebpf.BoundFlags{
	policy.Writable: ebpf.BoundWrite, policy.Protected: ebpf.BoundProtected,
	policy.Unreadable: ebpf.BoundUnreadable, policy.Broker: ebpf.BoundBroker,
}

// newBoundary translates. own are Paddock's own files and directories, and what
// manages agents: protected in every mode. What patterns with ** match is taken from
// scanned, as far as it is there.
func newBoundary(k *ebpf.Kernel, b policy.Boundary, own []string, scanned map[string][]string) (*boundary, error) {
	out := &boundary{policy: b, homes: homes(), scanned: map[string][]string{}}
	if b.Mode == policy.NoBoundary {
		return out, nil
	}
	r := &resolver{kernel: k, before: scanned, scanned: out.scanned}
	for _, rule := range b.Rules() {
		if rule.Relative() {
			continue // the sessions' own
		}
		for _, p := range inHomes(rule.Text, out.homes) {
			r.add(p, boundOf(rule))
		}
	}
	for _, p := range own {
		r.add(p, ebpf.Bound{Flags: ebpf.BoundProtected | ebpf.BoundOurs})
	}
	var err error
	out.bounds, out.kept, err = r.resolve()
	out.skipped = r.skipped
	return out, err
}

// boundOf is what a rule means to the kernel.
func boundOf(rule policy.PathRule) ebpf.Bound {
	b := ebpf.Bound{Flags: kernelKinds[rule.Kind]}
	switch rule.Agent {
	case "":
	case policy.AnyAgent:
		b.Flags |= ebpf.BoundAgent
	default:
		b.Flags |= ebpf.BoundAgent
		b.Agent = agentNumber(rule.Agent)
	}
	return b
}

// agentNumber is an agent's name as a number that is not 0.
func agentNumber(name string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return h.Sum32() | 1
}

// homes lists the home directories of this machine: of the accounts it has itself,
// and what lies in /home, since directory services do not tell all their users.
func homes() []string {
	var out []string
	if f, err := os.Open("/etc/passwd"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			fields := strings.Split(lines.Text(), ":")
			if len(fields) < 7 {
				continue
			}
			uid, err := strconv.Atoi(fields[2])
			if err == nil && (uid == 0 || uid >= 1000) && uid != 65534 && fields[5] != "/" {
				out = append(out, filepath.Clean(fields[5]))
			}
		}
	}
	found, _ := filepath.Glob("/home/*") // only a bad pattern errs
	out = append(out, found...)
	out = slices.DeleteFunc(out, func(dir string) bool {
		info, err := os.Stat(dir)
		return err != nil || !info.IsDir()
	})
	slices.Sort(out)
	return slices.Compact(out)
}

func inHomes(pattern string, homes []string) []string {
	rest, ok := strings.CutPrefix(pattern, "~/")
	if !ok {
		return []string{pattern}
	}
	var out []string
	for _, h := range homes {
		out = append(out, filepath.Join(h, rest))
	}
	return out
}

// refreshEvery is how often the paths of a boundary are looked up anew: services
// come, and directories are made where there were none.
const refreshEvery = 10 * time.Second

// refreshBoundary puts what its paths lead to now into force, if that is anything
// else. With scan, also what patterns with ** match.
func (e *Enforcer) refreshBoundary(scan bool) error {
	e.apply.Lock()
	defer e.apply.Unlock()
	g := e.now.Load()
	if g == nil || g.boundary.policy.Mode == policy.NoBoundary {
		return nil
	}
	scanned := g.boundary.scanned
	if scan {
		scanned = nil
	}
	b, err := newBoundary(e.Kernel, g.boundary.policy, e.own(), scanned)
	if err != nil {
		return fmt.Errorf("looking up the boundary anew: %w", err)
	}
	if maps.Equal(b.bounds.Files, g.boundary.bounds.Files) && maps.Equal(b.bounds.Names, g.boundary.bounds.Names) {
		b.close()
		return nil
	}
	next := *g
	next.boundary = b
	if err := e.putInForce(&next); err != nil {
		b.close()
		return fmt.Errorf("looking up the boundary anew: %w", err)
	}
	g.boundary.close()
	return nil
}

// own lists what is protected in every mode.
func (e *Enforcer) own() []string { return append(slices.Clone(e.Own), e.PinDir) }

// resolver finds the inodes of paths, many at a time.
type resolver struct {
	kernel  *ebpf.Kernel
	files   []wanted
	names   []wanted
	before  map[string][]string // what scans have found
	scanned map[string][]string // what they find
	skipped []error             // what could not be looked at
}

// wanted is a path, or a name in the directory at a path, and what is to hold.
type wanted struct {
	path, name string
	bound      ebpf.Bound
	cut        bool // the name is that of a directory on the way to what is meant
}

// add looks for what a pattern leads to.
func (r *resolver) add(pattern string, bound ebpf.Bound) {
	if base, ok := strings.CutSuffix(pattern, "/**"); ok {
		pattern = base // all below it, which is what a rule about a directory says
	}
	if strings.Contains(pattern, "**") {
		found, ok := r.before[pattern]
		if !ok {
			found = scan(pattern)
		}
		if r.scanned != nil {
			r.scanned[pattern] = found
		}
		for _, p := range found {
			r.files = append(r.files, wanted{path: p, bound: bound})
		}
		return
	}
	dir, name := filepath.Dir(pattern), filepath.Base(pattern)
	dirs := []string{dir}
	if strings.ContainsAny(dir, "*?[") {
		dirs, _ = filepath.Glob(dir) // only a bad pattern errs
	}
	for _, d := range dirs {
		if strings.ContainsAny(name, "*?[") {
			found, _ := filepath.Glob(filepath.Join(d, name))
			for _, p := range found {
				r.files = append(r.files, wanted{path: p, bound: bound})
			}
			continue
		}
		r.exact(filepath.Join(d, name), bound)
	}
}

// exact notes one path: what is there now, and its name. Of one that is not there,
// the name of the first directory on the way that is not.
func (r *resolver) exact(path string, bound ebpf.Bound) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		r.files = append(r.files, wanted{path: real, bound: bound})
	}
	dir, name, cut := filepath.Dir(path), filepath.Base(path), false
	for dir != "/" {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			break
		}
		dir, name, cut = filepath.Dir(dir), filepath.Base(dir), true
	}
	if _, err := os.Lstat(path); err == nil && bound.Flags&ebpf.BoundWrite != 0 {
		return // the place itself is enough, and it may not be exchanged
	}
	if name == "/" || len(name) > ebpf.MaxBoundName {
		return
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	r.names = append(r.names, wanted{path: dir, name: name, bound: bound, cut: cut})
	if bound.Flags&(ebpf.BoundProtected|ebpf.BoundUnreadable) == 0 {
		return
	}
	// Whoever could put another directory into the way would have another file there.
	for ; dir != "/"; dir = filepath.Dir(dir) {
		r.files = append(r.files, wanted{path: dir, bound: ebpf.Bound{Flags: ebpf.BoundPinned | bound.Flags&ebpf.BoundOurs}})
	}
}

// across adds what is mounted below a path: the way up from a file ends at the root
// of its file system.
func (r *resolver) across(all []mounted) {
	for _, w := range r.files {
		if w.bound.Flags&(ebpf.BoundWrite|ebpf.BoundProtected|ebpf.BoundUnreadable|ebpf.BoundBroker) == 0 {
			continue
		}
		for _, m := range all {
			if m.point != w.path && below(m.point, w.path) {
				r.files = append(r.files, wanted{path: m.point, bound: w.bound})
			}
		}
	}
}

// resolve asks the kernel for the inodes.
func (r *resolver) resolve() (ebpf.Bounds, []*os.File, error) {
	var out ebpf.Bounds
	var kept []*os.File
	all, err := mounts()
	if err != nil {
		return out, nil, err
	}
	r.across(all)
	paths := map[string]ebpf.InodeID{}
	for _, w := range slices.Concat(r.files, r.names) {
		paths[w.path] = ebpf.InodeID{}
	}
	for chunk := range slices.Chunk(slices.Collect(maps.Keys(paths)), batch) {
		files, err := r.identify(chunk, paths)
		kept = append(kept, files...)
		if err != nil {
			for _, f := range kept {
				f.Close()
			}
			return out, nil, err
		}
	}
	for _, w := range r.files {
		if id := paths[w.path]; id != (ebpf.InodeID{}) {
			out.Add(id, w.bound)
		}
	}
	// Where a directory is missing on the way to a writable place and on the way to a
	// protected one, it may be made: then both are there, and known.
	writable := map[ebpf.BoundName]bool{}
	for _, w := range r.names {
		if w.bound.Flags&ebpf.BoundWrite != 0 {
			writable[ebpf.BoundName{Dir: paths[w.path], Name: w.name}] = true
		}
	}
	for _, w := range r.names {
		n := ebpf.BoundName{Dir: paths[w.path], Name: w.name}
		if n.Dir == (ebpf.InodeID{}) || w.cut && writable[n] && w.bound.Flags&ebpf.BoundProtected != 0 {
			continue
		}
		out.AddName(n, w.bound)
	}
	return out, kept, nil
}

// identify fills in the inodes of some paths; it returns what must stay open.
func (r *resolver) identify(some []string, paths map[string]ebpf.InodeID) (kept []*os.File, err error) {
	var files []*os.File
	defer func() {
		for _, f := range files {
			if f != nil {
				f.Close()
			}
		}
	}()
	for _, p := range some {
		f, err := os.OpenFile(p, unix.O_PATH|unix.O_NOFOLLOW, 0)
		if err != nil {
			// Gone meanwhile; or a file system that lets nobody in but its owner, or is
			// dead: the name in its directory is bound all the same.
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
				r.skipped = append(r.skipped, err)
			}
			continue
		}
		files = append(files, f)
	}
	ids, err := r.kernel.Identify()
	if err != nil {
		return nil, err
	}
	for i, f := range files {
		id, ok := ids[int(f.Fd())]
		if !ok {
			return kept, fmt.Errorf("the kernel does not know %s, which is open", f.Name())
		}
		paths[f.Name()] = id.Inode()
		var st unix.Statfs_t
		if unix.Fstatfs(int(f.Fd()), &st) == nil && st.Type == unix.OVERLAYFS_SUPER_MAGIC {
			kept = append(kept, f)
			files[i] = nil
		}
	}
	return kept, nil
}

// Bounds of a scan for a pattern with **: deeper, or beyond so many entries,
// nothing is looked for.
const (
	maxScanned   = 200_000
	maxScanDepth = 40
)

// scan finds what a pattern with ** matches now.
func scan(pattern string) []string {
	parts := strings.Split(pattern, "/")
	base := "/"
	for _, p := range parts[1:] {
		if strings.ContainsAny(p, "*?[") {
			break
		}
		base = filepath.Join(base, p)
	}
	var out []string
	seen := 0
	_ = filepath.WalkDir(base, func(p string, d fs.DirEntry, err error) error {
		if seen++; seen > maxScanned {
			return fs.SkipAll
		}
		if err != nil {
			return nil //nolint:nilerr // what cannot be read holds nothing a session could read
		}
		if matchParts(parts, strings.Split(p, "/")) {
			out = append(out, p)
			if d.IsDir() {
				return fs.SkipDir
			}
		}
		if d.IsDir() && strings.Count(p, "/") > maxScanDepth || p == "/proc" || p == "/sys" {
			return fs.SkipDir
		}
		return nil
	})
	return out
}

// matchParts matches a path with a pattern, both in parts: ** is any number of
// them.
func matchParts(pattern, parts []string) bool {
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			for i := 0; i <= len(parts); i++ {
				if matchParts(pattern[1:], parts[i:]) {
					return true
				}
			}
			return false
		}
		if len(parts) == 0 {
			return false
		}
		if ok, err := filepath.Match(pattern[0], parts[0]); err != nil || !ok {
			return false
		}
		pattern, parts = pattern[1:], parts[1:]
	}
	return len(parts) == 0
}
