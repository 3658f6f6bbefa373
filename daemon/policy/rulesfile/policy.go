// SPDX-License-Identifier: Apache-2.0

package rulesfile

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/text/cases"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// Source is one file: its name, for messages, and what is in it.
type Source struct {
	Name string
	Data []byte
}

// Env is what names of programs are relative to: no part of this package asks
// the machine. Both are absolute paths, or "" when a relative name is no program.
type Env struct{ Dir, Home string }

// Policy is what several files say together. It does not change.
type Policy struct {
	rules   []policy.PrefixRule
	hosts   map[string]Host
	network []NetworkRule
	env     Env
	index   *policy.Rules
}

// Load reads files in their order. Every file is a program of its own; programs
// declared by host_executable count for all of them, but a rule's examples are
// tried with those declared up to the end of its own file. The first error ends
// it: a policy is whole or there is none.
func Load(env Env, sources ...Source) (*Policy, error) {
	p := &Policy{hosts: map[string]Host{}, env: env}
	for _, s := range sources {
		r, err := read(s.Name, s.Data)
		if err != nil {
			return nil, err
		}
		for _, h := range r.out.Hosts {
			p.hosts[h.Name] = h // the last one counts
		}
		for _, e := range r.examples {
			rule := &r.out.Rules[e.rule]
			if f := e.try(p, rule); f != nil {
				return nil, &Error{File: s.Name, Line: rule.Line, Cause: f.cause, Fix: f.fix}
			}
		}
		p.rules = append(p.rules, r.out.Rules...)
		p.network = append(p.network, r.out.Network...)
	}
	p.index = policy.Compile(p.rules, policy.Allow)
	return p, nil
}

func (p *Policy) add(rule policy.PrefixRule) { p.rules = append(p.rules, rule) }

// Rules returns the prefix rules in the order of the files.
func (p *Policy) Rules() []policy.PrefixRule { return slices.Clone(p.rules) }

// Network returns the network rules in the order of the files.
func (p *Policy) Network() []NetworkRule { return slices.Clone(p.network) }

// Warnings returns a sentence about everything that was read and has no effect, with
// its source and line.
func (p *Policy) Warnings() []string {
	var out []string
	for _, r := range p.network {
		if _, err := policy.ParseHost(r.Host); err != nil {
			out = append(out, fmt.Sprintf("%s:%d: network_rule has no effect: %v", r.Source, r.Line, err))
		} else if _, known := hostProtocols[r.Protocol]; !known {
			out = append(out, fmt.Sprintf("%s:%d: network_rule for %s and %s has no effect: datagrams are judged by address, in [paddock.network] of requirements.toml", r.Source, r.Line, r.Host, r.Protocol))
		}
	}
	return out
}

// Match is a rule that matches a command.
type Match struct {
	// Rule is the one that matches.
	Rule *policy.PrefixRule
	// Prefix holds the words that matched. Its first is the program's file name
	// when it was found by that.
	Prefix []string
	// Resolved is the absolute path of the program when it was found by its file
	// name; otherwise "".
	Resolved string
}

// Check returns all rules that match a command, in the order of Codex: those
// whose first word is the program as it is called, then those of other spellings.
// With resolve, a program that is a path, and that no rule matches as it is
// written, also stands for its file name, unless host_executable says otherwise.
func (p *Policy) Check(argv []string, resolve bool) []Match {
	if len(argv) == 0 {
		return nil
	}
	names := []string{argv[0]}
	if at := p.absolute(argv[0]); resolve && at != "" {
		names = append(names, at)
	}
	return p.check(argv, resolve, p.candidates(policy.Command{Names: names, Args: argv[1:]}))
}

// candidates returns all rules that can match, and perhaps some more.
func (p *Policy) candidates(c policy.Command) []int32 {
	if c.Names[0] != "" {
		return p.index.Matching(c)
	}
	// The index knows no program without a name. Codex does, and a command that
	// nothing can run need not be judged fast.
	all := make([]int32, len(p.rules))
	for i := range all {
		all[i] = int32(i)
	}
	return all
}

func (p *Policy) check(argv []string, resolve bool, candidates []int32) []Match {
	if found := p.named(argv[0], argv[1:], "", candidates); len(found) > 0 || !resolve {
		return found
	}
	at := p.absolute(argv[0])
	if at == "" || at == "/" {
		return nil
	}
	return p.named(path.Base(at), argv[1:], at, candidates)
}

// absolute returns the path a program's name stands for, or "" for a bare name.
func (p *Policy) absolute(name string) string {
	switch {
	case strings.HasPrefix(name, "/"):
		return path.Clean(name)
	case name == "~" || strings.HasPrefix(name, "~/"):
		if p.env.Home == "" {
			return ""
		}
		return path.Join(p.env.Home, name[1:])
	case p.env.Dir != "" && (name == "." || name == ".." || strings.Contains(name, "/")):
		return path.Join(p.env.Dir, name)
	}
	return ""
}

// named returns the matches under one name of the program.
func (p *Policy) named(name string, args []string, resolved string, candidates []int32) []Match {
	type hit struct {
		first string
		rule  int32
	}
	var hits []hit
	for _, i := range candidates {
		rule := &p.rules[i]
		if !rest(rule, args) {
			continue
		}
		for _, first := range rule.Pattern[0] {
			if equal(rule, first, name) && p.isHost(name, resolved) && p.isHost(first, resolved) {
				hits = append(hits, hit{first, i})
			}
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int {
		if (a.first == name) != (b.first == name) {
			if a.first == name {
				return -1
			}
			return 1
		}
		return strings.Compare(a.first, b.first)
	})
	matches := make([]Match, len(hits))
	for i, h := range hits {
		rule := &p.rules[h.rule]
		prefix := append([]string{name}, args[:len(rule.Pattern)-1]...)
		matches[i] = Match{Rule: rule, Prefix: prefix, Resolved: resolved}
	}
	return matches
}

// isHost reports whether the program at a path may be the one rules call name.
func (p *Policy) isHost(name, at string) bool {
	if at == "" {
		return true
	}
	h, declared := p.hosts[name]
	return !declared || slices.Contains(h.Paths, at)
}

// rest reports whether the words after the program's match.
func rest(rule *policy.PrefixRule, args []string) bool {
	if len(args) < len(rule.Pattern)-1 {
		return false
	}
	for i, words := range rule.Pattern[1:] {
		if !slices.ContainsFunc(words, func(w string) bool { return equal(rule, w, args[i]) }) {
			return false
		}
	}
	return true
}

func equal(rule *policy.PrefixRule, a, b string) bool {
	return a == b || rule.Canonical && cases.Fold().String(a) == cases.Fold().String(b)
}

// Strictest returns the decision of several matches; false: there is none.
func Strictest(matches []Match) (policy.Decision, bool) {
	d := policy.Allow
	for _, m := range matches {
		d = max(d, m.Rule.Decision)
	}
	return d, len(matches) > 0
}

// Combine returns the rules of requirements followed by those of files, as
// policy.Compile takes them: the strictest of all that match decides, and at equal
// strictness and length the requirements explain it.
//
// host_executable narrows only what is allowed. A rule that allows a declared
// program allows it at its paths and nowhere else. A rule that asks or forbids
// keeps the name: it holds for every path, and for every copy the enforcer
// recognises, declared or not.
func Combine(req *policy.Requirements, files *Policy) []policy.PrefixRule {
	out := slices.Clone(req.Rules)
	if files == nil {
		return out
	}
	for _, rule := range files.rules {
		if rule.Decision == policy.Allow {
			rule = files.narrow(rule)
		}
		out = append(out, rule)
	}
	return out
}

// narrow replaces the names of declared programs by their paths. A rule of which
// nothing is left matches nothing: Compile leaves it out.
func (p *Policy) narrow(rule policy.PrefixRule) policy.PrefixRule {
	var first []string
	for _, name := range rule.Pattern[0] {
		if h, declared := p.host(&rule, name); declared {
			first = append(first, h...)
		} else {
			first = append(first, name)
		}
	}
	rule.Pattern = slices.Clone(rule.Pattern)
	rule.Pattern[0] = first
	return rule
}

// host returns the paths declared for a name: for a canonical rule, under any
// spelling.
func (p *Policy) host(rule *policy.PrefixRule, name string) (paths []string, declared bool) {
	if !rule.Canonical {
		h, ok := p.hosts[name]
		return h.Paths, ok
	}
	for other, h := range p.hosts {
		if equal(rule, other, name) {
			paths, declared = append(paths, h.Paths...), true
		}
	}
	slices.Sort(paths)
	return paths, declared
}
