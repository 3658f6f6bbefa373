// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/tests/vm"
)

// TestUnderPaddock runs the real Codex under the real daemon, in a virtual
// machine: there the daemon knows agents by their real names.
func TestUnderPaddock(t *testing.T) {
	build := exec.Command("go", "build", "-o", binary(t), "github.com/seed-649e9bbc/paddock")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building paddock: %v\n%s", err, out)
	}
	// One kernel: what differs between them is tried by the attacks of tests/vm.
	cfg := vm.Kernels(t)[0]
	cfg.Timeout = 18 * time.Minute // five tests, some six minutes where nothing else is done
	vm.RunTests(t, cfg, "./tests/codex", "^TestGoverned(Attacks|Boundary|Story|Desktop|Hook)?$")
}

// binary is where TestUnderPaddock leaves the program for the guest.
func binary(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../bin/paddock-under-test")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestGoverned is the guest's half.
func TestGoverned(t *testing.T) {
	if os.Getenv("PADDOCK_VM") == "" {
		return // not a skip: TestUnderPaddock runs it where it can run
	}
	paddock := startPaddock(t, ForbidLs+"[paddock]\nmode = \"enforce\"\n")
	// On the file system of /usr/bin, for the hard link.
	t.Setenv("TMPDIR", "/var/tmp")
	dir := t.TempDir()
	calls, ran := disguised(t, Options{Dir: dir, Together: true})
	t.Logf("what runs under Paddock\n\n%s", Table(Disguises(), calls, ran))
	blocked := blockedCalls(t, paddock)
	for i, d := range Disguises() {
		if ran[i] {
			t.Errorf("%s: ls ran: %+v", d.Name, calls[i])
		}
		if !blocked[calls[i].ID] {
			t.Errorf("%s: no event of a forbidden ls names its tool call %s; these do: %v", d.Name, calls[i].ID, blocked)
		}
	}
}

// startPaddock starts the daemon with everything where it belongs, and nothing of the test before it.
func startPaddock(t *testing.T, requirements string) string {
	t.Helper()
	if err := os.RemoveAll("/var/lib/paddock"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("/etc/paddock", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/etc/paddock/requirements.toml", []byte(requirements), 0o644); err != nil {
		t.Fatal(err)
	}
	paddock := binary(t)
	var log bytes.Buffer
	daemon := exec.Command(paddock, "daemon")
	daemon.Stderr = &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- daemon.Wait() }()
	t.Cleanup(func() {
		_ = daemon.Process.Signal(os.Interrupt)
		err := <-ended
		if t.Failed() {
			t.Logf("the daemon ended with %v and said:\n%s", err, log.String())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		out, _ := exec.CommandContext(ctx, paddock, "status").CombinedOutput()
		if strings.Contains(string(out), "Gates") {
			t.Logf("%s", out)
			return paddock
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the daemon ended: %v", err)
		case <-ctx.Done():
			t.Fatalf("the daemon does not answer: %s", out)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// blockedCalls returns the tool calls of which an ls was forbidden.
func blockedCalls(t *testing.T, paddock string) map[string]bool {
	t.Helper()
	out, err := exec.Command(paddock, "events", "--json").Output()
	if err != nil {
		t.Fatalf("reading the events: %v", err)
	}
	blocked := map[string]bool{}
	agents := map[string]int{}
	for line := range bytes.Lines(out) {
		var e telemetry.Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		// What the test before left running is met as a session of nobody's.
		if e.Name == telemetry.NameSessionStart && e.Attrs[telemetry.AttrAgent] == "codex" {
			agents[fmt.Sprint(e.Attrs[telemetry.AttrAgent], " ", e.Attrs[telemetry.AttrSurface])]++
		}
		// Whatever it was called by: by the rule it is known.
		if e.Name == telemetry.NameProcessExec && e.Attrs[telemetry.AttrDecision] == "forbidden" && e.Attrs[telemetry.AttrRule] == "ls" {
			id, _ := e.Attrs[telemetry.AttrToolCallID].(string)
			blocked[id] = true
		}
	}
	if len(agents) != 1 || agents["codex exec"] != 1 {
		t.Errorf("sessions: %v, want one of codex, headless", agents)
	}
	return blocked
}
