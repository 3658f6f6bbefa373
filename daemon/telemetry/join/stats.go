// SPDX-License-Identifier: Apache-2.0

package join

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// Stats is how a machine's agents were used, and what Paddock did, in numbers.
type Stats struct {
	From time.Time `json:"from"` // the hour it begins with
	To   time.Time `json:"to"`

	Sessions     []Row     `json:"sessions"`         // agent, version, surface
	Programs     []Row     `json:"programs"`         // what became of them: decision
	ToolCalls    []Row     `json:"tool_calls"`       // agent, mcp_server, tool, success; as the agents say
	MCPServers   []Row     `json:"mcp_servers"`      // agent, server: of the tool calls
	Decisions    []Row     `json:"agents_decisions"` // agent, by, decision; as the agents say
	Asked        []Row     `json:"approvals_asked"`  // kind
	Answered     []Row     `json:"approvals"`        // state, by
	Answer       *Duration `json:"answer_time,omitempty"`
	Blocks       []Row     `json:"blocks"`              // what, rule, host: kept from happening
	WouldBlock   []Row     `json:"would_block"`         // the same, in mode observe
	AgentBlocks  []Row     `json:"agents_blocks"`       // agent, host, decision: of the agents' own proxies and sandboxes
	Requirements []Row     `json:"requirements"`        // what: applied, rejected, strictest, last known good
	Refused      []Row     `json:"telemetry_refused"`   // agent, cause
	Missing      []Row     `json:"telemetry_missing"`   // cause
	Events       int64     `json:"events"`              // of all kinds
	Uncounted    []string  `json:"uncounted,omitempty"` // kinds with more different values an hour than are told apart
}

// Row is a number and what it is of.
type Row struct {
	Of    map[string]string `json:"of"`
	Count int64             `json:"count"`
}

// Duration is how long something took, in seconds.
type Duration struct {
	Count  int     `json:"count"`
	Median float64 `json:"median"`
	P95    float64 `json:"p95"`
	Max    float64 `json:"max"`
}

// Tallies is where numbers come from. telemetry.Store is one.
type Tallies interface {
	Events
	Tallies(ctx context.Context, from, to time.Time, names ...string) ([]telemetry.Tally, error)
}

// maxAnswers is how many answers the time to answer is taken of: the newest.
const maxAnswers = 1000

// Count adds up what happened between two times, in whole hours.
func Count(ctx context.Context, s Tallies, from, to time.Time) (*Stats, error) {
	if !to.After(from) {
		return nil, fmt.Errorf("counting from %s to %s: it must end after it begins", from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	tallies, err := s.Tallies(ctx, from, to)
	if err != nil {
		return nil, err
	}
	out := Sum(tallies)
	out.From, out.To = from.Truncate(time.Hour), to
	answered, err := s.Query(ctx, telemetry.Query{Names: []string{telemetry.NameApprovalAnswered}, Newest: true, Limit: maxAnswers})
	if err != nil {
		return nil, err
	}
	var seconds []float64
	for _, e := range answered {
		if took, ok := e.Attrs[telemetry.AttrApprovalSeconds].(float64); ok && !e.Time.Before(out.From) && e.Time.Before(to) {
			seconds = append(seconds, took)
		}
	}
	out.Answer = durations(seconds)
	return out, nil
}

func durations(seconds []float64) *Duration {
	if len(seconds) == 0 {
		return nil
	}
	slices.Sort(seconds)
	at := func(share float64) float64 { return seconds[min(int(share*float64(len(seconds))), len(seconds)-1)] }
	return &Duration{len(seconds), at(0.5), at(0.95), seconds[len(seconds)-1]}
}

// Sum puts tallies into the rows they belong to.
func Sum(tallies []telemetry.Tally) *Stats {
	out := &Stats{}
	rows := map[*[]Row]map[string]*Row{}
	add := func(to *[]Row, n int64, of ...string) {
		labels := map[string]string{}
		for i := 0; i+1 < len(of); i += 2 {
			if of[i+1] != "" {
				labels[of[i]] = of[i+1]
			}
		}
		if rows[to] == nil {
			rows[to] = map[string]*Row{}
		}
		key := strings.Join(of, "\x00")
		if r := rows[to][key]; r != nil {
			r.Count += n
			return
		}
		rows[to][key] = &Row{labels, n}
	}
	uncounted := map[string]bool{}
	for i := range tallies {
		t := &tallies[i]
		out.Events += t.Count
		if len(t.Attrs) == 0 && len(telemetry.TalliedBy(t.Name)) > 0 {
			uncounted[t.Name] = true
		}
		count(out, t, add)
	}
	for to, of := range rows {
		for _, r := range of {
			*to = append(*to, *r)
		}
		slices.SortFunc(*to, func(a, b Row) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(fmt.Sprint(a.Of), fmt.Sprint(b.Of)))
		})
	}
	for name := range uncounted {
		out.Uncounted = append(out.Uncounted, name)
	}
	slices.Sort(out.Uncounted)
	return out
}

func count(out *Stats, t *telemetry.Tally, add func(*[]Row, int64, ...string)) {
	text := func(key string) string {
		switch v := t.Attrs[key].(type) {
		case string:
			return v
		case bool:
			return fmt.Sprint(v)
		}
		return ""
	}
	agent := text(telemetry.AttrAgent)
	switch t.Name {
	case telemetry.NameSessionStart:
		add(&out.Sessions, t.Count, "agent", agent, "version", text(telemetry.AttrAgentVersion), "surface", text(telemetry.AttrSurface))
	case telemetry.NameProcessExec:
		add(&out.Programs, t.Count, "decision", text(telemetry.AttrDecision))
		block(out, t, "command", text(telemetry.AttrRule), "", text, add)
	case telemetry.NameHoldKilled:
		add(&out.Blocks, t.Count, "what", "killed before it was judged", "rule", "", "host", "")
	case telemetry.NameNetworkDecision, telemetry.NameNetworkConnection:
		host := text(telemetry.AttrServerAddress)
		if host == "" {
			host = text(telemetry.AttrDestinationAddress)
		}
		block(out, t, "connection", text(telemetry.AttrRule), host, text, add)
	case telemetry.NameFileDecision:
		block(out, t, strings.TrimSpace("file "+text(telemetry.AttrFileOperation)), "", "", text, add)
	case telemetry.NameTamper:
		add(&out.Blocks, t.Count, "what", "reaching for Paddock", "rule", "", "host", "")
	case telemetry.NameAgentToolResult:
		server := text(telemetry.AttrMCPServer)
		add(&out.ToolCalls, t.Count, "agent", agent, "mcp_server", server, "tool", text(telemetry.AttrToolName), "success", text(telemetry.AttrSuccess))
		if server != "" {
			add(&out.MCPServers, t.Count, "agent", agent, "server", server)
		}
	case telemetry.NameAgentToolDecision:
		add(&out.Decisions, t.Count, "agent", agent, "by", text(telemetry.AttrAgentDecidedBy), "decision", text(telemetry.AttrAgentDecision))
	case telemetry.NameAgentNetwork, telemetry.NameAgentSandbox:
		add(&out.AgentBlocks, t.Count, "agent", agent, "host", text(telemetry.AttrServerAddress), "decision", text(telemetry.AttrAgentDecision))
	case telemetry.NameApprovalRequested:
		add(&out.Asked, t.Count, "kind", text(telemetry.AttrApprovalKind))
	case telemetry.NameApprovalAnswered:
		add(&out.Answered, t.Count, "state", text(telemetry.AttrApprovalState), "by", text(telemetry.AttrApprovalBy))
	case telemetry.NameApprovalExpired:
		add(&out.Answered, t.Count, "state", "expired", "by", "")
	case telemetry.NameApprovalCancelled:
		add(&out.Answered, t.Count, "state", "cancelled", "by", "")
	case telemetry.NamePolicyApplied:
		what := "applied"
		if v, _ := t.Attrs[telemetry.AttrPolicyStrictest].(bool); v {
			what = "strictest"
		} else if v, _ := t.Attrs[telemetry.AttrPolicyLastKnown].(bool); v {
			what = "last known good"
		}
		add(&out.Requirements, t.Count, "what", what, "mode", text(telemetry.AttrMode))
	case telemetry.NamePolicyRejected:
		add(&out.Requirements, t.Count, "what", "rejected", "source", text(telemetry.AttrPolicySource))
	case telemetry.NameTelemetryRefused:
		add(&out.Refused, t.Sum, "agent", agent, "cause", text(telemetry.AttrRefusedCause))
	case telemetry.NameTelemetryGap:
		add(&out.Missing, t.Sum, "cause", text(telemetry.AttrGapCause))
	}
}

// block counts what was kept from happening, or would have been.
func block(out *Stats, t *telemetry.Tally, what, rule, host string, text func(string) string, add func(*[]Row, int64, ...string)) {
	decision := text(telemetry.AttrDecision)
	approved := decision == "prompt" && text(telemetry.AttrApprovalState) == "allowed"
	if decision == "allow" || decision == "" || approved {
		return
	}
	to := &out.Blocks
	if enforced, there := t.Attrs[telemetry.AttrDecisionEnforced].(bool); there && !enforced {
		to = &out.WouldBlock
	}
	add(to, t.Count, "what", what, "rule", rule, "host", host)
}
