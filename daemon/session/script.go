// SPDX-License-Identifier: Apache-2.0

package session

import (
	"path"
	"slices"
	"strings"
)

// run is one reading of a process: the program that runs and its arguments.
type run struct {
	path string // absolute and clean; links resolved only where that is known
	args []string
}

// ScriptArgument returns the path of the script an interpreter was told to run,
// as it was given. It is for the caller to resolve, in the process's own view
// of the file system, into Process.Script. ok is false when there is none.
func (p *Profiles) ScriptArgument(proc Process) (script string, ok bool) {
	scripts, _ := p.scripts(proc)
	if len(scripts) == 0 {
		return "", false
	}
	return scripts[0].path, true
}

// scripts returns the scripts the process may be running, most likely first,
// with paths as given; and program text given as an argument.
func (p *Profiles) scripts(proc Process) (scripts []run, code []string) {
	// The kernel runs a script by putting the path it was called by among the
	// arguments of its interpreter, so that needs no knowledge of either.
	if proc.Called != "" && base(proc.Called) != base(proc.Exe) && len(proc.Args) > 1 {
		if i := slices.Index(proc.Args[1:], proc.Called); i >= 0 {
			scripts = append(scripts, run{proc.Called, proc.Args[i+2:]})
		}
	}
	in := p.interpreters[base(proc.Exe)]
	if in == nil {
		in = p.interpreters[base(proc.Called)]
	}
	if in == nil {
		return scripts, nil
	}
	more, code := in.read(proc.Args)
	return append(scripts, more...), code
}

// read finds the script in the arguments of an interpreter; what options load
// comes after it. An option that is not known may take the next argument as its
// value or not: then both readings are returned, since to miss the script would
// be to miss the agent.
func (in *interpreter) read(args []string) (scripts []run, code []string) {
	var loaded []run
	defer func() { scripts = append(scripts, loaded...) }()
	unsure, begun := false, false
	for i := 1; i < len(args); i++ {
		arg := args[i]
		if arg == "-" {
			return scripts, code
		}
		if arg == "--" {
			if i+1 < len(args) {
				scripts = append(scripts, run{args[i+1], args[i+2:]})
			}
			return scripts, code
		}
		if !strings.HasPrefix(arg, "-") {
			if !begun && slices.Contains(in.Subcommands, arg) {
				begun = true
				continue
			}
			scripts = append(scripts, run{arg, args[i+1:]})
			if !unsure {
				return scripts, code
			}
			unsure = false
			continue
		}
		name, value, given := strings.Cut(arg, "=")
		next := ""
		if i+1 < len(args) {
			next = args[i+1]
		}
		switch {
		case slices.Contains(in.CodeOptions, name):
			if !given {
				value = next
			}
			if !given && slices.Contains(in.CodeOptions, next) {
				continue // -p -e TEXT
			}
			return scripts, append(code, value)
		case slices.Contains(in.LoadOptions, name):
			if !given {
				value = next
				i++
			}
			loaded = append(loaded, run{strings.TrimPrefix(value, "file://"), nil})
		case given || strings.HasPrefix(name, "--no-") || slices.Contains(in.Flags, name):
		case slices.Contains(in.OptionsWithValue, name):
			i++
		default:
			unsure = true
		}
	}
	return scripts, code
}

// base is the last name of a path, as it is: "" for "" and for "/".
func base(p string) string {
	p = strings.TrimRight(p, "/")
	return p[strings.LastIndexByte(p, '/')+1:]
}

// maxPath is how much of a path is looked at, in bytes. PATH_MAX is no more, but
// a file below a deep directory can have a longer one.
const maxPath = 4096

// absolute makes p absolute and clean, as far as cwd is known. Of a longer path
// the end is returned, which says what the file is.
func absolute(cwd, p string) string {
	if !strings.HasPrefix(p, "/") {
		p = cwd + "/" + p
	}
	p = path.Clean("/" + p)
	if len(p) > maxPath {
		p = p[len(p)-maxPath:]
		p = "/" + p[strings.IndexByte(p, '/')+1:]
	}
	return p
}

// packageOf returns the npm package the file at p belongs to, the innermost
// one: .../node_modules/@scope/name/x or .../node_modules/name/x. "" for none.
func packageOf(p string) string {
	const dir = "/node_modules/"
	i := strings.LastIndex(p, dir)
	if i < 0 {
		return ""
	}
	parts := strings.SplitN(p[i+len(dir):], "/", 3)
	if strings.HasPrefix(parts[0], "@") && len(parts) > 1 {
		return parts[0] + "/" + parts[1]
	}
	return parts[0]
}
