// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/hex"
	"slices"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

func (f *file) launch(key string, v *document.Value) (Launch, error) {
	var out Launch
	t, err := document.TableOf(key, v, keysOf(launchShape)...)
	if err != nil {
		return out, err
	}
	for _, kind := range LaunchKinds() {
		v := t.Get(kind.String())
		if v == nil {
			continue
		}
		action, err := document.Enum(key+"."+kind.String(), v, "action", LaunchRecord, LaunchWarn, LaunchRefuse)
		if err != nil {
			return out, err
		}
		if out.Actions == nil {
			out.Actions = map[LaunchKind]LaunchAction{}
		}
		out.Actions[kind] = action
	}
	if v := t.Get("minimum"); v != nil {
		if out.Minimum, err = byAgent(key+".minimum", v, func(key string, v *document.Value) (string, error) {
			version, err := document.StringOf(key, v)
			if numbers, _ := versionOf(version); err == nil && len(numbers) == 0 {
				err = document.Fail(v, key, "bad version %s (numbers with dots, like \"0.169.0\")", document.Quoted(version))
			}
			return version, err
		}); err != nil {
			return out, err
		}
	}
	if v := t.Get("programs"); v != nil {
		if out.Programs, err = byAgent(key+".programs", v, digests); err != nil {
			return out, err
		}
	}
	if v := t.Get("places"); v != nil {
		places, err := f.patterns(key+".places", v, installed)
		if err != nil {
			return out, err
		}
		out.Places = [][]Pattern{places}
	}
	return out, nil
}

// byAgent reads a table with the names of agents as keys.
func byAgent[T any](key string, v *document.Value, read func(key string, v *document.Value) (T, error)) (map[string]T, error) {
	if v.Kind != document.KindTable {
		return nil, document.Fail(v, key, "expected a table, found %s", document.Found(v))
	}
	out := map[string]T{}
	for i, agent := range v.Table.Keys {
		if err := agentName(v.Table.Vals[i], document.Join(key, agent), agent); err != nil {
			return nil, err
		}
		one, err := read(document.Join(key, agent), v.Table.Vals[i])
		if err != nil {
			return nil, err
		}
		out[agent] = one
	}
	return out, nil
}

func digests(key string, v *document.Value) ([]string, error) {
	sums, err := document.StringsOf(key, v)
	if err != nil {
		return nil, err
	}
	if len(sums) == 0 {
		return nil, document.Fail(v, key, "an empty list would refuse every program of the agent; leave it out")
	}
	for i, s := range sums {
		if raw, err := hex.DecodeString(s); err != nil || len(raw) != 32 {
			return nil, document.Fail(v.Items[i], document.Element(key, i), "bad SHA-256 %s (64 hexadecimal digits, as sha256sum prints)", document.Quoted(s))
		}
		sums[i] = strings.ToLower(s)
	}
	return sums, nil
}

func installed(key string, v *document.Value) error {
	if strings.ContainsAny(v.Text, "*?[") {
		return document.Fail(v, key, "bad directory %s (patterns are not possible here)", document.Quoted(v.Text))
	}
	return absolute(key, v)
}

// launchValues lists what is in force.
func launchValues(merged *Requirements, add adder, written func(names ...string) says) []Value {
	var out []Value
	m := &merged.Launch
	for _, kind := range LaunchKinds() {
		action, said := m.Actions[kind]
		if !said {
			continue
		}
		out = add(out, "paddock.launch."+kind.String(), action.String(), written("launch", kind.String()),
			func(l *Requirements) bool { a, said := l.Launch.Actions[kind]; return said && a == action })
	}
	for _, agent := range sortedKeys(m.Minimum) {
		out = add(out, document.Join("paddock.launch.minimum", agent), m.Minimum[agent], written("launch", "minimum", agent),
			func(l *Requirements) bool { return l.Launch.Minimum[agent] == m.Minimum[agent] })
	}
	for _, agent := range sortedKeys(m.Programs) {
		out = add(out, document.Join("paddock.launch.programs", agent), m.Programs[agent], written("launch", "programs", agent),
			func(l *Requirements) bool { return l.Launch.Programs[agent] != nil })
	}
	for i, p := range slices.Concat(m.Places...) {
		out = append(out, Value{document.Element("paddock.launch.places", i), p.Text, p.Source, p.Line})
	}
	return out
}
