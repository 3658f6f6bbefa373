// SPDX-License-Identifier: Apache-2.0

package bypass

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the tables of docs/threat-model.md anew")

const root = "../.."

// TestDocsAreTheTable holds docs/threat-model.md to the rows.
func TestDocsAreTheTable(t *testing.T) {
	path := filepath.Join(root, "docs", "threat-model.md")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	is := string(data)
	want := is
	put := func(name, text string) {
		begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
		before, rest, ok := strings.Cut(want, begin)
		_, after, closed := strings.Cut(rest, end)
		if !ok || !closed {
			t.Fatalf("%s has no place for %s", path, name)
		}
		want = before + begin + text + end + after
	}
	for _, s := range Subjects() {
		put(s.Name, table(s.Rows))
	}
	put("codex", codexTable())
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, is); diff != "" {
		t.Errorf("%s is not what the rows say; go test ./tests/bypass -run TestDocsAreTheTable -update (-want +got):\n%s", path, diff)
	}
}

func table(rows []Row) string {
	var b strings.Builder
	b.WriteString("| | attack | with LSM or fmod_ret | without | verdict | test |\n|---|---|---|---|---|---|\n")
	for _, r := range rows {
		verdict := "**" + string(r.Verdict) + "**"
		if r.Why != "" {
			verdict += ": " + r.Why
		}
		var tests []string
		for _, test := range r.Tests {
			tests = append(tests, "`"+test+"`")
		}
		core := r.Core
		if core == "" {
			core = "nothing"
		}
		hook := r.Hook
		if hook == "" {
			hook = "nothing"
		}
		cells := []string{r.ID, r.Attack, hook, core, verdict, strings.Join(tests, ", ")}
		for i := range cells {
			cells[i] = strings.ReplaceAll(cells[i], "|", "\\|")
		}
		b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	}
	return b.String()
}

func codexTable() string {
	var b strings.Builder
	b.WriteString("| | attack | Codex's sandbox, without Paddock | Paddock, without Codex's sandbox |\n|---|---|---|---|\n")
	for _, a := range InCodex() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", a.ID, a.Attack, a.Alone, a.Paddock)
	}
	return b.String()
}

// TestEveryRowHasItsTest fails when a row names a test that is not there: what is
// said to be stopped is tried on every run.
func TestEveryRowHasItsTest(t *testing.T) {
	sources := map[string]string{}
	seen := map[string]bool{}
	for _, s := range Subjects() {
		for _, r := range s.Rows {
			if seen[r.ID] || r.ID == "" || r.Attack == "" {
				t.Errorf("row %q is there twice, or says nothing", r.ID)
			}
			seen[r.ID] = true
			switch r.Verdict {
			case Stopped, Partly, Seen:
				if len(r.Tests) == 0 {
					t.Errorf("row %s says %q and names no test", r.ID, r.Verdict)
				}
			case NotCovered:
			default:
				t.Errorf("row %s: verdict %q", r.ID, r.Verdict)
			}
			if r.Verdict != Stopped && r.Why == "" {
				t.Errorf("row %s is not stopped and does not say why", r.ID)
			}
			for _, test := range r.Tests {
				if err := exists(sources, test); err != nil {
					t.Errorf("row %s: %v", r.ID, err)
				}
			}
		}
	}
	for _, a := range InCodex() {
		if !seen[a.ID] {
			t.Errorf("%q is tried from Codex, and there is no row %s", a.Attack, a.ID)
		}
	}
}

// exists looks for a test in the sources of its directory; of a subtest, for its
// name as a string.
func exists(sources map[string]string, test string) error {
	dir, name, ok := strings.Cut(test, " ")
	if !ok {
		return fmt.Errorf("test %q is not written as \"DIRECTORY TestName\"", test)
	}
	if _, read := sources[dir]; !read {
		files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
		if err != nil {
			return err
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			sources[dir] += string(data)
		}
	}
	name, sub, _ := strings.Cut(name, "/")
	if !regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(t \*testing\.T\)`).MatchString(sources[dir]) {
		return fmt.Errorf("there is no test %s in %s", name, dir)
	}
	if sub != "" && !strings.Contains(sources[dir], `"`+sub+`"`) {
		return fmt.Errorf("%s of %s has no subtest %q", name, dir, sub)
	}
	return nil
}
