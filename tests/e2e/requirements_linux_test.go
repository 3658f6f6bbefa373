// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// spoil makes the requirements unusable in one way; mend undoes it.
type spoil struct {
	name  string
	spoil func(m *machine) error
	mend  func(m *machine) error
	says  string // in the incident
}

func spoils() []spoil {
	etc := func(m *machine) string { return filepath.Dir(m.requirements()) }
	rewrite := func(m *machine) error {
		if err := os.Remove(m.requirements()); err != nil {
			return err
		}
		m.require(base)
		return nil
	}
	return []spoil{
		{"broken TOML", func(m *machine) error {
			m.require(base + "\n[paddock.network\n")
			return nil
		}, rewrite, "line 10"},
		{"an unknown key", func(m *machine) error {
			m.require(strings.Replace(base, "mode =", "mod =", 1))
			return nil
		}, rewrite, `"mode"`},
		{"a wrong owner", func(m *machine) error { return os.Chown(m.requirements(), 65534, 65534) }, rewrite, "chown it to root"},
		{"writable by its group", func(m *machine) error { return os.Chmod(m.requirements(), 0o664) }, rewrite, "chmod go-w"},
		{
			"a parent writable by its group", func(m *machine) error { return os.Chmod(etc(m), 0o775) },
			func(m *machine) error { return os.Chmod(etc(m), 0o755) }, "chmod go-w",
		},
		{"a symbolic link", func(m *machine) error {
			real := filepath.Join(etc(m), "real.toml")
			if err := os.Rename(m.requirements(), real); err != nil {
				return err
			}
			return os.Symlink(real, m.requirements())
		}, rewrite, "symbolic link"},
		{"a directory", func(m *machine) error {
			if err := os.Remove(m.requirements()); err != nil {
				return err
			}
			return os.Mkdir(m.requirements(), 0o755)
		}, rewrite, "not a regular file"},
	}
}

// Requirements that cannot be used at the start: the strictest apply, and who runs
// into them is told that they are not what somebody wants.
func TestBadRequirementsAtStart(t *testing.T) {
	for _, bad := range spoils() {
		t.Run(bad.name, func(t *testing.T) {
			m := newMachine(t, base)
			must(t, bad.spoil(m))
			m.start()
			s := m.status()
			if !s.Policy.Strictest || s.Policy.LastKnown || s.Mode != "enforce" || len(s.Policy.Incidents) != 1 ||
				!strings.Contains(s.Policy.Incidents[0], bad.says) || !strings.Contains(s.Policy.Incidents[0], "requirements.toml") {
				t.Errorf("status: %s, %+v", s.Mode, s.Policy)
			}
			if n := strings.Count(m.daemon.out.String(), "requirements cannot be used"); n != 1 {
				t.Errorf("logged %d times", n)
			}
			if out, _ := m.run("/bin/echo ran"); !strings.Contains(out, "paddock: blocked `echo ran`: "+policy.Unusable+"\n") || strings.Contains(out, "ran\n") {
				t.Errorf("the agent is told: %q", out)
			}
			m.events.wait("the refusal, with its reason", func(e telemetry.Event) bool {
				return e.Name == telemetry.NameProcessExec && text(e, telemetry.AttrDecisionReason) == policy.Unusable
			})
			if story, errs, code := m.cli("explain", "echo", "ran"); code != 0 || !strings.Contains(story, policy.Unusable) {
				t.Errorf("explain: %d %s\n%s", code, errs, story)
			}
			if e := m.events.named(telemetry.NamePolicyRejected, ""); !strings.Contains(text(e, telemetry.AttrErrorMessage), bad.says) {
				t.Errorf("event: %v", e.Attrs)
			}
			applied := m.events.applied(0)
			must(t, bad.mend(m))
			m.events.applied(applied)
			if s := m.status(); s.Policy.Strictest || len(s.Policy.Incidents) > 0 || s.Policy.Rules != 2 {
				t.Errorf("mended, status: %+v", s.Policy)
			}
			if out, _ := m.run("/bin/echo ran; ls box"); !strings.HasPrefix(out, "ran\n") || strings.Contains(out, listed) {
				t.Errorf("mended: %q", out)
			}
		})
	}
}

// Requirements that become unusable: what they said before stays in force, also
// when the daemon restarts, and everybody is told.
func TestRequirementsBreak(t *testing.T) {
	m := started(t, base)
	s := m.terminal()
	applied := m.events.applied(0)
	for i, bad := range spoils() {
		last := m.lastSeq()
		must(t, bad.spoil(m))
		m.events.wait("rejected: "+bad.name, func(e telemetry.Event) bool {
			return e.Name == telemetry.NamePolicyRejected && e.Seq > last && strings.Contains(text(e, telemetry.AttrErrorMessage), bad.says)
		})
		// Of what carries on, too, before anything is asked.
		applied = m.events.applied(applied)
		now := m.status()
		if now.Policy.Strictest || !now.Policy.LastKnown || now.Policy.Rules != 2 || len(now.Policy.Incidents) != 1 ||
			!strings.Contains(now.Policy.Incidents[0], bad.says) {
			t.Errorf("%s, status: %+v", bad.name, now.Policy)
		}
		if out, code := s.do("ls box 2>/dev/null"); code != killed && code != 126 || strings.Contains(out, listed) {
			t.Errorf("%s: %q, %d", bad.name, out, code)
		}
		if out, code := s.do("/bin/echo ran"); code != 0 || out != "ran\n" {
			t.Errorf("%s: %q, %d", bad.name, out, code)
		}
		if i == 0 {
			m.stop()
			m.start()
			now := m.status()
			if now.Policy.Strictest || !now.Policy.LastKnown || now.Policy.Rules != 2 {
				t.Errorf("%s, after a restart: %+v", bad.name, now.Policy)
			}
			applied = m.lastSeq()
		}
		must(t, bad.mend(m))
		applied = m.events.applied(applied)
		if now := m.status(); now.Policy.LastKnown || len(now.Policy.Incidents) > 0 {
			t.Errorf("%s, mended: %+v", bad.name, now.Policy)
		}
	}
}

// Without a file there is nothing to enforce; with its first version there is.
// Withdrawing it is a decision, not a mishap.
func TestRequirementsComeAndGo(t *testing.T) {
	m := started(t, "")
	if s := m.status(); s.Mode != "observe" || s.Policy.Strictest || len(s.Policy.Incidents) > 0 || len(s.Policy.Layers) > 0 {
		t.Errorf("status: %s, %+v", s.Mode, s.Policy)
	}
	s := m.terminal()
	if out, code := s.do("ls box"); code != 0 || !strings.Contains(out, listed) {
		t.Errorf("without requirements: %q, %d", out, code)
	}
	applied := m.events.applied(0)
	m.require(base)
	applied = m.events.applied(applied)
	if out, _ := s.do("ls box 2>/dev/null"); strings.Contains(out, listed) {
		t.Errorf("with requirements: %q", out)
	}
	m.require(strings.Replace(base, `"ls"`, `"uname"`, 1))
	applied = m.events.applied(applied)
	if out, code := s.do("ls box"); code != 0 || !strings.Contains(out, listed) {
		t.Errorf("ls is not forbidden any more: %q, %d", out, code)
	}
	if out, _ := s.do("uname 2>/dev/null"); strings.Contains(out, "Linux") {
		t.Errorf("uname is forbidden now: %q", out)
	}
	must(t, os.Remove(m.requirements()))
	m.events.applied(applied)
	if out, code := s.do("uname"); code != 0 || out != "Linux\n" {
		t.Errorf("without requirements again: %q, %d", out, code)
	}
	if s := m.status(); s.Mode != "observe" || len(s.Policy.Incidents) > 0 {
		t.Errorf("status: %s, %+v", s.Mode, s.Policy)
	}
}

// A denied destination is denied from the moment on that the policy says so, for
// an agent that runs.
func TestNetworkPolicyChanges(t *testing.T) {
	g, other := newTarget(t), newTarget(t)
	m := started(t, base+networkRules(g, other))
	s := m.terminal()
	if out, _ := s.do(g.connect()); out != "connected\n" {
		t.Errorf("allowed: %q", out)
	}
	applied := m.events.applied(0)
	m.require(base + networkRules(other, g))
	applied = m.events.applied(applied)
	if out, _ := s.do(g.connect() + " 2>/dev/null"); out != "" || g.reached.Load() != 1 {
		t.Errorf("denied: %q, reached %d times", out, g.reached.Load())
	}
	m.require(base + "[paddock.network]\naccess = \"none\"\n")
	m.events.applied(applied)
	for _, to := range []*target{g, other} {
		if out, _ := s.do(to.connect() + " 2>/dev/null"); out != "" {
			t.Errorf("no network: %q", out)
		}
	}
	if g.reached.Load() != 1 || other.reached.Load() != 0 {
		t.Errorf("reached %d and %d times", g.reached.Load(), other.reached.Load())
	}
	m.events.wait("a connection denied for there is no network", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameNetworkDecision && strings.Contains(text(e, telemetry.AttrDecisionReason), "no connection is allowed: access = \"none\"")
	})
}

// 100,000 rules: the daemon starts, decides by the last of them, and takes a
// change while it runs.
func TestManyRules(t *testing.T) {
	const rule = "  { pattern = [{ token = %q }, { any_of = [%q, \"fetch\"] }], decision = \"forbidden\", justification = %q },\n" // as the README has it
	var b strings.Builder
	b.WriteString("[paddock]\nmode = \"enforce\"\n[rules]\nprefix_rules = [\n")
	for i := range 99_999 {
		fmt.Fprintf(&b, rule, fmt.Sprint("cmd", i), "push", "use CI")
	}
	many := b.String() + fmt.Sprintf(rule, "git", "pull", "the last rule") + "]\n"
	m := newMachine(t, many)
	began := time.Now()
	m.start()
	t.Logf("%d MiB of rules: ready after %v, at most %.0f MiB", len(many)>>20, time.Since(began).Round(time.Millisecond), memory(t, m.daemon.pid(), "VmHWM"))
	if s := m.status(); s.Policy.Rules != 100_000 || len(s.Policy.Incidents) > 0 {
		t.Errorf("status: %+v", s.Policy)
	}
	s := m.terminal()
	if out, code := s.do("git pull 2>/dev/null"); code != killed {
		t.Errorf("git pull: %q, %d", out, code)
	}
	if out, code := s.do("git --version | head -c 3"); code != 0 || out != "git" {
		t.Errorf("git --version: %q, %d", out, code)
	}
	applied := m.events.applied(0)
	began = time.Now()
	m.require(strings.Replace(many, `"pull"`, `"rebase"`, 1))
	m.events.applied(applied)
	t.Logf("a change in force after %v; at most %.0f MiB, now %.0f", time.Since(began).Round(time.Millisecond),
		memory(t, m.daemon.pid(), "VmHWM"), memory(t, m.daemon.pid(), "VmRSS"))
	if out, code := s.do("git rebase 2>/dev/null"); code != killed {
		t.Errorf("git rebase: %q, %d", out, code)
	}
	if s := m.status(); s.Policy.Rules != 100_000 || len(s.Policy.Incidents) > 0 {
		t.Errorf("status: %+v", s.Policy)
	}
}

// Each change sends a canary, which is governed for a moment. However many there
// were, agents live.
func TestManyChanges(t *testing.T) {
	m := started(t, base)
	applied := m.events.applied(0)
	for i := range 4 {
		m.require(base + strings.Repeat("#\n", i+1))
		applied = m.events.applied(applied)
		m.events.wait("the canary of the change", func(e telemetry.Event) bool {
			return e.Name == telemetry.NameCanaryResult && e.Seq > applied
		})
	}
	for range 3 {
		if out, err := m.run("(/bin/echo ran); /bin/true; /bin/echo all"); err != nil || out != "ran\nall\n" {
			t.Fatalf("an agent after 4 changes of the policy: %q, %v", out, err)
		}
	}
}

// Where only what rules allow may run, that does, though no rule is about its loader; who
// runs something else is told.
func TestOnlyWhatIsAllowed(t *testing.T) {
	m := newMachine(t, "[paddock]\nmode = \"enforce\"\nunmatched = \"forbidden\"\n")
	must(t, os.MkdirAll(m.path("root/etc/codex/rules"), 0o755))
	must(t, os.WriteFile(m.path("root/etc/codex/rules/team.rules"), []byte("prefix_rule(pattern = [\"uname\"], decision = \"allow\")\n"), 0o644))
	m.start()
	if out, err := m.run("uname; true"); err != nil || out != "Linux\n" {
		t.Errorf("a program that is allowed: %q, %v", out, err)
	}
	for _, line := range []string{"/bin/echo ran; true", "/bin/dash -c 'echo ran'; true", loader(t) + " /bin/echo ran; true"} {
		if out, _ := m.run(line); !strings.Contains(out, ", and what no rule matches is forbidden\n") || strings.Contains(out, "ran\n") {
			t.Errorf("%s: %q", line, out)
		}
	}
}

// A file of rules that Codex reads for itself binds every agent, beside the
// requirements and as soon as it is there; the event names its line.
func TestRuleFile(t *testing.T) {
	m := started(t, "[paddock]\nmode = \"enforce\"\n")
	if out, err := m.run("uname"); err != nil {
		t.Fatalf("before there is a rule: %q, %v", out, err)
	}
	must(t, os.MkdirAll(m.path("root/etc/codex/rules"), 0o755))
	must(t, os.WriteFile(m.path("root/etc/codex/rules/team.rules"),
		[]byte("# ours\nprefix_rule(pattern = [\"uname\", \"-a\"], decision = \"forbidden\", justification = \"nobody needs to know\")\n"), 0o644))
	m.events.wait("the policy with that file", func(e telemetry.Event) bool {
		return e.Name == telemetry.NamePolicyApplied &&
			strings.Contains(fmt.Sprint(e.Attrs[telemetry.AttrPolicySources]), " /etc/codex/rules/team.rules]")
	})
	if out, err := m.run("uname -a"); err == nil || !strings.Contains(out, "nobody needs to know") {
		t.Errorf("a command that the file forbids: %q, %v", out, err)
	}
	if out, err := m.run("uname -s"); err != nil {
		t.Errorf("another one: %q, %v", out, err)
	}
	m.events.wait("the refusal, with file and line", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameProcessExec && e.Attrs[telemetry.AttrDecision] == "forbidden" &&
			e.Attrs[telemetry.AttrDecisionSource] == "/etc/codex/rules/team.rules:2"
	})
}
