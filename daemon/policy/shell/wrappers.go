// SPDX-License-Identifier: Apache-2.0

package shell

import (
	"path"
	"slices"
	"strings"
)

// wrapper says how a program is called that runs the command in its arguments.
type wrapper struct {
	// value lists options that take a value, flags those that do not. A program
	// with another option is not understood: what it runs is unknown.
	value, flags string
	// before is the number of words before the command.
	before int
	// assigns: words such as NAME=value may come before the command.
	assigns bool
	// shell is an option whose value is a text of shell.
	shell string
	// appends: it adds arguments of its own at the end.
	appends string
}

// wrappers are those of coreutils, util-linux, findutils and sudo, by the name of
// the program.
var wrappers = map[string]wrapper{
	"chroot":    {value: "--groups --userspec", flags: "--skip-chdir", before: 1},
	"chrt":      {value: "-T -P -D --sched-runtime --sched-period --sched-deadline", flags: "-a -b -d -f -i -m -o -r -v", before: 1},
	"doas":      {value: "-C -u", flags: "-n"},
	"env":       {value: "-u --unset -C --chdir", flags: "- -i --ignore-environment -v --debug", assigns: true, shell: ""},
	"fakeroot":  {value: "-l -f -i -s -b", flags: "-u"},
	"flock":     {value: "-w --timeout -E --conflict-exit-code", flags: "-s -x -e -n -o -u -F --shared --exclusive --nonblock --nb --close --no-fork --verbose", before: 1, shell: "-c --command"},
	"ionice":    {value: "-c --class -n --classdata", flags: "-t --ignore"},
	"nice":      {value: "-n --adjustment"},
	"nohup":     {},
	"nsenter":   {value: "-t --target -S --setuid -G --setgid", flags: "-a -m -u -i -n -p -U -C -T -r -w -F --all --mount --uts --ipc --net --pid --user"},
	"prlimit":   {value: "-o --output", flags: "--noheadings --raw --verbose"},
	"runuser":   {value: "-u --user -g --group -G --supp-group", flags: "-m -p --preserve-environment"},
	"script":    {value: "-E -o -m -T -I -O -B", flags: "-a -e -f -q", shell: "-c --command"},
	"setpriv":   {value: "--ambient-caps --inh-caps --bounding-set --reuid --regid --groups --securebits --pdeathsig", flags: "--no-new-privs --nnp --clear-groups --keep-groups --init-groups --reset-env"},
	"setsid":    {flags: "-c -f -w --ctty --fork --wait"},
	"stdbuf":    {value: "-i -o -e --input --output --error"},
	"strace":    {value: "-e -o -s -p -u -a -b -E -I -O -P -S -U -X", flags: "-f -ff -c -C -d -i -k -n -q -qq -r -t -tt -ttt -T -v -V -w -x -xx -y -yy -z -Z"},
	"sudo":      {value: "-u --user -g --group -h --host -p --prompt -C --close-from -D --chdir -R --chroot -T --command-timeout -U --other-user -r --role -t --type", flags: "-A -b -E -H -K -k -n -P -S --askpass --background --preserve-env --set-home --non-interactive --stdin", assigns: true},
	"taskset":   {flags: "-a -c --all-tasks --cpu-list", before: 1},
	"time":      {value: "-f --format -o --output", flags: "-a -p -v -q --append --portability --verbose --quiet"},
	"timeout":   {value: "-k --kill-after -s --signal", flags: "-f -p -v --foreground --preserve-status --verbose", before: 1},
	"unshare":   {value: "-S --setuid -G --setgid -R --root -w --wd", flags: "-m -u -i -n -p -U -C -T -f -r -c --mount --uts --ipc --net --pid --user --cgroup --time --fork --map-root-user"},
	"watch":     {value: "-n --interval", flags: "-b -c -d -e -g -t -x --beep --color --differences --errexit --chgexit --no-title --exec"},
	"xargs":     {value: "-a --arg-file -d --delimiter -E -I -L -n -P -s --max-lines --max-args --max-procs --max-chars --process-slot-var", flags: "-0 -o -p -r -t -x --null --open-tty --interactive --no-run-if-empty --verbose --exit", appends: "words from its input"},
	"coreutils": {}, "busybox": {}, "toybox": {},
}

// shells read commands: from -c, from a file, or from their input.
var shells = set("ash bash dash ksh mksh rbash sh zsh")

// languages run what is no shell: from their arguments, a file, or their input.
var languages = set("awk bun deno gawk lua mawk node nodejs osascript perl php pwsh python python2 python3 ruby tclsh")

// skip passes over the options, assignments and own words of a wrapper. It is
// false when it does not understand an option.
func skip(w wrapper, args []string) (rest []string, ok bool) {
	value, flags := set(w.value), set(w.flags)
	i := 0
options:
	for ; i < len(args); i++ {
		arg := args[i]
		name, _, joined := strings.Cut(arg, "=")
		switch {
		case arg == "--":
			i++
			break options
		case arg == "-" && flags["-"]:
		case !strings.HasPrefix(arg, "-") || arg == "-":
			break options
		case flags[arg]:
		case value[arg]:
			i++
		case strings.HasPrefix(arg, "--") && joined && (value[name] || flags[name]):
		case !strings.HasPrefix(arg, "--") && value[arg[:2]]: // -n5
		case !strings.HasPrefix(arg, "--") && cluster(arg[1:], flags, value, &i):
		default:
			return nil, false
		}
	}
	rest = args[min(i, len(args)):]
	for w.assigns && len(rest) > 0 && strings.Contains(rest[0], "=") {
		rest = rest[1:]
	}
	return rest[min(w.before, len(rest)):], true
}

// cluster passes over single letters written together; a last one may take the
// next word as its value.
func cluster(letters string, flags, value map[string]bool, i *int) bool {
	for n, c := range letters {
		option := "-" + string(c)
		switch {
		case flags[option]:
		case value[option]:
			if n == len(letters)-1 {
				*i++
			}
			return true
		default:
			return false
		}
	}
	return true
}

// runs adds what a program runs because of its arguments.
func (f *finder) runs(words []string, unknown string, stdin script) {
	name, args := path.Base(words[0]), words[1:]
	hide := func(why string) { f.inner(name, func() { f.add(Hidden, nil, why) }) }
	switch {
	case shells[name]:
		f.shell(name, args, unknown, stdin)
		return
	case languages[name] || strings.HasPrefix(name, "python3."):
		hide("it is told in another language what to do")
		return
	case name == "find":
		f.find(args, unknown)
		return
	case name == "su":
		f.switchUser(args, unknown)
		return
	case name == "parallel" || name == "make" || name == "ssh" || name == "npm" || name == "npx" || name == "docker" || name == "podman":
		hide("its own configuration and arguments say what it runs")
		return
	}
	w, ok := wrappers[name]
	if !ok {
		return
	}
	if w.shell != "" {
		if i := slices.IndexFunc(args, func(a string) bool { return set(w.shell)[a] }); i >= 0 {
			if i+1 < len(args) {
				f.script(name+" "+args[i], args[i+1])
			} else {
				hide(unknown)
			}
			return
		}
		if name == "script" {
			hide("it starts a shell")
			return
		}
	}
	rest, ok := skip(w, args)
	switch {
	case !ok:
		hide("an option is not understood: " + strings.Join(args, " "))
	case len(rest) == 0 && unknown != "":
		hide(unknown)
	case len(rest) == 0:
		// Nothing is run: env prints, nice prints. sudo -s would have been no known option.
	case name == "watch" && !slices.Contains(args[:len(args)-len(rest)], "-x") && !slices.Contains(args[:len(args)-len(rest)], "--exec"):
		if unknown != "" {
			hide(unknown)
		} else {
			f.script(name, strings.Join(rest, " "))
		}
	default:
		if unknown == "" {
			unknown = w.appends
		}
		// Whoever runs it, it is no shell: a builtin's name is a program's here.
		f.inner(name, func() {
			f.add(Program, rest, unknown)
			f.runs(rest, unknown, stdin)
		})
	}
}

// shell adds what a shell reads.
func (f *finder) shell(name string, args []string, unknown string, stdin script) {
	hide := func(why string) { f.inner(name, func() { f.add(Hidden, nil, why) }) }
	command := false
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--rcfile" || arg == "--init-file" || arg == "-O" || arg == "+O" || arg == "-o" || arg == "+o":
			i++
			continue
		case arg == "-s":
			args = nil
			continue
		case strings.HasPrefix(arg, "--") && arg != "--":
			continue
		case len(arg) > 1 && (arg[0] == '-' || arg[0] == '+') && arg != "--":
			command = command || strings.Contains(arg, "c")
			if strings.HasSuffix(arg, "o") {
				i++
			}
			continue
		case arg == "--" || arg == "-":
			if i++; i == len(args) {
				continue
			}
			arg = args[i]
		}
		if command {
			f.script(name+" -c", arg)
		} else {
			hide("the commands are those of the file " + arg)
		}
		return
	}
	switch {
	case unknown != "":
		hide(unknown)
	case stdin.unknown != "":
		hide(stdin.unknown)
	case stdin.given:
		f.script(name, stdin.text)
	default:
		hide("the commands are those of its input")
	}
}

// find adds the commands of -exec and its like. {} is a name of a file.
func (f *finder) find(args []string, unknown string) {
	for i := 0; i < len(args); i++ {
		if !slices.Contains([]string{"-exec", "-execdir", "-ok", "-okdir"}, args[i]) {
			continue
		}
		rest := args[i+1:]
		end := slices.IndexFunc(rest, func(a string) bool { return a == ";" || a == "+" })
		why := unknown
		if end >= 0 {
			rest, why = rest[:end], ""
		}
		if brace := slices.IndexFunc(rest, func(a string) bool { return strings.Contains(a, "{}") }); brace >= 0 {
			rest, why = rest[:brace], "a name of a file, {}"
		}
		f.inner("find "+args[i], func() {
			switch {
			case len(rest) > 0:
				f.add(Program, rest, why)
				f.runs(rest, why, script{})
			case why != "":
				f.add(Hidden, nil, why)
			}
		})
		if end < 0 {
			return
		}
		i += end + 1
	}
	if unknown != "" {
		f.inner("find", func() { f.add(Hidden, nil, unknown) })
	}
}

// switchUser adds the text of su -c.
func (f *finder) switchUser(args []string, unknown string) {
	for i, arg := range args {
		text, joined := strings.CutPrefix(arg, "--command=")
		switch {
		case joined:
		case (arg == "-c" || arg == "--command") && i+1 < len(args):
			text = args[i+1]
		default:
			continue
		}
		f.script("su -c", text)
		return
	}
	if unknown == "" {
		unknown = "it starts a shell"
	}
	f.inner("su", func() { f.add(Hidden, nil, unknown) })
}
