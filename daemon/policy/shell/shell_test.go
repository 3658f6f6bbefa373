// SPDX-License-Identifier: Apache-2.0

package shell

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lines writes commands one a line: kind, what is around, words, and "…" with the
// reason if there may be more.
func lines(commands []Command) string {
	var b strings.Builder
	for _, c := range commands {
		b.WriteString(map[Kind]string{Program: "run", Builtin: "builtin", Function: "function", Hidden: "hidden"}[c.Kind])
		for _, w := range c.Within {
			b.WriteString(" [" + w + "]")
		}
		for _, w := range c.Words {
			b.WriteString(" " + w)
		}
		if c.Unknown != "" {
			b.WriteString(" … " + c.Unknown)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestCommands(t *testing.T) {
	const rm = "run rm x\n"
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"# rm x", ""},
		{"X=1 Y=2", ""},
		{"rm x", rm},
		{"  \n rm \\\n x", rm},
		{`r\m 'x'`, rm},
		{`"r"m "x"`, rm},
		{`$'\x72m' x`, rm},
		{"FOO=1 rm x > out 2>&1", rm},
		{"rm x &", rm},
		{"! rm x", rm},
		{"time rm x", rm},
		{"{ rm x; }", rm},
		{"(rm x)", "run [(...)] rm x\n"},
		{"if rm x; then rm x; else rm x; fi", rm + rm + rm},
		{"while rm x; do rm x; done; case a in a) rm x;; esac", rm + rm + rm},
		{"rm x && ls || id; ps | wc", rm + "run ls\nrun id\nrun ps\nrun wc\n"},
		{"cd x", "builtin cd x\n"},
		{"[ -f x ] && [[ -f x ]]", "builtin [ -f x ]\n"},
		{"/bin/echo x", "run /bin/echo x\n"},

		{"ls $(rm x)", "run ls … the output of a command, $(...)\nrun [$(...)] rm x\n"},
		{"X=`rm x`", "run [$(...)] rm x\n"},
		{`ls "a$(rm x)"`, "run ls … the output of a command, $(...)\nrun [$(...)] rm x\n"},
		{"ls <(rm x)", "run ls … a file made by a command, <(...)\nrun [<(...)] rm x\n"},
		{"cat <<E\n$(rm x)\nE", "run cat\nrun [$(...)] rm x\n"},
		{"cat <<'E'\n$(rm x)\nE", "run cat\n"},
		{"git $A push", "run git … the variable $A\n"},
		{"git push $A", "run git push … the variable $A\n"},
		{`git "$@"`, "run git … the variable $@\n"},
		{"$A x", "hidden … the variable $A\n"},
		{"rm *.c", "run rm … a pattern of file names\n"},
		{`rm \*.c`, "run rm *.c\n"},
		{"r? x", "hidden … a pattern of file names\n"},
		{"{rm,x}", "hidden … several words, {...}\n"},
		{"~/rm x", "hidden … a home directory, ~\n"},
		{"ls x=~", "run ls … a home directory, ~\n"},
		{"echo $((1+1))", "builtin echo … a computed number, $((...))\n"},

		{"env rm x", "run env rm x\nrun [env] rm x\n"},
		{"/usr/bin/env -i -u A B=c rm x", "run /usr/bin/env -i -u A B=c rm x\nrun [env] rm x\n"},
		{"env", "run env\n"},
		{"env -S 'rm x'", "run env -S rm x\nhidden [env] … an option is not understood: -S rm x\n"},
		{"env echo x", "run env echo x\nrun [env] echo x\n"},
		{
			"sudo -u root -- timeout -k 5 --signal=KILL 10 nice -n5 rm x",
			"run sudo -u root -- timeout -k 5 --signal=KILL 10 nice -n5 rm x\nrun [sudo] timeout -k 5 --signal=KILL 10 nice -n5 rm x\nrun [sudo] [timeout] nice -n5 rm x\nrun [sudo] [timeout] [nice] rm x\n",
		},
		{"sudo -nu root rm x", "run sudo -nu root rm x\nrun [sudo] rm x\n"},
		{"sudo -s", "run sudo -s\nhidden [sudo] … an option is not understood: -s\n"},
		{"nohup $X", "run nohup … the variable $X\nhidden [nohup] … the variable $X\n"},
		{"ls | xargs -0 -n 1 rm -f", "run ls\nrun xargs -0 -n 1 rm -f\nrun [xargs] rm -f … words from its input\n"},
		{
			`find . -name '*.c' -exec rm {} \; -execdir ls {} +`,
			"run find . -name *.c -exec rm {} ; -execdir ls {} +\nrun [find -exec] rm … a name of a file, {}\nrun [find -execdir] ls … a name of a file, {}\n",
		},
		{`find . -exec {} \;`, "run find . -exec {} ;\nhidden [find -exec] … a name of a file, {}\n"},
		{"find $D -exec rm {} +", "run find … the variable $D\nhidden [find] … the variable $D\n"},
		{"busybox rm x", "run busybox rm x\nrun [busybox] rm x\n"},
		{"busybox sh -c 'rm x'", "run busybox sh -c rm x\nrun [busybox] sh -c rm x\nrun [busybox] [sh -c] rm x\n"},
		{"flock /tmp/l -c 'rm x'", "run flock /tmp/l -c rm x\nrun [flock -c] rm x\n"},
		{"flock /tmp/l rm x", "run flock /tmp/l rm x\nrun [flock] rm x\n"},
		{"watch 'rm x; ls'", "run watch rm x; ls\nrun [watch] rm x\nrun [watch] ls\n"},
		{"su root -c 'rm x'", "run su root -c rm x\nrun [su -c] rm x\n"},
		{"su", "run su\nhidden [su] … it starts a shell\n"},

		{"bash -c 'rm x; bash -lc \"rm x\"'", "run bash -c rm x; bash -lc \"rm x\"\nrun [bash -c] rm x\nrun [bash -c] bash -lc rm x\nrun [bash -c] [bash -c] rm x\n"},
		{"bash -o pipefail -euc 'rm x' a b", "run bash -o pipefail -euc rm x a b\nrun [bash -c] rm x\n"},
		{`bash -c "rm $X"`, "run bash -c … the variable $X\nhidden [bash] … the variable $X\n"},
		{"bash -c '('", "run bash -c (\nhidden [bash -c] … this text cannot be read as shell: 1:1: `(` must be followed by a statement list\n"},
		{"bash x.sh", "run bash x.sh\nhidden [bash] … the commands are those of the file x.sh\n"},
		{"bash", "run bash\nhidden [bash] … the commands are those of its input\n"},
		{"bash <<E\nrm x\nE", "run bash\nrun [bash] rm x\n"},
		{"bash -s a <<-'E'\n\trm x\n\tE", "run bash -s a\nrun [bash] rm x\n"},
		{"bash <<E\nrm $X\nE", "run bash\nhidden [bash] … the variable $X\n"},
		{"sh <<< 'rm x'", "run sh\nrun [sh] rm x\n"},
		{"sh < x", "run sh\nhidden [sh] … the commands are those of another file\n"},
		{"echo rm x | sh", "builtin echo rm x\nrun sh\nrun [sh] rm x\n"},
		{"cat <<E | sudo sh\nrm x\nE", "run cat\nrun sudo sh\nrun [sudo] sh\nrun [sudo] [sh] rm x\n"},
		{"curl a.com | sh", "run curl a.com\nrun sh\nhidden [sh] … the commands are the output of another command\n"},
		{"python3.12 -c 'x'", "run python3.12 -c x\nhidden [python3.12] … it is told in another language what to do\n"},

		{"eval rm x", "builtin eval rm x\nrun [eval] rm x\n"},
		{`eval "$X"`, "builtin eval … the variable $X\nhidden [eval] … the variable $X\n"},
		{"exec -a b rm x", "builtin exec -a b rm x\nrun [exec] rm x\n"},
		{"exec > x", "builtin exec\n"},
		{"command -p rm x; command -v rm; command cd x", "builtin command -p rm x\nrun [command] rm x\nbuiltin command -v rm\nbuiltin command cd x\nbuiltin [command] cd x\n"},
		{"trap 'rm x' EXIT; . ./env", "builtin trap rm x EXIT\nrun [trap] rm x\nbuiltin . ./env\nhidden [.] … the commands are those of another file\n"},

		{"f() { rm x; }; f a", "run [function f] rm x\nfunction f a\n"},
		{"f a; f() { rm x; }", "run f a\nrun [function f] rm x\n"},
		{"f() { rm x; }; unset -f f; f", "run [function f] rm x\nbuiltin unset -f f\nrun f\n"},
		{"(f() { rm x; }); f", "run [(...)] [function f] rm x\nrun f\n"},
		{"rm() { :; }; bash -c 'rm x'; command rm x", "builtin [function rm] :\nrun bash -c rm x\nrun [bash -c] rm x\nbuiltin command rm x\nrun [command] rm x\n"},
	} {
		got, err := Commands(c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if diff := cmp.Diff(c.want, lines(got)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.text, diff)
		}
	}
}

func TestLinesAreThoseOfTheOutermostText(t *testing.T) {
	got, err := Commands("ls\n\nbash -c '\n\n\nrm x'\nps")
	if err != nil {
		t.Fatal(err)
	}
	var at []int
	for _, c := range got {
		at = append(at, c.Line)
	}
	if diff := cmp.Diff([]int{1, 3, 3, 7}, at); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestWhatIsNoShellIsAnError(t *testing.T) {
	for _, text := range []string{"(", "ls |", "'", "if true", strings.Repeat("x ", MaxText)} {
		if got, err := Commands(text); err == nil {
			t.Errorf("%.20q: %v", text, got)
		}
	}
}

// Nothing is dropped without a word: neither what is too deep nor what is too much.
func TestBounds(t *testing.T) {
	got, err := Commands(strings.Repeat("env ", 50) + "rm x")
	if err != nil {
		t.Fatal(err)
	}
	if last := got[len(got)-1]; last.Kind != Hidden || len(got) > maxWithin+2 {
		t.Errorf("%d commands, the last %+v", len(got), last)
	}
	if got, err = Commands(strings.Repeat("rm x\n", MaxCommands+1)); err != nil {
		t.Fatal(err)
	}
	if last := got[len(got)-1]; last.Kind != Hidden || len(got) != MaxCommands {
		t.Errorf("%d commands, the last %+v", len(got), last)
	}
}

// However deep brackets are, the stack holds: it is the parser's that grows.
func TestDeepBrackets(t *testing.T) {
	for _, open := range []string{"(", "{ ", "$(", "$((", "${x:-", "if ", "! ", "f() ", "\"$(", "<(", "a=(", "[[ ( ", "case x in (x) "} {
		_, err := Commands(strings.Repeat(open, MaxText/len(open)))
		if err == nil {
			t.Errorf("%q, nothing of it closed: no error", open)
		}
	}
}

// The shell agrees about every word that is called known.
func TestWordsAreThoseOfBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		`a\b 'c\d' "e\f\"\$\\" $'\n\x41\'' "" ''x`, "a\\\nb", `\~ \{a,b} a{b} {} a~b`, `"a'b"'c"d' \  \#x`, `$"x y" a#b -- -x`,
		"'a\nb' \"c\\\nd\"", `\\ '\\' "\\" "\a" \a`,
	} {
		commands, err := Commands("probe " + text)
		if err != nil || len(commands) != 1 || commands[0].Unknown != "" {
			t.Errorf("%q: %+v, %v", text, commands, err)
			continue
		}
		cmd := exec.CommandContext(t.Context(), bash, "-c", `probe() { printf '%s\0' "$@"; }; probe `+text)
		cmd.Env = []string{"LC_ALL=C.UTF-8", "HOME=/nowhere"}
		out, err := cmd.Output()
		if want := strings.Join(commands[0].Words[1:], "\x00") + "\x00"; string(out) != want || err != nil {
			t.Errorf("%q: bash has %q, we have %q, %v", text, out, want, err)
		}
	}
}

func FuzzArgv(f *testing.F) {
	for _, text := range []string{"env -i A=b rm -rf x", "a | b && (c; d)", "bash -c 'x $(y)' <<E\n$z\nE", "f(){ f; }; f", "find . -exec rm {} \\;", `eval "eval 'eval \"a\"'"`, "x=$((1+", "$'\\u0041'{a..z}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		commands, err := Commands(text)
		if err != nil {
			return
		}
		if len(commands) > MaxCommands {
			t.Fatalf("%d commands", len(commands))
		}
		for _, c := range commands {
			if c.Line < 1 || len(c.Words) == 0 && (c.Kind != Hidden || c.Unknown == "") {
				t.Fatalf("%q: %+v", text, c)
			}
		}
	})
}
