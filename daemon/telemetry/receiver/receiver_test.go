// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	logsservice "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

const (
	sessionA = "01JZ0000000000000000000AAA"
	sessionB = "01JZ0000000000000000000BBB"
)

// bench is a receiver on a real socket, over a real store.
type bench struct {
	*Receiver
	t     *testing.T
	store *telemetry.Store
	url   string
	addr  string

	mu     sync.Mutex
	sender Sender
}

// from says who connects from now on.
func (b *bench) from(s Sender) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sender = s
	http.DefaultClient.CloseIdleConnections() // a connection keeps its sender
}

var agentA = Sender{PID: 100, Start: 1, Session: sessionA, Agent: "codex"}

func start(t *testing.T, limits Limits) *bench {
	t.Helper()
	store, err := telemetry.Open(t.Context(), t.TempDir(), telemetry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, store: store, sender: agentA}
	b.Receiver = New(Config{Events: store, Limits: limits, Identify: func(net.Conn) (Sender, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.sender, nil
	}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.addr = l.Addr().String()
	b.url = "http://" + b.addr
	b.Start(t.Context(), l)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := b.Shutdown(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
		if i := b.Identity(); !i.Holds() {
			t.Errorf("%s: %d and %d", i.Name, i.Left, i.Right)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// post sends a request and returns the answer.
func (b *bench) post(path, kind, encoding string, body []byte) (int, []byte) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.url+path, bytes.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	if encoding != "" {
		req.Header.Set("Content-Encoding", encoding)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res.StatusCode, data
}

// events returns what is stored, of these names or all.
func (b *bench) events(names ...string) []telemetry.Event {
	b.t.Helper()
	b.refusals.flush(b.t.Context())
	if err := b.store.Flush(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	events, err := b.store.Query(b.t.Context(), telemetry.Query{Names: names, Limit: 100_000})
	if err != nil {
		b.t.Fatal(err)
	}
	told := map[string]bool{}
	for _, e := range events {
		for _, fault := range telemetry.Undocumented(e) {
			if !told[fault] {
				told[fault] = true
				b.t.Errorf("docs/events.md does not say so: %s", fault)
			}
		}
	}
	return events
}

// refusedFor sums what was refused, as the events tell.
func (b *bench) refusedFor(cause string) (count int64, events []telemetry.Event) {
	for _, e := range b.events(telemetry.NameTelemetryRefused) {
		if e.Attrs[telemetry.AttrRefusedCause] == cause {
			count += e.Attrs[telemetry.AttrRefusedCount].(int64)
			events = append(events, e)
		}
	}
	return count, events
}

func sample(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../../tests/samples/codex-otel", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// captured is a clock that stands shortly after the captures were made.
func captured() time.Time { return time.Date(2026, 11, 23, 11, 20, 0, 0, time.UTC) }

func packed(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// records makes an export of log records with these attributes.
func records(each ...map[string]string) *logsservice.ExportLogsServiceRequest {
	scope := &logs.ScopeLogs{}
	for _, attrs := range each {
		r := &logs.LogRecord{SeverityNumber: 9}
		for k, v := range attrs {
			r.Attributes = append(r.Attributes, &common.KeyValue{Key: k, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: v}}})
		}
		scope.LogRecords = append(scope.LogRecords, r)
	}
	return &logsservice.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{ScopeLogs: []*logs.ScopeLogs{scope}}}}
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const protobuf = "application/x-protobuf"

// What the real Codex 0.169.0 sent is told in our words, and nothing of it lost.
func TestCodexIsUnderstood(t *testing.T) {
	b := start(t, Limits{})
	b.config.Now = captured
	sent := 0
	for _, name := range []string{"exec-hello.json", "approvals-1.json", "approvals-2.json", "guardian.json", "network-proxy.json"} {
		data := sample(t, name)
		sent += strings.Count(string(data), `"severityNumber"`)
		code, answer := b.post("/v1/logs", "application/json", "gzip", packed(t, data))
		if code != http.StatusOK || strings.TrimSpace(string(answer)) != "{}" {
			t.Fatalf("%s: %d %s", name, code, answer)
		}
	}
	events := b.events()
	if len(events) != sent {
		t.Errorf("%d records were sent, %d are stored", sent, len(events))
	}
	byName := map[string][]telemetry.Event{}
	for _, e := range events {
		byName[e.Name] = append(byName[e.Name], e)
		if e.Session != sessionA || e.Attrs[telemetry.AttrProcessPID] != int64(100) {
			t.Fatalf("%s is of session %q, process %v", e.Name, e.Session, e.Attrs[telemetry.AttrProcessPID])
		}
		if e.Time.Year() != 2026 || e.Time.Equal(b.config.Now()) {
			t.Fatalf("%s has the time of its receipt, %s: %v", e.Name, e.Time, e.Attrs)
		}
	}
	for name, n := range map[string]int{
		telemetry.NameAgentSession: 5, telemetry.NameAgentPrompt: 6, telemetry.NameAgentToolDecision: 14,
		telemetry.NameAgentToolResult: 12, telemetry.NameAgentReview: 2, telemetry.NameAgentNetwork: 3,
	} {
		if len(byName[name]) != n {
			t.Errorf("%d events %s, want %d", len(byName[name]), name, n)
		}
	}
	result := byName[telemetry.NameAgentToolResult][0]
	for key, want := range map[string]any{
		telemetry.AttrToolCallID: "call_1", telemetry.AttrThreadID: "01a20810-df32-7c40-9109-fecd3d97230c",
		telemetry.AttrToolName: "exec_command", telemetry.AttrSuccess: true, telemetry.AttrDurationMS: int64(102),
		telemetry.AttrRecordName:                    "codex.tool_result",
		telemetry.RecordPrefix + "duration_ms":      "102", // as it was
		telemetry.RecordPrefix + "success":          "true",
		telemetry.RecordPrefix + "output_truncated": false,
		telemetry.RecordPrefix + "mcp_server":       "",
		telemetry.AttrTraceID:                       "?",
	} {
		got := result.Attrs[key]
		if key == telemetry.AttrTraceID {
			if s, _ := got.(string); len(s) != 32 || strings.Trim(s, "0123456789abcdef") != "" {
				t.Errorf("%s = %v, want 32 digits", key, got)
			}
		} else if got != want {
			t.Errorf("%s = %#v, want %#v", key, got, want)
		}
	}
	if s, _ := result.Attrs[telemetry.AttrToolArguments].(string); !strings.HasPrefix(s, `{"cmd":"echo hi > f.txt`) {
		t.Errorf("arguments: %q", s)
	}
	if _, twice := result.Attrs[telemetry.RecordPrefix+"output"]; twice {
		t.Error("the output is kept twice")
	}
	if _, empty := result.Attrs[telemetry.AttrMCPServer]; empty {
		t.Error("a shell command has an MCP server")
	}
	var by []string
	for _, e := range byName[telemetry.NameAgentToolDecision] {
		d, _ := e.Attrs[telemetry.AttrAgentDecision].(string)
		who, _ := e.Attrs[telemetry.AttrAgentDecidedBy].(string)
		by = append(by, d+" "+who)
	}
	for _, want := range []string{"allow config", "deny user", "allow user", "allow reviewer", "deny reviewer", "allow "} {
		found := false
		for _, got := range by {
			found = found || got == want
		}
		if !found {
			t.Errorf("no decision %q among %v", want, by)
		}
	}
	review := byName[telemetry.NameAgentReview][1].Attrs
	if review[telemetry.AttrToolCallID] != "call_2" || review[telemetry.AttrReviewRisk] != "critical" || review[telemetry.AttrReviewRationale] != "exfil" {
		t.Errorf("review: %v", review)
	}
	network := byName[telemetry.NameAgentNetwork][0].Attrs
	if network[telemetry.AttrServerAddress] != "denied.test" || network[telemetry.AttrServerPort] != int64(80) || network[telemetry.AttrAgentDecision] != "deny" {
		t.Errorf("network: %v", network)
	}
}

// A record without any of the names we know is kept whole.
// What Gemini CLI 0.61.0 sends, in short: null where it has nothing, call ids in spans only, and node's version for its own.
func TestGeminiCLI(t *testing.T) {
	b := start(t, Limits{})
	const resource = `{"attributes":[{"key":"service.name","value":{"stringValue":"gemini-cli"}},{"key":"service.version","value":{"stringValue":"v20.20.2"}},
	 {"key":"process.runtime.version","value":{"stringValue":"20.20.2"}},{"key":"session.id","value":{"stringValue":"s-1"}}]}`
	const common = `{"key":"session.id","value":{"stringValue":"s-1"}},{"key":"prompt_id","value":{"stringValue":"p-1"}}`
	for path, body := range map[string]string{
		"/v1/logs": `{"resourceLogs":[{"resource":` + resource + `,"scopeLogs":[{"scope":{"name":"gemini-cli"},"logRecords":[
		 {"body":{"stringValue":"CLI configuration loaded."},"attributes":[` + common + `,{"key":"event.name","value":{"stringValue":"gemini_cli.config"}},
		  {"key":"approval_mode","value":{"stringValue":"yolo"}},{"key":"mcp_servers","value":{"stringValue":"jira,docs"}}]},
		 {"body":{"stringValue":"User prompt. Length: 6."},"attributes":[` + common + `,{"key":"event.name","value":{"stringValue":"gemini_cli.user_prompt"}},
		  {"key":"prompt","value":{"stringValue":"fix it"}},{"key":"prompt_length","value":{"intValue":6}}]},
		 {"body":{"stringValue":"Tool call: read_file."},"attributes":[` + common + `,{"key":"event.name","value":{"stringValue":"gemini_cli.tool_call"}},
		  {"key":"function_name","value":{"stringValue":"read_file"}},{"key":"decision","value":{}},{"key":"mcp_server_name","value":{}},
		  {"key":"success","value":{"boolValue":false}},{"key":"duration_ms","value":{"intValue":0}},{"key":"error","value":{"stringValue":"no such file"}},
		  {"key":"function_args","value":{"stringValue":"{\n  \"file_path\": \"x\"\n}"}}]},
		 {"body":{"stringValue":"API response."},"attributes":[` + common + `,{"key":"event.name","value":{"stringValue":"gemini_cli.api_response"}},
		  {"key":"model","value":{"stringValue":"gemini-3.8-flash"}},{"key":"input_token_count","value":{"intValue":11}},{"key":"output_token_count","value":{"intValue":7}}]}]}]}]}`,
		"/v1/traces": `{"resourceSpans":[{"resource":` + resource + `,"scopeSpans":[{"scope":{"name":"gemini-cli"},"spans":[{"name":"tool_call","kind":1,
		 "traceId":"da39c5f84262b1d46ddf3a9c7424a66a","spanId":"03d6fc3a38074623","startTimeUnixNano":"1","endTimeUnixNano":"2",
		 "attributes":[{"key":"gen_ai.tool.name","value":{"stringValue":"read_file"}},{"key":"gen_ai.tool.call_id","value":{"stringValue":"read_file_1"}},
		  {"key":"gen_ai.conversation.id","value":{"stringValue":"s-1"}}]}]}]}]}`,
	} {
		if code, answer := b.post(path, "application/json", "", []byte(body)); code != http.StatusOK {
			t.Fatalf("%s: %d %s", path, code, answer)
		}
	}
	for name, want := range map[string]map[string]any{
		telemetry.NameAgentSession:    {telemetry.AttrApprovalPolicy: "yolo"},
		telemetry.NameAgentPrompt:     {telemetry.AttrPrompt: "fix it", telemetry.AttrPromptLength: int64(6), telemetry.AttrTurnID: "p-1"},
		telemetry.NameAgentToolResult: {telemetry.AttrToolName: "read_file", telemetry.AttrSuccess: false, telemetry.AttrErrorMessage: "no such file", telemetry.AttrAgentDecision: nil, telemetry.AttrMCPServer: nil},
		telemetry.NameAgentModel:      {telemetry.AttrModel: "gemini-3.8-flash", telemetry.AttrInputTokens: int64(11), telemetry.AttrOutputTokens: int64(7)},
		telemetry.NameAgentSpan:       {telemetry.AttrToolName: "read_file", telemetry.AttrToolCallID: "read_file_1"},
	} {
		events := b.events(name)
		if len(events) != 1 {
			t.Errorf("%d events %s", len(events), name)
			continue
		}
		want[telemetry.AttrThreadID], want[telemetry.AttrAgentVersion] = "s-1", nil
		for key, v := range want {
			if got := events[0].Attrs[key]; got != v {
				t.Errorf("%s: %s = %#v, want %#v", name, key, got, v)
			}
		}
	}
}

func TestAnyProducer(t *testing.T) {
	b := start(t, Limits{})
	body := `{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"claude-code"}},{"key":"service.version","value":{"stringValue":"2.1.0"}}]},
	 "scopeLogs":[{"scope":{"name":"com.anthropic.claude_code.events"},"logRecords":[
	  {"body":{"stringValue":"claude_code.tool_result"},"attributes":[
	   {"key":"event.name","value":{"stringValue":"tool_result"}},{"key":"session.id","value":{"stringValue":"s-1"}},
	   {"key":"prompt.id","value":{"stringValue":"p-1"}},{"key":"tool_name","value":{"stringValue":"mcp__jira__search"}},
	   {"key":"tool_use_id","value":{"stringValue":"toolu_1"}},{"key":"success","value":{"stringValue":"false"}},
	   {"key":"duration_ms","value":{"intValue":"12"}},{"key":"error","value":{"stringValue":"no such issue"}}]},
	  {"body":{"stringValue":"gemini"},"attributes":[{"key":"event.name","value":{"stringValue":"gemini_cli.tool_call"}},
	   {"key":"function_name","value":{"stringValue":"run_shell_command"}},{"key":"function_args","value":{"stringValue":"{\"command\":\"ls\"}"}},
	   {"key":"decision","value":{"stringValue":"auto_accept"}},{"key":"success","value":{"boolValue":true}}]},
	  {"severityNumber":17,"body":{"kvlistValue":{"values":[{"key":"a","value":{"arrayValue":{"values":[{"intValue":"1"},{"doubleValue":0.5}]}}}]}},
	   "attributes":[{"key":"paddock.decision","value":{"stringValue":"allow"}},{"key":"list","value":{"arrayValue":{"values":[{"stringValue":"x"},{"stringValue":"y"}]}}},
	   {"key":"raw","value":{"bytesValue":"AAEC"}}],"unknownField":{"deep":[1,2]}},
	  {"body":{"stringValue":"claude_code.user_prompt"},"attributes":[{"key":"event.name","value":{"stringValue":"user_prompt"}},
	   {"key":"prompt","value":{"stringValue":"fix it"}},{"key":"prompt_text","value":{"stringValue":"fix it"}},{"key":"prompt_length","value":{"stringValue":"6"}}]}]}]}]}`
	if code, answer := b.post("/v1/logs", "application/json; charset=utf-8", "", []byte(body)); code != http.StatusOK {
		t.Fatalf("%d %s", code, answer)
	}
	events := b.events()
	if len(events) != 4 {
		t.Fatalf("%d events", len(events))
	}
	prompt := events[3].Attrs
	_, twice := prompt[telemetry.RecordPrefix+"prompt_text"]
	if events[3].Name != telemetry.NameAgentPrompt || prompt[telemetry.AttrPrompt] != "fix it" || prompt[telemetry.AttrPromptLength] != int64(6) || twice {
		t.Errorf("prompt: %v", prompt)
	}
	claude := events[0].Attrs
	for key, want := range map[string]any{
		telemetry.AttrRecordName: "claude_code.tool_result", telemetry.AttrThreadID: "s-1", telemetry.AttrTurnID: "p-1",
		telemetry.AttrToolCallID: "toolu_1", telemetry.AttrMCPServer: "jira", telemetry.AttrSuccess: false,
		telemetry.AttrDurationMS: int64(12), telemetry.AttrErrorMessage: "no such issue", telemetry.AttrAgentVersion: "2.1.0",
	} {
		if claude[key] != want {
			t.Errorf("%s = %#v, want %#v", key, claude[key], want)
		}
	}
	if events[0].Name != telemetry.NameAgentToolResult || events[1].Name != telemetry.NameAgentToolResult || events[2].Name != telemetry.NameAgentLog {
		t.Errorf("names: %s, %s, %s", events[0].Name, events[1].Name, events[2].Name)
	}
	if g := events[1].Attrs; g[telemetry.AttrToolName] != "run_shell_command" || g[telemetry.AttrAgentDecision] != "allow" || g[telemetry.AttrToolArguments] != `{"command":"ls"}` {
		t.Errorf("Gemini CLI: %v", g)
	}
	other := events[2].Attrs
	if _, ours := other[telemetry.AttrDecision]; ours {
		t.Error("a record of an agent poses as a decision of Paddock's")
	}
	if other[telemetry.AttrRecordBody] != `{"a":[1,0.5]}` || other[telemetry.RecordPrefix+"raw"] != "AAEC" || other[telemetry.RecordPrefix+"paddock.decision"] != "allow" {
		t.Errorf("other: %v", other)
	}
	if list, _ := other[telemetry.RecordPrefix+"list"].([]string); len(list) != 2 || events[2].Severity != telemetry.Error {
		t.Errorf("other: %v %v", events[2].Severity, other)
	}
}

// decodeStatus reads the message of a refusal in JSON.
func decodeStatus(t *testing.T, body []byte) string {
	t.Helper()
	var s struct{ Message string }
	if err := json.Unmarshal(body, &s); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return s.Message
}
