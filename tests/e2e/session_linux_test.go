// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// base forbids ls whatever its arguments, and git when it would push.
const base = `
[rules]
prefix_rules = [
  { pattern = [{ token = "ls" }], decision = "forbidden", justification = "use the file tool" },
  { pattern = [{ token = "git" }, { any_of = ["push", "fetch"] }], decision = "prompt" },
]
[paddock]
mode = "enforce"
`

// One agent from its start to its end, and everything the command line tells.
func TestSession(t *testing.T) {
	allowed, denied := newTarget(t), newTarget(t)
	m := started(t, base+"[paddock.approvals]\ntimeout = 5\n"+networkRules(allowed, denied))
	// By its path: refused, a shell would look for another in the next directory.
	out, err := m.run("/bin/echo hello; /bin/ls box; git push origin; git --version >/dev/null && echo git; "+
		allowed.connect()+"; "+denied.connect()+"; true", "PDK_TOOL_CALL=call_7")
	if err != nil || !strings.HasPrefix(out, "hello\n") || !strings.Contains(out, "\ngit\n") || !strings.Contains(out, "connected") {
		t.Errorf("what is allowed did not work: %q, %v", out, err)
	}
	if strings.Contains(out, listed) || allowed.reached.Load() != 1 || denied.reached.Load() != 0 {
		t.Errorf("ls ran, or connections went astray (%d allowed, %d denied): %q", allowed.reached.Load(), denied.reached.Load(), out)
	}

	start := m.events.named(telemetry.NameSessionStart, "")
	id := start.Session
	if text(start, telemetry.AttrAgent) != agentName || text(start, telemetry.AttrSessionHow) != "exec" || len(id) != 26 {
		t.Errorf("session start: %+v", start)
	}
	for _, want := range []struct {
		program  string
		args     []string
		decision string
		reason   string
	}{
		{"echo", []string{"hello"}, "allow", "no rule matches"},
		{"ls", nil, "forbidden", "use the file tool"},
		{"git", []string{"push", "origin"}, "prompt", "needs approval by rule"},
		{"git", []string{"--version"}, "allow", "no rule matches"},
	} {
		e := m.events.exec(id, want.program, want.args...)
		if text(e, telemetry.AttrDecision) != want.decision || !strings.Contains(text(e, telemetry.AttrDecisionReason), want.reason) ||
			e.Attrs[telemetry.AttrDecisionEnforced] != true {
			t.Errorf("%s %q: %v", want.program, want.args, e.Attrs)
		}
		if want.decision != "allow" && !strings.Contains(text(e, telemetry.AttrDecisionSource), "requirements.toml:") {
			t.Errorf("%s: no source of the decision in %v", want.program, e.Attrs)
		}
		if text(e, telemetry.AttrToolCallID) != "call_7" && text(e, telemetry.AttrGate) != "exec.refuse" {
			t.Errorf("%s: no tool call in %v", want.program, e.Attrs)
		}
	}
	for _, want := range []struct {
		*target
		decision, reason string
	}{{allowed, "allow", "the build cache"}, {denied, "deny", "the metadata service"}} {
		e := m.events.wait("connection to "+want.reason, func(e telemetry.Event) bool {
			return e.Name == telemetry.NameNetworkDecision && number(e, telemetry.AttrDestinationPort) == int64(want.port)
		})
		if e.Session != id || text(e, telemetry.AttrDecision) != want.decision || text(e, telemetry.AttrDecisionReason) != want.reason ||
			text(e, telemetry.AttrToolCallID) != "call_7" {
			t.Errorf("connection: %s %v", e.Session, e.Attrs)
		}
	}
	end := m.events.named(telemetry.NameSessionEnd, id)
	if number(end, telemetry.AttrSessionDenied) != 2 || number(end, telemetry.AttrSessionNetDenied) != 1 || number(end, telemetry.AttrSessionConnects) != 2 {
		t.Errorf("session end: %v", end.Attrs)
	}

	if s := m.sessions()[id]; s.Live() || s.Agent != agentName || s.Counters.Denied != 2 {
		t.Errorf("paddock sessions: %+v", s)
	}
	out, _, code := m.cli("events", "--session", id[18:], "--json")
	if n := strings.Count(out, "\n"); code != 0 || n < 10 || strings.Count(out, id) != n {
		t.Errorf("paddock events --session: %d, %s", code, out)
	}
	m.balanced(m.status())
}

// A descendant belongs to its session whatever it does.
func TestDescendantsStay(t *testing.T) {
	m := started(t, base)
	out, _ := m.run("setsid -w sh -c '(ls box &) ; ls box; wait'; sh -c 'nohup setsid ls box & ' ; perl -e 'fork && exit; setpgrp; fork && exit; exec \"ls\", \"box\"'; true")
	if strings.Contains(out, listed) {
		t.Errorf("ls ran: %q", out)
	}
	id := m.events.named(telemetry.NameSessionStart, "").Session
	m.events.named(telemetry.NameSessionEnd, id) // only once the last of them is gone
	n := 0
	for _, e := range m.events.list() {
		if e.Name == telemetry.NameProcessExec && text(e, telemetry.AttrProcessExecutableName) == "ls" {
			n++
			if e.Session != id || text(e, telemetry.AttrDecision) != "forbidden" {
				t.Errorf("ls: %s %v", e.Session, e.Attrs)
			}
		}
	}
	if n != 4 {
		t.Errorf("%d events of ls, want 4", n)
	}
}

// Two agents at once are two sessions; other programs are in none.
func TestSessionsDoNotMix(t *testing.T) {
	m := started(t, base)
	a, b := m.terminal(), m.terminal()
	a.do("/bin/echo of-a")
	b.do("/bin/echo of-b")
	if out, err := m.free("ls box && /bin/echo of-nobody"); err != nil {
		t.Errorf("a program nobody governs: %q, %v", out, err)
	}
	ids := map[string]string{}
	for _, word := range []string{"of-a", "of-b"} {
		e := m.events.wait(word, func(e telemetry.Event) bool {
			return text(e, telemetry.AttrProcessExecutableName) == "echo" && argsFit(e, []string{word})
		})
		ids[word] = e.Session
	}
	if ids["of-a"] == ids["of-b"] || ids["of-a"] == "" || m.status().SessionsLive != 2 {
		t.Errorf("sessions %v, %d live", ids, m.status().SessionsLive)
	}
	for _, e := range m.events.list() {
		if strings.Contains(fmt.Sprint(e.Attrs), "of-nobody") {
			t.Errorf("an event of what nobody governs: %v", e.Attrs)
		}
	}
}

func TestRun(t *testing.T) {
	m := started(t, base)
	out, errs, code := m.cli("run", "--agent", "builder", "--", "/bin/sh", "-c", "/bin/echo in; ls box; exit 7")
	if code != 7 || !strings.HasPrefix(out, "in\n") || strings.Contains(out, listed) {
		t.Errorf("%q, %q, %d", out, errs, code)
	}
	start := m.events.named(telemetry.NameSessionStart, "")
	if text(start, telemetry.AttrSessionHow) != "run" || text(start, telemetry.AttrAgent) != "builder" {
		t.Errorf("session start: %v", start.Attrs)
	}
	if e := m.events.exec(start.Session, "ls"); text(e, telemetry.AttrDecision) != "forbidden" {
		t.Errorf("ls: %v", e.Attrs)
	}
	m.events.named(telemetry.NameSessionEnd, start.Session)

	// An agent gets no second session, and no look at the others.
	paddock := shared.paddock + " --socket " + m.socket() + " "
	out, err := m.run(paddock + "run -- /bin/echo outside; echo $?; " + paddock + "events; echo $?; " + paddock + "status >/dev/null; echo $?")
	if err != nil || strings.Contains(out, "outside\n") || !strings.Contains(out, "125\n") || strings.Count(out, "is governed") != 2 {
		t.Errorf("paddock run inside a session: %q, %v", out, err)
	}
	m.stop()
	if out, errs, code := m.cli("run", "--", "/bin/echo", "outside"); code != 125 || out != "" || !strings.Contains(errs, "was not started") {
		t.Errorf("paddock run without a daemon: %q, %q, %d", out, errs, code)
	}
}
