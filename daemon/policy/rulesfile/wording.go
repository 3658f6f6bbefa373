// SPDX-License-Identifier: Apache-2.0

package rulesfile

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// What go.starlark.net says is said again as Codex says it, where both have words
// for the same thing. What is not here is told in the words of go.starlark.net.

// token says what kind of thing the parser found or expected.
func token(s string) string {
	switch s {
	case "newline", "EOF", "end of file":
		return "new line"
	case "indent":
		return "new indentation block"
	case "outdent":
		return "end of indentation block"
	case "primary expression", "parameter":
		return "expression"
	case "','": // or the end, which is what Codex names
		return "symbol ')'"
	case "identifier":
		return "identifier"
	}
	bare := strings.Trim(s, "'")
	if keywords[bare] {
		return "keyword '" + bare + "'"
	}
	return "symbol '" + bare + "'"
}

var gotWant = regexp.MustCompile(`^got (.+?)(?:,| after expression,) want (.+)$`)

var (
	identifier = regexp.MustCompile(`[A-Za-z_]\w*$`)
	literal    = regexp.MustCompile(`b?"(?:[^"\\]|\\.)*"$|[\w.]+$`)
)

// parseFault says what the parser found wrong. before is its line up to and
// with that.
func parseFault(message, before string) *fault {
	if m := gotWant.FindStringSubmatch(message); m != nil {
		found := "symbol ','"
		if m[1] != "','" {
			found = token(m[1])
		}
		switch m[1] {
		case "identifier":
			found = "identifier '" + short(identifier.FindString(before)) + "'"
		case "int literal":
			found = "integer literal '" + short(literal.FindString(before)) + "'"
		case "float literal":
			found = "float literal '" + short(literal.FindString(before)) + "'"
		case "string literal", "bytes literal":
			found = "string literal " + short(literal.FindString(before))
		}
		return faultf("check the line and the brackets and quotes before it", "Parse error: unexpected %s, expected %s", found, token(m[2]))
	}
	if c, ok := strings.CutPrefix(message, "unexpected input character "); ok {
		return faultf("take it out", "Parse error: invalid input `%s`", strings.Trim(c, "'"))
	}
	if op, _, ok := strings.Cut(message, " does not associate with "); ok {
		return faultf("write two comparisons joined by and", "Parse error: unexpected symbol '%s', expected end of expression (comparisons are not associative in Starlark)", op)
	}
	switch message {
	case "conditional expression without else clause":
		return faultf("add else", "Parse error: unexpected new line, expected keyword 'else'")
	case "unindent does not match any outer indentation level":
		return faultf("indent all statements of a block alike", "Parse error: incorrect indentation")
	case "excessive nesting":
		return faultf("use variables", "Parse error: too many brackets or blocks within each other")
	}
	return faultf("", "Parse error: %s", message)
}

func resolveFault(message string, file *syntax.File, globals starlark.StringDict) *fault {
	if rest, ok := strings.CutPrefix(message, "undefined: "); ok {
		name, _, _ := strings.Cut(rest, " ")
		known := names(file, globals)
		if slices.Contains(known, name) {
			return faultf("define it before", "Local variable `%s` referenced before assignment", name)
		}
		return notFound(name, known)
	}
	if strings.HasSuffix(message, "does not support sets") {
		return notFound("set", names(file, globals))
	}
	switch {
	case strings.HasPrefix(message, "return statement not within"):
		return faultf("take it out", "`return` cannot be used outside of a `def` function")
	case strings.HasPrefix(message, "break not in a loop"):
		return faultf("take it out", "`break` cannot be used outside of a `for` loop")
	case strings.HasPrefix(message, "continue not in a loop"):
		return faultf("take it out", "`continue` cannot be used outside of a `for` loop")
	case strings.HasPrefix(message, "duplicate parameter"):
		return faultf("rename one", "duplicated parameter name")
	case strings.HasPrefix(message, "keyword argument") && strings.HasSuffix(message, "is repeated"):
		return faultf("take one out", "repeated named argument")
	case strings.HasPrefix(message, "positional argument may not follow"):
		return faultf("put it before", "positional argument after non positional")
	case strings.HasPrefix(message, "required parameter may not follow optional"):
		return faultf("put it before", "positional parameter after non positional")
	case strings.HasPrefix(message, "multiple *"):
		return faultf("take one out", "Args parameter after another args or kwargs parameter")
	case strings.HasPrefix(message, "required parameter may not follow **"):
		return faultf("put it before", "Parameter after kwargs")
	case strings.HasPrefix(message, "can't assign to"), strings.HasPrefix(message, "can't use"):
		return faultf("", "left-hand-side of assignment must take the form `a`, `a.b` or `a[b]`")
	}
	return faultf("", "%s", message)
}

// rewording is one message of the interpreter. $1 and so on are the groups of the
// pattern.
type rewording struct {
	pattern *regexp.Regexp
	cause   string
}

var rewordings = []rewording{
	{regexp.MustCompile(`^\S+: got (\d+) arguments?, want (?:at (?:most|least) )?(\d+)$`), "Wrong number of positional arguments, expected $2, got $1"},
	{regexp.MustCompile(`^range: step argument must not be zero$`), "Third argument of range (step) cannot be zero"},
	{regexp.MustCompile(`^unknown conversion %(.)$`), "Unsupported format character: '$1'"},
	{regexp.MustCompile(`^(\w+) (?:[<>]=?) (\w+) not implemented$`), "Operation `compare` not supported for types `$1` and `$2`"},
	{regexp.MustCompile(`^unknown unary op: (\S+) (\S+)$`), "Operation `$1` not supported on type `$2`"},
	{regexp.MustCompile(`^(%\w) format requires integer: (?:cannot convert|got) (\S+).*$`), "Operation `format($1)` not supported on type `$2`"},
	{regexp.MustCompile(`^format: tuple index out of range$`), "Not enough parameters in format string"},
	{regexp.MustCompile(`^invalid call of non-function \((.+)\)$`), "Operation `call()` not supported on type `$1`"},
	{regexp.MustCompile(`^function (.+?) missing \d+ arguments? \((\w+)[,)].*$`), "Missing parameter `$2` for call to `$1`"},
	{regexp.MustCompile(`^function (.+?) got an unexpected keyword argument "?(\w+)"?.*$`), "Found `$2` extra named parameter(s) for call to $1"},
	{regexp.MustCompile(`^function (.+?) got multiple values for parameter "?(\w+)"?$`), "Argument `$2` occurs more than once"},
	{regexp.MustCompile(`^local variable (\w+) referenced before assignment$`), "Local variable `$1` referenced before assignment"},
	{regexp.MustCompile(`^global variable (\w+) referenced before assignment$`), "Local variable `$1` referenced before assignment"},
	{regexp.MustCompile(`^(?:\S+: )?(?:for parameter \S+: )?(?:got (\S+), want iterable|(\S+) value is not iterable)$`), "Operation `(iter)` not supported on type `$1$2`"},
	{regexp.MustCompile(`^got (\S+) in sequence assignment$`), "Operation `(iter)` not supported on type `$1`"},
	{regexp.MustCompile(`^too many values to unpack \(got (-?\d+), want (\d+)\)$`), "Unpacked $1 values but expected $2"},
	{regexp.MustCompile(`^too few values to unpack \(got (\d+), want (\d+)\)$`), "Unpacked $1 values but expected $2"},
	{regexp.MustCompile(`^duplicate key: (.+)$`), "Dictionary key repeated for `$1`"},
	{regexp.MustCompile(`^.*cannot \w+ \w+ (?:list|dict|hash table|.*) during iteration$`), "This operation mutates an iterable for an iterator while iterating."},
	{regexp.MustCompile(`^not enough arguments for format string$`), "Not enough arguments for format string"},
	{regexp.MustCompile(`^too many arguments for format string$`), "Too many arguments for format string"},
	{regexp.MustCompile(`^(?:list|tuple) index (-?\d+) out of range.*$`), "Index `$1` is out of bound"},
	{regexp.MustCompile(`^\w+ value does not support item assignment$`), "Immutable"},
	{regexp.MustCompile(`^int: invalid literal with base (\d+): (.+)$`), "Cannot parse `$2` as an integer in base $1"},
	{regexp.MustCompile(`^(max|min): argument is an empty sequence$`), "Argument is an empty iterable, $1() expect a non empty iterable"},
	{regexp.MustCompile(`^zero is not a valid slice step$`), "Index `0` is out of bound"},
}

var ownFunction = regexp.MustCompile(`^function (\w+) `)

var surplus = regexp.MustCompile(`^function (.+?) accepts (?:no arguments|(?:at most )?(\d+) positional arguments?) \((\d+) given\)$`)

// evalFault says what stopped a run of a file. Codex puts the file before the
// names of its functions.
func evalFault(message, file string) *fault {
	message = ownFunction.ReplaceAllString(message, "function "+strings.ReplaceAll(file, "$", "$$")+".$1 ")
	if m := surplus.FindStringSubmatch(message); m != nil {
		takes, _ := strconv.Atoi(m[2]) // none written: none taken
		given, _ := strconv.Atoi(m[3])
		return faultf("", "Found %d extra positional argument(s) for call to %s", given-takes, m[1])
	}
	for _, r := range rewordings {
		if r.pattern.MatchString(message) {
			return faultf("", "%s", r.pattern.ReplaceAllString(message, strings.ReplaceAll(strings.ReplaceAll(r.cause, "$1", "${1}"), "$2", "${2}")))
		}
	}
	return faultf("", "%s", message)
}

// operatorFault says what an operator does not do.
func operatorFault(op syntax.Token, x, y starlark.Value, err error) error {
	message := err.Error()
	switch {
	case strings.HasPrefix(message, "unknown binary op"):
		return faultf("", "Operation `%s` not supported for types `%s` and `%s`", op, typeName(x), typeName(y))
	case strings.Contains(message, "floored division by zero"):
		return faultf("", "Floor division by zero: %s // %s", x, y)
	case strings.Contains(message, "division by zero"):
		return faultf("", "float division by zero: %s / %s", x, y)
	case strings.Contains(message, "modulo by zero"):
		return faultf("", "Modulo by zero: %s %% %s", x, y)
	}
	return err
}
