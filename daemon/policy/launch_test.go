// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
)

// judged writes what becomes of a start: "ACTION WHAT", the strictest first.
func judged(r *Requirements, s Start) string {
	var out []string
	for _, j := range r.Launch.JudgeStart(s) {
		out = append(out, j.Action.String()+" "+j.What)
	}
	return strings.Join(out, ", ")
}

var (
	yolo = LaunchFinding{Kind: LaunchFlags, What: "--yolo", Within: []string{"allowed_sandbox_modes=danger-full-access", "allowed_approval_policies=never"}}
	home = LaunchFinding{Kind: LaunchEnvironment, What: "CODEX_HOME"}
	dir  = LaunchFinding{Kind: LaunchFlags, What: "--add-dir", Quiet: true}
)

func TestJudgeStart(t *testing.T) {
	const sum = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	codexStart := func(found ...LaunchFinding) Start {
		return Start{
			Agent: "codex", Version: "0.169.0-linux-x64", Program: "/usr/lib/node_modules/x/codex", Home: "/home/u",
			Findings: found, Digest: func() (string, error) { return sum, nil },
		}
	}
	for _, c := range []struct {
		name  string
		text  string
		start Start
		want  string
	}{
		{"nothing is said", "", codexStart(yolo, dir, home), "warn --yolo, warn CODEX_HOME, record --add-dir"},
		{"record", "flags = 'record'\nenvironment = 'record'", codexStart(yolo, dir, home), "record --yolo, record --add-dir, record CODEX_HOME"},
		{"refuse", "flags = 'refuse'", codexStart(home, yolo, dir), "refuse --yolo, refuse --add-dir, warn CODEX_HOME"},
		{"new enough", "minimum = {codex = '0.169'}", codexStart(), ""},
		{"too old", "minimum = {codex = '0.170.0'}\nversions = 'refuse'", codexStart(), "refuse version 0.169.0-linux-x64"},
		{"of another agent", "minimum = {claude-code = '9'}", codexStart(), ""},
		{"version not known", "minimum = {codex = '0.1'}", Start{Agent: "codex"}, "warn version"},
		{"in its place", "places = ['/opt', '/usr/lib']", codexStart(), ""},
		{"elsewhere", "places = ['/usr/libexec', '~/bin']", codexStart(), "warn /usr/lib/node_modules/x/codex"},
		{"at home", "places = ['~/bin']", Start{Agent: "codex", Program: "/home/u/bin/codex", Home: "/home/u"}, ""},
		{"at home, which is not known", "places = ['~/bin']", Start{Agent: "codex", Program: "/bin/codex"}, "warn /bin/codex"},
		{"place not known", "places = ['/']", Start{Agent: "codex"}, "warn "},
		{"known", "programs = {codex = ['" + strings.ToUpper(sum) + "']}", codexStart(), ""},
		{"not known", "programs = {codex = ['" + strings.Repeat("f", 64) + "']}", codexStart(), "warn program " + sum},
		{
			"cannot be read", "programs = {codex = ['" + sum + "']}",
			Start{Agent: "codex", Digest: func() (string, error) { return "", errors.New("gone") }},
			"warn program",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := judged(Merge(as(t, "[paddock.launch]\n"+c.text, Subject{})), c.start); got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
		})
	}
}

// What Codex's own requirements allow is no way around them; "refuse" is meant.
func TestJudgeStartWithinCodex(t *testing.T) {
	const modes, policies = "allowed_sandbox_modes = ['read-only', 'danger-full-access']\n", "allowed_approval_policies = ['on-request', 'never']\n"
	for _, c := range []struct {
		layers []string
		want   string
	}{
		{[]string{modes + policies}, "record --yolo"},
		{[]string{modes}, "warn --yolo"},
		{[]string{modes + policies, "allowed_approval_policies = ['on-request']\n"}, "warn --yolo"},
		{[]string{"allowed_approval_policies = ['on-request']\n", modes + policies}, "warn --yolo"},
		{[]string{modes + policies + "[paddock.launch]\nflags = 'refuse'"}, "refuse --yolo"},
	} {
		var layers []*Requirements
		for _, text := range c.layers {
			layers = append(layers, as(t, text, Subject{}))
		}
		if got := judged(Merge(layers...), Start{Agent: "codex", Findings: []LaunchFinding{yolo}}); got != c.want {
			t.Errorf("%q: %s, want %s", c.layers, got, c.want)
		}
	}
}

func TestOlder(t *testing.T) {
	inOrder := []string{
		"", "0.9", "0.100.0-alpha.1", "0.100.0", "0.100.1", "0.169.0-rc1", "0.169.0", "1", "2.0", "2.1.330", "2025.12.30-x", "2026.01.02-abc",
	}
	for i, a := range inOrder {
		for j, b := range inOrder[1:] {
			if got, want := Older(a, b), i < j+1; got != want {
				t.Errorf("%q is older than %q: %t", a, b, got)
			}
		}
	}
	for _, same := range [][2]string{{"v1.2", "1.2.0"}, {"0.169.0-linux-x64", "0.169.0"}, {"1.0.0+build", "1"}} {
		if Older(same[0], same[1]) || Older(same[1], same[0]) {
			t.Errorf("%q and %q are the same", same[0], same[1])
		}
	}
	for _, none := range []string{"latest", ".", "1..2", "99999999999999999999.1", "-1"} {
		if !Older(none, "0.0.1") {
			t.Errorf("%q is a version", none)
		}
	}
}

func TestBadLaunch(t *testing.T) {
	for text, want := range map[string]string{
		"flags = 'deny'":                "paddock.launch.flags",
		"flag = 'warn'":                 `did you mean "flags"?`,
		"minimum = {codex = 'latest'}":  "numbers with dots",
		"minimum = {Codex = '1'}":       "bad agent name",
		"minimum = '1'":                 "expected a table",
		"programs = {codex = []}":       "refuse every program",
		"programs = {codex = ['abcd']}": "SHA-256",
		"places = ['bin']":              "begin with / or ~/",
		"places = ['/opt/*']":           "patterns",
	} {
		if _, err := Parse("f", []byte("[paddock.launch]\n"+text)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: %v, want ...%s...", text, err, want)
		}
	}
}

// drawLaunch draws a table [paddock.launch].
func drawLaunch(t *rapid.T, name string) string {
	maybe := func(key string, values ...string) string {
		if v := rapid.SampledFrom(append(values, "")).Draw(t, name+" launch "+key); v != "" {
			return key + " = " + v + "\n"
		}
		return ""
	}
	return "[paddock.launch]\n" + maybe("flags", "'record'", "'warn'", "'refuse'") + maybe("environment", "'record'", "'refuse'") +
		maybe("versions", "'record'", "'refuse'") + maybe("minimum", "{codex = '1.0'}", "{codex = '2.0'}") + maybe("places", "['/usr']", "['/usr/lib']", "['/opt']") +
		maybe("programs", "{codex = ['"+strings.Repeat("a", 64)+"']}", "{codex = ['"+strings.Repeat("b", 64)+"']}")
}

// strictest is the strictest action for what is of one kind in a start.
func strictest(r *Requirements, s Start, kind LaunchKind) LaunchAction {
	out := LaunchRecord
	for _, j := range r.Launch.JudgeStart(s) {
		if j.Kind == kind {
			out = max(out, j.Action)
		}
	}
	return out
}

// No layer, and no cohort of people, makes a start milder than it is without it: but a
// layer may say of the default what it likes.
func TestLaunchOnlyBecomesStricter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		codexKeys := func(name string) string {
			return rapid.SampledFrom([]string{"", "allowed_sandbox_modes = ['read-only', 'danger-full-access']\nallowed_approval_policies = ['never']\n"}).Draw(t, name)
		}
		low, high := codexKeys("low")+drawLaunch(t, "low"), codexKeys("high")+drawLaunch(t, "high")
		cohort := strings.Replace(drawLaunch(t, "cohort"), "[paddock.", "[paddock.cohort.requirements.paddock.", 1)
		extra := "[[paddock.cohort]]\nname = 'c'\nusers = ['alice']\n[paddock.cohort.requirements]\n" + codexKeys("cohort") + cohort
		parse := func(text string, people ...Person) *Requirements {
			r, err := ParseLayer(codex.Layer{Name: "f", Data: []byte(text)}, Subject{People: people})
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			return r
		}
		a, b := parse(low), parse(high)
		both := Merge(a, b)
		withPeople := Merge(a, parse(high+extra, Person{User: "alice"}))
		start := Start{
			Agent: "codex", Version: "1.5", Program: "/usr/lib/codex", Findings: []LaunchFinding{yolo, home, dir},
			Digest: func() (string, error) { return strings.Repeat("a", 64), nil },
		}
		for _, kind := range LaunchKinds() {
			for _, alone := range []*Requirements{a, b} {
				was, is := strictest(Merge(alone), start, kind), strictest(both, start, kind)
				if _, said := alone.Launch.Actions[kind]; said && is < was {
					t.Fatalf("%s: %s alone, %s with another layer\n%s\n%s", kind, was, is, low, high)
				}
			}
			if was, is := strictest(both, start, kind), strictest(withPeople, start, kind); is < was {
				t.Fatalf("%s: %s, with a cohort of people %s\n%s\n%s\n%s", kind, was, is, low, high, extra)
			}
		}
	})
}
