// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// kind is the type of a TOML value.
type kind uint8

const (
	kindTable kind = iota
	kindArray
	kindString
	kindInteger
	kindFloat
	kindBool
	kindTime
)

// String says the kind as part of a sentence.
func (k kind) String() string {
	return [...]string{"a table", "an array", "a string", "an integer", "a float", "a boolean", "a date or time"}[k]
}

// value is one value of a document, with the line it begins on. An ordinary TOML
// decoder forgets lines, and a requirement must be traceable to the one that
// says it.
type value struct {
	kind  kind
	line  int32
	text  string // of a string: what it says; of other scalars: as written
	items []*value
	table *table // of a table, never nil
}

func newTable(line int) *value { return &value{kind: kindTable, line: int32(line), table: &table{}} }

// table keeps keys in the order of the document.
type table struct {
	keys  []string
	lines []int32 // of the keys
	vals  []*value
	index map[string]int // only of large tables
}

const largeTable = 16

func (t *table) find(key string) int {
	if t.index != nil {
		if i, ok := t.index[key]; ok {
			return i
		}
		return -1
	}
	return slices.Index(t.keys, key)
}

func (t *table) get(key string) *value {
	if i := t.find(key); i >= 0 {
		return t.vals[i]
	}
	return nil
}

func (t *table) add(key string, line int, v *value) {
	t.keys, t.lines, t.vals = append(t.keys, key), append(t.lines, int32(line)), append(t.vals, v)
	switch {
	case t.index != nil:
		t.index[key] = len(t.keys) - 1
	case len(t.keys) > largeTable:
		t.index = make(map[string]int, 2*largeTable)
		for i, k := range t.keys {
			t.index[k] = i
		}
	}
}

// readDocument parses TOML. Of the top-level keys in whole it returns the values,
// of all others only names and lines: they are Codex's.
func readDocument(data []byte, whole ...string) (*value, error) {
	if err := checkText(data); err != nil {
		return nil, err
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // Codex's reader skips it too
	r := reader{whole: whole, root: newTable(1)}
	// The decoder knows all that makes a document invalid (a key twice, a table
	// that was closed); the reader sees one expression at a time. Into nothing, it
	// takes a tenth of the time it takes into a map, and checks the same but for odd
	// numbers and dates, of which none is read.
	var nothing struct{}
	if err := toml.Unmarshal(data, &nothing); err != nil {
		// Except that it reports a key that is twice in an inline table at the line
		// where the outermost value begins, which may be thousands of lines away.
		var twice *lineError
		if errors.As(r.read(data), &twice) {
			return nil, twice
		}
		return nil, tomlError(err)
	}
	if err := r.read(data); err != nil {
		return nil, err
	}
	return r.root, nil
}

// checkText finds what is not text before the TOML reader complains about it in
// a way that does not help.
func checkText(data []byte) error {
	if int64(len(data)) > math.MaxInt32 {
		return &lineError{problem: fmt.Sprintf("%d bytes are too many for a TOML document", len(data))}
	}
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return &lineError{line: 1, problem: "the file is UTF-16; save it as UTF-8"}
	}
	if utf8.Valid(data) {
		return nil
	}
	line := 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			return &lineError{line: line, problem: fmt.Sprintf("byte 0x%02x is not UTF-8; save the file as UTF-8", data[0])}
		}
		if r == '\n' {
			line++
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
		return &lineError{line: row, key: strings.Join(bad.Key(), "."), problem: fmt.Sprintf("not valid TOML: %s (column %d)", problem, column)}
	}
	return &lineError{problem: "not valid TOML: " + strings.TrimPrefix(err.Error(), "toml: ")}
}

// reader builds the values of a document. What it says of an invalid one does not
// count, unless it is a lineError.
type reader struct {
	parser unstable.Parser
	whole  []string
	ends   []int // offsets of the line ends
	root   *value
	at     *value // the table that keys now go to; nil: one that nobody asked for
	line   int    // of the last node that had a position
}

func (r *reader) read(data []byte) error {
	for i, c := range data {
		if c == '\n' {
			r.ends = append(r.ends, i)
		}
	}
	r.parser.Reset(data)
	r.at = r.root
	for r.parser.NextExpression() {
		if err := r.expression(r.parser.Expression()); err != nil {
			return err
		}
	}
	return r.parser.Error()
}

func (r *reader) lineOf(n *unstable.Node) int {
	if n.Raw.Length > 0 {
		r.line = 1 + sort.SearchInts(r.ends, int(n.Raw.Offset))
	}
	return r.line
}

var errDocument = errors.New("internal: the two readings of the document disagree")

func (r *reader) expression(n *unstable.Node) error {
	switch n.Kind {
	case unstable.KeyValue:
		if r.at == nil {
			return nil
		}
		return r.keyValue(r.at, n)
	case unstable.Table, unstable.ArrayTable:
		keys, lines := r.keys(n)
		if !r.wanted(keys[0], lines[0]) {
			r.at = nil
			return nil
		}
		last := len(keys) - 1
		parent, err := descend(r.root, keys[:last], lines)
		if err != nil {
			return err
		}
		if n.Kind == unstable.Table {
			r.at, err = descend(parent, keys[last:], lines[last:])
			return err
		}
		array := parent.table.get(keys[last])
		if array == nil {
			array = &value{kind: kindArray, line: int32(lines[last])}
			parent.table.add(keys[last], lines[last], array)
		}
		if array.kind != kindArray {
			return errDocument
		}
		r.at = newTable(lines[last])
		array.items = append(array.items, r.at)
	}
	return nil
}

// wanted reports whether a top-level key was asked for, and notes its name if not.
func (r *reader) wanted(key string, line int) bool {
	if slices.Contains(r.whole, key) {
		return true
	}
	if r.root.table.find(key) < 0 {
		r.root.table.add(key, line, nil)
	}
	return false
}

func (r *reader) keys(n *unstable.Node) (keys []string, lines []int) {
	for it := n.Key(); it.Next(); {
		keys = append(keys, string(it.Node().Data))
		lines = append(lines, r.lineOf(it.Node()))
	}
	return keys, lines
}

func (r *reader) keyValue(into *value, n *unstable.Node) error {
	keys, lines := r.keys(n)
	if into == r.root && !r.wanted(keys[0], lines[0]) {
		return nil
	}
	last := len(keys) - 1
	parent, err := descend(into, keys[:last], lines)
	if err != nil {
		return err
	}
	if parent.table.find(keys[last]) >= 0 {
		return &lineError{line: lines[last], key: strings.Join(keys, "."), problem: "not valid TOML: the key is already defined"}
	}
	r.line = lines[last]
	v, err := r.value(n.Value())
	if err != nil {
		return err
	}
	parent.table.add(keys[last], lines[last], v)
	return nil
}

// descend goes down keys, and makes the tables that do not exist yet. Of an array
// of tables, the last one is meant.
func descend(at *value, keys []string, lines []int) (*value, error) {
	for i, key := range keys {
		next := at.table.get(key)
		if next == nil {
			next = newTable(lines[i])
			at.table.add(key, lines[i], next)
		}
		if next.kind == kindArray && len(next.items) > 0 {
			next = next.items[len(next.items)-1]
		}
		if next.kind != kindTable {
			return nil, errDocument
		}
		at = next
	}
	return at, nil
}

func (r *reader) value(n *unstable.Node) (*value, error) {
	v := &value{line: int32(r.lineOf(n))}
	switch n.Kind {
	case unstable.String:
		v.kind, v.text = kindString, string(n.Data)
	case unstable.Integer:
		v.kind, v.text = kindInteger, string(n.Data)
	case unstable.Float:
		v.kind, v.text = kindFloat, string(n.Data)
	case unstable.Bool:
		v.kind, v.text = kindBool, string(n.Data)
	case unstable.LocalDate, unstable.LocalTime, unstable.LocalDateTime, unstable.DateTime:
		v.kind, v.text = kindTime, string(n.Data)
	case unstable.Array:
		v.kind = kindArray
		for it := n.Children(); it.Next(); {
			item, err := r.value(it.Node())
			if err != nil {
				return nil, err
			}
			v.items = append(v.items, item)
		}
	case unstable.InlineTable:
		v.kind, v.table = kindTable, &table{}
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
