// SPDX-License-Identifier: Apache-2.0

package rulesfile

import (
	"slices"
	"strings"
	"unicode/utf8"

	"go.starlark.net/syntax"
)

// Bounds of a file's text. They keep the parser's recursion, which has no bound
// of its own, far from the end of the stack.
const (
	maxNesting = 64   // brackets, and f-strings within f-strings
	maxIndent  = 200  // spaces before a statement
	maxChain   = 1000 // tokens between two commas or line ends
	maxElif    = 1000 // branches in a file
	maxDigits  = 1000 // of one number
)

// reserved words of Starlark that have no meaning; Codex refuses them as names.
var reserved = map[string]bool{
	"as": true, "assert": true, "async": true, "await": true, "class": true, "del": true, "except": true, "finally": true,
	"from": true, "global": true, "import": true, "is": true, "nonlocal": true, "raise": true, "try": true, "while": true,
	"with": true, "yield": true,
}

var keywords = map[string]bool{
	"and": true, "break": true, "continue": true, "def": true, "elif": true, "else": true, "for": true, "if": true, "in": true,
	"lambda": true, "load": true, "not": true, "or": true, "pass": true, "return": true,
}

// spot is a place in the translated text, as syntax.Position counts: both from 1,
// columns in runes.
type spot struct{ line, col int32 }

// translation is a file in the dialect of go.starlark.net, line for line.
type translation struct {
	text string
	// types holds the annotations that were taken out, by the place of the name
	// they are about; returns those of functions, by the place of their def.
	types, returns map[spot]string
	// end is where the text ends, if what follows is wrong.
	end spot
}

// translator goes over the text once, copying what both dialects share.
type translator struct {
	src   string
	at    int
	line  int
	nest  int // brackets that are open around this translator, for one in an f-string
	opens []byte
	chain []int // tokens since the last separator, per open bracket
	elifs int

	out    strings.Builder
	place  spot
	result *translation

	start bool // the next token begins a statement
	def   spot // the def whose head is being read
	head  int  // 0: none; 1: before its "("; 2: a parameter's name may follow; 3: elsewhere in it
	depth int  // of its parameters
}

func (s spot) after(at syntax.Position) bool {
	return at.Line < s.line || at.Line == s.line && at.Col < s.col
}

func translate(src string) (*translation, *Error) {
	t := &translator{
		src: src, line: 1, place: spot{1, 1}, start: true, chain: []int{0},
		result: &translation{types: map[spot]string{}, returns: map[spot]string{}},
	}
	f := t.tokens(false)
	t.result.text = t.out.String()
	if f != nil { // the text is what was there before
		if t.result.end = t.place; f.bound {
			t.result.end = spot{}
		}
		return t.result, &Error{Line: t.line, Cause: f.cause, Fix: f.fix}
	}
	return t.result, nil
}

func (t *translator) emit(s string) {
	t.out.WriteString(s)
	for _, r := range s {
		if r == '\n' {
			t.place.line++
			t.place.col = 1
		} else {
			t.place.col++
		}
	}
}

func (t *translator) rest() string { return t.src[t.at:] }

func (t *translator) peek(n int) byte {
	if t.at+n < len(t.src) {
		return t.src[t.at+n]
	}
	return 0
}

// tokens copies tokens: to the end of the text, or of an f-string's expression.
func (t *translator) tokens(expression bool) *fault {
	for t.at < len(t.src) {
		c := t.src[t.at]
		if expression && len(t.opens) == 0 && (c == '}' || c == ':' || c == ',' || c == '!' && t.peek(1) != '=') {
			return nil
		}
		if f := t.token(c); f != nil {
			return f
		}
		if t.chain[len(t.chain)-1]++; t.chain[len(t.chain)-1] > maxChain {
			return boundf("split it with variables", "Parse error: an expression of more than %d words", maxChain)
		}
	}
	return nil
}

func (t *translator) token(c byte) *fault {
	switch {
	case c == '\n':
		t.newline(1)
		return nil
	case c == '\r':
		if t.peek(1) != '\n' {
			return invalid(c)
		}
		t.newline(2)
		return nil
	case c == ' ':
		return t.spaces()
	case c == '\t':
		return faultf("indent with spaces", "Parse error: tabs are not allowed")
	case c == '#':
		end := strings.IndexByte(t.rest(), '\n')
		if end < 0 {
			end = len(t.rest())
		}
		t.at += end // comments mean nothing to anybody here
		return nil
	case c == '\\':
		return t.joinLines()
	case c == '"' || c == '\'':
		return t.str("")
	case c >= '0' && c <= '9' || c == '.' && t.peek(1) >= '0' && t.peek(1) <= '9':
		return t.number()
	case strings.IndexByte("([{", c) >= 0:
		return t.open(c)
	case strings.IndexByte(")]}", c) >= 0:
		return t.close(c)
	}
	r, size := utf8.DecodeRuneInString(t.rest())
	if isWord(r) {
		return t.word()
	}
	if strings.HasPrefix(t.rest(), "...") {
		t.start = false
		t.leaveName()
		t.emit("None") // Codex's Ellipsis, which no function of a rules file takes
		t.at += 3
		return nil
	}
	if !strings.ContainsRune("+-*/%=<>!,:;.|&^~", r) {
		return invalid(t.rest()[:size])
	}
	t.separator(c)
	t.emit(t.src[t.at : t.at+size])
	t.at += size
	return nil
}

func invalid[T byte | string](what T) *fault {
	return faultf("take it out", "Parse error: invalid input `%s`", string(what))
}

func (t *translator) newline(size int) {
	t.at += size
	t.line++
	t.emit("\n")
	if len(t.opens) == 0 {
		t.start, t.head = true, 0
		t.chain[0] = 0
	}
}

func (t *translator) spaces() *fault {
	n := 0
	for t.peek(n) == ' ' {
		n++
	}
	if t.start && n > maxIndent {
		return boundf("use functions", "Parse error: indented by more than %d spaces", maxIndent)
	}
	t.emit(t.src[t.at : t.at+n])
	t.at += n
	return nil
}

func (t *translator) joinLines() *fault {
	switch {
	case t.peek(1) == '\n':
		t.at += 2
	case t.peek(1) == '\r' && t.peek(2) == '\n':
		t.at += 3
	default:
		return invalid("\\")
	}
	t.line++
	t.emit("\\\n")
	return nil
}

func (t *translator) number() *fault {
	n := 0
	for n < len(t.rest()) && (t.peek(n) == '.' || t.peek(n) == '_' || isWord(rune(t.peek(n)))) {
		n++
	}
	s := t.src[t.at : t.at+n]
	if n > maxDigits {
		return boundf("", "Parse error: a number of more than %d digits", maxDigits)
	}
	if len(s) > 1 && s[0] == '0' && strings.Trim(s, "0123456789") == "" {
		return faultf("write 0o for octal numbers", "Parse error: integer cannot have leading 0, got `%s`", s)
	}
	t.start = false
	t.leaveName()
	t.emit(s)
	t.at += n
	return nil
}

func (t *translator) open(c byte) *fault {
	if len(t.opens)+t.nest >= maxNesting {
		return boundf("use variables", "Parse error: more than %d brackets within each other", maxNesting)
	}
	t.opens = append(t.opens, c)
	t.chain = append(t.chain, 0)
	t.start = false
	switch {
	case t.head == 1 && c == '(':
		t.head, t.depth = 2, len(t.opens)
	default:
		t.leaveName()
	}
	t.emit(string(c))
	t.at++
	return nil
}

func (t *translator) close(c byte) *fault {
	if len(t.opens) == 0 || t.opens[len(t.opens)-1] != "([{"[strings.IndexByte(")]}", c)] {
		return faultf("check the brackets before it", "Parse error: unexpected symbol '%c', expected expression", c)
	}
	ended := t.head >= 2 && len(t.opens) == t.depth
	t.opens = t.opens[:len(t.opens)-1]
	t.chain = t.chain[:len(t.chain)-1]
	t.emit(string(c))
	t.at++
	if ended {
		t.head = 0
		return t.returnType()
	}
	return nil
}

// separator notes what an operator means for what may follow.
func (t *translator) separator(c byte) {
	t.start = c == ';' && len(t.opens) == 0
	if c == ',' || c == ';' {
		t.chain[len(t.chain)-1] = 0
	}
	if t.head >= 2 && len(t.opens) == t.depth {
		switch {
		case c == ',':
			t.head = 2
		case c != '*':
			t.head = 3
		}
	}
}

// leaveName notes that no parameter's name can follow any more.
func (t *translator) leaveName() {
	if t.head == 2 {
		t.head = 3
	}
}

func isWord(r rune) bool {
	return r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

func (t *translator) word() *fault {
	n := strings.IndexFunc(t.rest(), func(r rune) bool { return !isWord(r) })
	if n < 0 {
		n = len(t.rest())
	}
	w := t.src[t.at : t.at+n]
	if quote := t.peek(n); quote == '"' || quote == '\'' {
		if slices.Contains([]string{"r", "b", "f", "fr", "rb", "br"}, w) {
			t.at += n
			return t.str(w)
		}
	}
	if reserved[w] {
		return faultf("", "Parse error: cannot use reserved keyword `%s`", w)
	}
	here, first := t.place, t.start
	t.start = false
	t.emit(w)
	t.at += n
	switch {
	case w == "def" && first:
		t.def, t.head = here, 1
	case w == "elif":
		if t.elifs++; t.elifs > maxElif {
			return boundf("use a dictionary", "Parse error: more than %d elif", maxElif)
		}
	case keywords[w]:
	case t.head == 2 && len(t.opens) == t.depth:
		t.head = 3
		return t.annotation(here, ",=)", t.result.types)
	case first && len(t.opens) == 0 && t.nest == 0:
		return t.annotation(here, "=\n", t.result.types)
	}
	return nil
}

// annotation takes out ": type" if it follows.
func (t *translator) annotation(about spot, until string, to map[spot]string) *fault {
	n := 0
	for t.peek(n) == ' ' {
		n++
	}
	if t.peek(n) != ':' {
		return nil
	}
	t.at += n + 1
	return t.takeType(about, until, to)
}

// returnType takes out "-> type" if it follows.
func (t *translator) returnType() *fault {
	n := 0
	for t.peek(n) == ' ' {
		n++
	}
	if t.peek(n) != '-' || t.peek(n+1) != '>' {
		return nil
	}
	t.at += n + 2
	return t.takeType(t.def, ":", t.result.returns)
}

func (t *translator) takeType(about spot, until string, to map[spot]string) *fault {
	depth, n := 0, 0
	for ; t.at+n < len(t.src); n++ {
		c := t.peek(n)
		if depth == 0 && strings.IndexByte(until, c) >= 0 {
			break
		}
		switch c {
		case '[', '(':
			depth++
		case ']', ')':
			depth--
		case '"', '\'':
			return faultf("leave the quotes out", "string literal expression is not allowed in type expression")
		case '\n', '#':
			return faultf("", "Parse error: unexpected %q in a type", string(c))
		}
	}
	text := strings.TrimSpace(t.src[t.at : t.at+n])
	if text == "" {
		return faultf("", "Parse error: unexpected symbol '%c', expected expression", t.peek(n))
	}
	if _, f := parseType(text); f != nil {
		return f
	}
	t.at += n
	if until == "=\n" && t.peek(0) != '=' {
		return faultf("give it a value", "Parse error: unexpected new line, expected assignment operator")
	}
	to[about] = text
	return nil
}
