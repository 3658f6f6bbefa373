// SPDX-License-Identifier: Apache-2.0

package document

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Fail makes the error for the value of key.
func Fail(v *Value, key, format string, args ...any) error {
	return &Error{At: v.At, Key: key, Problem: fmt.Sprintf(format, args...)}
}

// Element names an element of an array.
func Element(key string, i int) string { return key + "[" + strconv.Itoa(i) + "]" }

// Found describes a value for a message about its type.
func Found(v *Value) string {
	switch v.Kind {
	case KindTable, KindArray:
		return v.Kind.String()
	case KindString:
		return "the string " + Quoted(v.Text)
	case KindInteger, KindFloat, KindBool, KindTime:
		return v.Kind.String() + " (" + v.Text + ")"
	}
	return v.Kind.String()
}

// Quoted quotes a bad value, the beginning of it if it is long.
func Quoted(s string) string {
	const longest = 80
	if len(s) > longest {
		return strconv.Quote(s[:longest]) + "..."
	}
	return strconv.Quote(s)
}

// TableOf checks that v is a table without any key but known.
func TableOf(key string, v *Value, known ...string) (*Table, error) {
	if v.Kind != KindTable {
		return nil, Fail(v, key, "expected a table, found %s", Found(v))
	}
	for i, k := range v.Table.Keys {
		if !slices.Contains(known, k) {
			return nil, &Error{At: v.Table.At[i], Problem: fmt.Sprintf("unknown key %s in [%s]%s", Quoted(k), key, Among("keys", k, known))}
		}
	}
	return v.Table, nil
}

// Among says what would have been possible, and what is nearest to it.
func Among(what, bad string, possible []string) string {
	list := strings.Join(possible, ", ")
	if meant, ok := Nearest(bad, possible); ok {
		return fmt.Sprintf("; did you mean %q? (%s: %s)", meant, what, list)
	}
	return fmt.Sprintf(" (%s: %s)", what, list)
}

// StringOf reads a string.
func StringOf(key string, v *Value) (string, error) {
	if v.Kind != KindString {
		return "", Fail(v, key, "expected a string, found %s", Found(v))
	}
	return v.Text, nil
}

// ArrayOf reads an array.
func ArrayOf(key string, v *Value) ([]*Value, error) {
	if v.Kind != KindArray {
		return nil, Fail(v, key, "expected an array, found %s", Found(v))
	}
	return v.Items, nil
}

// StringsOf reads an array of strings.
func StringsOf(key string, v *Value) ([]string, error) {
	items, err := ArrayOf(key, v)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(items))
	for i, item := range items {
		if out[i], err = StringOf(Element(key, i), item); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// BoolOf reads a boolean.
func BoolOf(key string, v *Value) (bool, error) {
	if v.Kind != KindBool {
		return false, Fail(v, key, "expected true or false, found %s", Found(v))
	}
	return v.Text == "true", nil
}

// Enum reads one of the words that possible are written as. what names them.
func Enum[T fmt.Stringer](key string, v *Value, what string, possible ...T) (T, error) {
	var none T
	word, err := StringOf(key, v)
	if err != nil {
		return none, err
	}
	words := make([]string, len(possible))
	for i, p := range possible {
		if words[i] = p.String(); words[i] == word {
			return p, nil
		}
	}
	return none, Fail(v, key, "unknown %s %s%s", what, Quoted(word), Among("one of", word, words))
}

// Required reads key of t, which must be there.
func Required(t *Table, in *Value, key, name string) (*Value, error) {
	if v := t.Get(name); v != nil {
		return v, nil
	}
	return nil, Fail(in, key, "%q is missing", name)
}

// Join makes the dotted key of a name below a key, which may be empty. A name that
// is not bare is quoted.
func Join(key, name string) string {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}) {
		name = strconv.Quote(name)
	}
	if key == "" {
		return name
	}
	return key + "." + name
}

// SplitKey splits a dotted key as TOML writes it.
func SplitKey(dotted string) ([]string, error) {
	if strings.ContainsAny(dotted, "\r\n=#[]") {
		return nil, errors.New("not a dotted key")
	}
	doc, err := Read([]byte(dotted + " = 0"))
	if err != nil {
		return nil, errors.New("not a dotted key; a name that is not bare is quoted")
	}
	var names []string
	for v := doc; v.Kind == KindTable && len(v.Table.Keys) == 1; v = v.Table.Vals[0] {
		names = append(names, v.Table.Keys[0])
	}
	return names, nil
}
