// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"os"
	"os/exec"
	"testing"
)

// TestDisguisesTellTheTruth runs them without Codex: with ls as it is each must be seen to run, and with an ls that can
// be started and does nothing, none.
func TestDisguisesTellTheTruth(t *testing.T) {
	Isolated(t, func(t *testing.T) {
		try := func(want bool) {
			dir := t.TempDir()
			if err := PrepareDisguises(dir); err != nil {
				t.Fatal(err)
			}
			for _, d := range Disguises() {
				cmd := exec.CommandContext(t.Context(), "bash", "-c", d.Command)
				cmd.Dir = dir
				output, err := cmd.CombinedOutput()
				ran, tellErr := d.Ran(dir, string(output))
				if tellErr != nil {
					t.Error(tellErr)
				}
				if ran != want {
					t.Errorf("%s: Ran = %v, want %v (%v)\n%s", d.Name, ran, want, err, output)
				}
			}
		}
		try(true)
		// A shell that says as much as it can about a program that was killed.
		const killed = "#!/bin/sh\necho \"$0: killed in $PWD\" >&2\nkill -9 $$\n"
		if err := os.Remove(ls); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(ls, []byte(killed), 0o755); err != nil {
			t.Fatal(err)
		}
		try(false)
	})
}
