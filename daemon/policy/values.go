// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

// Value is one value in force, and who set it.
type Value struct {
	// Key is the dotted key; an element of a list has its number, from 0.
	Key string `json:"key"`
	// Value is what it is, as data for JSON. A secret is "[redacted]".
	Value any `json:"value"`
	// Source and Line are the layer and the line that say so. Line 0: nothing does,
	// and Source is "default".
	Source string `json:"source"`
	Line   int    `json:"line,omitempty"`
}

const byDefault = "default"

// Values lists what is in force with merged layers: every value of Codex's, every
// rule, and Paddock's own. layers are those that were merged, from low to high.
func Values(merged *Requirements, layers ...*Requirements) []Value {
	var out []Value
	if merged.Codex != nil {
		l := lister{effective: merged.Codex}
		known := codex.Keys()
		for _, k := range known {
			l.value(k.Shape, k.Name, merged.Codex.Get(k.Name))
		}
		root := merged.Codex.Root.Table
		for i, name := range root.Keys {
			if _, ok := codex.Lookup(known, name); !ok {
				l.value(nil, document.Join("", name), root.Vals[i])
			}
		}
		out = l.out
	}
	for i, r := range merged.Rules {
		decision := r.Decision.String()
		if r.HumanOnly {
			decision = "prompt-user"
		}
		out = append(out, Value{document.Element("rules.prefix_rules", i), decision + ": " + r.String(), r.Source, r.Line})
	}
	return append(out, ownValues(merged, layers)...)
}

type lister struct {
	effective *codex.Effective
	out       []Value
}

// value lists v, the innermost values of tables one by one; of a list, its elements
// one by one if they are from several layers or are tables.
func (l *lister) value(s *codex.Shape, key string, v *document.Value) {
	switch {
	case v == nil:
	case s != nil && s.Secret && v.Kind != document.KindTable:
		l.add(key, "[redacted]", v)
	case v.Kind == document.KindTable && len(v.Table.Keys) > 0:
		for i, name := range v.Table.Keys {
			inner := s.Below(v, name)
			if s != nil && s.Secret {
				inner = s
			}
			l.value(inner, document.Join(key, name), v.Table.Vals[i])
		}
	case v.Kind == document.KindArray && slices.ContainsFunc(v.Items, func(item *document.Value) bool {
		return item.Kind == document.KindTable || item.Layer != v.Items[0].Layer
	}):
		for i, item := range v.Items {
			l.value(s.Below(v, ""), document.Element(key, i), item)
		}
	default:
		l.add(key, codex.Plain(v), v)
	}
}

func (l *lister) add(key string, value any, v *document.Value) {
	l.out = append(l.out, Value{key, value, l.effective.Source(v), int(v.At.Line)})
}

// says finds who wrote a value; adder appends a value with the highest layer that wrote
// it and means the same.
type (
	says  = func(l *Requirements) (source string, line int, ok bool)
	adder = func(out []Value, key string, value any, written says, same func(l *Requirements) bool) []Value
)

// ownValues lists Paddock's own values. Where several layers say the same, the
// highest one explains it.
func ownValues(merged *Requirements, layers []*Requirements) []Value {
	all, _ := withPeople(layers)
	high := slices.Clone(all)
	slices.Reverse(high)
	written := func(names ...string) says {
		return func(l *Requirements) (string, int, bool) {
			v := l.own(names...)
			if v == nil {
				return "", 0, false
			}
			return l.Layer.Name, int(v.At.Line), true
		}
	}
	add := func(out []Value, key string, value any, written says, same func(l *Requirements) bool) []Value {
		for _, l := range high {
			if source, line, ok := written(l); ok && same(l) {
				return append(out, Value{key, value, source, line})
			}
		}
		return append(out, Value{key, value, byDefault, 0})
	}
	out := add(nil, "paddock.mode", merged.Mode.String(), written("mode"), func(l *Requirements) bool { return l.Mode == merged.Mode })
	out = add(out, "paddock.unmatched", merged.Unmatched.String(), written("unmatched"), func(l *Requirements) bool { return l.Unmatched == merged.Unmatched })
	if merged.Provenance > Absent {
		out = add(out, "paddock.require_provenance", merged.Provenance.String(), written("require_provenance"),
			func(l *Requirements) bool { return l.Provenance == merged.Provenance })
	}
	for i, agent := range merged.Agents {
		out = add(out, document.Element("paddock.agents", i), agent, written("agents"), func(l *Requirements) bool { return slices.Contains(l.Agents, agent) })
	}
	if access := written("network", "access"); merged.Network.None || anyWrote(high, access) {
		word := accessRules
		if merged.Network.None {
			word = accessNone
		}
		out = add(out, "paddock.network.access", word.String(), access, func(l *Requirements) bool { return l.Network.None == merged.Network.None })
	}
	out = add(out, "paddock.network.default", merged.Network.Default.String(), written("network", "default"),
		func(l *Requirements) bool { return l.Network.Default == merged.Network.Default })
	if u := merged.Network.Unfamiliar; u.Set {
		out = append(out, Value{"paddock.network.unfamiliar", u.Decision.String(), u.Source, u.Line})
	}
	if merged.Network.ReadOnly {
		out = add(out, "paddock.network.mode", modeLimited.String(), written("network", "mode"), func(l *Requirements) bool { return l.Network.ReadOnly })
	}
	for i := range merged.HostRules {
		r := &merged.HostRules[i]
		out = append(out, Value{document.Element("network_rule", i), r.say(), r.Source, r.Line})
	}
	for i := range merged.Network.Rules {
		r := &merged.Network.Rules[i]
		out = append(out, Value{document.Element("paddock.network.rules", i), r.say(), r.Source, r.Line})
	}
	out = append(out, approvalValues(merged, high, add, written)...)
	out = append(out, boundaryValues(merged, high, add, written)...)
	out = append(out, launchValues(merged, add, written)...)
	if merged.Telemetry.Endpoint != "" {
		same := func(l *Requirements) bool { return l.Telemetry.Endpoint == merged.Telemetry.Endpoint }
		out = add(out, "paddock.telemetry.endpoint", merged.Telemetry.Endpoint, written("telemetry", "endpoint"), same)
		for _, name := range sortedKeys(merged.Telemetry.Headers) {
			out = add(out, document.Join("paddock.telemetry.headers", name), "[redacted]", written("telemetry", "headers", name), same)
		}
		for _, file := range []struct{ name, path string }{
			{"headers_file", merged.Telemetry.HeadersFile},
			{"ca_file", merged.Telemetry.CAFile},
			{"cert_file", merged.Telemetry.CertFile},
			{"key_file", merged.Telemetry.KeyFile},
		} {
			if file.path != "" {
				out = add(out, "paddock.telemetry."+file.name, file.path, written("telemetry", file.name), same)
			}
		}
	}
	for i := range merged.Sinks {
		s := &merged.Sinks[i]
		key := document.Element("paddock.telemetry.sinks", i)
		same := func(l *Requirements) bool { return len(l.Sinks) > i && l.Sinks[i].Name == s.Name }
		out = add(out, key, s.Name+": "+s.Type+" to "+cmp.Or(s.Endpoint, s.File), written("telemetry", "sinks"), same)
	}
	for _, content := range slices.Sorted(maps.Keys(merged.Contents)) {
		word := contentOmit
		if merged.Contents[content] {
			word = contentRecord
		}
		same := func(l *Requirements) bool {
			record, said := l.Contents[content]
			return said && record == merged.Contents[content]
		}
		out = add(out, "paddock.telemetry."+content, word, written("telemetry", content), same)
	}
	if merged.Beat > 0 {
		out = add(out, "paddock.telemetry.heartbeat", merged.Beat, written("telemetry", "heartbeat"), func(l *Requirements) bool { return l.Beat == merged.Beat })
	}
	if merged.Secrets != "" {
		out = add(out, "paddock.telemetry.secrets", merged.Secrets, written("telemetry", "secrets"),
			func(l *Requirements) bool { return l.Secrets == merged.Secrets })
	}
	return out
}

func anyWrote(layers []*Requirements, written says) bool {
	return slices.ContainsFunc(layers, func(l *Requirements) bool {
		_, _, ok := written(l)
		return ok
	})
}

// approvalValues lists [paddock.approvals]. A list that no layer wrote as it came out is
// explained by the highest one that has a part in it.
func approvalValues(merged *Requirements, high []*Requirements, add adder, written func(names ...string) says) []Value {
	m := &merged.Approvals
	at := func(name string) says { return written("approvals", name) }
	out := add(nil, "paddock.approvals.timeout", m.Timeout, at("timeout"), func(l *Requirements) bool { return l.Approvals.Timeout == m.Timeout })
	for _, list := range []struct {
		name string
		of   func(*Approvals) []string
	}{
		{"scopes", func(a *Approvals) []string { return a.Scopes }},
		{"high_risk", func(a *Approvals) []string { return a.HighRisk }},
		{"auto_review", func(a *Approvals) []string { return a.AutoReview }},
	} {
		value := list.of(m)
		if value == nil && !anyWrote(high, at(list.name)) {
			continue
		}
		same := func(l *Requirements) bool { return sameWords(list.of(&l.Approvals), value) }
		if !slices.ContainsFunc(high, same) {
			same = func(l *Requirements) bool { return list.of(&l.Approvals) != nil }
		}
		out = add(out, "paddock.approvals."+list.name, append([]string{}, value...), at(list.name), same)
	}
	if m.GuardSet {
		out = add(out, "paddock.approvals.guard", !m.Unguarded, at("guard"), func(l *Requirements) bool { return l.Approvals.Unguarded == m.Unguarded })
	}
	if m.RootSet {
		out = add(out, "paddock.approvals.root_may_answer", m.RootMayAnswer, at("root_may_answer"),
			func(l *Requirements) bool { return l.Approvals.RootMayAnswer == m.RootMayAnswer })
	}
	return out
}

func sameWords(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// own returns what a layer says below [paddock].
func (r *Requirements) own(names ...string) *document.Value {
	if r.Layer == nil {
		return nil
	}
	v := r.Layer.Doc.Table.Get(ownTable)
	for _, name := range names {
		if v == nil || v.Kind != document.KindTable {
			return nil
		}
		v = v.Table.Get(name)
	}
	return v
}

// say writes a network rule in one line.
func (r *HostRule) say() string {
	words := []string{r.Decision.String(), r.Host.String()}
	for _, p := range r.Protocols {
		words = append(words, p.String())
	}
	return strings.Join(words, " ")
}

func (r *NetRule) say() string {
	words := []string{r.Decision.String(), r.Prefix.String()}
	if r.protocols() != AnyProtocol {
		words = append(words, r.Protocols.String())
	}
	var ports []string
	for _, p := range r.Ports {
		text := strconv.Itoa(int(p.First))
		if p.Last != p.First {
			text += "-" + strconv.Itoa(int(p.Last))
		}
		ports = append(ports, text)
	}
	if len(ports) > 0 {
		words = append(words, "port "+strings.Join(ports, ","))
	}
	return strings.Join(words, " ")
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
