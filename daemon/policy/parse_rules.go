// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"strings"
)

// rules reads Codex's [rules]. What Codex refuses to load is refused here, in its
// words where it has any (codex-cli 0.169.0), so that an administrator who knows
// one message knows the other.
func (f *file) rules(v *value) ([]PrefixRule, error) {
	const key = "rules.prefix_rules"
	if v.kind != kindTable {
		return nil, fail(v, "rules", "expected a table, found %s", found(v))
	}
	list := v.table.get("prefix_rules")
	f.ignored("[rules]", v.table, "prefix_rules")
	if list == nil {
		for _, k := range v.table.keys {
			if _, ok := nearest(k, []string{"prefix_rules"}); ok {
				return nil, fail(v, "rules", `it has no "prefix_rules", but %s: did you mean that?`, quoted(k))
			}
		}
		return nil, fail(v, "rules", `it has no "prefix_rules"`)
	}
	items, err := arrayOf(key, list)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, fail(list, key, "prefix_rules cannot be empty; leave [rules] out to have none")
	}
	rules := make([]PrefixRule, len(items))
	for i, item := range items {
		if rules[i], err = f.rule(at(key, i), item); err != nil {
			return nil, err
		}
	}
	return rules, nil
}

// ignored warns about the keys of a table of Codex's that neither Codex nor
// Paddock knows.
func (f *file) ignored(where string, t *table, known ...string) {
	for i, k := range t.keys {
		if !slices.Contains(known, k) {
			f.warn(int(t.lines[i]), "unknown key %s in %s is ignored, by Codex too%s", quoted(k), where, among("keys", k, known))
		}
	}
}

func (f *file) rule(key string, v *value) (PrefixRule, error) {
	r := PrefixRule{Source: f.source, Line: int(v.line)}
	if v.kind != kindTable {
		return r, fail(v, key, "expected a table with pattern and decision, found %s", found(v))
	}
	t := v.table
	f.ignored("a prefix rule", t, "pattern", "decision", "justification", "canonical_matching")

	pattern, err := required(t, v, key, "pattern")
	if err != nil {
		return r, err
	}
	elements, err := arrayOf(key+".pattern", pattern)
	if err != nil {
		return r, err
	}
	if len(elements) == 0 {
		return r, fail(pattern, key, "has an empty pattern, which would match every command")
	}
	r.Pattern = make([][]string, len(elements))
	for i, e := range elements {
		if r.Pattern[i], err = f.element(at(key+".pattern", i), e); err != nil {
			return r, err
		}
	}

	if err := f.decision(&r, key, v); err != nil {
		return r, err
	}
	if v := t.get("justification"); v != nil {
		if r.Justification, err = stringOf(key+".justification", v); err != nil {
			return r, err
		}
		if strings.TrimSpace(r.Justification) == "" {
			return r, fail(v, key+".justification", "cannot be empty; leave it out or give the reason")
		}
	}
	if v := t.get("canonical_matching"); v != nil {
		if r.Canonical, err = boolOf(key+".canonical_matching", v); err != nil {
			return r, err
		}
	}
	return r, nil
}

// ruleDecision is how decisions are spelt in prefix_rules.
type ruleDecision string

const promptUser ruleDecision = "prompt-user"

func (d ruleDecision) String() string { return string(d) }

func (f *file) decision(r *PrefixRule, key string, v *value) error {
	d, err := required(v.table, v, key, "decision")
	if err != nil {
		return err
	}
	key += ".decision"
	if d.kind == kindString && d.text == Allow.String() {
		return fail(d, key, "'allow' is not permitted in requirements.toml: these rules are merged with other "+
			"configuration and the most restrictive result counts (use 'prompt', 'prompt-user' or 'forbidden')")
	}
	word, err := enum(key, d, "decision", ruleDecision(Prompt.String()), promptUser, ruleDecision(Forbidden.String()))
	if err != nil {
		return err
	}
	r.Decision, r.HumanOnly = Prompt, word == promptUser
	if word == ruleDecision(Forbidden.String()) {
		r.Decision = Forbidden
	}
	return nil
}

// element reads one element of a pattern: {token = "x"} or {any_of = ["x", "y"]}.
func (f *file) element(key string, v *value) ([]string, error) {
	if v.kind != kindTable {
		return nil, fail(v, key, `expected {token = "..."} or {any_of = ["...", "..."]}, found %s`, found(v))
	}
	f.ignored("an element of a pattern", v.table, "token", "any_of")
	token, anyOf := v.table.get("token"), v.table.get("any_of")
	switch {
	case token != nil && anyOf != nil:
		return nil, fail(v, key, "set either token or any_of, not both")
	case token != nil:
		s, err := word(key+".token", token, "token")
		return []string{s}, err
	case anyOf == nil:
		return nil, fail(v, key, "set either token or any_of")
	}
	items, err := arrayOf(key+".any_of", anyOf)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, fail(anyOf, key, "any_of cannot be empty, it would match nothing")
	}
	words := make([]string, len(items))
	for i, item := range items {
		if words[i], err = word(at(key+".any_of", i), item, "any_of"); err != nil {
			return nil, err
		}
	}
	return words, nil
}

func word(key string, v *value, what string) (string, error) {
	s, err := stringOf(key, v)
	switch {
	case err != nil:
		return "", err
	case s == "":
		return "", fail(v, key, "%s cannot be an empty string", what)
	case strings.Contains(s, "\x00"):
		return "", fail(v, key, "%s holds a NUL character, which no command line can: it would match nothing", quoted(s))
	}
	return s, nil
}
