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
					if strings.Contains(out, "touch") || out == "" {
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
