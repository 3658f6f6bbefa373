// SPDX-License-Identifier: Apache-2.0

package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// world is what nothing pure imports.
var world = []string{"os", "os/exec", "net", "net/http", "syscall", "io/fs", "io/ioutil", "log", "log/slog", "math/rand", "math/rand/v2", "crypto/rand", "golang.org/x/sys/unix"}

// clocks are those of package time; its types and units may be used.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer"}

// The core, and whatever else the table of rooms calls pure, takes no part in the world:
// it reads and writes nothing, asks no clock and starts no goroutine.
func TestPureRooms(t *testing.T) {
	pure := regexp.MustCompile(`\bPure(:|$)`)
	var rooms []string
	for name, r := range table(t) {
		if pure.MatchString(r.knows) {
			rooms = append(rooms, name)
		}
	}
	for name := range may {
		if (name == "daemon/policy" || strings.HasPrefix(name, "daemon/policy/")) && !slices.Contains(rooms, name) {
			t.Errorf("%s belongs to the core, and the table does not call it pure", name)
		}
	}
	for _, name := range rooms {
		files, err := filepath.Glob(filepath.Join(root, name, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", name, len(files), err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, what := range impure(tree) {
				t.Errorf("%s: %s", file, what)
			}
		}
	}
}

// impure lists what in a file is not pure.
func impure(file *ast.File) []string {
	var out []string
	for _, i := range file.Imports {
		if path := strings.Trim(i.Path.Value, `"`); slices.Contains(world, path) {
			out = append(out, "imports "+path)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			out = append(out, "starts a goroutine")
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks, n.Sel.Name) {
				out = append(out, "asks a clock: time."+n.Sel.Name)
			}
		}
		return true
	})
	return out
}

// What is looked for is found.
func TestImpure(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "x.go", `package x
import ("os"; "time")
func f() { go f(); time.Now(); os.Exit(int(time.Second)) }`, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(impure(file), ", "); got != "imports os, starts a goroutine, asks a clock: time.Now" {
		t.Errorf("found: %s", got)
	}
}
