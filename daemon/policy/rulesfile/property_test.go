// SPDX-License-Identifier: Apache-2.0

package rulesfile

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// Few words, so that rules meet commands and each other.
var drawn = []string{"a", "A", "b", "/x/a", "/x/../x/a", "./b", "", "ß", "SS", "-f"}

func drawDecision() *rapid.Generator[policy.Decision] {
	return rapid.SampledFrom([]policy.Decision{policy.Allow, policy.Prompt, policy.Forbidden})
}

// drawFile writes a file of a few rules.
func drawFile() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		var b strings.Builder
		for range rapid.IntRange(0, 5).Draw(t, "rules") {
			b.WriteString(drawRule(drawDecision()).Draw(t, "rule"))
		}
		return b.String()
	})
}

func drawRule(decision *rapid.Generator[policy.Decision]) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		words := rapid.SliceOfN(rapid.SampledFrom(drawn), 1, 3)
		var pattern []string
		for _, element := range rapid.SliceOfN(words, 1, 3).Draw(t, "pattern") {
			pattern = append(pattern, list(element))
		}
		canonical := map[bool]string{true: "True", false: "False"}[rapid.Bool().Draw(t, "canonical")]
		return fmt.Sprintf("prefix_rule([%s], %q, canonical_matching = %s)\n", strings.Join(pattern, ", "), decision.Draw(t, "decision"), canonical)
	})
}

func list(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = `"` + w + `"`
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func rapidLoad(t *rapid.T, texts ...string) *Policy {
	var sources []Source
	for i, text := range texts {
		sources = append(sources, Source{fmt.Sprint(i), []byte(text)})
	}
	p, err := Load(Env{Dir: "/x", Home: "/home"}, sources...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func drawArgv(t *rapid.T) []string {
	return rapid.SliceOfN(rapid.SampledFrom(drawn), 1, 4).Draw(t, "argv")
}

// Adding a rule that forbids never makes any answer milder, whatever else there is:
// neither that of the check nor that of the enforcer.
func TestOneMoreForbiddenRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		file, more, argv := drawFile().Draw(t, "file"), drawRule(rapid.Just(policy.Forbidden)).Draw(t, "more"), drawArgv(t)
		hosts := ""
		if rapid.Bool().Draw(t, "hosts") {
			hosts = "host_executable(\"a\", [\"/x/a\"])\n"
		}
		before, after := rapidLoad(t, hosts+file), rapidLoad(t, hosts+file, more)
		unmatched := drawDecision().Draw(t, "unmatched")
		enforced := func(p *Policy) policy.Decision {
			req := &policy.Requirements{Unmatched: policy.Allow}
			// What no rule matches may be stricter than a rule that allows; one that
			// forbids is never milder than that.
			return max(unmatched, policy.Compile(Combine(req, p), policy.Allow).Decide(policy.Command{Names: argv[:1], Args: argv[1:]}).Decision)
		}
		if a, b := enforced(before), enforced(after); b < a {
			t.Fatalf("enforced: %s, with\n%sonly %s", a, more, b)
		}
		a, any := Strictest(before.Check(argv, false))
		if b, _ := Strictest(after.Check(argv, false)); any && b < a {
			t.Fatalf("check: %s, with\n%sonly %s", a, more, b)
		}
	})
}

// The order of files changes no decision, nor does the order of rules in them.
func TestOrderOfFiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		files := rapid.SliceOfN(drawFile(), 1, 4).Draw(t, "files")
		other := rapid.Permutation(files).Draw(t, "other")
		argv, resolve := drawArgv(t), rapid.Bool().Draw(t, "resolve")
		a, b := rapidLoad(t, files...), rapidLoad(t, other...)
		da, anyA := Strictest(a.Check(argv, resolve))
		db, anyB := Strictest(b.Check(argv, resolve))
		if da != db || anyA != anyB || len(a.Check(argv, resolve)) != len(b.Check(argv, resolve)) {
			t.Fatalf("%q: %s %t; in another order %s %t", argv, da, anyA, db, anyB)
		}
		req := &policy.Requirements{}
		c := policy.Command{Names: argv[:1], Args: argv[1:]}
		va, vb := policy.Compile(Combine(req, a), policy.Prompt).Decide(c), policy.Compile(Combine(req, b), policy.Prompt).Decide(c)
		if va.Decision != vb.Decision {
			t.Fatalf("%q: enforced %s; in another order %s", argv, va.Decision, vb.Decision)
		}
	})
}

// The enforcer is never milder than Codex about what a rule asks for or forbids.
func TestEnforcedAtLeastAsStrictAsCodex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		file, argv := drawFile().Draw(t, "file"), drawArgv(t)
		if argv[0] == "" {
			return // no file can be called so
		}
		p := rapidLoad(t, file+"host_executable(\"a\", [\"/x/a\"])\n")
		codex, _ := Strictest(p.Check(argv, true))
		v := policy.Compile(Combine(&policy.Requirements{}, p), policy.Allow).Decide(policy.Command{Names: argv[:1], Args: argv[1:]})
		if v.Decision < codex {
			t.Fatalf("%q: Codex says %s, Paddock %s", argv, codex, v.Decision)
		}
	})
}

// The index finds what looking at every rule finds.
func TestCheckFindsEveryRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapidLoad(t, drawFile().Draw(t, "file"))
		argv, resolve := drawArgv(t), rapid.Bool().Draw(t, "resolve")
		all := make([]int32, len(p.rules))
		for i := range all {
			all[i] = int32(i)
		}
		if got, want := string(JSON(p.Check(argv, resolve), false)), string(JSON(p.check(argv, resolve, all), false)); got != want {
			t.Fatalf("%q: %s, looking at every rule: %s", argv, got, want)
		}
	})
}

func FuzzRulesFile(f *testing.F) {
	for _, h := range hostile {
		if len(h.text) < 1000 {
			f.Add(h.text)
		}
	}
	for _, text := range []string{
		"prefix_rule(pattern=['git',['a','b']],decision='prompt',match=['git a'],not_match=[['x']],justification='j',canonical_matching=True)\n",
		"host_executable(name='git',paths=['/usr/bin/git'])\nnetwork_rule(host='a.com',protocol='https',decision='deny')\n",
		"def f(a: int = 1, *b: str, **c) -> list[str] | None:\n    x: (int, str) = (a, 'b')\n    return [f'{a!r}{{}}' for i in b if i]\nf()\n",
		"x = {'a': lambda y: y}\nx['a'] |= 1\nfor i, (j, k) in []: pass\n", "x = r'\\' + b'a' + '\\x41\\u00e9\\101\\\n'", "x = '%s %(a)d' % 1\ny = x[::2][-1]\n",
		"getattr('', 'join')(['a'])\nsorted([3, 1], key = lambda x: -x)\n", "(x) = [y] = 1, ...\n", "x: int | list[tuple[str, ...]] = 1 if 2 else 3\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := load(text)
		if err != nil {
			if e, ok := err.(*Error); !ok || e.Cause == "" || e.Line < 0 { //nolint:errorlint // it is what Load documents, not wrapped
				t.Fatalf("%q: %#v", text, err)
			}
			if !utf8.ValidString(err.Error()) && utf8.ValidString(text) {
				t.Fatalf("%q: %q", text, err)
			}
			return
		}
		policy.Compile(Combine(&policy.Requirements{}, p), policy.Allow)
		JSON(p.Check([]string{"git", "a"}, true), true)
	})
}

func FuzzArgv(f *testing.F) {
	f.Add("git\x00status")
	f.Add("/usr/bin/../bin/git\x00push\x00\xff")
	f.Add("")
	f.Add("~/git\x00É")
	p, err := load("prefix_rule(['git', ['push', 'É']], 'prompt', canonical_matching = True)\nprefix_rule(['/usr/bin/git'])\nhost_executable('git', ['/usr/bin/git'])\nprefix_rule([''], 'forbidden')\n")
	if err != nil {
		f.Fatal(err)
	}
	rules := policy.Compile(Combine(&policy.Requirements{}, p), policy.Prompt)
	f.Fuzz(func(t *testing.T, text string) {
		argv := strings.Split(text, "\x00")
		for _, m := range p.Check(argv, true) {
			if len(m.Prefix) != len(m.Rule.Pattern) || len(m.Prefix) > len(argv) {
				t.Fatalf("%q: %+v", argv, m)
			}
		}
		rules.Decide(policy.Command{Names: argv[:1], Args: argv[1:]})
	})
}
