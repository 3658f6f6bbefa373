// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

const (
	oneSession   = "01JZ0000000000000000000ABC"
	otherSession = "01JZ0000000000000000000XYZ"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 7_000_000, time.UTC)

// An argument that clears the screen, returns to the line's begin, sets the
// window's title, turns the writing direction, and is not UTF-8.
const hostile = "\x1b[2J\r\x1b]0;gone\x07\u202e\u009b1m\xff"

func sampleEvents() []telemetry.Event {
	var seq int64
	e := func(name, session string, attrs map[string]any) telemetry.Event {
		seq++
		return telemetry.Event{
			ID: "01JZ000000000000000000EV0" + string(rune('0'+seq%10)), Seq: seq, Time: noon.Add(time.Duration(seq) * time.Second),
			Name: name, Severity: telemetry.Info, Session: session, Attrs: attrs,
		}
	}
	const (
		decision, reason = telemetry.AttrDecision, telemetry.AttrDecisionReason
		args, program    = telemetry.AttrProcessCommandArgs, telemetry.AttrProcessExecutableName
	)
	return []telemetry.Event{
		e(telemetry.NameDaemonStart, "", map[string]any{telemetry.AttrVersion: "1.2.3"}),
		e(telemetry.NamePolicyApplied, "", map[string]any{
			telemetry.AttrPolicyGeneration: int64(1), telemetry.AttrMode: "enforce", telemetry.AttrPolicyRules: int64(3),
			telemetry.AttrPolicySources: []string{"/etc/codex/requirements.toml"},
		}),
		e(telemetry.NamePolicyRejected, "", map[string]any{telemetry.AttrPolicySource: "/etc/paddock/requirements.toml", telemetry.AttrErrorMessage: "line 3: unknown mode \"of\""}),
		e(telemetry.NameCanaryResult, "", map[string]any{telemetry.AttrGate: "exec.hold", telemetry.AttrTier: "hold", telemetry.AttrCanaryProven: true}),
		e(telemetry.NameCanaryResult, "", map[string]any{telemetry.AttrGate: "exec.refuse", telemetry.AttrTier: "none", telemetry.AttrCanaryProven: false, telemetry.AttrCanaryDetail: "the kernel refuses LSM programs"}),
		e(telemetry.NameSessionStart, oneSession, map[string]any{telemetry.AttrAgent: "codex", telemetry.AttrAgentVersion: "0.169.0", telemetry.AttrSurface: "exec", telemetry.AttrSessionHow: "exec"}),
		e(telemetry.NameProcessExec, oneSession, map[string]any{decision: "allow", args: []string{"git", "commit", "-m", "it's done"}}),
		e(telemetry.NameProcessExec, oneSession, map[string]any{
			decision: "forbidden", args: []string{"git", "push", "--force"}, reason: "git push is forbidden: pushing is for people (requirements.toml:12)",
		}),
		e(telemetry.NameProcessExec, otherSession, map[string]any{decision: "prompt", telemetry.AttrDecisionEnforced: false, args: []string{"rm", "-rf", "/"}, reason: "nobody to ask"}),
		e(telemetry.NameProcessExec, oneSession, map[string]any{decision: "allow", args: []string{"echo", hostile, "", "日本"}, reason: "rule of\n" + hostile}),
		e(telemetry.NameProcessExec, oneSession, map[string]any{decision: "allow", args: []string{"cat", strings.Repeat("é", 400)}}),
		e(telemetry.NameProcessExec, oneSession, map[string]any{decision: "allow", telemetry.AttrProcessExecutablePath: "/usr/bin/true"}),
		e(telemetry.NameProcessExit, oneSession, map[string]any{program: "cat", telemetry.AttrProcessExitCode: int64(1)}),
		e(telemetry.NameProcessExit, oneSession, map[string]any{program: "git", telemetry.AttrProcessSignal: int64(9)}),
		e(telemetry.NameNetworkDecision, oneSession, map[string]any{
			decision: "deny", program: "curl", telemetry.AttrNetworkTransport: "tcp", telemetry.AttrDestinationAddress: "2001:db8::1",
			telemetry.AttrDestinationPort: int64(443), reason: "no rule allows 2001:db8::1",
		}),
		e(telemetry.NameNetworkDecision, oneSession, map[string]any{decision: "deny", program: "ping", telemetry.AttrSocketKind: "inet raw icmp", reason: "raw sockets are refused"}),
		e(telemetry.NameHoldKilled, oneSession, map[string]any{telemetry.AttrProcessPID: int64(77), telemetry.AttrKillReason: "the daemon was not running"}),
		e(telemetry.NameTamper, oneSession, map[string]any{program: "bash", telemetry.AttrTamperSignal: int64(18), telemetry.AttrTamperTarget: int64(77)}),
		e(telemetry.NameTelemetryGap, "", map[string]any{telemetry.AttrGapCause: "size_limit", telemetry.AttrGapCount: int64(12)}),
		e(telemetry.NameSessionEnd, oneSession, map[string]any{telemetry.AttrSessionExecs: int64(7), telemetry.AttrSessionDenied: int64(1), telemetry.AttrSessionConnects: int64(2), telemetry.AttrSessionNetDenied: int64(2)}),
		e(telemetry.NameDaemonStop, "", nil),
		e("paddock.some\x1b[1mthing.new", "\x1bx", map[string]any{"x": 1.5}),
	}
}

func TestEvents(t *testing.T) {
	socket := serve(t, &fake{events: sampleEvents()})
	stdout, stderr, code, _ := paddock(t, socket, "events")
	if code != 0 || stderr != "" {
		t.Fatalf("code %d, %s", code, stderr)
	}
	golden(t, "events", stdout)
	stdout, _, _, _ = paddock(t, socket, "events", "--json")
	golden(t, "events-json", stdout)
}

func TestEveryEventHasWords(t *testing.T) {
	for _, name := range telemetry.Names() {
		if (view{}).what(name) == name {
			t.Errorf("%s is printed as its name only", name)
		}
	}
}

func TestEventsAsked(t *testing.T) {
	socket := serve(t, &fake{events: sampleEvents()})
	for _, c := range []struct {
		args string
		want []int64
	}{
		{"--session " + otherSession, []int64{9}},
		{"--name paddock.daemon.start,paddock.daemon.stop", []int64{1, 21}},
		{"--name paddock.process.exit --name paddock.daemon.start", []int64{1, 13, 14}},
		{"--after 20", []int64{21, 22}},
		{"--limit 2", []int64{21, 22}},
		{"--limit 2 --after 3", []int64{4, 5}},
		{"--limit 1 --name paddock.process.exit", []int64{14}},
		{"--limit 0 --name paddock.process.exit", []int64{13, 14}},
		{"--follow --limit 1 --after 3", []int64{4}},
	} {
		stdout, stderr, code, _ := paddock(t, socket, append([]string{"events", "--json"}, strings.Fields(c.args)...)...)
		var got []int64
		for line := range strings.Lines(stdout) {
			var e telemetry.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			got = append(got, e.Seq)
		}
		if diff := cmp.Diff(c.want, got); diff != "" || code != 0 {
			t.Errorf("events %s: code %d, %s\n%s", c.args, code, stderr, diff)
		}
	}
}

// A name that no event has would find nothing, and look like an answer; so would what
// --sql does not heed.
func TestEventsAskedWrongly(t *testing.T) {
	socket := serve(t, &fake{events: sampleEvents()})
	for args, want := range map[string]string{
		"--name process.exec":                   `no event is called "process.exec"; did you mean paddock.process.exec?`,
		"--follow --name paddock.proces.exec":   "did you mean paddock.process.exec?",
		"--name network.decison":                "did you mean paddock.network.decision?",
		"--name paddock.process":                "did you mean paddock.process.exec or paddock.process.exit?",
		"--name paddock.process.exec,nosuch":    `no event is called "nosuch": paddock events schema has their names`,
		"--name paddock":                        `no event is called "paddock": paddock events schema`,
		"--sql x --session " + oneSession:       "--sql does not go with --session: say it in the SELECT",
		"--sql x --limit 3":                     "--sql does not go with --limit",
		"--sql x --name paddock.process.exec":   "--sql does not go with --name",
		"--follow --sql x":                      "--sql does not go with --follow",
		"--json --sql x --after 7 --limit 3 -f": "--sql does not go with --after",
	} {
		stdout, stderr, code, _ := paddock(t, socket, append([]string{"events"}, strings.Fields(args)...)...)
		if code != ExitUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("events %s: code %d, %q, %q; want %q", args, code, stdout, stderr, want)
		}
	}
	for _, name := range telemetry.Names() { // those of agents among them
		if _, stderr, code, _ := paddock(t, socket, "events", "--name", name); code != 0 {
			t.Errorf("--name %s: code %d, %s", name, code, stderr)
		}
	}
}

// The head of the table is the begin of an answer.
func TestEventsHeader(t *testing.T) {
	socket := serve(t, &fake{events: sampleEvents()})
	for _, c := range []struct {
		socket, args, stdout string
		code                 int
	}{
		{socket, "--name paddock.approval.revoked", eventsHeader + "\n", 0},
		{socket, "--name paddock.approval.revoked --json", "", 0},
		{socket, "--session NOSUCH", "", ExitError},
		{filepath.Join(t.TempDir(), "none"), "", "", ExitError},
	} {
		if stdout, stderr, code, _ := paddock(t, c.socket, append([]string{"events"}, strings.Fields(c.args)...)...); stdout != c.stdout || code != c.code {
			t.Errorf("events %s: code %d, %q, %s", c.args, code, stdout, stderr)
		}
	}
}

func TestEventsWithoutALimit(t *testing.T) {
	f := &fake{}
	for i := range int64(250) {
		f.events = append(f.events, telemetry.Event{ID: "x", Seq: i + 1, Time: noon, Name: telemetry.NameDaemonStop, Severity: telemetry.Info, Session: oneSession})
	}
	socket := serve(t, f)
	for args, want := range map[string]int{"": 101, "--session 0ABC": 251, "--after 0": 251, "--json": 250, "--limit 0": 251, "--limit 5": 6} {
		f.sessions = []session.Session{{ID: oneSession}}
		stdout, stderr, code, _ := paddock(t, socket, append([]string{"events"}, strings.Fields(args)...)...)
		if got := strings.Count(stdout, "\n"); got != want || code != 0 {
			t.Errorf("events %s: %d lines, want %d; code %d, %s", args, got, want, code, stderr)
		}
	}
}

// What broke is said, after what there was.
func TestEventsCutOff(t *testing.T) {
	socket := serve(t, &fake{events: sampleEvents()[:1], eventErr: errors.New("the disk is gone")})
	stdout, stderr, code, _ := paddock(t, socket, "events")
	if code != ExitError || stderr != "paddock: the disk is gone\n" || !strings.Contains(stdout, "Paddock 1.2.3 starts") {
		t.Errorf("code %d, %q, %q", code, stdout, stderr)
	}
}

func TestSessions(t *testing.T) {
	f := &fake{sessions: []session.Session{
		{
			ID: otherSession, Agent: "claude-code", Surface: "cli", UID: 1000, Started: noon, How: "scan",
			Root: session.Root{PID: 12, Exe: "/home/u/.local/share/claude/versions/2.1.330"},
		},
		{
			ID: oneSession, Key: 1 << 63, Agent: "codex", Version: "0.169.0", Surface: "exec", User: "root", Started: noon, Ended: noon.Add(time.Minute), How: "exec",
			Root:     session.Root{PID: 4194304, Exe: "/usr/bin/env", Args: []string{"codex", "exec", "look around" + hostile}},
			Counters: session.Counters{Execs: 12345, Denied: 3, Connects: 2, NetDenied: 1},
		},
	}}
	socket := serve(t, f)
	for name, args := range map[string][]string{"sessions": nil, "sessions-all": {"--all"}, "sessions-json": {"--json", "--all"}} {
		stdout, stderr, code, _ := paddock(t, socket, append([]string{"sessions"}, args...)...)
		if code != 0 || stderr != "" {
			t.Errorf("code %d, %s", code, stderr)
		}
		golden(t, name, stdout)
	}
	f.sessions = nil
	if stdout, _, code, _ := paddock(t, socket, "sessions", "--json"); stdout != "[]\n" || code != 0 {
		t.Errorf("no sessions: %q, %d", stdout, code)
	}
}

func goodStatus() api.Status {
	return api.Status{
		Version: "1.2.3", PID: 42, Mode: "enforce", Started: noon, Kernel: "6.1.0-40-amd64", SessionsLive: 2,
		Policy: api.PolicyStatus{Generation: 3, Rules: 12, Layers: []api.PolicyLayer{{Source: "system", Path: "/etc/codex/requirements.toml", Digest: "9f86d081"}}},
		Gates:  []api.Gate{{Gate: api.GateExecRefuse, Tier: api.TierFmodRet, Proven: true, Checked: noon}, {Gate: api.GateConnect, Tier: api.TierCgroup, Proven: true, Checked: noon, Detail: "below /sys/fs/cgroup"}},
		Agents: []api.AgentCoverage{{Name: "codex", Coverage: api.Enforced}, {Name: "qwen", Coverage: api.Observed}},
		Sinks: []api.SinkStatus{{
			Name: "otlp", Type: "otlp", Where: "https://otel.example.com:4318/v1/logs", State: "sending", Success: noon, Exported: 1200, Waiting: 3,
		}},
		Counters:   map[string]uint64{"ring.holds.seen": 10, "ring.holds.full": 0},
		Identities: []api.Identity{{Name: "seen = submitted + full", Left: 10, Right: 10, Holds: true}},
	}
}

func TestStatus(t *testing.T) {
	bad := goodStatus()
	bad.Policy = api.PolicyStatus{Strictest: true, LastKnown: true, Incidents: []string{"/etc/paddock/requirements.toml: line 3\x1b[1m"}}
	bad.Gates = append(bad.Gates, api.Gate{Gate: api.GateSignal, Tier: api.TierNone, Detail: "the kernel refuses it"})
	bad.Agents = append(bad.Agents, api.AgentCoverage{Name: "cursor", Coverage: api.NotCovered})
	bad.Sinks = []api.SinkStatus{{Name: "siem", Type: "splunk_hec", Where: "https://splunk", State: api.SinkFailing, Error: "503", Waiting: 9, Rejected: 1, Dropped: 2}}
	bad.Identities = append(bad.Identities, api.Identity{Name: "stored = received", Left: 9, Right: 10})
	for _, c := range []struct {
		golden string
		status api.Status
		args   []string
		code   int
	}{
		{"status", goodStatus(), nil, 0},
		{"status-counters", goodStatus(), []string{"--counters"}, 0},
		{"status-json", goodStatus(), []string{"--json"}, 0},
		{"status-bad", bad, nil, ExitProblems},
		{"status-bad-json", bad, []string{"--json"}, ExitProblems},
		{"status-nothing", api.Status{}, nil, ExitProblems},
	} {
		socket := serve(t, &fake{status: c.status})
		stdout, stderr, code, _ := paddock(t, socket, append([]string{"status"}, c.args...)...)
		if code != c.code || stderr != "" {
			t.Errorf("%s: code %d, want %d; %s", c.golden, code, c.code, stderr)
		}
		golden(t, c.golden, stdout)
	}
}

// Each thing that is wrong must by itself be told.
func TestStatusTellsEachProblem(t *testing.T) {
	for name, spoil := range map[string]func(*api.Status){
		"gate":      func(s *api.Status) { s.Gates[0].Proven = false },
		"no gates":  func(s *api.Status) { s.Gates = nil },
		"identity":  func(s *api.Status) { s.Identities[0].Holds = false },
		"incident":  func(s *api.Status) { s.Policy.Incidents = []string{"x"} },
		"strictest": func(s *api.Status) { s.Policy.Strictest = true },
		"sink":      func(s *api.Status) { s.Sinks[0].State = api.SinkFailing },
		"agent":     func(s *api.Status) { s.Agents[0].Coverage = "what?" },
	} {
		s := goodStatus()
		spoil(&s)
		if _, _, code, _ := paddock(t, serve(t, &fake{status: s}), "status"); code != ExitProblems {
			t.Errorf("%s: code %d", name, code)
		}
	}
}

func TestNothingReachesTheTerminalAsItIs(t *testing.T) {
	f := &fake{events: sampleEvents(), sessions: []session.Session{{ID: oneSession, Agent: hostile, User: hostile, Root: session.Root{Args: []string{hostile}}}}}
	f.status.Version, f.status.Mode, f.status.Kernel = hostile, hostile, hostile
	f.status.Policy.Incidents = []string{hostile}
	socket := serve(t, f)
	for _, command := range []string{"events", "sessions", "status"} {
		for _, form := range [][]string{nil, {"--json"}} {
			stdout, stderr, _, _ := paddock(t, socket, append([]string{command}, form...)...)
			if i := strings.IndexFunc(stdout+stderr, func(r rune) bool { return r != '\n' && r != utf8.RuneError && hidden(r) }); i >= 0 {
				t.Errorf("%s %v prints %q", command, form, (stdout + stderr)[i:min(len(stdout), i+8)])
			}
		}
	}
	_, stderr, code, _ := paddock(t, socket, "events", "--session", "zz\x1b[2Jzz")
	if code != ExitError || strings.Contains(stderr, "\x1b") {
		t.Errorf("code %d, %q", code, stderr)
	}
}
