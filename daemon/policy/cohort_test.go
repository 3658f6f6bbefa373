// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
)

func as(t testing.TB, text string, subject Subject) *Requirements {
	t.Helper()
	req, err := ParseLayer(codex.Layer{Name: "f", Data: []byte(text)}, subject)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

const staged = `allowed_web_search_modes = ["live"]
[rules]
prefix_rules = [{ pattern = [{ token = "rm" }], decision = "prompt" }]
[paddock]
mode = "observe"
unmatched = "prompt"

[[paddock.cohort]]
name = "pilot"
hosts = ["devbox-*", "ci"]
percent = 100
[paddock.cohort.requirements]
allowed_web_search_modes = ["cached"]
paddock.mode = "enforce"
[[paddock.cohort.requirements.rules.prefix_rules]]
pattern = [{ token = "git" }, { token = "push" }]
decision = "forbidden"

[[paddock.cohort]]
name = "laptops"
hosts = ["laptop-*"]
requirements = { paddock = { unmatched = "allow" } }
`

func TestCohorts(t *testing.T) {
	for _, tt := range []struct {
		who             Subject
		mode            Mode
		push, ls        Decision
		search          string
		pilot, laptopID bool
	}{
		{Subject{}, Observe, Prompt, Prompt, "live", false, false},
		{Subject{Host: "devbox-7", MachineID: "m"}, Enforce, Forbidden, Prompt, "cached", true, false},
		{Subject{Host: "DEVBOX-7.", MachineID: "m"}, Enforce, Forbidden, Prompt, "cached", true, false},
		{Subject{Host: "devbox-7"}, Observe, Prompt, Prompt, "live", false, false},
		{Subject{Host: "laptop-1", MachineID: "m"}, Observe, Allow, Allow, "live", false, true},
	} {
		req := as(t, staged, tt.who)
		merged := Merge(req)
		rules := Compile(req.Rules, req.Unmatched)
		if req.Mode != tt.mode || rules.Decide(cmd("git", "push")).Decision != tt.push || rules.Decide(cmd("ls")).Decision != tt.ls ||
			rules.Decide(cmd("rm")).Decision != Prompt || codex.Texts(merged.Codex.Get("allowed_web_search_modes"))[0] != tt.search {
			t.Errorf("%+v: mode %s, unmatched %s, rules %v", tt.who, req.Mode, req.Unmatched, req.Rules)
		}
		if len(req.Cohorts) != 2 || req.Cohorts[0].Applied != tt.pilot || req.Cohorts[1].Applied != tt.laptopID {
			t.Errorf("%+v: cohorts %+v", tt.who, req.Cohorts)
		}
		for _, c := range req.Cohorts {
			if c.Why == "" || c.Source != "f" || c.Line == 0 {
				t.Errorf("%+v: %+v does not say why", tt.who, c)
			}
		}
	}
}

// A value of a cohort is traced to the line in the cohort.
func TestCohortsAreSources(t *testing.T) {
	req := as(t, staged, Subject{Host: "ci", MachineID: "m"})
	lines := map[string]int{}
	for _, v := range Values(Merge(req), req) {
		lines[v.Key] = v.Line
	}
	for key, want := range map[string]int{"allowed_web_search_modes": 13, "paddock.mode": 14, "paddock.unmatched": 6, "rules.prefix_rules[0]": 15, "rules.prefix_rules[1]": 3} {
		if lines[key] != want {
			t.Errorf("%s is from line %d, want %d", key, lines[key], want)
		}
	}
}

// A mistake in a cohort is one on every machine: it is found before the cohort's own
// machines find it.
func TestCohortMistakes(t *testing.T) {
	cohort := func(s string) string { return "[[paddock.cohort]]\n" + s + "\n" }
	for _, tt := range []struct{ name, text, want string }{
		{"not a list", "[paddock.cohort]\nname = 'a'\n", "line 1: paddock.cohort: expected an array, found a table"},
		{"no name", cohort("hosts = ['a']\nrequirements = {}"), `line 1: paddock.cohort[0]: "name" is missing`},
		{"blank name", cohort("name = ' '\nhosts = ['a']\nrequirements = {}"), "line 2: paddock.cohort[0].name: cannot be empty"},
		{"no requirements", cohort("name = 'a'\nhosts = ['a']"), `"requirements" is missing`},
		{"no condition", cohort("name = 'a'\nrequirements = {}"), "line 1: paddock.cohort[0]: has no hosts, users, groups or percent"},
		{"no hosts", cohort("name = 'a'\nhosts = []\nrequirements = {}"), "an empty list matches nothing"},
		{"percent too large", cohort("name = 'a'\npercent = 101\nrequirements = {}"), "line 3: paddock.cohort[0].percent: expected a whole number from 0 to 100, found an integer (101)"},
		{"percent as text", cohort("name = 'a'\npercent = '10%'\nrequirements = {}"), `found the string "10%"`},
		{"bad condition behind one that is not met", cohort("name = 'a'\nhosts = ['nobody']\nusers = 'x'\nrequirements = {}"), "line 4: paddock.cohort[0].users: expected an array"},
		{"unknown key", cohort("name = 'a'\nhost = ['a']\nrequirements = {}"), `unknown key "host" in [paddock.cohort[0]]; did you mean "hosts"?`},
		{"twice", cohort("name = 'a'\npercent = 1\nrequirements = {}") + cohort("name = 'a'\npercent = 2\nrequirements = {}"), `line 5: paddock.cohort[1].name: there is another cohort "a"`},
		{"bad overlay", cohort("name = 'a'\nhosts = ['nobody']\nrequirements.paddock.mode = 'enfroce'"), `line 4: paddock.mode: unknown mode "enfroce"; did you mean "enforce"?`},
		{"bad overlay of Codex's", cohort("name = 'a'\nhosts = ['nobody']\nrequirements.enforce_residency = 'eu'"), `line 4: enforce_residency: unknown value "eu"`},
		{"a cohort in a cohort", cohort("name = 'a'\nhosts = ['nobody']\n[[paddock.cohort.requirements.paddock.cohort]]\nname = 'b'"), "a cohort cannot have cohorts itself"},
	} {
		_, err := Parse("f", []byte(tt.text))
		if err == nil || !strings.Contains(withoutColumn(err), tt.want) {
			t.Errorf("%s: %v, want ...%s...", tt.name, err, tt.want)
		}
	}
}

// A greater percentage only adds machines, about as many as it says.
func TestPercentIsStable(t *testing.T) {
	in := func(machine string, percent int) bool {
		text := fmt.Sprintf("[[paddock.cohort]]\nname = 'p'\npercent = %d\nrequirements.paddock.mode = 'observe'\n", percent)
		return as(t, text, Subject{MachineID: machine}).Cohorts[0].Applied
	}
	rapid.Check(t, func(t *rapid.T) {
		machine := rapid.StringMatching("[0-9a-f]{32}").Draw(t, "machine")
		percent := rapid.IntRange(0, 100).Draw(t, "percent")
		more := rapid.IntRange(percent, 100).Draw(t, "more")
		if in(machine, percent) && !in(machine, more) {
			t.Fatalf("%s is among %d%%, but not among %d%%", machine, percent, more)
		}
		if in(machine, 0) || !in(machine, 100) || in("", 100) {
			t.Fatalf("%s: 0%% and 100%% are not nothing and everything", machine)
		}
	})
	among := 0
	for i := range 2000 {
		if in(fmt.Sprintf("machine-%d", i), 25) {
			among++
		}
	}
	if among < 420 || among > 580 {
		t.Errorf("25%% of 2,000 machines are %d", among)
	}
}

// A cohort of a higher layer does not weaken a lower layer.
func TestCohortsKeepToTheirLayer(t *testing.T) {
	low := as(t, "[paddock]\nmode = 'enforce'\nunmatched = 'forbidden'\n", Subject{Host: "a"})
	high := as(t, "[[paddock.cohort]]\nname = 'c'\nhosts = ['a']\nrequirements.paddock = {mode = 'observe', unmatched = 'allow'}\n", Subject{Host: "a"})
	if m := Merge(low, high); !high.Cohorts[0].Applied || m.Mode != Enforce || m.Unmatched != Forbidden {
		t.Errorf("mode %s, unmatched %s", m.Mode, m.Unmatched)
	}
}
