// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"strings"
	"unicode"
)

var escapeMarkup = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;")

// A server without markup may take out of a text what looks like a tag, so that
// "sort <a>b" would lose a part that matters.
var spellMarkup = strings.NewReplacer("&", `\x26`, "<", `\x3c`, ">", `\x3e`)

// body makes lines of plain text what a server shows as that text.
func body(lines string, markup bool) string {
	lines = clean(lines, true)
	if markup {
		return escapeMarkup.Replace(lines)
	}
	return spellMarkup.Replace(lines)
}

// summary is one line. The specification has no markup there; some servers read it.
func summary(s string) string {
	return strings.NewReplacer("&", "+", "<", "(", ">", ")").Replace(clean(s, false))
}

// clean takes out controls that should not be here any more: whoever made the text
// has made them visible.
func clean(s string, lines bool) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || lines && r == '\n' {
			return r
		}
		return '\uFFFD'
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
