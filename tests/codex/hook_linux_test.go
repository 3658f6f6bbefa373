// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/tests/codex/responses"
)

// hookRules are not in Codex's own requirements, where Codex would judge by them before its hook is asked.
const hookRules = `
[rules]
prefix_rules = [
  { pattern = [{ token = "touch" }, { token = "never" }], decision = "forbidden", justification = "never is too late" },
  { pattern = [{ token = "touch" }, { any_of = ["asked", "refused"] }], decision = "prompt", justification = "files are counted" },
]
[paddock]
mode = "enforce"
[paddock.telemetry]
prompts = "record"
`

// hookRequirements are what docs/approvals.md tells to write, with the program elsewhere.
const hookRequirements = `
[features]
hooks = true

[hooks]
managed_dir = %[1]q

[[hooks.PreToolUse]]
[[hooks.PreToolUse.hooks]]
type = "command"
command = "%[2]s hook codex --limit 140s"
timeout = 150

[[hooks.UserPromptSubmit]]
[[hooks.UserPromptSubmit.hooks]]
type = "command"
command = "%[2]s hook codex"
timeout = 60
`

// hookConfig leaves out what takes time here and does nothing for hooks.
const hookConfig = `
[features]
plugins = false
apps = false
remote_plugin = false
shell_snapshot = false
`

const hookPrompt = "count the files"

// TestGovernedHook is run by TestUnderPaddock in the guest: the real Codex asks the real daemon by the real hook, and a person
// answers at a terminal. When the hook is gone, the gate is still there.
func TestGovernedHook(t *testing.T) {
	if os.Getenv("PADDOCK_VM") == "" {
		return // not a skip: TestUnderPaddock runs it where it can run
	}
	hook := filepath.Join(t.TempDir(), "paddock")
	if err := copyProgram(binary(t), hook); err != nil {
		t.Fatal(err)
	}
	remove, err := require(fmt.Sprintf(hookRequirements, filepath.Dir(hook), hook))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(remove)
	paddock := startPaddock(t, hookRules)
	var asked []api.Approval
	answered := make(chan error, 1)
	go func() {
		answered <- answerAll(t.Context(), paddock, func(a api.Approval) []string {
			asked = append(asked, a)
			if strings.Contains(a.Input, "refused") {
				return []string{"deny", "--reason", "count them yourself"}
			}
			return []string{"approve"}
		}, 2)
	}()

	names := []string{"free", "asked", "refused", "never", "never"}
	o := Options{Dir: t.TempDir(), Prompt: hookPrompt, Sandbox: "danger-full-access", Native: true, ConfigTOML: hookConfig}
	for i, name := range names {
		call := responses.ExecCommand(CallID(i), "touch "+name, yieldMillis)
		if i == len(names)-1 {
			call.Before = func() {
				if err := os.Remove(hook); err != nil {
					t.Error(err)
				}
			}
		}
		o.Tools = append(o.Tools, call)
	}
	result, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("Codex took %v", result.Took)
	select {
	case err := <-answered:
		if err != nil {
			t.Errorf("answering: %v", err)
		}
	default:
		t.Error("fewer than two questions were asked")
	}
	told := make([]Call, len(names))
	for i, call := range result.Calls {
		told[i].read(call.Output)
	}
	for i, want := range []struct {
		ran bool
		// What Codex tells its model instead of a result. The last one was killed: a process ended by a signal has no words.
		blocked []string
	}{
		{ran: true},
		{ran: true},
		{blocked: []string{"PreToolUse", "count them yourself"}},
		{blocked: []string{"PreToolUse", "touch never", "never is too late"}},
		{},
	} {
		_, err := os.Stat(filepath.Join(o.Dir, names[i]))
		if ran := err == nil; ran != want.ran {
			t.Errorf("touch %s: it ran: %v, want %v: %+v", names[i], ran, want.ran, result.Calls[i])
		}
		for _, text := range want.blocked {
			if !strings.Contains(told[i].Blocked, text) {
				t.Errorf("touch %s: the model was told %q, want %q in it", names[i], result.Calls[i].Output, text)
			}
		}
	}
	if told[4].Blocked != "" || told[4].ExitCode == 0 {
		t.Errorf("without its hook: %q", result.Calls[4].Output)
	}
	checkHookEvents(t, events(t, paddock), asked)
}

// checkHookEvents looks for what the hook and the gate have left of each call.
func checkHookEvents(t *testing.T, all []telemetry.Event, asked []api.Approval) {
	t.Helper()
	hooks, execs := map[any]telemetry.Event{}, map[any][]telemetry.Event{}
	questions := 0
	for _, e := range all {
		for _, fault := range telemetry.Undocumented(e) {
			t.Errorf("docs/events.md does not say so: %s", fault)
		}
		switch id := e.Attrs[telemetry.AttrToolCallID]; e.Name {
		case telemetry.NameHookTool:
			hooks[id] = e
		case telemetry.NameProcessExec:
			execs[id] = append(execs[id], e)
		case telemetry.NameApprovalRequested:
			questions++
		}
	}
	// The gate does not ask again about what was approved at the hook.
	if questions != 2 || len(asked) != 2 {
		t.Errorf("%d questions were asked, %d answered, want 2", questions, len(asked))
	}
	for i, a := range asked {
		if a.Kind != approval.Tool || a.Prompt != hookPrompt || a.ToolCall != CallID(i+1) || a.Justification != "files are counted" {
			t.Errorf("the question: %+v", a)
		}
	}
	for i, want := range []any{nil, "allow", "forbidden", "forbidden"} {
		if e, found := hooks[CallID(i)]; !found || e.Attrs[telemetry.AttrDecision] != want || e.Attrs[telemetry.AttrToolName] != "Bash" {
			t.Errorf("the hook's event of call %d: %v, want the decision %v", i, e.Attrs, want)
		}
	}
	for i := 2; i <= 3; i++ {
		if found := execs[CallID(i)]; len(found) > 0 {
			t.Errorf("call %d was refused, and yet something began: %v", i, found[0].Attrs)
		}
	}
	approved := false
	for _, e := range execs[CallID(1)] {
		approved = approved || len(asked) > 0 && e.Attrs[telemetry.AttrApprovalID] == asked[0].ID
	}
	if !approved {
		t.Errorf("what was approved does not name its approval: %v", execs[CallID(1)])
	}
	stopped := false
	for _, e := range execs[CallID(4)] {
		stopped = stopped || e.Attrs[telemetry.AttrDecision] == "forbidden"
	}
	if _, found := hooks[CallID(4)]; found || !stopped {
		t.Errorf("without its hook: %v", execs[CallID(4)])
	}
}
