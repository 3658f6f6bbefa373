// SPDX-License-Identifier: Apache-2.0

package detections

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// rule is what of a Sigma rule is used here (the Sigma specification, 2.x): lists
// of values, the modifier contains, and a condition of names joined by "and".
type rule struct {
	Title, Name, Status, Description, Level string
	References, Tags, FalsePositives        []string
	Logsource                               struct{ Product, Service string }
	Detection                               map[string]yaml.Node
}

func parse(data []byte) (rule, error) {
	var r rule
	d := yaml.NewDecoder(strings.NewReader(string(data)))
	d.KnownFields(true)
	if err := d.Decode(&r); err != nil {
		return r, err
	}
	for name, value := range map[string]string{"title": r.Title, "name": r.Name, "description": r.Description, "level": r.Level, "product": r.Logsource.Product} {
		if value == "" {
			return r, fmt.Errorf("%s is missing", name)
		}
	}
	if !slices.Contains([]string{"informational", "low", "medium", "high", "critical"}, r.Level) {
		return r, fmt.Errorf("level %q", r.Level)
	}
	return r, nil
}

// selections are the fields of each, with what their values may be.
func (r rule) selections() (map[string]map[string][]string, []string, error) {
	out := map[string]map[string][]string{}
	var condition string
	for name, node := range r.Detection {
		if name == "condition" {
			condition = node.Value
			continue
		}
		fields := map[string]yaml.Node{}
		if err := node.Decode(&fields); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = map[string][]string{}
		for field, value := range fields {
			var list []string
			if value.Kind == yaml.ScalarNode {
				list = []string{value.Value}
			} else if err := value.Decode(&list); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", field, err)
			}
			out[name][field] = list
		}
	}
	terms := strings.Split(condition, " and ")
	for _, term := range terms {
		if out[term] == nil {
			return nil, nil, fmt.Errorf("condition %q: no selection is called %q", condition, term)
		}
	}
	return out, terms, nil
}

// finds says whether the rule is about the event.
func (r rule) finds(e telemetry.Event) (bool, error) {
	selections, terms, err := r.selections()
	if err != nil {
		return false, err
	}
	for _, term := range terms {
		for field, want := range selections[term] {
			name, how, _ := strings.Cut(field, "|")
			have := values(e, name)
			if !slices.ContainsFunc(have, func(s string) bool {
				return slices.ContainsFunc(want, func(w string) bool { return how == "" && s == w || how == "contains" && strings.Contains(s, w) })
			}) {
				return false, nil
			}
		}
	}
	return true, nil
}

func values(e telemetry.Event, name string) []string {
	if name == telemetry.AttrEventName {
		return []string{e.Name}
	}
	switch v := e.Attrs[name].(type) {
	case nil:
		return nil
	case []string:
		return v
	default:
		return []string{fmt.Sprint(v)}
	}
}
