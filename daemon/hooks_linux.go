// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"maps"
	"strings"
	"sync"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/hook"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// prompts are what people asked of their agents last, by session: a question shows
// what it came from.
type prompts struct {
	mu   sync.Mutex
	last map[string]string
}

// maxPrompts bounds the sessions whose last prompt is kept.
const maxPrompts = 1024

func (p *prompts) set(session, prompt string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil || len(p.last) >= maxPrompts {
		p.last = map[string]string{}
	}
	p.last[session] = prompt
}

func (p *prompts) of(session string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last[session]
}

// hookNames are the events that matter to the story of a session.
var hookNames = map[string]string{
	hook.UserPromptSubmit: telemetry.NameHookPrompt,
	hook.PreToolUse:       telemetry.NameHookTool,
	hook.PostToolUse:      telemetry.NameHookResult,
}

// RecordHook records what an agent told its hook. The session is the caller's, by the
// kernel; everything else is the agent's word.
func (d *Daemon) RecordHook(_ context.Context, p api.Peer, e api.HookEvent) error {
	return d.recordHook(p, e, nil)
}

func (d *Daemon) recordHook(p api.Peer, e api.HookEvent, more map[string]any) error {
	s, why, known := d.enforcer.Whose(p.PID)
	// Whatever was found out under its number was about the process that connected.
	if !p.Alive() {
		return &approval.RefusedError{Why: "the process that asked has ended"}
	}
	if !known {
		return &approval.RefusedError{Why: "the process belongs to no session"}
	}
	if e.Prompt != "" && why.ToolCallID == "" { // of the agent itself, and no command of its
		d.enforcer.NotePrompt(s.ID, e.Prompt)
	}
	name, known := hookNames[e.Event]
	if !known {
		name = telemetry.NameHookEvent
	}
	attrs := map[string]any{telemetry.AttrAgent: s.Agent, telemetry.AttrProcessPID: int64(p.PID), telemetry.AttrHookEvent: e.Event}
	for key, value := range map[string]string{
		telemetry.AttrThreadID: e.Thread, telemetry.AttrTurnID: e.Turn, telemetry.AttrToolCallID: e.ToolCall,
		telemetry.AttrProcessWorkingDir: e.Cwd, telemetry.AttrModel: e.Model, telemetry.AttrHookMode: e.Mode,
		telemetry.AttrToolName: e.Tool, telemetry.AttrToolArguments: e.Input, telemetry.AttrToolOutput: e.Result,
		telemetry.AttrPrompt: e.Prompt, telemetry.AttrHookMessage: e.Message, telemetry.AttrHookDetail: e.Detail,
		// A command of the agent can call the hook too. It tells nothing of the agent.
		telemetry.AttrSenderToolCall: why.ToolCallID,
	} {
		if value != "" {
			attrs[key] = value
		}
	}
	if len(e.Cut) > 0 {
		attrs[telemetry.AttrHookCut] = e.Cut
	}
	maps.Copy(attrs, more)
	d.record(telemetry.Event{Name: name, Severity: telemetry.Info, Session: s.ID, Attrs: attrs})
	if e.Event == hook.UserPromptSubmit && why.ToolCallID == "" {
		d.prompts.set(s.ID, e.Prompt)
	}
	return nil
}

// recordTool records what an agent's hook asked, and the answer.
func (d *Daemon) recordTool(p api.Peer, r api.ToolRequest, answer api.ToolAnswer) {
	e := api.HookEvent{Event: hook.PreToolUse, Cwd: r.Cwd, Tool: r.Tool, ToolCall: r.ToolCall, Input: r.Input}
	if r.Ask {
		e.Event = hook.PermissionRequest
	}
	if r.Command != "" {
		e.Input = r.Command
	} else if len(r.Argv) > 0 {
		e.Input = strings.Join(r.Argv, " ")
	}
	e.Truncate()
	decision := map[string]string{api.ToolAllow: "allow", api.ToolDeny: "forbidden"}[answer.Decision]
	more := map[string]any{}
	if answer.Reason != "" {
		more[telemetry.AttrDecisionReason] = answer.Reason
	}
	if decision != "" {
		more[telemetry.AttrDecision] = decision
	}
	if err := d.recordHook(p, e, more); err != nil {
		d.config.Log.Debug("recording what a hook asked", "error", err)
	}
}
