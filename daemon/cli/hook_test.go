// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-649e9bbc/paddock/daemon/api"
)

// hooked runs `paddock hook` and returns what the agent gets.
func hooked(t *testing.T, socket string, in io.Reader, args ...string) (out, errs string, code int) {
	t.Helper()
	root := New("test")
	var stdout, stderr bytes.Buffer
	root.SetIn(in)
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	code = Main(root, append([]string{"hook", "--socket", socket}, args...))
	return stdout.String(), stderr.String(), code
}

const (
	denied       = `{"hookSpecificOutput":{"hookEventName":"PreToolUse","permissionDecision":"deny","permissionDecisionReason":"paddock: `
	deniedAsking = `{"hookSpecificOutput":{"hookEventName":"PermissionRequest","decision":{"behavior":"deny","message":"paddock: `
)

func TestHookAnswers(t *testing.T) {
	bash := `{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_use_id":"call_1","cwd":"/src","tool_input":{"command":"git push"}}`
	asking := strings.Replace(bash, "PreToolUse", "PermissionRequest", 1)
	for name, test := range map[string]struct {
		in     string
		args   []string
		answer api.ToolAnswer
		err    error
		want   string // how the output begins; empty: there is none
	}{
		"nothing against it":      {in: bash, answer: api.ToolAnswer{Decision: api.ToolNone}},
		"allowed by a rule":       {in: bash, answer: api.ToolAnswer{Decision: api.ToolAllow}},
		"allowed by a person":     {in: bash, answer: api.ToolAnswer{Decision: api.ToolAllow, Approval: "01"}},
		"denied":                  {in: bash, answer: api.ToolAnswer{Decision: api.ToolDeny, Reason: "no\x1b[2J way"}, want: denied + `no\\x1b[2J way`},
		"broken":                  {in: bash, err: errors.New("it burns"), want: denied + "denied: it burns"},
		"an answer that is none":  {in: bash, answer: api.ToolAnswer{Decision: "perhaps"}, want: denied + "denied: the daemon answers"},
		"unreadable command":      {in: strings.Replace(bash, `"git push"`, `7`, 1), want: denied + "denied: reading what codex tells its hook"},
		"not its business":        {in: asking},
		"permission, by a person": {in: asking, args: []string{"--permissions", "paddock"}, answer: api.ToolAnswer{Decision: api.ToolAllow, Approval: "01"}, want: `{"hookSpecificOutput":{"hookEventName":"PermissionRequest","decision":{"behavior":"allow"}}}`},
		"permission, by a rule":   {in: asking, args: []string{"--permissions", "paddock"}, answer: api.ToolAnswer{Decision: api.ToolAllow}},
		"permission, denied":      {in: asking, args: []string{"--permissions", "paddock"}, answer: api.ToolAnswer{Decision: api.ToolDeny, Reason: "no"}, want: deniedAsking + "no"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{tool: func(r api.ToolRequest) (api.ToolAnswer, error) {
				want := api.ToolRequest{Tool: "Bash", Command: "git push", Cwd: "/src", ToolCall: "call_1", Ask: strings.Contains(test.in, "PermissionRequest")}
				if diff := cmp.Diff(want, r); diff != "" {
					t.Errorf("asked (-want +got):\n%s", diff)
				}
				return test.answer, test.err
			}}
			out, errs, code := hooked(t, serve(t, f), strings.NewReader(test.in), append([]string{"codex"}, test.args...)...)
			if code != 0 || errs != "" || !strings.HasPrefix(out, test.want) || test.want == "" && out != "" {
				t.Errorf("%d %q %q", code, out, errs)
			}
		})
	}
}

// What is too long to be shown is not the same as something else that begins like it.
func TestHookTellsLongInputsApart(t *testing.T) {
	var inputs []string
	socket := serve(t, &fake{tool: func(r api.ToolRequest) (api.ToolAnswer, error) {
		inputs = append(inputs, r.Input)
		return api.ToolAnswer{Decision: api.ToolNone}, nil
	}})
	for _, end := range []string{"a", "b", "a"} {
		in := `{"hook_event_name":"PreToolUse","tool_name":"Write","tool_input":{"content":"` + strings.Repeat("x", maxHookText) + end + `"}}`
		if out, errs, code := hooked(t, socket, strings.NewReader(in), "codex"); code != 0 || out != "" || errs != "" {
			t.Fatalf("%d %q %q", code, out, errs)
		}
	}
	if inputs[0] == inputs[1] || inputs[0] != inputs[2] || len(inputs[0]) > maxHookText+200 {
		t.Errorf("they end with %q", []string{inputs[0][maxHookText:], inputs[1][maxHookText:], inputs[2][maxHookText:]})
	}
}

// Whatever cannot be done, no agent takes it for a yes: neither an exit code of 0
// without an answer, nor any other than 2.
func TestHookFailsClosed(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "p.sock")
	bash := `{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"ls"}}`
	for _, agent := range []string{"codex", "claude-code"} {
		if out, _, code := hooked(t, gone, strings.NewReader(bash), agent); code != 0 || !strings.HasPrefix(out, denied+"denied: the Paddock daemon cannot be reached") {
			t.Errorf("no daemon: %d %q", code, out)
		}
		for _, in := range []string{"", "{", "null", "\xff\xfe", `{"hook_event_name":7}`, `{"hook_event_name":"Pre Tool"}`} {
			if out, errs, code := hooked(t, gone, strings.NewReader(in), agent); code != 2 || out != "" || errs == "" {
				t.Errorf("%q: %d %q %q", in, code, out, errs)
			}
		}
		// Asking for permission is a gate too, though nobody but the record is asked.
		asking := strings.Replace(bash, "PreToolUse", "PermissionRequest", 1)
		if out, _, code := hooked(t, gone, strings.NewReader(asking), agent); code != 0 || !strings.HasPrefix(out, deniedAsking) {
			t.Errorf("no daemon: %d %q", code, out)
		}
	}
	for _, args := range [][]string{{}, {"gemini-cli"}, {"codex", "x"}, {"codex", "--limit", "0s"}, {"codex", "--permissions", "me"}, {"codex", "--what"}} {
		if _, errs, code := hooked(t, gone, strings.NewReader(bash), args...); code != 2 || errs == "" {
			t.Errorf("%v: %d %q", args, code, errs)
		}
	}
}

func TestHookDoesNotWaitForEver(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	f := &fake{tool: func(api.ToolRequest) (api.ToolAnswer, error) {
		<-release
		return api.ToolAnswer{Decision: api.ToolAllow}, nil
	}}
	bash := `{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"ls"}}`
	out, _, code := hooked(t, serve(t, f), strings.NewReader(bash), "codex", "--limit", "300ms")
	if code != 0 || !strings.HasPrefix(out, denied+"denied: nobody answered within 300ms") {
		t.Errorf("%d %q", code, out)
	}
	// Nor for an agent that does not say anything.
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	defer read.Close()
	if out, errs, code := hooked(t, "/nowhere", read, "codex", "--limit", "300ms"); code != 2 || out != "" || !strings.Contains(errs, "does not end") {
		t.Errorf("%d %q %q", code, out, errs)
	}
}

// What is only recorded keeps no agent from working, and never answers.
func TestHookRecords(t *testing.T) {
	long := strings.Repeat("x", api.MaxHookValue+7)
	in := `{"hook_event_name":"UserPromptSubmit","session_id":"abc","turn_id":"t","cwd":"/src","model":"m","permission_mode":"default","prompt":"` + long + `"}`
	f := &fake{}
	socket := serve(t, f)
	if out, errs, code := hooked(t, socket, strings.NewReader(in), "codex"); code != 0 || out != "" || errs != "" {
		t.Errorf("%d %q %q", code, out, errs)
	}
	want := []api.HookEvent{{
		Agent: "codex", Event: "UserPromptSubmit", Thread: "abc", Turn: "t", Cwd: "/src", Model: "m", Mode: "default",
		Prompt: long[:api.MaxHookValue], Cut: []string{"prompt"},
	}}
	if diff := cmp.Diff(want, f.hooks); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
	f.hookErr = errors.New("the disk is full")
	if out, errs, code := hooked(t, socket, strings.NewReader(in), "codex"); code != 1 || out != "" || !strings.Contains(errs, "the disk is full") {
		t.Errorf("%d %q %q", code, out, errs)
	}
}
