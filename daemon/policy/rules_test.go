// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func rule(d Decision, words ...string) PrefixRule {
	r := PrefixRule{Decision: d, Source: "f"}
	for _, w := range words {
		r.Pattern = append(r.Pattern, strings.Split(w, "|"))
	}
	return r
}

func cmd(words ...string) Command { return Command{Names: words[:1], Args: words[1:]} }

func TestDecide(t *testing.T) {
	human := rule(Prompt, "sudo")
	human.HumanOnly = true
	folded := rule(Forbidden, "Kill", "-9")
	folded.Canonical = true
	rules := Compile([]PrefixRule{
		rule(Forbidden, "git", "push|fetch"),
		rule(Prompt, "git"),
		rule(Prompt, "git", "push"),
		rule(Prompt, "sudo"), human,
		rule(Forbidden, "rm|unlink"),
		rule(Forbidden, "/usr/bin/curl"),
		rule(Forbidden, "./tools//x/../deploy"),
		rule(Prompt, "npm", "i|install", "-g"),
		folded,
		rule(Forbidden, "É"),
		rule(Prompt, "a b"),
	}, Allow)
	tests := []struct {
		name    string
		command Command
		want    string
		prefix  string
	}{
		{"both elements", cmd("git", "push", "origin"), "forbidden", "git push"},
		{"the alternative", cmd("git", "fetch"), "forbidden", "git fetch"},
		{"less strict alone", cmd("git", "status"), "prompt", "git"},
		{"no arguments", cmd("git"), "prompt", "git"},
		{"not a prefix of a word", cmd("git", "pushx"), "prompt", "git"},
		{"not with an option between", cmd("git", "-C", "/", "push"), "prompt", "git"},
		{"not in another case", cmd("GIT", "push"), "allow", ""},
		{"words are not split", cmd("git push"), "allow", ""},
		{"a space in a word", cmd("a b"), "prompt", "a b"},
		{"only the last words match", cmd("npm", "install", "x"), "allow", ""},
		{"all words match", cmd("npm", "i", "-g", "x"), "prompt", "npm i -g"},
		{"any name of the program", Command{Names: []string{"harmless", "busybox", "rm"}}, "forbidden", "rm"},
		{"the strictest of its names", Command{Names: []string{"git", "rm"}, Args: []string{"x"}}, "forbidden", "rm"},
		{"a path as name", cmd("/opt/x/git", "push"), "forbidden", "git push"},
		{"a relative path as name", cmd("./git", "push"), "forbidden", "git push"},
		{"an unclean path as name", cmd("/bin/../bin//rm"), "forbidden", "rm"},
		{"a rule with a path, by the path", cmd("/usr/bin/curl"), "forbidden", "/usr/bin/curl"},
		{"a rule with a path, by the file name", cmd("curl"), "forbidden", "curl"},
		{"a rule with a path, elsewhere", cmd("/tmp/curl"), "forbidden", "curl"},
		{"a rule with a relative path", cmd("deploy"), "forbidden", "deploy"},
		{"a name with the rule's in it", cmd("xgit"), "allow", ""},
		{"regardless of case", cmd("kILL", "-9"), "forbidden", "kILL -9"},
		{"the Kelvin sign is a k", cmd("\u212aill", "-9"), "forbidden", "\u212aill -9"},
		{"composed and decomposed differ", cmd("E\u0301"), "allow", ""},
		{"not UTF-8", cmd("git\xff", "\xff"), "allow", ""},
		{"not UTF-8 behind a match", cmd("git", "push", "\xff\xfe"), "forbidden", "git push"},
		{"empty arguments", cmd("git", "", "push"), "prompt", "git"},
		{"an empty name among others", Command{Names: []string{"", "rm"}}, "forbidden", "rm"},
		{"long", Command{Names: []string{"x"}, Args: slices.Repeat([]string{"y"}, 100000)}, "allow", ""},
		{"a long word", cmd("git", strings.Repeat("p", 2<<20)), "prompt", "git"},
		{"no name", Command{Args: []string{"x"}}, "forbidden", ""},
		{"only an empty name", cmd("", "x"), "forbidden", ""},
	}
	for _, tt := range tests {
		v := rules.Decide(tt.command)
		if v.Decision.String() != tt.want || strings.Join(v.Prefix, " ") != tt.prefix || v.Matched != (tt.prefix != "") {
			t.Errorf("%s: %s, matched %t by %q; want %s by %q", tt.name, v.Decision, v.Matched, v.Prefix, tt.want, tt.prefix)
		}
		if v.Matched == (v.Rule.Pattern == nil) || v.Reason == "" || len(v.Reason) > 1000 {
			t.Errorf("%s: rule %v, reason %q", tt.name, v.Rule, v.Reason)
		}
	}
	if v := rules.Decide(cmd("sudo")); !v.Rule.HumanOnly {
		t.Error("a program may approve what only a person may")
	}
}

func TestDecideUnmatched(t *testing.T) {
	for _, d := range []Decision{Allow, Prompt, Forbidden} {
		rules := Compile([]PrefixRule{rule(Allow, "ls"), rule(Prompt, "rm")}, d)
		for name, want := range map[string]Decision{"ls": Allow, "rm": Prompt, "cat": d} {
			if v := rules.Decide(cmd(name)); v.Decision != want {
				t.Errorf("unmatched %s: %s is %s, want %s", d, name, v.Decision, want)
			}
		}
	}
}

// Rules that cannot match do no harm: above all they do not match everything.
func TestCompileOdd(t *testing.T) {
	rules := Compile([]PrefixRule{
		{Decision: Forbidden},
		{Decision: Forbidden, Pattern: [][]string{{}}},
		{Decision: Forbidden, Pattern: [][]string{{"a"}, {}}},
		rule(Forbidden, "ab", "c"), rule(Prompt, "a", "bc"),
		{Decision: Forbidden, Pattern: [][]string{{"d\x00e"}}},
		{Decision: Prompt, Pattern: [][]string{{"d", "e"}}},
	}, Allow)
	for name, want := range map[string]Decision{"a": Allow, "ab": Allow, "x": Allow, "": Forbidden, "d": Prompt, "e": Prompt, "d\x00e": Forbidden} {
		if v := rules.Decide(cmd(name)); v.Decision != want {
			t.Errorf("%q: %s, want %s", name, v.Decision, want)
		}
	}
	if v := rules.Decide(cmd("a", "bc")); v.Decision != Prompt {
		t.Errorf("a bc: %s", v.Decision)
	}
	if n := rules.Len(); n != 7 {
		t.Errorf("%d rules", n)
	}
	none := Compile(nil, Allow)
	if _, v, whatever := none.Program([]string{"x"}); !whatever || v.Decision != Allow || len(none.ProgramNames()) != 0 {
		t.Errorf("without rules: %+v, %t", v, whatever)
	}
}

// What was compiled does not change with what it was compiled from, nor the
// command with the verdict.
func TestCompileCopies(t *testing.T) {
	from := []PrefixRule{rule(Forbidden, "rm")}
	rules := Compile(from, Allow)
	from[0].Decision = Allow
	args := []string{"a", "b"}
	v := rules.Decide(Command{Names: []string{"rm"}, Args: args})
	v.Prefix = append(v.Prefix, "changed")
	rules.ProgramNames()[0] = "changed"
	if v.Decision != Forbidden || args[0] != "a" || rules.ProgramNames()[0] != "rm" {
		t.Errorf("%s, %q, %q", v.Decision, args, rules.ProgramNames())
	}
}

func TestReason(t *testing.T) {
	forbidden := PrefixRule{
		Pattern: [][]string{{"git"}, {"push", "send pack"}}, Decision: Forbidden, Justification: "Pushing is for CI.",
		Source: "/etc/codex/requirements.toml", Line: 12,
	}
	person := PrefixRule{Pattern: [][]string{{"sudo"}}, Decision: Prompt, HumanOnly: true, Line: 3}
	rules := Compile([]PrefixRule{forbidden, person, rule(Prompt, "x"), rule(Allow, "y")}, Forbidden)
	for want, c := range map[string]Command{
		`git push is forbidden by rule git push|"send pack" (/etc/codex/requirements.toml:12): Pushing is for CI.`:        cmd("git", "push", "--all"),
		`git "send pack" is forbidden by rule git push|"send pack" (/etc/codex/requirements.toml:12): Pushing is for CI.`: cmd("git", "send pack"),
		"sudo needs the approval of a person by rule sudo (line 3)":                                                       cmd("sudo"),
		"x needs approval by rule x (f)":                                                             cmd("x"),
		"y is allowed by rule y (f)":                                                                 cmd("y"),
		`no rule matches "\x1b[2J\xff", and what no rule matches is forbidden`:                       cmd("\x1b[2J\xff"),
		"no rule matches " + strings.Repeat("z", 120) + "..., and what no rule matches is forbidden": cmd(strings.Repeat("z", 4096)),
		"a program without a name matches no rule and cannot be judged: forbidden":                   {},
	} {
		if got := rules.Decide(c).Reason; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	if got := Compile(nil, Allow).Decide(cmd("z")).Reason; got != "no rule matches z, and what no rule matches is allowed" {
		t.Error(got)
	}
	if got := Compile(nil, Prompt).Decide(cmd("z")).Reason; got != "no rule matches z, and what no rule matches needs approval" {
		t.Error(got)
	}
}

func TestProgram(t *testing.T) {
	human := rule(Prompt, "sudo", "-i")
	human.HumanOnly = true
	all := []PrefixRule{
		rule(Forbidden, "rm"), rule(Prompt, "rm", "-i"),
		rule(Prompt, "git"), rule(Forbidden, "git", "push"),
		rule(Prompt, "ssh"), rule(Prompt, "ssh", "x"),
		rule(Prompt, "sudo"), human,
		rule(Prompt, "npm", "i"),
		rule(Allow, "ls"),
	}
	tests := []struct {
		names    string
		d        Decision
		whatever bool
	}{
		{"rm", Forbidden, true},
		{"/bin/rm", Forbidden, true},
		{"git", Prompt, false},
		{"git rm", Forbidden, true},
		{"ssh", Prompt, true},
		{"sudo", Prompt, false},
		{"npm", Allow, false},
		{"ls", Allow, true},
		{"cat", Allow, true},
		{"cat npm", Allow, false},
		{"", Forbidden, true},
	}
	rules := Compile(all, Allow)
	for _, tt := range tests {
		d, v, whatever := rules.Program(strings.Fields(tt.names))
		if d != tt.d || whatever != tt.whatever || v.Decision != d || v.Reason == "" {
			t.Errorf("Program(%q) = %s, %+v, %t; want %s, %t", tt.names, d, v, whatever, tt.d, tt.whatever)
		}
	}
	// A rule may also be milder than what holds for everything else.
	if d, _, whatever := Compile([]PrefixRule{rule(Prompt, "npm", "i")}, Forbidden).Program([]string{"npm"}); d != Forbidden || whatever {
		t.Errorf("npm: %s, %t", d, whatever)
	}
}

func TestProgramNames(t *testing.T) {
	rules := Compile([]PrefixRule{
		rule(Prompt, "git|hg", "push"), rule(Forbidden, "git"), rule(Prompt, "/usr//bin/../bin/curl"), rule(Prompt, "./x/"), rule(Prompt, "/"),
	}, Allow)
	want := []string{"./x/", "/", "/usr//bin/../bin/curl", "/usr/bin/curl", "curl", "git", "hg", "x"}
	if diff := cmp.Diff(want, rules.ProgramNames()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFoldCase(t *testing.T) {
	words := []string{"", "a", "A", "k", "K", "\u212a", "é", "É", "ß", "ẞ", "s", "ſ", "σ", "ς", "Σ", "ǆ", "ǅ", "Ǆ", "-9", "[", "{", "日本", "i", "İ", "ı", "\xff"}
	for _, a := range words {
		for _, b := range words {
			if got, want := foldCase(a) == foldCase(b), strings.EqualFold(a, b); got != want {
				t.Errorf("%q and %q: %t, EqualFold says %t", a, b, got, want)
			}
		}
	}
	// Full folding knows what a single letter cannot say; measured with codex-cli 0.169.0.
	for _, same := range [][2]string{{"ß", "SS"}, {"ﬁnd", "FIND"}, {"İ", "i\u0307"}} {
		if foldCase(same[0]) != foldCase(same[1]) {
			t.Errorf("%q and %q differ", same[0], same[1])
		}
	}
	if foldCase("\xff") == foldCase("\xfe") || foldCase("é\xff") == foldCase("é\uFFFD") {
		t.Error("bytes that are no UTF-8 become one another")
	}
}

// A path that is allowed allows no other file of that name; one that is forbidden
// does not free the others.
func TestAllowedPathIsOnlyThatPath(t *testing.T) {
	rules := Compile([]PrefixRule{rule(Allow, "/usr//bin/git", "push"), rule(Allow, "./x"), rule(Forbidden, "/usr/bin/rm")}, Prompt)
	for _, c := range []struct {
		command Command
		want    Decision
	}{
		{cmd("/usr/bin/git", "push"), Allow},
		{cmd("/usr/bin/../bin/git", "push"), Allow},
		{cmd("/tmp/git", "push"), Prompt},
		{cmd("git", "push"), Prompt},
		{cmd("x"), Prompt},
		{cmd("./x"), Allow},
		{cmd("/tmp/rm"), Forbidden},
	} {
		if v := rules.Decide(c.command); v.Decision != c.want {
			t.Errorf("%q: %s, want %s", c.command, v.Decision, c.want)
		}
	}
}

func TestMatching(t *testing.T) {
	rules := Compile([]PrefixRule{
		rule(Allow, "git"), rule(Forbidden, "git|hg", "push"), rule(Prompt, "hg"), rule(Allow, "git"), rule(Prompt, "/bin/git", "push", "-f"),
	}, Allow)
	for _, c := range []struct {
		command Command
		want    []int32
	}{
		{cmd("git", "push", "-f"), []int32{0, 1, 3, 4}},
		{cmd("/bin/git", "push"), []int32{0, 1, 3}},
		{cmd("hg"), []int32{2}},
		{cmd("ls"), nil},
		{Command{Args: []string{"git"}}, nil},
	} {
		if diff := cmp.Diff(c.want, rules.Matching(c.command)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.command, diff)
		}
	}
}

// The answers of codex-cli 0.169.0 to prefix rules, where they do not need
// Starlark to be written.
func TestDecideLikeCodex(t *testing.T) {
	data, err := os.ReadFile("testdata/codex_prefix_rules.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name  string
		Rules []struct {
			Pattern   [][]string
			Decision  string
			Canonical bool
		}
		Argv     []string
		Decision string
	}
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	// Where Paddock is stricter on purpose: the strictest rule counts, however it
	// names the program.
	stricter := map[string]string{"abs_exact_rule_beats_basename": "forbidden"}
	decisions := map[string]Decision{"allow": Allow, "prompt": Prompt, "forbidden": Forbidden}
	for _, v := range vectors {
		var rules []PrefixRule
		for _, r := range v.Rules {
			rules = append(rules, PrefixRule{Pattern: r.Pattern, Decision: decisions[r.Decision], Canonical: r.Canonical})
		}
		got := Compile(rules, Allow).Decide(cmd(v.Argv...))
		want := v.Decision
		if s, ok := stricter[v.Name]; ok {
			want = s
		}
		if got.Matched != (want != "") || (got.Matched && got.Decision.String() != want) {
			t.Errorf("%s: matched %t, %s; want %q", v.Name, got.Matched, got.Decision, want)
		}
	}
	if len(vectors) < 40 {
		t.Errorf("%d vectors: they are not what they were", len(vectors))
	}
}
