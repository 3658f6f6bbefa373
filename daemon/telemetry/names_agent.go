// SPDX-License-Identifier: Apache-2.0

package telemetry

// Names of events that agents report of themselves. What one of them says is
// its own word: only that it came from a process of the session is known.
const (
	NameAgentSession      = "paddock.agent.session"       // a conversation begins, and its settings
	NameAgentPrompt       = "paddock.agent.prompt"        // what the person, or another program, asked for
	NameAgentToolDecision = "paddock.agent.tool_decision" // whether the agent may call a tool, and who said so
	NameAgentToolResult   = "paddock.agent.tool_result"   // what came of a tool call
	NameAgentReview       = "paddock.agent.review"        // an automatic reviewer's opinion of a tool call
	NameAgentNetwork      = "paddock.agent.network"       // a decision of the agent's own proxy
	NameAgentSandbox      = "paddock.agent.sandbox"       // what the agent's own sandbox did
	NameAgentModel        = "paddock.agent.model"         // a request to the model, or the end of its answer
	NameAgentLog          = "paddock.agent.log"           // any other log record
	NameAgentMetric       = "paddock.agent.metric"        // one data point
	NameAgentSpan         = "paddock.agent.span"          // one span

	NameTelemetryRefused = "paddock.telemetry.refused" // records were sent that no session gets
)

// AgentNames lists the names of events that agents report.
func AgentNames() []string {
	return []string{
		NameAgentSession, NameAgentPrompt, NameAgentToolDecision, NameAgentToolResult, NameAgentReview, NameAgentNetwork,
		NameAgentSandbox, NameAgentModel, NameAgentLog, NameAgentMetric, NameAgentSpan,
	}
}
