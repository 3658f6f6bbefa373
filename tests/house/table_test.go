// SPDX-License-Identifier: Apache-2.0

package house

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// row is a room, as docs/architecture.md describes it.
type row struct {
	knows   string
	imports []string
}

// table reads the rooms of docs/architecture.md, by their names here.
func table(t *testing.T) map[string]row {
	t.Helper()
	text, err := os.ReadFile(root + "/docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n## The rooms\n")
	section, _, _ := strings.Cut(rest, "\n## ")
	name := regexp.MustCompile("`([^`]+)`")
	out := map[string]row{}
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.HasPrefix(line, "| `") {
			continue
		}
		r := row{knows: strings.TrimSpace(cells[2])}
		for _, m := range name.FindAllStringSubmatch(cells[3], -1) {
			r.imports = append(r.imports, whole(m[1]))
		}
		slices.Sort(r.imports)
		out[whole(name.FindStringSubmatch(cells[1])[1])] = r
	}
	return out
}

// whole is the name of a room that the table may write shorter.
func whole(name string) string {
	if name == "main.go" {
		return "."
	}
	if _, ok := may[name]; ok {
		return name
	}
	return "daemon/" + name
}

// What people read about the rooms is what holds.
func TestTheTableIsTheRule(t *testing.T) {
	said := map[string][]string{}
	for name, r := range table(t) {
		said[name] = r.imports
	}
	rule := map[string][]string{}
	for name, imports := range may {
		rule[name] = slices.Sorted(slices.Values(imports))
	}
	if diff := cmp.Diff(rule, said, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("docs/architecture.md, \"The rooms\", says something else than may in imports_test.go (-may +table):\n%s", diff)
	}
}
