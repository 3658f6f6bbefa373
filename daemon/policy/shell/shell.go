// SPDX-License-Identifier: Apache-2.0

// Package shell finds the commands in a text of shell, as far as they can be known
// without running it. It is for people who try out rules: what is enforced is
// judged when it runs, by the program and the arguments the kernel sees.
//
// It never guesses. A word that a variable, a pattern of file names or another
// program decides is unknown, and so is everything after it; what cannot be read
// is said, not left out.
package shell

import (
	"fmt"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// Bounds of Commands.
const (
	// MaxText is the longest text, in bytes: the parser's stack grows with how deep
	// brackets are within each other.
	MaxText = 64 << 10
	// MaxCommands is how many commands are listed.
	MaxCommands = 2000
	maxWithin   = 16 // texts within texts
)

// Kind is what runs a command.
type Kind int

const (
	// Program is a file that is executed. Rules are about these.
	Program Kind = iota
	// Builtin is run by the shell itself: nothing is executed.
	Builtin
	// Function is one that the text defines; what it runs is listed by itself.
	Function
	// Hidden stands for commands that cannot be known before they run.
	Hidden
)

// Command is one command of a text.
type Command struct {
	Kind Kind
	// Words are the program and its arguments, as far as they are known.
	Words []string
	// Unknown says why Words is not all. Empty: it is.
	Unknown string
	// Line, from 1, is where in the outermost text it stands.
	Line int
	// Within names what is around it, from the outside in: "bash -c", "$(...)",
	// "xargs".
	Within []string
}

// finder collects the commands of one text and of those within it.
type finder struct {
	out       []Command
	functions map[string]uint // that are defined for sure, by where their definition ends
	within    []string
	line      int // of the outermost text; 0: this is it
	depth     int
}

// Commands returns the commands in text, in the order in which they are written. A
// text that is no shell is an error.
func Commands(text string) ([]Command, error) {
	f := &finder{}
	if err := f.text(text); err != nil {
		return nil, err
	}
	return f.out, nil
}

// text collects the commands of one text.
func (f *finder) text(text string) error {
	if len(text) > MaxText {
		return fmt.Errorf("it has more than %d KiB", MaxText>>10)
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), "")
	if err != nil {
		return err
	}
	defer func(outer map[string]uint) { f.functions = outer }(f.functions)
	f.functions = functions(file, text)
	var around []bool // for each node we are in, whether it is in f.within
	fed := map[*syntax.Stmt]*syntax.Stmt{}
	syntax.Walk(file, func(n syntax.Node) bool {
		if n == nil {
			if last := len(around) - 1; around[last] {
				f.within = f.within[:len(f.within)-1]
			}
			around = around[:len(around)-1]
			return true
		}
		name := ""
		switch n := n.(type) {
		case *syntax.CmdSubst:
			name = "$(...)"
		case *syntax.ProcSubst:
			name = "<(...)"
		case *syntax.Subshell:
			name = "(...)"
		case *syntax.FuncDecl:
			name = "function"
			if n.Name != nil {
				name += " " + n.Name.Value
			}
		case *syntax.BinaryCmd:
			if n.Op == syntax.Pipe || n.Op == syntax.PipeAll {
				fed[n.Y] = n.X
			}
		case *syntax.Stmt:
			if call, ok := n.Cmd.(*syntax.CallExpr); ok && len(call.Args) > 0 {
				f.call(call, input(n, fed[n]))
			}
		}
		if name != "" {
			f.within = append(slices.Clip(f.within), name)
		}
		around = append(around, name != "")
		return true
	})
	return nil
}

// functions returns those a text defines whatever happens, and where. One that is
// defined in a branch or a subshell, or may be undefined again, is a program to us:
// that is the one rules are about.
func functions(file *syntax.File, text string) map[string]uint {
	out := map[string]uint{}
	for _, s := range file.Stmts {
		if d, ok := s.Cmd.(*syntax.FuncDecl); ok && d.Name != nil && !s.Background && !strings.Contains(text, "unset") {
			if _, twice := out[d.Name.Value]; !twice {
				out[d.Name.Value] = d.End().Offset()
			}
		}
	}
	return out
}

// call adds a simple command.
func (f *finder) call(call *syntax.CallExpr, stdin script) {
	words, unknown := known(call.Args)
	f.at(int(call.Pos().Line()), func() {
		if len(words) > 0 {
			if end, ok := f.functions[words[0]]; ok && call.Pos().Offset() >= end {
				f.add(Function, words, unknown)
				return
			}
		}
		f.command(words, unknown, stdin)
	})
}

// at runs do for a command on a line of the text that is being read.
func (f *finder) at(line int, do func()) {
	if f.line == 0 {
		f.line = line
		defer func() { f.line = 0 }()
	}
	do()
}

func (f *finder) add(kind Kind, words []string, unknown string) {
	if len(f.out) < MaxCommands {
		f.out = append(f.out, Command{kind, words, unknown, f.line, slices.Clone(f.within)})
	} else if f.out[MaxCommands-1].Kind != Hidden || f.out[MaxCommands-1].Unknown != tooMany {
		f.out[MaxCommands-1] = Command{Hidden, nil, tooMany, f.line, nil}
	}
}

var tooMany = fmt.Sprintf("there are more than %d commands", MaxCommands)

// inner collects what a command runs in its turn.
func (f *finder) inner(name string, do func()) {
	if f.depth >= maxWithin {
		f.add(Hidden, nil, "it is too deep within other commands")
		return
	}
	f.depth++
	f.within = append(slices.Clip(f.within), name)
	do()
	f.within = f.within[:len(f.within)-1]
	f.depth--
}

// script collects a text that a command runs as shell.
func (f *finder) script(name, text string) {
	f.inner(name, func() {
		before := f.within
		if err := f.text(text); err != nil {
			f.within = before
			f.add(Hidden, nil, "this text cannot be read as shell: "+err.Error())
		}
	})
}

// command adds a command that is known as far as words go, and what it runs.
func (f *finder) command(words []string, unknown string, stdin script) {
	switch {
	case len(words) == 0:
		f.add(Hidden, nil, unknown)
		return
	case builtins[words[0]]:
		f.add(Builtin, words, unknown)
		f.builtin(words, unknown)
		return
	}
	f.add(Program, words, unknown)
	f.runs(words, unknown, stdin)
}

// builtin adds what a builtin of the shell runs.
func (f *finder) builtin(words []string, unknown string) {
	name, args := words[0], words[1:]
	switch name {
	case "eval":
		if unknown != "" {
			f.inner(name, func() { f.add(Hidden, nil, unknown) })
		} else if len(args) > 0 {
			f.script(name, strings.Join(args, " "))
		}
	case "trap":
		if len(args) > 1 && args[0] != "-" && !strings.HasPrefix(args[0], "-") {
			f.script(name, args[0])
		} else if len(args) == 0 && unknown != "" {
			f.inner(name, func() { f.add(Hidden, nil, unknown) })
		}
	case ".", "source":
		if len(args) > 0 || unknown != "" {
			f.inner(name, func() { f.add(Hidden, nil, "the commands are those of another file") })
		}
	case "exec", "command", "builtin":
		rest, ok := skip(wrapper{value: map[string]string{"exec": "-a"}[name], flags: "-c -l -p"}, args)
		if !ok || len(rest) == 0 && unknown == "" {
			return // only redirections, or command -v
		}
		f.inner(name, func() {
			switch {
			case len(rest) == 0:
				f.add(Hidden, nil, unknown)
			case name == "builtin" || name == "command" && builtins[rest[0]]:
				f.add(Builtin, rest, unknown)
				f.builtin(rest, unknown)
			default: // a function of that name is passed over
				f.add(Program, rest, unknown)
				f.runs(rest, unknown, script{})
			}
		})
	}
}

// builtins are what bash runs itself. What starts no program in any of the usual
// shells is here; what is also a program is one only when something else than the
// shell starts it.
var builtins = set(". : [ alias bg bind break builtin caller cd command compgen complete continue declare dirs disown echo enable eval exec " +
	"exit export false fc fg getopts hash help history jobs kill let local logout mapfile popd printf pushd pwd read readarray readonly " +
	"return set shift shopt source suspend test times trap true type typeset ulimit umask unalias unset wait")

func set(words string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(words) {
		out[w] = true
	}
	return out
}
