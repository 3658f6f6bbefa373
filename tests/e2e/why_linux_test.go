// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry/join"
)

// said is what an agent tells of itself, as a command that sends it.
func (m *machine) said(name, attributes string) string {
	m.t.Helper()
	var list []string
	for pair := range strings.SplitSeq("event.name="+name+";"+attributes, ";") {
		key, value, _ := strings.Cut(pair, "=")
		list = append(list, fmt.Sprintf(`{"key":%q,"value":{"stringValue":%q}}`, key, value))
	}
	body := `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"attributes":[` + strings.Join(list, ",") + `]}]}]}]}`
	host, port, _ := strings.Cut(m.status().Intake.Address, ":")
	request := fmt.Sprintf("POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	file := m.path(fmt.Sprintf("w/request-%d", len(request)*1000+len(list)))
	must(m.t, os.WriteFile(file, []byte(request), 0o644))
	return fmt.Sprintf("bash -c 'exec 3<>/dev/tcp/%s/%s; cat %s >&3; cat <&3'", host, port, file)
}

// What an agent says of itself, and what the kernel saw, become one story; what
// others say does not.
func TestWhy(t *testing.T) {
	m := newMachine(t, "[paddock]\nmode = \"enforce\"\ntelemetry.prompts = \"record\"\n[rules]\nprefix_rules = [{ pattern = [{ token = \"ls\" }], decision = \"forbidden\", justification = \"not here\" }]\n")
	m.more = []string{"--otlp-address", "127.0.0.1:0"}
	m.start()
	prompt := m.said("codex.user_prompt", "conversation.id=thread-1;prompt=list my files;prompt_length=13")
	decision := m.said("codex.tool_decision", "conversation.id=thread-1;call_id=call_1;tool_name=exec_command;decision=approved;source=User")
	result := m.said("codex.tool_result", `conversation.id=thread-1;call_id=call_1;tool_name=exec_command;success=false;duration_ms=12;arguments={"cmd":"ls box"};output=Killed`)
	forged := m.said("codex.tool_decision", "conversation.id=thread-1;call_id=call_1;decision=approved;source=User;x=forged")
	out, err := m.run(strings.Join([]string{
		prompt, decision,
		"PDK_TOOL_CALL=call_1 sh -c 'sh -c \"ls box\"; true'",
		"PDK_TOOL_CALL=call_2 " + forged,
		result,
	}, "\n"))
	must(t, err)
	if n := strings.Count(out, "HTTP/1.1 200 OK"); n != 4 {
		t.Errorf("%d of 4 records were taken: %s", n, out)
	}
	blocked := m.events.wait("telemetry", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameProcessExec && e.Attrs[telemetry.AttrDecision] == "forbidden"
	})
	story := m.explain(fmt.Sprint(blocked.Attrs[telemetry.AttrProcessPID]))
	if story.Prompt == nil || story.Prompt.Text != "list my files" || story.Prompt.Link.Confidence != join.High {
		t.Errorf("prompt: %+v", story.Prompt)
	}
	if story.Call == nil {
		t.Fatal("no tool call")
	}
	var decisions []string
	for _, d := range story.Call.Decisions {
		decisions = append(decisions, d.By+" "+d.What)
	}
	if got := strings.Join(decisions, ", "); got != "user allow, paddock forbidden" {
		t.Errorf("decisions: %s", got)
	}
	if c := story.Call; c.ID != "call_1" || c.Link == nil || c.Link.Confidence != join.Exact || c.Result == nil || c.Result.Output != "Killed" || len(c.Processes) < 2 {
		t.Errorf("tool call: %+v", c)
	}
	if len(story.Doubts) != 0 {
		t.Errorf("doubts: %q", story.Doubts)
	}
	text, errs, code := m.cli("explain", "ls", "box")
	if code != 0 || !strings.Contains(text, "list my files") || !strings.Contains(text, "not here") {
		t.Errorf("%d %s\n%s", code, errs, text)
	}
	t.Logf("paddock explain ls box\n%s", text)

	// The process, the session and its directory are gone; the story is not.
	if again := m.explain("--as", "call", "call_1"); again.Prompt == nil || again.Session.Agent != agentName {
		t.Errorf("later: %+v", again)
	}
	page, errs, code := m.cli("report", "--session", blocked.Session)
	if code != 0 || !strings.Contains(page, "list my files") || !strings.Contains(page, "did not run: forbidden") {
		t.Errorf("report: %d %s\n%s", code, errs, page)
	}
	timeline, errs, code := m.cli("sessions", "show", blocked.Session)
	if code != 0 || !strings.Contains(timeline, "1 STOPPED") {
		t.Errorf("sessions show: %d %s\n%s", code, errs, timeline)
	}
	stats, errs, code := m.cli("stats")
	if code != 0 || !strings.Contains(stats, "rule ls, what command") || !strings.Contains(stats, "tool exec_command") {
		t.Errorf("stats: %d %s\n%s", code, errs, stats)
	}
	rows, errs, code := m.cli("events", "--sql", "SELECT call, count(*) AS n FROM event WHERE name = 'paddock.process.exec' AND call = 'call_1' GROUP BY call")
	if code != 0 || rows != "{\"call\":\"call_1\",\"n\":3}\n" {
		t.Errorf("events --sql: %d %s%s", code, errs, rows)
	}
	m.balanced(m.status())
}

// A record enters the session of its sender, or none.
func TestTelemetryOfOthersIsRefused(t *testing.T) {
	m := newMachine(t, "")
	m.more = []string{"--otlp-address", "127.0.0.1:0"}
	m.start()
	address := m.status().Intake.Address
	res, err := http.Post("http://"+address+"/v1/logs", "application/json", strings.NewReader(`{"resourceLogs":[]}`))
	must(t, err)
	res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("nobody's agent gets %s", res.Status)
	}
	other := m.begin("echo ready; read x")
	other.says(t, "ready")
	start := m.events.wait("telemetry", func(e telemetry.Event) bool { return e.Name == telemetry.NameSessionStart })
	out, err := m.run(m.said("codex.user_prompt", "paddock.session.id="+start.Session+";prompt=I am the other one") + "; true")
	must(t, err)
	if !strings.Contains(out, `"rejectedLogRecords":"1"`) {
		t.Errorf("a forged record is answered with %s", out)
	}
	for _, cause := range []string{telemetry.RefusedSender, telemetry.RefusedSession} {
		e := m.events.wait("telemetry", func(e telemetry.Event) bool {
			return e.Name == telemetry.NameTelemetryRefused && e.Attrs[telemetry.AttrRefusedCause] == cause
		})
		if cause == telemetry.RefusedSession && (e.Session == start.Session || e.Session == "" || e.Attrs[telemetry.AttrRefusedSession] != start.Session) {
			t.Errorf("%s: %+v", cause, e)
		}
	}
	for _, e := range m.events.list() {
		if e.Name == telemetry.NameAgentPrompt {
			t.Errorf("a forged record is stored: %+v", e)
		}
	}
}

func (m *machine) explain(args ...string) *join.Story {
	m.t.Helper()
	out, errs, code := m.cli(append([]string{"explain", "--json"}, args...)...)
	if code != 0 {
		m.t.Fatalf("paddock explain %q: %d, %s", args, code, errs)
	}
	var s join.Story
	must(m.t, json.Unmarshal([]byte(out), &s))
	return &s
}
