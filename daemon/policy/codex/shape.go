// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"math"

	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

// Form is the form of a value.
type Form uint8

// The forms there are.
const (
	Bool    Form = iota
	String       // any text
	Integer      // from 0 to Max
	Path         // made absolute: ~/ is the home directory, all else begins at the layer's directory
	RawPath      // kept as it is written
	Enum         // one of Variants
	List         // of Item
	Map          // any keys, each with Item
	Table        // of Fields
	OneOf        // one of Variants, told apart by what it looks like
	Tagged       // one of Variants, told apart by the key Tag
	Any          // kept as it is
)

// Shape says what a value may be.
type Shape struct {
	Form Form
	// Rust is what Codex's messages call the type, such as "struct FeedbackConfigToml".
	Rust string
	// Max is the greatest Integer.
	Max int64
	// Item is the shape of what is in a List or a Map.
	Item *Shape
	// Fields are the keys of a Table, in Codex's order.
	Fields []Field
	// Variants are the possible words of an Enum, in Codex's order, and the
	// possible shapes of a OneOf. A variant of an Enum with a Shape is written as a
	// table with this one key.
	Variants []Field
	// Tag is the key that tells the Variants of a Tagged apart.
	Tag string
	// Rest is the shape of all keys of a Table that are not Fields.
	Rest *Shape
	// Closed says that Codex refuses keys it does not know; else it ignores them.
	Closed bool
	// Flat says that Codex's messages name no key below this one.
	Flat bool
	// Buffered says that Codex reads an Enum from a copy, and then says other things
	// about it.
	Buffered bool
	// Lax says that a Table may be written as a list of only its first values, and that
	// an empty List says nothing.
	Lax bool
	// NoList says that a Table cannot be written as a list. In Codex it can, with its
	// values in an order of Codex's own.
	NoList bool
	// Ignored says that Codex no longer reads the value.
	Ignored bool
	// Secret says that values below this one are not for printing.
	Secret bool
	// Check looks at a value that has the shape. nil: it is good.
	Check func(c *Reader, at spot, v *document.Value) error
	// Read reads the value in place of all that is said here.
	Read func(c *Reader, at spot, v *document.Value) error
	// MinItems is the least number of elements of a List for an editor to accept.
	MinItems int
}

// Field is a key of a table.
type Field struct {
	Name  string
	Shape *Shape
	// Required says that the table is invalid without it.
	Required bool
	// Aliases are other names for the same key.
	Aliases []string
	// Unnamed says that Codex's messages name neither this key nor any below it.
	Unnamed bool
	// As is the word that an alias of an Enum stands for.
	As string
	// JSON is the name in Codex's API where it is not the name in camelCase.
	JSON string
	// Default is what Codex's API shows where the key is not set. nil: null.
	Default any
	// Meaning is a sentence or two for an administrator.
	Meaning string
}

// Shapes without a name of their own.
var (
	boolean = &Shape{Form: Bool}
	text    = &Shape{Form: String}
	absPath = &Shape{Form: Path}
	rawPath = &Shape{Form: RawPath}
	// fullPath is a path that must not begin at the layer's directory.
	fullPath = &Shape{Form: Path, Read: readFullPath}
	texts    = listOf(text)
	textMap  = mapOf(text)
	flags    = mapOf(boolean)
	u16      = &Shape{Form: Integer, Max: math.MaxUint16, Rust: "u16"}
	u64      = &Shape{Form: Integer, Max: math.MaxInt64, Rust: "u64"}
	nonzero  = &Shape{Form: Integer, Max: math.MaxInt64, Rust: "u64", Check: checkNonzero}
	usize    = &Shape{Form: Integer, Max: math.MaxInt64, Rust: "usize"}
	access   = words("allow", "deny")
)

func listOf(item *Shape) *Shape { return &Shape{Form: List, Item: item} }

func mapOf(item *Shape) *Shape { return &Shape{Form: Map, Item: item} }

func words(all ...string) *Shape {
	s := &Shape{Form: Enum}
	for _, w := range all {
		s.Variants = append(s.Variants, Field{Name: w})
	}
	return s
}

// buffered returns an Enum that Codex reads from a copy.
func buffered(enum *Shape) *Shape {
	s := *enum
	s.Buffered = true
	return &s
}

func tableOf(rust string, fields ...Field) *Shape {
	return &Shape{Form: Table, Rust: "struct " + rust, Fields: fields}
}

func (s *Shape) noList() *Shape {
	s.NoList = true
	return s
}

// closed returns a table that has no other keys.
func closed(rust string, fields ...Field) *Shape {
	s := tableOf(rust, fields...)
	s.Closed = true
	return s
}

func field(name string, s *Shape, meaning string) Field {
	return Field{Name: name, Shape: s, Meaning: meaning}
}

func needed(name string, s *Shape, meaning string) Field {
	return Field{Name: name, Shape: s, Required: true, Meaning: meaning}
}

// FieldNamed returns the field with a name or alias, or nil.
func (s *Shape) FieldNamed(name string) *Field {
	if s == nil {
		return nil
	}
	return named(s.Fields, name)
}

func named(fields []Field, name string) *Field {
	for i := range fields {
		if fields[i].Name == name {
			return &fields[i]
		}
	}
	for i := range fields {
		for _, alias := range fields[i].Aliases {
			if alias == name {
				return &fields[i]
			}
		}
	}
	return nil
}

// Names returns the names of fields, in their order.
func Names(fields []Field) []string {
	out := make([]string, len(fields))
	for i := range fields {
		out[i] = fields[i].Name
	}
	return out
}

// Below returns the shape of a key of the table v, or of the elements of the list v,
// which has shape s; nil if it is not known.
func (s *Shape) Below(v *document.Value, name string) *Shape {
	if s == nil {
		return nil
	}
	switch s.Form {
	case List, Map:
		return s.Item
	case Table:
		if f := s.FieldNamed(name); f != nil {
			return f.Shape
		}
		return s.Rest
	case Tagged:
		if tag := v.Table.Get(s.Tag); tag != nil {
			if variant := named(s.Variants, tag.Text); variant != nil {
				return variant.Shape.Below(v, name)
			}
		}
	case Enum:
		if variant := named(s.Variants, name); variant != nil {
			return variant.Shape
		}
	case OneOf:
		for _, variant := range s.Variants {
			if variant.Shape.fits(v) {
				return variant.Shape.Below(v, name)
			}
		}
	case Bool, String, Integer, Path, RawPath, Any:
	}
	return nil
}
