// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
)

var update = flag.Bool("update", false, "write the table of keys in docs/requirements.md anew")

// The part of the documentation that lists the keys is made from the table that
// reads them.
func TestDocsListEveryKey(t *testing.T) {
	const file, begin, end = "../../docs/requirements.md", "<!-- keys -->\n", "<!-- /keys -->"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), begin)
	said, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the keys", file)
	}
	var b strings.Builder
	for _, k := range Keys() {
		documentKey(&b, k)
	}
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+b.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(b.String(), said); diff != "" {
		t.Errorf("%s is not what the code says; go test ./daemon/policy -run TestDocsListEveryKey -update (-want +got):\n%s", file, diff)
	}
}

func documentKey(b *strings.Builder, k codex.Key) {
	fmt.Fprintf(b, "### `%s`\n\n%s\n\n", k.Name, k.Meaning)
	var facts []string
	if k.Shape.Form != codex.Table {
		facts = append(facts, "Value: "+k.Shape.Values()+".")
	}
	facts = append(facts, "Enforced by: "+k.Enforced.String()+".")
	if len(k.Aliases) > 0 {
		facts = append(facts, "Also called `"+strings.Join(k.Aliases, "`, `")+"`.")
	}
	if k.Merge != "" {
		facts = append(facts, "Of several layers: "+k.Merge+".")
	}
	if k.LocalOnly {
		facts = append(facts, "Not from bundles.")
	}
	b.WriteString(strings.Join(facts, " ") + "\n\n")
	var fields strings.Builder
	documentFields(&fields, "", k.Shape)
	if fields.Len() > 0 {
		b.WriteString("| key | value | |\n|---|---|---|\n" + fields.String() + "\n")
	}
	fmt.Fprintf(b, "```toml\n%s```\n\n", k.Example)
}

// documentFields writes a row for each key below a shape.
func documentFields(b *strings.Builder, prefix string, s *codex.Shape) {
	switch s.Form {
	case codex.Table:
		for _, f := range s.Fields {
			value := f.Shape.Values()
			if f.Shape.Form == codex.Table || f.Shape.Form == codex.Map || f.Shape.Form == codex.List && f.Shape.Item.Form == codex.Table {
				value = f.Shape.Kind()
			}
			meaning := f.Meaning
			if f.Required {
				meaning += " Required."
			}
			fmt.Fprintf(b, "| `%s%s` | %s | %s |\n", prefix, f.Name, cell(value), cell(meaning))
			if !elsewhere(&f, prefix) {
				documentFields(b, prefix+f.Name+".", f.Shape)
			}
		}
		if s.Rest != nil {
			documentFields(b, prefix+"NAME.", s.Rest)
		}
	case codex.Map:
		documentFields(b, prefix+"NAME.", s.Item)
	case codex.List:
		documentFields(b, strings.TrimSuffix(prefix, ".")+"[].", s.Item)
	case codex.Enum, codex.Tagged:
		for _, v := range s.Variants {
			if v.Shape != nil && s.Form == codex.Enum {
				documentFields(b, prefix+v.Name+".", v.Shape)
			}
		}
	case codex.Bool, codex.String, codex.Integer, codex.Path, codex.RawPath, codex.OneOf, codex.Any:
	}
}

// elsewhere says that the keys of a field are listed with another one: those of the
// network, and those of the events after the first.
func elsewhere(f *codex.Field, prefix string) bool {
	event := f.Unnamed && f.Name != codex.Events[0]
	return event || f.Name == "network" && prefix == ""
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

// So is the list of what every boundary has built in.
func TestDocsListWhatIsBuiltIn(t *testing.T) {
	const file, begin, end = "../../docs/requirements.md", "<!-- boundary -->\n", "<!-- /boundary -->"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), begin)
	said, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the built-in paths", file)
	}
	paths := map[string][]string{}
	var order []string
	for _, r := range builtIn() {
		what := r.Kind.String()
		switch {
		case r.Agent == AnyAgent:
			what += ", except to any agent's own program"
		case r.Agent != "":
			what += ", except to the program of " + r.Agent
		}
		if paths[what] == nil {
			order = append(order, what)
		}
		paths[what] = append(paths[what], "`"+r.Text+"`")
	}
	var b strings.Builder
	b.WriteString("\n")
	for _, what := range order {
		fmt.Fprintf(&b, "*%s*: %s\n\n", what, strings.Join(paths[what], ", "))
	}
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+b.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(b.String(), said); diff != "" {
		t.Errorf("%s is not what the code says; go test ./daemon/policy -run TestDocs -update (-want +got):\n%s", file, diff)
	}
}
