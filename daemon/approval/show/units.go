// SPDX-License-Identifier: Apache-2.0

package show

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A unit is what stands for one character of a text: the character, or the
// escape that makes it visible. Texts are cut between units, so that half an
// escape never looks like something else.

// Exact makes s one line that shows each character as itself or as an escape
// (\n, \x1b, \u202e): for commands, paths and hosts, where every character
// matters. Escaped are controls, invisible characters, bytes that are no UTF-8,
// letters written from right to left, and whatever passes for an ASCII
// character: the Cyrillic a in "pаypal", a wide slash, a curly quote. More than
// eight spaces in a row are counted: ⟦37 spaces⟧.
func Exact(s string) string {
	if plainASCII(s) {
		return s
	}
	return strings.Join(exact(s), "")
}

// Prose makes s one line for texts that people wrote to be read. Unlike Exact
// it lets the letters of every script stand; what is invisible or turns the
// direction of writing is escaped here too, and space in a row is one space.
func Prose(s string) string { return strings.Join(prose(s), "") }

func plainASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return !strings.Contains(s, strings.Repeat(" ", maxSpaces+1))
}

// maxSpaces is how many spaces in a row are shown as such. More would move what
// comes after them out of sight.
const maxSpaces = 8

func exact(s string) []string {
	lookalike := lookalikes(s)
	var out []string
	marks := 0 // combining ones in a row
	for i := 0; i < len(s); {
		if s[i] == ' ' {
			n := len(s[i:]) - len(strings.TrimLeft(s[i:], " "))
			if n > maxSpaces {
				out = append(out, fmt.Sprintf(" ⟦%d spaces⟧ ", n))
			} else {
				out = append(out, strings.Split(strings.Repeat(" ", n), "")...)
			}
			i += n
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if unicode.Is(unicode.M, r) {
			marks++
		} else {
			marks = 0
		}
		switch {
		case r == utf8.RuneError && n == 1:
			out = append(out, fmt.Sprintf(`\x%02x`, s[i]))
		case r < utf8.RuneSelf && !hidden(r):
			out = append(out, s[i:i+n])
		case hidden(r) || mistakable(r) || lookalike[i] || marks > 0 && !belongs(s[:i], s[i:i+n], marks):
			out = append(out, Escape(r))
		default:
			out = append(out, s[i:i+n])
		}
		i += n
	}
	return out
}

func prose(s string) []string {
	s = strings.TrimSpace(s)
	var out []string
	marks, space := 0, false
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == ' ' || r == '\n' || r == '\t' || r == '\r' {
			space = true
			i += n
			continue
		}
		if space {
			out, space = append(out, " "), false
		}
		if unicode.Is(unicode.M, r) {
			marks++
		} else {
			marks = 0
		}
		switch {
		case r == utf8.RuneError && n == 1:
			out = append(out, fmt.Sprintf(`\x%02x`, s[i]))
		case hidden(r) || marks > 2:
			out = append(out, Escape(r))
		default:
			out = append(out, s[i:i+n])
		}
		i += n
	}
	return out
}

// belongs reports whether a mark is part of how a language is written and not
// something drawn over the text before it.
func belongs(before, mark string, row int) bool {
	if row > 2 {
		return false
	}
	last, n := utf8.DecodeLastRuneInString(before)
	if n == 0 {
		return false
	}
	if unicode.Is(unicode.M, last) || unicode.IsLetter(last) && !unicode.Is(unicode.Latin, last) {
		return true
	}
	// é as two characters is one when composed; a line through an = is not.
	return unicode.IsLetter(last) && utf8.RuneCountInString(norm.NFC.String(string(last)+mark)) == 1
}

// hidden reports whether a screen may show nothing for r, or act on it. The
// replacement character is what bytes that are no UTF-8 become elsewhere.
func hidden(r rune) bool {
	return !unicode.IsPrint(r) || r == utf8.RuneError || r == '\u2800' || // a Braille pattern without dots
		unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) || unicode.Is(unicode.Variation_Selector, r)
}

// Escape writes a character as it would be written in Go or a shell's $'...'.
func Escape(r rune) string {
	switch {
	case r == '\n':
		return `\n`
	case r == '\r':
		return `\r`
	case r == '\t':
		return `\t`
	case r < utf8.RuneSelf:
		return fmt.Sprintf(`\x%02x`, r)
	case r < 0x10000:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}
