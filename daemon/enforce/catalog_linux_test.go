// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// The kernel refuses by inode what a rule forbids whatever its arguments, under any name
// of the file. What is forbidden because no rule matches it may be what something
// allowed runs with.
func TestCatalogDeniesNoAllowedPath(t *testing.T) {
	dir := t.TempDir()
	git, alias, link := filepath.Join(dir, "git"), filepath.Join(dir, "alias", "git"), filepath.Join(dir, "hg")
	if err := os.WriteFile(git, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(dir, "alias")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(git, link); err != nil {
		t.Fatal(err)
	}
	allowed := policy.PrefixRule{Pattern: [][]string{{git}}, Decision: policy.Allow}
	push := policy.PrefixRule{Pattern: [][]string{{git}, {"push"}}, Decision: policy.Allow}
	forbidden := policy.PrefixRule{Pattern: [][]string{{"hg"}}, Decision: policy.Forbidden}
	for _, c := range []struct {
		name   string
		rules  []policy.PrefixRule
		paths  []string
		denied bool
	}{
		{"allowed there", []policy.PrefixRule{allowed}, []string{git}, false},
		{"allowed there with some arguments", []policy.PrefixRule{push}, []string{git}, false},
		{"allowed elsewhere", []policy.PrefixRule{allowed}, []string{alias}, false},
		{"allowed at one of two", []policy.PrefixRule{allowed}, []string{git, alias}, false},
		{"some arguments at one of two", []policy.PrefixRule{push}, []string{git, alias}, false},
		{"forbidden by another name", []policy.PrefixRule{allowed, forbidden}, []string{git, link}, true},
	} {
		rules := policy.Compile(c.rules, policy.Forbidden)
		for range 2 {
			catalog := &catalog{
				byInode: map[ebpf.InodeID][]string{}, byContent: map[digest][]string{}, sizes: map[uint64]bool{},
				deny: map[ebpf.InodeID]uint32{}, verdicts: map[ebpf.InodeID]denial{},
				hashes: map[ebpf.FileID]digest{},
			}
			for _, path := range c.paths {
				f, err := os.Open(path)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				catalog.learn(rules, named{filepath.Base(path), f}, ebpf.FileID{}, nil)
			}
			if denied := len(catalog.deny) > 0; denied != c.denied || denied != (len(catalog.verdicts) > 0) {
				t.Errorf("%s, %q: denied %t", c.name, c.paths, denied)
			}
			slices.Reverse(c.paths)
		}
	}
}
