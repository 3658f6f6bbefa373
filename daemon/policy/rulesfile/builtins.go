// SPDX-License-Identifier: Apache-2.0

package rulesfile

import (
	"slices"
	"strings"
	"unicode/utf8"

	"go.starlark.net/starlark"
)

type function = func(*starlark.Thread, *starlark.Builtin, starlark.Tuple, []starlark.Tuple) (starlark.Value, error)

// library are the functions of Starlark that Codex has.
var library = []string{
	"abs", "all", "any", "bool", "bytes", "chr", "dict", "dir", "enumerate", "fail", "float", "getattr", "hasattr", "hash", "int",
	"len", "list", "max", "min", "ord", "range", "repr", "reversed", "sorted", "str", "tuple", "type", "zip",
}

// methods are those of each type that Codex has.
var methods = map[string][]string{
	"string": {
		"capitalize", "codepoints", "count", "elems", "endswith", "find", "format", "index", "isalnum", "isalpha", "isdigit", "islower",
		"isspace", "istitle", "isupper", "join", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind",
		"rindex", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "title", "upper",
	},
	"list": {"append", "clear", "extend", "index", "insert", "pop", "remove"},
	"dict": {"clear", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values"},
}

// globalNames are the names a file can use without defining them, sorted.
func globalNames() []string {
	names := append([]string{"False", "None", "True", "host_executable", "network_rule", "prefix_rule"}, library...)
	slices.Sort(names)
	return names
}

// globals makes what a file finds when it starts.
func (r *run) globals() starlark.StringDict {
	g := starlark.StringDict{"None": starlark.None, "True": starlark.True, "False": starlark.False}
	own := map[string]function{
		"prefix_rule": r.prefixRule, "host_executable": r.hostExecutable, "network_rule": r.networkRule,
		"dir": r.dir, "fail": r.fail, "getattr": r.getattr, "hasattr": r.hasattr, "len": r.len, "type": r.typeOf,
		"@attribute": r.attributeCall, "@enter": r.enter, "@argument": r.checkArgument, "@typed": r.checkValue, "@binary": r.binaryCall,
		"@augment": r.augmentCall, "@augment index": r.augmentIndexCall,
	}
	for name, f := range map[string]func(starlark.Value) (starlark.Value, error){
		"@key": r.key, "@slice": r.slice, "@spread": r.spread, "@item": r.item,
	} {
		own[name] = func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
			return f(args[0])
		}
	}
	own["@index"] = func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		return r.index(args[0], args[1])
	}
	for name, f := range own {
		g[name] = starlark.NewBuiltin(name, f)
	}
	for _, name := range library {
		if g[name] == nil {
			g[name] = r.wrap(name, starlark.Universe[name].(*starlark.Builtin), r.beforeFunction)
		}
	}
	return g
}

// wrap makes a function that accounts for a call before it makes it.
func (r *run) wrap(name string, f *starlark.Builtin, before func(string, starlark.Tuple, []starlark.Tuple) error) *starlark.Builtin {
	return starlark.NewBuiltin(name, func(thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		for _, v := range args {
			r.work(min(size(v), MaxItems))
		}
		if err := before(name, args, kwargs); err != nil {
			return nil, err
		}
		return f.CallInternal(thread, args, kwargs)
	})
}

// everything is the sum of all over the arguments of a call.
func (r *run) everything(args starlark.Tuple, kwargs []starlark.Tuple) (int, error) {
	sum := 0
	add := func(v starlark.Value) error {
		n, err := r.all(v)
		sum += n
		if err == nil && sum > MaxString {
			err = errLong
		}
		return err
	}
	for _, v := range args {
		if err := add(v); err != nil {
			return 0, err
		}
	}
	for _, kw := range kwargs {
		if err := add(kw[1]); err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// beforeFunction accounts for a call of a function of the library.
func (r *run) beforeFunction(name string, args starlark.Tuple, kwargs []starlark.Tuple) error {
	length := 0
	for _, v := range args {
		length += max(starlark.Len(v), 0)
	}
	switch name {
	case "range":
		// A range is as long as it says, and everything that goes over one believes it.
		v, err := starlark.Universe["range"].(*starlark.Builtin).CallInternal(r.thread, args, kwargs)
		if err == nil && starlark.Len(v) > MaxItems {
			return errLong
		}
	case "int", "float":
		if length > maxDigits {
			return errLong
		}
	case "str", "repr", "bytes", "hash":
		n, err := r.everything(args, kwargs)
		if err != nil {
			return err
		}
		if name == "str" || name == "repr" {
			if err := written(name == "repr", args...); err != nil {
				return err
			}
		}
		return r.text(n * 4) // a byte that cannot be printed is written as four
	case "sorted", "min", "max":
		n, err := r.everything(args, kwargs)
		if err != nil {
			return err
		}
		r.work(n)
		return r.items(length)
	case "dict":
		if _, err := r.everything(args, kwargs); err != nil {
			return err
		}
		return r.items(4 * (length + len(kwargs)))
	case "list", "tuple", "reversed", "enumerate", "zip":
		return r.items(4 * length)
	}
	return nil
}

// attribute is x.name.
func (r *run) attribute(x starlark.Value, name string) (starlark.Value, error) {
	has := methods[x.Type()]
	if !slices.Contains(has, name) {
		f := faultf("", "Object of type `%s` has no attribute `%s`", typeName(x), name)
		if near := nearest(name, has); near != "" {
			f.cause += ", did you mean `" + near + "`?"
		}
		return nil, f
	}
	if s, ok := x.(starlark.String); ok && (name == "elems" || name == "codepoints") {
		return starlark.NewBuiltin(name, func(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
			if err := starlark.UnpackArgs(b.Name(), args, kwargs); err != nil {
				return nil, err
			}
			return r.characters(string(s), name == "elems")
		}), nil
	}
	v, err := x.(starlark.HasAttrs).Attr(name)
	if err != nil || v == nil {
		return nil, faultf("", "Object of type `%s` has no attribute `%s`", typeName(x), name)
	}
	return r.wrap(name, v.(*starlark.Builtin), func(name string, args starlark.Tuple, kwargs []starlark.Tuple) error {
		return r.beforeMethod(x, name, args, kwargs)
	}), nil
}

// characters are those of s, as texts or as numbers.
func (r *run) characters(s string, texts bool) (starlark.Value, error) {
	if err := r.items(2 * len(s)); err != nil {
		return nil, err
	}
	var out []starlark.Value
	for _, c := range s {
		if texts {
			out = append(out, starlark.String(c))
		} else {
			out = append(out, starlark.MakeInt(int(c)))
		}
	}
	return starlark.NewList(out), nil
}

func (r *run) beforeMethod(x starlark.Value, name string, args starlark.Tuple, kwargs []starlark.Tuple) error {
	switch x := x.(type) {
	case starlark.String:
		return r.beforeText(string(x), name, args, kwargs)
	case *starlark.List:
		return r.beforeList(x, name, args)
	case *starlark.Dict:
		switch name {
		case "get", "pop", "setdefault":
			if len(args) > 0 {
				_, err := r.key(args[0])
				return err
			}
		case "update":
			n, err := r.everything(args, kwargs)
			if err != nil {
				return err
			}
			return r.items(n/8 + 4*len(kwargs))
		case "keys", "values", "items":
			return r.items(4 * x.Len())
		}
	}
	return nil
}

func (r *run) beforeList(x *starlark.List, name string, args starlark.Tuple) error {
	switch name {
	case "append", "insert":
		if name == "insert" {
			r.work(x.Len() / 8)
		}
		if x.Len() >= MaxItems {
			return errLong
		}
		return r.items(2)
	case "extend":
		n := 0
		if len(args) > 0 {
			n = max(starlark.Len(args[0]), 0)
		}
		if x.Len()+n > MaxItems {
			return errLong
		}
		return r.items(2 * n)
	case "index", "remove":
		if _, err := r.all(x); err != nil {
			return err
		}
		_, err := r.everything(args, nil)
		return err
	case "pop", "clear":
		r.work(x.Len() / 8)
	}
	return nil
}

func (r *run) beforeText(s, name string, args starlark.Tuple, kwargs []starlark.Tuple) error {
	r.work(len(s) / 64)
	switch name {
	case "join":
		if len(args) != 1 {
			return nil
		}
		list, ok := args[0].(starlark.Iterable)
		if !ok {
			return nil // it will say so
		}
		n := 0
		for v := range starlark.Elements(list) {
			part, ok := v.(starlark.String)
			if !ok {
				return faultf("", "Type of parameter `to_join` doesn't match, expected `str`, actual `%s (repr: %s)`", typeName(v), r.repr(v))
			}
			n += len(part) + len(s)
			if n > MaxString {
				return errLong
			}
		}
		return r.text(n)
	case "replace":
		if len(args) < 2 {
			return nil
		}
		old, _ := starlark.AsString(args[0])
		with, _ := starlark.AsString(args[1])
		n := strings.Count(s, old)
		if len(with) > 0 && n > MaxString/len(with) {
			return errLong
		}
		return r.text(len(s) + n*len(with))
	case "format":
		n, err := r.everything(args, kwargs)
		if err != nil {
			return err
		}
		for _, kw := range kwargs {
			args = append(slices.Clip(args), kw[1])
		}
		if err := written(strings.Contains(s, "!r"), args...); err != nil {
			return err
		}
		if fields := count(s, '{'); fields > 0 {
			if n > MaxString/fields {
				return errLong
			}
			n *= fields
		}
		return r.text(len(s) + 4*n)
	case "split", "rsplit", "splitlines":
		if name == "splitlines" && strings.Contains(s, "\r") {
			return faultf("end lines with \\n", "splitlines() of text with carriage returns is not supported by Paddock")
		}
		return r.items(2*len(s) + 1)
	case "find", "index", "rfind", "rindex":
		_, err := r.sliced(starlark.String(s))
		return err
	case "capitalize", "title", "upper", "lower", "isalnum", "isalpha", "isdigit", "islower", "istitle", "isupper":
		if !ascii(s) {
			return beyondASCII("the case or kind of text", s)
		}
	case "startswith", "endswith":
		_, err := r.everything(args, nil)
		return err
	}
	return r.text(3 * len(s)) // no change of case makes more of a character
}

// spread accounts for the arguments that * and ** stand for.
func (r *run) spread(v starlark.Value) (starlark.Value, error) {
	return v, r.items(2 * max(starlark.Len(v), 0))
}

// item accounts for one more element of a comprehension.
func (r *run) item(v starlark.Value) (starlark.Value, error) { return v, r.spend(48) }

func (r *run) binaryCall(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	return r.binary(operators[string(args[0].(starlark.String))], args[1], args[2])
}

func (r *run) augmentCall(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	return r.augment(operators[string(args[0].(starlark.String))], args[1], args[2])
}

func (r *run) augmentIndexCall(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	return r.augmentIndex(operators[string(args[0].(starlark.String))], args[1], args[2], args[3])
}

func (r *run) attributeCall(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	return r.attribute(args[0], string(args[1].(starlark.String)))
}

// enter is called first by every function of a file: on the stack are it, the
// functions, and the file itself.
func (r *run) enter(thread *starlark.Thread, _ *starlark.Builtin, _ starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	if thread.CallStackDepth() > MaxDepth+2 {
		return nil, errDeep
	}
	return starlark.True, r.spend(64)
}

func (r *run) checkArgument(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	return args[0], r.typed(args[0], string(args[1].(starlark.String)), "argument `"+string(args[2].(starlark.String))+"`")
}

func (r *run) checkValue(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	return args[0], r.typed(args[0], string(args[1].(starlark.String)), "return type")
}

// typed checks an annotation. Codex speaks of the return type of variables, too.
func (r *run) typed(v starlark.Value, annotation, what string) error {
	t, f := parseType(annotation)
	if f != nil {
		return f
	}
	if _, err := r.all(v); err != nil {
		return err
	}
	if r.holds(t, v) {
		return nil
	}
	shown := r.repr(v)
	if s, ok := starlark.AsString(v); ok && len(s) < 1000 {
		shown = s
	}
	return faultf("", "Value `%s` of type `%s` does not match the type annotation `%s` for %s", shown, typeName(v), short(annotation), what)
}

func (r *run) fail(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if len(kwargs) > 0 {
		return nil, extra("fail", "`"+string(kwargs[0][0].(starlark.String))+"`")
	}
	if _, err := r.everything(args, nil); err != nil {
		return nil, err
	}
	words := make([]string, len(args))
	for i, v := range args {
		words[i] = v.String()
		if s, ok := starlark.AsString(v); ok {
			words[i] = s
		}
	}
	return nil, faultf("", "fail: %s", strings.Join(words, " "))
}

func (r *run) dir(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	if err := starlark.UnpackPositionalArgs(b.Name(), args, kwargs, 1, &x); err != nil {
		return nil, err
	}
	var out []starlark.Value
	for _, name := range methods[x.Type()] {
		out = append(out, starlark.String(name))
	}
	return starlark.NewList(out), r.items(len(out))
}

func (r *run) getattr(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x, otherwise starlark.Value
	var name string
	if err := starlark.UnpackPositionalArgs(b.Name(), args, kwargs, 2, &x, &name, &otherwise); err != nil {
		return nil, err
	}
	v, err := r.attribute(x, name)
	if err != nil && otherwise != nil {
		return otherwise, nil
	}
	return v, err
}

func (r *run) hasattr(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	var name string
	if err := starlark.UnpackPositionalArgs(b.Name(), args, kwargs, 2, &x, &name); err != nil {
		return nil, err
	}
	return starlark.Bool(slices.Contains(methods[x.Type()], name)), nil
}

func (r *run) len(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if len(args) != 1 || len(kwargs) > 0 {
		return nil, faultf("", "Wrong number of positional arguments, expected 1, got %d", len(args))
	}
	if s, ok := args[0].(starlark.String); ok {
		r.work(len(s) / 64)
		return starlark.MakeInt(utf8.RuneCountInString(string(s))), nil
	}
	n := starlark.Len(args[0])
	if n < 0 {
		return nil, faultf("", "Operation `len()` not supported on type `%s`", typeName(args[0]))
	}
	return starlark.MakeInt(n), nil
}

func (r *run) typeOf(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	err := starlark.UnpackPositionalArgs(b.Name(), args, kwargs, 1, &x)
	if err != nil {
		return nil, err
	}
	return starlark.String(typeName(x)), nil
}

// notFound says that a name means nothing, and what was perhaps meant.
func notFound(name string, known []string) *fault {
	f := faultf("define it before, or take it out", "Variable `%s` not found", name)
	if near := nearest(name, known); near != "" {
		f.cause += ", did you mean `" + near + "`?"
		f.fix = "write " + near + " if you mean that, or define it before"
	}
	return f
}
