// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxAttribute is how long one attribute may be, in bytes, all elements of a
// list together; what is beyond is cut off and AttrTruncated says so.
const MaxAttribute = 64 << 10

// pair is one attribute on its way into the database.
type pair struct {
	key   string
	value any // string, int64, float64, bool, []string
}

// pairs is a list of attributes, and what had to be done to them.
type pairs struct {
	list                                    []pair
	escaped, truncated, converted, redacted []string
	same                                    bool // nothing had to be done
}

// appendAttrs writes attributes as a JSON object with sorted keys. What JSON
// and OTLP cannot hold is made into something they can, and told:
// see AttrEscaped, AttrTruncated, AttrConverted.
func appendAttrs(b []byte, attrs map[string]any) []byte {
	var p pairs
	p.clean(attrs, "", nil)
	return p.append(b)
}

// clean replaces what p holds by attributes that JSON and OTLP can hold, sorted
// by key, and those that nothing secret is in, if it has a redactor. The one
// called without is left out.
func (p *pairs) clean(attrs map[string]any, without string, by *redactor) {
	p.list = p.list[:0]
	for key, value := range attrs {
		if key != without || without == "" {
			p.list = append(p.list, pair{key, value})
		}
	}
	p.settle(nil, by)
}

// cleanLike is clean for events of a kind, of which one is mostly like the one before: their order is known then.
func (p *pairs) cleanLike(name string, attrs map[string]any, by *redactor) {
	at := outlineOf(name, len(attrs))
	if at == nil {
		p.clean(attrs, "", by)
		return
	}
	if like := at.Load(); like != nil && p.take(attrs, like) {
		p.settle(like, by)
		return
	}
	p.clean(attrs, "", by)
	if p.same {
		at.learn(p.list)
	}
}

// settle does to the list what has to be done to it. like says, if it is not nil, of what outline it is.
func (p *pairs) settle(like *outline, by *redactor) {
	p.escaped, p.truncated, p.converted, p.redacted = nil, nil, nil, nil
	for i := range p.list {
		key, value := p.list[i].key, p.list[i].value
		hidden := false
		if like == nil {
			if by != nil {
				value, hidden = by.attribute(treatmentOf(key), value)
			}
			key, _ = escape(key)
		} else if by != nil {
			value, hidden = by.attribute(like.how[i], value)
		}
		value, same := normal(value)
		if hidden {
			by.count.Add(1)
			p.redacted = append(p.redacted, key)
		}
		if !same {
			p.converted = append(p.converted, key)
		}
		var esc, cut bool
		switch v := value.(type) {
		case string:
			if esc, cut = !utf8.ValidString(v), len(v) > MaxAttribute; esc || cut {
				v, _ = escape(v)
				value, cut = truncate(v, MaxAttribute)
			}
		case []string:
			if !tidy(v) {
				value, esc, cut = cleanList(v)
			}
		}
		if esc {
			p.escaped = append(p.escaped, key)
		}
		if cut {
			p.truncated = append(p.truncated, key)
		}
		p.list[i] = pair{key, value}
	}
	p.same = len(p.escaped)+len(p.redacted)+len(p.truncated)+len(p.converted) == 0
	if like != nil && p.same {
		return // sorted already
	}
	before := len(p.list)
	p.tell(AttrEscaped, p.escaped)
	p.tell(AttrRedacted, p.redacted)
	p.tell(AttrTruncated, p.truncated)
	p.tell(AttrConverted, p.converted)
	slices.SortFunc(p.list, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	// Two keys may have become one by being made UTF-8.
	p.list = slices.CompactFunc(p.list, func(a, b pair) bool { return a.key == b.key })
	p.same = p.same && len(p.list) == before
}

// tell adds the names of attributes something was done to, in place of what
// pretends to be that.
func (p *pairs) tell(key string, names []string) {
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	p.list = slices.DeleteFunc(p.list, func(have pair) bool { return have.key == key })
	p.list = append(p.list, pair{key, names})
}

func (p *pairs) append(b []byte) []byte {
	b = append(b, '{')
	for i := range p.list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, p.list[i].key)
		b = append(b, ':')
		b = appendValue(b, p.list[i].value)
	}
	return append(b, '}')
}

// value returns the value of an attribute, nil if there is none.
func (p *pairs) value(key string) any {
	i, found := slices.BinarySearchFunc(p.list, key, func(p pair, key string) int { return strings.Compare(p.key, key) })
	if !found {
		return nil
	}
	return p.list[i].value
}

// cleanAttrs is clean for attributes that stay in a map.
func cleanAttrs(attrs map[string]any) map[string]any {
	var p pairs
	p.clean(attrs, "", nil)
	out := make(map[string]any, len(p.list))
	for _, a := range p.list {
		out[a.key] = a.value
	}
	return out
}

// tidy says that a list needs nothing done to it.
func tidy(list []string) bool {
	size := 0
	for _, s := range list {
		if size += len(s) + 2; size > MaxAttribute || !utf8.ValidString(s) {
			return false
		}
	}
	return true
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
