// SPDX-License-Identifier: Apache-2.0

package telemetry

// Names of events that hooks of agents tell of: the agent's own word, in its own
// session.
const (
	NameHookPrompt = "paddock.hook.prompt" // a person asked the agent for something
	NameHookTool   = "paddock.hook.tool"   // the agent is about to call a tool; what was answered
	NameHookResult = "paddock.hook.result" // a tool call is over
	NameHookEvent  = "paddock.hook.event"  // anything else an agent tells its hook
)

// Attributes of what hooks tell.
const (
	AttrHookEvent   = "paddock.hook.event"   // the agent's name of it: PreToolUse, Stop, ...
	AttrHookMode    = "paddock.hook.mode"    // the agent's own permission mode
	AttrHookDetail  = "paddock.hook.detail"  // why a session began or ended
	AttrHookMessage = "paddock.hook.message" // the agent's last words of a turn
	AttrHookCut     = "paddock.hook.cut"     // []string, the fields of the hook's that are not whole

	AttrTurnID        = "paddock.turn.id"            // from one prompt to the end of the answer
	AttrPrompt        = "paddock.prompt"             // text
	AttrToolName      = "gen_ai.tool.name"           // OpenTelemetry's GenAI conventions
	AttrToolArguments = "gen_ai.tool.call.arguments" // JSON text, mostly
	AttrToolOutput    = "gen_ai.tool.call.result"    // text
	AttrModel         = "gen_ai.request.model"       //

	// AttrSenderToolCall is the tool call whose process sent it, as the kernel knows
	// it. Absent: the agent itself. Such a record speaks for its own tool call only.
	AttrSenderToolCall = "paddock.sender.tool_call.id"
)
