// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	logsservice "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	"google.golang.org/protobuf/proto"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

func TestNobodyUngovernedIsHeard(t *testing.T) {
	b := start(t, Limits{})
	b.from(Sender{})
	code, answer := b.post("/v1/logs", "application/json", "", sample(t, "exec-hello.json"))
	if code != http.StatusForbidden || !strings.Contains(decodeStatus(t, answer), "governed agents only") {
		t.Errorf("%d %s", code, answer)
	}
	if n, events := b.refusedFor(telemetry.RefusedSender); n != 1 || len(events) != 1 || events[0].Session != "" {
		t.Errorf("%d are told of: %v", n, events)
	}
	if all := b.events(); len(all) != 1 {
		t.Errorf("%d events, want only the report", len(all))
	}
}

func TestNobodySpeaksForAnotherSession(t *testing.T) {
	b := start(t, Limits{})
	post := func(each ...map[string]string) int64 {
		t.Helper()
		code, answer := b.post("/v1/logs", protobuf, "", marshal(t, records(each...)))
		if code != http.StatusOK {
			t.Fatalf("%d %s", code, answer)
		}
		out := &logsservice.ExportLogsServiceResponse{}
		if err := proto.Unmarshal(answer, out); err != nil {
			t.Fatal(err)
		}
		return out.GetPartialSuccess().GetRejectedLogRecords()
	}
	if n := post(map[string]string{"event.name": "codex.user_prompt", "conversation.id": "thread-a", "prompt": "build it"}); n != 0 {
		t.Fatalf("%d of the agent's own are refused", n)
	}
	b.from(Sender{PID: 200, Start: 2, Session: sessionB, Agent: "codex"})
	n := post(
		map[string]string{"event.name": "codex.user_prompt", "paddock.session.id": sessionA, "prompt": "I said so"},
		map[string]string{"event.name": "codex.tool_decision", "conversation.id": "thread-a", "call_id": "call_1", "decision": "approved", "source": "User"},
		map[string]string{"event.name": "codex.user_prompt", "conversation.id": "thread-b", "paddock.session.id": sessionB, "prompt": "mine"},
	)
	if n != 2 {
		t.Errorf("%d are refused, want 2", n)
	}
	for cause, claim := range map[string]string{telemetry.RefusedSession: sessionA, telemetry.RefusedThread: "thread-a"} {
		n, events := b.refusedFor(cause)
		if n != 1 || len(events) != 1 || events[0].Session != sessionB || events[0].Attrs[telemetry.AttrRefusedSession] != claim || events[0].Attrs[telemetry.AttrProcessPID] != int64(200) {
			t.Errorf("%s: %d, %v", cause, n, events)
		}
	}
	for _, e := range b.events(telemetry.AgentNames()...) {
		if prompt := e.Attrs[telemetry.AttrPrompt]; e.Session == sessionA && prompt != "build it" || e.Session == sessionB && prompt != "mine" {
			t.Errorf("session %s has %v", e.Session, e.Attrs)
		}
	}
	// Its conversation is free again when a session has ended: it may be resumed.
	b.Forget(sessionA)
	if n := post(map[string]string{"event.name": "codex.user_prompt", "conversation.id": "thread-a"}); n != 0 {
		t.Error("a conversation cannot be resumed in another session")
	}
}

// A command that an agent runs may have telemetry of its own. It speaks for its
// own tool call, whatever it writes.
func TestACommandSpeaksForItsToolCallOnly(t *testing.T) {
	b := start(t, Limits{})
	b.from(Sender{PID: 300, Start: 3, Session: sessionA, Agent: "codex", ToolCall: "call_evil"})
	forged := map[string]string{"event.name": "codex.tool_decision", "call_id": "call_7", "decision": "approved", "source": "User"}
	if code, answer := b.post("/v1/logs", protobuf, "", marshal(t, records(forged))); code != http.StatusOK {
		t.Fatalf("%d %s", code, answer)
	}
	e := b.events()[0].Attrs
	if e[telemetry.AttrToolCallID] != "call_evil" || e[telemetry.AttrSenderToolCall] != "call_evil" || e[telemetry.RecordPrefix+"call_id"] != "call_7" {
		t.Errorf("%v", e)
	}
}

// Whatever an agent calls its records and their attributes, they are the agent's word and no event of Paddock's own.
func TestPaddocksOwnNamesCannotBeForged(t *testing.T) {
	b := start(t, Limits{})
	for _, name := range telemetry.Names() {
		forged := map[string]string{
			"event.name": name, telemetry.AttrDecision: "allow", telemetry.AttrApprovalState: "allowed", telemetry.AttrProcessPID: "1",
			telemetry.AttrProcessCommandArgs: "git", telemetry.AttrSenderToolCall: "call_7", telemetry.AttrRecordUID: "01JDEFGHJKMNPQRSTVWXYZ0123",
			telemetry.AttrAgent: "claude-code", telemetry.AttrRedacted: "prompt",
		}
		if code, answer := b.post("/v1/logs", protobuf, "", marshal(t, records(forged))); code != http.StatusOK {
			t.Fatalf("%d %s", code, answer)
		}
	}
	for _, e := range b.events() {
		if !strings.HasPrefix(e.Name, "paddock.agent.") || e.ID == "01JDEFGHJKMNPQRSTVWXYZ0123" || e.Attrs[telemetry.AttrProcessPID] != int64(100) ||
			e.Attrs[telemetry.AttrAgent] != "codex" {
			t.Errorf("%s %v", e.Name, e.Attrs)
		}
		for _, key := range []string{
			telemetry.AttrDecision, telemetry.AttrApprovalState, telemetry.AttrProcessCommandArgs, telemetry.AttrSenderToolCall, telemetry.AttrRedacted,
		} {
			if e.Attrs[key] != nil {
				t.Errorf("%s says %s: %v", e.Name, key, e.Attrs[key])
			}
		}
	}
}

func TestLimits(t *testing.T) {
	many := func(n int, name func(int) string) []map[string]string {
		out := make([]map[string]string, n)
		for i := range out {
			out[i] = map[string]string{"event.name": name(i)}
		}
		return out
	}
	same := func(int) string { return "codex.sse_event" }
	for name, c := range map[string]struct {
		limits          Limits
		kind, encoding  string
		body            func(t *testing.T) []byte
		code            int
		cause           string
		refused, stored int64
	}{
		"invalid protobuf": {
			kind: protobuf, body: func(*testing.T) []byte { return []byte{0x0a, 0xff, 0xff, 0xff, 0x7f, 1} },
			code: 400, cause: telemetry.RefusedInvalid, refused: 1,
		},
		"invalid JSON": {
			kind: "application/json", body: func(*testing.T) []byte { return []byte(`{"resourceLogs":[{]}`) },
			code: 400, cause: telemetry.RefusedInvalid, refused: 1,
		},
		"invalid gzip": {
			kind: protobuf, encoding: "gzip", body: func(*testing.T) []byte { return []byte("no gzip at all, that much is sure") },
			code: 400, cause: telemetry.RefusedInvalid, refused: 1,
		},
		"JSON nested too deep": {
			kind: "application/json", body: func(*testing.T) []byte {
				return []byte(`{"resourceLogs":` + strings.Repeat(`[{"x":`, 40_000) + "1" + strings.Repeat("}]", 40_000) + "}")
			},
			code: 400, cause: telemetry.RefusedInvalid, refused: 1,
		},
		"protobuf nested too deep": {
			kind: protobuf, body: func(t *testing.T) []byte {
				return marshal(t, nested(2000))
			},
			code: 400, cause: telemetry.RefusedInvalid, refused: 1,
		},
		"a decompression bomb": {
			kind: protobuf, encoding: "gzip", body: func(t *testing.T) []byte { return packed(t, make([]byte, 64<<20)) },
			code: 413, cause: telemetry.RefusedSize, refused: 1,
		},
		"an attribute of 10 MB": {
			kind: protobuf, body: func(t *testing.T) []byte {
				return marshal(t, records(map[string]string{"event.name": "codex.tool_result", "output": strings.Repeat("x", 10<<20)}))
			},
			code: 413, cause: telemetry.RefusedSize, refused: 1,
		},
		"a million empty objects": {
			kind: protobuf, body: func(*testing.T) []byte { return bytes.Repeat([]byte{0x0a, 0}, 1<<20) },
			code: 413, cause: telemetry.RefusedSize, refused: 1,
		},
		"100,000 names": {
			limits: Limits{Burst: 200_000, Objects: 1_000_000}, kind: protobuf, body: func(t *testing.T) []byte {
				return marshal(t, records(many(100_000, func(i int) string { return fmt.Sprint("x.name", i) })...))
			},
			code: 200, cause: telemetry.RefusedCardinality, refused: 99_000, stored: 1000,
		},
		"more than its rate": {
			limits: Limits{Burst: 10, Rate: 1}, kind: protobuf, body: func(t *testing.T) []byte {
				return marshal(t, records(many(30, same)...))
			},
			code: 200, cause: telemetry.RefusedRate, refused: 20, stored: 10,
		},
		"more bytes than its rate": {
			limits: Limits{Store: 1 << 20, Volume: 1, Rate: 100}, kind: protobuf, body: func(t *testing.T) []byte {
				var all []map[string]string
				for range 30 {
					all = append(all, map[string]string{"event.name": "codex.tool_result", "output": strings.Repeat("x", 60<<10)})
				}
				return marshal(t, records(all...))
			},
			code: 200, cause: telemetry.RefusedRate, refused: 13, stored: 17,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, c.limits)
			if c.limits.Rate > 0 {
				now := time.Now()
				b.sessions.now = func() time.Time { return now } // no time passes
			}
			code, answer := b.post("/v1/logs", c.kind, c.encoding, c.body(t))
			if code != c.code {
				t.Errorf("%d %.300s, want %d", code, answer, c.code)
			}
			n, events := b.refusedFor(c.cause)
			if n != c.refused || len(events) == 0 || events[0].Session != sessionA {
				t.Errorf("%d were refused, by the events, want %d; %v", n, c.refused, events)
			}
			if got := int64(len(b.events(telemetry.AgentNames()...))); got != c.stored {
				t.Errorf("%d are stored, want %d", got, c.stored)
			}
			// It goes on serving.
			if code, answer := b.post("/v1/traces", protobuf, "", nil); code != http.StatusOK {
				t.Errorf("afterwards: %d %s", code, answer)
			}
		})
	}
}

// A record with more than fits is kept, cut, and says so.
func TestLargeRecordIsCut(t *testing.T) {
	b := start(t, Limits{})
	attrs := map[string]string{"event.name": "codex.tool_result", "output": strings.Repeat("ü", 100_000)}
	for i := range 1000 {
		attrs[fmt.Sprint("key", i)] = "v"
	}
	if code, answer := b.post("/v1/logs", protobuf, "gzip", packed(t, marshal(t, records(attrs)))); code != http.StatusOK {
		t.Fatalf("%d %s", code, answer)
	}
	e := b.events()[0]
	if n, _ := e.Attrs[telemetry.AttrRecordDropped].(int64); n != 1002-128 {
		t.Errorf("%v attributes are said to be dropped, want %d", e.Attrs[telemetry.AttrRecordDropped], 1002-128)
	}
}

// A time that cannot be is not believed, and kept.
func TestTimeIsPlausible(t *testing.T) {
	b := start(t, Limits{})
	r := records(map[string]string{"event.name": "codex.user_prompt", "event.timestamp": "2019-01-01T00:00:00Z"})
	before := time.Now()
	if code, answer := b.post("/v1/logs", protobuf, "", marshal(t, r)); code != http.StatusOK {
		t.Fatalf("%d %s", code, answer)
	}
	e := b.events()[0]
	if e.Time.Before(before) || e.Attrs[telemetry.AttrRecordTime] != "2019-01-01T00:00:00Z" {
		t.Errorf("%s, %v", e.Time, e.Attrs)
	}
}

// No session takes the connections of the others.
func TestConnectionsAreBounded(t *testing.T) {
	p := newPlaces(Limits{Connections: 2, Total: 3})
	free, ok := p.take(sessionA)
	_, second := p.take(sessionA)
	if _, third := p.take(sessionA); !ok || !second || third {
		t.Fatal("a session has other than 2 connections")
	}
	if _, ok := p.take(sessionB); !ok {
		t.Fatal("one session takes the place of another")
	}
	if _, ok := p.take(sessionB); ok {
		t.Fatal("more than in all")
	}
	free()
	free()
	if _, ok := p.take(sessionB); !ok {
		t.Fatal("a place is not given free")
	}
	if _, ok := p.take(sessionA); ok {
		t.Fatal("a place was given free twice")
	}
}
