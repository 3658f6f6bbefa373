// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// fail makes the error for the value of key.
func fail(v *value, key, format string, args ...any) error {
	return &lineError{line: int(v.line), key: key, problem: fmt.Sprintf(format, args...)}
}

// at names an element of an array.
func at(key string, i int) string { return key + "[" + strconv.Itoa(i) + "]" }

// found describes a value for a message about its type.
func found(v *value) string {
	switch v.kind {
	case kindTable, kindArray:
		return v.kind.String()
	case kindString:
		return "the string " + quoted(v.text)
	case kindInteger, kindFloat, kindBool, kindTime:
		return v.kind.String() + " (" + v.text + ")"
	}
	return v.kind.String()
}

// quoted quotes a bad value, the beginning of it if it is long.
func quoted(s string) string {
	const longest = 80
	if len(s) > longest {
		return strconv.Quote(s[:longest]) + "..."
	}
	return strconv.Quote(s)
}

// tableOf checks that v is a table without any key but known.
func tableOf(key string, v *value, known ...string) (*table, error) {
	if v.kind != kindTable {
		return nil, fail(v, key, "expected a table, found %s", found(v))
	}
	for i, k := range v.table.keys {
		if !slices.Contains(known, k) {
			return nil, &lineError{line: int(v.table.lines[i]), problem: fmt.Sprintf("unknown key %s in [%s]%s", quoted(k), key, among("keys", k, known))}
		}
	}
	return v.table, nil
}

// among says what would have been possible, and what is nearest to it.
func among(what, bad string, possible []string) string {
	list := strings.Join(possible, ", ")
	if meant, ok := nearest(bad, possible); ok {
		return fmt.Sprintf("; did you mean %q? (%s: %s)", meant, what, list)
	}
	return fmt.Sprintf(" (%s: %s)", what, list)
}

func stringOf(key string, v *value) (string, error) {
	if v.kind != kindString {
		return "", fail(v, key, "expected a string, found %s", found(v))
	}
	return v.text, nil
}

func arrayOf(key string, v *value) ([]*value, error) {
	if v.kind != kindArray {
		return nil, fail(v, key, "expected an array, found %s", found(v))
	}
	return v.items, nil
}

func stringsOf(key string, v *value) ([]string, error) {
	items, err := arrayOf(key, v)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(items))
	for i, item := range items {
		if out[i], err = stringOf(at(key, i), item); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func boolOf(key string, v *value) (bool, error) {
	if v.kind != kindBool {
		return false, fail(v, key, "expected true or false, found %s", found(v))
	}
	return v.text == "true", nil
}

// enum reads one of the words that possible are written as. what names them.
func enum[T fmt.Stringer](key string, v *value, what string, possible ...T) (T, error) {
	var none T
	word, err := stringOf(key, v)
	if err != nil {
		return none, err
	}
	words := make([]string, len(possible))
	for i, p := range possible {
		if words[i] = p.String(); words[i] == word {
			return p, nil
		}
	}
	return none, fail(v, key, "unknown %s %s%s", what, quoted(word), among("one of", word, words))
}

// required reads key of t, which must be there.
func required(t *table, in *value, key, name string) (*value, error) {
	if v := t.get(name); v != nil {
		return v, nil
	}
	return nil, fail(in, key, "%q is missing", name)
}
