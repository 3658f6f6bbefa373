// SPDX-License-Identifier: Apache-2.0

package rulesfile

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// str copies a string, decoded and encoded again: the two dialects differ in what
// a backslash may stand before.
func (t *translator) str(prefix string) *fault {
	t.start = false
	t.leaveName()
	raw, formatted := strings.Contains(prefix, "r"), strings.Contains(prefix, "f")
	quote := t.src[t.at : t.at+1]
	if strings.HasPrefix(t.rest(), quote+quote+quote) {
		quote += quote + quote
	}
	began := t.line
	t.at += len(quote)
	var text strings.Builder
	var parts []string // expressions of an f-string, each with its conversion
	for {
		if t.at >= len(t.src) {
			t.line = began
			return faultf("close the quotes", "Parse error: unfinished string literal")
		}
		if strings.HasPrefix(t.rest(), quote) {
			t.at += len(quote)
			break
		}
		c := t.src[t.at]
		switch {
		case c == '\n' || c == '\r' && t.peek(1) == '\n':
			if len(quote) == 1 {
				return faultf("close the quotes", "Parse error: unfinished string literal")
			}
			t.at += strings.IndexByte(t.rest(), '\n') + 1
			t.line++
			text.WriteByte('\n')
		case c == '\\':
			before := text.Len()
			if f := t.escape(&text, raw); f != nil {
				return f
			}
			if formatted { // braces that an escape stands for are text
				s := text.String()
				text.Reset()
				text.WriteString(s[:before] + strings.NewReplacer("{", "{{", "}", "}}").Replace(s[before:]))
			}
		case formatted && (c == '{' || c == '}') && t.peek(1) == c:
			text.WriteString(t.src[t.at : t.at+2])
			t.at += 2
		case formatted && c == '}':
			return invalid(c)
		case formatted && c == '{':
			part, conversion, f := t.expression()
			if f != nil {
				return f
			}
			parts = append(parts, part)
			text.WriteString("{" + conversion + "}")
		default:
			_, size := utf8.DecodeRuneInString(t.rest())
			text.WriteString(t.src[t.at : t.at+size])
			t.at += size
		}
	}
	if strings.Contains(prefix, "b") {
		t.emit("b")
	}
	t.emit(encode(text.String()))
	if formatted {
		t.emit(".format(" + strings.Join(parts, ", ") + ")")
	}
	inParts := 0
	for _, p := range parts {
		inParts += strings.Count(p, "\n")
	}
	t.emit(strings.Repeat("\\\n", t.line-began-inParts))
	return nil
}

// expression translates what stands in the braces of an f-string.
func (t *translator) expression() (text, conversion string, _ *fault) {
	if t.nest+len(t.opens) >= maxNesting {
		return "", "", boundf("use variables", "Parse error: more than %d brackets within each other", maxNesting)
	}
	sub := &translator{
		src: t.src, at: t.at + 1, line: t.line, chain: []int{0}, nest: t.nest + len(t.opens) + 1, result: t.result,
		// Within brackets a line end is a space, and nothing begins a statement.
		head: 0, start: false,
	}
	f := sub.tokens(true)
	t.line = sub.line
	if f != nil {
		return "", "", f
	}
	t.at = sub.at
	if t.peek(0) == '!' && t.peek(2) == '}' && (t.peek(1) == 'r' || t.peek(1) == 's') {
		conversion = t.src[t.at : t.at+2]
		t.at += 2
	}
	switch {
	case t.at >= len(t.src):
		return "", "", faultf("close the quotes", "Parse error: unfinished string literal")
	case t.peek(0) != '}':
		return "", "", faultf("use a variable", "Parse error: unexpected symbol '%c', expected f-string expression end '}'", t.peek(0))
	case strings.TrimSpace(sub.out.String()) == "":
		return "", "", faultf("write a value between the braces", "Parse error: unexpected f-string expression end '}', expected expression")
	}
	t.at++
	return "(" + sub.out.String() + ")", conversion, nil
}

// escape decodes one backslash and what it stands before.
func (t *translator) escape(to *strings.Builder, raw bool) *fault {
	c := t.peek(1)
	if raw {
		// A backslash keeps the quote after it from ending the string.
		if c != '"' && c != '\'' {
			to.WriteByte('\\')
		}
		t.at++
		if c == '\n' {
			t.line++
		}
		if c != 0 && c != '\r' {
			_, size := utf8.DecodeRuneInString(t.rest())
			to.WriteString(t.src[t.at : t.at+size])
			t.at += size
		}
		return nil
	}
	t.at += 2
	if i := strings.IndexByte("abfnrtv\\'\"", c); i >= 0 && c != 0 {
		to.WriteByte("\a\b\f\n\r\t\v\\'\""[i])
		return nil
	}
	switch c {
	case '\n':
		t.line++
	case '\r':
		if t.peek(0) != '\n' {
			return invalid(c)
		}
		t.at++
		t.line++
	case '0', '1', '2', '3', '4', '5', '6', '7':
		value := rune(c - '0')
		for n := 0; n < 2 && t.peek(0) >= '0' && t.peek(0) <= '7'; n++ {
			value = value*8 + rune(t.peek(0)-'0')
			t.at++
		}
		to.WriteRune(value)
	case 'x':
		return t.hexadecimal(to, c, 2)
	case 'u':
		return t.hexadecimal(to, c, 4)
	case 'U':
		return t.hexadecimal(to, c, 8)
	default: // stands for itself, and so does the backslash
		to.WriteByte('\\')
		t.at--
	}
	return nil
}

func (t *translator) hexadecimal(to *strings.Builder, kind byte, digits int) *fault {
	var value rune
	for n := range digits {
		digit := strings.IndexByte("0123456789abcdef", t.peek(n)|0x20)
		if digit < 0 || t.peek(n) == 0 {
			_, size := utf8.DecodeRuneInString(t.rest()[n:])
			return badEscape(kind, t.rest()[:n+size])
		}
		value = value<<4 | rune(digit)
	}
	if !utf8.ValidRune(value) {
		return badEscape(kind, t.rest()[:digits])
	}
	to.WriteRune(value)
	t.at += digits
	return nil
}

func badEscape(kind byte, text string) *fault {
	return faultf("double the backslash if you mean one", "Parse error: invalid string escape sequence `%c%s`", kind, text)
}

// encode writes s so that go.starlark.net reads s.
func encode(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString("\\n")
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, "\\x%02x", r)
		case r == '\uFEFF' || r == '\u2028' || r == '\u2029':
			fmt.Fprintf(&b, "\\u%04x", r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
