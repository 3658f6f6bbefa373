// SPDX-License-Identifier: Apache-2.0

package shell

import (
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// known returns the words up to the first that is unknown, and why that is.
func known(list []*syntax.Word) (words []string, unknown string) {
	for _, w := range list {
		if why := doubt(w.Parts, false); why != "" {
			return words, why
		}
		text, err := literal(w)
		if err != nil {
			return words, "a word cannot be read: " + err.Error()
		}
		words = append(words, text)
	}
	return words, ""
}

// literal returns what a word without doubt stands for.
func literal(w *syntax.Word) (string, error) {
	var b strings.Builder
	for _, part := range w.Parts {
		if lit, ok := part.(*syntax.Lit); ok {
			unescape(&b, lit.Value)
			continue
		}
		text, err := expand.Literal(nil, &syntax.Word{Parts: []syntax.WordPart{part}})
		if err != nil {
			return "", err
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// unescape takes the backslashes from a text without quotes.
func unescape(b *strings.Builder, text string) {
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) {
			if i++; text[i] == '\n' {
				continue
			}
		}
		b.WriteByte(text[i])
	}
}

// doubt says why a word is not known, or "".
func doubt(parts []syntax.WordPart, quoted bool) string {
	for i, part := range parts {
		switch p := part.(type) {
		case *syntax.Lit:
			if !quoted {
				if why := pattern(p.Value, i == 0); why != "" {
					return why
				}
			}
		case *syntax.SglQuoted:
		case *syntax.DblQuoted:
			if why := doubt(p.Parts, true); why != "" {
				return why
			}
		case *syntax.ParamExp:
			if p.Param != nil {
				return "the variable $" + p.Param.Value
			}
			return "a variable"
		case *syntax.CmdSubst:
			return "the output of a command, $(...)"
		case *syntax.ArithmExp:
			return "a computed number, $((...))"
		case *syntax.ProcSubst:
			return "a file made by a command, <(...)"
		default:
			return "a pattern of file names"
		}
	}
	return ""
}

// pattern says what in a bare text a shell replaces.
func pattern(text string, first bool) string {
	if first && strings.HasPrefix(text, "~") || strings.Contains(text, "=~") || strings.Contains(text, ":~") {
		return "a home directory, ~"
	}
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '*', '?', '[':
			if text == "[" { // the command
				return ""
			}
			return "a pattern of file names"
		case '{':
			if rest := text[i:]; strings.Contains(rest, "}") && (strings.Contains(rest, ",") || strings.Contains(rest, "..")) {
				return "several words, {...}"
			}
		}
	}
	return ""
}

// script is a text that a shell may read as commands.
type script struct {
	given bool   // something is
	text  string // what, if unknown is empty
	// unknown says why it is not known.
	unknown string
}

// input is what a statement reads: a here-document, or what is left of its pipe.
func input(s, from *syntax.Stmt) script {
	for i := len(s.Redirs) - 1; i >= 0; i-- {
		r := s.Redirs[i]
		switch r.Op {
		case syntax.Hdoc, syntax.DashHdoc:
			return document(r)
		case syntax.WordHdoc:
			words, unknown := known([]*syntax.Word{r.Word})
			return script{true, strings.Join(words, ""), unknown}
		case syntax.RdrIn, syntax.RdrInOut:
			return script{true, "", "the commands are those of another file"}
		}
	}
	if from == nil {
		return script{}
	}
	return output(from)
}

func document(r *syntax.Redirect) script {
	if r.Hdoc == nil {
		return script{given: true}
	}
	if why := doubt(r.Hdoc.Parts, true); why != "" {
		return script{true, "", why}
	}
	quoted := false
	for _, part := range r.Word.Parts {
		lit, ok := part.(*syntax.Lit)
		quoted = quoted || !ok || strings.Contains(lit.Value, `\`)
	}
	if !quoted {
		text, err := expand.Document(nil, r.Hdoc)
		if err != nil {
			return script{true, "", "a here-document cannot be read: " + err.Error()}
		}
		return script{true, text, ""}
	}
	var b strings.Builder
	for _, part := range r.Hdoc.Parts {
		if lit, ok := part.(*syntax.Lit); ok {
			b.WriteString(lit.Value)
		}
	}
	return script{true, b.String(), ""}
}

// output is what a statement writes, where that needs no running: cat of a
// here-document, echo of known words.
func output(s *syntax.Stmt) script {
	unknown := script{true, "", "the commands are the output of another command"}
	call, ok := s.Cmd.(*syntax.CallExpr)
	if !ok || len(s.Redirs) > 1 {
		return unknown
	}
	words, why := known(call.Args)
	switch {
	case why != "" || len(words) == 0:
	case words[0] == "cat" && len(words) == 1 && len(s.Redirs) == 1:
		return input(s, nil)
	case words[0] == "echo" && len(s.Redirs) == 0 && !strings.Contains(strings.Join(words, ""), `\`) && (len(words) == 1 || !strings.HasPrefix(words[1], "-")):
		return script{true, strings.Join(words[1:], " "), ""}
	}
	return unknown
}
