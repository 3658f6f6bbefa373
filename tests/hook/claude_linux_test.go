// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry/receiver"
	"github.com/seed-649e9bbc/paddock/tests/claude"
	"github.com/seed-649e9bbc/paddock/tests/claude/messages"
	"github.com/seed-649e9bbc/paddock/tests/codex"
)

// claudeSettings are what docs/approvals.md and docs/telemetry.md tell to write, and
// what Claude Code itself asks its user about.
const claudeSettings = `{
  "allowManagedHooksOnly": true,
  "permissions": { "defaultMode": "default", "allow": ["Bash(touch free)", "Bash(touch forbidden)", "Bash(touch broken)", "Bash(touch away)", "Bash(touch gone)"] },
  "hooks": {
    "PreToolUse": [{ "matcher": "*", "hooks": [
      { "type": "command", "command": "/usr/local/bin/paddock hook claude-code --limit 20s", "timeout": 30, "onFailure": "block" }] }],
    "PermissionRequest": [{ "matcher": "*", "hooks": [
      { "type": "command", "command": "/usr/local/bin/paddock hook claude-code --limit 20s --permissions paddock", "timeout": 30, "onFailure": "block" }] }],
    "UserPromptSubmit": [{ "hooks": [
      { "type": "command", "command": "/usr/local/bin/paddock hook claude-code", "timeout": 30 }] }],
    "PostToolUse": [{ "matcher": "*", "hooks": [
      { "type": "command", "command": "/usr/local/bin/paddock hook claude-code", "timeout": 30 }] }]
  },
  "env": {
    "CLAUDE_CODE_ENABLE_TELEMETRY": "1", "OTEL_LOGS_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4328",
    "OTEL_LOG_USER_PROMPTS": "1", "OTEL_LOG_TOOL_DETAILS": "1",
    "CLAUDE_CODE_ENHANCED_TELEMETRY_BETA": "1", "OTEL_TRACES_EXPORTER": "otlp"
  }
}`

const claudePrompt = "touch what there is to touch"

func TestRealClaudeCodeAsksTheRealHook(t *testing.T) {
	codex.Isolated(t, func(t *testing.T) {
		b, _ := serve(t)
		heard := hear(t)
		if err := os.MkdirAll("/etc/claude-code", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("/etc/claude-code/managed-settings.json", []byte(claudeSettings), 0o644); err != nil {
			t.Fatal(err)
		}
		remove := func(path string) func() {
			return func() {
				if err := os.Remove(path); err != nil {
					t.Error(err)
				}
			}
		}
		steps := []struct {
			name   string
			before func()
			ran    bool
			told   string // to the model
		}{
			{"free", nil, true, ""}, // its own settings allow it, and Paddock says nothing
			{"forbidden", nil, false, "paddock: touch is forbidden by rule touch (team.rules:3): Files are made by people"},
			{"approved", nil, true, ""}, // it would have asked its user, whom -p does not have
			{"refused", nil, false, "paddock: refused by dev: not today"},
			{"broken", nil, false, "the queue is on fire"},
			{"away", remove(api.DefaultSocket), false, "cannot be reached"},
			{"gone", remove(program), false, `onFailure is "block"`},
		}
		o := claude.Options{Dir: t.TempDir(), Prompt: claudePrompt}
		for _, s := range steps {
			call := messages.Bash("toolu_"+s.name, "touch "+s.name)
			call.Before = s.before
			o.Calls = append(o.Calls, call)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		result, err := claude.Run(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("Claude Code %s took %v", result.Version, result.Took)
		if result.ExitCode != 0 || strings.TrimSpace(result.Output) != "done" {
			t.Errorf("Claude Code ended with %d:\n%s", result.ExitCode, result.Output)
		}
		for _, s := range steps {
			_, err := os.Stat(filepath.Join(o.Dir, s.name))
			told := result.Results["toolu_"+s.name]
			if ran := err == nil; ran != s.ran || told.IsError == s.ran || !strings.Contains(told.Text, s.told) {
				t.Errorf("touch %s: it ran: %v, want %v; the model was told %+v, want %q", s.name, ran, s.ran, told, s.told)
			}
		}
		b.checkClaude(t)
		heard.check(t, result.Version)
	})
}

// checkClaude looks at what the hook told.
func (b *backend) checkClaude(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.asked {
		want := "toolu_" + strings.TrimPrefix(r.Command, "touch ")
		if r.Ask {
			want = "" // it does not say which call it wants permission for
		}
		if r.ToolCall != want || r.Tool != "Bash" || r.Cwd == "" {
			t.Errorf("asked about %+v", r)
		}
	}
	if len(b.events) == 0 || b.events[0].Event != "UserPromptSubmit" || b.events[0].Prompt != claudePrompt || b.events[0].Turn == "" {
		t.Errorf("the prompt: %+v", b.events)
	}
	results := map[string]string{}
	for _, e := range b.events {
		if e.Event == "PostToolUse" {
			results[e.ToolCall] = e.Result
		}
	}
	if r := results["toolu_free"]; !strings.Contains(r, `"stdout"`) {
		t.Errorf("results: %v", results)
	}
}

// ears take in telemetry: one keeps prompts, one does not.
type ears struct {
	t       *testing.T
	willing *telemetry.Store
	deaf    *telemetry.Store
	dir     string // of deaf
	*receiver.Receiver
}

func (e *ears) Record(ctx context.Context, events ...telemetry.Event) error {
	if err := e.deaf.Record(ctx, events...); err != nil {
		return err
	}
	return e.willing.Record(ctx, events...)
}

func (e *ears) Flush(ctx context.Context) error {
	if err := e.deaf.Flush(ctx); err != nil {
		return err
	}
	return e.willing.Flush(ctx)
}

const claudeSession = "01JZ0000000000000000000CCC"

// hear listens where Claude Code is told to send its telemetry.
func hear(t *testing.T) *ears {
	t.Helper()
	e := &ears{t: t, dir: t.TempDir()}
	for into, dir := range map[**telemetry.Store]string{&e.willing: t.TempDir(), &e.deaf: e.dir} {
		store, err := telemetry.Open(t.Context(), dir, telemetry.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		*into = store
	}
	e.deaf.Redact(telemetry.Redaction{Omit: []telemetry.Content{telemetry.Prompts, telemetry.Arguments, telemetry.Outputs}})
	l, err := net.Listen("tcp", "127.0.0.1:4328")
	if err != nil {
		t.Fatal(err)
	}
	e.Receiver = receiver.New(receiver.Config{Events: e, Identify: func(net.Conn) (receiver.Sender, error) {
		return receiver.Sender{PID: 100, Start: 1, Session: claudeSession, Agent: "claude-code"}, nil
	}})
	e.Start(t.Context(), l)
	return e
}

// check looks for what an investigation needs, and for nothing in the other store.
func (e *ears) check(t *testing.T, version string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := e.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if err := e.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	all, err := e.willing.Query(ctx, telemetry.Query{Limit: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]int{}
	prompts, spans := 0, 0
	decided, results := map[any]any{}, map[any]map[string]any{}
	for _, ev := range all {
		names[ev.Name]++
		for _, fault := range telemetry.Undocumented(ev) {
			t.Errorf("docs/events.md does not say so: %s", fault)
		}
		a := ev.Attrs
		if ev.Name != telemetry.NameAgentMetric && ev.Name != telemetry.NameAgentLog && (a[telemetry.AttrThreadID] == nil || a[telemetry.AttrAgentVersion] != version) {
			t.Errorf("%s names no conversation or version: %v", ev.Name, a)
		}
		switch ev.Name {
		case telemetry.NameAgentPrompt:
			prompts++
			if a[telemetry.AttrPrompt] != claudePrompt || a[telemetry.AttrPromptLength] != int64(len(claudePrompt)) || a[telemetry.AttrTurnID] == nil {
				t.Errorf("the prompt: %v", a)
			}
		case telemetry.NameAgentToolDecision:
			decided[a[telemetry.AttrToolCallID]] = []any{a[telemetry.AttrAgentDecision], a[telemetry.AttrAgentDecidedBy]}
		case telemetry.NameAgentToolResult:
			results[a[telemetry.AttrToolCallID]] = a
		case telemetry.NameAgentModel:
			if a[telemetry.AttrInputTokens] != int64(11) || a[telemetry.AttrOutputTokens] != int64(7) || a[telemetry.AttrModel] == nil {
				t.Errorf("asking the model: %v", a)
			}
		case telemetry.NameAgentSpan:
			if a[telemetry.AttrToolCallID] == "toolu_free" {
				spans++
			}
		}
	}
	t.Logf("%d events: %v; decided: %v", len(all), names, decided)
	if prompts != 1 || spans == 0 || names[telemetry.NameAgentModel] < 8 || names[telemetry.NameAgentMetric] == 0 {
		t.Errorf("heard %v", names)
	}
	free := results["toolu_free"]
	if free[telemetry.AttrSuccess] != true || free[telemetry.AttrToolName] != "Bash" || free[telemetry.AttrDurationMS] == nil ||
		!strings.Contains(free[telemetry.AttrToolArguments].(string), "touch free") {
		t.Errorf("the result of touch free: %v", free)
	}
	if results["toolu_forbidden"] != nil {
		t.Error("Claude Code tells of what its hook denied: docs/telemetry.md says that only the hook does")
	}
	if err := e.deaf.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(e.dir + "/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("the store has %d files: %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{claudePrompt, "touch free"} {
			if bytes.Contains(data, []byte(text)) {
				t.Errorf("%q is on the disk, in %s", text, file)
			}
		}
	}
}
