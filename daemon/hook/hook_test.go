// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const samples = "../../tests/testdata/codex-hooks"

// Recordings of Codex 0.169.0.
func TestSamplesOfCodex(t *testing.T) {
	common := Event{
		Agent: Codex, Thread: "01a20812-220c-75b0-af28-6bdf208d509c", Turn: "01a20812-2224-7232-bab8-0ad315d43b6f",
		Cwd: "/home/dev/w", Model: "gpt-5.1-codex", Mode: "default",
	}
	for name, change := range map[string]func(*Event){
		"PreToolUse-Bash": func(e *Event) {
			e.Name, e.Tool, e.ToolCall, e.Shell, e.Command, e.Input = PreToolUse, "Bash", "call_1", true, "echo denyme", `{"command":"echo denyme"}`
		},
		"PreToolUse-mcp__echo__echo": func(e *Event) {
			e.Name, e.Tool, e.ToolCall, e.Input = PreToolUse, "mcp__echo__echo", "call_5", `{"x":"1"}`
		},
		"PreToolUse-mcp__echo__danger": func(e *Event) {
			e.Name, e.Tool, e.ToolCall, e.Input = PreToolUse, "mcp__echo__danger", "call_6", `{}`
		},
		"PermissionRequest-Bash": func(e *Event) {
			e.Name, e.Tool, e.Shell, e.Command = PermissionRequest, "Bash", true, "touch /home/x.hookallow"
			e.Input = `{"command":"touch /home/x.hookallow","description":"hookallow?"}`
		},
		"PermissionRequest-mcp__echo__echo": func(e *Event) {
			e.Name, e.Tool, e.Input = PermissionRequest, "mcp__echo__echo", `{"x":"1"}`
		},
		"PermissionRequest-mcp__echo__danger": func(e *Event) {
			e.Name, e.Tool, e.Input = PermissionRequest, "mcp__echo__danger", `{}`
		},
		"PostToolUse-Bash": func(e *Event) {
			e.Name, e.Tool, e.ToolCall, e.Shell, e.Command = PostToolUse, "Bash", "call_2", true, "touch /home/x.hookallow"
			e.Input = `{"command":"touch /home/x.hookallow"}`
		},
		"PostToolUse-mcp__echo__echo": func(e *Event) {
			e.Name, e.Tool, e.ToolCall, e.Input = PostToolUse, "mcp__echo__echo", "call_5", `{"x":"1"}`
			e.Result = `{"content":[{"type":"text","text":"ok {\"x\": \"1\"}"}]}`
		},
		"PostToolUse-mcp__echo__danger": func(e *Event) {
			e.Name, e.Tool, e.ToolCall, e.Input = PostToolUse, "mcp__echo__danger", "call_6", `{}`
			e.Result = `{"content":[{"type":"text","text":"ok {}"}]}`
		},
		"SessionStart":     func(e *Event) { e.Name, e.Turn, e.Detail = SessionStart, "", "startup" },
		"SessionEnd":       func(e *Event) { e.Name, e.Turn, e.Model, e.Mode, e.Detail = SessionEnd, "", "", "", "other" },
		"UserPromptSubmit": func(e *Event) { e.Name, e.Prompt = UserPromptSubmit, "go" },
		"Stop":             func(e *Event) { e.Name, e.Message = Stop, "done" },
		"PreModelRequest":  func(e *Event) { e.Name, e.Mode = "PreModelRequest", "" },
		"PostModelRequest": func(e *Event) { e.Name, e.Mode, e.Detail = "PostModelRequest", "", "completed" },
	} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(samples, name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			want := common
			change(&want)
			got, err := Parse(Codex, data)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	files, err := filepath.Glob(samples + "/*.json")
	if err != nil || len(files) != 15 {
		t.Errorf("%d samples, %v: each needs what is to be read from it", len(files), err)
	}
}

func TestClaudeCode(t *testing.T) {
	got, err := Parse(ClaudeCode, []byte(`{"session_id":"abc","transcript_path":"/x.jsonl","cwd":"/src","prompt_id":"p-1","permission_mode":"acceptEdits",
		"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"git push","description":"Push","timeout":1000},"tool_use_id":"toolu_1"}`))
	want := Event{
		Agent: ClaudeCode, Name: PreToolUse, Thread: "abc", Turn: "p-1", Cwd: "/src", Mode: "acceptEdits", Tool: "Bash", ToolCall: "toolu_1", Shell: true,
		Command: "git push", Input: `{"command":"git push","description":"Push","timeout":1000}`,
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for input, want := range map[string]string{
		`{"hook_event_name":"PostToolUse","tool_name":"Bash","tool_input":{"command":"ls"},"tool_response":{"stdout":"x"}}`:          `{"stdout":"x"}`,
		`{"hook_event_name":"PostToolUseFailure","tool_name":"Bash","tool_input":{"command":"false"},"error":"Exit code 1"}`:         "Exit code 1",
		`{"hook_event_name":"PostToolUse","tool_name":"Bash","tool_input":{"command":"false"},"tool_response":"Error: Exit code 1"}`: "Error: Exit code 1",
	} {
		e, err := Parse(ClaudeCode, []byte(input))
		if err != nil || e.Result != want {
			t.Errorf("%s: result %q, %v; want %q", input, e.Result, err, want)
		}
	}
}

// What is judged has to be what runs.
func TestCommandIsTheOneThatRuns(t *testing.T) {
	for input, want := range map[string]string{
		`{"command":"rm x","Command":"ls"}`:              "rm x",
		`{"Command":"ls","command":"rm x","COMMAND":""}`: "rm x",
		`{"command":"rm x","cmd":"ls"}`:                  "rm x",
		`{"cmd":"rm x"}`:                                 "rm x",
	} {
		e, err := Parse(Codex, []byte(`{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":`+input+`}`))
		if err != nil || e.Command != want {
			t.Errorf("%s: %q, %v", input, e.Command, err)
		}
	}
	e, err := Parse(Codex, []byte(`{"hook_event_name":"PreToolUse","tool_name":"shell","tool_input":{"command":["bash","-lc","ls"]}}`))
	if diff := cmp.Diff([]string{"bash", "-lc", "ls"}, e.Argv); err != nil || diff != "" || e.Command != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	for input, want := range map[string]string{
		``:                                  "not a JSON object",
		`null`:                              "not a JSON object",
		`[]`:                                "not a JSON object",
		`{}`:                                `hook_event_name "" is not the name`,
		`{"hook_event_name":1}`:             "hook_event_name is not a string",
		`{"hook_event_name":"Pre ToolUse"}`: "is not the name of an event",
		`{"Hook_Event_Name":"PreToolUse","tool_name":"x"}`:                                     "is not the name of an event",
		`{"hook_event_name":"Stop"} {}`:                                                        "something follows",
		`{"hook_event_name":"PreToolUse"}`:                                                     "tool_name is missing",
		`{"hook_event_name":"PreToolUse","tool_name":["Bash"]}`:                                "tool_name is not a string",
		`{"hook_event_name":"PreToolUse","tool_name":"Bash"}`:                                  "tool_input of Bash: it is not a JSON object",
		`{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{}}`:                  "no command in it",
		`{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":""}}`:      "no command in it",
		`{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":[]}}`:      "command is not a string",
		`{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":["a",1]}}`: "command is not a string",
		`{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":"ls"}`:                "not a JSON object",
	} {
		e, err := Parse(Codex, []byte(input))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", input, err, want)
		}
		if strings.Contains(input, `"hook_event_name":"PreToolUse"`) && e.Name != PreToolUse {
			t.Errorf("%s: it is not said which event it is, and could not be answered", input)
		}
	}
	if _, err := Parse("gemini-cli", []byte(`{}`)); err == nil || !strings.Contains(err.Error(), "one of codex, claude-code") {
		t.Errorf("%v", err)
	}
}

func TestAnswers(t *testing.T) {
	for _, test := range []struct{ event, deny, allow string }{
		{
			PreToolUse,
			`{"hookSpecificOutput":{"hookEventName":"PreToolUse","permissionDecision":"deny","permissionDecisionReason":"no \u003cway\u003e"}}` + "\n",
			"", // Codex fails, and goes on, on an "allow"
		},
		{
			PermissionRequest,
			`{"hookSpecificOutput":{"hookEventName":"PermissionRequest","decision":{"behavior":"deny","message":"no \u003cway\u003e"}}}` + "\n",
			`{"hookSpecificOutput":{"hookEventName":"PermissionRequest","decision":{"behavior":"allow"}}}` + "\n",
		},
		{Stop, "", ""}, // a "block" there would keep the agent from stopping
		{UserPromptSubmit, "", ""},
	} {
		e := Event{Agent: Codex, Name: test.event}
		if got := string(e.Deny("no <way>")); got != test.deny {
			t.Errorf("%s deny: %s", test.event, got)
		}
		if got := string(e.Allow()); got != test.allow {
			t.Errorf("%s allow: %s", test.event, got)
		}
	}
}

// Whatever comes in: no panic; a gate that could not be read can be denied; a shell
// tool that was read has a command.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob(samples + "/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"hook_event_name":"PreToolUse","tool_name":"shell","tool_input":{"command":["a"]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Parse(Codex, data)
		if err == nil && e.Name == "" {
			t.Error("an event without a name was read")
		}
		if err == nil && e.Shell && e.Command == "" && len(e.Argv) == 0 {
			t.Error("a shell tool without a command was read")
		}
		for _, out := range [][]byte{e.Deny(string(data)), e.Allow()} {
			if len(out) > 0 && !json.Valid(out) {
				t.Errorf("%q is no JSON", out)
			}
		}
		if e.Gate() && e.Deny("x") == nil {
			t.Error("a gate that cannot be denied")
		}
	})
}
