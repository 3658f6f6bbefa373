// SPDX-License-Identifier: Apache-2.0

package hook

import "encoding/json"

// output is all that Codex lets a hook write here; it takes an unknown field for a
// failure, and a failure for a yes.
type output struct {
	Specific specific `json:"hookSpecificOutput"`
}

type specific struct {
	Event string `json:"hookEventName"`
	// Of PreToolUse. There is no "allow" in it: Codex takes that only with a changed
	// input, and Claude Code would not ask its user any more.
	Permission string `json:"permissionDecision,omitempty"`
	Reason     string `json:"permissionDecisionReason,omitempty"`
	// Of PermissionRequest.
	Decision *decision `json:"decision,omitempty"`
}

type decision struct {
	Behavior string `json:"behavior"`
	Message  string `json:"message,omitempty"`
}

// ExitBlock is the exit code that blocks a tool call in either agent when nothing can
// be written; what is on the standard error is the reason.
const ExitBlock = 2

// Deny writes what keeps the agent from going on, with the reason it shows and gives
// to its model. Of an event that is no gate it is nil.
func (e *Event) Deny(reason string) []byte {
	switch e.Name {
	case PreToolUse:
		return write(specific{Event: e.Name, Permission: "deny", Reason: reason})
	case PermissionRequest:
		return write(specific{Event: e.Name, Decision: &decision{Behavior: "deny", Message: reason}})
	}
	return nil
}

// Allow writes that a person has permitted what the agent asks permission for. To
// PreToolUse the answer is nil, which means "no opinion": see specific.
func (e *Event) Allow() []byte {
	if e.Name != PermissionRequest {
		return nil
	}
	return write(specific{Event: e.Name, Decision: &decision{Behavior: "allow"}})
}

func write(s specific) []byte {
	data, err := json.Marshal(output{s})
	if err != nil {
		panic(err) // strings can be written
	}
	return append(data, '\n')
}
