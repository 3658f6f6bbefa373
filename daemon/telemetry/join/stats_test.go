// SPDX-License-Identifier: Apache-2.0

package join

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

func TestStats(t *testing.T) {
	store, err := telemetry.Open(t.Context(), t.TempDir(), telemetry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	record := func(name string, a attrs, times int) {
		t.Helper()
		for range times {
			if err := store.Record(t.Context(), telemetry.Event{Name: name, Session: mine, Attrs: a}); err != nil {
				t.Fatal(err)
			}
		}
	}
	record(telemetry.NameSessionStart, attrs{telemetry.AttrAgent: "codex", telemetry.AttrAgentVersion: "0.169.0", telemetry.AttrSurface: "exec"}, 2)
	record(telemetry.NameSessionStart, attrs{telemetry.AttrAgent: "claude-code", telemetry.AttrSurface: "cli"}, 1)
	record(telemetry.NameProcessExec, attrs{telemetry.AttrDecision: "allow", telemetry.AttrDecisionEnforced: true}, 5)
	record(telemetry.NameProcessExec, attrs{telemetry.AttrDecision: "forbidden", telemetry.AttrDecisionEnforced: true, telemetry.AttrRule: "git push"}, 3)
	record(telemetry.NameProcessExec, attrs{telemetry.AttrDecision: "forbidden", telemetry.AttrDecisionEnforced: false, telemetry.AttrRule: "rm"}, 4)
	record(telemetry.NameNetworkDecision, attrs{telemetry.AttrDecision: "deny", telemetry.AttrDecisionEnforced: true, telemetry.AttrDestinationAddress: "169.254.169.254"}, 2)
	record(telemetry.NameNetworkConnection, attrs{telemetry.AttrDecision: "deny", telemetry.AttrDecisionEnforced: true, telemetry.AttrServerAddress: "paste.test", telemetry.AttrDestinationAddress: "192.0.2.1"}, 1)
	record(telemetry.NameFileDecision, attrs{telemetry.AttrDecision: "deny", telemetry.AttrDecisionEnforced: true, telemetry.AttrFileOperation: "read"}, 1)
	record(telemetry.NameProcessExec, attrs{telemetry.AttrDecision: "prompt", telemetry.AttrDecisionEnforced: true, telemetry.AttrRule: "curl", telemetry.AttrApprovalState: "allowed"}, 2)
	record(telemetry.NameAgentToolResult, attrs{telemetry.AttrAgent: "codex", telemetry.AttrToolName: "search", telemetry.AttrMCPServer: "jira", telemetry.AttrSuccess: true}, 6)
	record(telemetry.NameAgentToolDecision, attrs{telemetry.AttrAgent: "codex", telemetry.AttrAgentDecision: "deny", telemetry.AttrAgentDecidedBy: "user"}, 1)
	for _, seconds := range []float64{1, 2, 30} {
		record(telemetry.NameApprovalRequested, attrs{telemetry.AttrApprovalKind: "command"}, 1)
		record(telemetry.NameApprovalAnswered, attrs{telemetry.AttrApprovalState: "allowed", telemetry.AttrApprovalBy: "terminal", telemetry.AttrApprovalSeconds: seconds}, 1)
	}
	record(telemetry.NameApprovalExpired, attrs{telemetry.AttrRule: "git push"}, 1)
	record(telemetry.NamePolicyRejected, attrs{telemetry.AttrPolicySource: "/etc/paddock/requirements.toml"}, 1)
	record(telemetry.NameTelemetryRefused, attrs{telemetry.AttrAgent: "codex", telemetry.AttrRefusedCause: telemetry.RefusedRate, telemetry.AttrRefusedCount: int64(500)}, 1)
	if err := store.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := Count(context.Background(), store, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	row := func(n int64, of ...string) Row {
		labels := map[string]string{}
		for i := 0; i < len(of); i += 2 {
			labels[of[i]] = of[i+1]
		}
		return Row{labels, n}
	}
	want := &Stats{
		Sessions:     []Row{row(2, "agent", "codex", "version", "0.169.0", "surface", "exec"), row(1, "agent", "claude-code", "surface", "cli")},
		Programs:     []Row{row(7, "decision", "forbidden"), row(5, "decision", "allow"), row(2, "decision", "prompt")},
		ToolCalls:    []Row{row(6, "agent", "codex", "mcp_server", "jira", "tool", "search", "success", "true")},
		MCPServers:   []Row{row(6, "agent", "codex", "server", "jira")},
		Decisions:    []Row{row(1, "agent", "codex", "by", "user", "decision", "deny")},
		Asked:        []Row{row(3, "kind", "command")},
		Answered:     []Row{row(3, "state", "allowed", "by", "terminal"), row(1, "state", "expired")},
		Answer:       &Duration{3, 2, 30, 30},
		Blocks:       []Row{row(3, "what", "command", "rule", "git push"), row(2, "what", "connection", "host", "169.254.169.254"), row(1, "what", "connection", "host", "paste.test"), row(1, "what", "file read")},
		WouldBlock:   []Row{row(4, "what", "command", "rule", "rm")},
		Requirements: []Row{row(1, "what", "rejected", "source", "/etc/paddock/requirements.toml")},
		Refused:      []Row{row(500, "agent", "codex", "cause", "rate_limit")},
		Events:       37, From: got.From, To: got.To,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := Count(t.Context(), store, time.Now(), time.Now().Add(-time.Hour)); err == nil {
		t.Error("a time that ends before it begins")
	}
}
