// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// PrefixRule decides about every command whose first words match its pattern.
// The format is that of Codex's requirements.toml, [rules] prefix_rules.
type PrefixRule struct {
	// Pattern holds one element per word of the command; each element lists the
	// alternatives for that word.
	Pattern [][]string
	// Decision is Prompt or Forbidden when the rule comes from requirements.
	Decision Decision
	// HumanOnly demands, for Prompt, that a person answers and not a reviewer
	// program (Codex's decision "prompt-user").
	HumanOnly bool
	// Canonical compares words without regard to case (Codex's
	// canonical_matching).
	Canonical bool
	// Justification is the administrator's reason, for people. May be empty.
	Justification string
	// Source and Line (from 1) say where the rule is written.
	Source string
	Line   int
}

// String returns the pattern on one line, alternatives separated by a bar:
// "git push|fetch".
func (r PrefixRule) String() string {
	words := make([]string, len(r.Pattern))
	for i, alternatives := range r.Pattern {
		quoted := make([]string, len(alternatives))
		for j, a := range alternatives {
			quoted[j] = quoteWord(a)
		}
		words[i] = strings.Join(quoted, "|")
	}
	return strings.Join(words, " ")
}

// Origin returns "source:line", or only the part that is known.
func (r PrefixRule) Origin() string { return origin(r.Source, r.Line) }

func origin(source string, line int) string {
	switch {
	case line == 0:
		return source
	case source == "":
		return "line " + strconv.Itoa(line)
	}
	return source + ":" + strconv.Itoa(line)
}

// rank orders decisions by strictness, with a person's answer above a program's.
func (r *PrefixRule) rank() int {
	rank := int(r.Decision) * 2
	if r.Decision == Prompt && r.HumanOnly {
		rank++
	}
	return rank
}

// firstWords returns the keys under which a rule is found whose first word is
// token. A path also stands for its file name: an exec is known by names, and a
// rule that only ever matched one spelling of a path would be walked around by
// a copy. Of what is allowed the opposite holds: a path that is trusted says
// nothing about a file of the same name elsewhere.
func firstWords(token string, d Decision) []string {
	if !strings.Contains(token, "/") {
		return []string{token}
	}
	words := []string{token}
	clean := path.Clean(token)
	if clean != token && (d != Allow || strings.Contains(clean, "/")) {
		words = append(words, clean)
	}
	if base := path.Base(clean); d != Allow && base != clean && base != ".." {
		words = append(words, base)
	}
	return words
}

// quoteWord makes a word safe and unambiguous to print: what an agent's process
// put in its arguments must not reach a terminal as it is.
func quoteWord(s string) string {
	const longest = 120
	cut := ""
	if len(s) > longest {
		s, cut = s[:longest], "..."
	}
	if s == "" || strings.ContainsAny(s, " |\"'\\") || slices.ContainsFunc([]rune(s), func(r rune) bool {
		return !strconv.IsPrint(r) || r == '\uFFFD'
	}) {
		s = strconv.Quote(s)
	}
	return s + cut
}

// Command is one exec, as the rules see it.
type Command struct {
	// Names are all the names the program is known by: the file name it was
	// called by, that of the file it resolved to, its canonical name by content,
	// its applet. A path may be among them; it stands for its file name too.
	Names []string
	// Args are the arguments after argv[0]. They need not be UTF-8.
	Args []string
}

// Verdict is what the rules say about a command.
type Verdict struct {
	Decision Decision
	// Matched is false when no rule matched and Decision is the one for that case.
	Matched bool
	// Rule is the rule that decided: of those that match, the strictest, then the
	// one with the longest pattern, then the first.
	Rule PrefixRule
	// Prefix holds the words of the command that the rule matched, the first one
	// being the name it matched by.
	Prefix []string
	// Reason is one sentence for people: the rule, where it is written, and why.
	Reason string
}

func (r *Rules) matched(rule int32, prefix []string) Verdict {
	v := Verdict{Decision: r.rules[rule].Decision, Matched: true, Rule: r.rules[rule], Prefix: prefix}
	words := make([]string, len(prefix))
	for i, w := range prefix {
		words[i] = quoteWord(w)
	}
	var what string
	switch {
	case v.Decision == Forbidden:
		what = "is forbidden"
	case v.Decision == Prompt && v.Rule.HumanOnly:
		what = "needs the approval of a person"
	case v.Decision == Prompt:
		what = "needs approval"
	default:
		what = "is allowed"
	}
	v.Reason = fmt.Sprintf("%s %s by rule %s", strings.Join(words, " "), what, v.Rule)
	if where := v.Rule.Origin(); where != "" {
		v.Reason += " (" + where + ")"
	}
	if v.Rule.Justification != "" {
		v.Reason += ": " + v.Rule.Justification
	}
	return v
}

func (r *Rules) noMatch(names []string) Verdict {
	if len(names) == 0 {
		return Verdict{Decision: Forbidden, Reason: "a program without a name matches no rule and cannot be judged: forbidden"}
	}
	v := Verdict{Decision: r.unmatched, Reason: r.why}
	name := quoteWord(names[0])
	switch {
	case v.Reason != "":
	case v.Decision == Allow:
		v.Reason = "no rule matches " + name + ", and what no rule matches is allowed"
	case v.Decision == Prompt:
		v.Reason = "no rule matches " + name + ", and what no rule matches needs approval"
	default:
		v.Reason = "no rule matches " + name + ", and what no rule matches is forbidden"
	}
	return v
}
