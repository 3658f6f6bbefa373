// SPDX-License-Identifier: Apache-2.0

package telemetry

// RecordPrefix stands before the name of each attribute as the agent sent it:
// nothing an agent writes can pose as what Paddock says.
const RecordPrefix = "paddock.record."

// EnvPrefix begins the names of those environment variables, in lower case, that agents set for what they start.
const EnvPrefix = "paddock.env."

// Attributes of what agents report. Numbers and truths that an agent writes as
// text are numbers and truths here; the text is kept under RecordPrefix.
const (
	AttrRecordName    = RecordPrefix + "event.name" // the agent's name of the record: codex.tool_result
	AttrRecordBody    = RecordPrefix + "body"       // text, or JSON
	AttrRecordTime    = RecordPrefix + "time"       // RFC 3339, the time it claims, where that cannot be
	AttrRecordScope   = RecordPrefix + "scope"      // instrumentation scope
	AttrRecordService = RecordPrefix + "service"    // service.name of its resource
	AttrRecordDropped = RecordPrefix + "dropped"    // int64, attributes beyond the limits

	AttrPromptLength    = "paddock.prompt.length"         // int64, as the agent counts
	AttrInputTokens     = "gen_ai.usage.input_tokens"     // int64
	AttrOutputTokens    = "gen_ai.usage.output_tokens"    // int64
	AttrMCPServer       = "paddock.mcp.server"            // name of the MCP server a tool belongs to
	AttrMCPOrigin       = "paddock.mcp.origin"            // stdio, or its URL
	AttrMCPServers      = "paddock.mcp.servers"           // []string, those configured
	AttrAgentDecision   = "paddock.agent.decision"        // allow, deny, timeout, abort; else the agent's word
	AttrAgentDecidedBy  = "paddock.agent.decided_by"      // config, user, reviewer, hook; else the agent's word
	AttrApprovalPolicy  = "paddock.agent.approval_policy" // the agent's own setting
	AttrSandboxPolicy   = "paddock.agent.sandbox_policy"  // the agent's own setting
	AttrOriginator      = "paddock.agent.originator"      // which of an agent's programs
	AttrSuccess         = "paddock.success"               // bool
	AttrDurationMS      = "paddock.duration_ms"           // int64
	AttrReviewRisk      = "paddock.review.risk"           // low, medium, high, critical
	AttrReviewRationale = "paddock.review.rationale"      // text
	AttrServerPort      = "server.port"                   // int64
	AttrTraceID         = "paddock.trace.id"              // hex
	AttrSpanID          = "paddock.span.id"               // hex
	AttrParentSpanID    = "paddock.span.parent_id"        // hex
	AttrMetricName      = "paddock.metric.name"
	AttrMetricUnit      = "paddock.metric.unit"
	AttrMetricValue     = "paddock.metric.value" // float64, of a sum or gauge; of a histogram, the sum
	AttrMetricCount     = "paddock.metric.count" // int64, of a histogram

	AttrRefusedCause   = "paddock.refused.cause"   // one of the Refused constants
	AttrRefusedCount   = "paddock.refused.count"   // int64, records; requests where nobody knows how many records
	AttrRefusedSession = "paddock.refused.session" // the session, or conversation, it was meant for
)

// Causes of NameTelemetryRefused.
const (
	RefusedSender      = "sender_not_governed" // no session's process sent it
	RefusedSession     = "foreign_session"     // it says that it is of another session
	RefusedThread      = "foreign_thread"      // of a conversation that another live session has
	RefusedInvalid     = "invalid"             // it is not what its content type says
	RefusedSize        = "size_limit"          // a request, packed or unpacked, or a record is too large
	RefusedRate        = "rate_limit"          // more records than a session may send in a time
	RefusedCardinality = "cardinality_limit"   // more names than a session may use
	RefusedBusy        = "busy"                // more requests at a time than are read
	RefusedStore       = "store_failed"        // the event store does not take them
)
