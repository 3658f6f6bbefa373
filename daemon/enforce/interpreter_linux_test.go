// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const publishForbidden = `
[rules]
prefix_rules = [{ pattern = [{ token = "pdk-publish" }, { token = "now" }], decision = "forbidden" }]
[paddock]
mode = "enforce"
`

// A script that is a program of its own keeps its rules when it is handed to its
// interpreter, under whatever name either of them is.
func TestScriptsHandedToTheirInterpreter(t *testing.T) {
	m := newMachine(t, "")
	script := filepath.Join(m.dir, "bin", "pdk-publish")
	must(t, os.WriteFile(script, []byte("#!/usr/bin/env python3\nimport sys\nprint('publish', 'ed', sep='', end=' ')\nprint(sys.argv[1])\n"), 0o755))
	must(t, os.WriteFile(filepath.Join(m.dir, "other"), []byte("import sys; print('other', *sys.argv[1:])\n"), 0o644))
	m.apply(publishForbidden)
	loaders, _ := filepath.Glob("/lib64/ld-linux*")
	if len(loaders) == 0 {
		loaders, _ = filepath.Glob("/lib/ld-linux*")
	}
	for _, line := range []string{
		"bin/pdk-publish now", "python3 bin/pdk-publish now", "env python3 bin/pdk-publish now", "python3 -I -W ignore bin/pdk-publish now",
		"cp bin/pdk-publish x && python3 x now", "ln -s bin/pdk-publish y && python3 ./y now", "cp /usr/bin/python3 py && ./py bin/pdk-publish now",
		"cp /usr/bin/python3 py2 && cp bin/pdk-publish z && ./py2 ./z now", loaders[0] + " /usr/bin/python3 bin/pdk-publish now",
		"cd bin && python3 pdk-publish now", "for i in 1 2; do python3 -B bin/pdk-publish now; done",
		"python3 other one; ln -sf bin/pdk-publish other && python3 other now",
	} {
		if out, _ := m.run(line + "; true"); strings.Contains(out, "published now") || !strings.Contains(out, "paddock: blocked") {
			t.Errorf("%s: %q", line, out)
		}
	}
	must(t, os.Remove(filepath.Join(m.dir, "other")))
	must(t, os.WriteFile(filepath.Join(m.dir, "other"), []byte("import sys; print('other', *sys.argv[1:])\n"), 0o644))
	for line, want := range map[string]string{
		"python3 bin/pdk-publish later":                           "published later\n",
		"python3 -c 'print(1)' bin/pdk-publish now":               "1\n",
		"python3 other bin/pdk-publish now":                       "other bin/pdk-publish now\n",
		"sh -c 'echo $0 $1' bin/pdk-publish now":                  "bin/pdk-publish now\n",
		"perl -we 'print \"@ARGV\\n\"' bin/pdk-publish now":       "bin/pdk-publish now\n",
		"printf '%s %s\\n' bin/pdk-publish now":                   "bin/pdk-publish now\n",
		"python3 -c 'import sys; print(sys.argv[1:])' x --y -m a": "['x', '--y', '-m', 'a']\n",
	} {
		if out, err := m.run(line); err != nil || out != want {
			t.Errorf("%s: %q, %v", line, out, err)
		}
	}
}

// fixed is a process in which each path leads to a file of the same name.
type fixed struct{}

func (fixed) file(path string) []string { return []string{filepath.Base(path)} }
func (fixed) lost() error               { return nil }

func TestScriptsGiven(t *testing.T) {
	about := func(names []string) bool { return slices.Contains(names, "npm") || slices.Contains(names, "pip") }
	for line, want := range map[string][]string{
		"node /usr/bin/npm publish":           {"npm publish"},
		"node npm publish":                    {"npm publish"},
		"node --title x npm publish":          {"npm publish"},
		"node --require=npm app.js":           {"npm app.js"},
		"node -r ./npm app.js":                {"npm app.js"},
		"node app.js npm publish":             nil,
		"node inspect npm publish":            {"npm publish"},
		"node -e 'x' npm publish":             nil,
		"node --eval=x npm publish":           nil,
		"bun run npm publish":                 {"npm publish"},
		"deno run -A npm publish":             {"npm publish"},
		"python3.11 -m pip install x":         {"pip install x"},
		"python3 -mpip install x":             {"pip install x"},
		"python3 -Im pip install x":           {"pip install x"},
		"python3 -Ic x pip install":           nil,
		"python3 -Wc pip install":             {"pip install"},
		"perl -pe x npm":                      nil,
		"perl -Mre npm":                       {"npm"},
		"perl -ie npm":                        {"npm"},
		"bash -lc 'npm publish' npm publish":  nil,
		"bash -l npm publish":                 {"npm publish"},
		"bash -o errexit npm publish":         {"npm publish"},
		"bash --rcfile c npm publish":         {"npm publish"},
		"sh - npm publish":                    {"npm publish"},
		"ruby3.1 -S npm publish":              {"npm publish"},
		"lua5.4 npm publish":                  {"npm publish"},
		"node-22 --npm npm publish npm again": {"npm publish npm again"},
		"python3 -W -c pip install":           {"pip install"},
		"python3 -W -mx pip install":          {"pip install"},
		"python3 -O app.py pip install":       {"pip install"},
		"python3 -O app.py x pip install":     nil,
		"node --a -e x npm publish":           {"npm publish"},
		"bash -x -c x npm":                    nil,
	} {
		words := strings.Fields(strings.ReplaceAll(line, "'", ""))
		in, ok := interpreterOf(words[:1])
		if !ok {
			t.Errorf("%s: no interpreter", line)
			continue
		}
		found, _ := in.given(words[1:], about, true, fixed{})
		var got []string
		for _, s := range found {
			got = append(got, strings.Join(append([]string{filepath.Base(s.Names[0])}, s.Args...), " "))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
	for _, name := range []string{"valgrind.bin", "none-amd64-linux", "qemu-aarch64-static"} {
		if in, ok := interpreterOf([]string{"/x/" + name}); !ok || !in.programs {
			t.Errorf("%q runs no programs", name)
		}
	}
	for _, name := range []string{"cat", "git", "qemu-system-x86_64", "nodemon", "sharp", "basher", "3", ""} {
		if _, ok := interpreterOf([]string{name}); ok {
			t.Errorf("%q is an interpreter", name)
		}
	}
}

func TestInterpretersOf(t *testing.T) {
	dirs := []string{"/a", "/b"}
	for head, want := range map[string][]string{
		"#!/usr/bin/node\nx":                   {"/usr/bin/node"},
		"#! /bin/sh -e":                        {"/bin/sh"},
		"#!/usr/bin/env node\n":                {"/a/node", "/b/node"},
		"#!/usr/bin/env -S A=b node --x\n":     {"/a/node", "/b/node"},
		"#!/usr/bin/env /opt/node\n":           {"/opt/node"},
		"#!/usr/bin/env\n":                     nil,
		"#!\n/bin/sh":                          nil,
		"\x7fELF":                              nil,
		"":                                     nil,
		"#!" + strings.Repeat("x", 300) + " y": {strings.Repeat("x", 300)},
	} {
		if diff := cmp.Diff(want, interpretersOf([]byte(head), dirs)); diff != "" {
			t.Errorf("%.40q (-want +got):\n%s", head, diff)
		}
	}
}

// A program that is installed or upgraded while a policy is in force is known by what
// it is: its copies, too.
func TestProgramsInstalledLater(t *testing.T) {
	m := newMachine(t, publishForbidden)
	program := filepath.Join(m.dir, "bin", "pdk-publish")
	for _, from := range []string{"/bin/echo", "/usr/bin/printf"} {
		copyFile(t, from, program+".new")
		must(t, os.Rename(program+".new", program))
		select {
		case <-m.refreshed:
		case <-time.After(waitLimit):
			t.Fatalf("nobody noticed that it is %s now", from)
		}
		name := "copy-of-" + filepath.Base(from)
		if out, _ := m.run("cp " + program + " " + name + " && ./" + name + " now; true"); strings.Contains(out, "now\n") || !strings.Contains(out, "paddock: blocked") {
			t.Errorf("a copy of what was installed, %s: %q", from, out)
		}
		if out, err := m.run("./" + name + " later"); err != nil || !strings.HasPrefix(out, "later") {
			t.Errorf("%s with other arguments: %q, %v", from, out, err)
		}
	}
	// What has nothing to do with the rules is no reason.
	last := m.now.Load().number
	copyFile(t, "/bin/true", filepath.Join(m.dir, "bin", "other"))
	must(t, m.refresh())
	if now := m.now.Load().number; now != last {
		t.Errorf("generation %d after %d", now, last)
	}
}

// Whatever an agent puts into arguments and first lines: an answer, and every word of
// the arguments that a rule is about comes from them.
func FuzzInterpreter(f *testing.F) {
	f.Add("python3", "-W\x00-mx\x00pip\x00install", []byte("#!/usr/bin/env -S a=b node"))
	f.Add("bash", "-lc\x00npm", []byte("#!"))
	f.Add("node-22", "--a=\x00=\x00--\x00npm", []byte("\xff"))
	f.Fuzz(func(t *testing.T, name, joined string, head []byte) {
		interpretersOf(head, []string{"/bin"})
		in, ok := interpreterOf([]string{name})
		if !ok {
			return
		}
		args := strings.Split(joined, "\x00")
		found, _ := in.given(args, func([]string) bool { return true }, true, fixed{})
		for _, s := range found {
			if len(s.Args) >= len(args) {
				t.Fatalf("%q after %q: more arguments than there were", s.Command, args)
			}
		}
	})
}

// A program that rules name may be, in somebody's home, a link to what never ends.
func TestCatalogReadsOnlyPrograms(t *testing.T) {
	dir := t.TempDir()
	for _, target := range []string{"/proc/kmsg", "/proc/kcore", "/sys/kernel/mm/transparent_hugepage/enabled", "/dev/zero", dir} {
		link := filepath.Join(dir, "link")
		must(t, os.Symlink(target, link))
		f, err := os.Open(link)
		if err == nil {
			if ordinary(f) {
				t.Errorf("%s is taken for a program", target)
			}
			f.Close()
		}
		must(t, os.Remove(link))
	}
	f, err := os.Open("/bin/ls")
	must(t, err)
	defer f.Close()
	if !ordinary(f) || !rootOwned(f) {
		t.Error("/bin/ls is none")
	}
}
