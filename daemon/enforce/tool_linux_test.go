// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"os"
	"path/filepath"
	"testing"
)

// What people mean by a word is what root has put where programs are looked for.
func TestWhatPeopleMeanByAWord(t *testing.T) {
	dir := t.TempDir()
	place := func(name string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		must(t, os.Mkdir(path, 0o755))
		must(t, os.Chmod(path, mode))
		return path
	}
	system, users, open, elsewhere := place("system", 0o755), place("users", 0o755), place("open", 0o777), place("elsewhere", 0o755)
	program := func(in, name string) string {
		t.Helper()
		path := filepath.Join(in, name)
		must(t, os.WriteFile(path, []byte(name), 0o755))
		return path
	}
	tool, other, anybodys, own := program(system, "tool"), program(system, "other"), program(open, "tool"), program(elsewhere, "tool")
	must(t, os.Symlink(tool, filepath.Join(system, "alternative")))
	users2, changed := program(users, "tool"), program(system, "changed")
	must(t, os.Chown(users, 1000, 1000))
	must(t, os.Chown(changed, 1000, 1000))
	must(t, os.Symlink(own, filepath.Join(system, "leads-away")))

	e := &Enforcer{Config: Config{Directories: func() []string { return []string{system, users, open} }}}
	e.lookups.init()
	for _, test := range []struct {
		why, word, program string
		want               bool
	}{
		{"it is", "tool", tool, true},
		{"by its path", tool, tool, true},
		{"by another name that root gave it", "alternative", tool, true},
		{"another one", "tool", other, false},
		{"by the path of another one", tool, other, false},
		{"not there", "nothing", tool, false},
		{"not absolute", "./tool", tool, false},
		{"a user's directory", "tool", users2, false},
		{"anybody's directory", "tool", anybodys, false},
		{"a user's file", "changed", changed, false},
		{"where nobody looks", "tool", own, false},
		{"where a link leads", "leads-away", own, false},
		{"unknown", "tool", "", false},
	} {
		if got := e.means(test.word, test.program); got != test.want {
			t.Errorf("%s: by %s people mean %s: %v", test.why, test.word, test.program, got)
		}
	}
}
