// SPDX-License-Identifier: Apache-2.0

package telemetry

import "strings"

// contents says which attributes hold text that a policy may keep out of the
// store as a whole.
var contents = map[string]Content{
	AttrProcessCommandArgs: Commands,
	AttrPrompt:             Prompts,
	AttrToolArguments:      Arguments,
	AttrToolOutput:         Outputs,
	AttrHookMessage:        Outputs,
	AttrReviewRationale:    Outputs,

	// As OpenTelemetry and agents call them, below RecordPrefix.
	"prompt": Prompts, "prompt_text": Prompts, "user_prompt": Prompts, "request_text": Prompts, "gen_ai.input.messages": Prompts, "gen_ai.system_instructions": Prompts, "gen_ai.prompt": Prompts,
	"response": Outputs, "output": Outputs, "gen_ai.output.messages": Outputs, "gen_ai.completion": Outputs, "response_text": Outputs,
	"arguments": Arguments, "function_args": Arguments, "tool_input": Arguments, "tool_parameters": Arguments,
	"full_command": Arguments,
}

// opaque are attributes whose values Paddock makes up itself, or that are names
// of things: no secret is looked for in them, and what looks random in them is
// none. Every other text is searched.
var opaque = map[string]bool{
	AttrAgent: true, AttrAgentInstall: true, AttrSurface: true, AttrSessionHow: true, AttrToolCallID: true, AttrThreadID: true,
	AttrDecision: true, AttrGate: true, AttrTier: true, AttrMode: true, AttrFileID: true, AttrPolicyDigests: true,
	AttrPolicyProvenance: true, AttrNetworkTransport: true, AttrNetworkType: true, AttrDestinationAddress: true,
	AttrSocketKind: true, AttrGapCause: true, AttrGapFrom: true, AttrGapTo: true, AttrGapSink: true, AttrProcessOwner: true,
	AttrDecisionCause: true, AttrNameLearned: true, AttrProtocol: true, AttrHTTPMethod: true,
	AttrTurnID: true, AttrSenderToolCall: true, AttrTraceID: true, AttrSpanID: true, AttrParentSpanID: true,
	AttrEscaped: true, AttrTruncated: true, AttrConverted: true, AttrRedacted: true,
}

// treatment is what contents and opaque say of an attribute.
type treatment struct {
	content Content
	opaque  bool
}

var treatments = func() map[string]treatment {
	out := make(map[string]treatment, len(contents)+len(opaque))
	for name, c := range contents {
		out[name] = treatment{content: c}
	}
	for name := range opaque {
		out[name] = treatment{opaque: true}
	}
	return out
}()

// treatmentOf finds the treatment of an attribute. What an agent calls its own
// attributes makes none of them opaque.
func treatmentOf(key string) treatment {
	if name, ok := strings.CutPrefix(key, RecordPrefix); ok {
		return treatment{content: contents[name]}
	}
	return treatments[key]
}
