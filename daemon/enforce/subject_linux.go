// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// One exec may stand for several commands: a script and its interpreter, a
// loader and the program it loads, a multi-call binary and its applet. Each is
// judged, and the strictest answer holds.

// subject is a command an exec stands for.
type subject struct {
	policy.Command
	// alone: the kernel's record names this command fully, so an answer may be
	// remembered for the file and its arguments.
	alone bool
}

// multicall says whether a program is many in one file and picks one by its
// argv[0] or its first argument.
func multicall(name string) bool {
	switch name {
	case "busybox", "toybox", "coreutils", "busybox.static", "uutils":
		return true
	}
	return false
}

// loader says whether a program is the dynamic loader, which runs the program
// named in its arguments without another exec.
func loader(name string) bool {
	return strings.HasPrefix(name, "ld-linux") || strings.HasPrefix(name, "ld-musl") ||
		name == "ld.so" || strings.HasPrefix(name, "ld-") && strings.HasSuffix(name, ".so") ||
		strings.HasPrefix(name, "ld64.so") || strings.HasPrefix(name, "ld.so.")
}

// knowledge is what is known of the rules and of the programs they name.
type knowledge interface {
	// about says whether some rule is about a program with these names.
	about(names []string) bool
	// scripts says that some of the programs are scripts: a file that an interpreter is
	// given may be one, whatever it is called.
	scripts() bool
}

// process is what can be learned of the process an exec belongs to, while it
// cannot run.
type process interface {
	// file identifies what path means to the process: its names.
	file(path string) []string
	// lost is why some file could not be identified that is there.
	lost() error
}

// subjects lists the commands. names are those of the file the kernel runs.
func subjects(x *ebpf.Exec, args []string, names []string, p process, k knowledge) []subject {
	all := direct(x, args, names, p)
	for i := range all {
		in, ok := interpreterOf(all[i].Names)
		if !ok {
			continue
		}
		about := k.about
		if in.programs { // a box of many is about none of them
			about = func(names []string) bool {
				return k.about(names) || slices.ContainsFunc(names, multicall) || slices.ContainsFunc(names, loader)
			}
		}
		scripts, looked := in.given(all[i].Args, about, k.scripts() || in.programs, p)
		// What is behind a path may be something else the next time.
		all[i].alone = all[i].alone && len(scripts) == 0 && !looked
		if !in.programs {
			all = append(all, scripts...)
			continue
		}
		for _, s := range scripts {
			all = append(all, runs(s, s.Names[0], p)...)
		}
	}
	return all
}

// direct lists the commands without what an interpreter is given.
func direct(x *ebpf.Exec, args []string, names []string, p process) []subject {
	var argv0 string
	var rest []string
	if len(args) > 0 {
		argv0, rest = args[0], args[1:]
	}
	if x.Flags.Has(ebpf.Script) {
		return scriptSubjects(x, argv0, rest, names, p)
	}
	all := addName(slices.Clone(names), filepath.Base(x.Path))
	if strings.HasPrefix(x.Path, "/") {
		all = addName(all, x.Path)
	}
	return runs(subject{Command: policy.Command{Names: all, Args: rest}, alone: true}, argv0, p)
}

// runs lists a command with those that it stands for. Whoever starts a program chooses
// some of its names: one that makes it something else takes nothing away from what it is.
func runs(main subject, argv0 string, p process) []subject {
	var more []subject
	// git-push is git push: git, and others like it, take their own name with a
	// command's for that command. argv[0] is free to choose.
	for _, name := range main.Names {
		if command, ok := strings.CutPrefix(filepath.Base(argv0), name+"-"); ok {
			named := main
			named.Args = slices.Insert(slices.Clone(main.Args), 0, command)
			more = append(more, named)
		}
	}
	if slices.ContainsFunc(main.Names, multicall) {
		main.alone = false // an applet hides in argv[0], which is not in the cache's key by name
		more = append(more, applets(argv0, main.Args)...)
	}
	if slices.ContainsFunc(main.Names, loader) {
		main.alone = false
		more = append(more, loaded(main.Args, p)...)
	}
	return append([]subject{main}, more...)
}

// scriptSubjects: the kernel rewrote argv to interpreter, its option, the path
// that was called, arguments; x.Path is that path, names are the interpreter's.
func scriptSubjects(x *ebpf.Exec, argv0 string, rest, names []string, p process) []subject {
	called := append([]string{filepath.Base(x.Path)}, p.file(x.Path)...)
	if strings.HasPrefix(x.Path, "/") {
		called = append(called, x.Path)
	}
	var args []string
	if i := slices.Index(rest, x.Path); i >= 0 {
		args = rest[i+1:]
	}
	out := []subject{{Command: policy.Command{Names: called, Args: args}}}
	interp := subject{Command: policy.Command{Names: addName(slices.Clone(names), filepath.Base(argv0)), Args: rest}}
	// The interpreter may be a loader, or called what it likes.
	return append(out, runs(interp, argv0, p)...)
}

// applets lists what a multi-call binary may be.
func applets(argv0 string, rest []string) []subject {
	applet := strings.TrimPrefix(filepath.Base(argv0), "-")
	out := []subject{{Command: policy.Command{Names: []string{applet}, Args: rest}}}
	for i, arg := range rest {
		if name, ok := strings.CutPrefix(arg, "--coreutils-prog="); ok {
			return append(out, subject{Command: policy.Command{Names: []string{name}, Args: rest[i+1:]}})
		}
		if name, ok := strings.CutPrefix(arg, "--coreutils-prog-shebang="); ok { // the script comes between
			return append(out, subject{Command: policy.Command{Names: []string{name}, Args: rest[min(i+2, len(rest)):]}})
		}
		name := filepath.Base(arg)
		if strings.HasPrefix(arg, "-") || multicall(name) || strings.HasPrefix(name, "busybox") {
			continue // busybox busybox ls
		}
		return append(out, subject{Command: policy.Command{Names: []string{name}, Args: rest[i+1:]}})
	}
	return out
}

// loaderOptions take the next argument as their value.
var loaderOptions = map[string]bool{
	"--library-path": true, "--inhibit-rpath": true, "--audit": true, "--preload": true, "--argv0": true,
	"--glibc-hwcaps-prepend": true, "--glibc-hwcaps-mask": true,
}

// loaded lists what a loader is given, and what that stands for.
func loaded(rest []string, p process) (out []subject) {
	argv0 := ""
	for i := 0; i < len(rest); i++ {
		arg := rest[i]
		switch {
		case loaderOptions[arg]:
			if i++; arg == "--argv0" && i < len(rest) {
				argv0 = rest[i]
			}
			continue
		case strings.HasPrefix(arg, "--argv0="):
			argv0 = strings.TrimPrefix(arg, "--argv0=")
			continue
		case arg != "--" && strings.HasPrefix(arg, "--"):
			continue
		case arg == "--" && i+1 < len(rest):
			i++
			arg = rest[i]
		}
		program := subject{Command: policy.Command{Names: append([]string{filepath.Base(arg)}, p.file(arg)...), Args: rest[i+1:]}}
		if slices.ContainsFunc(program.Names, loader) { // one that loads another, if it is one
			out = append(out, program)
			continue
		}
		if argv0 == "" {
			argv0 = arg
		}
		return append(out, runs(program, argv0, p)...)
	}
	return out
}
