// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

const strangeRules = `
[rules]
prefix_rules = [
  { pattern = [{ token = "pdk-tool" }, { token = "leak" }], decision = "forbidden" },
  { pattern = [{ token = "pdk-silent" }], decision = "forbidden" },
  { pattern = [{ token = "pdk-script" }], decision = "forbidden" },
]
[paddock]
mode = "enforce"
`

func loader(t *testing.T) string {
	t.Helper()
	found, _ := filepath.Glob("/lib*/ld-linux*")
	if len(found) == 0 {
		t.Fatal("no dynamic loader here")
	}
	return found[0]
}

// However a command is dressed up, its verdict is exact and it leaves an event.
func TestStrangeArguments(t *testing.T) {
	m := started(t, strangeRules)
	m.tool()
	copyFile(t, "/usr/bin/uname", filepath.Join(m.dir, "pdk-silent"))
	ways := []struct {
		name, how string
		line      []string
		allowed   bool
		program   string // in the event
		check     func(e telemetry.Event) bool
	}{
		{name: "2.2 MB after the forbidden word", how: "huge-end", line: []string{"./pdk-tool", "leak"}, check: func(e telemetry.Event) bool {
			return number(e, telemetry.AttrArgsTruncated) > 2<<20
		}},
		{name: "2.2 MB after an allowed word", how: "huge-end", line: []string{"./pdk-tool", "fine"}, allowed: true, check: func(e telemetry.Event) bool {
			return number(e, telemetry.AttrArgsTruncated) > 2<<20
		}},
		{name: "a name of 100 KiB before it", how: "huge-name", line: []string{"./pdk-tool", "leak"}},
		{
			name: "2.1 MB before the program the loader runs", how: "huge-loader", line: []string{loader(t), "./pdk-tool", "leak"},
			program: filepath.Base(loader(t)),
		},
		{name: "1.5 MB of environment", how: "huge-environment", line: []string{"./pdk-tool", "leak"}},
		{name: "an empty name", how: "empty-name", line: []string{"./pdk-tool", "leak"}},
		{name: "an empty name, allowed", how: "empty-name", line: []string{"./pdk-tool", "fine"}, allowed: true},
		{name: "no arguments at all", how: "no-arguments", line: []string{"./pdk-silent"}},
		{name: "bytes that are no UTF-8 after it", how: "not-utf8", line: []string{"./pdk-tool", "leak"}},
		{name: "bytes that are no UTF-8, allowed", how: "not-utf8", line: []string{"./pdk-tool", "fine"}, allowed: true, check: func(e telemetry.Event) bool {
			return argsFit(e, []string{"fine", `\xff\xfe\x80caf\xe9`}) && fmt.Sprint(e.Attrs[telemetry.AttrEscaped]) == "["+telemetry.AttrProcessCommandArgs+"]"
		}},
		{name: "empty arguments", how: "plain", line: []string{"./pdk-tool", "leak", "", "", ""}},
		{name: "an empty argument before it", how: "plain", line: []string{"./pdk-tool", "", "leak-not"}, allowed: true},
	}
	for n := 4080; n <= 4097; n++ { // around the end of what the kernel hands up
		ways = append(ways, ways[2])
		w := &ways[len(ways)-1]
		w.name, w.how = fmt.Sprintf("a name of %d bytes before it", n), fmt.Sprintf("name-%d", n)
	}
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			m.t = t
			_ = os.Remove(filepath.Join(m.dir, "fine"))
			last := m.lastSeq()
			out, err := m.run(shared.self + " act-exec " + w.how + " " + quote(w.line) + " 2>&1; true")
			must(t, err)
			if _, err := os.Lstat(filepath.Join(m.dir, "fine")); m.leaked() || strings.Contains(out, "Linux") || err != nil && w.allowed && w.line[1] == "fine" {
				t.Errorf("allowed %v, leaked %v, ran %v: %.300q", w.allowed, m.leaked(), err == nil, out)
			}
			if strings.Contains(out, "executing") {
				t.Errorf("the test does not work: %.300q", out)
			}
			program := w.program
			if program == "" {
				program = filepath.Base(w.line[0])
			}
			m.events.t = t
			e := m.events.wait("exec of "+program, func(e telemetry.Event) bool {
				return e.Seq > last && e.Name == telemetry.NameProcessExec && strings.HasPrefix(text(e, telemetry.AttrProcessExecutableName), program)
			})
			want := "forbidden"
			if w.allowed {
				want = "allow"
			}
			if text(e, telemetry.AttrDecision) != want || w.check != nil && !w.check(e) {
				e.Attrs[telemetry.AttrProcessCommandArgs] = len(fmt.Sprint(e.Attrs[telemetry.AttrProcessCommandArgs]))
				t.Errorf("want %s: %v", want, e.Attrs)
			}
		})
	}
	m.t = t
	m.balanced(m.status())
}

// fence waits until everything that happened so far has its event.
func (m *machine) fence() {
	m.t.Helper()
	last := m.lastSeq()
	_, err := m.run("/bin/true")
	must(m.t, err)
	m.events.wait("the end of an agent", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameSessionEnd && e.Seq > last
	})
}

func quote(words []string) string {
	var out []string
	for _, w := range words {
		out = append(out, "'"+w+"'")
	}
	return strings.Join(out, " ")
}

// deep makes directories so that a file called name below them has a path of so
// many bytes, beyond what open takes if it must be, and returns that path. put
// makes the file, in its directory.
func (m *machine) deep(length int, name string, put func(dir int) error) string {
	m.t.Helper()
	path := m.dir
	dir, err := unix.Open(path, unix.O_DIRECTORY|unix.O_PATH|unix.O_CLOEXEC, 0)
	must(m.t, err)
	for {
		left := length - len(path) - 1 - len(name)
		if left == 0 {
			break
		}
		n := min(left-1, 200)
		if left-1-n == 1 { // a directory needs a slash and a name
			n--
		}
		component := strings.Repeat("d", n)
		if err := unix.Mkdirat(dir, component, 0o755); err != nil && err != unix.EEXIST {
			m.t.Fatal(err)
		}
		next, err := unix.Openat(dir, component, unix.O_DIRECTORY|unix.O_PATH|unix.O_CLOEXEC, 0)
		must(m.t, err)
		unix.Close(dir)
		dir, path = next, path+"/"+component
	}
	must(m.t, put(dir))
	unix.Close(dir)
	return path + "/" + name
}

func linkTo(target, name string) func(int) error {
	return func(dir int) error { return unix.Symlinkat(target, dir, name) }
}

func hardLink(target, name string) func(int) error {
	return func(dir int) error { return unix.Linkat(unix.AT_FDCWD, target, dir, name, 0) }
}

func script(name, text string) func(int) error {
	return func(dir int) error {
		fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_WRONLY|unix.O_EXCL, 0o755)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		_, err = unix.Write(fd, []byte(text))
		return err
	}
}

// A path longer than a record holds, or than the kernel can name, hides nothing.
func TestLongPaths(t *testing.T) {
	m := started(t, strangeRules)
	m.tool()
	tool := filepath.Join(m.dir, "pdk-tool")
	for _, length := range []int{254, 255, 256, 1023, 4095, 5000} {
		way := "plain"
		if length > 4095 {
			way = "relative"
		}
		for _, c := range []struct {
			what, name, program string
			put                 func(int) error
		}{
			{"the program", "pdk-tool", "pdk-tool", hardLink(tool, "pdk-tool")},
			{"a link to it", "innocent", "pdk-tool", linkTo(tool, "innocent")},
			{"a script", "pdk-script", "dash", script("pdk-script", "#!/bin/dash\n/usr/bin/touch "+m.dir+"/leak\n")},
		} {
			t.Run(fmt.Sprintf("%s, %d bytes", c.what, length), func(t *testing.T) {
				m.t, m.events.t = t, t
				defer os.Remove(filepath.Join(m.dir, "leak"))
				path := m.deep(length, c.name, c.put)
				last := m.lastSeq()
				out, err := m.run(shared.self + " act-exec " + way + " " + path + " leak 2>&1; true")
				must(t, err)
				if m.leaked() || strings.Contains(out, "executing") {
					t.Errorf("it ran, or the test does not work: %.300q", out)
				}
				if way == "relative" { // there it would leave its file
					if strings.Contains(out, "touch") || err == nil && out == "" {
						t.Errorf("%q", out)
					}
				}
				e := m.events.wait("exec of "+c.program, func(e telemetry.Event) bool {
					return e.Seq > last && e.Name == telemetry.NameProcessExec && text(e, telemetry.AttrProcessExecutableName) == c.program &&
						text(e, telemetry.AttrDecision) != "allow"
				})
				if text(e, telemetry.AttrDecision) != "forbidden" || text(e, telemetry.AttrRule) == "" {
					t.Errorf("%v", e.Attrs)
				}
			})
		}
		t.Run(fmt.Sprintf("an agent, %d bytes", length), func(t *testing.T) {
			m.t, m.events.t = t, t
			name := filepath.Base(m.agent)
			path := m.deep(length, name, linkTo("/bin/dash", name))
			last := m.lastSeq()
			cmd := shared.self + " act-exec " + way + " " + path + " -c '/bin/echo of-an-agent; true'"
			if out, err := m.free(cmd); err != nil || out != "of-an-agent\n" {
				t.Fatalf("the agent: %.200q, %v", out, err)
			}
			m.fence()
			for _, e := range m.events.list() {
				if e.Seq > last && e.Session != "" && argsFit(e, []string{"of-an-agent"}) {
					return
				}
			}
			t.Error("it is not governed")
		})
	}
	m.t, m.events.t = t, t
}
