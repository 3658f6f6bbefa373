// SPDX-License-Identifier: Apache-2.0

package whole

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	for _, how := range []How{Process, Power} {
		dir := t.TempDir()
		path, other := filepath.Join(dir, "file"), filepath.Join(dir, "other")
		must(t, os.WriteFile(other, []byte("of somebody else"), 0o644))
		// What a crash, or somebody, left: links to another file, in the place of both.
		must(t, os.Symlink(other, path))
		must(t, os.Symlink(other, path+suffix))
		must(t, Write(path, []byte("first"), how))
		must(t, Write(path, []byte("second"), how))
		if data, err := os.ReadFile(path); err != nil || string(data) != "second" {
			t.Errorf("it has %q, %v", data, err)
		}
		if info, err := os.Lstat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("it is %v, %v", info, err)
		}
		if data, err := os.ReadFile(other); err != nil || string(data) != "of somebody else" {
			t.Errorf("the other file has %q, %v", data, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
			t.Errorf("left are %v, %v", left, err)
		}
	}
}

// What cannot be put in place leaves what was there, and nothing else.
func TestWriteThatFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "taken")
	must(t, os.MkdirAll(filepath.Join(path, "full"), 0o700))
	if err := Write(path, []byte("x"), Power); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("over a directory: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left are %v, %v", left, err)
	}
	if err := Write(filepath.Join(dir, "none", "file"), nil, Process); err == nil {
		t.Error("into a directory that is not there")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
