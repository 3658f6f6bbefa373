// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// Directories are where the programs that rules name are looked for: the usual
// search path, and what package managers add to it.
func Directories(root string) []string {
	dirs := systemDirectories(root)
	for _, pattern := range []string{"/opt/*/bin", "/home/*/.local/bin", "/root/.local/bin"} {
		found, _ := filepath.Glob(filepath.Join(root, pattern)) // only a bad pattern errs
		dirs = append(dirs, found...)
	}
	return dirs
}

// systemDirectories are those that no user has a hand in.
func systemDirectories(root string) []string {
	dirs := []string{
		"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin",
		"/usr/games", "/usr/local/games", "/snap/bin", "/home/linuxbrew/.linuxbrew/bin",
	}
	for i := range dirs {
		dirs[i] = filepath.Join(root, dirs[i])
	}
	return dirs
}

type digest = [sha256.Size]byte

// catalog knows the programs that rules name, by what they are and not by what
// they are called: a copy, a link or a new name changes nothing.
type catalog struct {
	byInode   map[ebpf.InodeID][]string
	byContent map[digest][]string
	sizes     map[uint64]bool         // of the files in byContent: others need no hashing
	deny      map[ebpf.InodeID]uint32 // forbidden by a rule whatever the arguments; what EPERM is for
	verdicts  map[ebpf.InodeID]denial // why
	exact     map[string]bool         // basenames of rules that name a whole path
	scripts   bool                    // some of the programs are scripts
	shown     string                  // what was found where, to see whether it changed
	budget    int64                   // bytes that may still be read of files that are not root's
	hashes    map[ebpf.FileID]digest  // kept over reloads
}

type denial struct {
	name    string
	verdict policy.Verdict
}

type named struct {
	name string
	file *os.File
}

// loaders are where the dynamic loader is, which can be copied like any program
// and then runs others under the copy's name.
var loaders = []string{"/lib*/ld-*.so*", "/lib*/ld.so*", "/lib/*/ld-*.so*", "/usr/lib/*/ld-*.so*"}

// batch bounds the files open at once.
const batch = 512

// about implements knowledge.
func (g *generation) about(names []string) bool {
	_, v, whatever := g.rules.Program(names)
	return v.Matched || !whatever
}

func (g *generation) scripts() bool { return g.catalog.scripts }

// newCatalog looks for every program the rules name. Of files that cannot be
// read it knows the inode only.
func newCatalog(ctx context.Context, k *ebpf.Kernel, rules *policy.Rules, dirs []string, old *catalog) (*catalog, error) {
	c := &catalog{
		byInode: map[ebpf.InodeID][]string{}, byContent: map[digest][]string{}, sizes: map[uint64]bool{},
		deny: map[ebpf.InodeID]uint32{}, verdicts: map[ebpf.InodeID]denial{}, exact: map[string]bool{},
		hashes: map[ebpf.FileID]digest{}, budget: maxForeign,
	}
	paths := programPaths(rules, dirs)
	for _, name := range rules.ProgramNames() {
		if strings.HasPrefix(name, "/") {
			c.exact[filepath.Base(name)] = true
		}
	}
	c.shown = fingerprint(paths)
	interpreters, err := c.addAll(ctx, k, rules, paths, dirs, old)
	if err == nil {
		_, err = c.addAll(ctx, k, rules, interpreters, dirs, old)
	}
	return c, err
}

// programPaths lists where the programs that rules name may be, sorted.
func programPaths(rules *policy.Rules, dirs []string) []string {
	wanted := map[string]bool{}
	var paths []string
	for _, name := range rules.ProgramNames() {
		if strings.HasPrefix(name, "/") {
			paths = append(paths, name)
			name = filepath.Base(name)
		}
		wanted[name] = true
	}
	for _, pattern := range loaders {
		found, _ := filepath.Glob(pattern) // only a bad pattern errs
		paths = append(paths, found...)
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // not every machine has every directory
		}
		for _, e := range entries {
			// A copy of a multi-call binary, too, is known for what it is.
			if wanted[e.Name()] || multicall(e.Name()) {
				paths = append(paths, filepath.Join(dir, e.Name()))
			}
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// fingerprint differs when one of the files is another one, or has changed.
func fingerprint(paths []string) string {
	h := sha256.New()
	for _, path := range paths {
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil {
			continue
		}
		fmt.Fprintf(h, "%q %d %d %d %d %v %v\n", path, st.Dev, st.Ino, st.Mode, st.Size, st.Mtim, st.Ctim)
	}
	return string(h.Sum(nil))
}

// addAll learns the files at paths, and returns where the interpreters are of those
// that are scripts.
func (c *catalog) addAll(ctx context.Context, k *ebpf.Kernel, rules *policy.Rules, paths, dirs []string, old *catalog) ([]string, error) {
	var interpreters []string
	for len(paths) > 0 {
		n := min(batch, len(paths))
		more, err := c.add(ctx, k, rules, paths[:n], dirs, old)
		if err != nil {
			return nil, err
		}
		interpreters = append(interpreters, more...)
		paths = paths[n:]
	}
	slices.Sort(interpreters)
	return slices.Compact(interpreters), nil
}

func (c *catalog) add(ctx context.Context, k *ebpf.Kernel, rules *policy.Rules, paths, dirs []string, old *catalog) (interpreters []string, err error) {
	var files []named
	defer func() {
		for _, f := range files {
			f.file.Close()
		}
	}()
	for _, path := range paths {
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			continue // a dangling link
		}
		if !ordinary(f) {
			f.Close()
			continue
		}
		files = append(files, named{filepath.Base(path), f})
	}
	if len(files) == 0 {
		return nil, nil
	}
	ids, err := k.Identify()
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil { // who stops does not wait for what is left to be read
			return nil, err
		}
		id, ok := ids[int(f.file.Fd())]
		if !ok {
			return nil, fmt.Errorf("the kernel does not know %s, which is open", f.file.Name())
		}
		c.learn(rules, f, id, old)
		// Whose script it is says where its interpreter is: only root is asked.
		if head := make([]byte, 256); rootOwned(f.file) && isScript(f.file, &head) {
			c.scripts = true
			interpreters = append(interpreters, interpretersOf(head, dirs)...)
		}
	}
	return interpreters, nil
}

// maxForeign is how much of files that are not root's is read for one catalog, in
// bytes. What is beyond it is known by name and inode only.
const maxForeign = 1 << 30

// pseudo are file systems of which a file may be regular, and never end or never be
// read: a link in a home directory may lead there.
var pseudo = map[int64]bool{
	unix.PROC_SUPER_MAGIC: true, unix.SYSFS_MAGIC: true, unix.DEBUGFS_MAGIC: true, unix.TRACEFS_MAGIC: true,
	unix.SECURITYFS_MAGIC: true, unix.CGROUP_SUPER_MAGIC: true, unix.CGROUP2_SUPER_MAGIC: true, unix.BPF_FS_MAGIC: true,
	unix.PSTOREFS_MAGIC: true, unix.EFIVARFS_MAGIC: true, unix.DEVPTS_SUPER_MAGIC: true, unix.SELINUX_MAGIC: true,
	unix.BINFMTFS_MAGIC: true, unix.AUTOFS_SUPER_MAGIC: true, unix.NSFS_MAGIC: true, unix.SMACK_MAGIC: true,
}

// ordinary says whether a file can be a program and be read to its end.
func ordinary(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	var fs unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &fs) == nil && !pseudo[int64(fs.Type)] //nolint:unconvert // on some platforms it has 32 bits
}

func rootOwned(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Uid == 0
}

// isScript says whether a file begins as a script does, and leaves its first bytes.
func isScript(f *os.File, head *[]byte) bool {
	n, _ := f.ReadAt(*head, 0) // a shorter file is read to its end
	*head = (*head)[:n]
	return bytes.HasPrefix(*head, []byte("#!"))
}

func (c *catalog) learn(rules *policy.Rules, f named, id ebpf.FileID, old *catalog) {
	inode := id.Inode()
	names := []string{f.name}
	target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.file.Fd()))
	many := err != nil || multicall(filepath.Base(target))
	if err == nil && many {
		names = addName(names, filepath.Base(target))
	}
	for _, name := range names {
		c.byInode[inode] = addName(c.byInode[inode], name)
	}
	sum, known := digest{}, false
	if old != nil {
		sum, known = old.hashes[id]
	}
	if !known {
		if !rootOwned(f.file) {
			// In a home directory there may be as many files, and as large ones, as
			// somebody likes who wants a change of policy to take for ever.
			if c.budget -= int64(id.Size); c.budget < 0 {
				return
			}
		}
		var err error
		if sum, err = hash(f.file); err != nil {
			return
		}
	}
	if known || time.Since(time.Unix(id.CtimeSec, int64(id.CtimeNsec))) > settled {
		c.hashes[id] = sum
	}
	c.sizes[id.Size] = true
	for _, name := range names {
		c.byContent[sum] = addName(c.byContent[sum], name)
	}

	// A multi-call binary is many programs in one file: none of them may take
	// the others with it. The hold tells them apart.
	if many {
		return
	}
	// By its path as well: a rule may allow the file there and no other of its name.
	// What is forbidden because no rule matches it is held, and told: among it are the
	// loader and the interpreters that what is allowed runs with.
	if d, v, whatever := rules.Program([]string{f.name, f.file.Name()}); v.Matched && whatever && d == policy.Forbidden {
		c.deny[inode] = 1
		c.verdicts[inode] = denial{f.name, v}
	}
}

// names returns what else a file is known as. read gives its content when the
// inode alone does not tell.
func (c *catalog) names(id ebpf.FileID, read func() (digest, error)) ([]string, error) {
	names := c.byInode[id.Inode()]
	if !c.sizes[id.Size] {
		return names, nil
	}
	sum, err := read()
	if err != nil {
		return names, err
	}
	for _, n := range c.byContent[sum] {
		names = addName(names, n)
	}
	return names, nil
}

func hash(r io.Reader) (digest, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return digest{}, err
	}
	return digest(h.Sum(nil)), nil
}

func addName(names []string, name string) []string {
	if name == "" || slices.Contains(names, name) {
		return names
	}
	return append(slices.Clip(names), name)
}
