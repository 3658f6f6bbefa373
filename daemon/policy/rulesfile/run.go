// SPDX-License-Identifier: Apache-2.0

package rulesfile

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// declared is what one file says.
type declared struct {
	Rules   []policy.PrefixRule
	Hosts   []Host
	Network []NetworkRule
}

// Host says at which paths a program is the one rules mean by its name.
type Host struct {
	Name string
	// Paths are absolute and clean. None: no path is that program.
	Paths []string
	// Source and Line (from 1) say where it is written.
	Source string
	Line   int
}

// run is one run of one file.
type run struct {
	budget
	name     string
	out      declared
	examples []examples
}

// read runs a file. Its examples are not tried yet.
func read(name string, data []byte) (*run, error) {
	fail := func(line int, f *fault) (*run, error) {
		return nil, &Error{File: name, Line: line, Cause: f.cause, Fix: f.fix}
	}
	switch {
	case len(data) > MaxSource:
		return fail(0, faultf("split it into several files", "the file has more than %d MiB", MaxSource>>20))
	case !utf8.Valid(data):
		valid := 0
		for valid < len(data) {
			r, n := utf8.DecodeRune(data[valid:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			valid += n
		}
		return fail(1+strings.Count(string(data[:valid]), "\n"), faultf("save it as UTF-8", "stream did not contain valid UTF-8"))
	}
	translated, bad := translate(string(data))
	if bad != nil && translated.end == (spot{}) {
		bad.File = name
		return nil, bad
	}
	options := &syntax.FileOptions{TopLevelControl: true, GlobalReassign: true, Recursion: true}
	file, err := options.Parse(name, translated.text, 0)
	var at syntax.Error
	parsed := errors.As(err, &at)
	switch {
	case bad != nil && (!parsed || !translated.end.after(at.Pos)):
		bad.File = name
		return nil, bad
	case parsed: // or what is wrong before it
		return fail(int(at.Pos.Line), parseFault(at.Msg, upTo(translated.text, at.Pos)))
	case err != nil:
		return fail(0, faultf("", "Parse error: %s", err))
	}
	g := &guard{file: file, types: translated}
	file.Stmts = g.stmts(file.Stmts, "")
	if g.fault != nil {
		return fail(g.line, g.fault)
	}

	r := &run{name: name}
	globals := r.globals()
	program, err := starlark.FileProgram(file, globals.Has)
	if err != nil {
		var all resolve.ErrorList
		if !errors.As(err, &all) || len(all) == 0 {
			return fail(0, faultf("", "%s", err))
		}
		// What is written wrong comes before what is not known.
		first := max(0, slices.IndexFunc(all, func(e resolve.Error) bool { return !strings.HasPrefix(e.Msg, "undefined: ") }))
		return fail(int(all[first].Pos.Line), resolveFault(all[first].Msg, file, globals))
	}
	if id := foreign(file); id != nil {
		return fail(int(id.NamePos.Line), notFound(id.Name, names(file, globals)))
	}
	r.thread = &starlark.Thread{Name: name, Print: func(*starlark.Thread, string) {}}
	r.limit = MaxSteps + uint64(len(data))
	r.thread.SetMaxExecutionSteps(r.limit)
	if _, err := program.Init(r.thread, globals); err != nil {
		return fail(r.why(err))
	}
	return r, nil
}

// upTo returns what stands on the line of a position before it.
func upTo(text string, at syntax.Position) string {
	for range at.Line - 1 {
		_, text, _ = strings.Cut(text, "\n")
	}
	n := 0
	for range at.Col - 1 {
		_, size := utf8.DecodeRuneInString(text[n:])
		n += size
	}
	return text[:n]
}

// why finds out what stopped a run, and at which line.
func (r *run) why(err error) (int, *fault) {
	line := 0
	var eval *starlark.EvalError
	if errors.As(err, &eval) {
		for i := range eval.CallStack {
			if at := eval.CallStack.At(i).Pos; at.Line > 0 && line == 0 {
				line = int(at.Line)
			}
		}
	}
	var f *fault
	switch {
	case errors.As(err, &f):
	case errors.Is(err, errDeep):
		f = faultf("let functions call each other less deep", "Starlark %s (more than %d functions)", errDeep, MaxDepth)
	case errors.Is(err, errMemory):
		f = faultf("write fewer or shorter values", "the file makes more than %d MiB of values", MaxMemory>>20)
	case errors.Is(err, errLong):
		f = faultf("write shorter values", "the file makes a value that is too long: at most %d elements, %d characters or %d bits", MaxItems, MaxString, maxBits)
	case r.thread.Steps >= r.limit:
		f = faultf("write fewer or shorter loops", "the file takes more than %d steps", r.limit)
	default:
		message := err.Error()
		if eval != nil {
			message = eval.Msg
		}
		f = evalFault(message, r.name)
	}
	return line, f
}

// foreign finds a name that go.starlark.net knows and Codex does not, such as
// print.
func foreign(file *syntax.File) *syntax.Ident {
	var found *syntax.Ident
	syntax.Walk(file, func(n syntax.Node) bool {
		if id, ok := n.(*syntax.Ident); ok && found == nil {
			if b, ok := id.Binding.(*resolve.Binding); ok && b.Scope == resolve.Universal {
				found = id
			}
		}
		return found == nil
	})
	return found
}

// names are those a file can use: for the one that is perhaps meant.
func names(file *syntax.File, globals starlark.StringDict) []string {
	var out []string
	for name := range globals {
		if name[0] != '@' {
			out = append(out, name)
		}
	}
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.AssignStmt:
			if id, ok := n.LHS.(*syntax.Ident); ok {
				out = append(out, id.Name)
			}
		case *syntax.DefStmt:
			out = append(out, n.Name.Name)
			for _, p := range n.Params {
				if id := param(p); id != nil {
					out = append(out, id.Name)
				}
			}
		}
		return true
	})
	slices.Sort(out)
	return slices.Compact(out)
}
