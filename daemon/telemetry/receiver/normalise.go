// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// event makes an event of a record: what every agent has a word of its own for
// gets one name, and what the agent wrote is kept under telemetry.RecordPrefix.
// It returns how many attributes were beyond the limits.
func (r *Receiver) event(sender Sender, in *record) (telemetry.Event, int) {
	own, dropped := r.own(sender, in)
	name := recordName(in, own)
	attrs := map[string]any{
		telemetry.AttrProcessPID: int64(sender.PID), telemetry.AttrProcessStart: int64(sender.Start),
		telemetry.AttrProcessUserID: int64(sender.UID),
	}
	kind := in.event
	if kind == "" {
		kind = kindOf(name)
	}
	for _, f := range fields() {
		if f.only != "" && f.only != kind {
			continue
		}
		for _, key := range f.from {
			raw, ok := own[key]
			if !ok {
				continue
			}
			v := f.as(raw)
			if v == nil {
				continue
			}
			attrs[f.to] = v
			if f.moved {
				// Claude Code sends a prompt under two names.
				maps.DeleteFunc(own, func(k string, v any) bool { return slices.Contains(f.from, k) && reflect.DeepEqual(v, raw) })
			}
			break
		}
	}
	mcpServer(attrs, own)
	for key, v := range own {
		attrs[telemetry.RecordPrefix+key] = v
	}
	for key, v := range in.more {
		attrs[key] = v
	}
	for key, s := range map[string]string{
		telemetry.AttrRecordName: name, telemetry.AttrRecordScope: in.scope, telemetry.AttrRecordService: in.service,
		telemetry.AttrTraceID: hexID(in.trace), telemetry.AttrSpanID: hexID(in.span), telemetry.AttrParentSpanID: hexID(in.parent),
		telemetry.AttrAgent: sender.Agent, telemetry.AttrSenderToolCall: sender.ToolCall,
		telemetry.AttrAgentVersion: in.version,
	} {
		if s != "" {
			attrs[key] = s
		}
	}
	if sender.ToolCall != "" {
		// What a command says of other tool calls is its own word, kept as such.
		attrs[telemetry.AttrToolCallID] = sender.ToolCall
	}
	if body := value(in.body); body != nil && body != name {
		attrs[telemetry.AttrRecordBody] = body
	}
	e := telemetry.Event{Name: kind, Severity: severity(in.severity), Session: sender.Session, Attrs: attrs}
	e.Time = r.when(in, own, attrs)
	return e, dropped
}

// own returns the attributes of a record within the limits. The first of two
// with the same name counts.
func (r *Receiver) own(sender Sender, in *record) (own map[string]any, dropped int) {
	own = make(map[string]any, len(in.attrs))
	left := r.config.Limits.Record
	for _, a := range in.attrs {
		key, v := a.GetKey(), value(a.GetValue())
		if _, twice := own[key]; key == "" || v == nil || twice {
			continue
		}
		if s, ok := v.(string); ok && len(s) > telemetry.MaxAttribute {
			// The store cuts it there, and says so; more of it need not wait in memory.
			v = s[:telemetry.MaxAttribute+4]
		}
		left -= len(key) + min(size(v), telemetry.MaxAttribute)
		if left < 0 || len(own) >= r.config.Limits.Attributes || len(key) > maxText || !r.sessions.knows(sender.Session, key) {
			dropped++
			continue
		}
		own[key] = v
	}
	return own, dropped
}

// recordName is what the agent calls a record. Codex 0.169 writes a line of its
// source into the field that OTLP has for it, and Claude Code a short name into
// the attribute and the whole one into the body.
func recordName(in *record, own map[string]any) string {
	if in.event != "" {
		return in.name
	}
	attribute, _ := own["event.name"].(string)
	body := in.body.GetStringValue()
	switch {
	case attribute != "" && strings.HasSuffix(body, "."+attribute) && isName(body):
		return body
	case attribute != "":
		return attribute
	case isName(in.name):
		return in.name
	case isName(body):
		return body
	}
	return ""
}

// isName tells the name of an event from prose.
func isName(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	return s != "" && len(s) <= maxText && strings.Contains(s, ".") && strings.Trim(s, letters) == ""
}

// clockSkew is how far a sender's clock may be ahead: it is the same clock.
const clockSkew = time.Minute

// maxDelay is how late a record may come. Exporters hold them for seconds.
const maxDelay = 6 * time.Hour

// when a record happened. What it says is believed if it can be.
func (r *Receiver) when(in *record, own, attrs map[string]any) time.Time {
	now := r.config.Now()
	var claims []time.Time
	if in.times[0] != 0 {
		claims = append(claims, time.Unix(0, int64(in.times[0])))
	}
	if s, ok := own["event.timestamp"].(string); ok {
		if at, err := time.Parse(time.RFC3339Nano, s); err == nil {
			claims = append(claims, at)
		}
	}
	if in.times[1] != 0 {
		claims = append(claims, time.Unix(0, int64(in.times[1])))
	}
	for _, at := range claims {
		if at.After(now.Add(-maxDelay)) && at.Before(now.Add(clockSkew)) {
			return at
		}
	}
	if len(claims) > 0 {
		attrs[telemetry.AttrRecordTime] = claims[0].UTC().Format(time.RFC3339Nano)
	}
	return now
}

// severity folds OpenTelemetry's 24 into ours.
func severity(n int32) telemetry.Severity {
	switch {
	case n >= int32(telemetry.Error):
		return telemetry.Error
	case n >= int32(telemetry.Warn):
		return telemetry.Warn
	}
	return telemetry.Info
}

// mcpServer finds the MCP server in the name of a tool, as Codex and Claude Code
// write it (mcp__SERVER__TOOL), or in Codex's namespace (mcp__SERVER).
func mcpServer(attrs, own map[string]any) {
	if s, _ := attrs[telemetry.AttrMCPServer].(string); s != "" {
		return
	}
	delete(attrs, telemetry.AttrMCPServer) // Codex writes "" for other tools
	if s, _ := attrs[telemetry.AttrMCPOrigin].(string); s == "" {
		delete(attrs, telemetry.AttrMCPOrigin)
	}
	tool, _ := attrs[telemetry.AttrToolName].(string)
	space, _ := own["tool_namespace"].(string)
	for _, s := range []string{tool, space} {
		if rest, ok := strings.CutPrefix(s, "mcp__"); ok {
			server, _, _ := strings.Cut(rest, "__")
			attrs[telemetry.AttrMCPServer] = server
			return
		}
	}
}

// What a field is read as; nil: it is not that.

func asText(v any) any {
	if s, ok := v.(string); ok {
		return s
	}
	return text(v)
}

func asWord(v any) any {
	if s, ok := v.(string); ok && s != "" {
		return s
	}
	return nil
}

func asInt(v any) any {
	switch v := v.(type) {
	case int64:
		return v
	case float64:
		if v == float64(int64(v)) {
			return int64(v)
		}
	case string:
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return n
		}
	}
	return nil
}

func asBool(v any) any {
	switch v := v.(type) {
	case bool:
		return v
	case string:
		if b, err := strconv.ParseBool(v); err == nil {
			return b
		}
	}
	return nil
}

// asList reads Codex's list of names with commas.
func asList(v any) any {
	switch v := v.(type) {
	case []string:
		return v
	case string:
		var out []string
		for s := range strings.SplitSeq(v, ",") {
			if s = strings.TrimSpace(s); s != "" {
				out = append(out, s)
			}
		}
		if out != nil {
			return out
		}
	}
	return nil
}
