// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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

// What a cohort opens for its people would be open for everybody.
func TestCohortsOfPeopleOpenNothing(t *testing.T) {
	const file = `
allowed_sandbox_modes = ["workspace-write"]
[experimental_network]
enabled = true
managed_allowed_domains_only = true
[[paddock.cohort]]
name = "c"
users = ["alice"]
[paddock.cohort.requirements.experimental_network]
allow_local_binding = true
domains = { "a.example" = "allow" }
[paddock.cohort.requirements.paddock.approvals]
timeout = 600
scopes = ["session", "always"]
root_may_answer = true
high_risk = []
auto_review = ["project"]
[paddock.cohort.requirements.paddock.boundary]
writable = ["/srv"]
readable = ["~/.aws"]
reachable = ["/run/docker.sock"]
[paddock.cohort.requirements.paddock.telemetry]
prompts = "record"
`
	with := Merge(as(t, file, Subject{People: []Person{{User: "alice"}}}))
	hosts := CompileHosts(with)
	for _, to := range []string{"a.example", "10.0.0.1"} {
		host, err := ParseHost(to)
		if err != nil {
			t.Fatal(err)
		}
		if v := hosts.Decide(HostRequest{Host: host, Port: 443, Protocol: HTTPS, Addr: netip.MustParseAddr("10.0.0.1")}); v.Decision != NetDeny {
			t.Errorf("%s: %+v", to, v)
		}
	}
	want := DefaultApprovals()
	want.Scopes = []string{"session"}
	want.AutoReview = []string{}
	if diff := cmp.Diff(want, with.Approvals, cmpopts.IgnoreFields(Approvals{}, "RootSet")); diff != "" {
		t.Errorf("approvals (-want +got):\n%s", diff)
	}
	if b := with.Boundary; len(b.Writable)+len(b.Readable)+len(b.Reachable) > 0 {
		t.Errorf("the boundary opens %v, %v, %v", b.Writable, b.Readable, b.Reachable)
	}
	if with.Records("prompts") {
		t.Error("everybody's prompts are recorded")
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
			"[paddock", "[paddock.cohort.requirements.paddock", "[experimental_network", "[paddock.cohort.requirements.experimental_network",
			"allowed_sandbox_modes", "requirements.allowed_sandbox_modes").Replace(cohort)
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
		names, other := CompileHosts(without), CompileHosts(with)
		for _, host := range []string{"a.example", "b.example", "10.0.0.1"} {
			q := HostRequest{Host: mustHost(t, host), Port: 443, Protocol: HTTPS, Addr: netip.MustParseAddr("10.0.0.1")}
			if was, is := names.Decide(q), other.Decide(q); is.Decision > was.Decision {
				t.Fatalf("%s: %q without the cohort, %q with\n%s\n%s", host, was.Reason, is.Reason, low, text)
			}
		}
		if names.ByName() && !other.ByName() && !with.Network.None || other.Upstream() && !names.Upstream() {
			t.Fatalf("hosts are judged by name only without the cohort, or another proxy only with it\n%s\n%s", low, text)
		}
		if with.Records("prompts") && !without.Records("prompts") {
			t.Fatalf("prompts are recorded only with the cohort\n%s\n%s", low, text)
		}
		asksMore(t, without.Approvals, with.Approvals)
		opensLess(t, without.Boundary, with.Boundary)
		opensLess(t, without.Limits(), with.Limits())
		if t.Failed() {
			t.Fatalf("\n%s\n%s", low, text)
		}
	})
}

func mustHost(t *rapid.T, text string) Host {
	h, err := ParseHost(text)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// asksMore checks that people are asked as strictly with a cohort as without.
func asksMore(t *rapid.T, without, with Approvals) {
	sub := func(what string, inner, outer []string) {
		for _, s := range inner {
			if !slices.Contains(outer, s) {
				t.Errorf("%s %q is only in one list: %q and %q", what, s, inner, outer)
			}
		}
	}
	sub("scope", with.Scopes, without.Scopes)
	sub("review", with.AutoReview, without.AutoReview)
	sub("risk", without.HighRisk, with.HighRisk)
	if with.Timeout > without.Timeout || with.RootMayAnswer && !without.RootMayAnswer {
		t.Errorf("%+v without the cohort, %+v with", without, with)
	}
}

// opensLess checks that a boundary lets nobody do more with a cohort than without.
func opensLess(t *rapid.T, without, with Boundary) {
	if without.Mode == NoBoundary {
		return
	}
	if with.Mode == NoBoundary || with.Mode > without.Mode || with.Project < without.Project ||
		without.NoCaches && !with.NoCaches || without.NoTemporary && !with.NoTemporary {
		t.Errorf("%+v without the cohort, %+v with", without, with)
	}
	list := func(b Boundary, kind PathKind) []string {
		var out []string
		for _, r := range b.Rules() {
			if r.Kind == kind && r.Agent == "" {
				out = append(out, r.Text)
			}
		}
		return out
	}
	in := func(p string, list []string) bool {
		return slices.ContainsFunc(list, func(o string) bool { return within(p, o) })
	}
	for _, p := range list(with, Writable) {
		if !without.Guard && !in(p, list(without, Writable)) {
			t.Errorf("%s is writable only with the cohort", p)
		}
	}
	for _, kind := range []PathKind{Protected, Unreadable, Broker} {
		for _, p := range list(without, kind) {
			if !in(p, list(with, kind)) {
				t.Errorf("%s is %v only without the cohort", p, kind)
			}
		}
	}
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
	if rapid.Bool().Draw(t, name+" approvals") {
		b.WriteString("[paddock.approvals]\n" + maybe("timeout", "60", "600") + maybe("scopes", "['once']", "['once', 'session', 'always']") +
			maybe("root_may_answer", "true", "false") + maybe("guard", "true", "false") + maybe("high_risk", "[]", "['destroy']") + maybe("auto_review", "['project']", "['read-only', 'project']"))
	}
	if rapid.Bool().Draw(t, name+" boundary") {
		b.WriteString("[paddock.boundary]\n" + maybe("mode", "'read-only'", "'workspace-write'", "'danger-full-access'") +
			maybe("project", "'none'", "'directory'") + maybe("caches", "true", "false") + maybe("writable", "['/srv']", "['/srv/a']") +
			maybe("protected", "['/srv/a']") + maybe("readable", "['~/.aws']") + maybe("reachable", "['/run/docker.sock']"))
	}
	if rapid.Bool().Draw(t, name+" hosts") {
		b.WriteString("[experimental_network]\n" + maybe("enabled", "true", "false") + maybe("managed_allowed_domains_only", "true") +
			maybe("review_domains", "['a.example']") + maybe("allow_local_binding", "true", "false") + maybe("allow_upstream_proxy", "true", "false") +
			"[experimental_network.domains]\n" + maybe("'a.example'", "'allow'", "'deny'") + maybe("'10.0.0.1'", "'allow'"))
	}
	if rapid.Bool().Draw(t, name+" modes") {
		return "allowed_sandbox_modes = ['read-only', 'workspace-write']\n" + b.String()
	}
	return b.String()
}
