// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// constants returns the string constants of this package whose names begin with
// prefix, by their values.
func constants(t *testing.T, prefix string) map[string]string {
	t.Helper()
	out := map[string]string{}
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		collect(t, file, prefix, out)
	}
	return out
}

func collect(t *testing.T, file *ast.File, prefix string, out map[string]string) {
	t.Helper()
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range spec.Names {
			if i >= len(spec.Values) || !strings.HasPrefix(name.Name, prefix) {
				continue
			}
			if literal, ok := spec.Values[i].(*ast.BasicLit); ok && literal.Kind == token.STRING {
				value, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				if other, twice := out[value]; twice {
					t.Errorf("%s and %s are both %q", other, name.Name, value)
				}
				out[value] = name.Name
			}
		}
		return true
	})
}

// Nothing is declared that the registry does not describe, or described twice.
func TestRegistryIsComplete(t *testing.T) {
	attrs := constants(t, "Attr")
	if len(attrs) < 60 {
		t.Fatalf("only %d attributes were found in the source", len(attrs))
	}
	for value, name := range attrs {
		if attributesByName[value] == nil {
			t.Errorf("%s, %q, is not in registry_attributes.go", name, value)
		}
	}
	if len(attributesByName) != len(attributes) {
		t.Error("an attribute is described twice")
	}
	for value, name := range constants(t, "Name") {
		if kindsByName[value] == nil {
			t.Errorf("%s, %q, is not in registry_kinds.go", name, value)
		}
	}
	if len(kindsByName) != len(kinds) {
		t.Error("a kind of event is described twice")
	}
	used := map[string]bool{}
	for _, name := range everywhere {
		used[name] = true
	}
	for _, k := range kinds {
		if k.Meaning == "" || k.Category == "" || k.Action == "" || k.OCSF.Name == "" {
			t.Errorf("%s is not described in full", k.Name)
		}
		seen := map[string]bool{}
		for _, name := range k.Attributes {
			used[name] = true
			if attributesByName[name] == nil {
				t.Errorf("%s carries %q, which is not in registry_attributes.go", k.Name, name)
			}
			if seen[name] {
				t.Errorf("%s carries %s twice", k.Name, name)
			}
			seen[name] = true
		}
		for _, name := range k.Tally {
			if !seen[name] {
				t.Errorf("%s is tallied by %s, which it does not carry", k.Name, name)
			}
		}
		if k.Sum != "" && (!seen[k.Sum] || attributesByName[k.Sum].Type != Int) {
			t.Errorf("%s sums up %s, which is no integer it carries", k.Name, k.Sum)
		}
	}
	for _, a := range attributes {
		if a.Meaning == "" || !slices.Contains([]Type{String, Int, Float, Bool, Strings}, a.Type) {
			t.Errorf("%s is not described in full", a.Name)
		}
		if !used[a.Name] && a.Name != AttrFilePath { // the store has a column for it already
			t.Errorf("no event carries %s", a.Name)
		}
	}
	for value := range constants(t, "Gap") {
		if !slices.ContainsFunc(causes, func(c Cause) bool { return c.Name == value }) {
			t.Errorf("the cause %s of a gap is not described", value)
		}
	}
}

// Names that are not Paddock's own are those of the version of the conventions that is
// declared, and mean a value of the same type.
func TestSemanticConventions(t *testing.T) {
	version := path.Base(SchemaURL)
	data, err := os.ReadFile("testdata/semconv-" + version + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]string{AttrEventName: "string"} // deprecated, hence not in the list
	for line := range strings.Lines(string(data)) {
		name, typ, _ := strings.Cut(strings.TrimSpace(line), "\t")
		types[name] = typ
	}
	for _, a := range attributes {
		typ, there := types[a.Name]
		if typ == "Enum" {
			typ = "string"
		}
		switch {
		case a.Own():
		case !there:
			t.Errorf("semantic conventions %s have no %s", version, a.Name)
		case typ != "any" && typ != string(a.Type):
			t.Errorf("%s is a %s, and in semantic conventions %s a %s", a.Name, a.Type, version, typ)
		}
	}
	doc, err := os.ReadFile("../../docs/telemetry.md")
	if err != nil {
		t.Fatal(err)
	}
	if said := "semantic conventions " + strings.TrimSuffix(version, ".0") + " "; !strings.Contains(string(doc), said) {
		t.Errorf("docs/telemetry.md does not say %q", said)
	}
}

// docs/events.md is what the code says: `go run . events schema > docs/events.md`.
func TestDocumentationIsCurrent(t *testing.T) {
	have, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(have), "\n"), strings.Split(SchemaMarkdown(), "\n")); diff != "" {
		t.Errorf("docs/events.md is old: run `go run . events schema > docs/events.md` (-old, +new):\n%s", diff)
	}
}

func TestSchemaJSON(t *testing.T) {
	data, err := SchemaJSON()
	if err != nil {
		t.Fatal(err)
	}
	var s Schema
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	if s.Version != SchemaVersion || len(s.Kinds) != len(kinds) || len(s.Attributes) != len(attributes) {
		t.Errorf("version %q, %d events, %d attributes", s.Version, len(s.Kinds), len(s.Attributes))
	}
}

func TestUndocumented(t *testing.T) {
	fine := Event{Name: NameProcessExit, Attrs: map[string]any{AttrProcessPID: 7, AttrAgent: "codex", AttrConverted: []string{"x"}}}
	if got := Undocumented(fine); len(got) != 0 {
		t.Errorf("of a documented event: %v", got)
	}
	for what, e := range map[string]Event{
		"kind":      {Name: "paddock.nothing"},
		"attribute": {Name: NameProcessExit, Attrs: map[string]any{"paddock.nothing": "x"}},
		"carries":   {Name: NameProcessExit, Attrs: map[string]any{AttrPolicyRules: 1}},
		"is a":      {Name: NameProcessExit, Attrs: map[string]any{AttrProcessPID: "7"}},
		"is empty":  {Name: NameProcessExit, Attrs: map[string]any{AttrAgent: ""}},
	} {
		if got := Undocumented(e); len(got) != 1 || !strings.Contains(got[0], what) {
			t.Errorf("%s: %v", what, got)
		}
	}
}
