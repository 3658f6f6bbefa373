// SPDX-License-Identifier: Apache-2.0

// Package house holds what keeps the house as it was drawn.
package house

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/seed-649e9bbc/paddock"

// may lists, for each room, which rooms of ours it imports. A room that is not here
// does not exist: whoever adds one says here, and in docs/architecture.md, what it
// stands on.
var may = map[string][]string{
	".":                       {"daemon/cli"},
	"daemon":                  {"daemon/api", "daemon/approval", "daemon/drift", "daemon/egress", "daemon/egress/resolver", "daemon/enforce", "daemon/hook", "daemon/policy", "daemon/session", "daemon/telemetry", "daemon/telemetry/join", "daemon/telemetry/metrics", "daemon/telemetry/receiver", "daemon/watch", "daemon/whole", "ebpf", "mdm"},
	"daemon/policy":           {"daemon/policy/codex", "daemon/policy/document"},
	"daemon/policy/codex":     {"daemon/policy/document"},
	"daemon/policy/document":  {},
	"daemon/policy/rulesfile": {"daemon/policy"},
	"daemon/policy/shell":     {},
	"daemon/session":          {},
	"daemon/telemetry":        {"daemon/whole"},
	"daemon/egress":           {"daemon/policy", "daemon/session", "daemon/telemetry"},
	"daemon/egress/resolver":  {"daemon/egress", "daemon/policy", "daemon/telemetry"},
	"daemon/approval":         {"daemon/policy", "daemon/telemetry", "daemon/whole"},
	"daemon/drift":            {"daemon/watch", "daemon/whole"},
	"daemon/watch":            {},
	"daemon/whole":            {},
	"daemon/enforce":          {"daemon/approval", "daemon/policy", "daemon/policy/shell", "daemon/sandbox", "daemon/session", "daemon/telemetry", "daemon/watch", "daemon/whole", "ebpf"},
	"daemon/sandbox":          {},
	"daemon/api":              {"daemon/approval", "daemon/sandbox", "daemon/session", "daemon/telemetry", "daemon/telemetry/join"},
	"daemon/approval/show":    {},
	"daemon/companion":        {"daemon/api", "daemon/approval", "daemon/approval/show", "daemon/companion/dialog", "daemon/companion/notify"},
	"daemon/companion/dialog": {"daemon/companion/notify"},
	"daemon/companion/notify": {},
	"daemon/hook":             {},
	"daemon/cli":              {"daemon", "daemon/api", "daemon/approval", "daemon/approval/show", "daemon/companion", "daemon/hook", "daemon/policy", "daemon/policy/codex", "daemon/policy/document", "daemon/policy/rulesfile", "daemon/policy/shell", "daemon/session", "daemon/telemetry", "daemon/telemetry/join", "daemon/telemetry/report", "mdm"},
	"ebpf":                    {},
	"installer":               {"daemon/approval"},
	"mdm":                     {"daemon/policy", "daemon/policy/codex", "daemon/policy/rulesfile", "daemon/watch", "daemon/whole"},

	"daemon/telemetry/join":     {"daemon/telemetry"},
	"daemon/telemetry/metrics":  {"daemon/telemetry", "daemon/telemetry/join"},
	"daemon/telemetry/receiver": {"daemon/telemetry"},
	"daemon/telemetry/report":   {"daemon/telemetry/join"},
}

// topLevel is all that may lie at the top, besides files that begin with a dot.
var topLevel = []string{
	"LICENSE", "Makefile", "README.md", "bin", "configprofile", "daemon", "docs", "ebpf", "examples", "go.mod", "go.sum",
	"installer", "main.go", "mdm", "tests",
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

// packages lists ours for one platform, or for the one tests run on.
func packages(t *testing.T, goos string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

const root = "../.."

func room(importPath string) string {
	if importPath == module {
		return "."
	}
	return strings.TrimPrefix(importPath, module+"/")
}

func TestImportsPointOneWay(t *testing.T) {
	unused := map[string][]string{}
	for from, rooms := range may {
		unused[from] = slices.Clone(rooms)
	}
	for _, goos := range []string{"linux", "darwin"} {
		for _, p := range packages(t, goos) {
			from := room(p.ImportPath)
			if strings.HasPrefix(from, "tests/") {
				continue
			}
			allowed, known := may[from]
			if !known {
				t.Errorf("package %s is not in the list of rooms", from)
			}
			for _, imported := range p.Imports {
				if !strings.HasPrefix(imported, module) {
					continue
				}
				to := room(imported)
				unused[from] = slices.DeleteFunc(unused[from], func(r string) bool { return r == to })
				switch {
				case strings.HasPrefix(to, "tests/"):
					t.Errorf("%s (%s) imports %s, which is only for tests", from, goos, to)
				case from == "daemon" && to == "daemon/cli":
					t.Errorf("daemon imports daemon/cli: nothing but main may")
				case !slices.Contains(allowed, to):
					t.Errorf("%s (%s) imports %s; it may import %v", from, goos, to, allowed)
				}
			}
		}
	}
	for from, rooms := range unused {
		if len(rooms) > 0 {
			t.Errorf("%s may import %v, and does not: take it from the list", from, rooms)
		}
	}
}

func TestTopLevelIsFixed(t *testing.T) {
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(topLevel, e.Name()) {
			t.Errorf("%s lies at the top level: it belongs into one of %v", e.Name(), topLevel)
		}
	}
}
