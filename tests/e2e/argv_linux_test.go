// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
			makes := filepath.Join(m.dir, w.line[len(w.line)-1]) // what runs makes a file of its last argument
			if w.allowed {
				_ = os.Remove(makes)
			}
			last := m.lastSeq()
			out, err := m.run(shared.self + " act-exec " + w.how + " " + quote(w.line) + " 2>&1; true")
			must(t, err)
			if m.leaked() || strings.Contains(out, "Linux") {
				t.Errorf("it ran: %.300q", out)
			}
			if _, err := os.Lstat(makes); w.allowed && err != nil {
				t.Errorf("it did not run: %.300q", out)
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

func quote(words []string) string {
	var out []string
	for _, w := range words {
		out = append(out, "'"+w+"'")
	}
	return strings.Join(out, " ")
}
