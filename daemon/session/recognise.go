// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"
	"strings"
)

// deleted is what procfs adds to the path of an executable that was replaced
// while it ran, as every update of an agent does.
const deleted = " (deleted)"

// Recognise says which agent a process is. It looks at the file, the path it
// was called by and the arguments, never at the environment or at argv[0],
// which the caller makes up.
//
// A process whose parent is governed already is not to be asked about: the
// native codex that the npm wrapper starts belongs to the wrapper's session.
func (p *Profiles) Recognise(proc Process) (Match, bool) {
	s, ok := p.recognise(proc)
	return s.Match, ok
}

func (p *Profiles) recognise(proc Process) (Started, bool) {
	proc.Exe = strings.TrimSuffix(proc.Exe, deleted)
	runs, code := p.runs(proc)
	for i := range p.agents {
		a := &p.agents[i]
		for j := range a.Match {
			rule := &a.Match[j]
			for _, r := range runs {
				version, ok := rule.matches(r)
				if !ok {
					continue
				}
				m := Match{Agent: a.Name, Install: rule.Install, Version: label(version), Surface: rule.Surface}
				if m.Surface == "" {
					m.Surface = a.surface(r, proc)
				}
				return Started{Match: m, Program: r.path, agent: a, args: r.args, before: before(proc.Args, r.args)}, true
			}
			if rule.inCode(code) {
				m := Match{Agent: a.Name, Install: rule.Install, Surface: a.surface(run{}, proc)}
				return Started{Match: m, agent: a, before: before(proc.Args, nil)}, true
			}
		}
	}
	return Started{}, false
}

// runs lists what the process may be said to run: the script if there is one,
// then the executable by its own path and by the one it was called.
func (p *Profiles) runs(proc Process) (runs []run, code []string) {
	scripts, code := p.scripts(proc)
	for i, s := range scripts {
		s.path = absolute(proc.Cwd, s.path)
		if i == 0 && proc.Script != "" {
			runs = append(runs, run{absolute("/", proc.Script), s.args})
		}
		runs = append(runs, s)
	}
	var own []string
	if len(proc.Args) > 0 {
		own = proc.Args[1:]
	}
	if len(scripts) > 0 {
		own = scripts[0].args
	}
	for _, name := range []string{proc.Exe, proc.Called} {
		if name != "" {
			runs = append(runs, run{absolute(proc.Cwd, name), own})
		}
	}
	return runs, code
}

func (m *matchRule) matches(r run) (version string, ok bool) {
	if len(m.Program) > 0 && !slices.Contains(m.Program, base(r.path)) {
		return "", false
	}
	if len(m.Package) > 0 && !slices.Contains(m.Package, packageOf(r.path)) {
		return "", false
	}
	for _, want := range m.Arguments {
		if !slices.ContainsFunc(r.args, func(arg string) bool { return hasFlag(arg, want) }) {
			return "", false
		}
	}
	if len(m.paths) == 0 {
		return "", true
	}
	for _, g := range m.paths {
		if version, ok = g.match(r.path); ok {
			return version, true
		}
	}
	return "", false
}

// inCode reports whether program text loads a package the rule is about.
func (m *matchRule) inCode(code []string) bool {
	if len(m.Program)+len(m.Path)+len(m.Arguments) > 0 {
		return false
	}
	return slices.ContainsFunc(code, func(text string) bool {
		return slices.ContainsFunc(m.Package, func(pkg string) bool {
			return strings.Contains(text, "node_modules/"+pkg+"/")
		})
	})
}

// surface applies the rules of the agent in their order; a person at a
// terminal when none holds.
func (a *agent) surface(r run, proc Process) string {
	words := a.words(r.args)
	for i := range a.Surfaces {
		if s := &a.Surfaces[i]; s.holds(r, words, proc) {
			return s.Surface
		}
	}
	return SurfaceCLI
}

func (s *surfaceRule) holds(r run, words []string, proc Process) bool {
	if len(s.Program) > 0 && !slices.Contains(s.Program, base(r.path)) {
		return false
	}
	if len(s.Subcommand) > 0 && !slices.ContainsFunc(s.Subcommand, func(want string) bool {
		parts := strings.Fields(want)
		return len(words) >= len(parts) && slices.Equal(words[:len(parts)], parts)
	}) {
		return false
	}
	if len(s.Flag) > 0 && !slices.ContainsFunc(s.Flag, func(want string) bool {
		return slices.ContainsFunc(r.args, func(arg string) bool { return hasFlag(arg, want) })
	}) {
		return false
	}
	return len(s.Parent) == 0 || slices.ContainsFunc(s.parents, func(g glob) bool {
		_, ok := g.match(absolute("/", strings.TrimSuffix(proc.ParentExe, deleted)))
		return ok
	})
}

// words returns the first two arguments that are neither options nor values of
// options: the subcommand and what follows it.
func (a *agent) words(args []string) []string {
	var words []string
	for i := 0; i < len(args) && len(words) < 2; i++ {
		switch arg := args[i]; {
		case arg == "--":
			return words
		case !strings.HasPrefix(arg, "-"):
			words = append(words, arg)
		case slices.Contains(a.OptionsWithValue, arg):
			i++
		}
	}
	return words
}

// hasFlag reports whether arg is the option, with or without =VALUE.
func hasFlag(arg, option string) bool {
	rest, ok := strings.CutPrefix(arg, option)
	return ok && (rest == "" || rest[0] == '=')
}

// before returns the arguments of an interpreter that stand before its script, of
// which args are the last ones.
func before(all, args []string) []string {
	if n := len(all) - len(args) - 1; n > 1 {
		return all[1:n]
	}
	return nil
}
