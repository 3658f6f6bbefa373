// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What an agent runs is chosen by whoever instructs it, so it may hold anything
// that makes a terminal show something else: escape sequences, carriage
// returns, characters that turn the direction of writing. All text from outside
// goes through plain, word or safeJSON before it is printed.

// plain makes s one line of what a terminal shows as it is.
func plain(s string) string {
	if !strings.ContainsFunc(s, hidden) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !hidden(r):
			b.WriteString(s[i : i+n])
		default:
			b.WriteString(escaped(r))
		}
		i += n
	}
	return b.String()
}

// hidden reports whether a terminal may not show r, or act on it. The
// replacement character is what bytes that are no UTF-8 decode to.
func hidden(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }

func escaped(r rune) string {
	switch {
	case r == '\n':
		return `\n`
	case r == '\r':
		return `\r`
	case r == '\t':
		return `\t`
	case r < 0x80:
		return fmt.Sprintf(`\x%02x`, r)
	case r < 0x10000:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}

const bare = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+./,:=@%^"

// word writes an argument so that a shell reads it back as it was.
func word(s string) string {
	switch {
	case s == "":
		return "''"
	case strings.Trim(s, bare) == "":
		return s
	case !strings.ContainsFunc(s, hidden) && !strings.Contains(s, "'"):
		return "'" + s + "'"
	}
	return "$'" + plain(strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s)) + "'"
}

// commandLine writes an argv, at most about limit bytes of it.
func commandLine(args []string, limit int) string {
	var b strings.Builder
	for i, arg := range args {
		if i > 0 {
			b.WriteByte(' ')
		}
		if left := limit - b.Len(); len(arg) > max(left, 0) {
			cut := arg[:max(left, 0)]
			for len(cut) > 0 && !utf8.RuneStart(arg[len(cut)]) {
				cut = cut[:len(cut)-1]
			}
			if cut != "" {
				b.WriteString(word(cut))
			}
			b.WriteString("…")
			break
		}
		b.WriteString(word(arg))
	}
	return b.String()
}

// safeJSON escapes what JSON lets stand as it is and a terminal may act on:
// DEL, the C1 controls, formatting characters.
func safeJSON(data []byte) []byte {
	out := make([]byte, 0, len(data)+1)
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		switch {
		case r < 0x7f || n > 1 && unicode.IsPrint(r):
			out = append(out, data[:n]...)
		case r < 0x10000:
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
		data = data[n:]
	}
	return out
}
