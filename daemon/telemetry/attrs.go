// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxAttribute is how long one attribute may be, in bytes, all elements of a
// list together; what is beyond is cut off and AttrTruncated says so.
const MaxAttribute = 64 << 10

// appendAttrs writes attributes as a JSON object with sorted keys. What JSON
// and OTLP cannot hold is made into something they can, and told:
// see AttrEscaped, AttrTruncated, AttrConverted.
func appendAttrs(b []byte, attrs map[string]any) []byte {
	clean, escaped, truncated, converted := cleanAttrs(attrs)
	for key, names := range map[string][]string{AttrEscaped: escaped, AttrTruncated: truncated, AttrConverted: converted} {
		if len(names) > 0 {
			slices.Sort(names)
			clean[key] = names
		}
	}
	b = append(b, '{')
	for i, key := range slices.Sorted(maps.Keys(clean)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, key)
		b = append(b, ':')
		b = appendValue(b, clean[key])
	}
	return append(b, '}')
}

func cleanAttrs(attrs map[string]any) (clean map[string]any, escaped, truncated, converted []string) {
	clean = make(map[string]any, len(attrs)+1)
	for key, value := range attrs {
		key, _ = escape(key)
		value, same := normal(value)
		if !same {
			converted = append(converted, key)
		}
		var esc, cut bool
		switch v := value.(type) {
		case string:
			v, esc = escape(v)
			value, cut = truncate(v, MaxAttribute)
		case []string:
			value, esc, cut = cleanList(v)
		}
		if esc {
			escaped = append(escaped, key)
		}
		if cut {
			truncated = append(truncated, key)
		}
		clean[key] = value
	}
	return clean, escaped, truncated, converted
}

// cleanList escapes a whole list or nothing of it: a reader must know whether
// a backslash in it is one.
func cleanList(in []string) (out []string, escaped, cut bool) {
	escaped = slices.ContainsFunc(in, func(s string) bool { return !utf8.ValidString(s) })
	left := MaxAttribute
	out = make([]string, 0, len(in))
	for _, s := range in {
		// Two bytes stand for what an empty element costs: a list of nothing but those is bounded too.
		if left < 2 {
			return out, escaped, true
		}
		if escaped {
			s = escapeAll(s)
		}
		s, cut = truncate(s, left)
		out = append(out, s)
		if cut {
			return out, escaped, true
		}
		left -= len(s) + 2
	}
	return out, escaped, false
}

// normal turns a value into one of the five types. It reports whether the value
// is still the same to a reader.
func normal(value any) (any, bool) {
	switch v := value.(type) {
	case string, bool, []string, int64:
		return v, true
	case int:
		return int64(v), true
	case int32:
		return int64(v), true
	case int16:
		return int64(v), true
	case int8:
		return int64(v), true
	case uint8:
		return int64(v), true
	case uint16:
		return int64(v), true
	case uint32:
		return int64(v), true
	case uint:
		return unsigned(uint64(v))
	case uint64:
		return unsigned(v)
	case float32:
		return normal(float64(v))
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return strconv.FormatFloat(v, 'g', -1, 64), false
		}
		return v, true
	}
	return fmt.Sprint(value), false
}

func unsigned(v uint64) (any, bool) {
	if v > math.MaxInt64 {
		return strconv.FormatUint(v, 10), false
	}
	return int64(v), true
}

// escape makes bytes that are not UTF-8 readable and keeps them: see
// AttrEscaped. It reports whether it had to.
func escape(s string) (string, bool) {
	if utf8.ValidString(s) {
		return s, false
	}
	return escapeAll(s), true
}

func escapeAll(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\\':
			b.WriteString(`\\`)
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// truncate cuts valid UTF-8 between two runes.
func truncate(s string, limit int) (string, bool) {
	if len(s) <= limit {
		return s, false
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit], true
}

func appendValue(b []byte, value any) []byte {
	switch v := value.(type) {
	case string:
		return appendString(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case bool:
		return strconv.AppendBool(b, v)
	case float64:
		start := len(b)
		b = strconv.AppendFloat(b, v, 'g', -1, 64)
		if !bytes.ContainsAny(b[start:], ".e") {
			b = append(b, ".0"...) // else it would come back as an int64
		}
		return b
	case []string:
		b = append(b, '[')
		for i, s := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, s)
		}
		return append(b, ']')
	}
	panic(fmt.Sprintf("telemetry: attribute of type %T was not made normal", value))
}

// appendString quotes valid UTF-8. encoding/json would escape <, > and & as
// well, which makes a shell command unreadable in the database.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// parseAttrs reads what appendAttrs wrote; nothing gives no attributes. A value
// of any other type is an error.
func parseAttrs(b []byte) (map[string]any, error) {
	if len(b) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var raw map[string]any
	if err := d.Decode(&raw); err != nil {
		return nil, fmt.Errorf("attributes: %w", err)
	}
	if d.More() {
		return nil, fmt.Errorf("attributes: something follows the object")
	}
	for key, value := range raw {
		v, err := parseValue(value)
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", key, err)
		}
		raw[key] = v
	}
	if len(raw) == 0 {
		return nil, nil
	}
	return raw, nil
}

func parseValue(value any) (any, error) {
	switch v := value.(type) {
	case string, bool:
		return v, nil
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return v.Float64()
		}
		return v.Int64()
	case []any:
		list := make([]string, len(v))
		for i, element := range v {
			s, ok := element.(string)
			if !ok {
				return nil, fmt.Errorf("element %d of the list is %v, not a string", i, element)
			}
			list[i] = s
		}
		return list, nil
	}
	return nil, fmt.Errorf("%v is no string, number, boolean or list of strings", value)
}
