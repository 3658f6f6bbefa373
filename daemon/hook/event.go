// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Agents whose protocol is known.
const (
	Codex      = "codex"
	ClaudeCode = "claude-code"
)

// Agents lists them.
func Agents() []string { return []string{Codex, ClaudeCode} }

// Names of the events that matter to Paddock. Others are recorded by their name.
const (
	PreToolUse        = "PreToolUse"
	PermissionRequest = "PermissionRequest"
	PostToolUse       = "PostToolUse"
	UserPromptSubmit  = "UserPromptSubmit"
	SessionStart      = "SessionStart"
	SessionEnd        = "SessionEnd"
	Stop              = "Stop"
)

// MaxInput bounds what an agent may tell a hook, in bytes: the content of a file that
// it writes may be in it.
const MaxInput = 16 << 20

// Event is what an agent tells a hook. All of it comes from the agent, and much of
// that from a model: it proves nothing.
type Event struct {
	Agent string // one of Agents
	Name  string // hook_event_name

	Thread string // the agent's own id of the conversation (session_id)
	Turn   string // turn_id, of Claude Code prompt_id
	Cwd    string
	Model  string
	Mode   string // permission_mode

	Tool     string // tool_name
	ToolCall string // tool_use_id
	// Shell says that the tool runs a command: Command, a text of shell, or Argv.
	Shell   bool
	Command string
	Argv    []string
	Input   string // tool_input, as JSON without needless space
	Result  string // tool_response: text, or JSON; of a call that failed, error

	Prompt  string // of UserPromptSubmit
	Message string // the agent's last words, of Stop
	Detail  string // source of SessionStart, reason of SessionEnd, status of PostModelRequest
}

// Gate says that the agent waits for a decision: a hook that fails there must say
// no. To the other events nothing is answered.
func (e *Event) Gate() bool { return e.Name == PreToolUse || e.Name == PermissionRequest }

// shellTools are the tools that run a command, by their names in either agent.
var shellTools = []string{"Bash", "shell", "local_shell", "exec_command", "Monitor"}

// Parse reads one event of an agent. When it fails after it has seen which event it
// is, the event's Name is set nevertheless, so that a gate can be answered in its
// own words. Fields that are not known are passed over: newer agents have more.
func Parse(agent string, data []byte) (Event, error) {
	e := Event{Agent: agent}
	if !slices.Contains(Agents(), agent) {
		return e, fmt.Errorf("unknown agent %q (one of %s)", agent, strings.Join(Agents(), ", "))
	}
	err := e.parse(data)
	if err != nil {
		err = fmt.Errorf("reading what %s tells its hook: %w", agent, err)
	}
	return e, err
}

func (e *Event) parse(data []byte) error {
	if len(data) > MaxInput {
		return fmt.Errorf("more than %d MiB", MaxInput>>20)
	}
	// Not into a struct: encoding/json would take "Command" for "command", and the
	// last of the two would be judged instead of the one that runs.
	fields, err := object(data)
	if err != nil {
		return err
	}
	if err := text(fields, "hook_event_name", &e.Name); err != nil {
		return err
	}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if e.Name == "" || len(e.Name) > 64 || strings.Trim(e.Name, letters) != "" {
		name := e.Name
		e.Name = ""
		return fmt.Errorf("hook_event_name %q is not the name of an event", shorten(name, 80))
	}
	for name, into := range map[string]*string{
		"session_id": &e.Thread, "cwd": &e.Cwd, "model": &e.Model, "permission_mode": &e.Mode,
		"tool_name": &e.Tool, "tool_use_id": &e.ToolCall, "prompt": &e.Prompt, "last_assistant_message": &e.Message,
	} {
		if err := text(fields, name, into); err != nil {
			return err
		}
	}
	for _, one := range []struct {
		name string
		into *string
	}{
		{"turn_id", &e.Turn},
		{"prompt_id", &e.Turn},
		{"source", &e.Detail},
		{"reason", &e.Detail},
		{"status", &e.Detail},
	} {
		if err := text(fields, one.name, one.into); err != nil {
			return err
		}
	}
	if e.Result = loose(fields["tool_response"]); e.Result == "" {
		e.Result = loose(fields["error"])
	}
	if e.Gate() && e.Tool == "" {
		return errors.New("tool_name is missing")
	}
	return e.input(fields["tool_input"])
}

// input reads the arguments of a tool call, of a shell tool also its command.
func (e *Event) input(raw json.RawMessage) error {
	if len(raw) > 0 {
		e.Input = loose(raw)
	}
	if e.Shell = slices.Contains(shellTools, e.Tool); !e.Shell {
		return nil
	}
	fields, err := object(raw)
	if err != nil {
		return fmt.Errorf("tool_input of %s: %w", e.Tool, err)
	}
	name := "command"
	if _, ok := fields[name]; !ok {
		name = "cmd"
	}
	if json.Unmarshal(fields[name], &e.Argv) == nil && len(e.Argv) > 0 {
		return nil
	}
	e.Argv = nil
	if err := text(fields, name, &e.Command); err != nil {
		return fmt.Errorf("tool_input of %s: %w", e.Tool, err)
	}
	if e.Command == "" {
		// An agent that calls it otherwise runs a command that nobody judged.
		return fmt.Errorf("tool_input of %s: there is no command in it", e.Tool)
	}
	return nil
}

// object reads one JSON object.
func object(data []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	var fields map[string]json.RawMessage
	if err := dec.Decode(&fields); err != nil {
		return nil, fmt.Errorf("it is not a JSON object: %w", err)
	}
	if fields == nil {
		return nil, errors.New("it is not a JSON object but null")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON object")
	}
	return fields, nil
}

// text reads a string, if it is there and not null.
func text(fields map[string]json.RawMessage, name string, into *string) error {
	raw, ok := fields[name]
	if !ok || string(raw) == "null" {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%s is not a string", name)
	}
	return nil
}

// loose makes text of any JSON: of a string what it says, of the rest the JSON.
func loose(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || string(raw) == "null" || json.Unmarshal(raw, &s) == nil {
		return s
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

func shorten(s string, limit int) string {
	if len(s) > limit {
		return s[:limit] + "..."
	}
	return s
}
