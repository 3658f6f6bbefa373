// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

// Warning is something that was read but has no effect.
type Warning struct {
	// Source is the layer.
	Source string
	// Line and Column count from 1.
	Line, Column int
	// Key is the dotted key.
	Key string
	// Problem is the rest of the sentence.
	Problem string
}

// String returns the whole sentence.
func (w Warning) String() string {
	return fmt.Sprintf("%s:%d: %s", w.Source, w.Line, w.Problem)
}

// Reader checks values against shapes and makes them uniform: aliases become the
// word they stand for, paths become absolute.
type Reader struct {
	source   string
	dir      string // of relative paths
	home     string
	warnings []Warning
	rules    []Rule
	bundle   bool // the layer is from a bundle
	// all says to go on after a problem with a key of the top level, and to note it in
	// faults.
	all    bool
	faults []error
	// late is the first problem that Codex finds only when all layers are merged.
	late error
}

// maxWarnings is how many warnings a layer may have: nobody reads more.
const maxWarnings = 100

func (c *Reader) warn(at document.Position, key, format string, args ...any) {
	if len(c.warnings) >= maxWarnings {
		return
	}
	c.warnings = append(c.warnings, Warning{c.source, int(at.Line), int(at.Column), key, fmt.Sprintf(format, args...)})
}

// spot is where the reader is: for people, and as Codex's messages have it, which
// leave out places in lists, variants and all below a flat table.
type spot struct {
	key   string
	codex string
	flat  bool
}

func (s spot) down(name string) spot {
	s.key = document.Join(s.key, name)
	if !s.flat {
		if s.codex != "" {
			s.codex += "."
		}
		s.codex += name
	}
	return s
}

func (s spot) item(i int) spot {
	s.key = document.Element(s.key, i)
	return s
}

// fail makes the error for v. codex is what Codex calls the cause.
func (s spot) fail(v *document.Value, codex, format string, args ...any) error {
	return &document.Error{At: v.At, Key: s.key, Problem: fmt.Sprintf(format, args...), Codex: s.says(codex)}
}

func (s spot) says(cause string) string {
	if s.codex == "" {
		return cause + "\n"
	}
	return cause + "\nin `" + s.codex + "`\n"
}

// kindName is what Codex's messages call a value of a wrong type.
func kindName(v *document.Value) string {
	switch v.Kind {
	case document.KindTable:
		return "map"
	case document.KindArray:
		return "sequence"
	case document.KindString:
		return "string " + debug(v.Text)
	case document.KindBool:
		return "boolean `" + v.Text + "`"
	case document.KindInteger:
		if n, err := v.Integer(); err == nil {
			return fmt.Sprintf("integer `%d`", n)
		}
	case document.KindFloat:
		return "floating point `" + strings.Replace(v.Text, "nan", "NaN", 1) + "`"
	case document.KindTime:
		return fmt.Sprintf("string %q", v.Text)
	}
	return v.Text
}

// debug quotes text as Codex's messages do.
func debug(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == 0:
			b.WriteString(`\0`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case !unicode.IsPrint(r) || unicode.In(r, unicode.Mn, unicode.Me):
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func (s spot) wrongType(v *document.Value, expected, ours string) error {
	found := document.Found(v)
	return s.fail(v, "invalid type: "+kindName(v)+", expected "+expected, "expected %s, found %s", ours, found)
}

// read checks v and returns it as it is meant. The value is changed in place.
func (c *Reader) read(s *Shape, at spot, v *document.Value) error {
	if s.Flat {
		at.flat = true
	}
	if s.Read != nil {
		return s.Read(c, at, v)
	}
	if err := c.form(s, at, v); err != nil || s.Check == nil {
		return err
	}
	return s.Check(c, at, v)
}

func (c *Reader) form(s *Shape, at spot, v *document.Value) error {
	switch s.Form {
	case Bool:
		if v.Kind != document.KindBool {
			return at.wrongType(v, "a boolean", "true or false")
		}
	case String:
		if v.Kind == document.KindTime { // as in Codex
			v.Kind = document.KindString
		}
		if v.Kind != document.KindString {
			return at.wrongType(v, "a string", "a string")
		}
	case Integer:
		return integer(s, at, v)
	case Path, RawPath:
		if v.Kind != document.KindString {
			return at.wrongType(v, "path string", "a path")
		}
		if s.Form == Path {
			v.Text = c.absolute(v.Text)
		}
	case Enum:
		return c.enum(s, at, v)
	case List:
		return c.list(s, at, v)
	case Map:
		return c.mapping(s, at, v)
	case Table:
		return c.table(s, at, v)
	case OneOf:
		return c.oneOf(s, at, v)
	case Tagged:
		return c.tagged(s, at, v)
	case Any:
	}
	return nil
}

func integer(s *Shape, at spot, v *document.Value) error {
	if v.Kind != document.KindInteger {
		return at.wrongType(v, s.Rust, fmt.Sprintf("an integer from 0 to %d", s.Max))
	}
	n, err := v.Integer()
	if err != nil || n < 0 || n > s.Max {
		return at.fail(v, fmt.Sprintf("invalid value: integer `%d`, expected %s", n, s.Rust), "expected an integer from 0 to %d, found %s", s.Max, v.Text)
	}
	return nil
}

func (c *Reader) list(s *Shape, at spot, v *document.Value) error {
	if v.Kind != document.KindArray {
		return at.wrongType(v, "a sequence", "an array")
	}
	for i, item := range v.Items {
		if err := c.read(s.Item, at.item(i), item); err != nil {
			return err
		}
	}
	return nil
}

func (c *Reader) mapping(s *Shape, at spot, v *document.Value) error {
	if v.Kind != document.KindTable {
		expected := "a map"
		if s.Rust != "" {
			expected = s.Rust
		}
		return at.wrongType(v, expected, "a table")
	}
	for i, name := range v.Table.Keys {
		if err := c.read(s.Item, at.down(name), v.Table.Vals[i]); err != nil {
			return err
		}
	}
	return nil
}

func (c *Reader) table(s *Shape, at spot, v *document.Value) error {
	if v.Kind == document.KindArray && !s.open() && !s.NoList {
		return c.sequence(s, at, v)
	}
	if v.Kind != document.KindTable {
		return at.wrongType(v, s.Rust, "a table")
	}
	if err := c.fields(s, at, v); err != nil {
		return err
	}
	for _, f := range s.Fields {
		if f.Required && !v.Table.Has(f.Name) {
			return at.fail(v, "missing field `"+f.Name+"`", "%q is missing: %s", f.Name, f.Meaning)
		}
	}
	return nil
}

// sequence reads a table that is written as a list of all its values, in the order of
// its fields, which Codex allows.
func (c *Reader) sequence(s *Shape, at spot, v *document.Value) error {
	fields := s.Fields
	table := &document.Table{}
	for i, item := range v.Items[:min(len(v.Items), len(fields))] {
		if err := c.read(fields[i].Shape, at.item(i), item); err != nil {
			return err
		}
		table.Add(fields[i].Name, item.At, item)
	}
	switch n := len(v.Items); {
	case n > len(fields):
		return at.fail(v, fmt.Sprintf("invalid length %d, expected fewer elements in array", n), "expected a table, found an array of %d elements", n)
	case n < len(fields) && !s.Lax:
		elements := fmt.Sprintf("%d elements", len(fields))
		if len(fields) == 1 {
			elements = "1 element"
		}
		return at.fail(v, fmt.Sprintf("invalid length %d, expected %s with %s", n, s.Rust, elements), "expected a table, found an array")
	}
	v.Kind, v.Items, v.Table = document.KindTable, nil, table
	return nil
}

// open reports whether Codex reads other keys of the table than its own fields; it
// then says other things about it.
func (s *Shape) open() bool {
	return s.Flat || s.Rest != nil || slices.ContainsFunc(s.Fields, func(f Field) bool { return f.Unnamed })
}

func (c *Reader) fields(s *Shape, at spot, v *document.Value) error {
	t := v.Table
	for i, name := range t.Keys {
		f := s.FieldNamed(name)
		if f == nil && s.Rest != nil {
			f = &Field{Name: name, Shape: s.Rest, Unnamed: true}
		}
		if f == nil {
			if err := c.unknown(s, at, v, i); err != nil {
				return err
			}
			continue
		}
		if f.Name != name && t.Has(f.Name) || f.aliased(t.Keys[:i]) {
			return &document.Error{
				At: t.At[i], Key: at.down(name).key, Codex: at.says("duplicate field `" + duplicateName(f) + "`"),
				Problem: fmt.Sprintf("it is another name for %q, which is there too: keep one of them", f.Name),
			}
		}
		below := at
		below.flat = at.flat || f.Unnamed
		err := c.read(f.Shape, below.down(name), t.Vals[i])
		if err != nil && c.all && at.key == "" {
			c.faults = append(c.faults, err)
			continue
		}
		if err != nil {
			return err
		}
	}
	rename(s, v)
	return nil
}

// aliased reports whether one of keys is another name of the field.
func (f *Field) aliased(keys []string) bool {
	return len(f.Aliases) > 0 && slices.ContainsFunc(keys, func(k string) bool { return k == f.Name || slices.Contains(f.Aliases, k) })
}

// duplicateName is the field Codex's message about a key that is there twice names.
func duplicateName(f *Field) string {
	if f.JSON == "network" {
		return "network_proxy"
	}
	return f.Name
}

// rename gives keys that are aliases their own names.
func rename(s *Shape, v *document.Value) {
	for i, name := range v.Table.Keys {
		if f := s.FieldNamed(name); f != nil && f.Name != name {
			v.Table.Rename(i, f.Name)
		}
	}
}

func (c *Reader) unknown(s *Shape, at spot, v *document.Value, i int) error {
	if !s.Closed && len(c.warnings) >= maxWarnings {
		return nil // and no time is spent on hints
	}
	name := v.Table.Keys[i]
	where := "[" + at.key + "]"
	if at.key == "" {
		where = "requirements.toml"
	}
	hint := document.Among("keys", name, Names(s.Fields))
	if at.key == "" { // which has too many to list
		hint = ""
		if meant, ok := document.Nearest(name, Names(s.Fields)); ok {
			hint = fmt.Sprintf("; did you mean %q?", meant)
		}
	}
	if s.Closed {
		return &document.Error{
			At: v.Table.At[i], Key: at.key, Problem: fmt.Sprintf("unknown key %s in %s%s", document.Quoted(name), where, hint),
			Codex: at.says("unknown field `" + name + "`, expected " + alternatives(Names(s.Fields))),
		}
	}
	c.warn(v.Table.At[i], at.down(name).key, "unknown key %s in %s is ignored, by Codex too%s", document.Quoted(name), where, hint)
	return nil
}

// alternatives lists names as Codex's messages do.
func alternatives(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = "`" + n + "`"
	}
	switch len(quoted) {
	case 0, 1:
		return strings.Join(quoted, "")
	case 2:
		return quoted[0] + " or " + quoted[1]
	}
	return "one of " + strings.Join(quoted, ", ")
}

func (c *Reader) enum(s *Shape, at spot, v *document.Value) error {
	name := v.Text
	var inner *document.Value
	switch v.Kind {
	case document.KindString:
	case document.KindTable:
		if n := len(v.Table.Keys); n != 1 {
			if s.Buffered {
				return at.fail(v, "invalid value: map, expected map with a single key", "expected one of %s", strings.Join(Names(s.Variants), ", "))
			}
			many := "more than 1 element"
			if n == 0 {
				many = "found 0 elements"
			}
			return at.fail(v, "wanted exactly 1 element, "+many, "expected one of %s, or a table with exactly one key", strings.Join(Names(s.Variants), ", "))
		}
		name, inner = v.Table.Keys[0], v.Table.Vals[0]
	case document.KindArray, document.KindInteger, document.KindFloat, document.KindBool, document.KindTime:
		if s.Buffered {
			return at.wrongType(v, "string or map", "one of "+strings.Join(Names(s.Variants), ", "))
		}
		return at.fail(v, "invalid type: unit variant, expected string only", "expected one of %s, found %s", strings.Join(Names(s.Variants), ", "), document.Found(v))
	}
	variant := named(s.Variants, name)
	switch {
	case variant == nil:
		all := Names(s.Variants)
		return at.fail(v, "unknown variant `"+name+"`, expected "+alternatives(all), "unknown value %s%s", document.Quoted(name), document.Among("one of", name, all))
	case s.Buffered && inner != nil:
		return at.wrongType(inner, "unit", "nothing: write "+document.Quoted(name)+" alone")
	case variant.Shape != nil && inner == nil:
		return at.fail(v, "invalid type: unit variant, expected newtype variant", "%q needs a table: { %s = { ... } }", name, name)
	case variant.Shape != nil:
		at.key = document.Join(at.key, name)
		return c.read(variant.Shape, at, inner)
	}
	if variant.As != "" {
		name = variant.As
	}
	v.Kind, v.Text, v.Table = document.KindString, name, nil
	return nil
}

// oneOf reads the first variant that fits. Codex does not say why none does; the
// nearest attempt does.
func (c *Reader) oneOf(s *Shape, at spot, v *document.Value) error {
	var nearest error
	for _, variant := range s.Variants {
		attempt := &Reader{source: c.source, dir: c.dir, home: c.home}
		err := attempt.read(variant.Shape, at, v)
		if err == nil {
			c.warnings = append(c.warnings, attempt.warnings...)
			return nil
		}
		if nearest == nil || variant.Shape.fits(v) {
			nearest = err
		}
	}
	var e *document.Error
	if errors.As(nearest, &e) {
		e.Codex = at.says("data did not match any variant of untagged enum " + s.Rust)
	}
	return nearest
}

// fits reports whether v is at least of the right kind.
func (s *Shape) fits(v *document.Value) bool {
	switch s.Form {
	case Table:
		return v.Kind == document.KindTable && slices.ContainsFunc(v.Table.Keys, func(k string) bool { return s.FieldNamed(k) != nil })
	case Map:
		return v.Kind == document.KindTable
	case List:
		return v.Kind == document.KindArray
	case Bool, String, Integer, Path, RawPath, Enum, OneOf, Tagged, Any:
		return v.Kind == document.KindString
	}
	return false
}

func (c *Reader) tagged(s *Shape, at spot, v *document.Value) error {
	if v.Kind != document.KindTable {
		return at.wrongType(v, "internally tagged enum "+s.Rust, "a table")
	}
	tag := v.Table.Get(s.Tag)
	all := Names(s.Variants)
	if tag == nil {
		return at.fail(v, "missing field `"+s.Tag+"`", "%q is missing (one of: %s)", s.Tag, strings.Join(all, ", "))
	}
	if tag.Kind != document.KindString {
		return at.down(s.Tag).wrongType(tag, "variant identifier", "a string")
	}
	variant := named(s.Variants, tag.Text)
	if variant == nil {
		return at.fail(tag, "unknown variant `"+tag.Text+"`, expected "+alternatives(all), "unknown %s %s%s", s.Tag, document.Quoted(tag.Text), document.Among("one of", tag.Text, all))
	}
	return c.read(variant.Shape, at, v)
}
