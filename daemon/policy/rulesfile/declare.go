// SPDX-License-Identifier: Apache-2.0

package rulesfile

import (
	"path"
	"slices"
	"strings"

	"go.starlark.net/starlark"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// parameter is one of the functions that declare rules. kind is the type Codex
// names in its message: str, list or bool.
type parameter struct {
	name, kind string
	optional   bool
}

var (
	prefixParameters = []parameter{
		{"pattern", "list", false},
		{"decision", "str", true},
		{"match", "list", true},
		{"not_match", "list", true},
		{"justification", "str", true},
		{"canonical_matching", "bool", true},
	}
	hostParameters    = []parameter{{"name", "str", false}, {"paths", "list", false}}
	networkParameters = []parameter{
		{"host", "str", false},
		{"protocol", "str", false},
		{"decision", "str", false},
		{"justification", "str", true},
	}
)

// bind puts the arguments of a call into the order of its parameters; what was
// left out is nil.
func (r *run) bind(function string, parameters []parameter, args starlark.Tuple, kwargs []starlark.Tuple) ([]starlark.Value, *fault) {
	if n := len(args) - len(parameters); n > 0 {
		return nil, faultf("see what it takes in docs/rules.md", "Found %d extra positional argument(s) for call to %s", n, function)
	}
	values := make([]starlark.Value, len(parameters))
	copy(values, args)
	var unknown []string
	for _, kw := range kwargs {
		name := string(kw[0].(starlark.String))
		i := slices.IndexFunc(parameters, func(p parameter) bool { return p.name == name })
		switch {
		case i < 0:
			unknown = append(unknown, "`"+short(name)+"`")
			continue
		case values[i] != nil:
			return nil, faultf("give it once", "Argument `%s` occurs more than once", name)
		}
		values[i] = kw[1]
	}
	for i, p := range parameters {
		if values[i] == nil && !p.optional {
			return nil, faultf("add "+p.name+"=...", "Missing parameter `%s` for call to `%s`", p.name, function)
		}
	}
	if unknown != nil {
		return nil, extra(function, unknown...)
	}
	for i, p := range parameters {
		if v := values[i]; v != nil && strings.TrimSuffix(typeName(v), "ing") != p.kind {
			fix := "write " + map[string]string{"str": "text in quotes", "list": "a list: [...]", "bool": "True or False"}[p.kind]
			if p.optional {
				fix += ", or leave it out"
			}
			return nil, faultf(fix, "Type of parameter `%s` doesn't match, expected `%s`, actual `%s (repr: %s)`", p.name, p.kind, typeName(v), r.repr(v))
		}
	}
	return values, nil
}

// extra says that a function has no such parameters. Each is in backticks.
func extra(function string, names ...string) *fault {
	return faultf("take it out", "Found %s extra named parameter(s) for call to %s", strings.Join(names, " "), function)
}

// line is where the file calls the function that runs now.
func (r *run) callLine() int {
	for depth := 1; depth < r.thread.CallStackDepth(); depth++ {
		if at := r.thread.CallFrame(depth).Pos; at.Line > 0 {
			return int(at.Line)
		}
	}
	return 0
}

func (r *run) prefixRule(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	v, f := r.bind("prefix_rule", prefixParameters, args, kwargs)
	if f != nil {
		return nil, f
	}
	rule := policy.PrefixRule{Source: r.name, Line: r.callLine()}
	if v[1] != nil {
		if rule.Decision, f = decision(v[1]); f != nil {
			return nil, f
		}
	}
	if rule.Justification, f = justification(v[4]); f != nil {
		return nil, f
	}
	cost := 200 + len(rule.Justification)
	pattern := v[0].(*starlark.List)
	if pattern.Len() == 0 {
		return nil, faultf("name at least the program: [\"git\"]", "invalid pattern element: pattern cannot be empty")
	}
	for i := range pattern.Len() {
		words, f := element(pattern.Index(i))
		if f != nil {
			return nil, f
		}
		if cost += 24 + 16*len(words); cost > MaxMemory {
			return nil, errMemory
		}
		rule.Pattern = append(rule.Pattern, words)
	}
	rule.Canonical = v[5] == starlark.True
	e := examples{rule: len(r.out.Rules)}
	for i, list := range []*[][]string{&e.match, &e.not} {
		if v[2+i] == nil {
			continue
		}
		written := v[2+i].(*starlark.List)
		for j := range written.Len() {
			words, f := example(written.Index(j))
			if f != nil {
				return nil, f
			}
			if cost += 64 + 16*len(words); cost > MaxMemory {
				return nil, errMemory
			}
			*list = append(*list, words)
		}
	}
	if len(e.match)+len(e.not) > 0 {
		r.examples = append(r.examples, e)
	}
	r.out.Rules = append(r.out.Rules, rule)
	r.work(cost / 64)
	return starlark.None, r.spend(cost)
}

func decision(v starlark.Value) (policy.Decision, *fault) {
	word, _ := starlark.AsString(v)
	for _, d := range []policy.Decision{policy.Allow, policy.Prompt, policy.Forbidden} {
		if d.String() == word {
			return d, nil
		}
	}
	return 0, faultf(`write "allow", "prompt" or "forbidden"`, "invalid decision: %s", short(word))
}

func justification(v starlark.Value) (string, *fault) {
	if v == nil {
		return "", nil
	}
	s, _ := starlark.AsString(v)
	if strings.TrimSpace(s) == "" {
		return "", faultf("give the reason, or leave justification out", "invalid rule: justification cannot be empty")
	}
	return s, nil
}

// short cuts what somebody wrote to what a message can hold.
func short(s string) string {
	if len(s) > 200 {
		return s[:200] + "..."
	}
	return s
}

func element(v starlark.Value) ([]string, *fault) {
	const fix = `write "word" or ["this", "or that"]`
	switch v := v.(type) {
	case starlark.String:
		return []string{string(v)}, nil
	case *starlark.List:
		if v.Len() == 0 {
			return nil, faultf(fix, "invalid pattern element: pattern alternatives cannot be empty")
		}
		words := make([]string, v.Len())
		for i := range words {
			s, ok := starlark.AsString(v.Index(i))
			if !ok {
				return nil, faultf(fix, "invalid pattern element: pattern alternative must be a string (got %s)", typeName(v.Index(i)))
			}
			words[i] = s
		}
		return words, nil
	}
	return nil, faultf(fix, "invalid pattern element: pattern element must be a string or list of strings (got %s)", typeName(v))
}

func example(v starlark.Value) ([]string, *fault) {
	const fix = `write "git status" or ["git", "status"]`
	switch v := v.(type) {
	case starlark.String:
		words, ok := shellSplit(string(v))
		switch {
		case !ok:
			return nil, faultf("close the quotes, or write a list of words", "invalid example: example string has invalid shell syntax")
		case len(words) == 0:
			return nil, faultf(fix, "invalid example: example cannot be an empty string")
		}
		return words, nil
	case *starlark.List:
		if v.Len() == 0 {
			return nil, faultf(fix, "invalid example: example cannot be an empty list")
		}
		words := make([]string, v.Len())
		for i := range words {
			s, ok := starlark.AsString(v.Index(i))
			if !ok {
				return nil, faultf(fix, "invalid example: example tokens must be strings (got %s)", typeName(v.Index(i)))
			}
			words[i] = s
		}
		return words, nil
	}
	return nil, faultf(fix, "invalid example: example must be a string or list of strings (got %s)", typeName(v))
}

func (r *run) hostExecutable(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	v, f := r.bind("host_executable", hostParameters, args, kwargs)
	if f != nil {
		return nil, f
	}
	name, _ := starlark.AsString(v[0])
	host := Host{Name: name, Line: r.callLine(), Source: r.name}
	switch {
	case name == "":
		return nil, faultf(`name the program: "git"`, "invalid rule: host_executable name cannot be empty")
	case name == "." || name == ".." || strings.Contains(name, "/"):
		return nil, faultf("leave the directory out; it belongs into paths", "invalid rule: host_executable name must be a bare executable name (got %s)", short(name))
	}
	list := v[1].(*starlark.List)
	for i := range list.Len() {
		p, ok := starlark.AsString(list.Index(i))
		switch {
		case !ok:
			return nil, faultf("write text in quotes", "invalid rule: host_executable paths must be strings (got %s)", typeName(list.Index(i)))
		case !strings.HasPrefix(p, "/"):
			return nil, faultf("begin it with /; ~ stands for nothing here", "invalid rule: host_executable paths must be absolute (got %s)", short(p))
		}
		clean := path.Clean(p)
		if path.Base(clean) != name {
			return nil, faultf("", "invalid rule: host_executable path `%s` must have basename `%s`", short(p), short(name))
		}
		if !slices.Contains(host.Paths, clean) {
			host.Paths = append(host.Paths, clean)
		}
		r.work(len(host.Paths))
	}
	r.out.Hosts = append(r.out.Hosts, host)
	return starlark.None, r.spend(200 + 32*list.Len())
}

func (r *run) networkRule(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	v, f := r.bind("network_rule", networkParameters, args, kwargs)
	if f != nil {
		return nil, f
	}
	rule := NetworkRule{Source: r.name, Line: r.callLine()}
	protocol, _ := starlark.AsString(v[1])
	if rule.Protocol, f = networkProtocol(protocol); f != nil {
		return nil, f
	}
	if word, _ := starlark.AsString(v[2]); word == "deny" {
		rule.Decision = policy.Forbidden
	} else if rule.Decision, f = decision(v[2]); f != nil {
		f.fix = `write "allow", "prompt" or "deny"`
		return nil, f
	}
	if rule.Justification, f = justification(v[3]); f != nil {
		return nil, f
	}
	host, _ := starlark.AsString(v[0])
	if rule.Host, f = networkHost(host); f != nil {
		return nil, f
	}
	r.out.Network = append(r.out.Network, rule)
	return starlark.None, r.spend(200 + len(rule.Host) + len(rule.Justification))
}
