// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/ebpf"
)

// resolver finds the inodes of paths, many at a time.
type resolver struct {
	ctx     context.Context // nil: it is looked to the end
	kernel  *ebpf.Kernel
	lookups *lookups
	at      []string // homes
	files   []wanted
	names   []wanted
	before  map[string][]string // what scans have found
	scanned map[string][]string // what they find
	skipped []error             // what could not be looked at
	trees   *knownTrees         // nil: only what is now counts
}

// wanted is a path, or a name in the directory at a path, and what is to hold.
type wanted struct {
	path, name string
	bound      ebpf.Bound
	cut        bool // the name is that of a directory on the way to what is meant
}

// add looks for what a pattern leads to. In a place that hangs, that is nothing.
func (r *resolver) add(pattern string, bound ebpf.Bound) {
	if r.stopped() {
		return
	}
	r.aside(r.place(pattern), func(r *resolver) { r.find(pattern, bound) })
}

// stopped says whether nobody waits for the result any more.
func (r *resolver) stopped() bool { return r.ctx != nil && r.ctx.Err() != nil }

// aside looks at a place where it does not matter if that takes for ever.
func (r *resolver) aside(place string, f func(r *resolver)) {
	found, err := look(r.lookups, place, func() (*resolver, error) {
		aside := &resolver{kernel: r.kernel, lookups: r.lookups, before: r.before, scanned: map[string][]string{}, trees: r.trees}
		f(aside)
		return aside, nil
	})
	if err != nil {
		r.skipped = append(r.skipped, err)
		return
	}
	r.files, r.names = append(r.files, found.files...), append(r.names, found.names...)
	r.skipped = append(r.skipped, found.skipped...)
	if r.scanned != nil {
		maps.Copy(r.scanned, found.scanned)
	}
}

// place is the part of a path that answers, or hangs, as a whole: a home directory,
// or else what is named.
func (r *resolver) place(path string) string {
	for _, home := range r.at {
		if below(path, home) {
			return home
		}
	}
	return path
}

func (r *resolver) find(pattern string, bound ebpf.Bound) {
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
			r.file(p, bound)
		}
		return
	}
	dir, name := filepath.Dir(pattern), filepath.Base(pattern)
	dirs := []string{dir}
	if known, ok := onlyPath(dir); ok {
		dirs[0] = known
	} else {
		dirs, _ = filepath.Glob(dir) // only a bad pattern errs
	}
	for _, d := range dirs {
		if strings.ContainsAny(name, "*?[") {
			found, _ := filepath.Glob(filepath.Join(literally(d), name))
			for _, p := range found {
				r.file(p, bound)
			}
			continue
		}
		r.exact(filepath.Join(d, name), bound)
	}
}

// quotes are the characters that stand for others in a pattern, and how they stand for themselves.
var quotes = [][2]string{{"[", "[[]"}, {"*", "[*]"}, {"?", "[?]"}, {`\`, `[\\]`}}

var quoter = strings.NewReplacer(quotes[0][0], quotes[0][1], quotes[1][0], quotes[1][1], quotes[2][0], quotes[2][1], quotes[3][0], quotes[3][1])

// literally makes a pattern of a path that is there: what a directory is called does not say what else is meant.
func literally(path string) string { return quoter.Replace(path) }

// onlyPath is the one path that a pattern stands for, if it is one.
func onlyPath(pattern string) (string, bool) {
	var b strings.Builder
	for rest := pattern; rest != ""; {
		i := slices.IndexFunc(quotes, func(q [2]string) bool { return strings.HasPrefix(rest, q[1]) })
		switch {
		case i >= 0:
			b.WriteString(quotes[i][0])
			rest = rest[len(quotes[i][1]):]
		case strings.IndexByte("*?[", rest[0]) >= 0:
			return "", false
		default:
			b.WriteByte(rest[0])
			rest = rest[1:]
		}
	}
	return b.String(), true
}

// file notes what is at a path. A place to write to is not one behind a link, which
// an agent could have made.
func (r *resolver) file(path string, bound ebpf.Bound) {
	real, err := filepath.EvalSymlinks(path)
	if err == nil && (real == path || bound.Flags&ebpf.BoundWrite == 0) {
		r.files = append(r.files, wanted{path: real, bound: bound})
	}
}

// exact notes one path: what is there now, and its name. Of one that is not there,
// the name of the first directory on the way that is not.
func (r *resolver) exact(path string, bound ebpf.Bound) {
	r.file(path, bound)
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
	if cut && bound.Flags&ebpf.BoundWrite != 0 && strings.Contains(path, "/.config/") {
		return // a directory of configuration is not made on the way to a cache: all in it could be written until it is known
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil || real != dir && bound.Flags&ebpf.BoundWrite != 0 {
		return
	}
	dir = real
	r.names = append(r.names, wanted{path: dir, name: name, bound: bound, cut: cut})
	if bound.Flags&(ebpf.BoundProtected|ebpf.BoundUnreadable) == 0 {
		return
	}
	// Whoever could put another directory into the way would have another file there.
	for ; dir != "/"; dir = filepath.Dir(dir) {
		r.files = append(r.files, wanted{path: dir, bound: ebpf.Above(bound)})
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

// secretLayers adds what may not be read, and what is ours, as it is in the layers of an
// overlay: they have paths of their own.
func (r *resolver) secretLayers(all []mounted) {
	known := map[string][]string{} // many names are in the same few directories
	in := func(path string) []string {
		found, ok := known[path]
		if !ok {
			for _, layer := range inLayers(all, path) {
				real, err := look(r.lookups, layer, func() (string, error) { return filepath.EvalSymlinks(layer) })
				if err == nil {
					found = append(found, real)
				}
			}
			known[path] = found
		}
		return found
	}
	for _, list := range []*[]wanted{&r.files, &r.names} {
		for _, w := range *list {
			if w.bound.Flags&(ebpf.BoundUnreadable|ebpf.BoundOurs) == 0 {
				continue
			}
			for _, path := range in(w.path) {
				*list = append(*list, wanted{path: path, name: w.name, bound: w.bound, cut: w.cut})
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
	r.secretLayers(all)
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

// opened is a file that is open, so that the kernel can be asked about it.
type opened struct {
	*os.File
	overlay bool
}

func openPlace(p string) (*opened, error) {
	fd, err := unix.Openat2(unix.AT_FDCWD, p, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS, // no links were left: none may be made now
	})
	if err != nil {
		return nil, err
	}
	var st unix.Statfs_t
	overlay := unix.Fstatfs(fd, &st) == nil && st.Type == unix.OVERLAYFS_SUPER_MAGIC
	return &opened{os.NewFile(uintptr(fd), p), overlay}, nil
}

// identify fills in the inodes of some paths; it returns what must stay open.
func (r *resolver) identify(some []string, paths map[string]ebpf.InodeID) (kept []*os.File, err error) {
	var files []*os.File
	overlays := map[*os.File]bool{}
	defer func() {
		for _, f := range files {
			if f != nil {
				f.Close()
			}
		}
	}()
	for _, p := range some {
		if r.stopped() {
			return kept, r.ctx.Err()
		}
		f, err := look(r.lookups, r.place(p), func() (*opened, error) { return openPlace(p) })
		if err != nil {
			// Gone meanwhile; or a file system that lets nobody in but its owner, or is
			// dead: the name in its directory is bound all the same.
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
				r.skipped = append(r.skipped, fmt.Errorf("%s: %w", p, err))
			}
			continue
		}
		files = append(files, f.File)
		if f.overlay {
			overlays[f.File] = true
		}
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
		if overlays[f] {
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
