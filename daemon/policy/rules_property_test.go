// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"path"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Few words, so that rules meet commands and each other.
func drawWord() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"a", "b", "A", "ab", "-x", "/bin/a", "./b", "/c/../bin//a", "é", "É"})
}

func drawRule() *rapid.Generator[PrefixRule] {
	return rapid.Custom(func(t *rapid.T) PrefixRule {
		r := PrefixRule{
			Pattern:   rapid.SliceOfN(rapid.SliceOfN(drawWord(), 1, 3), 1, 4).Draw(t, "pattern"),
			Decision:  rapid.SampledFrom([]Decision{Allow, Prompt, Forbidden}).Draw(t, "decision"),
			Canonical: rapid.Bool().Draw(t, "canonical"),
			Line:      rapid.IntRange(1, 1000).Draw(t, "line"),
		}
		r.HumanOnly = r.Decision == Prompt && rapid.Bool().Draw(t, "human only")
		return r
	})
}

func drawCommand() *rapid.Generator[Command] {
	return rapid.Custom(func(t *rapid.T) Command {
		return Command{
			Names: rapid.SliceOfN(drawWord(), 1, 3).Draw(t, "names"),
			Args:  rapid.SliceOfN(drawWord(), 0, 5).Draw(t, "args"),
		}
	})
}

// slowly is Decide as one would explain it: look at every rule.
func slowly(rules []PrefixRule, unmatched Decision, c Command) (d Decision, human bool, words int) {
	equal := func(r *PrefixRule, token, word string) bool {
		return token == word || (r.Canonical && strings.EqualFold(token, word))
	}
	spellings := func(name string) []string {
		if strings.Contains(name, "/") {
			return []string{name, path.Clean(name), path.Base(path.Clean(name))}
		}
		return []string{name}
	}
	matches := func(r *PrefixRule) bool {
		first := false
		for _, token := range r.Pattern[0] {
			tokens := spellings(token)
			if r.Decision == Allow && strings.Contains(token, "/") {
				tokens = slices.DeleteFunc(tokens, func(t string) bool { return !strings.Contains(t, "/") })
			}
			for _, name := range c.Names {
				for _, t := range tokens {
					for _, n := range spellings(name) {
						first = first || equal(r, t, n)
					}
				}
			}
		}
		if !first || len(r.Pattern)-1 > len(c.Args) {
			return false
		}
		for i, element := range r.Pattern[1:] {
			if !slices.ContainsFunc(element, func(token string) bool { return equal(r, token, c.Args[i]) }) {
				return false
			}
		}
		return true
	}
	best := -1
	d = unmatched
	for i := range rules {
		if r := &rules[i]; matches(r) && (r.rank() > best || (r.rank() == best && len(r.Pattern) > words)) {
			best, d, human, words = r.rank(), r.Decision, r.HumanOnly, len(r.Pattern)
		}
	}
	return d, human, words
}

func TestDecideProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := rapid.SliceOfN(drawRule(), 0, 12).Draw(t, "rules")
		unmatched := rapid.SampledFrom([]Decision{Allow, Prompt, Forbidden}).Draw(t, "unmatched")
		c := drawCommand().Draw(t, "command")
		compiled := Compile(rules, unmatched)
		v := compiled.Decide(c)

		// The index finds what looking at every rule finds.
		d, human, words := slowly(rules, unmatched, c)
		if v.Decision != d || v.Rule.HumanOnly != human || len(v.Prefix) != words || v.Matched != (words > 0) {
			t.Fatalf("%s, human %t, by %q; want %s, %t, %d words", v.Decision, v.Rule.HumanOnly, v.Prefix, d, human, words)
		}
		if v.Matched && (len(v.Rule.Pattern) != words || !slices.Equal(v.Prefix[1:], c.Args[:words-1])) {
			t.Fatalf("rule %s by %q", v.Rule, v.Prefix)
		}

		// The order of rules and names does not matter, nor do repetitions.
		shuffled := rapid.Permutation(append(slices.Clone(rules), rules...)).Draw(t, "shuffled")
		other := Command{Names: rapid.Permutation(append(c.Names, c.Names...)).Draw(t, "names"), Args: c.Args}
		if w := Compile(shuffled, unmatched).Decide(other); w.Decision != v.Decision || w.Rule.HumanOnly != v.Rule.HumanOnly || len(w.Prefix) != len(v.Prefix) {
			t.Fatalf("in another order: %s by %q, before %s by %q", w.Decision, w.Prefix, v.Decision, v.Prefix)
		}

		// One more rule that is no "allow" never makes anything milder.
		more := drawRule().Filter(func(r PrefixRule) bool { return r.Decision != Allow }).Draw(t, "more")
		if w := Compile(append(slices.Clone(rules), more), Allow).Decide(c); w.Decision < Compile(rules, Allow).Decide(c).Decision {
			t.Fatalf("with rule %s it is only %s", more, w.Decision)
		}
	})
}

func TestProgramProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := rapid.SliceOfN(drawRule(), 0, 8).Draw(t, "rules")
		unmatched := rapid.SampledFrom([]Decision{Allow, Prompt, Forbidden}).Draw(t, "unmatched")
		names := rapid.SliceOfN(drawWord(), 1, 3).Draw(t, "names")
		compiled := Compile(rules, unmatched)
		d, v, whatever := compiled.Program(names)

		if w := compiled.Decide(Command{Names: names}); w.Decision != d || w.Reason != v.Reason {
			t.Fatalf("Program says %s (%s), Decide %s (%s)", d, v.Reason, w.Decision, w.Reason)
		}
		if whatever {
			c := Command{Names: names, Args: rapid.SliceOfN(drawWord(), 0, 5).Draw(t, "args")}
			if w := compiled.Decide(c); w.Decision != d || w.Rule.HumanOnly != v.Rule.HumanOnly {
				t.Fatalf("%s whatever the arguments, but with %q %s", d, c.Args, w.Decision)
			}
			return
		}
		// Some arguments do make a difference: those of one of the rules.
		for _, r := range rules {
			c := Command{Names: names}
			for _, element := range r.Pattern[1:] {
				c.Args = append(c.Args, element[0])
			}
			if w := compiled.Decide(c); w.Decision != d || w.Rule.HumanOnly != v.Rule.HumanOnly || w.Matched != v.Matched {
				return
			}
		}
		t.Fatalf("%s, but not whatever the arguments: none makes a difference", d)
	})
}

// A program that is under no name of ProgramNames needs no look at its arguments.
func TestProgramNamesProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := rapid.SliceOfN(drawRule(), 0, 8).Draw(t, "rules")
		c := drawCommand().Draw(t, "command")
		compiled := Compile(rules, Allow)
		if !compiled.Decide(c).Matched {
			return
		}
		for _, name := range known(c.Names) {
			for _, n := range compiled.ProgramNames() {
				if strings.EqualFold(name, n) {
					return
				}
			}
		}
		t.Fatalf("a rule matches, but %q is not among %q", c.Names, compiled.ProgramNames())
	})
}
