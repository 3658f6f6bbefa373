// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// actTool asks as an agent's hook does. Agents do not say for which call they want permission.
func actTool(socket, call, command string) error {
	cwd, err := os.Getwd()
	if err != nil {
		return err
	}
	r := api.ToolRequest{Tool: "Bash", Command: command, Cwd: cwd, ToolCall: call, Ask: call == "ask" || call == "ask-unnamed"}
	if call == "ask-unnamed" {
		r.ToolCall = ""
	}
	a, err := api.NewClient(socket).RequestTool(context.Background(), r)
	fmt.Println(a.Decision, a.Reason)
	return err
}

// actPrompt tells a prompt as an agent's hook does.
func actPrompt(socket, prompt string) error {
	return api.NewClient(socket).RecordHook(context.Background(), api.HookEvent{Agent: "codex", Event: "UserPromptSubmit", Prompt: prompt})
}

const toolAskRules = `
[rules]
prefix_rules = [
  { pattern = [{ token = "touch" }, { token = "never" }], decision = "forbidden", justification = "never" },
  { pattern = [{ token = "touch" }], decision = "prompt", justification = "it leaves files" },
  { pattern = [{ token = "mkdir" }], decision = "prompt-user", justification = "a person looks at each" },
]
[paddock]
mode = "enforce"
`

// What an agent's hook asks about is answered before it runs, and what was approved
// there is not asked about a second time, nor anything else with it.
func TestToolCall(t *testing.T) {
	m := started(t, toolAskRules)
	hook := func(call, command string) *process {
		t.Helper()
		return m.begin(shared.self+" act-tool "+m.socket()+" "+call+" '"+command+"'", "PDK_TOOL_CALL="+call)
	}
	said := func(p *process) string {
		t.Helper()
		p.wait(t)
		return p.out.String()
	}
	if out := said(hook("c1", "cd /tmp && echo x")); !strings.HasPrefix(out, "none ") {
		t.Errorf("what no rule is about: %q", out)
	}
	if out := said(hook("c2", "cd x; FOO=1 touch never && true")); !strings.HasPrefix(out, "deny ") || !strings.Contains(out, "never") {
		t.Errorf("what is forbidden: %q", out)
	}
	if n := len(m.pending()); n != 0 {
		t.Errorf("%d questions about what is forbidden", n)
	}
	if out, _ := exec.Command(shared.self, "act-tool", m.socket(), "c3", "true").CombinedOutput(); !strings.Contains(string(out), "belongs to no session") {
		t.Errorf("asked by nobody's process: %q", out)
	}

	// What the user had asked of the agent goes with the question, if the agent says so;
	// what a command of its says, does not.
	p := m.begin(shared.self + " act-prompt " + m.socket() + " 'release it'; PDK_TOOL_CALL=c0 " + shared.self + " act-prompt " + m.socket() + " forged; " +
		shared.self + " act-tool " + m.socket() + " c4 'echo a && touch one'; " +
		shared.self + " act-tool " + m.socket() + " ask-unnamed 'echo a && touch one'; touch one; echo code-$?; touch one & wait; true")
	// It asks, asks for permission itself, runs what was approved, and something else.
	e := m.events.wait("the question", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameApprovalRequested && text(e, telemetry.AttrApprovalKind) == "tool"
	})
	id := text(e, telemetry.AttrApprovalID)
	if all := m.pending(); len(all) != 1 || all[0].Input != "echo a && touch one" || all[0].Tool != "Bash" || all[0].ToolCall != "c4" || all[0].Prompt != "release it" || all[0].Kind != approval.Tool {
		t.Errorf("the question: %+v", all)
	}
	m.answers(0, "approve", id)
	p.says(t, "allow approved by root (terminal)")
	p.says(t, "code-0")
	if n := strings.Count(p.out.String(), "allow approved by root (terminal)"); n != 2 {
		t.Errorf("the agent's own question about what was approved got another answer:\n%s", p.out)
	}
	ran := m.events.wait("what was approved", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameProcessExec && text(e, telemetry.AttrApprovalID) == id
	})
	if !m.exists("one") || text(ran, telemetry.AttrApprovalState) != "allowed" {
		t.Errorf("it did not run: %v", ran.Attrs)
	}
	// The second time it is a question of its own.
	m.answers(0, "deny", m.question("one"))
	p.wait(t)

	// An agent's own program of that name was not what was approved.
	copyFile(t, "/usr/bin/touch", filepath.Join(m.dir, "touch"))
	q := m.begin(shared.self + " act-tool " + m.socket() + " c5 'touch two'; ./touch two; echo code-$?")
	m.answers(0, "approve", text(m.events.wait("the question", func(e telemetry.Event) bool {
		return text(e, telemetry.AttrToolCallID) == "c5" && e.Name == telemetry.NameApprovalRequested
	}), telemetry.AttrApprovalID))
	m.answers(0, "deny", m.question("two"))
	q.says(t, "code-137")
	if m.exists("two") {
		t.Error("it ran")
	}

	// An agent that wants a person asked gets one, and an answer withdrawn with it.
	asks := hook("ask", "true")
	wanted := m.events.wait("the question", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameApprovalRequested && text(e, telemetry.AttrToolCallID) == "ask"
	})
	if !strings.Contains(text(wanted, telemetry.AttrDecisionReason), "asks for permission") {
		t.Errorf("the question: %v", wanted.Attrs)
	}
	must(t, asks.cmd.Process.Kill())
	must(t, exec.Command("kill", "-9", "--", fmt.Sprint(-asks.pid())).Run())
	m.events.wait("its end", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameApprovalCancelled && text(e, telemetry.AttrApprovalID) == text(wanted, telemetry.AttrApprovalID)
	})
}

// What a person approved before a call is that program, where the call said that it would be.
func TestApprovedCallIsNothingElse(t *testing.T) {
	m := started(t, toolAskRules)
	for _, test := range []struct{ name, call, approve, run, made string }{
		{"another program called by its name", "n1", "touch made-1 made-2", "exec bash -c 'exec -a touch mkdir made-1 made-2'", "made-1"},
		{"in another directory", "n2", "touch there", "cd sub && exec touch there", "sub/there"},
		{"in another one mounted there", "n3", "touch mounted", "unshare -rm sh -c \"mount --bind sub $PWD && cd $PWD && exec touch mounted\"", "sub/mounted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			must(t, os.MkdirAll(filepath.Join(m.dir, "sub"), 0o777))
			p := m.begin(shared.self + " act-tool " + m.socket() + " " + test.call + " '" + test.approve + "'; (" + test.run + "); echo code-$?")
			m.answers(0, "approve", text(m.events.wait("the question before the call", func(e telemetry.Event) bool {
				return text(e, telemetry.AttrToolCallID) == test.call && e.Name == telemetry.NameApprovalRequested
			}), telemetry.AttrApprovalID))
			m.answers(0, "deny", m.question(filepath.Base(test.made)))
			p.says(t, "code-137")
			if m.exists(test.made) {
				t.Error("it ran")
			}
		})
	}
	p := m.begin(shared.self + " act-tool " + m.socket() + " n4 'cd sub && touch here'; cd sub && touch here; echo code-$?")
	m.answers(0, "approve", text(m.events.wait("the question before the call", func(e telemetry.Event) bool {
		return text(e, telemetry.AttrToolCallID) == "n4" && e.Name == telemetry.NameApprovalRequested
	}), telemetry.AttrApprovalID))
	p.says(t, "code-0") // people saw where it goes
}
