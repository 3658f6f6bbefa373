// SPDX-License-Identifier: Apache-2.0

package telemetry

// agentAttributes are those of what agents report: name, type, meaning, OCSF 1.8, ECS.
var agentAttributes = []Attribute{
	{AttrPromptLength, Int, "its length, as the agent counts", "", ""},
	{AttrInputTokens, Int, "tokens the model was given", "message_context.prompt_tokens", ""},
	{AttrOutputTokens, Int, "tokens the model wrote", "message_context.completion_tokens", ""},
	{AttrMCPServer, String, "the MCP server the tool belongs to", "api.service.name", ""},
	{AttrMCPOrigin, String, "`stdio`, or the server's URL", "", ""},
	{AttrMCPServers, Strings, "the MCP servers that are configured", "", ""},
	{AttrAgentDecision, String, "what the agent says was decided: `allow`, `deny`, `timeout`, `abort`; else its own word", "", "event.outcome"},
	{AttrAgentDecidedBy, String, "who, as the agent says: `config`, `user`, `reviewer`, `hook`; else its own word", "", ""},
	{AttrApprovalPolicy, String, "the agent's own setting", "", ""},
	{AttrSandboxPolicy, String, "the agent's own setting", "", ""},
	{AttrOriginator, String, "which of an agent's programs", "", ""},
	{AttrSuccess, Bool, "what the agent says of the tool call", "", ""},
	{AttrDurationMS, Int, "milliseconds, as the agent says", "duration", ""},
	{AttrReviewRisk, String, "`low`, `medium`, `high`, `critical`", "", ""},
	{AttrReviewRationale, String, "in the reviewer's words", "", ""},
	{AttrServerPort, Int, "the port", "dst_endpoint.port", "destination.port"},
	{AttrTraceID, String, "of OpenTelemetry, hex", "", "trace.id"},
	{AttrSpanID, String, "of OpenTelemetry, hex", "", "span.id"},
	{AttrParentSpanID, String, "of OpenTelemetry, hex", "", ""},
	{AttrMetricName, String, "the agent's name of the metric", "", ""},
	{AttrMetricUnit, String, "its unit", "", ""},
	{AttrMetricValue, Float, "of a sum or gauge; of a histogram, the sum", "", ""},
	{AttrMetricCount, Int, "of a histogram, how many values", "", ""},
	{AttrRefusedCause, String, "`sender_not_governed`, `foreign_session`, `foreign_thread`, `invalid`, `size_limit`, `rate_limit`, `cardinality_limit`, `busy`, `store_failed`", "status_detail", "event.reason"},
	{AttrRefusedCount, Int, "records, or requests that nobody could read", "count", ""},
	{AttrRefusedSession, String, "the session, or conversation, it says it is of", "", ""},
}

// fromAgent are on everything an agent reports.
var fromAgent = []string{
	AttrProcessPID, AttrProcessStart, AttrProcessUserID, AttrAgent, AttrAgentVersion, AttrToolCallID, AttrThreadID, AttrTurnID,
	AttrSenderToolCall, AttrOriginator, AttrModel, AttrDurationMS, AttrSuccess, AttrErrorMessage, AttrToolName, AttrToolArguments,
	AttrToolOutput, AttrMCPServer, AttrMCPOrigin, AttrAgentDecision, AttrAgentDecidedBy, AttrPromptLength, AttrInputTokens,
	AttrOutputTokens, AttrTraceID, AttrSpanID, AttrParentSpanID,
}

// API Activity of OCSF 1.8, with its profile for AI operations.
var operation = Class{6003, "API Activity", 6, 99, 99}

// agentKinds are what agents report. Only that it came from a process of the
// session is known.
var agentKinds = []Kind{
	{
		Name: NameAgentSession, Meaning: "The agent says: a conversation begins, with these settings.",
		Attributes: all(fromAgent, []string{AttrApprovalPolicy, AttrSandboxPolicy, AttrMCPServers}), OCSF: operation,
		Category: "process", Action: "info", Tally: []string{AttrAgent, AttrProcessUserID, AttrApprovalPolicy, AttrSandboxPolicy, AttrMCPServers},
	},
	{
		Name: NameAgentPrompt, Meaning: "The agent says: this was asked for.", Attributes: all(fromAgent, []string{AttrPrompt}), OCSF: operation,
		Category: "process", Action: "start", Tally: []string{AttrAgent, AttrProcessUserID},
	},
	{
		Name: NameAgentToolDecision, Meaning: "The agent says: a tool may be called, or not.", Attributes: fromAgent, OCSF: operation,
		Category: "process", Action: "info", Tally: []string{AttrAgent, AttrProcessUserID, AttrToolName, AttrAgentDecision, AttrAgentDecidedBy},
	},
	{
		Name: NameAgentToolResult, Meaning: "The agent says: this came of a tool call.", Attributes: fromAgent, OCSF: operation,
		Category: "process", Action: "info", Tally: []string{AttrAgent, AttrProcessUserID, AttrToolName, AttrMCPServer, AttrSuccess}, Sum: AttrDurationMS,
	},
	{
		Name: NameAgentReview, Meaning: "The agent says: its automatic reviewer thought this of a tool call.",
		Attributes: all(fromAgent, []string{AttrReviewRisk, AttrReviewRationale}), OCSF: operation,
		Category: "process", Action: "info", Tally: []string{AttrAgent, AttrProcessUserID, AttrAgentDecision, AttrReviewRisk},
	},
	{
		Name: NameAgentNetwork, Meaning: "The agent says: its own proxy decided this.",
		Attributes: all(fromAgent, []string{AttrServerAddress, AttrServerPort}), OCSF: connection,
		Category: "network", Action: "connection", Tally: []string{AttrAgent, AttrProcessUserID, AttrServerAddress, AttrAgentDecision},
	},
	{
		Name: NameAgentSandbox, Meaning: "The agent says: its own sandbox did this.", Attributes: fromAgent, OCSF: operation,
		Category: "process", Action: "info", Tally: []string{AttrAgent, AttrProcessUserID, AttrAgentDecision},
	},
	{
		Name: NameAgentModel, Meaning: "The agent says: it asked the model, or had its answer.", Attributes: fromAgent, OCSF: operation,
		Category: "process", Action: "info", Tally: []string{AttrAgent, AttrProcessUserID, AttrModel},
	},
	{
		Name: NameAgentLog, Meaning: "Any other log record of the agent, or of a command that it runs.", Attributes: fromAgent, OCSF: base,
		Category: "process", Action: "info", Tally: []string{AttrAgent, AttrProcessUserID},
	},
	{
		Name: NameAgentMetric, Meaning: "One data point of a metric of the agent's.",
		Attributes: all(fromAgent, []string{AttrMetricName, AttrMetricUnit, AttrMetricValue, AttrMetricCount}), OCSF: base,
		Category: "process", Action: "info", Tally: []string{AttrAgent, AttrProcessUserID},
	},
	{
		Name: NameAgentSpan, Meaning: "One span of a trace of the agent's.", Attributes: fromAgent, OCSF: base,
		Category: "process", Action: "info", Tally: []string{AttrAgent, AttrProcessUserID},
	},
	{
		Name: NameTelemetryRefused, Meaning: "Telemetry was sent to Paddock that no session gets. The session is that of the sender.",
		Attributes: []string{AttrProcessPID, AttrProcessStart, AttrAgent, AttrRefusedCause, AttrRefusedCount, AttrRefusedSession, AttrErrorMessage},
		OCSF:       finding, Category: "intrusion_detection", Action: "denied", Tally: []string{AttrAgent, AttrRefusedCause}, Sum: AttrRefusedCount,
	},
}
