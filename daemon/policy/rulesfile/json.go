// SPDX-License-Identifier: Apache-2.0

package rulesfile

import (
	"fmt"
	"strings"
)

// JSON writes matches byte for byte as codex execpolicy check prints them, without
// the newline at the end. pretty indents.
func JSON(matches []Match, pretty bool) []byte {
	w := jsonWriter{pretty: pretty}
	w.open('{')
	w.key("matchedRules")
	w.open('[')
	for i := range matches {
		m := &matches[i]
		w.next()
		w.open('{')
		w.key("prefixRuleMatch")
		w.open('{')
		w.key("matchedPrefix")
		w.open('[')
		for _, word := range m.Prefix {
			w.next()
			w.text(word)
		}
		w.close(']')
		w.key("decision")
		w.text(m.Rule.Decision.String())
		if m.Resolved != "" {
			w.key("resolvedProgram")
			w.text(m.Resolved)
		}
		if m.Rule.Justification != "" {
			w.key("justification")
			w.text(m.Rule.Justification)
		}
		w.close('}')
		w.close('}')
	}
	w.close(']')
	if d, any := Strictest(matches); any {
		w.key("decision")
		w.text(d.String())
	}
	w.close('}')
	return []byte(w.b.String())
}

// jsonWriter writes JSON as Rust's serde_json does: encoding/json escapes more.
type jsonWriter struct {
	b      strings.Builder
	pretty bool
	depth  int
	empty  bool // nothing is in the innermost bracket yet
}

func (w *jsonWriter) open(c byte) {
	w.b.WriteByte(c)
	w.depth++
	w.empty = true
}

func (w *jsonWriter) close(c byte) {
	w.depth--
	if !w.empty {
		w.line()
	}
	w.b.WriteByte(c)
	w.empty = false
}

func (w *jsonWriter) line() {
	if w.pretty {
		w.b.WriteByte('\n')
		w.b.WriteString(strings.Repeat("  ", w.depth))
	}
}

func (w *jsonWriter) next() {
	if !w.empty {
		w.b.WriteByte(',')
	}
	w.line()
	w.empty = false
}

func (w *jsonWriter) key(name string) {
	w.next()
	w.text(name)
	w.b.WriteByte(':')
	if w.pretty {
		w.b.WriteByte(' ')
	}
}

func (w *jsonWriter) text(s string) {
	w.b.WriteByte('"')
	for _, r := range s {
		if i := strings.IndexRune("\b\t\n\f\r\"\\", r); i >= 0 {
			w.b.WriteByte('\\')
			w.b.WriteByte(`btnfr"\`[i])
		} else if r < ' ' {
			fmt.Fprintf(&w.b, `\u%04x`, r)
		} else {
			w.b.WriteRune(r)
		}
	}
	w.b.WriteByte('"')
}
