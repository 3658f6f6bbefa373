// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// TestGovernedBoundary is run by TestUnderPaddock in the guest: Codex's own sandbox
// works inside the boundary, and where Codex has none, the boundary is there.
func TestGovernedBoundary(t *testing.T) {
	if os.Getenv("PADDOCK_VM") == "" {
		return // not a skip: TestUnderPaddock runs it where it can run
	}
	t.Setenv("TMPDIR", "/tmp") // the guest's root is an overlay
	around := t.TempDir()
	secret := filepath.Join(around, "secret")
	if err := os.WriteFile(secret, []byte("marker-of-the-secret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	paddock := startPaddock(t, "[paddock]\nmode = \"enforce\"\n[paddock.boundary]\nprotected = ["+quoted(around)+"]\nunreadable = ["+quoted(secret)+"]\n")
	commands := []string{
		"echo wrote >in && cat in",
		"echo wrote >" + around + "/out && cat " + around + "/out",
		"cat " + secret,
		"mkdir -p .agents; echo wrote >.agents/x && cat .agents/x",
	}
	for _, sandbox := range []string{"workspace-write", "danger-full-access"} {
		dir := t.TempDir()
		if out, err := exec.Command("git", "init", "-q", dir).CombinedOutput(); err != nil {
			t.Fatalf("git init: %v: %s", err, out)
		}
		result, err := Run(t.Context(), Options{Dir: dir, Commands: commands, Together: true, Sandbox: sandbox})
		if err != nil {
			t.Fatal(err)
		}
		for i, call := range result.Calls {
			did := strings.Contains(call.Output, "wrote") || strings.Contains(call.Output, "marker-of-the-secret")
			if want := i == 0; did != want {
				t.Errorf("%s: %q: %v, want %v: %+v", sandbox, call.Command, did, want, call)
			}
		}
		if t.Failed() {
			t.Logf("codex: %s", result.Output)
		}
	}
	out, err := exec.Command(paddock, "events", "--json", "--limit", "0", "--name", telemetry.NameFileDecision).Output()
	if err != nil {
		t.Fatal(err)
	}
	told := map[any]bool{}
	for line := range bytes.Lines(out) {
		var e telemetry.Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		if e.Attrs[telemetry.AttrToolCallID] != nil {
			told[e.Attrs[telemetry.AttrFilePath]] = true
			continue
		}
		t.Errorf("refused outside of a tool call, so Codex itself is kept from something: %v", e.Attrs)
	}
	for _, path := range []string{filepath.Join(around, "out"), secret} {
		if !told[path] {
			t.Errorf("no event names %s; these do: %v", path, told)
		}
	}
}

func quoted(s string) string { return `"` + s + `"` }
