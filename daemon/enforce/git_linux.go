// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// Git has more than one directory with a configuration that it obeys: each submodule
// has one, and so may each work tree.

const (
	ofModules = ".git/modules/*/"
	ofTrees   = ".git/worktrees/*/"
)

// maxGitFile bounds what is read of a file that names a directory, in bytes.
const maxGitFile = 8192

// git adds what is protected in the git directory of a project: what rules say of
// .git itself, of submodules at any depth, and of other work trees.
func (r *resolver) git(dir, project string, rules []policy.PathRule) {
	modules, all := gitModules(dir)
	trees := gitTrees(dir, project, r.trees)
	for _, tree := range trees { // its submodules are its own
		more, whole := gitModules(tree)
		modules, all = append(modules, more...), all && whole
	}
	for _, rule := range rules {
		if !rule.Relative() || !strings.HasPrefix(rule.Text, ".git/") {
			continue
		}
		in := []string{dir}
		name := strings.TrimPrefix(rule.Text, ".git/")
		if of, ok := strings.CutPrefix(rule.Text, ofModules); ok {
			in, name = modules, of
		} else if of, ok := strings.CutPrefix(rule.Text, ofTrees); ok {
			in, name = trees, of
		}
		for _, d := range in {
			r.find(filepath.Join(literally(d), name), boundOf(rule))
		}
	}
	if !all {
		for _, d := range append(trees, dir) {
			r.find(filepath.Join(literally(d), "modules"), ebpf.Bound{Flags: ebpf.BoundProtected})
		}
	}
}

// maxModuleEntries bounds how many files are looked at to find submodules.
const maxModuleEntries = 20_000

// gitModules lists the git directories of submodules, whose names may have slashes and
// which may have submodules. It returns false if there is too much to look at.
func gitModules(dir string) (found []string, all bool) {
	seen := 0
	err := filepath.WalkDir(filepath.Join(dir, "modules"), func(p string, d fs.DirEntry, err error) error {
		if seen++; seen > maxModuleEntries {
			return fs.SkipAll
		}
		if err != nil || !d.IsDir() {
			return nil //nolint:nilerr // what cannot be read, git cannot obey
		}
		// Of the two, a session cannot remove the first.
		_, config := os.Lstat(filepath.Join(p, "config"))
		_, head := os.Lstat(filepath.Join(p, "HEAD"))
		if config == nil || head == nil {
			found = append(found, p)
			more, whole := gitModules(p)
			if found = append(found, more...); !whole {
				seen = maxModuleEntries + 1
				return fs.SkipAll
			}
			return fs.SkipDir
		}
		return nil
	})
	return found, err == nil && seen <= maxModuleEntries
}

// gitTrees lists the git directories of work trees of which others make use: all but
// those whose files are, and have always been, below the project: these are the
// session's to make and remove.
func gitTrees(dir, project string, known *knownTrees) []string {
	var found []string
	inside := func(tree string) bool { return tree != project && below(tree, project) }
	entries, _ := filepath.Glob(filepath.Join(literally(dir), "worktrees", "*")) // only a bad pattern errs
	for _, own := range entries {
		tree, there := placeOfTree(own)
		now := ""
		if there {
			now = tree
		}
		been, ok := known.note(own, now)
		// What has been nowhere else, and is gone, can be pruned.
		if ok && (inside(tree) || tree != "" && tree != project && !there) && !slices.ContainsFunc(been, func(t string) bool { return !inside(t) }) {
			continue
		}
		found = append(found, own)
	}
	known.save()
	return found
}

// placeOfTree is where the git directory of a work tree says that its files are, and
// whether there is anything; empty if it says nothing.
func placeOfTree(own string) (tree string, there bool) {
	text := strings.TrimSpace(readSmall(filepath.Join(own, "gitdir"), maxGitFile))
	if text == "" {
		return "", false
	}
	if !filepath.IsAbs(text) { // worktree.useRelativePaths
		text = filepath.Join(own, text)
	}
	tree = filepath.Dir(text)
	real, err := filepath.EvalSymlinks(tree)
	if err != nil {
		return tree, false
	}
	return real, true
}
