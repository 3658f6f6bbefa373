// SPDX-License-Identifier: Apache-2.0

package rulesfile

import (
	"go.starlark.net/syntax"
)

// guard rewrites the syntax tree of a file so that everything whose cost is not
// in proportion to its length goes through a function of this package, which asks
// the budget first. The names of these functions begin with "@": no file can use
// or redefine them. It also puts back what translate took out, type annotations.
type guard struct {
	file  *syntax.File
	types *translation
	fault *fault // the first; line is where
	line  int
}

// Operators that can make something greater than its operands, or whose work is
// in proportion to them.
var guarded = map[syntax.Token]bool{
	syntax.PLUS: true, syntax.STAR: true, syntax.PERCENT: true, syntax.LTLT: true, syntax.PIPE: true, syntax.EQL: true,
	syntax.NEQ: true, syntax.LT: true, syntax.GT: true, syntax.LE: true, syntax.GE: true, syntax.IN: true, syntax.NOT_IN: true,
	syntax.MINUS: true, syntax.SLASH: true, syntax.SLASHSLASH: true, syntax.AMP: true, syntax.CIRCUMFLEX: true, syntax.GTGT: true,
}

// augmented gives the operator of an assignment such as +=.
var augmented = map[syntax.Token]syntax.Token{
	syntax.PLUS_EQ: syntax.PLUS, syntax.MINUS_EQ: syntax.MINUS, syntax.STAR_EQ: syntax.STAR, syntax.SLASH_EQ: syntax.SLASH,
	syntax.SLASHSLASH_EQ: syntax.SLASHSLASH, syntax.PERCENT_EQ: syntax.PERCENT, syntax.AMP_EQ: syntax.AMP,
	syntax.PIPE_EQ: syntax.PIPE, syntax.CIRCUMFLEX_EQ: syntax.CIRCUMFLEX, syntax.LTLT_EQ: syntax.LTLT, syntax.GTGT_EQ: syntax.GTGT,
}

func (g *guard) fail(at syntax.Position, f *fault) {
	if g.fault == nil {
		g.fault, g.line = f, int(at.Line)
	}
}

func call(at syntax.Position, name string, args ...syntax.Expr) syntax.Expr {
	return &syntax.CallExpr{Fn: &syntax.Ident{NamePos: at, Name: name}, Lparen: at, Args: args, Rparen: at}
}

func text(at syntax.Position, s string) syntax.Expr {
	return &syntax.Literal{Token: syntax.STRING, TokenPos: at, Raw: "text", Value: s}
}

func start(n syntax.Node) syntax.Position {
	at, _ := n.Span()
	return at
}

func (g *guard) stmts(list []syntax.Stmt, returns string) []syntax.Stmt {
	for i, s := range list {
		list[i] = g.stmt(s, returns)
	}
	return list
}

// stmt rewrites one statement in a function whose results are of type returns.
func (g *guard) stmt(s syntax.Stmt, returns string) syntax.Stmt {
	switch s := s.(type) {
	case *syntax.ExprStmt:
		s.X = g.expr(s.X)
	case *syntax.AssignStmt:
		return g.assign(s)
	case *syntax.IfStmt:
		s.Cond = g.expr(s.Cond)
		s.True, s.False = g.stmts(s.True, returns), g.stmts(s.False, returns)
	case *syntax.ForStmt:
		s.Vars, s.X = g.target(s.Vars), g.expr(s.X)
		s.Body = g.stmts(s.Body, returns)
	case *syntax.ReturnStmt:
		if s.Result != nil {
			s.Result = g.expr(s.Result)
		}
		if returns != "" {
			if s.Result == nil {
				s.Result = &syntax.Ident{NamePos: s.Return, Name: "None"}
			}
			s.Result = call(s.Return, "@typed", s.Result, text(s.Return, returns))
		}
	case *syntax.DefStmt:
		g.def(s)
	case *syntax.LoadStmt:
		module, _ := s.Module.Value.(string)
		g.fail(s.Load, faultf("write the rules into this file", "No imports are available, you tried `%s` (no call to `Evaluator.set_loader`)", module))
	}
	return s
}

func (g *guard) def(s *syntax.DefStmt) {
	s.Params = g.params(s.Params)
	returns := g.types.returns[spot{s.Def.Line, s.Def.Col}]
	body := []syntax.Stmt{&syntax.ExprStmt{X: call(s.Def, "@enter")}}
	for _, p := range s.Params {
		if id := param(p); id != nil {
			if t := g.types.types[spot{id.NamePos.Line, id.NamePos.Col}]; t != "" {
				same := &syntax.Ident{NamePos: id.NamePos, Name: id.Name}
				body = append(body, &syntax.ExprStmt{X: call(id.NamePos, "@argument", same, text(id.NamePos, t), text(id.NamePos, id.Name))})
			}
		}
	}
	body = append(body, g.stmts(s.Body, returns)...)
	if returns != "" {
		body = append(body, g.stmt(&syntax.ReturnStmt{Return: s.Def}, returns))
	}
	s.Body = body
}

func param(p syntax.Expr) *syntax.Ident {
	switch p := p.(type) {
	case *syntax.Ident:
		return p
	case *syntax.BinaryExpr:
		return param(p.X)
	case *syntax.UnaryExpr:
		if p.X != nil {
			return param(p.X)
		}
	}
	return nil
}

func (g *guard) params(list []syntax.Expr) []syntax.Expr {
	for _, p := range list {
		if p, ok := p.(*syntax.BinaryExpr); ok {
			p.Y = g.expr(p.Y)
		}
	}
	return list
}

func (g *guard) assign(s *syntax.AssignStmt) syntax.Stmt {
	value := g.expr(s.RHS)
	if s.Op == syntax.EQ {
		if id, ok := s.LHS.(*syntax.Ident); ok {
			if t := g.types.types[spot{id.NamePos.Line, id.NamePos.Col}]; t != "" {
				value = call(id.NamePos, "@typed", value, text(id.NamePos, t))
			}
		}
		s.LHS, s.RHS = g.target(s.LHS), value
		return s
	}
	op := text(s.OpPos, augmented[s.Op].String())
	switch at := unparen(s.LHS).(type) {
	case *syntax.Ident:
		now := &syntax.Ident{NamePos: at.NamePos, Name: at.Name}
		s.LHS, s.RHS, s.Op = at, call(s.OpPos, "@augment", op, now, value), syntax.EQ
	case *syntax.IndexExpr:
		return &syntax.ExprStmt{X: call(s.OpPos, "@augment index", op, g.expr(at.X), g.expr(at.Y), value)}
	default:
		g.fail(s.OpPos, faultf("", "left-hand-side of assignment must take the form `a`, `a.b` or `a[b]`"))
	}
	return s
}

func unparen(e syntax.Expr) syntax.Expr {
	for {
		p, ok := e.(*syntax.ParenExpr)
		if !ok {
			return e
		}
		e = p.X
	}
}

// target rewrites what is assigned to.
func (g *guard) target(e syntax.Expr) syntax.Expr {
	switch e := e.(type) {
	case *syntax.Ident:
	case *syntax.IndexExpr:
		e.X, e.Y = g.expr(e.X), call(e.Lbrack, "@key", g.expr(e.Y))
	case *syntax.ParenExpr:
		e.X = g.target(e.X)
	case *syntax.TupleExpr:
		for i := range e.List {
			e.List[i] = g.target(e.List[i])
		}
	case *syntax.ListExpr:
		for i := range e.List {
			e.List[i] = g.target(e.List[i])
		}
	case *syntax.DotExpr:
		e.X = g.expr(e.X)
	default:
		g.fail(start(e), faultf("", "left-hand-side of assignment must take the form `a`, `a.b` or `a[b]`"))
	}
	return e
}

func (g *guard) exprs(list []syntax.Expr) {
	for i := range list {
		list[i] = g.expr(list[i])
	}
}

func (g *guard) expr(e syntax.Expr) syntax.Expr {
	switch e := e.(type) {
	case *syntax.BinaryExpr:
		x, y := g.expr(e.X), g.expr(e.Y)
		if guarded[e.Op] {
			return call(e.OpPos, "@binary", text(e.OpPos, e.Op.String()), x, y)
		}
		e.X, e.Y = x, y
	case *syntax.CallExpr:
		e.Fn = g.expr(e.Fn)
		for i, arg := range e.Args {
			e.Args[i] = g.argument(arg)
		}
	case *syntax.DotExpr:
		return call(e.Dot, "@attribute", g.expr(e.X), text(e.NamePos, e.Name.Name))
	case *syntax.IndexExpr:
		return call(e.Lbrack, "@index", g.expr(e.X), g.expr(e.Y))
	case *syntax.SliceExpr:
		e.X = call(e.Lbrack, "@slice", g.expr(e.X))
		for _, part := range []*syntax.Expr{&e.Lo, &e.Hi, &e.Step} {
			if *part != nil {
				*part = g.expr(*part)
			}
		}
	case *syntax.ListExpr:
		g.exprs(e.List)
	case *syntax.TupleExpr:
		g.exprs(e.List)
	case *syntax.ParenExpr:
		e.X = g.expr(e.X)
	case *syntax.DictExpr:
		for _, entry := range e.List {
			g.entry(entry.(*syntax.DictEntry))
		}
	case *syntax.CondExpr:
		e.Cond, e.True, e.False = g.expr(e.Cond), g.expr(e.True), g.expr(e.False)
	case *syntax.UnaryExpr:
		e.X = g.expr(e.X)
	case *syntax.Comprehension:
		g.comprehension(e)
	case *syntax.LambdaExpr:
		e.Params = g.params(e.Params)
		e.Body = &syntax.BinaryExpr{X: call(e.Lambda, "@enter"), OpPos: e.Lambda, Op: syntax.AND, Y: g.expr(e.Body)}
	}
	return e
}

func (g *guard) argument(arg syntax.Expr) syntax.Expr {
	switch arg := arg.(type) {
	case *syntax.BinaryExpr:
		if arg.Op == syntax.EQ {
			arg.Y = g.expr(arg.Y)
			return arg
		}
	case *syntax.UnaryExpr:
		if arg.Op == syntax.STAR || arg.Op == syntax.STARSTAR {
			arg.X = call(arg.OpPos, "@spread", g.expr(arg.X))
			return arg
		}
	}
	return g.expr(arg)
}

func (g *guard) entry(e *syntax.DictEntry) {
	e.Key, e.Value = call(e.Colon, "@key", g.expr(e.Key)), g.expr(e.Value)
}

func (g *guard) comprehension(e *syntax.Comprehension) {
	if entry, ok := e.Body.(*syntax.DictEntry); ok {
		g.entry(entry)
	} else {
		e.Body = call(start(e.Body), "@item", g.expr(e.Body))
	}
	for _, clause := range e.Clauses {
		switch c := clause.(type) {
		case *syntax.ForClause:
			c.Vars, c.X = g.target(c.Vars), g.expr(c.X)
		case *syntax.IfClause:
			c.Cond = g.expr(c.Cond)
		}
	}
}
