// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-649e9bbc/paddock/daemon/policy/shell"
)

var fenced = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// The examples of docs/rules.md are true: files named in their first line are
// written, commands are run, and what they print is what stands there.
func TestRulesDocs(t *testing.T) {
	data, err := os.ReadFile("../../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	files, commands := 0, 0
	for _, block := range fenced.FindAllStringSubmatch(string(data), -1) {
		kind, text := block[1], block[2]
		switch kind {
		case "starlark", "toml":
			name, named := strings.CutPrefix(strings.SplitN(text, "\n", 2)[0], "# ")
			if !named {
				t.Fatalf("its first line names no file:\n%s", text)
			}
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			files++
		case "console":
			for _, run := range strings.Split(text, "$ paddock ")[1:] {
				line, want, _ := strings.Cut(run, "\n")
				words, err := shell.Commands("paddock " + line)
				if err != nil || len(words) != 1 || words[0].Unknown != "" {
					t.Fatalf("%s: %+v, %v", line, words, err)
				}
				root := New("test")
				var out bytes.Buffer
				root.SetOut(&out)
				root.SetErr(&out)
				Main(root, words[0].Words[1:])
				if diff := cmp.Diff(want, out.String()); diff != "" {
					t.Errorf("paddock %s (-docs +printed):\n%s", line, diff)
				}
				commands++
			}
		default:
			t.Errorf("a block of %s that nobody runs:\n%s", kind, text)
		}
	}
	if files < 5 || commands < 6 {
		t.Errorf("%d files and %d commands: the examples are not found", files, commands)
	}
	// Also the files that no command uses can be read.
	for _, name := range []string{"team.rules", "host.rules", "network.rules"} {
		if _, err := loadRules([]string{name}); err != nil {
			t.Error(err)
		}
	}
}
