// SPDX-License-Identifier: Apache-2.0

package rulesfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

func mustLoad(t *testing.T, texts ...string) *Policy {
	t.Helper()
	var sources []Source
	for i, text := range texts {
		sources = append(sources, Source{string(rune('a'+i)) + ".rules", []byte(text)})
	}
	p, err := Load(Env{Dir: "/work", Home: "/home/dev"}, sources...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// An error names file, line, what is wrong and what to do about it.
func TestErrorsNameTheirPlace(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"\n\nprefix_rule(pattern = [])", `f:3: invalid pattern element: pattern cannot be empty (fix: name at least the program: ["git"])`},
		{"prefix_rule(\n  pattern = ['a'],\n  decision = 'deny',\n)", "f:1: invalid decision: deny (fix: write \"allow\", \"prompt\" or \"forbidden\")"},
		{"def f():\n  prefix_rule(pattern = 'a')\nf()", "f:2: Type of parameter `pattern` doesn't match, expected `list`, actual `string (repr: \"a\")` (fix: write a list: [...])"},
		{"x = '''\n\n'''\nprefx_rule(['a'])", "f:4: Variable `prefx_rule` not found, did you mean `prefix_rule`? (fix: write prefix_rule if you mean that, or define it before)"},
		{"x = f'''\n{1}\n'''\nfail('x')", "f:4: fail: x"},
		{"x = 1 \\\n + 1\n\n  y = 2", "f:4: Parse error: unexpected new indentation block, expected expression (fix: check the line and the brackets and quotes before it)"},
		{"prefix_rule(['a'])\nprefix_rule(\n  ['b'], match = ['c'])", `f:2: expected every example to match at least one rule. rules: ["PrefixRule { pattern: PrefixPattern { canonical_matching: false, first: \"b\", rest: [] }, decision: Allow, justification: None }"]; unmatched examples: ["c"] (fix: correct the pattern or match)`},
		{"x = 'a\n", "f:1: Parse error: unfinished string literal (fix: close the quotes)"},
		{"ok = 1\n\x80", "f:2: stream did not contain valid UTF-8 (fix: save it as UTF-8)"},
		{"load('//x', 'y')", "f:1: No imports are available, you tried `//x` (no call to `Evaluator.set_loader`) (fix: write the rules into this file)"},
	} {
		_, err := load(c.text)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", c.text, err)
		} else if diff := cmp.Diff(c.want, e.Error()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.text, diff)
		}
	}
}

// Where Codex and go.starlark.net make different words of the same program, a file
// is refused: a rule about another word than the one that was meant is no rule.
func TestNoSilentDifference(t *testing.T) {
	for _, text := range []string{
		"x = 'é'[0]", "x = 'aé'[1:]", "x = 'aé'.find('é')", "x = repr('é')", "x = str(['é'])", "x = f'{[\"é\"]}'", "x = f'{\"é\"!r}'", "x = '%r' % 'é'",
		"x = '%s' % [('é',)]", "x = '{a}'.format(a = {'é': 1})", "x = 'straße'.upper()", "x = 'ΑΣ'.lower()", "x = 'é'.title()", "x = '²'.isdigit()",
		"x = 'a\\rb'.splitlines()", "x = '%c' % 65", "x = '%(a)s' % {'a': 1}", "x = '%i' % 1", "x = 00",
	} {
		if _, err := load(text); err == nil {
			t.Errorf("%s: it is accepted", text)
		}
	}
	for _, text := range []string{"x = 'é' + str('é') + f'{\"é\"}' + '%s' % 'é' + '{}'.format('é')", "x = 'a'.upper() + str(['a'])", "x = '%d%%' % 1"} {
		if _, err := load(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A rule remembers where it is written: the call, also within a function.
func TestRulesRememberTheirPlace(t *testing.T) {
	p := mustLoad(t, "def f(w):\n  prefix_rule(pattern = [w])\n\nf('x')\nprefix_rule(\n  pattern = ['y'])\n", "prefix_rule(['z'])")
	var at []string
	for _, r := range p.Rules() {
		at = append(at, r.String()+" "+r.Origin())
	}
	if diff := cmp.Diff([]string{"x a.rules:2", "y a.rules:5", "z b.rules:1"}, at); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOneBrokenFileBreaksAll(t *testing.T) {
	p, err := Load(Env{}, Source{"good", []byte("prefix_rule(['a'], 'forbidden')")}, Source{"bad", []byte("prefix_rule()")})
	if p != nil || err == nil || !strings.HasPrefix(err.Error(), "bad:1: ") {
		t.Errorf("%v, %v", p, err)
	}
}

func TestNetworkRules(t *testing.T) {
	p := mustLoad(t, `network_rule(host = "A.Example.:443", protocol = "https_connect", decision = "deny", justification = "no")
network_rule("[2001:DB8::1]:80", "http", "allow")
network_rule("::1", "socks5_tcp", "prompt")
network_rule("1.2.3.4", "socks5_udp", "forbidden")
`)
	want := []NetworkRule{
		{"a.example", "https", policy.Forbidden, "no", "a.rules", 1},
		{"2001:db8::1", "http", policy.Allow, "", "a.rules", 2},
		{"::1", "socks5_tcp", policy.Prompt, "", "a.rules", 3},
		{"1.2.3.4", "socks5_udp", policy.Forbidden, "", "a.rules", 4},
	}
	if diff := cmp.Diff(want, p.Network()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var hosts []string
	for _, r := range p.HostRules() {
		hosts = append(hosts, fmt.Sprint(r.Decision, " ", r.Host, " ", r.Protocols, " ", r.Justification, " ", r.Source, ":", r.Line))
	}
	if diff := cmp.Diff([]string{"deny a.example [https] no a.rules:1", "allow 2001:db8::1 [http]  a.rules:2", "ask ::1 [socks5_tcp]  a.rules:3"}, hosts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Nobody is left to believe that the last one holds.
	if w := p.Warnings(); len(w) != 1 || !strings.HasPrefix(w[0], "a.rules:4: network_rule for 1.2.3.4 and socks5_udp has no effect") {
		t.Errorf("warnings: %q", w)
	}
}

// Requirements come before files, and no file makes milder what they say.
func TestCombine(t *testing.T) {
	req := &policy.Requirements{Unmatched: policy.Prompt, Rules: []policy.PrefixRule{
		{Pattern: [][]string{{"git"}, {"push"}}, Decision: policy.Forbidden, Source: "requirements"},
	}}
	files := mustLoad(t, `prefix_rule(["git"], "allow")
prefix_rule(["git", "push"], "forbidden")
prefix_rule(["rm"], "forbidden")
prefix_rule([["make", "/opt/x/ninja"]], "allow")
prefix_rule(["Cargo"], "allow", canonical_matching = True)
host_executable("git", ["/usr/bin/git", "/opt//git"])
host_executable("rm", ["/bin/rm"])
host_executable("make", [])
host_executable("cargo", ["/usr/bin/cargo"])
`)
	rules := policy.Compile(Combine(req, files), req.Unmatched)
	for _, c := range []struct {
		argv   string
		want   policy.Decision
		origin string
	}{
		{"/usr/bin/git log", policy.Allow, "a.rules:1"},
		{"/opt/git log", policy.Allow, "a.rules:1"},
		{"/usr/bin/git push", policy.Forbidden, "requirements"},
		// What is allowed at its places is not allowed elsewhere, nor by its bare name.
		{"/tmp/git log", policy.Prompt, ""},
		{"git log", policy.Prompt, ""},
		// What is forbidden is forbidden everywhere: Codex lets /tmp/rm through here.
		{"/bin/rm x", policy.Forbidden, "a.rules:3"},
		{"/tmp/rm x", policy.Forbidden, "a.rules:3"},
		{"rm x", policy.Forbidden, "a.rules:3"},
		{"make all", policy.Prompt, ""},
		{"/opt/x/ninja", policy.Allow, "a.rules:4"},
		{"/tmp/ninja", policy.Prompt, ""},
		{"/usr/bin/cargo b", policy.Allow, "a.rules:5"},
		{"/tmp/cargo b", policy.Prompt, ""},
	} {
		words := strings.Fields(c.argv)
		v := rules.Decide(policy.Command{Names: words[:1], Args: words[1:]})
		if v.Decision != c.want || v.Rule.Origin() != c.origin {
			t.Errorf("%s: %s by %q, want %s by %q", c.argv, v.Decision, v.Rule.Origin(), c.want, c.origin)
		}
	}
	if n := len(Combine(req, nil)); n != 1 {
		t.Errorf("without files: %d rules", n)
	}
}

// What Load is given can be used again: nothing of a policy is the caller's.
func TestCombineLeavesThePolicyAlone(t *testing.T) {
	files := mustLoad(t, "prefix_rule(['git'], 'allow')\nhost_executable('git', ['/usr/bin/git'])")
	rules := Combine(&policy.Requirements{}, files)
	rules[0].Pattern[0] = []string{"changed"}
	if got := files.Rules()[0].Pattern[0][0]; got != "git" {
		t.Errorf("the policy now says %q", got)
	}
}

// Without a directory a relative program is only its own name.
func TestNoDirectory(t *testing.T) {
	p, err := Load(Env{}, Source{"f", []byte("prefix_rule(['git'])")})
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"./git", "~/git", ".", "~", ""} {
		if m := p.Check([]string{program}, true); len(m) > 0 {
			t.Errorf("%q matches: %v", program, m)
		}
	}
	if p.Check(nil, true) != nil {
		t.Error("no command, and it matches")
	}
}

func TestShellSplit(t *testing.T) {
	for _, c := range []struct {
		line string
		want []string
		bad  bool
	}{
		{"a  b\tc\nd", []string{"a", "b", "c", "d"}, false},
		{`'a b' "c d" e\ f`, []string{"a b", "c d", "e f"}, false},
		{`"a\"b\$\x" ''`, []string{`a"b$\x`, ""}, false},
		{"a # b\nc d#e", []string{"a", "c", "d#e"}, false},
		{"a\\\nb \"c\\\nd\"", []string{"ab", "cd"}, false},
		{"FOO=1 a;b|c", []string{"FOO=1", "a;b|c"}, false},
		{"'a", nil, true},
		{`"a`, nil, true},
		{`a\`, nil, true},
		{"", nil, false},
	} {
		got, ok := shellSplit(c.line)
		if ok == c.bad || !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, %t; want %q", c.line, got, ok, c.want)
		}
	}
}
