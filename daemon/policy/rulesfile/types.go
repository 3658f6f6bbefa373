// SPDX-License-Identifier: Apache-2.0

package rulesfile

import (
	"strings"

	"go.starlark.net/starlark"
)

// typ is a type annotation: "int", "list[str]", "str | None", "(int, str)".
type typ struct {
	name string // "" for a union, "()" for a tuple of exactly args
	args []typ
}

// typeNames are the names an annotation may use, and how many types each takes in
// brackets. Codex also takes variables that hold a type; here they are an error.
var typeNames = map[string]int{
	"None": 0, "bool": 0, "bytes": 0, "dict": 2, "float": 0, "int": 0, "list": 1, "range": 0, "str": 0, "tuple": 0, "type": 0,
}

// parseType reads an annotation.
func parseType(text string) (typ, *fault) {
	p := typeParser{text}
	t, f := p.union(0)
	if f == nil && p.skip() != 0 {
		f = badType(text)
	}
	return t, f
}

func badType(text string) *fault {
	if len(text) > 0 && text[0] >= '0' && text[0] <= '9' {
		return faultf("leave the annotation out", "int expression is not allowed in type expression")
	}
	return faultf("leave the annotation out, or use names such as str, int and list[str]", "expression is not allowed in type expression: `%s`", short(text))
}

type typeParser struct{ rest string }

// skip returns the next byte that is no space, or 0.
func (p *typeParser) skip() byte {
	p.rest = strings.TrimLeft(p.rest, " ")
	if p.rest == "" {
		return 0
	}
	return p.rest[0]
}

func (p *typeParser) take(c byte) bool {
	if p.skip() != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *typeParser) union(depth int) (typ, *fault) {
	if depth > 10 {
		return typ{}, badType(p.rest)
	}
	first, f := p.one(depth)
	if f != nil || p.skip() != '|' {
		return first, f
	}
	all := typ{args: []typ{first}}
	for p.take('|') {
		next, f := p.one(depth)
		if f != nil {
			return all, f
		}
		all.args = append(all.args, next)
	}
	return all, nil
}

func (p *typeParser) list(end byte, depth int) ([]typ, *fault) {
	var out []typ
	for {
		t, f := p.union(depth + 1)
		if f != nil {
			return nil, f
		}
		out = append(out, t)
		if p.take(end) {
			return out, nil
		}
		if !p.take(',') {
			return nil, badType(p.rest)
		}
	}
}

func (p *typeParser) one(depth int) (typ, *fault) {
	if p.take('(') {
		args, f := p.list(')', depth)
		return typ{"()", args}, f
	}
	p.skip()
	n := 0
	for n < len(p.rest) && isWord(rune(p.rest[n])) {
		n++
	}
	t := typ{name: p.rest[:n]}
	if n == 0 || t.name[0] >= '0' && t.name[0] <= '9' {
		return t, badType(p.rest)
	}
	p.rest = p.rest[n:]
	want, known := typeNames[t.name]
	if !known {
		return t, notFound(t.name, append(globalNames(), "None"))
	}
	if !p.take('[') {
		return t, nil
	}
	if t.name == "tuple" { // only tuple[T, ...]
		item, f := p.union(depth + 1)
		if f == nil && (!p.take(',') || !strings.HasPrefix(p.rest[len(p.rest)-len(strings.TrimLeft(p.rest, " ")):], "...")) {
			f = faultf("", "`tuple[]` is implemented only for `tuple[T, ...]`")
		}
		if f != nil {
			return t, f
		}
		p.skip()
		p.rest = p.rest[len("..."):]
		if !p.take(']') {
			return t, badType(p.rest)
		}
		t.args = []typ{item}
		return t, nil
	}
	args, f := p.list(']', depth)
	if f == nil && len(args) != want {
		f = faultf("", "Operation `[]` not supported on type `function`")
	}
	t.args = args
	return t, f
}

// holds reports whether v is of type t. It looks at every element; b pays for that.
func (b *budget) holds(t typ, v starlark.Value) bool {
	b.work(1)
	all := func(seq starlark.Iterable, t typ) bool {
		it := seq.Iterate()
		defer it.Done()
		var x starlark.Value
		for it.Next(&x) {
			if !b.holds(t, x) {
				return false
			}
		}
		return true
	}
	switch t.name {
	case "":
		for _, alternative := range t.args {
			if b.holds(alternative, v) {
				return true
			}
		}
		return false
	case "()":
		tuple, ok := v.(starlark.Tuple)
		if !ok || len(tuple) != len(t.args) {
			return false
		}
		for i, x := range tuple {
			if !b.holds(t.args[i], x) {
				return false
			}
		}
		return true
	case "type":
		_, ok := v.(*starlark.Builtin)
		return ok
	}
	name := map[string]string{"None": "NoneType", "str": "string"}[t.name]
	if name == "" {
		name = t.name
	}
	switch {
	case typeName(v) != name:
		return false
	case len(t.args) == 0:
		return true
	case t.name == "dict":
		d := v.(*starlark.Dict)
		for _, item := range d.Items() {
			if !b.holds(t.args[0], item[0]) || !b.holds(t.args[1], item[1]) {
				return false
			}
		}
		return true
	}
	return all(v.(starlark.Iterable), t.args[0])
}
