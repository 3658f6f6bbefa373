// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"fmt"
	"slices"
	"strings"

	common "go.opentelemetry.io/proto/slim/otlp/common/v1"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry/join"
)

// kind is one counter.
type kind struct {
	name, unit, meaning string
	labels              []string // of its rows, as paddock stats has them
	rows                func(*join.Stats) []join.Row
}

// The one histogram.
const (
	answerTime    = "paddock.approval.duration"
	answerMeaning = "How long it took until there was an answer to a question."
)

func kinds() []kind {
	return []kind{
		{"paddock.sessions", "{session}", "Sessions of agents that began.", []string{"agent", "version", "surface"}, func(s *join.Stats) []join.Row { return s.Sessions }},
		{"paddock.programs", "{program}", "Programs that sessions started, or were kept from.", []string{"decision"}, func(s *join.Stats) []join.Row { return s.Programs }},
		{"paddock.tool_calls", "{call}", "Tool calls, as the agents say.", []string{"agent", "tool", "mcp_server", "success"}, func(s *join.Stats) []join.Row { return s.ToolCalls }},
		{"paddock.mcp.calls", "{call}", "Of those, what MCP servers were called for.", []string{"agent", "server"}, func(s *join.Stats) []join.Row { return s.MCPServers }},
		{"paddock.agent.decisions", "{decision}", "What the agents themselves, or their users in them, decided.", []string{"agent", "by", "decision"}, func(s *join.Stats) []join.Row { return s.Decisions }},
		{"paddock.agent.sandbox", "{decision}", "What the agents' own proxies and sandboxes decided.", []string{"agent", "host", "decision"}, func(s *join.Stats) []join.Row { return s.AgentBlocks }},
		{"paddock.approvals.asked", "{question}", "Questions that people were asked.", []string{"kind"}, func(s *join.Stats) []join.Row { return s.Asked }},
		{"paddock.approvals.answered", "{question}", "What became of them.", []string{"state", "by"}, func(s *join.Stats) []join.Row { return s.Answered }},
		{"paddock.blocks", "{action}", "What was kept from happening.", []string{"what", "rule", "host"}, func(s *join.Stats) []join.Row { return s.Blocks }},
		{"paddock.would_block", "{action}", "What would have been, had the mode not been observe.", []string{"what", "rule", "host"}, func(s *join.Stats) []join.Row { return s.WouldBlock }},
		{"paddock.requirements", "{change}", "Changes of the requirements in force, and sources of them that could not be used.", []string{"what", "mode", "source"}, func(s *join.Stats) []join.Row { return s.Requirements }},
		{"paddock.telemetry.rejected", "{record}", "Records that Paddock's receiver refused.", []string{"agent", "cause"}, func(s *join.Stats) []join.Row { return s.Refused }},
		{"paddock.telemetry.missing", "{event}", "Events that are missing, where their number is known.", []string{"cause"}, func(s *join.Stats) []join.Row { return s.Missing }},
		{"paddock.events", "{event}", "Events of all kinds that were stored.", nil, func(s *join.Stats) []join.Row {
			return []join.Row{{Count: s.Events}}
		}},
	}
}

// attribute is what a label of paddock stats is called in metrics.
func attribute(label string) string {
	switch label {
	case "agent":
		return telemetry.AttrAgent
	case "version":
		return telemetry.AttrAgentVersion
	case "surface":
		return telemetry.AttrSurface
	case "decision":
		return telemetry.AttrDecision
	case "tool":
		return telemetry.AttrToolName
	case "server", "mcp_server":
		return telemetry.AttrMCPServer
	case "success":
		return telemetry.AttrSuccess
	case "rule":
		return telemetry.AttrRule
	case "host":
		return telemetry.AttrServerAddress
	case "state":
		return telemetry.AttrApprovalState
	case "kind":
		return telemetry.AttrApprovalKind
	case "mode":
		return telemetry.AttrMode
	case "source":
		return telemetry.AttrPolicySource
	}
	return "paddock." + label // what, by, cause
}

// attributes writes the labels of a series.
func attributes(labels map[string]string) []*common.KeyValue {
	var out []*common.KeyValue
	if labels[AttrOverflow] != "" {
		return []*common.KeyValue{{Key: AttrOverflow, Value: &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: true}}}}
	}
	for label, value := range labels {
		out = append(out, &common.KeyValue{Key: attribute(label), Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}})
	}
	slices.SortFunc(out, func(a, b *common.KeyValue) int { return strings.Compare(a.GetKey(), b.GetKey()) })
	return out
}

// Markdown is the table of all metrics, for docs/telemetry.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| metric | unit | of what | attributes |\n|---|---|---|---|\n")
	for _, k := range kinds() {
		var names []string
		for _, label := range k.labels {
			names = append(names, "`"+attribute(label)+"`")
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", k.name, k.unit, k.meaning, strings.Join(names, ", "))
	}
	fmt.Fprintf(&b, "| `%s` | `s` | %s A histogram |  |\n", answerTime, answerMeaning)
	return b.String()
}
