// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// kindOf gives the name for what an agent calls its record. Codex's are those of
// its 0.169.0, as captured; Claude Code's those that its 2.1.296 sends, Gemini CLI's
// those that its 0.61.0 sends.
func kindOf(name string) string {
	agent, rest, ok := strings.Cut(name, ".")
	if !ok {
		return telemetry.NameAgentLog
	}
	switch agent {
	case "codex":
		switch rest {
		case "conversation_starts":
			return telemetry.NameAgentSession
		case "user_prompt":
			return telemetry.NameAgentPrompt
		case "tool_decision":
			return telemetry.NameAgentToolDecision
		case "tool_result":
			return telemetry.NameAgentToolResult
		case "guardian_assessment":
			return telemetry.NameAgentReview
		case "network_proxy.policy_decision":
			return telemetry.NameAgentNetwork
		case "sandbox_outcome":
			return telemetry.NameAgentSandbox
		case "api_request", "sse_event", "websocket_request":
			return telemetry.NameAgentModel
		}
	case "claude_code":
		switch rest {
		case "user_prompt":
			return telemetry.NameAgentPrompt
		case "tool_decision":
			return telemetry.NameAgentToolDecision
		case "tool_result":
			return telemetry.NameAgentToolResult
		case "api_request", "api_error":
			return telemetry.NameAgentModel
		}
	case "gemini_cli", "qwen-code":
		switch rest {
		case "config":
			return telemetry.NameAgentSession
		case "user_prompt":
			return telemetry.NameAgentPrompt
		case "tool_call":
			return telemetry.NameAgentToolResult
		case "api_request", "api_response", "api_error":
			return telemetry.NameAgentModel
		}
	}
	return telemetry.NameAgentLog
}

// field says which of an agent's attributes become one of ours.
type field struct {
	to    string
	from  []string // the first that is there
	as    func(any) any
	moved bool   // large, and the same: not kept twice
	only  string // in events of this name
}

func fields() []field {
	return []field{
		{to: telemetry.AttrThreadID, from: []string{"conversation.id", "gen_ai.conversation.id", "session.id", "thread.id"}, as: asWord},
		{to: telemetry.AttrTurnID, from: []string{"turn.id", "prompt.id", "prompt_id"}, as: asWord},
		{to: telemetry.AttrToolCallID, from: []string{"call_id", "tool_use_id", "tool.call_id", "gen_ai.tool.call.id", "gen_ai.tool.call_id"}, as: asWord},
		{to: telemetry.AttrToolCallID, from: []string{"item.id"}, as: asWord, only: telemetry.NameAgentReview},
		{to: telemetry.AttrToolName, from: []string{"tool_name", "function_name", "gen_ai.tool.name", "tool.name"}, as: asWord},
		{to: telemetry.AttrToolArguments, from: []string{"arguments", "tool_input", "tool_parameters", "function_args", "gen_ai.tool.call.arguments"}, as: asText, moved: true},
		{to: telemetry.AttrToolOutput, from: []string{"output", "gen_ai.tool.call.result"}, as: asText, moved: true},
		{to: telemetry.AttrErrorMessage, from: []string{"error.message", "error"}, as: asWord},
		{to: telemetry.AttrPrompt, from: []string{"prompt", "prompt_text"}, as: asText, moved: true, only: telemetry.NameAgentPrompt},
		{to: telemetry.AttrPromptLength, from: []string{"prompt_length"}, as: asInt},
		{to: telemetry.AttrAgentDecision, from: []string{"decision", "outcome", "network.policy.decision"}, as: asDecision},
		{to: telemetry.AttrAgentDecidedBy, from: []string{"source", "decision_source", "network.policy.source"}, as: asDecider},
		{to: telemetry.AttrSuccess, from: []string{"success"}, as: asBool},
		{to: telemetry.AttrDurationMS, from: []string{"duration_ms"}, as: asInt},
		{to: telemetry.AttrModel, from: []string{"gen_ai.request.model", "model"}, as: asWord},
		{to: telemetry.AttrInputTokens, from: []string{"gen_ai.usage.input_tokens", "input_token_count", "input_tokens"}, as: asInt},
		{to: telemetry.AttrOutputTokens, from: []string{"gen_ai.usage.output_tokens", "output_token_count", "output_tokens"}, as: asInt},
		{to: telemetry.AttrMCPServer, from: []string{"mcp_server", "mcp_server_name"}, as: asWord},
		{to: telemetry.AttrMCPOrigin, from: []string{"mcp_server_origin"}, as: asWord},
		{to: telemetry.AttrMCPServers, from: []string{"mcp_servers"}, as: asList, only: telemetry.NameAgentSession},
		{to: telemetry.AttrApprovalPolicy, from: []string{"approval_policy", "approval_mode"}, as: asWord, only: telemetry.NameAgentSession},
		{to: telemetry.AttrSandboxPolicy, from: []string{"sandbox_policy", "sandbox_enabled"}, as: asText, only: telemetry.NameAgentSession},
		{to: telemetry.AttrOriginator, from: []string{"originator"}, as: asWord},
		{to: telemetry.AttrServerAddress, from: []string{"server.address"}, as: asWord, only: telemetry.NameAgentNetwork},
		{to: telemetry.AttrServerPort, from: []string{"server.port"}, as: asInt, only: telemetry.NameAgentNetwork},
		{to: telemetry.AttrReviewRisk, from: []string{"risk_level"}, as: asWord, only: telemetry.NameAgentReview},
		{to: telemetry.AttrReviewRationale, from: []string{"rationale"}, as: asText, moved: true, only: telemetry.NameAgentReview},
	}
}

// asDecision gives one word to what agents have several for.
func asDecision(v any) any {
	s, _ := v.(string)
	switch s {
	case "":
		return nil
	case "approved", "approved_for_session", "approved_execpolicy_amendment", "network_policy_amendment", // Codex
		"accept", "auto_accept", "modify", "allow": // Claude Code, Gemini CLI
		return "allow"
	case "denied", "reject", "deny":
		return "deny"
	case "timed_out":
		return "timeout"
	case "abort", "cancelled":
		return "abort"
	}
	return s
}

// asDecider says who decided: Codex writes Config, User or AutomatedReviewer,
// Claude Code user_permanent, user_temporary, user_reject or user_abort.
func asDecider(v any) any {
	s, _ := v.(string)
	switch lower := strings.ToLower(s); {
	case s == "":
		return nil
	case lower == "automatedreviewer":
		return "reviewer"
	case strings.HasPrefix(lower, "user"):
		return "user"
	case lower == "config", lower == "hook":
		return lower
	}
	return s
}
