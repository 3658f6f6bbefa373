// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"slices"
	"strings"
)

// Version is the Codex whose requirements this is the model of.
const Version = "codex-cli 0.169.0"

// By says who makes a key hold.
type By uint8

// Who enforces.
const (
	// ByCodex: only Codex does; other agents are not under it.
	ByCodex By = iota
	// ByPaddock: Paddock does, for every agent; Codex ignores the key.
	ByPaddock
	// ByBoth: Codex does, and Paddock for every agent.
	ByBoth
)

// String returns the words used in explanations.
func (b By) String() string {
	return [...]string{"Codex", "Paddock, for every agent", "Codex, and Paddock for every agent"}[b]
}

// Key is a key of the top level.
type Key struct {
	Field
	// Enforced says who makes it hold.
	Enforced By
	// Merge says what holds where several layers have the key. Empty: a table is
	// merged key by key, all else is the highest layer's.
	Merge string
	// LocalOnly says that cloud layers cannot set it.
	LocalOnly bool
	// Example is a piece of requirements.toml with this key.
	Example string
}

// Keys returns every key of the top level that Codex knows, in the order of its own
// API and documentation: one subject after the other.
func Keys() []Key { return slices.Concat(agentKeys, toolKeys, networkKeys, accountKeys, desktopKeys) }

// root is the shape of the whole file.
var root = func() *Shape {
	s := &Shape{Form: Table, Rust: "struct ConfigRequirementsToml"}
	for _, k := range Keys() {
		s.Fields = append(s.Fields, k.Field)
	}
	return s
}()

// Lookup finds a key by its name, or one of its names.
func Lookup(keys []Key, name string) (Key, bool) {
	i := slices.IndexFunc(keys, func(k Key) bool { return k.Name == name || slices.Contains(k.Aliases, name) })
	if i < 0 {
		return Key{}, false
	}
	return keys[i], true
}

// Find follows a dotted path down from the keys: network_proxy.domains, and for a
// table whose keys are free, any name: mcp_servers.docs.identity. It returns the
// fields on the way, the last one meant; bad is the first name that is not known,
// and possible what could be there.
func Find(keys []Key, dotted []string) (key Key, way []Field, bad string, possible []string) {
	key, ok := Lookup(keys, dotted[0])
	if !ok {
		return Key{}, nil, dotted[0], KeyNames(keys)
	}
	way = []Field{key.Field}
	for _, name := range dotted[1:] {
		f, possible := below(way[len(way)-1].Shape, name)
		if f == nil {
			return key, nil, name, possible
		}
		way = append(way, *f)
	}
	return key, way, "", nil
}

// below returns the field name of values of shape s, looking through lists.
func below(s *Shape, name string) (*Field, []string) {
	switch s.Form {
	case List:
		return below(s.Item, name)
	case Table:
		if f := s.FieldNamed(name); f != nil {
			return f, nil
		}
		if s.Rest != nil {
			return &Field{Name: name, Shape: s.Rest}, nil
		}
		return nil, Names(s.Fields)
	case Map:
		return &Field{Name: name, Shape: s.Item}, nil
	case Enum, OneOf, Tagged:
		var possible []string
		for _, v := range s.Variants {
			switch {
			case v.Shape == nil:
			case s.Form == Enum && v.Name == name:
				return &v, nil
			case s.Form == Enum:
				possible = append(possible, v.Name)
			default:
				f, more := below(v.Shape, name)
				if f != nil {
					return f, nil
				}
				possible = append(possible, more...)
			}
		}
		return nil, possible
	case Bool, String, Integer, Path, RawPath, Any:
	}
	return nil, nil
}

// Values says in words what a value of the shape may be.
func (s *Shape) Values() string {
	switch s.Form {
	case Bool:
		return "true or false"
	case String:
		return "text"
	case Integer:
		return "a whole number, 0 or more"
	case Path, RawPath:
		return "a path"
	case Enum:
		return strings.Join(s.spelt(), ", ")
	case List:
		return "a list of: " + s.Item.Values()
	case Map:
		return "a table of names, each with: " + s.Item.Values()
	case Table:
		return "a table with " + strings.Join(Names(s.Fields), ", ")
	case OneOf:
		var all []string
		for _, v := range s.Variants {
			all = append(all, v.Shape.Values())
		}
		return strings.Join(all, "; or ")
	case Tagged:
		return "a table whose " + s.Tag + " is " + strings.Join(s.spelt(), ", ")
	case Any:
	}
	return "anything"
}

func (s *Shape) spelt() []string {
	var all []string
	for _, v := range s.Variants {
		switch {
		case v.As != "": // an old spelling
		case v.Shape != nil && s.Form == Enum:
			all = append(all, "{ "+v.Name+" = { ... } }")
		default:
			all = append(all, `"`+v.Name+`"`)
		}
	}
	return all
}

// KeyNames returns the names and aliases of keys.
func KeyNames(keys []Key) []string {
	var all []string
	for _, k := range keys {
		all = append(append(all, k.Name), k.Aliases...)
	}
	return all
}

// Inner returns the keys of a table, or of the tables in a list or below any name.
func (s *Shape) Inner() []Field {
	switch s.Form {
	case Table:
		return s.Fields
	case List, Map:
		return s.Item.Inner()
	case Bool, String, Integer, Path, RawPath, Enum, OneOf, Tagged, Any:
	}
	return nil
}

// Words returns the possible words of an enumeration, or of the elements of a list of
// them, without old spellings. If none has a meaning to add, it returns none.
func (s *Shape) Words() []Field {
	for s.Form == List || s.Form == Map {
		s = s.Item
	}
	var out []Field
	for _, v := range s.Variants {
		if v.Meaning != "" && v.As == "" {
			out = append(out, v)
		}
	}
	return out
}

// Kind says in a word or two what form a value of the shape has.
func (s *Shape) Kind() string {
	switch s.Form {
	case Table:
		return "a table"
	case Map:
		return "a table of names"
	case List:
		return "a list"
	case Bool, String, Integer, Path, RawPath, Enum, OneOf, Tagged, Any:
	}
	return s.Values()
}
