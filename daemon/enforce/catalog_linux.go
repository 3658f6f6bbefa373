// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// Directories are where the programs that rules name are looked for: the usual
// search path, and what package managers add to it.
func Directories(root string) []string {
	dirs := []string{
		"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin",
		"/usr/games", "/usr/local/games", "/snap/bin", "/home/linuxbrew/.linuxbrew/bin",
	}
	for i := range dirs {
		dirs[i] = filepath.Join(root, dirs[i])
	}
	for _, pattern := range []string{"/opt/*/bin", "/home/*/.local/bin", "/root/.local/bin"} {
		found, _ := filepath.Glob(filepath.Join(root, pattern)) // only a bad pattern errs
		dirs = append(dirs, found...)
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
	deny      map[ebpf.InodeID]uint32 // forbidden whatever the arguments; what EPERM is for
	verdicts  map[ebpf.InodeID]denial // why
	spared    map[ebpf.InodeID]bool   // not forbidden at one of their paths, unless a rule names them
	exact     map[string]bool         // basenames of rules that name a whole path
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

// newCatalog looks for every program the rules name. Of files that cannot be
// read it knows the inode only.
func newCatalog(k *ebpf.Kernel, rules *policy.Rules, dirs []string, old *catalog) (*catalog, error) {
	c := &catalog{
		byInode: map[ebpf.InodeID][]string{}, byContent: map[digest][]string{}, sizes: map[uint64]bool{},
		deny: map[ebpf.InodeID]uint32{}, verdicts: map[ebpf.InodeID]denial{}, spared: map[ebpf.InodeID]bool{}, exact: map[string]bool{},
		hashes: map[ebpf.FileID]digest{},
	}
	wanted := map[string]bool{}
	var paths []string
	for _, name := range rules.ProgramNames() {
		if strings.HasPrefix(name, "/") {
			paths = append(paths, name)
			c.exact[filepath.Base(name)] = true
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
	paths = slices.Compact(paths)
	for len(paths) > 0 {
		n := min(batch, len(paths))
		if err := c.add(k, rules, paths[:n], old); err != nil {
			return nil, err
		}
		paths = paths[n:]
	}
	return c, nil
}

func (c *catalog) add(k *ebpf.Kernel, rules *policy.Rules, paths []string, old *catalog) error {
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
		if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
			f.Close()
			continue
		}
		files = append(files, named{filepath.Base(path), f})
	}
	if len(files) == 0 {
		return nil
	}
	ids, err := k.Identify()
	if err != nil {
		return err
	}
	for _, f := range files {
		id, ok := ids[int(f.file.Fd())]
		if !ok {
			return fmt.Errorf("the kernel does not know %s, which is open", f.file.Name())
		}
		c.learn(rules, f, id, old)
	}
	return nil
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
		var err error
		if sum, err = hash(f.file); err != nil {
			return
		}
	}
	c.hashes[id] = sum
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
	d, v, whatever := rules.Program([]string{f.name, f.file.Name()})
	if !whatever || d == policy.Allow && v.Matched {
		// Its other paths are no reason to refuse the file: at this one it may run.
		c.spared[inode] = true
		if was, ok := c.verdicts[inode]; ok && !was.verdict.Matched {
			delete(c.deny, inode)
			delete(c.verdicts, inode)
		}
		return
	}
	if d != policy.Allow && (v.Matched || !c.spared[inode]) {
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
