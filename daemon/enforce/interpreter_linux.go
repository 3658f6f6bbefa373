// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// A script that is a program of its own may be handed to its interpreter: node
// /usr/bin/npm publish is npm publish. What says so are arguments, and what they mean
// only the interpreter knows for sure: after options, each word that may be the script
// counts as one. One too many can only make the answer stricter.

// interpreter is how a program takes program text in place of a script.
type interpreter struct {
	// words are options with text, after which no script comes.
	words string
	// letters are such options of one letter, and flags those without any value, which
	// may be written before them: -lc, -ne.
	letters, flags string
	// module is the option whose value is a program's name.
	module string
	// subcommands are words that come before the script.
	subcommands []string
	// programs: it runs programs and no scripts, in its own process.
	programs bool
}

var (
	javaScript = interpreter{words: "-e --eval -p --print -pe", subcommands: []string{"inspect", "debug", "run", "x"}}
	python     = interpreter{letters: "c", flags: "bBdEhiIOPqsSuvVx", module: "-m"}
	lua        = interpreter{letters: "e", flags: "iEv"}
	shell      = interpreter{letters: "c", flags: "abefhiklmnprstuvxBCDEHPT"}
)

// interpreters are those of scripts that are programs, by file name without a version.
var interpreters = map[string]interpreter{
	"node": javaScript, "nodejs": javaScript, "bun": javaScript, "deno": {words: "eval", subcommands: []string{"run"}},
	"python": python, "pypy": python,
	"perl": {letters: "eE", flags: "0acfhlnpstuvwSTUWX"},
	"ruby": {letters: "e", flags: "achlnpsvwyS"},
	"php":  {words: "-r"}, "lua": lua, "luajit": lua,
	"sh": shell, "bash": shell, "dash": shell, "ash": shell, "zsh": shell, "ksh": shell, "mksh": shell, "rbash": shell, "fish": shell,
	"tclsh": {}, "wish": {}, "guile": {letters: "c"}, "rscript": {letters: "e"}, "osascript": {letters: "e"}, "pwsh": {words: "-c -Command -command"},
}

// emulator says whether a program runs others for which no exec happens: it reads them
// and translates them.
func emulator(name string) bool {
	switch name {
	case "valgrind", "valgrind.bin", "box64", "box86", "fexinterpreter", "fexloader", "drrun", "pin":
		return true
	}
	return strings.HasPrefix(name, "qemu-") && !strings.HasPrefix(name, "qemu-system-") ||
		strings.HasSuffix(name, "-amd64-linux") || strings.HasSuffix(name, "-arm64-linux") // valgrind's tools
}

// interpreterOf returns what is known of a program with these names.
func interpreterOf(names []string) (interpreter, bool) {
	for _, name := range names {
		name = strings.ToLower(filepath.Base(name))
		if emulator(name) {
			return interpreter{programs: true}, true
		}
		if in, ok := interpreters[name]; ok {
			return in, true
		}
		// python3.11, node-22, lua5.4
		if in, ok := interpreters[strings.TrimRight(name, "0123456789.-")]; ok {
			return in, true
		}
	}
	return interpreter{}, false
}

// given returns the commands that the arguments of an interpreter may stand for. about
// says whether a rule is about a program with such names; look whether the file
// behind an argument has to be looked at, since rules name scripts that are here; looked,
// whether one was.
func (in interpreter) given(args []string, about func(names []string) bool, look bool, p process) (out []subject, looked bool) {
	add := func(names []string, rest []string) {
		if about(names) {
			out = append(out, subject{Command: policy.Command{Names: names, Args: rest}})
		}
	}
	// Each option may have taken one word as its value. An option that is none of the
	// flags may have taken what looks like another one.
	words, options, unsure := 0, 0, false
	for i, arg := range args {
		module, isModule := "", false
		if in.module != "" {
			module, isModule = strings.CutPrefix(arg, in.module)
		}
		if isModule {
			rest := args[i+1:]
			if module == "" && len(rest) > 0 {
				module, rest = rest[0], rest[1:]
			}
			add([]string{module}, rest)
		}
		if (isModule || in.isCode(arg)) && !unsure {
			return out, looked
		}
		if arg == "" || strings.HasPrefix(arg, "-") {
			options++
			unsure = unsure || !in.isFlag(arg)
			_, value, ok := strings.Cut(arg, "=")
			if !ok || !strings.HasPrefix(arg, "--") {
				continue
			}
			arg = value // --require=FILE
		} else if !slices.Contains(in.subcommands, arg) {
			words++
		}
		names := []string{filepath.Base(arg)}
		if strings.HasPrefix(arg, "/") {
			names = append(names, arg)
		}
		if look {
			looked = true
			for _, name := range p.file(arg) {
				names = addName(names, name)
			}
		}
		add(names, args[i+1:])
		if words > options {
			return out, looked // what follows is the script's
		}
	}
	return out, looked
}

// isFlag says whether an option surely takes no value.
func (in interpreter) isFlag(arg string) bool {
	return arg == "" || in.flags != "" && arg[0] == '-' && strings.Trim(arg[1:], in.flags) == ""
}

// isCode says whether an option is one with program text.
func (in interpreter) isCode(arg string) bool {
	for _, word := range strings.Fields(in.words) {
		if arg == word || strings.HasPrefix(word, "--") && strings.HasPrefix(arg, word+"=") {
			return true
		}
	}
	if len(arg) < 2 || arg[0] != '-' {
		return false
	}
	rest := strings.TrimLeft(arg[1:], in.flags)
	return rest != "" && strings.Contains(in.letters, rest[:1])
}

// interpretersOf returns where the interpreter of a script is, by its first line; env
// looks in dirs.
func interpretersOf(head []byte, dirs []string) []string {
	line, _, _ := strings.Cut(string(head), "\n")
	line, ok := strings.CutPrefix(line, "#!")
	words := strings.Fields(line)
	if !ok || len(words) == 0 {
		return nil
	}
	if filepath.Base(words[0]) != "env" {
		return words[:1]
	}
	for _, word := range words[1:] {
		if strings.HasPrefix(word, "-") || strings.Contains(word, "=") {
			continue
		}
		if strings.Contains(word, "/") {
			return []string{word}
		}
		var out []string
		for _, dir := range dirs {
			out = append(out, filepath.Join(dir, word))
		}
		return out
	}
	return nil
}
