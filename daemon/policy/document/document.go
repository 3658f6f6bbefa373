// SPDX-License-Identifier: Apache-2.0

// Package document reads TOML so that every value knows its place, and says what is
// wrong with one in a sentence that helps. It is pure, like all of policy.
package document

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Kind is the type of a TOML value.
type Kind uint8

// The kinds there are.
const (
	KindTable Kind = iota
	KindArray
	KindString
	KindInteger
	KindFloat
	KindBool
	KindTime
)

// String says the kind as part of a sentence.
func (k Kind) String() string {
	return [...]string{"a table", "an array", "a string", "an integer", "a float", "a boolean", "a date or time"}[k]
}

// Position is a place in a document. Both count from 1; 0 is not known. A column
// counts bytes, as compilers do.
type Position struct{ Line, Column int32 }

// Value is one value of a document, with the place where it begins. An ordinary
// TOML decoder forgets places, and a requirement must be traceable to the one that
// says it.
type Value struct {
	Kind Kind
	// Layer is free for who combines documents: which of them the value is from.
	Layer uint16
	// At is where the value begins; of a list or a table, where its name does.
	At Position
	// Text is, of a string, what it says; of other scalars, how it is written.
	Text string
	// Items are the elements of an array.
	Items []*Value
	// Table holds what a table says, and is nil of all else.
	Table *Table
}

// NewTable returns an empty table that begins at a place.
func NewTable(at Position) *Value { return &Value{Kind: KindTable, At: at, Table: &Table{}} }

// Table keeps keys in the order of the document. Its slices are of one length.
type Table struct {
	Keys  []string
	At    []Position // of the keys
	Vals  []*Value
	index map[string]int // only of large tables
}

// Integer returns what an integer says, in any form TOML has for it: 0x1bb, 8_080.
func (v *Value) Integer() (int64, error) {
	digits := strings.TrimLeft(v.Text, "+-")
	octal := len(digits) > 1 && digits[0] == '0' && (digits[1] >= '0' && digits[1] <= '9' || digits[1] == '_')
	n, err := strconv.ParseInt(v.Text, 0, 64)
	if err != nil || octal {
		return 0, fmt.Errorf("%s is no integer of at most 64 bits", Quoted(v.Text))
	}
	return n, nil
}

// Float returns what a float says.
func (v *Value) Float() (float64, error) {
	return strconv.ParseFloat(strings.ReplaceAll(v.Text, "_", ""), 64)
}

// ItemsOf returns the elements of a list that may not be there.
func (v *Value) ItemsOf() []*Value {
	if v == nil {
		return nil
	}
	return v.Items
}

const largeTable = 16

func (t *Table) find(key string) int {
	if t.index != nil {
		if i, ok := t.index[key]; ok {
			return i
		}
		return -1
	}
	return slices.Index(t.Keys, key)
}

// Get returns the value of a key, or nil.
func (t *Table) Get(key string) *Value {
	if i := t.find(key); i >= 0 {
		return t.Vals[i]
	}
	return nil
}

// Has reports whether the table has a key.
func (t *Table) Has(key string) bool { return t.find(key) >= 0 }

// Add adds a key that is not there yet.
func (t *Table) Add(key string, at Position, v *Value) {
	t.Keys, t.At, t.Vals = append(t.Keys, key), append(t.At, at), append(t.Vals, v)
	switch {
	case t.index != nil:
		t.index[key] = len(t.Keys) - 1
	case len(t.Keys) > largeTable:
		t.index = make(map[string]int, 2*largeTable)
		for i, k := range t.Keys {
			t.index[k] = i
		}
	}
}

// Read parses TOML. Errors are *Error.
func Read(data []byte) (*Value, error) {
	if err := checkText(data); err != nil {
		return nil, err
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // Codex's reader skips it too
	r := reader{root: NewTable(Position{1, 1})}
	// The decoder knows all that makes a document invalid (a key twice, a table
	// that was closed); the reader sees one expression at a time. Into nothing, it
	// takes a tenth of the time it takes into a map, and checks the same but for odd
	// numbers and dates, which the reader checks.
	// But it must not see a document that is too deep, on which its stack ends, nor one
	// with very many keys in one table, among which it looks for each one by one.
	readError := r.read(data)
	var ours *Error
	if errors.As(readError, &ours) && ours.tooMuch {
		return nil, ours
	}
	var nothing struct{}
	if err := toml.Unmarshal(data, &nothing); err != nil {
		// It reports a key that is twice in an inline table at the line where the
		// outermost value begins, which may be thousands of lines away.
		if ours != nil {
			return nil, ours
		}
		return nil, tomlError(err)
	}
	if readError != nil {
		return nil, readError
	}
	return r.root, nil
}

// maxDepth is how many tables and lists may lie in one another. No requirements need
// a tenth of it, and what walks through a document may be recursive.
const maxDepth = 200

// deeper notes that what follows lies n levels deeper.
func (r *reader) deeper(n int) error {
	if r.depth += n; r.depth > maxDepth {
		return &Error{At: r.at, Problem: fmt.Sprintf("nested more than %d levels deep", maxDepth), tooMuch: true}
	}
	return nil
}

// maxEffort is how often a key may be compared with one beside it, all in all:
// 20,000 keys in one table, or in many tables far more.
const maxEffort = 200_000_000

// among notes that a key is looked for in a table.
func (r *reader) among(t *Table) error {
	if r.effort += len(t.Keys); r.effort > maxEffort {
		return &Error{At: r.at, Problem: "too many keys in one table", tooMuch: true}
	}
	return nil
}

// checkText finds what is not text before the TOML reader complains about it in
// a way that does not help.
func checkText(data []byte) error {
	if int64(len(data)) > math.MaxInt32 {
		return &Error{Problem: fmt.Sprintf("%d bytes are too many for a TOML document", len(data))}
	}
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return &Error{At: Position{1, 1}, Problem: "the file is UTF-16; save it as UTF-8"}
	}
	if utf8.Valid(data) {
		return nil
	}
	at := Position{1, 1}
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			return &Error{At: at, Problem: fmt.Sprintf("byte 0x%02x is not UTF-8; save the file as UTF-8", data[0])}
		}
		at.Column += int32(size)
		if r == '\n' {
			at = Position{at.Line + 1, 1}
		}
		data = data[size:]
	}
	return nil
}

func tomlError(err error) error {
	var bad *toml.DecodeError
	if errors.As(err, &bad) {
		row, column := bad.Position()
		problem := strings.TrimPrefix(bad.Error(), "toml: ")
		return &Error{At: Position{int32(row), int32(column)}, Key: strings.Join(bad.Key(), "."), Problem: "not valid TOML: " + problem}
	}
	return &Error{Problem: "not valid TOML: " + strings.TrimPrefix(err.Error(), "toml: ")}
}

// reader builds the values of a document. What it says of an invalid one does not
// count, unless it is an *Error.
type reader struct {
	parser unstable.Parser
	ends   []int // offsets of the line ends
	root   *Value
	table  *Value   // that keys now go to
	at     Position // of the last node that had one
	base   int      // how deep table lies
	depth  int      // how deep the value lies that is read
	effort int
}

func (r *reader) read(data []byte) error {
	for i, c := range data {
		if c == '\n' {
			r.ends = append(r.ends, i)
		}
	}
	r.parser.Reset(data)
	r.table = r.root
	for r.parser.NextExpression() {
		if err := r.expression(r.parser.Expression()); err != nil {
			return err
		}
	}
	return r.parser.Error()
}

func (r *reader) position(n *unstable.Node) Position {
	if n.Raw.Length > 0 {
		line := sort.SearchInts(r.ends, int(n.Raw.Offset))
		begin := 0
		if line > 0 {
			begin = r.ends[line-1] + 1
		}
		r.at = Position{int32(1 + line), int32(1 + int(n.Raw.Offset) - begin)}
	}
	return r.at
}

var errDocument = errors.New("internal: the two readings of the document disagree")

func (r *reader) expression(n *unstable.Node) error {
	switch n.Kind {
	case unstable.KeyValue:
		r.depth = r.base
		return r.keyValue(r.table, n)
	case unstable.Table, unstable.ArrayTable:
		keys, places := r.keys(n)
		r.base, r.depth = len(keys), 0
		if err := r.deeper(len(keys)); err != nil {
			return err
		}
		last := len(keys) - 1
		parent, err := r.descend(r.root, keys[:last], places)
		if err != nil {
			return err
		}
		if n.Kind == unstable.Table {
			r.table, err = r.descend(parent, keys[last:], places[last:])
			return err
		}
		array := parent.Table.Get(keys[last])
		if array == nil {
			array = &Value{Kind: KindArray, At: places[last]}
			parent.Table.Add(keys[last], places[last], array)
		}
		if array.Kind != KindArray {
			return errDocument
		}
		r.table = NewTable(places[last])
		array.Items = append(array.Items, r.table)
	}
	return nil
}

func (r *reader) keys(n *unstable.Node) (keys []string, places []Position) {
	for it := n.Key(); it.Next(); {
		keys = append(keys, string(it.Node().Data))
		places = append(places, r.position(it.Node()))
	}
	return keys, places
}

func (r *reader) keyValue(into *Value, n *unstable.Node) error {
	keys, places := r.keys(n)
	if err := r.deeper(len(keys)); err != nil {
		return err
	}
	defer func() { r.depth -= len(keys) }()
	last := len(keys) - 1
	parent, err := r.descend(into, keys[:last], places)
	if err != nil {
		return err
	}
	if err := r.among(parent.Table); err != nil {
		return err
	}
	if parent.Table.Has(keys[last]) {
		return &Error{At: places[last], Key: strings.Join(keys, "."), Problem: "not valid TOML: the key is already defined"}
	}
	r.at = places[last]
	v, err := r.value(n.Value())
	if err != nil {
		return err
	}
	parent.Table.Add(keys[last], places[last], v)
	return nil
}

// descend goes down keys, and makes the tables that do not exist yet. Of an array
// of tables, the last one is meant.
func (r *reader) descend(from *Value, keys []string, places []Position) (*Value, error) {
	for i, key := range keys {
		if err := r.among(from.Table); err != nil {
			return nil, err
		}
		next := from.Table.Get(key)
		if next == nil {
			next = NewTable(places[i])
			from.Table.Add(key, places[i], next)
		}
		if next.Kind == KindArray && len(next.Items) > 0 {
			next = next.Items[len(next.Items)-1]
		}
		if next.Kind != KindTable {
			return nil, errDocument
		}
		from = next
	}
	return from, nil
}

func (r *reader) value(n *unstable.Node) (*Value, error) {
	v := &Value{At: r.position(n)}
	switch n.Kind {
	case unstable.String:
		v.Kind, v.Text = KindString, string(n.Data)
	case unstable.Integer:
		v.Kind, v.Text = KindInteger, string(n.Data)
		if _, err := v.Integer(); err != nil {
			return nil, &Error{At: v.At, Problem: "not valid TOML: " + err.Error()}
		}
	case unstable.Float:
		v.Kind, v.Text = KindFloat, string(n.Data)
		if _, err := v.Float(); err != nil {
			return nil, &Error{At: v.At, Problem: "not valid TOML: " + Quoted(v.Text) + " is no number of 64 bits"}
		}
	case unstable.Bool:
		v.Kind, v.Text = KindBool, string(n.Data)
	case unstable.LocalDate, unstable.LocalTime, unstable.LocalDateTime, unstable.DateTime:
		v.Kind, v.Text = KindTime, string(n.Data)
		var date struct{ A any }
		if err := toml.Unmarshal([]byte("A="+v.Text), &date); err != nil {
			return nil, &Error{At: v.At, Problem: "not valid TOML: " + Quoted(v.Text) + " is no date or time"}
		}
	case unstable.Array:
		v.Kind = KindArray
		if err := r.deeper(1); err != nil {
			return nil, err
		}
		defer func() { r.depth-- }()
		for it := n.Children(); it.Next(); {
			item, err := r.value(it.Node())
			if err != nil {
				return nil, err
			}
			v.Items = append(v.Items, item)
		}
	case unstable.InlineTable:
		v.Kind, v.Table = KindTable, &Table{}
		for it := n.Children(); it.Next(); {
			if err := r.keyValue(v, it.Node()); err != nil {
				return nil, err
			}
		}
	default:
		return nil, fmt.Errorf("%w: a value of kind %s", errDocument, n.Kind)
	}
	return v, nil
}

// Rename gives the key at an index another name.
func (t *Table) Rename(i int, name string) {
	if t.index != nil {
		delete(t.index, t.Keys[i])
		t.index[name] = i
	}
	t.Keys[i] = name
}

// Remove removes a key, if it is there.
func (t *Table) Remove(key string) {
	i := t.find(key)
	if i < 0 {
		return
	}
	t.Keys, t.At, t.Vals = slices.Delete(t.Keys, i, i+1), slices.Delete(t.At, i, i+1), slices.Delete(t.Vals, i, i+1)
	if t.index == nil {
		return
	}
	delete(t.index, key)
	for j := i; j < len(t.Keys); j++ {
		t.index[t.Keys[j]] = j
	}
}

// Set gives a key a value, whether it is there or not.
func (t *Table) Set(key string, at Position, v *Value) {
	if i := t.find(key); i >= 0 {
		t.At[i], t.Vals[i] = at, v
		return
	}
	t.Add(key, at, v)
}
