// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"fmt"
	"slices"
	"strings"
)

// SchemaVersion is the version of the events' names, attributes and meanings.
// The last number grows with an addition, the middle one when a meaning
// changes, the first one when something is renamed or removed.
const SchemaVersion = "1.0.0"

// Type is the type of an attribute's value.
type Type string

// Types of attributes, as an Event has them.
const (
	String  Type = "string"
	Int     Type = "int"
	Float   Type = "double"
	Bool    Type = "boolean"
	Strings Type = "string[]"
)

// Attribute describes one attribute of events.
//
// To add one: a constant in attributes.go, a line in registry_attributes.go, its
// name in the kinds that carry it (registry_kinds.go), then
// `go generate ./daemon/telemetry`.
type Attribute struct {
	Name    string `json:"name"`
	Type    Type   `json:"type"`
	Meaning string `json:"meaning"`
	// OCSF is where OCSF 1.8 has it. What begins with process., file. or user. is below actor. in classes whose object is
	// something else. Empty: it stays below unmapped.
	OCSF string `json:"ocsf,omitempty"`
	ECS  string `json:"ecs,omitempty"` // field of the Elastic Common Schema; empty: labels
}

// Own says whether the name is Paddock's, and not one of OpenTelemetry's
// semantic conventions.
func (a Attribute) Own() bool { return strings.HasPrefix(a.Name, "paddock.") }

// Class is how OCSF 1.8 sees a kind of event.
type Class struct {
	UID      int    `json:"class_uid"`
	Name     string `json:"class"`
	Category int    `json:"category_uid"`
	Activity int    `json:"activity_id"` // when nothing was refused
	Refused  int    `json:"refused_id"`  // when something was
}

// Kind describes the events of one name.
//
// To add one: a constant in names.go and an entry in registry_kinds.go.
type Kind struct {
	Name       string   `json:"name"`
	Meaning    string   `json:"meaning"`
	Attributes []string `json:"attributes"` // those it may carry, besides those on every event
	OCSF       Class    `json:"ocsf"`
	Category   string   `json:"ecs_category"`
	Action     string   `json:"ecs_type"`
	// Tally names the attributes by whose values the store counts events of this kind, hour by hour (see Store.Tallies). Few
	// values each, please: what is beyond maxTallies an hour is counted together.
	Tally []string `json:"tally,omitempty"`
	// Sum is an integer attribute whose values are added up beside the count.
	Sum string `json:"sum,omitempty"`
}

// Attributes returns every attribute, sorted by name.
func Attributes() []Attribute {
	out := slices.Clone(attributes)
	slices.SortFunc(out, func(a, b Attribute) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Kinds returns every kind of event, in the order of the documentation.
func Kinds() []Kind { return slices.Clone(kinds) }

// TalliedBy returns the attributes by whose values events of that name are
// counted; none: they are only counted.
func TalliedBy(name string) []string {
	if k := kindsByName[name]; k != nil {
		return slices.Clone(k.Tally)
	}
	return nil
}

// Names lists every event Paddock records, in the order of Kinds.
func Names() []string {
	out := make([]string, len(kinds))
	for i, k := range kinds {
		out[i] = k.Name
	}
	return out
}

// Undocumented says what an event has that its kind does not speak of; empty:
// nothing. Tests hold every event they see to it.
func Undocumented(e Event) []string {
	k, ok := kindsByName[e.Name]
	if !ok {
		return []string{"no kind of event is called " + e.Name}
	}
	var out []string
	for name, value := range e.Attrs {
		a, ok := attributesByName[name]
		switch {
		case strings.HasPrefix(name, RecordPrefix) && strings.HasPrefix(e.Name, "paddock.agent."):
			// In the agent's own words.
		case strings.HasPrefix(name, EnvPrefix) && slices.Contains(k.Attributes, AttrToolCallID):
			// As the agents' profiles have it.
		case !ok:
			out = append(out, "no attribute is called "+name)
		case !slices.Contains(k.Attributes, name) && !slices.Contains(everywhere, name):
			out = append(out, e.Name+" carries "+name)
		case value == "":
			out = append(out, name+" is empty: what does not apply is left out")
		default:
			if value, _ = normal(value); typeOf(value) != a.Type {
				out = append(out, fmt.Sprintf("%s is a %s, and not a %s", name, typeOf(value), a.Type))
			}
		}
	}
	slices.Sort(out)
	return out
}

func typeOf(value any) Type {
	switch value.(type) {
	case string:
		return String
	case int64:
		return Int
	case float64:
		return Float
	case bool:
		return Bool
	case []string:
		return Strings
	}
	return ""
}

// Both are made once, from tables that nothing changes.
var (
	attributesByName = byName(attributes, func(a *Attribute) string { return a.Name })
	kindsByName      = byName(kinds, func(k *Kind) string { return k.Name })
)

func byName[T any](list []T, name func(*T) string) map[string]*T {
	out := make(map[string]*T, len(list))
	for i := range list {
		out[name(&list[i])] = &list[i]
	}
	return out
}

// all joins groups of attributes.
func all(groups ...[]string) []string { return slices.Concat(groups...) }
