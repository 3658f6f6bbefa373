// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
)

const forPeople = `[rules]
prefix_rules = [{ pattern = [{ token = "rm" }], decision = "prompt" }]
[paddock]
mode = "observe"
[[paddock.cohort]]
name = "pilot"
users = ["alice"]
hosts = ["devbox-*"]
[paddock.cohort.requirements.paddock]
mode = "enforce"
[[paddock.cohort.requirements.rules.prefix_rules]]
pattern = [{ token = "git" }, { token = "push" }]
decision = "forbidden"
[[paddock.cohort]]
name = "contractors"
groups = ["ext"]
[paddock.cohort.requirements.permissions.filesystem]
deny_read = ["/srv/secret"]
[paddock.cohort.requirements.paddock.network]
default = "deny"
`

// A cohort of people is in force while one of them is there, and for everybody.
func TestCohortsOfPeople(t *testing.T) {
	alice, bob := Person{User: "alice", Groups: []string{"eng"}}, Person{User: "bob", Groups: []string{"eng", "ext"}}
	for _, tt := range []struct {
		name  string
		who   Subject
		mode  Mode
		push  Decision
		net   NetDecision
		reads int
		why   [2]string
	}{
		{"nobody", Subject{Host: "devbox-7"}, Observe, Allow, NetAllow, 0, [2]string{"no user is known", "no user is known"}},
		{"alice", Subject{Host: "devbox-7", People: []Person{alice}}, Enforce, Forbidden, NetAllow, 0, [2]string{"host devbox-7 matches \"devbox-*\", user alice matches \"alice\"", "group eng is none of groups"}},
		{"alice elsewhere", Subject{Host: "laptop", People: []Person{alice}}, Observe, Allow, NetAllow, 0, [2]string{"host laptop is none of hosts", "group eng is none of groups"}},
		{"bob", Subject{Host: "devbox-7", People: []Person{bob}}, Observe, Allow, NetDeny, 1, [2]string{"user bob is none of users", "group ext matches \"ext\""}},
		{"both", Subject{Host: "devbox-7", People: []Person{alice, bob}}, Enforce, Forbidden, NetDeny, 1, [2]string{"user alice matches", "group ext matches"}},
		{"two who are in none", Subject{Host: "devbox-7", People: []Person{{User: "eve"}, {User: "carol"}}}, Observe, Allow, NetAllow, 0, [2]string{"none of 2 users is", "none of 2 users is"}},
		{"who it is could not be found out", Subject{Host: "devbox-7", People: []Person{{User: "#1007", Unsure: true}}}, Enforce, Forbidden, NetDeny, 1, [2]string{"could not be found out", "could not be found out"}},
		{"a group alone", Subject{People: []Person{{Groups: []string{"ext"}}}}, Observe, Allow, NetDeny, 1, [2]string{"the user is not known", "group ext matches"}},
	} {
		req := as(t, forPeople, tt.who)
		merged := Merge(req)
		rules := Compile(merged.Rules, merged.Unmatched)
		net, _ := merged.Network.Decide(netip.MustParseAddrPort("192.0.2.1:443"), TCP)
		if merged.Mode != tt.mode || rules.Decide(cmd("git", "push")).Decision != tt.push || rules.Decide(cmd("rm")).Decision != Prompt ||
			net != tt.net || len(merged.DenyRead()) != tt.reads {
			t.Errorf("%s: mode %s, rules %v, network %s, not to be read %v", tt.name, merged.Mode, merged.Rules, net, merged.DenyRead())
		}
		for i, c := range merged.Cohorts {
			if !c.People || !strings.Contains(c.Why, tt.why[i]) {
				t.Errorf("%s: cohort %+v, want ...%s...", tt.name, c, tt.why[i])
			}
		}
	}
}

// What a cohort of people says is traced to its line, beside what the file says.
func TestCohortsOfPeopleAreSources(t *testing.T) {
	req := as(t, forPeople, Subject{Host: "devbox-7", People: []Person{{User: "alice", Groups: []string{"ext"}}}})
	lines := map[string]int{}
	for _, v := range Values(Merge(req), req) {
		lines[v.Key] = v.Line
	}
	for key, want := range map[string]int{
		"paddock.mode": 10, "paddock.unmatched": 0, "paddock.network.default": 20, "permissions.filesystem.deny_read": 18,
		"rules.prefix_rules[0]": 2, "rules.prefix_rules[1]": 11,
	} {
		if got, ok := lines[key]; !ok || got != want {
			t.Errorf("%s is from line %d (%t), want %d", key, got, ok, want)
		}
	}
}

// Whatever a cohort of people says, nothing is milder for anybody with it.
func TestCohortsOfPeopleNeverLoosen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low, file, cohort := drawOwn(t, "low"), drawOwn(t, "file"), drawOwn(t, "cohort")
		text := file + "[[paddock.cohort]]\nname = 'c'\nusers = ['alice']\n" + strings.NewReplacer(
			"[[rules.", "[[paddock.cohort.requirements.rules.", "[[paddock.", "[[paddock.cohort.requirements.paddock.",
			"[paddock", "[paddock.cohort.requirements.paddock").Replace(cohort)
		parse := func(text string, people ...Person) *Requirements {
			req, err := ParseLayer(codex.Layer{Name: "f", Data: []byte(text)}, Subject{People: people})
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			return req
		}
		without := Merge(parse(low), parse(text))
		with := Merge(parse(low), parse(text, Person{User: "alice"}))
		if with.Mode < without.Mode || with.Unmatched < without.Unmatched || with.Provenance < without.Provenance || with.Telemetry.Endpoint != without.Telemetry.Endpoint {
			t.Fatalf("mode %s, unmatched %s, provenance %s, telemetry %q without, %s, %s, %s, %q with", without.Mode, without.Unmatched,
				without.Provenance, without.Telemetry.Endpoint, with.Mode, with.Unmatched, with.Provenance, with.Telemetry.Endpoint)
		}
		for _, agent := range []string{"codex", "cursor", "qwen"} {
			if governs(without, agent) && !governs(with, agent) {
				t.Fatalf("%s is governed only without the cohort", agent)
			}
		}
		before, after := Compile(without.Rules, without.Unmatched), Compile(with.Rules, with.Unmatched)
		for _, c := range []Command{cmd("a"), cmd("a", "x"), cmd("b"), cmd("b", "x"), cmd("c")} {
			was, is := before.Decide(c), after.Decide(c)
			if is.Decision < was.Decision {
				t.Fatalf("%v was %s, is %s\n%s\n%s", c, was.Reason, is.Reason, low, text)
			}
		}
		for _, to := range []string{"10.0.0.1:80", "10.1.0.1:80", "192.0.2.1:80"} {
			was, _ := without.Network.Decide(netip.MustParseAddrPort(to), TCP)
			if is, _ := with.Network.Decide(netip.MustParseAddrPort(to), TCP); was == NetDeny && is == NetAllow {
				t.Fatalf("%s is denied only without the cohort\n%s\n%s", to, low, text)
			}
		}
	})
}

func governs(r *Requirements, agent string) bool {
	for _, a := range r.Agents {
		if a == agent {
			return true
		}
	}
	return len(r.Agents) == 0
}

// drawOwn draws a file of rules and [paddock].
func drawOwn(t *rapid.T, name string) string {
	maybe := func(key string, values ...string) string {
		v := rapid.SampledFrom(append(values, "")).Draw(t, name+" "+key)
		if v == "" {
			return ""
		}
		return key + " = " + v + "\n"
	}
	var b strings.Builder
	for i := range rapid.IntRange(0, 2).Draw(t, name+" rules") {
		rule := fmt.Sprintf("%s rule %d", name, i)
		fmt.Fprintf(&b, "[[rules.prefix_rules]]\npattern = [{token = '%s'}%s]\ndecision = '%s'\n",
			rapid.SampledFrom([]string{"a", "b"}).Draw(t, rule), rapid.SampledFrom([]string{"", ", {token = 'x'}"}).Draw(t, rule+" more"),
			rapid.SampledFrom([]string{"prompt", "prompt-user", "forbidden"}).Draw(t, rule+" decision"))
	}
	b.WriteString("[paddock]\n" + maybe("mode", "'observe'", "'enforce'") + maybe("unmatched", "'allow'", "'prompt'", "'forbidden'") +
		maybe("agents", "['codex']", "['cursor']") + maybe("require_provenance", "'manual'", "'mdm_verified'"))
	if v := maybe("endpoint", "'http://a'", "'http://b'"); v != "" {
		b.WriteString("[paddock.telemetry]\n" + v)
	}
	b.WriteString("[paddock.network]\n" + maybe("default", "'allow'", "'deny'") + maybe("access", "'none'"))
	for i := range rapid.IntRange(0, 2).Draw(t, name+" networks") {
		rule := fmt.Sprintf("%s network %d", name, i)
		fmt.Fprintf(&b, "[[paddock.network.rules]]\ncidr = '%s'\ndecision = '%s'\n",
			rapid.SampledFrom([]string{"10.0.0.0/8", "10.1.0.0/16"}).Draw(t, rule), rapid.SampledFrom([]string{"allow", "deny"}).Draw(t, rule+" decision"))
	}
	return b.String()
}
