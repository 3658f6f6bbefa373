// SPDX-License-Identifier: Apache-2.0

package rulesfile

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// examples are what a rule says of itself: commands it matches, and commands it
// does not.
type examples struct {
	rule       int // in the file
	match, not [][]string
}

// try checks the examples of one rule, against that rule only, the way Codex does
// it: with host executables, and what must not match first.
func (e *examples) try(p *Policy, rule *policy.PrefixRule) *fault {
	alone := &Policy{env: p.env, hosts: p.hosts}
	alone.add(*rule)
	matches := func(argv []string) []Match {
		return alone.check(argv, true, []int32{0})
	}
	for _, argv := range e.not {
		if found := matches(argv); len(found) > 0 {
			return faultf("correct the pattern or not_match", "expected example to not match rule `%s`: %s", debugMatch(&found[0]), shellJoin(argv))
		}
	}
	var missed []string
	for _, argv := range e.match {
		if len(matches(argv)) == 0 {
			missed = append(missed, rustString(shellJoin(argv)))
		}
	}
	if len(missed) == 0 {
		return nil
	}
	return faultf("correct the pattern or match", "expected every example to match at least one rule. rules: [%s]; unmatched examples: [%s]",
		strings.Join(debugRule(rule), ", "), strings.Join(missed, ", "))
}

// The functions below write values as Rust's {:?} does: they are part of messages
// that people look for.

func debugDecision(d policy.Decision) string {
	return map[policy.Decision]string{policy.Allow: "Allow", policy.Prompt: "Prompt", policy.Forbidden: "Forbidden"}[d]
}

func debugOption(s string) string {
	if s == "" {
		return "None"
	}
	return "Some(" + rustString(s) + ")"
}

func debugMatch(m *Match) string {
	resolved := "None"
	if m.Resolved != "" {
		resolved = "Some(AbsolutePathBuf(" + rustString(m.Resolved) + "))"
	}
	return fmt.Sprintf("PrefixRuleMatch { matched_prefix: %s, decision: %s, resolved_program: %s, justification: %s }",
		rustStrings(m.Prefix), debugDecision(m.Rule.Decision), resolved, debugOption(m.Rule.Justification))
}

// debugRule writes a rule once for each alternative of its first word, as strings
// within a list.
func debugRule(rule *policy.PrefixRule) []string {
	rest := make([]string, 0, len(rule.Pattern))
	for _, words := range rule.Pattern[1:] {
		if len(words) == 1 {
			rest = append(rest, "Single("+rustString(words[0])+")")
		} else {
			rest = append(rest, "Alts("+rustStrings(words)+")")
		}
	}
	out := make([]string, len(rule.Pattern[0]))
	for i, first := range rule.Pattern[0] {
		out[i] = rustString(fmt.Sprintf("PrefixRule { pattern: PrefixPattern { canonical_matching: %t, first: %s, rest: [%s] }, decision: %s, justification: %s }",
			rule.Canonical, rustString(first), strings.Join(rest, ", "), debugDecision(rule.Decision), debugOption(rule.Justification)))
	}
	return out
}

func rustStrings(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = rustString(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func rustString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == 0:
			b.WriteString(`\0`)
		case !unicode.IsPrint(r) || unicode.In(r, unicode.Mn, unicode.Me):
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// shellSplit splits a line into words as a POSIX shell does that expands nothing.
// It is false when a quote is not closed.
func shellSplit(line string) ([]string, bool) {
	var words []string
	var b strings.Builder
	in := false // a word has begun
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n':
			if in {
				words = append(words, b.String())
				b.Reset()
			}
			in = false
		case c == '#' && !in:
			for i < len(line) && line[i] != '\n' {
				i++
			}
		case c == '\'':
			n := strings.IndexByte(line[i+1:], '\'')
			if n < 0 {
				return nil, false
			}
			b.WriteString(line[i+1 : i+1+n])
			i += n + 1
			in = true
		case c == '"':
			n, ok := doubleQuoted(&b, line[i+1:])
			if !ok {
				return nil, false
			}
			i += n
			in = true
		case c == '\\':
			if i++; i == len(line) {
				return nil, false
			}
			if line[i] != '\n' {
				b.WriteByte(line[i])
				in = true
			}
		default:
			b.WriteByte(c)
			in = true
		}
	}
	if in {
		words = append(words, b.String())
	}
	return words, true
}

// doubleQuoted reads up to the closing quote and returns how many bytes that took.
func doubleQuoted(b *strings.Builder, s string) (int, bool) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1, true
		case c == '\\' && i+1 < len(s):
			i++
			switch s[i] {
			case '\n':
			case '$', '`', '"', '\\':
				b.WriteByte(s[i])
			default:
				b.WriteByte('\\')
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return 0, false
}

// shellJoin writes words on one line that shellSplit takes apart again, quoted as
// the library does that Codex uses: the longest piece that one kind of quotes can
// hold, then the next.
func shellJoin(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		var b strings.Builder
		if w == "" {
			b.WriteString("''")
		}
		for w != "" {
			plain, single, double := leadingBytes(w, isBare), leadingBytes(w, isSingle), leadingBytes(w, isDouble)
			switch {
			case plain >= single && plain >= double:
				b.WriteString(w[:plain])
				w = w[plain:]
			case single >= double:
				b.WriteString("'" + w[:single] + "'")
				w = w[single:]
			default:
				b.WriteString(`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w[:double]) + `"`)
				w = w[double:]
			}
		}
		quoted[i] = b.String()
	}
	return strings.Join(quoted, " ")
}

// leadingBytes returns how many bytes w begins with that are all of one kind.
func leadingBytes(w string, kind func(c byte) bool) int {
	n := 0
	for n < len(w) && kind(w[n]) {
		n++
	}
	return n
}

func isBare(c byte) bool {
	return isWord(rune(c)) || strings.IndexByte("+-./:@]", c) >= 0
}

func isSingle(c byte) bool { return c != '\'' }

func isDouble(c byte) bool { return strings.IndexByte("$`!^", c) < 0 }
