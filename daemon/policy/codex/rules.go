// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

// Rule is one of prefix_rules.
type Rule struct {
	// Pattern has, for each word of the command, the words it may be.
	Pattern [][]string
	// Decision is "prompt", "prompt-user" or "forbidden".
	Decision string
	// Justification is the reason, for whoever meets the rule. May be empty.
	Justification string
	// Canonical says that words are compared without regard to case.
	Canonical bool
	// Source is the layer, At the place in it.
	Source string
	At     document.Position
}

var (
	patternElement = tableOf("RequirementsExecPolicyPatternTokenToml",
		field("token", text, "The word."),
		field("any_of", texts, "The words it may be.")).noList()
	ruleDecision = words("allow", "prompt", "prompt-user", "forbidden")
	ruleShape    = tableOf("RequirementsExecPolicyPrefixRuleToml",
		needed("pattern", listOf(patternElement), "One element for each word: { token = \"x\" } or { any_of = [\"x\", \"y\"] }."),
		needed("decision", ruleDecision, "\"prompt\" asks, \"prompt-user\" asks a person, \"forbidden\" refuses. \"allow\" is not possible here."),
		field("justification", text, "Why; shown to whoever meets the rule. Not blank."),
		field("canonical_matching", boolean, "Compare without regard to case.")).noList()
	rulesTable = tableOf("RequirementsExecPolicyToml",
		needed("prefix_rules", &Shape{Form: List, Item: ruleShape, MinItems: 1}, "The rules. Of all that match a command, the strictest decides. Cannot be empty."))
	rulesShape = &Shape{Form: Table, Rust: rulesTable.Rust, Fields: rulesTable.Fields, Read: readRules}
)

// readRules reads [rules]. There may be 100,000 of them, so they are not read by
// shape. What Codex refuses to load is refused here, in its words where it has any,
// so that an administrator who knows one message knows the other.
func readRules(c *Reader, at spot, v *document.Value) error {
	if v.Kind != document.KindTable {
		// Which says what is wrong, unless it is a list of the one value.
		if err := c.table(rulesTable, at, v); err != nil {
			return err
		}
	}
	list := v.Table.Get("prefix_rules")
	if list == nil {
		for _, k := range v.Table.Keys {
			if _, ok := document.Nearest(k, []string{"prefix_rules"}); ok {
				return at.fail(v, "missing field `prefix_rules`", `it has no "prefix_rules", but %s: did you mean that?`, document.Quoted(k))
			}
		}
		return at.fail(v, "missing field `prefix_rules`", `it has no "prefix_rules"`)
	}
	c.ignored("[rules]", func() spot { return at }, v.Table, rulesTable)
	at = at.down("prefix_rules")
	if list.Kind != document.KindArray {
		return at.wrongType(list, "a sequence", "an array")
	}
	if len(list.Items) == 0 {
		c.fault(list, at.key, "rules prefix_rules cannot be empty", "prefix_rules cannot be empty; leave [rules] out to have none")
	}
	c.rules = make([]Rule, len(list.Items))
	for i, item := range list.Items {
		if err := c.rule(&c.rules[i], rulePlace{at, i, -1}, item); err != nil {
			return err
		}
	}
	return nil
}

// rulePlace is a place in a rule, whose names are only made when they are needed.
type rulePlace struct {
	list    spot
	rule    int
	element int // of the pattern; -1: none
}

func (p rulePlace) at(names ...string) spot {
	out := p.list.item(p.rule)
	if p.element >= 0 {
		out = out.down("pattern").item(p.element)
	}
	for _, name := range names {
		out = out.down(name)
	}
	return out
}

// codex begins what Codex says about the place.
func (p rulePlace) codex() string {
	if p.element < 0 {
		return fmt.Sprintf("rules prefix_rule at index %d ", p.rule)
	}
	return fmt.Sprintf("rules prefix_rule at index %d has an invalid pattern token at index %d: ", p.rule, p.element)
}

// fault notes what Codex finds only after all layers are merged. codex is what it
// says; empty: it does not mind.
func (c *Reader) fault(v *document.Value, key, codex, format string, args ...any) {
	if c.late != nil {
		return
	}
	if codex != "" {
		codex = "invalid rules in requirements (set by " + c.source + "): " + codex
	}
	c.late = &document.Error{At: v.At, Key: key, Problem: fmt.Sprintf(format, args...), Codex: codex}
}

// ignored warns about keys of a table that neither Codex nor Paddock knows.
func (c *Reader) ignored(where string, key func() spot, t *document.Table, s *Shape) {
	for i, k := range t.Keys {
		if s.FieldNamed(k) == nil && len(c.warnings) < maxWarnings {
			c.warn(t.At[i], key().down(k).key, "unknown key %s in %s is ignored, by Codex too%s", document.Quoted(k), where, document.Among("keys", k, Names(s.Fields)))
		}
	}
}

func (c *Reader) rule(r *Rule, p rulePlace, v *document.Value) error {
	r.Source, r.At = c.source, v.At
	if v.Kind != document.KindTable {
		return p.at().wrongType(v, ruleShape.Rust, "a table with pattern and decision")
	}
	t := v.Table
	c.ignored("a prefix rule", func() spot { return p.at() }, t, ruleShape)
	pattern := t.Get("pattern")
	if pattern == nil {
		return p.at().fail(v, "missing field `pattern`", `"pattern" is missing`)
	}
	if pattern.Kind != document.KindArray {
		return p.at("pattern").wrongType(pattern, "a sequence", "an array")
	}
	if len(pattern.Items) == 0 {
		c.fault(pattern, p.at().key, p.codex()+"has an empty pattern", "has an empty pattern, which would match every command")
	}
	r.Pattern = make([][]string, len(pattern.Items))
	for i, e := range pattern.Items {
		var err error
		if r.Pattern[i], err = c.element(rulePlace{p.list, p.rule, i}, e); err != nil {
			return err
		}
	}
	if err := c.decision(r, p, v); err != nil {
		return err
	}
	if why := t.Get("justification"); why != nil {
		if why.Kind != document.KindString {
			return p.at("justification").wrongType(why, "a string", "a string")
		}
		if r.Justification = why.Text; strings.TrimSpace(why.Text) == "" {
			c.fault(why, p.at("justification").key, p.codex()+"has an empty justification", "cannot be empty; leave it out or give the reason")
		}
	}
	if v := t.Get("canonical_matching"); v != nil {
		if v.Kind != document.KindBool {
			return p.at("canonical_matching").wrongType(v, "a boolean", "true or false")
		}
		r.Canonical = v.Text == "true"
	}
	return nil
}

func (c *Reader) decision(r *Rule, p rulePlace, v *document.Value) error {
	d := v.Table.Get("decision")
	if d == nil {
		c.fault(v, p.at().key, p.codex()+"is missing a decision", `"decision" is missing`)
		return nil
	}
	possible := []string{"prompt", "prompt-user", "forbidden"}
	switch {
	case d.Kind != document.KindString:
		return p.at("decision").fail(d, "invalid type: unit variant, expected string only", "expected a string, found %s", document.Found(d))
	case d.Text == "allow":
		c.fault(d, p.at("decision").key, p.codex()+"has decision 'allow', which is not permitted in requirements.toml: Codex merges these rules with other config and uses the most restrictive result (use 'prompt', 'prompt-user', or 'forbidden')",
			"'allow' is not permitted in requirements.toml: these rules are merged with other "+
				"configuration and the most restrictive result counts (use 'prompt', 'prompt-user' or 'forbidden')")
	case !slices.Contains(possible, d.Text):
		return p.at("decision").fail(d, "unknown variant `"+d.Text+"`, expected "+alternatives(Names(ruleDecision.Variants)),
			"unknown decision %s%s", document.Quoted(d.Text), document.Among("one of", d.Text, possible))
	}
	r.Decision = d.Text
	return nil
}

// element reads one element of a pattern: {token = "x"} or {any_of = ["x", "y"]}.
func (c *Reader) element(p rulePlace, v *document.Value) ([]string, error) {
	if v.Kind != document.KindTable {
		return nil, p.at().wrongType(v, patternElement.Rust, `{token = "..."} or {any_of = ["...", "..."]}`)
	}
	c.ignored("an element of a pattern", func() spot { return p.at() }, v.Table, patternElement)
	token, anyOf := v.Table.Get("token"), v.Table.Get("any_of")
	if token != nil && token.Kind != document.KindString {
		return nil, p.at("token").wrongType(token, "a string", "a string")
	}
	if anyOf != nil && anyOf.Kind != document.KindArray {
		return nil, p.at("any_of").wrongType(anyOf, "a sequence", "an array")
	}
	switch {
	case token != nil && anyOf != nil:
		c.fault(v, p.at().key, p.codex()+"set either token or any_of, not both", "set either token or any_of, not both")
		return nil, nil
	case token != nil:
		c.word(p, func() spot { return p.at("token") }, token, "token cannot be empty", "token")
		return []string{token.Text}, nil
	case anyOf == nil:
		c.fault(v, p.at().key, p.codex()+"set either token or any_of", "set either token or any_of")
		return nil, nil
	case len(anyOf.Items) == 0:
		c.fault(anyOf, p.at().key, p.codex()+"any_of cannot be empty", "any_of cannot be empty, it would match nothing")
	}
	words := make([]string, len(anyOf.Items))
	for i, item := range anyOf.Items {
		at := func() spot { return p.at("any_of").item(i) }
		if item.Kind != document.KindString {
			return nil, at().wrongType(item, "a string", "a string")
		}
		c.word(p, at, item, "any_of cannot include empty tokens", "any_of")
		words[i] = item.Text
	}
	return words, nil
}

func (c *Reader) word(p rulePlace, at func() spot, v *document.Value, codex, what string) {
	switch {
	case strings.TrimSpace(v.Text) == "":
		c.fault(v, at().key, p.codex()+codex, "%s cannot be an empty string", what)
	case strings.Contains(v.Text, "\x00"):
		c.fault(v, at().key, "", "%s holds a NUL character, which no command line can: it would match nothing", document.Quoted(v.Text))
	}
}
