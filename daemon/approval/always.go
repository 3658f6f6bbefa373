// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// runners are programs that run what their arguments, their standard input or a file
// say. What is allowed of them for ever is allowed of whatever an agent writes there.
var runners = setOf(`sh bash dash ash zsh ksh mksh fish csh tcsh busybox toybox pwsh powershell
		python python2 python3 pypy pypy3 perl ruby node nodejs deno bun php lua luajit tclsh Rscript julia osascript awk gawk mawk sed
		ghci irb ipython java groovy scala kotlin dotnet jshell erl elixir
		env sudo su doas pkexec runuser setpriv chroot unshare nsenter bwrap firejail systemd-run at batch
		xargs parallel find nice nohup setsid timeout stdbuf script expect watch time ionice taskset chrt flock
		ssh make cmake ninja just npm npx pnpm yarn pip pip3 pipx uv uvx poetry cargo go mvn gradle rake bundle composer
		docker podman kubectl gdb lldb strace ltrace git-shell vi vim nvim emacs ed tmux screen eval exec source`)

func setOf(words string) map[string]bool {
	set := map[string]bool{}
	for word := range strings.FieldsSeq(words) {
		set[word] = true
	}
	return set
}

// alwaysRule says, in words, what an answer of scope Always would allow, or why it
// cannot be given. It is as narrow as the question: never a prefix of it.
func alwaysRule(q *Question, risk string) (rule, why string) {
	if q.EachTime {
		return "", "the requirements want it to be asked about each time"
	}
	if q.HumanOnly {
		return "", "the rule wants a person to be asked each time"
	}
	if risk != "" {
		return "", "actions of the class " + risk + " are asked about each time"
	}
	switch q.Kind {
	case Command:
		for _, name := range names(q) {
			if runner(name) {
				return "", fmt.Sprintf("%s runs whatever it is told to: allowing it for ever allows everything", name)
			}
		}
		if len(q.Argv) == 0 {
			return "", "it is not known which command it is"
		}
	case Connection:
		if q.Host == "" {
			return "", "it is not known which host it is"
		}
	case File:
		if q.Path == "" {
			return "", "it is not known which path it is"
		}
	case Tool:
		return "", "what a tool call does is not known by its words"
	}
	return describe(q) + ", for " + q.Agent + in(q.Project), ""
}

func in(project string) string {
	if project == "" {
		return ""
	}
	return " in " + quoteWord(project)
}

// describe says exactly what is asked about.
func describe(q *Question) string {
	switch q.Kind {
	case Command:
		words := make([]string, len(q.Argv))
		for i, w := range q.Argv {
			words[i] = quoteWord(w)
		}
		text := "exactly the command " + strings.Join(words, " ")
		if q.Program != "" {
			text += " (" + quoteWord(q.Program) + ")"
		}
		if q.RunsAs != "" {
			text += " as " + quoteWord(q.RunsAs)
		}
		if q.Cwd != "" && q.Cwd != q.Project {
			text += " run in " + quoteWord(q.Cwd)
		}
		return text
	case Connection:
		return "connections to " + quoteWord(q.Host) + " port " + strconv.Itoa(int(q.Port)) + " (" + q.Protocol + ")"
	case File:
		return q.Access + " access to " + quoteWord(q.Path)
	case Tool:
		words := []string{q.Input}
		if len(q.Argv) > 0 {
			words = q.Argv
		}
		text := "the tool call " + quoteWord(q.Tool)
		for _, w := range words {
			text += " " + quoteWord(w)
		}
		return text
	}
	return string(q.Kind)
}

// quoteWord makes a word unambiguous and safe to show, whole.
func quoteWord(s string) string {
	if s == "" || strings.ContainsAny(s, " |\"'\\()") || slices.ContainsFunc([]rune(s), func(r rune) bool {
		return !strconv.IsPrint(r) || r == '\uFFFD'
	}) {
		return strconv.Quote(s)
	}
	return s
}

// names are all the names of a command's program.
func names(q *Question) []string {
	out := slices.Clone(q.Names)
	if len(q.Argv) > 0 {
		out = append(out, q.Argv[0])
	}
	if q.Program != "" {
		out = append(out, q.Program)
	}
	return out
}

// runner reports whether a program is one, by any name with a version: python3.12,
// and the loader of any machine: ld-linux-x86-64.so.2.
func runner(name string) bool {
	name = strings.TrimPrefix(path.Base(name), "-")
	name = strings.TrimSuffix(name, ".exe")
	return runners[name] || runners[strings.TrimRight(name, "0123456789.-")] || loader.MatchString(name)
}

// loader is ld.so by the names it has: ld-linux.so.2, ld-musl-x86_64.so.1, ld64.so.2,
// ld-2.31.so.
var loader = regexp.MustCompile(`^ld[^/]*\.so(\.[0-9]+)*$`)

// riskOf returns the first of the high-risk classes a question belongs to.
func riskOf(q *Question, classes []string) string {
	var commands []policy.Command
	if len(q.Argv) > 0 {
		commands = append(commands, policy.Command{Names: names(q), Args: q.Argv[1:]})
	}
	for _, words := range q.Within {
		commands = append(commands, policy.Command{Names: words[:1], Args: words[1:]})
	}
	for _, class := range classes {
		for _, c := range commands {
			if policy.HighRisk(class, c) {
				return class
			}
		}
	}
	return ""
}
