// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	codexFile   = etc + "/codex/requirements.toml"
	paddockFile = etc + "/paddock/requirements.toml"
)

// tree is a root directory of the test's own, locked to begin with.
type tree struct {
	t    *testing.T
	root string
}

// newTree needs root: only root can make files that belong to somebody else, or
// to itself.
func newTree(t *testing.T) tree {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("the tests of locked files change owners: run them as root")
	}
	tr := tree{t, t.TempDir()}
	tr.mode("/", 0o755)
	return tr
}

func (tr tree) path(name string) string { return filepath.Join(tr.root, name) }

func (tr tree) must(err error) {
	tr.t.Helper()
	if err != nil {
		tr.t.Fatal(err)
	}
}

// dir makes a locked directory and all above it.
func (tr tree) dir(name string) {
	tr.t.Helper()
	at := ""
	for _, part := range strings.Split(strings.Trim(name, "/"), "/") {
		at += "/" + part
		if err := os.Mkdir(tr.path(at), 0o755); err == nil {
			tr.mode(at, 0o755)
		} else if !os.IsExist(err) {
			tr.t.Fatal(err)
		}
	}
}

// write makes a locked file, in the way that loses nothing: a new file, renamed.
func (tr tree) write(name, text string) {
	tr.t.Helper()
	tr.dir(filepath.Dir(name))
	tr.must(os.WriteFile(tr.path(name)+".new", []byte(text), 0o644))
	tr.must(os.Chmod(tr.path(name)+".new", 0o644))
	tr.must(os.Rename(tr.path(name)+".new", tr.path(name)))
}

func (tr tree) mode(name string, mode uint32) {
	tr.t.Helper()
	// os.Chmod has its own idea of the sticky bit.
	m := os.FileMode(mode & 0o777)
	if mode&0o1000 != 0 {
		m |= os.ModeSticky
	}
	tr.must(os.Chmod(tr.path(name), m))
}

func (tr tree) owner(name string, uid int) {
	tr.t.Helper()
	tr.must(os.Lchown(tr.path(name), uid, -1))
}
