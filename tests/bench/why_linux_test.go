// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package bench

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry/join"
)

// testWhy measures the questions people ask, over a store that is full: of a
// hundred sessions, one tool call after the other, with prompts now and then.
func testWhy(t *testing.T) {
	events := 1_000_000
	if !thorough() {
		events = 20_000
	}
	store, err := telemetry.Open(t.Context(), t.TempDir(), telemetry.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, store.Close()) })
	history := fill(t, store, events)

	everything := func(string) bool { return true }
	explain := func(kind join.Kind, value string) func() {
		return func() {
			s, err := join.Explain(t.Context(), store, join.Subject{Kind: kind, Value: value}, everything)
			must(t, err)
			if s.Call == nil || s.Prompt == nil || s.Call.Result == nil || len(s.Call.Processes) != 3 {
				t.Fatalf("%s %s: not the whole story: %+v", kind, value, s)
			}
		}
	}
	middle := history.calls / 2
	for _, q := range []struct {
		name  string
		limit time.Duration
		ask   func()
	}{
		{"explain a process of the middle", 100 * time.Millisecond, explain(join.KindPID, fmt.Sprint(pidOf(middle)+1))},
		{"explain the first tool call", 100 * time.Millisecond, explain(join.KindCall, "call_0")},
		{"explain a command that is everywhere", 100 * time.Millisecond, explain(join.KindCommand, "curl")},
		{"explain a host", 100 * time.Millisecond, explain(join.KindHost, fmt.Sprintf("host-%d.example.com", middle%1000))},
		{"timeline of a session", 50 * time.Millisecond, func() {
			a, err := join.Show(t.Context(), store, history.session(50), join.Page{})
			must(t, err)
			if len(a.Calls) == 0 || len(a.Prompts) == 0 {
				t.Fatalf("the timeline has %d tool calls and %d prompts", len(a.Calls), len(a.Prompts))
			}
		}},
		{"stats of 30 days", 500 * time.Millisecond, func() {
			s, err := join.Count(t.Context(), store, time.Now().AddDate(0, 0, -30), time.Now().Add(time.Hour))
			must(t, err)
			if s.Events < int64(events) || len(s.ToolCalls) == 0 {
				t.Fatalf("the statistics know of %d events", s.Events)
			}
		}},
	} {
		var took []time.Duration
		for range 11 {
			began := time.Now()
			q.ask()
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		median := took[len(took)/2]
		t.Logf("%-40s median %8.2f ms, longest %8.2f ms (%d events stored)", q.name, ms(median), ms(took[len(took)-1]), events)
		// On a machine that does other things as well, time says little.
		if thorough() && median > q.limit {
			t.Errorf("%s takes %.1f ms, must take at most %v", q.name, ms(median), q.limit)
		}
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// history is what fill made.
type history struct{ calls int }

const historySessions = 100

func (history) session(n int) string { return fmt.Sprintf("01JZ00000000000000000%05d", n) }

func pidOf(call int) int64 { return int64(1000 + 10*call) }

// fill stores so many events: per tool call eleven, and a prompt before each tenth.
func fill(t *testing.T, store *telemetry.Store, events int) history {
	t.Helper()
	h := history{}
	began := time.Now().Add(-24 * time.Hour)
	type attrs = map[string]any
	var batch []telemetry.Event
	stored := 0
	add := func(session, name string, a attrs) {
		batch = append(batch, telemetry.Event{Time: began.Add(time.Duration(stored+len(batch)) * 50 * time.Millisecond), Name: name, Session: session, Attrs: a})
	}
	for stored < events {
		n := h.calls
		h.calls++
		session, call, thread := h.session(n%historySessions), fmt.Sprintf("call_%d", n), fmt.Sprintf("thread-%d", n%historySessions)
		if n < historySessions {
			add(session, telemetry.NameSessionStart, attrs{telemetry.AttrAgent: "codex", telemetry.AttrAgentVersion: "0.169.0", telemetry.AttrSurface: "exec", telemetry.AttrProcessUserID: int64(1000)})
		}
		if n/historySessions%10 == 0 {
			add(session, telemetry.NameAgentPrompt, attrs{telemetry.AttrAgent: "codex", telemetry.AttrThreadID: thread, telemetry.AttrPrompt: "do thing number " + call})
		}
		add(session, telemetry.NameAgentToolDecision, attrs{
			telemetry.AttrAgent: "codex", telemetry.AttrThreadID: thread, telemetry.AttrToolCallID: call, telemetry.AttrToolName: "exec_command",
			telemetry.AttrAgentDecision: "allow", telemetry.AttrAgentDecidedBy: "config",
		})
		for i, program := range []string{"bash", "curl", "jq"} {
			a := attrs{
				telemetry.AttrProcessPID: pidOf(n) + int64(i), telemetry.AttrProcessStart: int64(n)*1e6 + int64(i), telemetry.AttrProcessParentPID: pidOf(n),
				telemetry.AttrProcessCommandArgs: []string{program, "-s", "https://host.example.com/path/" + call}, telemetry.AttrProcessExecutableName: program,
				telemetry.AttrProcessExecutablePath: "/usr/bin/" + program, telemetry.AttrDecision: "allow", telemetry.AttrDecisionEnforced: true,
				telemetry.AttrToolCallID: call, telemetry.AttrThreadID: thread, telemetry.AttrAgent: "codex", telemetry.AttrProcessWorkingDir: "/home/dev/work",
				telemetry.AttrGate: "exec.hold", telemetry.AttrMode: "enforce", telemetry.AttrPolicyGeneration: int64(1), telemetry.AttrProcessOwner: "dev",
			}
			add(session, telemetry.NameProcessExec, a)
			add(session, telemetry.NameProcessExit, attrs{
				telemetry.AttrProcessPID: a[telemetry.AttrProcessPID], telemetry.AttrProcessStart: a[telemetry.AttrProcessStart],
				telemetry.AttrProcessExitCode: int64(0), telemetry.AttrToolCallID: call, telemetry.AttrAgent: "codex",
			})
		}
		for range 3 {
			add(session, telemetry.NameNetworkDecision, attrs{
				telemetry.AttrProcessPID: pidOf(n) + 1, telemetry.AttrProcessStart: int64(n)*1e6 + 1, telemetry.AttrToolCallID: call, telemetry.AttrAgent: "codex",
				telemetry.AttrServerAddress: fmt.Sprintf("host-%d.example.com", n%1000), telemetry.AttrDestinationAddress: fmt.Sprintf("10.1.%d.%d", n/250%250, n%250),
				telemetry.AttrDestinationPort: int64(443), telemetry.AttrNetworkTransport: "tcp", telemetry.AttrDecision: "allow", telemetry.AttrDecisionEnforced: true,
			})
		}
		add(session, telemetry.NameAgentToolResult, attrs{
			telemetry.AttrAgent: "codex", telemetry.AttrThreadID: thread, telemetry.AttrToolCallID: call, telemetry.AttrToolName: "exec_command",
			telemetry.AttrSuccess: true, telemetry.AttrDurationMS: int64(300), telemetry.AttrToolArguments: `{"cmd":"curl -s https://host.example.com | jq ."}`,
			telemetry.AttrToolOutput: "Process exited with code 0",
		})
		if len(batch) > 2000 {
			// It takes what the disk takes, and refuses the rest: then it has to be waited for.
			for store.Record(t.Context(), batch...) != nil {
				must(t, store.Flush(t.Context()))
			}
			stored += len(batch)
			batch = batch[:0]
		}
	}
	must(t, store.Flush(t.Context()))
	return h
}
