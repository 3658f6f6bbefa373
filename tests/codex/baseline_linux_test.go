// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"testing"
	"time"
)

// What Codex's own rules refuse when ls is forbidden: measured with 0.169.0. It lets the others run.
var refusedByCodex = map[string]bool{
	"plain":            true,
	"absolute path":    true,
	"second in a list": true,
}

// TestBaseline is the table of what Codex lets through by itself, with ls forbidden by requirements that nobody but root
// can change.
func TestBaseline(t *testing.T) {
	Isolated(t, func(t *testing.T) {
		for _, o := range []Options{{Sandbox: "workspace-write", Together: true}, {Sandbox: "danger-full-access"}} {
			sandbox := o.Sandbox
			t.Run(sandbox, func(t *testing.T) {
				o.Requirements = ForbidLs
				calls, ran := disguised(t, o)
				t.Logf("what Codex %s lets through in %s\n\n%s", Version, sandbox, Table(Disguises(), calls, ran))
				for i, d := range Disguises() {
					refused := calls[i].Blocked != ""
					if refused != refusedByCodex[d.Name] || ran[i] == refused {
						t.Errorf("%s: refused %v, ran %v; measured before: refused %v\n%+v", d.Name, refused, ran[i], refusedByCodex[d.Name], calls[i])
					}
				}
			})
		}
		// Without this, a Codex that runs nothing at all would look like one that refuses.
		t.Run("nothing forbidden", func(t *testing.T) {
			calls, ran := disguised(t, Options{Together: true})
			for i, d := range Disguises() {
				if !ran[i] {
					t.Errorf("%s: did not run: %+v", d.Name, calls[i])
				}
			}
		})
	})
}

// disguised runs all disguises in one codex exec, and checks that Codex reported on each.
func disguised(t *testing.T, o Options) ([]Call, []bool) {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if err := PrepareDisguises(o.Dir); err != nil {
		t.Fatal(err)
	}
	o.Commands = Commands(Disguises())
	result, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d tool calls in %v", len(result.Calls), result.Took.Round(time.Millisecond))
	if result.ExitCode != 0 {
		t.Fatalf("codex exec ended with %d:\n%s", result.ExitCode, result.Output)
	}
	var ran []bool
	for i, d := range Disguises() {
		if !result.Calls[i].Answered {
			t.Fatalf("%s: Codex never reported on %s:\n%s", d.Name, result.Calls[i].ID, result.Output)
		}
		did, err := d.Ran(o.Dir, result.Calls[i].Output)
		if err != nil {
			t.Fatal(err)
		}
		ran = append(ran, did)
	}
	return result.Calls, ran
}
