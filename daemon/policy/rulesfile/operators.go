// SPDX-License-Identifier: Apache-2.0

package rulesfile

import (
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// operators gives the token of each guarded operator by how it is written.
var operators = func() map[string]syntax.Token {
	all := map[string]syntax.Token{}
	for t := range guarded {
		all[t.String()] = t
	}
	return all
}()

// binary is x op y.
func (b *budget) binary(op syntax.Token, x, y starlark.Value) (starlark.Value, error) {
	b.work(min(size(x), MaxItems))
	b.work(min(size(y), MaxItems))
	if err := b.before(op, x, y); err != nil {
		return nil, err
	}
	switch op {
	case syntax.EQL, syntax.NEQ, syntax.LT, syntax.GT, syntax.LE, syntax.GE:
		alike := typeName(x) == typeName(y) || number(x) && number(y)
		if op != syntax.EQL && op != syntax.NEQ && !alike {
			return nil, faultf("", "Operation `cmp()` not supported for types `%s` and `%s`", typeName(x), typeName(y))
		}
		same, err := starlark.Compare(op, x, y)
		return starlark.Bool(same), err
	}
	v, err := starlark.Binary(op, x, y)
	if err != nil {
		return nil, operatorFault(op, x, y, err)
	}
	return v, nil
}

func number(v starlark.Value) bool {
	switch v.(type) {
	case starlark.Int, starlark.Float:
		return true
	}
	return false
}

// before accounts for what an operation makes or goes over.
func (b *budget) before(op syntax.Token, x, y starlark.Value) error {
	switch op {
	case syntax.PLUS, syntax.PIPE:
		switch x := x.(type) {
		case starlark.String, starlark.Bytes:
			return b.text(starlark.Len(x) + max(starlark.Len(y), 0))
		case starlark.Sequence:
			return b.items(2 * (x.Len() + max(starlark.Len(y), 0)))
		}
	case syntax.STAR:
		if _, ok := x.(starlark.Int); ok {
			x, y = y, x
		}
		times, ok := y.(starlark.Int)
		if !ok {
			return nil
		}
		n, fits := times.Int64()
		switch x := x.(type) {
		case starlark.Int:
			if x.BigInt().BitLen()+times.BigInt().BitLen() > maxBits {
				return errLong
			}
		case starlark.String, starlark.Bytes:
			if l := int64(starlark.Len(x)); l > 0 && times.Sign() > 0 {
				if !fits || n > MaxString/l {
					return errLong
				}
				return b.text(int(n * l))
			}
		case starlark.Sequence:
			if l := int64(x.Len()); l > 0 && times.Sign() > 0 {
				if !fits || n > MaxItems/l {
					return errLong
				}
				return b.items(int(n * l))
			}
		}
	case syntax.LTLT:
		if x, ok := x.(starlark.Int); ok && x.BigInt().BitLen() > maxBits-512 {
			return errLong
		}
	case syntax.PERCENT:
		if s, ok := x.(starlark.String); ok {
			n, err := b.all(y)
			if err != nil {
				return err
			}
			if err := verbs(string(s)); err != nil {
				return err
			}
			args, several := y.(starlark.Tuple)
			if !several {
				args = starlark.Tuple{y}
			}
			if err := written(strings.Contains(string(s), "%r"), args...); err != nil {
				return err
			}
			// A mapping may be written out once for every verb.
			if times := count(string(s), '%'); times > 0 {
				if n > MaxString/times {
					return errLong
				}
				n *= times
			}
			return b.text(len(s) + n)
		}
	case syntax.IN, syntax.NOT_IN, syntax.EQL, syntax.NEQ, syntax.LT, syntax.GT, syntax.LE, syntax.GE:
		for _, v := range []starlark.Value{x, y} {
			if _, err := b.all(v); err != nil {
				return err
			}
		}
	}
	return nil
}

// verbs refuses what go.starlark.net has after a % and Codex has not.
func verbs(format string) error {
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			continue
		}
		if i++; i < len(format) && !strings.Contains("%srdoxXeEgGf", format[i:i+1]) {
			return faultf("", "Unsupported format character: '%s'", format[i:i+1])
		}
	}
	return nil
}

// written refuses values that Codex writes otherwise: quoted, text beyond ASCII is
// \xe9 there. quoted says that all are; otherwise those within others are.
func written(quoted bool, values ...starlark.Value) error {
	for _, v := range values {
		var err error
		switch v := v.(type) {
		case starlark.String:
			if quoted && !ascii(string(v)) {
				err = beyondASCII("quoted text", string(v))
			}
		case *starlark.Dict:
			for k, x := range v.Entries() {
				if err == nil {
					err = written(true, k, x)
				}
			}
		case starlark.Tuple:
			err = written(true, v...)
		case *starlark.List:
			for x := range v.Elements() {
				if err == nil {
					err = written(true, x)
				}
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// beyondASCII is the answer where Codex and go.starlark.net make different things
// of the same text: neither is guessed.
func beyondASCII(what, s string) error {
	return faultf("write the text out", "%s beyond ASCII is not supported by Paddock: `%s`", what, short(s))
}

func count(s string, c byte) int {
	n := 0
	for i := range len(s) {
		if s[i] == c {
			n++
		}
	}
	return n
}

// augment is x op= y: lists and dictionaries change, everything else is made anew.
func (b *budget) augment(op syntax.Token, x, y starlark.Value) (starlark.Value, error) {
	switch x := x.(type) {
	case *starlark.List:
		if from, ok := y.(starlark.Iterable); ok && op == syntax.PLUS {
			if err := b.items(max(starlark.Len(y), 0) + 1); err != nil || x.Len() > MaxItems {
				return nil, orLong(err)
			}
			var more []starlark.Value
			for v := range starlark.Elements(from) {
				more = append(more, v)
			}
			for _, v := range more {
				if err := x.Append(v); err != nil {
					return nil, err
				}
			}
			return x, nil
		}
	case *starlark.Dict:
		if from, ok := y.(*starlark.Dict); ok && op == syntax.PIPE {
			if err := b.items(2 * from.Len()); err != nil {
				return nil, err
			}
			for _, item := range from.Items() {
				if err := x.SetKey(item[0], item[1]); err != nil {
					return nil, err
				}
			}
			return x, nil
		}
	}
	return b.binary(op, x, y)
}

func orLong(err error) error {
	if err == nil {
		return errLong
	}
	return err
}

// augmentIndex is x[k] op= y.
func (b *budget) augmentIndex(op syntax.Token, x, k, y starlark.Value) (starlark.Value, error) {
	old, err := b.index(x, k)
	if err != nil {
		return nil, err
	}
	v, err := b.augment(op, old, y)
	if err != nil {
		return nil, err
	}
	switch x := x.(type) {
	case *starlark.Dict:
		err = x.SetKey(k, v)
	case *starlark.List:
		i, _ := starlark.AsInt32(k) // index has looked at it
		if i < 0 {
			i += x.Len()
		}
		err = x.SetIndex(i, v)
	default:
		err = faultf("", "Operation `[]=` not supported on type `%s`", typeName(x))
	}
	return starlark.None, err
}

// key accounts for a key of a dictionary, or an index, that is written to.
func (b *budget) key(k starlark.Value) (starlark.Value, error) {
	if _, err := b.all(k); err != nil {
		return nil, err
	}
	if _, err := k.Hash(); err != nil {
		return nil, faultf("", "Value of type `%s` is not hashable", typeName(k))
	}
	return k, b.spend(64)
}

// index is x[k], where it is read.
func (b *budget) index(x, k starlark.Value) (starlark.Value, error) {
	if d, ok := x.(*starlark.Dict); ok {
		if _, err := b.key(k); err != nil {
			return nil, err
		}
		v, found, err := d.Get(k)
		if err == nil && !found {
			err = faultf("", "Key `%s` was not found", k)
		}
		return v, err
	}
	x, err := b.sliced(x)
	if err != nil {
		return nil, err
	}
	seq, ok := x.(starlark.Indexable)
	if !ok {
		return nil, faultf("", "Operation `[]` not supported on type `%s`", typeName(x))
	}
	if _, ok := k.(starlark.Int); !ok {
		return nil, faultf("", "Type of parameters mismatch, expected `int`, actual `%s (repr: %s)`", typeName(k), b.repr(k))
	}
	i, err := starlark.AsInt32(k)
	if err == nil && i < 0 {
		i += seq.Len()
	}
	if err != nil || i < 0 || i >= seq.Len() {
		return nil, faultf("", "Index `%s` is out of bound", k)
	}
	return seq.Index(i), nil
}

// sliced accounts for a copy of x, or a part of it. Codex counts characters where
// go.starlark.net counts bytes: text where it matters is an error.
func (b *budget) sliced(x starlark.Value) (starlark.Value, error) {
	if s, ok := x.(starlark.String); ok {
		if !ascii(string(s)) {
			return nil, beyondASCII("a position in text", string(s))
		}
		b.work(len(s) / 64)
	}
	return x, nil
}

func ascii(s string) bool {
	return !slices.ContainsFunc([]byte(s), func(c byte) bool { return c >= 0x80 })
}

func (b *budget) slice(x starlark.Value) (starlark.Value, error) {
	x, err := b.sliced(x)
	if err != nil {
		return nil, err
	}
	if n := starlark.Len(x); n > 0 {
		if _, text := x.(starlark.String); text {
			err = b.text(n)
		} else {
			err = b.items(n)
		}
	}
	return x, err
}

// repr writes v for a message: a short one, whatever v is.
func (b *budget) repr(v starlark.Value) string {
	if n, err := b.all(v); err != nil || n > 1000 {
		return fmt.Sprintf("a %s of length %d", typeName(v), starlark.Len(v))
	}
	return v.String()
}

// typeName is the type as Codex names it.
func typeName(v starlark.Value) string {
	switch v.(type) {
	case *starlark.Builtin:
		return "function"
	}
	return v.Type()
}
